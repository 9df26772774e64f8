"""What `flowd compare` says: a comparison as plain data, and that as a table with examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flowd.cli.table import render_table, shorten, show_bytes, show_count, show_number, show_share
from flowd.explanation import VERDICTS

if TYPE_CHECKING:
    from flowd.comparison import Change, Comparison, Direction
    from flowd.filterset import FilterSet

EXAMPLE_WIDTH = 160
DIRECTIONS: tuple[Direction, ...] = ("newly dropped", "newly kept", "otherwise")
HEADERS = ("CHANGE", "OLD RULE", "NEW RULE", "LINES", "BYTES", "SHARE")
RIGHT = ("LINES", "BYTES", "SHARE")


def describe_comparison(comparison: Comparison, old: str, new: str) -> dict[str, Any]:
    """The comparison of two paths as plain data. Lines become text, with what is no UTF-8 replaced."""
    places = (find_places(comparison.old), find_places(comparison.new))
    return {
        "stream": comparison.new.stream,
        "old": old,
        "new": new,
        "lines": comparison.lines,
        "bytes": comparison.bytes,
        "old_dropped": comparison.old_dropped._asdict(),
        "new_dropped": comparison.new_dropped._asdict(),
        **{direction.replace(" ", "_"): comparison.total(direction)._asdict() for direction in DIRECTIONS},
        "changes": [describe_change(change, *places) for change in comparison.changes],
        "moves": [describe_change(change, *places) for change in comparison.moves],
    }


def describe_change(change: Change, old_places: dict[str, str], new_places: dict[str, str]) -> dict[str, Any]:
    """One pair of rules, with their places."""
    return {
        "change": change.direction,
        "old_verdict": VERDICTS[change.old_verdict],
        "old_rule": change.old_rule,
        "old_place": old_places.get(change.old_rule, ""),
        "new_verdict": VERDICTS[change.new_verdict],
        "new_rule": change.new_rule,
        "new_place": new_places.get(change.new_rule, ""),
        "lines": change.lines,
        "bytes": change.bytes,
        "examples": [example.decode("utf-8", "replace") for example in change.examples],
    }


def find_places(filters: FilterSet) -> dict[str, str]:
    """Where each rule stands; a group, where its first rule does."""
    places = {rule.group: f"{rule.file}:{rule.line}" for rule in reversed(filters.rules) if rule.group}
    return places | {rule.name: f"{rule.file}:{rule.line}" for rule in filters.rules}


def render_comparison(described: dict[str, Any]) -> str:
    """How many lines each drops, and what changes by pairs of rules, with examples."""
    lines, old, new = described["lines"], described["old_dropped"]["lines"], described["new_dropped"]["lines"]
    text = (
        f"{described['stream']}: {show_number(lines, 'line')} ({show_bytes(described['bytes'])});"
        f" old drops {show_count(old)} ({show_share(old, lines)}), new {show_count(new)} ({show_share(new, lines)})\n"
    )
    return text + render_changes(described) + _render_totals(described)


def render_changes(described: dict[str, Any]) -> str:
    """The table of what is decided otherwise, and of moves; below it the examples."""
    text = ""
    for changes in (described["changes"], described["moves"]):
        if changes:
            rows = [_row(change, described["lines"]) for change in changes]
            text += "\n" + render_table(HEADERS, rows, RIGHT) + render_examples(changes)
    return text


def render_examples(changes: Iterable[dict[str, Any]]) -> str:
    """For each pair of rules its first few lines."""
    text = ""
    for change in changes:
        if change["examples"]:
            text += f"\n{show_what(change)}, {_show_rule(change, 'old')} → {_show_rule(change, 'new')}:\n"
            text += "".join(f"  {shorten(example, EXAMPLE_WIDTH)}\n" for example in change["examples"])
    return text


def show_what(change: dict[str, Any]) -> str:
    """What changes: the direction, or where both keep a line the two verdicts."""
    if change["change"] == "otherwise":
        return f"{change['old_verdict']} → {change['new_verdict']}"
    return change["old_verdict"] if change["change"] == "same" else str(change["change"])


def _row(change: dict[str, Any], lines: int) -> tuple[str, ...]:
    return (
        show_what(change),
        _show_rule(change, "old"),
        _show_rule(change, "new"),
        show_count(change["lines"]),
        show_bytes(change["bytes"]),
        show_share(change["lines"], lines),
    )


def _show_rule(change: dict[str, Any], which: str) -> str:
    rule, place = change[f"{which}_rule"] or "the daemon's", change[f"{which}_place"]
    return f"{rule} ({place})" if place else rule


def _render_totals(described: dict[str, Any]) -> str:
    if not described["changes"]:
        return "\nno line is decided otherwise\n"
    parts = []
    for direction in DIRECTIONS:
        total = described[direction.replace(" ", "_")]
        if direction != "otherwise" or total["lines"]:
            shown = direction if direction != "otherwise" else "kept by both, otherwise"
            parts.append(f"{shown}: {show_number(total['lines'], 'line')} ({show_bytes(total['bytes'])})")
    return "\n" + "; ".join(parts) + "\n"
