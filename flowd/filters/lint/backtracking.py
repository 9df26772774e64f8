"""Patterns that the reference engine can be kept busy with: a short value on which it meets its step limit.

Nothing is guessed: a pattern is told only with a value of at most forty characters on which it really happened.
"""

from __future__ import annotations

import re

from flowd.filters.lint.patterns import compile_condition, each_rule, place_of
from flowd.filters.model import Condition, FilterText
from flowd.filters.source import Report

_QUANTIFIER = re.compile(r"[*+|]|\{\d*,?\d*\}")
_LITERAL_START = re.compile(r"\^?(?:\\A)?(?P<text>[A-Za-z0-9_-]+)(?![*+?{])")
_WORD = re.compile(r"[A-Za-z0-9]+")
_ALWAYS = ("a", "0", "A", "-", ".", " ", "_", "a-", "a.", "a ")
_TURNS = 30
# What a polynomial pattern needs on so short a value stays far below.
_STEPS = 300_000
_MOST_PATTERNS = 2_000
_SHOWN = 40


def warn_backtracking(text: FilterText, report: Report) -> None:
    """Warn about each pattern that a value of some thirty characters brings to the step limit."""
    seen: dict[Condition, str] = {}
    for _, _, rule in each_rule(text):
        condition = rule.condition._replace(path=())
        if condition.test != "pattern" or len(seen) > _MOST_PATTERNS:
            continue
        if condition not in seen:
            seen[condition] = find_costly_value(condition)
        value = seen[condition]
        if value:
            report.warning(
                place_of(rule),
                f"the pattern takes exponential time: on {value[:_SHOWN]!r} the reference engine gives up",
                hint="a repeat inside a repeat can match one text in many ways: write (a+)+ as a+; lines with such a"
                " value are kept, and counted as errors",
                code="exponential-pattern",
            )


def find_costly_value(condition: Condition) -> str:
    """A short value on which the reference engine meets a step limit; nothing where none was found."""
    if len(_QUANTIFIER.findall(condition.pattern)) < 2:
        return ""
    from flowd import _core

    compiled = compile_condition(condition)
    if compiled.engine == "literal":
        return ""
    regex = _core.Regex(compiled.reference, compiled.reference_options)
    begin = _LITERAL_START.match(condition.pattern)
    starts = ["", begin["text"]] if begin else [""]
    words = dict.fromkeys(
        (*_ALWAYS, *(word for found in _WORD.findall(condition.pattern) for word in (found, found[0])))
    )
    for start in starts:
        for word in words:
            for end in ("!", "\0", ""):
                value: str = start + (word * _TURNS)[:_TURNS] + end
                if regex.search(value.encode(), _STEPS) is None:
                    return value
    return ""
