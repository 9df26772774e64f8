"""Rules that decide nothing, or everything: dead, repeated, shadowed by others, impossible, ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flowd.filters.lint.patterns import Words, find_words, place_of, takes_any_text
from flowd.filters.model import Condition, FilterText, Rule, Step
from flowd.filters.source import Report

_LONGEST_WORD = 200  # parts of a word are looked for one by one

Subject = tuple[tuple[str | int, ...], str]


@dataclass(slots=True)
class _Excluded:
    """The words of earlier excludes on one subject, by how they fit, each with its rule."""

    by_kind: dict[str, dict[str, Rule]] = field(
        default_factory=lambda: {"exact": {}, "prefix": {}, "suffix": {}, "contains": {}}
    )

    def add(self, words: Words, rule: Rule) -> None:
        for word in words.words:
            self.by_kind[words.kind].setdefault(word, rule)

    def find(self, kind: str, word: str) -> Rule | None:
        """An earlier rule that matches whatever this word matches."""
        if len(word) > _LONGEST_WORD:
            return None
        if kind == "exact" and word in self.by_kind["exact"]:
            return self.by_kind["exact"][word]
        if kind in ("exact", "prefix"):
            for end in range(len(word) + 1):
                if (found := self.by_kind["prefix"].get(word[:end])) is not None:
                    return found
        if kind in ("exact", "suffix"):
            for begin in range(len(word) + 1):
                if (found := self.by_kind["suffix"].get(word[begin:])) is not None:
                    return found
        contained = self.by_kind["contains"]
        if contained:
            for size in {len(known) for known in contained}:
                for begin in range(len(word) - size + 1):
                    if (found := contained.get(word[begin : begin + size])) is not None:
                        return found
        return None


def warn_decisions(text: FilterText, report: Report, now_ns: int) -> None:
    """Warn about rules that can never decide, or that leave nothing for others."""
    _DecisionReader(text.stream, report, now_ns).read(text)


class _DecisionReader:
    """Follows a line through the filters in their order: what can be said of the lines that are left."""

    def __init__(self, stream: str, report: Report, now_ns: int) -> None:
        self._stream = stream
        self._report = report
        self._now_ns = now_ns
        self._excluded: defaultdict[Subject, _Excluded] = defaultdict(_Excluded)
        self._required: dict[Subject, tuple[frozenset[str], Rule]] = {}
        self._seen: dict[tuple[str, Condition], Rule] = {}
        self._ended_by: Rule | None = None

    def read(self, text: FilterText) -> None:
        for section in text.filters:
            for step in section.steps:
                self._read_step(step)

    def _read_step(self, step: Step) -> None:
        if step.until_ns and step.until_ns <= self._now_ns and step.rules:
            end = datetime.fromtimestamp(step.until_ns // 1_000_000_000, UTC)
            self._warn(
                step.rules[0],
                f"{step.group} ended on {end:%Y-%m-%d %H:%M} UTC: it does nothing",
                "remove it",
                "rule-ended",
            )
            return
        if self._ended_by is not None and step.rules:
            rule = step.rules[0]
            self._warn(
                rule,
                f"{step.group or rule.name} never decides: {self._ended_by.name} drops every line before",
                f"look at the rule at {place_of(self._ended_by)}",
                "never-decides",
            )
            return
        if step.kind == "not_any":
            for rule in step.rules:
                self._read_exclude(rule)
        elif step.kind == "all":
            for rule in step.rules:
                self._read_regexp(rule)
        elif step.kind == "first":
            self._read_first(step)

    def _read_first(self, step: Step) -> None:
        for number, rule in enumerate(step.rules):
            if rule.kind == "exclude":
                self._read_exclude(rule)
                continue
            self._read_regexp(rule)
            for dead in step.rules[number + 1 :]:
                self._warn(
                    dead,
                    f"{dead.name} never decides: in Fluent Bit the first regex ends the filter",
                    f"the regex at {place_of(rule)} decides; put it into a filter of its own behind this one",
                    "dead-rule",
                )
            return

    def _read_exclude(self, rule: Rule) -> None:
        if self._is_duplicate("exclude", rule):
            return
        if takes_any_text(rule.condition) and rule.condition.reading == "ruby":
            self._warn(
                rule,
                f"{rule.name} drops every line: its pattern matches any text, and what is missing, too",
                "write a pattern that some values do not match",
                "drops-everything",
            )
            self._ended_by = rule
            return
        words = find_words(rule.condition)
        if words is None:
            return
        subject = rule.condition.path, rule.condition.reading
        self._compare_required(rule, words, subject)
        earlier = self._excluded[subject]
        covering = [earlier.find(words.kind, word) for word in words.words]
        if covering and all(covering):
            first = covering[0]
            assert first is not None
            self._warn(
                rule,
                f"{rule.name} never decides: {first.name} drops all that it matches before",
                f"remove it, or the rule at {place_of(first)}",
                "shadowed-rule",
            )
        earlier.add(words, rule)

    def _compare_required(self, rule: Rule, words: Words, subject: Subject) -> None:
        """Can it match what an earlier regexp has left?"""
        required = self._required.get(subject)
        if required is not None and not any(_fits(words, value) for value in required[0]):
            self._warn(
                rule,
                f"{rule.name} never decides: {required[1].name} leaves no value of {rule.key} that it matches",
                f"remove it, or look at the rule at {place_of(required[1])}",
                "never-decides",
            )

    def _read_regexp(self, rule: Rule) -> None:
        if self._is_duplicate("regexp", rule):
            return
        if takes_any_text(rule.condition) and rule.condition.reading == "ruby":
            self._warn(
                rule,
                f"{rule.name} never decides: its pattern matches any text, and what is missing, too",
                "remove it, or write a pattern that some values do not match",
                "never-decides",
            )
            return
        words = find_words(rule.condition)
        if words is None or words.kind != "exact":
            return
        subject = rule.condition.path, rule.condition.reading
        values = frozenset(words.words)
        if subject in self._required:
            before, first = self._required[subject]
            if not values & before:
                self._warn(
                    rule,
                    f"{rule.name} drops every line: what {first.name} leaves is never what it asks for",
                    f"join the two patterns with |; the other is at {place_of(first)}",
                    "drops-everything",
                )
                self._ended_by = rule
                return
            values &= before
        self._required[subject] = values, rule

    def _is_duplicate(self, kind: str, rule: Rule) -> bool:
        first = self._seen.setdefault((kind, rule.condition), rule)
        if first is rule:
            return False
        self._warn(
            rule,
            f"{rule.name} says the same as {first.name}",
            f"remove one of them; the other is at {place_of(first)}",
            "duplicate-rule",
        )
        return True

    def _warn(self, rule: Rule, message: str, hint: str, code: str) -> None:
        self._report.warning(place_of(rule), message, hint=hint, code=code)


def _fits(words: Words, value: str) -> bool:
    if words.kind == "exact":
        return value in words.words
    if words.kind == "prefix":
        return value.startswith(words.words)
    if words.kind == "suffix":
        return value.endswith(words.words)
    return any(word in value for word in words.words)
