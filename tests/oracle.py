"""What a filter set does, in plain Python: slow, obvious, and written from the rules alone.

Tests compare the native core with it. It takes the same plain rules as the compiler and a `matcher` that says whether
a condition's pattern is found in a text, so that it depends on no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import oracle_ruby
import oracle_text
import oracle_value
from oracle_json import Malformed, Value, decode_key, parse_value, split_members

from flowd.filters.model import Condition, Expression, Filter, Rule, Step

Format = Literal["auto", "json", "text24", "text27"]
Matcher = Callable[[Condition, bytes], bool]
Record = dict[bytes, Value]

NO_RULE = "default"


class MatchError(Exception):
    """Matching raised: fluentd would log it and keep the record; it ends this filter only."""


@dataclass(frozen=True)
class Judgement:
    """A line's verdict letter, the rule or group that decided, how many filters ended in an error, and the shadow
    rules that would have dropped it."""

    letter: str
    rule: str
    errors: int = 0
    shadows: tuple[str, ...] = ()


@dataclass
class Course:
    """What has become of a line so far: beside what drops it."""

    line: bytes
    shadows: list[str]
    sampled_by: str = ""


@dataclass(frozen=True)
class Decision:
    """What one filter said: drop or not, and who said so (nobody: None)."""

    drop: bool
    rule: str | None


class Oracle:
    """Judges lines by the filters of one stream."""

    def __init__(self, filters: Iterable[Filter], matcher: Matcher) -> None:
        self.filters = tuple(filters)
        self.matcher = matcher
        rules = [rule for section in self.filters for step in section.steps for rule in step.rules]
        self.fields = {part.encode() for rule in rules if isinstance(part := rule.condition.path[0], str)}
        self.strict = {
            part.encode()
            for rule in rules
            if isinstance(part := rule.condition.path[0], str) and rule.condition.reading != "string"
        }

    def judge(self, line: bytes, form: Format = "auto") -> Judgement:
        """The verdict on a line (without its newline)."""
        try:
            record = self.read_record(line, form)
        except Malformed:
            return Judgement("M", NO_RULE)
        errors, rule = 0, NO_RULE
        course = Course(line, [])
        for section in self.filters:
            try:
                decision = self.run_filter(section, record, course)
            except MatchError:
                errors += 1
                continue
            rule = decision.rule or rule
            if decision.drop:
                return Judgement("D", rule, errors, tuple(course.shadows))
        if course.sampled_by and not errors:
            rule = f"{course.sampled_by}.sampled"
        return Judgement("E" if errors else "K", rule, errors, tuple(course.shadows))

    def read_record(self, line: bytes, form: Format) -> Record:
        """The fields that rules name; Malformed as the rules of the format say."""
        stripped = line.strip(b" \t\r")
        if not stripped:
            raise Malformed("a blank line")
        if form == "json" or (form == "auto" and stripped.startswith(b"{")):
            members = [(decode_key(key), raw) for key, raw in split_members(line)]
            return {key: parse_value(raw, strict=key in self.strict) for key, raw in members if key in self.fields}
        return oracle_text.map_record(line, {"text24": 24, "text27": 27}.get(form))

    def run_filter(self, section: Filter, record: Record, course: Course) -> Decision:
        """Runs a filter's steps in order, to the first that decides."""
        for step in section.steps:
            if step.expression is not None:
                decision = self.run_expression(step, step.expression, record, course)
            else:
                decision = self.run_step(step, record)
            if decision is not None:
                return decision
        return Decision(False, None)

    def run_expression(self, step: Step, expression: Expression, record: Record, course: Course) -> Decision | None:
        """What an expression decides; a gentle one may let the line go."""
        try:
            holds = self.holds(expression, step, record)
        except MatchError:
            if step.is_shadow:
                return None
            raise
        if holds != (step.kind == "when"):
            return None
        if step.is_shadow:
            course.shadows.append(step.group)
        elif step.sample and oracle_value.is_in_sample(course.line, step.group, step.sample):
            course.sampled_by = step.group
        else:
            return Decision(True, step.group)
        return None

    def holds(self, expression: Expression, step: Step, record: Record) -> bool:
        """Whether an expression is true, from left to right and only as far as it takes."""
        if expression.kind == "is":
            return self.matches(step.rules[expression.rule], record)
        if expression.kind == "not":
            return not self.holds(expression.parts[0], step, record)
        if expression.kind == "and":
            return all(self.holds(part, step, record) for part in expression.parts)
        return any(self.holds(part, step, record) for part in expression.parts)

    def run_step(self, step: Step, record: Record) -> Decision | None:
        """What a step decides; None where the next one goes on. Rules after the deciding one are not looked at."""
        if not step.rules:
            return None
        if step.kind == "all":
            for rule in step.rules:
                if not self.matches(rule, record):
                    return Decision(True, rule.name)
            return None
        if step.kind == "any":
            return None if any(self.matches(rule, record) for rule in step.rules) else Decision(True, step.group)
        if step.kind == "not_all":
            return Decision(True, step.group) if all(self.matches(rule, record) for rule in step.rules) else None
        if step.kind == "not_any":
            for rule in step.rules:
                if self.matches(rule, record):
                    return Decision(True, rule.group or rule.name)
            return None
        for rule in step.rules:
            matched = self.matches(rule, record)
            if rule.kind == "exclude" and matched:
                return Decision(True, rule.name)
            if rule.kind == "regexp":
                return Decision(not matched, rule.name)
        return None

    def matches(self, rule: Rule, record: Record) -> bool:
        """Whether a rule's pattern is found in the text of its field."""
        condition = rule.condition
        if condition.reading == "string":
            found = dig_string(record, condition.path)
            return found is not None and self.matcher(condition, found)
        if condition.reading == "value":
            return oracle_value.holds(condition, record, self.matcher)
        text = oracle_ruby.to_s(dig(record, condition.path))
        return self.matcher(condition, oracle_ruby.scrub(text))


def dig(record: Record, path: tuple[str | int, ...]) -> Value:
    """The value at a path as Ruby's `dig` finds it; MatchError where it would raise a TypeError."""
    value: Value = record
    for part in path:
        if value is None:
            return None
        if isinstance(value, dict):
            value = value.get(part.encode()) if isinstance(part, str) else None
        elif isinstance(value, list):
            if isinstance(part, str):
                raise MatchError("no implicit conversion of String into Integer")
            value = value[part] if -len(value) <= part < len(value) else None
        else:
            raise MatchError("the value does not have #dig method")
    return value


def dig_string(record: Record, path: tuple[str | int, ...]) -> bytes | None:
    """The string at a path as Fluent Bit finds it: subscripts of a top-level string are ignored; never an error."""
    value = record.get(path[0].encode()) if isinstance(path[0], str) else None
    if isinstance(value, bytes):
        return value
    for part in path[1:]:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part.encode())
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return None
    return value if isinstance(value, bytes) else None


def split_lines(lines: bytes) -> list[bytes]:
    """The lines of a batch with their newlines; the last one may lack it."""
    parts = [part + b"\n" for part in lines.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return parts if parts[-1] else parts[:-1]


def judge_all(oracle: Oracle, lines: bytes, form: Format = "auto") -> list[tuple[bytes, Judgement]]:
    """Every line of a batch with its judgement."""
    return [(line, oracle.judge(line.removesuffix(b"\n"), form)) for line in split_lines(lines)]


def verdicts(oracle: Oracle, lines: bytes, form: Format = "auto") -> bytes:
    """One letter a line."""
    return "".join(judgement.letter for _, judgement in judge_all(oracle, lines, form)).encode()


def keep(oracle: Oracle, lines: bytes, form: Format = "auto") -> bytes:
    """The lines of a batch that are not dropped, byte for byte."""
    return b"".join(line for line, judgement in judge_all(oracle, lines, form) if judgement.letter != "D")


def count_hits(oracle: Oracle, lines: bytes, form: Format = "auto") -> dict[str, tuple[int, int]]:
    """Lines and bytes (with their newlines) that each rule decided."""
    hits: dict[str, tuple[int, int]] = {}
    for line, judgement in judge_all(oracle, lines, form):
        count, size = hits.get(judgement.rule, (0, 0))
        hits[judgement.rule] = (count + 1, size + len(line))
        for shadow in judgement.shadows:
            count, size = hits.get(shadow, (0, 0))
            hits[shadow] = (count + 1, size + len(line))
    return hits
