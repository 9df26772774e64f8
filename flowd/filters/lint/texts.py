"""All checks over whole texts, for `flowd check`: they cost more than reading the filters does."""

from __future__ import annotations

from collections.abc import Sequence

from flowd.errors import Problem
from flowd.filters.lint.backtracking import warn_backtracking
from flowd.filters.lint.decisions import warn_decisions
from flowd.filters.lint.patterns import each_rule, place_of
from flowd.filters.lint.values import warn_values
from flowd.filters.lint.words import warn_words
from flowd.filters.model import Filter, FilterText
from flowd.filters.source import Place, Report, sort_problems

_Told = tuple[Place, str]

_BY_STREAM = frozenset(("never-decides", "drops-everything", "duplicate-rule", "shadowed-rule", "unknown-value"))
"""What may be so in one stream, and not in another that the same rule is for."""


def lint_text(text: FilterText, *, now_ns: int, target: str = "") -> list[Problem]:
    """What is doubtful in the filters that apply to the text's stream.

    `target` is a dialect, or empty: what would mean something else there is told, too.
    """
    report = Report()
    warn_words(text, report)
    warn_values(text, report, target)
    warn_decisions(text, report, now_ns)
    warn_backtracking(text, report)
    return sort_problems(report.warnings)


def lint_streams(texts: Sequence[FilterText], *, now_ns: int, target: str = "") -> list[Problem]:
    """The same for one text, resolved for several streams.

    That a rule decides nothing, or everything, is told only if it is so in every stream that the rule is for.
    """
    found: list[Problem] = []
    linted: dict[tuple[Filter, ...], set[_Told]] = {}
    known_streams = []
    for text in texts:
        if text.filters not in linted:
            warnings = lint_text(text, now_ns=now_ns, target=target)
            linted[text.filters] = {_told(warning) for warning in warnings}
            found += warnings
            known_streams.append(text)
    applies: dict[Place, int] = {}
    for text in known_streams:
        for place in {place_of(rule) for _, _, rule in each_rule(text)}:
            applies[place] = applies.get(place, 0) + 1
    times: dict[_Told, int] = {}
    for tellings in linted.values():
        for told in tellings:
            times[told] = times.get(told, 0) + 1
    return sort_problems(
        [
            warning
            for warning in found
            if warning.code not in _BY_STREAM or times[_told(warning)] == applies.get(_told(warning)[0])
        ]
    )


def lint_values(texts: Sequence[FilterText], targets: Sequence[str]) -> list[Problem]:
    """What would mean something else in any of these dialects."""
    report = Report()
    for filters, text in {text.filters: text for text in reversed(texts)}.items():
        for target in targets if filters else ():
            warn_values(text, report, target)
    return report.warnings


def _told(warning: Problem) -> _Told:
    return Place(warning.file, warning.line, warning.column), warning.code
