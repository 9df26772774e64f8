"""Which values of a sample bare words hit, for `flowd check --sample`: counted while the sample is filtered."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flowd.cli.table import show_number
from flowd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from flowd.filters.model import Filter, Rule
    from flowd.filterset import FilterSet, Format

VALUES_SHOWN = 5
"""Of the values that a bare word hits."""
MOST_COUNTED = 500_000
"""So many lines that bare words hit are looked at one by one, in some ten seconds; beyond them it is told."""

_Subject = tuple[tuple[str | int, ...], str]


class WordCounter:
    """Counts the values of the fields that a filter set's bare words look at, in the lines that any of them hits."""

    def __init__(self, filters: FilterSet, form: Format) -> None:
        from flowd.filters.lint.words import find_bare_words

        self._rules = [
            rule
            for section in filters.text.filters
            for step in section.steps
            for rule in step.rules
            if find_bare_words(rule) is not None
        ]
        self._counts: dict[_Subject, Counter[str]] = {}
        self._counted = 0
        self._is_cut = False
        self._form = form
        if not self._rules:
            return
        excludes = {rule.condition: _as_exclude(rule, number) for number, rule in enumerate(self._rules)}
        fields = {_subject(rule): rule for rule in excludes.values()}
        self._subjects = {rule.name: subject for subject, rule in fields.items()}
        self._hit = _make_filters(filters, tuple(excludes.values()), form)
        self._looked = _make_filters(filters, tuple(fields.values()), form)
        self._counts = {subject: Counter() for subject in fields}

    def count(self, lines: Buffer) -> None:
        """Look at a batch of lines."""
        if not self._rules or self._is_cut:
            return
        hit = self._hit.apply(lines, malformed="drop", invert=True).kept
        for line in hit.removesuffix(b"\n").split(b"\n") if hit else ():
            if self._counted == MOST_COUNTED:
                self._is_cut = True
                return
            self._counted += 1
            for looked in self._looked.explain(line).trace:
                self._counts[self._subjects[looked.rule]][looked.text] += 1

    def warnings(self) -> Iterator[Problem]:
        """A warning for each rule whose bare words hit other values than themselves."""
        from flowd import _core
        from flowd.filters.lint.patterns import compile_condition
        from flowd.filters.lint.words import find_bare_words

        among = f" in the first {self._counted:,} lines that such words hit" if self._is_cut else ""
        for rule in self._rules:
            bare = find_bare_words(rule)
            assert bare is not None
            compiled = compile_condition(rule.condition)
            regex = _core.Regex(compiled.reference, compiled.reference_options)
            others = [
                (value, lines)
                for value, lines in self._counts[_subject(rule)].most_common()
                if value not in bare.words and regex.search(value.encode())
            ]
            if not others:
                continue
            shown = ", ".join(f"{value} ({show_number(lines, 'line')})" for value, lines in others[:VALUES_SHOWN])
            more = f" and {len(others) - VALUES_SHOWN:,} more" if len(others) > VALUES_SHOWN else ""
            message = f"{rule.condition.pattern} also hits {shown}{more} in {rule.key}{among}"
            hint = (
                f"if the whole value is meant write {bare.anchored}; else say so with # flowd: ignore unanchored-word"
            )
            yield Problem(rule.file, rule.line, rule.column, message, hint, "unanchored-word")


def _as_exclude(rule: Rule, number: int) -> Rule:
    return rule._replace(name=f"word{number}", kind="exclude", group="")


def _make_filters(filters: FilterSet, rules: tuple[Rule, ...], form: Format) -> FilterSet:
    from flowd.filters.model import Filter, FilterText, Step
    from flowd.filterset import FilterSet

    first = rules[0]
    section: Filter = Filter("words", "**", (Step("not_any", rules),), first.file, first.line, first.column)
    return FilterSet(FilterText(filters.dialect, filters.stream, (section,)), format=form)


def _subject(rule: Rule) -> _Subject:
    return rule.condition.path, rule.condition.reading
