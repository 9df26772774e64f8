"""The daemon's status as tables for people."""

from __future__ import annotations

import time
from heapq import nlargest
from typing import Any

from flowd.cli.table import render_table, show_bytes, show_count, show_duration, show_number, show_share, show_time

FILES_SHOWN = 20
"""Of the followed files; -o json has more."""
RULES_SHOWN = 40
"""Of each stream's rules, those that decided the most lines: what fills a terminal; -o json has them all."""


def render_status(status: dict[str, Any]) -> str:
    """The daemon's answer as tables."""
    text = (
        f"flowd {status['version']} is {status['state']}: process {status['process_id']}, "
        f"up {show_duration(status['uptime_s'])}\n"
        f"sockets in {status['runtime_dir']}, filters: {status['filters'] or 'none, everything is kept'}\n"
        f"producers: {status['producers']}\n"
    )
    text += "".join(f"degraded: {reason}\n" for reason in status.get("reasons", ()))
    text += _render_reload(status) + "\n"
    text += _render_streams(status["streams"])
    text += "\n" + _render_journal(status["journal"])
    if "tail" in status:
        text += "\n" + _render_tail(status["tail"])
    if "forward" in status:
        text += "\n" + _render_forward(status["forward"])
    if status["views"]:
        text += "\n" + _render_views(status["views"])
    if status["consumers"]:
        text += "\n" + _render_attached(status["consumers"])
    if status["sinks"]:
        text += "\n" + _render_sinks(status["sinks"])
    rules = _render_rules(status["streams"])
    if rules:
        text += "\n" + rules
    refused = [(name, show_count(value)) for name, value in sorted(status["counters"].items()) if value]
    if refused:
        text += "\n" + render_table(("COUNTER", "VALUE"), refused, ("VALUE",))
    return text


def _render_reload(status: dict[str, Any]) -> str:
    """What became of the filters that were not loaded; nothing as a rule."""
    last = status["last_reload"]
    if last["result"] not in ("failed", "refused"):
        return ""
    text = f"last reload {last['result']} ({last['by']}); generation {status['generation']} decides:\n"
    text += "".join(f"  {problem}\n" for problem in last["problems"])
    return text + (f"  and {show_number(last['more_problems'], 'problem')} more\n" if last["more_problems"] else "")


def _render_streams(streams: dict[str, Any]) -> str:
    rows = [
        (
            name,
            show_count(stream["lines"]),
            show_bytes(stream["bytes"]),
            show_count(stream["kept_lines"]),
            show_bytes(stream["kept_bytes"]),
            show_share(stream["kept_lines"], stream["lines"]),
            show_count(stream["malformed_lines"]),
            show_count(stream["error_lines"]),
            str(stream["generation"]),
            str(stream["subscribers"]),
        )
        for name, stream in streams.items()
    ]
    headers = ("STREAM", "LINES", "BYTES", "KEPT", "KEPT BYTES", "SHARE", "MALFORMED", "ERRORS", "GEN", "SUBS")
    return render_table(headers, rows, headers[1:])


def _render_journal(journal: dict[str, Any]) -> str:
    words = {"commit": "every commit is synced", "off": "not synced"}
    synced = words.get(journal["sync"], f"synced every {journal['interval_ms']} ms")
    return (
        f"journal: {show_number(journal['batches'], 'batch', 'batches')}, {show_bytes(journal['used_bytes'])} of"
        f" {show_bytes(journal['max_bytes'])}, up to {show_duration(journal['max_age_s'])} old, {synced}\n"
    )


def _render_tail(tail: dict[str, Any]) -> str:
    """The followed files, those first that are furthest behind."""
    shown = tail["files"][:FILES_SHOWN]
    rows = [
        (
            one["stream"],
            one["path"],
            show_bytes(one["size"]),
            show_bytes(one["lag_bytes"]),
            show_duration(one["lag_s"]),
        )
        for one in shown
    ]
    text = render_table(("STREAM", "FILE", "SIZE", "TO READ", "BEHIND"), rows, ("SIZE", "TO READ", "BEHIND"))
    more = tail["followed_files"] - len(shown)
    if more:
        text += f"and {show_number(more, 'file')} more, in all {show_bytes(tail['lag_bytes'])} to read\n"
    return text


def _render_forward(forward: dict[str, Any]) -> str:
    """Where Forward is listened for, and how many send."""
    waiting = f", {show_bytes(forward['waiting_bytes'])} to store" if forward["waiting_bytes"] else ""
    paused = f" ({forward['paused_connections']} wait for room)" if forward["paused_connections"] else ""
    connections = show_number(forward["connections"], "connection")
    return f"forward: {connections}{paused} at {', '.join(forward['endpoints'])}{waiting}\n"


def _render_views(views: dict[str, Any]) -> str:
    rows = [
        (name, view["stream"], show_count(view["rules"]), str(view["generation"]), str(view["subscribers"]))
        for name, view in sorted(views.items())
    ]
    return render_table(("VIEW", "STREAM", "RULES", "GEN", "SUBS"), rows, ("RULES", "GEN", "SUBS"))


def _render_attached(consumers: list[dict[str, Any]]) -> str:
    rows = [
        (
            one["consumer"] or "-",
            one["stream"],
            one["view"] or "-",
            show_count(one["sent_batches"]),
            show_bytes(one["sent_bytes"]),
            show_count(max(0, one["lag_batches"])),
            show_count(one["lost_lines"]),
            show_duration(one["silent_s"]),
        )
        for one in consumers
    ]
    headers = ("CONSUMER", "STREAM", "VIEW", "BATCHES", "BYTES", "LAG", "LOST LINES", "SILENT")
    return render_table(headers, rows, ("BATCHES", "BYTES", "LAG", "LOST LINES", "SILENT"))


def _render_sinks(sinks: dict[str, Any]) -> str:
    rows = [(name, sink["type"], sink["state"], sink["reason"] or sink["peer"] or "-") for name, sink in sinks.items()]
    return render_table(("SINK", "TYPE", "STATE", "PEER"), rows, ())


def _render_rules(streams: dict[str, Any]) -> str:
    now_ns = time.time_ns()
    shown = {name: _choose_rules(stream["rules"]) for name, stream in streams.items()}
    rows: list[tuple[str, ...]] = [
        (
            name,
            rule["name"],
            f"{rule['file']}:{rule['line']}" if rule["line"] else "-",
            show_count(rule["lines"]),
            show_bytes(rule["bytes"]),
            show_share(rule["lines"], stream["lines"]),
            describe_way(rule, now_ns),
        )
        for name, stream in streams.items()
        for rule in shown[name]
    ]
    if not rows:
        return ""
    headers: tuple[str, ...] = ("STREAM", "RULE", "PLACE", "LINES", "BYTES", "SHARE", "NOTE")
    if not any(row[-1] for row in rows):
        rows, headers = [row[:-1] for row in rows], headers[:-1]
    text = render_table(headers, rows, ("LINES", "BYTES", "SHARE"))
    return text + "".join(_describe_others(name, stream, shown[name]) for name, stream in streams.items())


def _choose_rules(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those to show, in the order in which they decide; `default` and what stands behind it always."""
    last = [rule for rule in rules if not rule["line"]]
    others = [rule for rule in rules if rule["line"]]
    if len(others) > RULES_SHOWN:
        numbers = nlargest(RULES_SHOWN, range(len(others)), key=lambda at: others[at]["lines"])
        others = [others[at] for at in sorted(numbers)]
    return others + last


def _describe_others(name: str, stream: dict[str, Any], shown: list[dict[str, Any]]) -> str:
    """What became of a stream's rules that are not shown."""
    number = stream["rules_left_off"] + len(stream["rules"]) - len(shown)
    if not number:
        return ""
    lines, size_bytes = (
        stream[f"{unit}_left_off"] + sum(rule[unit] for rule in stream["rules"]) - sum(rule[unit] for rule in shown)
        for unit in ("lines", "bytes")
    )
    return (
        f"{name}: {show_number(number, 'rule')} more, which decided {show_number(lines, 'line')}"
        f" ({show_bytes(size_bytes)}); -o json has them all\n"
    )


def describe_way(rule: dict[str, Any], now_ns: int) -> str:
    """How a rule drops, where it is not for good."""
    words = []
    if rule["is_shadow"]:
        words.append("shadow: drops nothing")
    if rule["sample"]:
        is_kept = rule["name"].endswith(".sampled")
        words.append(f"{'kept' if is_kept else 'keeps'} 1 in {show_count(rule['sample'])}")
    if rule["until_ns"]:
        words.append(f"{'ended' if rule['until_ns'] <= now_ns else 'until'} {show_time(rule['until_ns'])}")
    return ", ".join(words)
