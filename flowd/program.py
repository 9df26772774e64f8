"""Rules → the core's program: fields, subjects, predicates and steps, each kept once however many rules share it.

Decides which engine evaluates a pattern. Reads no files; what it makes is made again from the rules on unpickling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from flowd import _core
from flowd.errors import FlowdError
from flowd.filters.columns import find_columns
from flowd.filters.describe import describe_test
from flowd.filters.model import WORD_TESTS, Condition, FilterText, Rule, Step
from flowd.gentle import flatten_expression, sample_seed
from flowd.patterns import CompiledPattern, compile_pattern, escape_text

Engine = Literal["literal", "linear", "reference", "value"]

# With more words to be found anywhere in one subject than this, the linear engine finds them all in one pass sooner
# than one by one. Anchored words never need it: the core has an index of them.
MOST_LITERALS = 16

DEFAULT_RULE = "default"
SAMPLED = ".sampled"
"""Behind a rule's name: what it let go as its sample."""

_READINGS = {"ruby": 0, "string": 1, "value": 2}
_WORD_PATTERNS = {"equals": r"\A(?:%s)\z", "prefix": r"\A(?:%s)", "suffix": r"(?:%s)\z", "contains": "%s"}


class CompiledRule(NamedTuple):
    """One rule as it was compiled: where it stands, what it looks at, and which engine evaluates its pattern.

    `pattern` is the pattern, or another test in words (`cidr 10.0.0.0/8`), whose engine is `value` where it looks at
    the value instead of a text. `group` names the group that decides as a whole where the rule is in one, else it is
    empty. `is_shadow`, `sample` and `until_ns` are those of its step (flowd.filters.model).
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
    is_shadow: bool = False
    sample: int = 0
    until_ns: int = 0


class _Predicate:
    """A condition as the core takes it: a pattern, or the arguments of a test that looks at the value itself."""

    __slots__ = ("arguments", "engine", "pattern", "subject", "test")

    def __init__(
        self,
        subject: int,
        engine: Engine,
        pattern: CompiledPattern | None = None,
        test: str = "",
        arguments: tuple[object, ...] = (),
    ) -> None:
        self.subject = subject
        self.engine: Engine = engine
        self.pattern = pattern
        self.test = test
        self.arguments = arguments


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
    return _Builder((text,)).build()


def build_joint_program(texts: Sequence[FilterText]) -> tuple[_core.Program, tuple[tuple[int, ...], ...]]:
    """All texts as one program, and for each text the program's numbers of the fields that it reads.

    The sections stand text by text; rules are counted likewise, from 1: the default one, 0, is everyone's.
    """
    builder = _Builder(texts)
    program = builder.build().program
    return program, tuple(builder.fields_of(text) for text in texts)


def _all_rules(texts: Sequence[FilterText]) -> Iterator[tuple[Step, Rule]]:
    for text in texts:
        for section in text.filters:
            for step in section.steps:
                for rule in step.rules:
                    yield step, rule


class _Builder:
    """Compiles texts into one program. What decides is told apart by the text it stands in."""

    def __init__(self, texts: Sequence[FilterText]) -> None:
        self.texts = texts
        self.engine = forced_engine()
        self.fields: dict[str | int, int] = {}
        self.subject_ids: dict[tuple[int, tuple[str | int, ...], str], int] = {}
        self.predicate_ids: dict[Condition, int] = {}
        self.predicates: list[_Predicate] = []
        self.deciders: dict[tuple[int, str], int] = {(0, DEFAULT_RULE): 0}

    def build(self) -> CompiledProgram:
        for _, rule in _all_rules(self.texts):
            self.add_condition(rule.condition)
        self.order_predicates()
        sections = [
            [self.make_step(step, part) for step in section.steps]
            for part, text in enumerate(self.texts)
            for section in text.filters
        ]
        self.choose_engines()
        program = self.make_program(sections)
        of_rule = {rule.name: self.predicate_ids[rule.condition] for _, rule in _all_rules(self.texts)}
        rules = tuple(
            self.describe(step, rule, self.predicates[of_rule[rule.name]]) for step, rule in _all_rules(self.texts)
        )
        subjects = tuple(predicate.subject for predicate in self.predicates)
        return CompiledProgram(program, rules, tuple(name for _, name in self.deciders), of_rule, subjects)

    def fields_of(self, text: FilterText) -> tuple[int, ...]:
        return tuple(sorted({self.fields[rule.condition.path[0]] for _, rule in _all_rules((text,))}))

    def make_step(self, step: Step, part: int) -> tuple[object, ...]:
        predicates = [self.predicate_ids[rule.condition] for rule in step.rules]
        group = self.add_decider(part, step.group) if step.group else 0
        rules = [
            (predicate, 0 if rule.group else self.add_decider(part, rule.name), rule.kind == "exclude")
            for rule, predicate in zip(step.rules, predicates, strict=True)
        ]
        if step.expression is None:
            return step.kind, group, rules, None
        sampled = self.add_decider(part, step.group + SAMPLED) if step.sample else 0
        tests = flatten_expression(step.expression, predicates)
        seed = sample_seed(step.group)
        return step.kind, group, rules, (tests, step.is_shadow, step.sample, sampled, seed, step.until_ns)

    def add_decider(self, part: int, name: str) -> int:
        return self.deciders.setdefault((part, name), len(self.deciders))

    def order_predicates(self) -> None:
        """Numbers the predicates by subject, those that look at the value itself last: the core takes them so."""
        before = self.predicates
        order = sorted(range(len(before)), key=lambda at: (before[at].subject, before[at].pattern is None))
        places = {at: place for place, at in enumerate(order)}
        self.predicates = [before[at] for at in order]
        self.predicate_ids = {condition: places[at] for condition, at in self.predicate_ids.items()}

    def add_condition(self, condition: Condition) -> None:
        if condition in self.predicate_ids:
            return
        field = self.fields.setdefault(condition.path[0], len(self.fields))
        below = condition.path[1:]
        subject = self.subject_ids.setdefault((field, below, condition.reading), len(self.subject_ids))
        if condition.test == "pattern" or condition.test in WORD_TESTS:
            pattern = _compile_condition(condition)
            self.predicates.append(_Predicate(subject, pattern.engine, pattern))
        else:
            self.predicates.append(
                _Predicate(subject, "value", test=condition.test, arguments=_arguments_for_core(condition))
            )
        self.predicate_ids[condition] = len(self.predicates) - 1

    def choose_engines(self) -> None:
        literals = [0] * len(self.subject_ids)
        for predicate in self.predicates:
            literals[predicate.subject] += predicate.pattern is not None and predicate.pattern.kind == "contains"
        for predicate in self.predicates:
            if predicate.pattern is None:
                continue
            if self.engine == "reference":
                predicate.engine = "reference"
                continue
            has_linear = (
                self.engine == "auto" and predicate.pattern.linear is not None and not _core.find_linear_fault()
            )
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
            (field, tuple(part.encode() if isinstance(part, str) else part for part in below), _READINGS[reading])
            for field, below, reading in self.subject_ids
        ]
        strict = any(condition.reading != "string" for condition in self.predicate_ids)
        while True:
            predicates = [self.for_core(predicate) for predicate in self.predicates]
            try:
                return _core.Program(fields, subjects, predicates, sections, len(self.deciders), strict)
            except _core.RefusedByLinearEngine as refusal:
                # Too large for the linear engine, say: the reference engine takes what it refuses.
                for i in refusal.args[1]:
                    refused = self.predicates[i].pattern
                    is_literal = refused is not None and refused.engine == "literal"
                    self.predicates[i].engine = "literal" if is_literal else "reference"

    def for_core(self, predicate: _Predicate) -> tuple[object, ...]:
        pattern = predicate.pattern
        if pattern is None:
            return predicate.subject, predicate.test, predicate.arguments
        by_literal = pattern.engine == "literal" and self.engine != "reference"
        return (
            predicate.subject,
            pattern.kind if by_literal else "pattern",
            pattern.literals if by_literal else (),
            pattern.any_value,
            (pattern.linear, pattern.linear_flags) if predicate.engine == "linear" else None,
            _core.Regex(pattern.reference, pattern.reference_options),
        )

    def describe(self, step: Step, rule: Rule, predicate: _Predicate) -> CompiledRule:
        return CompiledRule(
            rule.name,
            rule.kind,
            rule.file,
            rule.line,
            rule.column,
            rule.key,
            describe_test(rule.condition),
            predicate.engine,
            rule.group,
            step.is_shadow,
            step.sample,
            step.until_ns,
        )


def _compile_condition(condition: Condition) -> CompiledPattern:
    """The pattern of a condition; words are patterns of their own kind."""
    source = condition.pattern
    if condition.test != "pattern":
        source = _WORD_PATTERNS[condition.test] % "|".join(map(escape_text, condition.arguments))
    return compile_pattern(
        source,
        ignore_case=condition.ignore_case,
        dotall=condition.dotall,
        dialect="onigmo" if condition.reading == "string" else "ruby",
    )


def _arguments_for_core(condition: Condition) -> tuple[object, ...]:
    """A value test's arguments as the core takes them (flowd/core/conditions.pxi)."""
    if condition.test == "cidr":
        return tuple(_network_bytes(network) for network in condition.arguments)
    if condition.test == "number":
        return tuple((comparison, number.encode()) for comparison, number in condition.arguments)
    return tuple(
        (label.encode(), operator, tuple(value.encode() for value in values))
        for label, operator, values in condition.arguments
    )


def _network_bytes(network: str) -> tuple[bytes, int]:
    """A network as 16 bytes and the length of its prefix in them: IPv4 lies behind ::ffff:0:0/96."""
    from ipaddress import ip_network

    parsed = ip_network(network, strict=False)
    packed = parsed.network_address.packed
    if parsed.version == 4:
        return bytes(10) + b"\xff\xff" + packed, parsed.prefixlen + 96
    return packed, parsed.prefixlen
