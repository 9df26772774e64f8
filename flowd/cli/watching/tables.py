"""What `flowd top` shows, as tables of texts: for the screen, which cuts them to its size, and for `--once`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flowd.cli.status_tables import describe_way
from flowd.cli.table import (
    render_table,
    show_bytes,
    show_count,
    show_duration,
    show_number,
    show_plain,
    show_share,
    show_time,
)

Rates = dict[str, Any]
Row = tuple[str, ...]

_SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "rate": lambda rule: (-(rule["lines_per_s"] or 0), -rule["lines"]),
    "bytes": lambda rule: (-(rule["bytes_per_s"] or 0), -rule["bytes"]),
    "total": lambda rule: -rule["lines"],
    "order": lambda _: 0,
    "name": lambda rule: (rule["stream"], rule["rule"]),
}
SORTS = tuple(_SORTS)
"""How rules may be sorted: by lines a second, bytes a second, all lines so far, as they decide, by name."""
_SINK_NUMBERS = 6
"""Of a sink's numbers: what fits beside each other."""


class Table(NamedTuple):
    """Rows under their headers. Columns in `right` are aligned there; those in `spare` go first where room is short.

    `keys` say what each row is of, so that its past can be found.
    """

    name: str
    headers: Row
    rows: Sequence[Row]
    keys: Sequence[Row]
    right: Row
    spare: Row = ()


def describe_head(rates: Rates) -> list[str]:
    """A few lines on the daemon as a whole; the reasons why it is not well stand last."""
    daemon, journal, last = rates["daemon"], rates["journal"], rates["daemon"]["last_reload"]
    lines = [
        f"flowd {daemon['version']} is {daemon['state']}: process {daemon['process_id']},"
        f" up {show_duration(daemon['uptime_s'])}, {show_number(daemon['producers'], 'producer')}",
        f"generation {daemon['generation']}, loaded {show_duration(daemon['loaded_ago_s'])} ago"
        + ("; bypass is on: every line is kept" if daemon["bypass"] else ""),
        f"journal {100 * journal['fill']:.1f} % full: {show_bytes(journal['used_bytes'])} of"
        f" {show_bytes(journal['max_bytes'])}, {show_number(journal['batches'], 'batch', 'batches')},"
        f" {show_rate(journal['commits_per_s'])} commits/s" + ("; no room" if journal["is_full"] else ""),
    ]
    if rates["tail"] is not None:
        followed, lag_bytes = rates["tail"]["followed_files"], rates["tail"]["lag_bytes"]
        lines.append(f"following {show_number(followed, 'file')}, {show_bytes(lag_bytes)} to read")
    if last["result"] in ("failed", "refused"):
        problem = last["problems"][0] if last["problems"] else ""
        lines.append(f"last reload {last['result']} ({last['by']}, {show_time(last['time_ns'])}): {problem}")
    return [show_plain(line) for line in [*lines, *(f"degraded: {reason}" for reason in daemon["reasons"])]]


def describe_tables(rates: Rates, sort: str, now_ns: int) -> list[Table]:
    """Streams, rules, consumers, and what else there is: what matters most first. Nothing in them can steer a
    terminal."""
    tables = [
        _describe_streams(rates["streams"]),
        _describe_rules(rates, sort, now_ns),
        _describe_consumers(rates["consumers"]),
        _describe_sinks(rates["sinks"]),
        _describe_views(rates["views"]),
    ]
    return [table._replace(rows=[tuple(map(show_plain, row)) for row in table.rows]) for table in tables]


def render_once(rates: Rates, sort: str) -> str:
    """All of it as plain text."""
    parts = ["".join(f"{line}\n" for line in describe_head(rates))]
    tables = [table for table in describe_tables(rates, sort, time.time_ns()) if table.rows]
    parts += [render_table(table.headers, table.rows, table.right) for table in tables]
    if rates["rules_left_off"]:
        parts.append(f"{show_number(rates['rules_left_off'], 'rule')} more; `flowd status -o json` has them all\n")
    return "\n".join(parts)


def _describe_streams(streams: list[dict[str, Any]]) -> Table:
    rows = [
        (
            one["stream"],
            show_rate(one["lines_per_s"]),
            show_megabytes(one["bytes_per_s"]),
            show_rate(one["kept_lines_per_s"]),
            show_rate(one["dropped_lines_per_s"]),
            show_share(one["dropped_lines_per_s"], one["lines_per_s"]),
            show_rate(one["malformed_lines_per_s"]),
            show_rate(one["error_lines_per_s"]),
            show_short(one["lines"]),
            str(one["subscribers"]),
        )
        for one in streams
    ]
    headers = ("STREAM", "LINES/S", "MB/S", "KEPT/S", "DROPPED/S", "SHARE", "MALFORMED/S", "ERRORS/S", "LINES", "SUBS")
    keys = [(one["stream"],) for one in streams]
    return Table("streams", headers, rows, keys, headers[1:], ("LINES", "SHARE", "SUBS"))


def _describe_rules(rates: Rates, sort: str, now_ns: int) -> Table:
    streams = {one["stream"]: one["lines_per_s"] for one in rates["streams"]}
    rules = sorted(rates["rules"], key=_SORTS[sort])
    rows: list[Row] = [
        (
            rule["stream"],
            rule["rule"],
            show_rate(rule["lines_per_s"]),
            show_megabytes(rule["bytes_per_s"]),
            "-" if rule["lines_per_s"] is None else show_share(rule["lines_per_s"], streams[rule["stream"]]),
            show_short(rule["lines"]),
            show_bytes(rule["bytes"]),
            f"{rule['file']}:{rule['line']}" if rule["line"] else "-",
            describe_way({**rule, "name": rule["rule"]}, now_ns),
        )
        for rule in rules
    ]
    headers: Row = ("STREAM", "RULE", "LINES/S", "MB/S", "SHARE", "LINES", "BYTES", "PLACE", "NOTE")
    if not any(row[-1] for row in rows):
        rows, headers = [row[:-1] for row in rows], headers[:-1]
    keys = [(rule["stream"], rule["rule"]) for rule in rules]
    return Table("rules", headers, rows, keys, headers[2:7], ("BYTES", "MB/S", "PLACE", "NOTE", "LINES"))


def _describe_consumers(consumers: list[dict[str, Any]]) -> Table:
    ordered = sorted(consumers, key=lambda one: (-one["lag_batches"], one["consumer"], one["stream"]))
    rows = [
        (
            one["consumer"] or "-",
            one["stream"],
            one["view"] or "-",
            show_count(one["lag_batches"]),
            "-" if one["lag_lines"] is None else show_short(one["lag_lines"]),
            "-" if one["lag_bytes"] is None else ("~" if one["lag_bytes"] else "") + show_bytes(one["lag_bytes"]),
            "-" if one["lag_s"] is None else show_duration(one["lag_s"]),
            "-" if one["committed_ago_s"] is None else show_duration(one["committed_ago_s"]) + " ago",
            show_megabytes(one["sent_bytes_per_s"]),
            "yes" if one["is_attached"] else "no",
        )
        for one in ordered
    ]
    headers = (
        "CONSUMER", "STREAM", "VIEW", "LAG", "LAG LINES", "LAG BYTES", "BEHIND", "COMMITTED", "MB/S", "ATTACHED",
    )  # fmt: skip
    keys = [(one["consumer"], one["stream"]) for one in ordered]
    return Table("consumers", headers, rows, keys, headers[3:9], ("MB/S", "VIEW", "LAG LINES", "ATTACHED", "STREAM"))


def _describe_views(views: list[dict[str, Any]]) -> Table:
    rows = [
        (one["view"], one["stream"], show_count(one["rules"]), str(one["generation"]), str(one["subscribers"]))
        for one in views
    ]
    headers = ("VIEW", "STREAM", "RULES", "GEN", "SUBS")
    return Table("views", headers, rows, [(one["view"],) for one in views], headers[2:])


def _describe_sinks(sinks: list[dict[str, Any]]) -> Table:
    """Their types and states, and the first few of their numbers, under the names that the status gives them."""
    names = dict.fromkeys(name for one in sinks for name in one)
    numbers = [name for name in names if all(type(one.get(name, 0)) in (int, float) for one in sinks)][:_SINK_NUMBERS]
    rows = [
        (
            one["sink"],
            str(one.get("type", "-")),
            str(one.get("state", "-")),
            *(_show(one.get(name)) for name in numbers),
        )
        for one in sinks
    ]
    headers = ("SINK", "TYPE", "STATE", *(name.upper().replace("_PER_S", "/S").replace("_", " ") for name in numbers))
    return Table("sinks", headers, rows, [(one["sink"],) for one in sinks], headers[3:], headers[:4:-1])


def _show(value: float | None) -> str:
    if value is None:
        return "-"
    return show_count(value) if isinstance(value, int) else f"{value:,.1f}"


def show_rate(number: float | None) -> str:
    """`1,234`, `0.25`: so much a second; `-` where it is not known."""
    if number is None:
        return "-"
    if number and abs(number) < 10:
        return f"{number:.2f}".rstrip("0").rstrip(".")
    return show_short(round(number))


def show_megabytes(number: float | None) -> str:
    """Bytes as megabytes: `12.3`, `0.004`; `-` where they are not known."""
    if number is None:
        return "-"
    megabytes = number / 1e6
    return f"{megabytes:,.1f}" if megabytes >= 10 else f"{megabytes:.3f}" if megabytes else "0"


def show_short(number: int) -> str:
    """A count in a narrow column: whole below a million, then `12.3M`, `4.56G`."""
    if number < 1_000_000:
        return f"{number:,}"
    return f"{number / 1e6:,.1f}M" if number < 1_000_000_000 else f"{number / 1e9:,.2f}G"
