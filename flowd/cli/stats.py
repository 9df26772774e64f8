"""What `flowd filter --stats` says: for each rule, what it is and what it decided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowd.cli.table import render_table, shorten, show_bytes, show_count, show_share
from flowd.cli.talk import say
from flowd.readable import make_all_readable

if TYPE_CHECKING:
    from flowd.cli.filtering.lines import Totals
    from flowd.filterset import FilterSet

PATTERN_WIDTH = 40


def show_stats(filters: FilterSet, totals: Totals, *, as_json: bool) -> None:
    """Says the numbers on standard error."""
    described = describe_stats(filters, totals)
    say(json.dumps(make_all_readable(described)) if as_json else render_stats(described).rstrip("\n"))


def describe_stats(filters: FilterSet, totals: Totals) -> dict[str, Any]:
    """The numbers as plain data: the rules in their order, and at the end what no rule decided."""
    from flowd.program import DEFAULT_RULE, SAMPLED

    rules = {rule.name: rule for rule in filters.rules}
    members: dict[str, list[str]] = {}
    for rule in filters.rules:
        if rule.group:
            members.setdefault(rule.group, []).append(rule.name)
    described = []
    for name, hits in sorted(filters.hits.items(), key=lambda decided: decided[0] == DEFAULT_RULE):
        whole = name.removesuffix(SAMPLED)
        shown = rules.get(whole) or rules.get(next(iter(members.get(whole, ())), ""))
        # A group of one is what its one rule says.
        has_one = whole in rules or len(members.get(whole, ())) == 1
        described.append(
            {
                "rule": name,
                "file": shown.file if shown else "",
                "line": shown.line if shown else 0,
                "kind": shown.kind if shown else "",
                "field": shown.field if shown and has_one else "",
                "pattern": shown.pattern if shown and has_one else "",
                "engine": shown.engine if shown and has_one else "",
                "members": members.get(name, []),
                "is_shadow": bool(shown and shown.is_shadow),
                "sample": shown.sample if shown else 0,
                "until_ns": shown.until_ns if shown else 0,
                "lines": hits.lines,
                "bytes": hits.bytes,
            }
        )
    return {
        "stream": filters.stream,
        "lines": totals.lines,
        "bytes": totals.bytes,
        "kept_lines": totals.kept_lines,
        "kept_bytes": totals.kept_bytes,
        "malformed_lines": totals.malformed,
        "error_lines": totals.errors,
        "rules": described,
    }


def render_stats(stats: dict[str, Any]) -> str:
    """The numbers as a table, and one line of totals below."""
    rows = []
    for rule in stats["rules"]:
        what = f"{rule['field']} {rule['pattern']}" if rule["field"] else " ".join(rule["members"])
        rows.append(
            [
                rule["rule"],
                f"{rule['file']}:{rule['line']}" if rule["line"] else "-",
                shorten(f"{_describe_kind(rule)} {what}".strip(), PATTERN_WIDTH) or "-",
                rule["engine"] or "-",
                show_count(rule["lines"]),
                show_bytes(rule["bytes"]),
                show_share(rule["lines"], stats["lines"]),
            ]
        )
    table = render_table(
        ("RULE", "PLACE", "PATTERN", "ENGINE", "LINES", "BYTES", "SHARE"), rows, ("LINES", "BYTES", "SHARE")
    )
    return (
        f"{table}{show_count(stats['lines'])} lines ({show_bytes(stats['bytes'])}), "
        f"{show_count(stats['kept_lines'])} written, {show_count(stats['malformed_lines'])} malformed, "
        f"{show_count(stats['error_lines'])} with errors while matching\n"
    )


def _describe_kind(rule: dict[str, Any]) -> str:
    """What it does with a line, where that is not plain dropping."""
    from flowd.program import SAMPLED

    if rule["rule"].endswith(SAMPLED):
        return f"let go, 1 in {show_count(rule['sample'])}:"
    return f"shadow: {rule['kind']}" if rule["is_shadow"] else str(rule["kind"])
