"""What filters say, in sentences: one for each rule or group that can decide.

drop a flow when dest_name_aggr starts with nginx-internet and source_name_aggr contains pub
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from flowd.filters.describe import describe_requirement
from flowd.filters.model import Condition, Expression, FilterText, Rule, Step

_NOUNS = {"flows": "a flow", "dns": "a DNS log line"}
_PLAIN = re.compile(r"[\w.:/*@+-]+\Z")
_COMPARISONS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}
# Each test's verb, and the verb of its opposite.
_VERBS = {
    "contains": ("contains", "does not contain"),
    "prefix": ("starts with", "does not start with"),
    "suffix": ("ends with", "does not end with"),
    "exact": ("is", "is not"),
    "equals": ("is", "is not"),
    "matches": ("matches", "does not match"),
}


class Sentence(NamedTuple):
    """What one rule or group decides: `rule` is its name, as in counters and traces."""

    filter: str
    rule: str
    text: str


def write_sentences(text: FilterText) -> list[Sentence]:
    """The sentences of all filters that apply to the text's stream, in the order in which they are asked."""
    noun = _NOUNS.get(text.stream, "a line")
    return [
        Sentence(section.name, rule, sentence)
        for section in text.filters
        for step in section.steps
        for rule, sentence in _write_step(step, noun)
    ]


def _write_step(step: Step, noun: str) -> Iterator[tuple[str, str]]:
    if not step.rules:
        return
    if step.kind == "not_any":
        for rule in step.rules:
            yield rule.name, f"drop {noun} when {_say_rule(rule)}"
    elif step.kind == "all":
        for rule in step.rules:
            yield rule.name, f"drop {noun} unless {_say_rule(rule)}"
    elif step.kind == "any":
        yield step.group, f"drop {noun} unless {' or '.join(map(_say_rule, step.rules))}"
    elif step.kind == "not_all":
        yield step.group, f"drop {noun} when {' and '.join(map(_say_rule, step.rules))}"
    elif step.kind == "first":
        yield from _write_first(step, noun)
    elif step.expression is not None:
        yield step.group, _write_expression(step, step.expression, noun)


def _write_first(step: Step, noun: str) -> Iterator[tuple[str, str]]:
    """Fluent Bit's list: what stands behind its first regex never decides."""
    for number, rule in enumerate(step.rules):
        if rule.kind == "exclude":
            yield rule.name, f"drop {noun} when {_say_rule(rule)}"
            continue
        dead = len(step.rules) - number - 1
        note = ""
        if dead:
            note = f" (the {dead} rules behind it never decide)" if dead > 1 else " (the rule behind it never decides)"
        yield rule.name, f"drop {noun} unless {_say_rule(rule)}{note}"
        return


def _write_expression(step: Step, expression: Expression, noun: str) -> str:
    verb = "count, but do not drop," if step.is_shadow else "drop"
    word = "when" if step.kind == "when" else "unless"
    sentence = f"{verb} {noun} {word} {_say(expression, step.rules, False, True)}"
    if step.sample and not step.is_shadow:
        sentence += f"; one in {step.sample:,} goes on"
    if step.until_ns:
        end = datetime.fromtimestamp(step.until_ns // 1_000_000_000, UTC)
        sentence = f"until {end:%Y-%m-%d %H:%M} UTC: {sentence}"
    return sentence


def _say(expression: Expression, rules: Sequence[Rule], is_negated: bool, is_outermost: bool) -> str:
    """An expression in words; a negation is carried down to the conditions."""
    if expression.kind == "is":
        return _say_rule(rules[expression.rule], is_negated)
    if expression.kind == "not":
        return _say(expression.parts[0], rules, not is_negated, is_outermost)
    parts = [_say(part, rules, is_negated, len(expression.parts) == 1) for part in expression.parts]
    joined = (" and " if (expression.kind == "and") != is_negated else " or ").join(parts)
    return joined if is_outermost or len(parts) == 1 else f"({joined})"


def _say_rule(rule: Rule, is_negated: bool = False) -> str:
    condition = rule.condition
    words = _say_condition(condition, is_negated)
    if condition.ignore_case:
        words += " (ignoring case)"
    if condition.test == "pattern" and condition.reading == "ruby" and _takes_nothing(condition):
        words += " and is not missing" if is_negated else " or is missing"
    if isinstance(condition.path[0], int):
        words += " (but no line has this field)"
    return f"{rule.key} {words}"


def _say_condition(condition: Condition, is_negated: bool) -> str:
    if condition.test == "pattern":
        return _say_pattern(condition, is_negated)
    if condition.test in ("exists", "null"):
        return ("is not " if is_negated else "is ") + ("there" if condition.test == "exists" else "null")
    if condition.test == "cidr":
        networks = [network.removesuffix("/32").removesuffix("/128") for network in condition.arguments]
        return ("is not in " if is_negated else "is in ") + _join(networks)
    if condition.test == "number":
        bounds = " and ".join(f"{_COMPARISONS[comparison]} {number}" for comparison, number in condition.arguments)
        return f"is not {bounds}" if is_negated else f"is {bounds}"
    if condition.test == "labels":
        selector = ",".join(_say_requirement(*requirement) for requirement in condition.arguments)
        return f"{_VERBS['matches'][is_negated]} the label selector {selector}"
    return _say_words(condition.test, condition.arguments, is_negated)


def _say_pattern(condition: Condition, is_negated: bool) -> str:
    from flowd.patterns import compile_pattern

    compiled = compile_pattern(
        condition.pattern,
        ignore_case=condition.ignore_case,
        dotall=condition.dotall,
        dialect="onigmo" if condition.reading == "string" else "ruby",
    )
    if compiled.kind == "any":
        return "is no text" if is_negated else "is any text"
    if compiled.engine == "literal":
        return _say_words(compiled.kind, [literal.decode() for literal in compiled.literals], is_negated)
    options = "m" if condition.dotall else ""
    return f"{_VERBS['matches'][is_negated]} /{condition.pattern}/{options}"


def _say_words(test: str, words: Sequence[str], is_negated: bool) -> str:
    if list(words) == [""] and test in ("exact", "equals"):
        return "is not empty" if is_negated else "is empty"
    return f"{_VERBS[test][is_negated]} {_join([_quote(word) for word in words])}"


def _say_requirement(label: str, operator: str, values: tuple[str, ...]) -> str:
    """A part of a label selector, as short as Kubernetes takes it."""
    if operator in ("in", "notin") and len(values) == 1:
        return f"{label}{'=' if operator == 'in' else '!='}{values[0]}"
    return describe_requirement(label, operator, values)


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _quote(word: str) -> str:
    return word if _PLAIN.match(word) else json.dumps(word, ensure_ascii=False)


def _takes_nothing(condition: Condition) -> bool:
    """Is the empty text matched, which in fluentd's reading a missing field is?"""
    from flowd import _core
    from flowd.patterns import compile_pattern

    compiled = compile_pattern(condition.pattern, ignore_case=condition.ignore_case, dotall=condition.dotall)
    return bool(_core.Regex(compiled.reference, compiled.reference_options).search(b""))
