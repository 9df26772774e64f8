"""What the checks share: a condition's pattern, understood, once however often it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from flowd.filters.model import WORD_TESTS, Condition, Filter, FilterText, Rule, Step
from flowd.filters.source import Place
from flowd.patterns import CompiledPattern, compile_pattern
from flowd.patterns.nodes import Tree
from flowd.patterns.parse import parse

_KINDS = {"equals": "exact", "prefix": "prefix", "suffix": "suffix", "contains": "contains"}


class Words(NamedTuple):
    """Words of which one must fit: `kind` is exact, prefix, suffix or contains."""

    kind: str
    words: tuple[str, ...]


@lru_cache(maxsize=50_000)
def compile_condition(condition: Condition) -> CompiledPattern:
    """The pattern of a condition whose test is `pattern`."""
    return compile_pattern(
        condition.pattern,
        ignore_case=condition.ignore_case,
        dotall=condition.dotall,
        dialect="onigmo" if condition.reading == "string" else "ruby",
    )


def parse_condition(condition: Condition) -> Tree:
    """The tree of such a pattern."""
    return parse(
        condition.pattern,
        ignore_case=condition.ignore_case,
        dotall=condition.dotall,
        dialect="onigmo" if condition.reading == "string" else "ruby",
    )


def find_words(condition: Condition) -> Words | None:
    """The words that a condition is about, where it is about nothing else."""
    if condition.ignore_case:
        return None
    if condition.test in WORD_TESTS:
        return Words(_KINDS[condition.test], tuple(condition.arguments))
    if condition.test != "pattern":
        return None
    compiled = compile_condition(condition)
    if compiled.engine != "literal" or compiled.kind == "any":
        return None
    return Words(compiled.kind, tuple(literal.decode() for literal in compiled.literals))


def takes_any_text(condition: Condition) -> bool:
    """Does it match every text?"""
    return condition.test == "pattern" and compile_condition(condition).kind == "any"


@lru_cache(maxsize=50_000)
def takes_nothing(condition: Condition) -> bool:
    """Does a pattern match the empty text, which in fluentd's reading a missing field is?"""
    from flowd import _core

    if condition.test != "pattern":
        return False
    compiled = compile_condition(condition)
    return bool(_core.Regex(compiled.reference, compiled.reference_options).search(b""))


def each_rule(text: FilterText) -> Iterator[tuple[Filter, Step, Rule]]:
    """Every rule with where it stands."""
    for section in text.filters:
        for step in section.steps:
            for rule in step.rules:
                yield section, step, rule


def place_of(rule: Rule) -> Place:
    """Where a rule is written."""
    return Place(rule.file, rule.line, rule.column)
