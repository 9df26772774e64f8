"""The trace of a line as a table: every rule that was looked at, what it saw, and the one that decided marked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from flowd.cli.table import render_table, shorten, show_number

if TYPE_CHECKING:
    from flowd.explanation import Explanation, TraceLine

HEADERS = ("", "RULE", "FIELD", "ASKED", "VALUE", "ANSWER", "WHAT FOLLOWS")
MARK = ">"
ASKED_WIDTH = 50
VALUE_WIDTH = 50
UNLOOKED_SHOWN = 3
"""More rules in a row that were not looked at are only counted."""
_UNLOOKED = "not looked at"


def render_trace(explanation: Explanation, title: str) -> str:
    """The verdict, and below it the table."""
    text = f"{title}: {explanation}\n"
    if not explanation.trace:
        reason = "no rule looks at it" if explanation.verdict != "M" else "it is no record: no rule looks at it"
        return f"{text}  {reason}\n"
    rows = list(_rows(explanation))
    table = render_table(HEADERS, rows)
    if not any(row[0] for row in rows):
        table += "no rule decided\n"
    return text + "".join(f"  {line}\n" for line in table.splitlines())


def _rows(explanation: Explanation) -> Iterator[tuple[str, ...]]:
    from flowd.program import SAMPLED

    decider = explanation.rule.removesuffix(SAMPLED)
    for is_unlooked, looked in groupby(
        explanation.trace, key=lambda line: line.result == _UNLOOKED and not line.effect
    ):
        lines = list(looked)
        if is_unlooked and len(lines) > UNLOOKED_SHOWN:
            yield "", f"… {show_number(len(lines), 'rule')}", "", "", "", _UNLOOKED, ""
            continue
        for line in lines:
            has_decided = decider in (line.rule, line.group) and bool(line.effect)
            yield (
                MARK if has_decided else "",
                line.rule,
                line.field,
                shorten(line.pattern, ASKED_WIDTH),
                shorten(_show_value(line), VALUE_WIDTH),
                line.result,
                line.effect,
            )


def _is_unlooked(line: TraceLine) -> bool:
    return line.result == _UNLOOKED and not line.effect


def _show_value(line: TraceLine) -> str:
    if line.raw is None:
        return "(missing)"
    if line.raw == b"null" or line.raw[:1] in (b"[", b"{"):
        return line.raw.decode("utf-8", "replace")
    return json.dumps(line.text, ensure_ascii=False)
