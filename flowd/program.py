"""Rules → the core's program: fields, subjects, predicates and steps, each kept once however many rules share it.

Decides which engine evaluates a pattern. Reads no files; what it makes is made again from the rules on unpickling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from flowd import _core
from flowd.errors import FlowdError
from flowd.filters.columns import find_columns
from flowd.filters.model import Condition, FilterText, Rule
from flowd.patterns import CompiledPattern, compile_pattern

Engine = Literal["literal", "linear", "reference"]

# With more words to be found anywhere in one subject than this, the linear engine finds them all in one pass sooner
# than one by one. Anchored words never need it: the core has an index of them.
MOST_LITERALS = 16

DEFAULT_RULE = "default"


class CompiledRule(NamedTuple):
    """One rule as it was compiled: where it stands, what it looks at, and which engine evaluates its pattern.

    `group` names the `and` or `or` group that decides as a whole where the rule is in one, else it is empty.
    """

    name: str
    kind: Literal["regexp", "exclude"]
    file: str
    line: int
    column: int
    field: str
    pattern: str
    engine: Engine
    group: str = ""


@dataclass(slots=True)
class _Predicate:
    subject: int
    pattern: CompiledPattern
    engine: Engine


class CompiledProgram(NamedTuple):
    """The core's program with what its numbers stand for.

    `deciders` are the names of what can decide, by the core's rule index (0 is `default`). `predicates` gives each
    rule's predicate, `subjects` each predicate's subject.
    """

    program: _core.Program
    rules: tuple[CompiledRule, ...]
    deciders: tuple[str, ...]
    predicates: dict[str, int]
    subjects: tuple[int, ...]


def forced_engine() -> str:
    """What FLOWD_ENGINE asks for: `auto`, `portable` (no linear engine) or `reference` (Oniguruma for everything)."""
    engine = os.environ.get("FLOWD_ENGINE") or "auto"
    if engine not in ("auto", "portable", "reference"):
        raise FlowdError(f"FLOWD_ENGINE is {engine!r}", hint="it is one of auto, portable, reference")
    return engine


def build_program(text: FilterText) -> CompiledProgram:
    """Compiles the filters of a text. The patterns were checked when it was read."""
    return _Builder(text).build()


def _all_rules(text: FilterText) -> Iterator[Rule]:
    for section in text.filters:
        for step in section.steps:
            yield from step.rules


class _Builder:
    def __init__(self, text: FilterText) -> None:
        self.text = text
        self.engine = forced_engine()
        self.onigmo = text.dialect.startswith("fluentbit")
        self.fields: dict[str | int, int] = {}
        self.subject_ids: dict[tuple[int, tuple[str | int, ...], str], int] = {}
        self.predicate_ids: dict[Condition, int] = {}
        self.predicates: list[_Predicate] = []
        self.deciders: dict[str, int] = {DEFAULT_RULE: 0}

    def build(self) -> CompiledProgram:
        of_rule = {rule.name: self.add_condition(rule.condition) for rule in _all_rules(self.text)}
        sections = [
            [
                (
                    step.kind,
                    self.add_decider(step.group) if step.group else 0,
                    [
                        (of_rule[rule.name], 0 if rule.group else self.add_decider(rule.name), rule.kind == "exclude")
                        for rule in step.rules
                    ],
                )
                for step in section.steps
            ]
            for section in self.text.filters
        ]
        self.choose_engines()
        program = self.make_program(sections)
        rules = tuple(self.describe(rule, self.predicates[of_rule[rule.name]]) for rule in _all_rules(self.text))
        subjects = tuple(predicate.subject for predicate in self.predicates)
        return CompiledProgram(program, rules, tuple(self.deciders), of_rule, subjects)

    def add_decider(self, name: str) -> int:
        return self.deciders.setdefault(name, len(self.deciders))

    def add_condition(self, condition: Condition) -> int:
        known = self.predicate_ids.get(condition)
        if known is not None:
            return known
        field = self.fields.setdefault(condition.path[0], len(self.fields))
        below = condition.path[1:]
        subject = self.subject_ids.setdefault((field, below, condition.reading), len(self.subject_ids))
        pattern = compile_pattern(
            condition.pattern,
            ignore_case=condition.ignore_case,
            dotall=condition.dotall,
            dialect="onigmo" if self.onigmo else "ruby",
        )
        self.predicates.append(_Predicate(subject, pattern, pattern.engine))
        self.predicate_ids[condition] = len(self.predicates) - 1
        return len(self.predicates) - 1

    def choose_engines(self) -> None:
        literals = [0] * len(self.subject_ids)
        for predicate in self.predicates:
            literals[predicate.subject] += predicate.pattern.kind == "contains"
        for predicate in self.predicates:
            if self.engine == "reference":
                predicate.engine = "reference"
                continue
            has_linear = _core.HAS_VECTORSCAN and self.engine == "auto" and predicate.pattern.linear is not None
            if predicate.engine == "literal":
                if has_linear and predicate.pattern.kind == "contains" and literals[predicate.subject] > MOST_LITERALS:
                    predicate.engine = "linear"
            elif not has_linear:
                predicate.engine = "reference"

    def make_program(self, sections: Sequence[object]) -> _core.Program:
        # An index at the top of a record is never found: records are maps with text keys.
        fields = [
            (key.encode(), *find_columns(key)) if isinstance(key, str) else (None, None, None) for key in self.fields
        ]
        subjects = [
            (field, tuple(part.encode() if isinstance(part, str) else part for part in below), int(reading == "string"))
            for field, below, reading in self.subject_ids
        ]
        strict = not self.onigmo
        while True:
            predicates = [self.for_core(predicate) for predicate in self.predicates]
            try:
                return _core.Program(fields, subjects, predicates, sections, len(self.deciders), strict)
            except _core.RefusedByLinearEngine as refusal:
                # Too large for the linear engine, say: the reference engine takes what it refuses.
                for i in refusal.args[1]:
                    self.predicates[i].engine = self.predicates[i].pattern.engine
                    if self.predicates[i].engine == "linear":
                        self.predicates[i].engine = "reference"

    def for_core(self, predicate: _Predicate) -> tuple[object, ...]:
        pattern = predicate.pattern
        by_literal = pattern.engine == "literal" and self.engine != "reference"
        return (
            predicate.subject,
            pattern.kind if by_literal else "pattern",
            pattern.literals if by_literal else (),
            pattern.any_value,
            (pattern.linear, pattern.linear_flags) if predicate.engine == "linear" else None,
            _core.Regex(pattern.reference, pattern.reference_options),
        )

    def describe(self, rule: Rule, predicate: _Predicate) -> CompiledRule:
        condition = rule.condition
        options = ("i" if condition.ignore_case else "") + ("m" if condition.dotall else "")
        pattern = f"/{condition.pattern}/{options}" if options else condition.pattern
        return CompiledRule(
            rule.name, rule.kind, rule.file, rule.line, rule.column, rule.key, pattern, predicate.engine, rule.group
        )
