"""What filters say and their writers probably did not mean: every check has a code and a documented page.

`warn_fields` runs whenever filters are read; the others cost more and run for `flowd check` alone.
"""

from __future__ import annotations

from flowd.errors import Problem
from flowd.filters.lint.backtracking import warn_backtracking
from flowd.filters.lint.decisions import warn_decisions
from flowd.filters.lint.values import warn_values
from flowd.filters.lint.words import warn_words
from flowd.filters.model import FilterText
from flowd.filters.source import Report, sort_problems


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
