"""What filters say, in sentences: one for each rule or group that can decide.

drop a flow when dest_name_aggr starts with nginx-internet and source_name_aggr contains pub
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from flowd.filters.describe import describe_requirement
from flowd.filters.lint.patterns import takes_nothing
from flowd.filters.model import Condition, Expression, FilterText, Rule, Step

_NOUNS = {"flows": "a flow", "dns": "a DNS log line"}
_PLAIN = re.compile(r"[\w.:/*@+-]+\Z")
_PLAIN_KEY = re.compile(r"[^\s\"]+\Z")
_COMPARISONS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least"}
# What is said of texts, and what of a field that may also be null or missing.
_WITH_NOTHING = {
    "is any text": "is anything, even null or missing",
    "is no text": "is nothing at all, which cannot be",
    "is empty": "is empty, null or missing",
    "is not empty": "is neither empty, nor null, nor missing",
}
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
        yield step.group, f"drop {noun} unless {_combine(map(_say_rule, step.rules), 'or')}"
    elif step.kind == "not_all":
        yield step.group, f"drop {noun} when {_combine(map(_say_rule, step.rules), 'and')}"
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
        time = f"{end:%H:%M:%S}" if end.second else f"{end:%H:%M}"
        sentence = f"until {end:%Y-%m-%d} {time} UTC: {sentence}"
    return sentence


def _say(expression: Expression, rules: Sequence[Rule], is_negated: bool, is_outermost: bool) -> str:
    """An expression in words; a negation is carried down to the conditions."""
    if expression.kind == "is":
        return _say_rule(rules[expression.rule], is_negated)
    if expression.kind == "not":
        return _say(expression.parts[0], rules, not is_negated, is_outermost)
    if len(expression.parts) == 1:
        return _say(expression.parts[0], rules, is_negated, is_outermost)
    parts = [_say(part, rules, is_negated, False) for part in expression.parts]
    joined = _combine(parts, "and" if (expression.kind == "and") != is_negated else "or")
    return joined if is_outermost else f"({joined})"


def _combine(parts: Iterable[str], word: Literal["and", "or"]) -> str:
    """Conditions in a row; in brackets where one of them has the other word in it."""
    other = " or " if word == "and" else " and "
    said = [f"({part})" if other in part and not part.startswith("(") else part for part in parts]
    return said[0] if len(said) == 1 else f" {word} ".join(said)


def _say_rule(rule: Rule, is_negated: bool = False) -> str:
    condition = rule.condition
    words = _say_condition(condition, is_negated)
    if condition.ignore_case:
        words += " (ignoring case)"
    if condition.test == "pattern" and condition.reading == "ruby" and takes_nothing(condition):
        more = " and is neither null nor missing" if is_negated else " or is null or missing"
        words = _WITH_NOTHING.get(words) or words + more
    if isinstance(condition.path[0], int):
        words += " (but no line has this field)"
    return f"{_quote(rule.key, _PLAIN_KEY)} {words}"


def _say_condition(condition: Condition, is_negated: bool) -> str:
    if condition.test == "pattern":
        return _say_pattern(condition, is_negated)
    if condition.test in ("exists", "null"):
        return ("is not " if is_negated else "is ") + ("there" if condition.test == "exists" else "null")
    if condition.test == "cidr":
        networks = [network.removesuffix("/32").removesuffix("/128") for network in condition.arguments]
        return _say_any("is in", "is not in", networks, is_negated)
    if condition.test == "number":
        lowest_first = sorted(condition.arguments, key=lambda bound: bound[0], reverse=True)
        bounds = " and ".join(f"{_COMPARISONS[comparison]} {number}" for comparison, number in lowest_first)
        return f"is no number that is {bounds}" if is_negated else f"is {bounds}"
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
    return f"{_VERBS['matches'][is_negated]} /{_show(condition.pattern)}/{options}"


def _say_words(test: str, words: Sequence[str], is_negated: bool) -> str:
    if list(words) == [""] and test in ("exact", "equals"):
        return "is not empty" if is_negated else "is empty"
    return _say_any(*_VERBS[test], [_quote(word) for word in words], is_negated)


def _say_any(verb: str, opposite: str, words: Sequence[str], is_negated: bool) -> str:
    """One of the words; or none of them, which holds no `or` that could be misunderstood."""
    if len(words) == 1:
        return f"{opposite if is_negated else verb} {words[0]}"
    return (
        f"{verb} {'none of ' if is_negated else ''}{', '.join(words[:-1])} {'and' if is_negated else 'or'} {words[-1]}"
    )


def _say_requirement(label: str, operator: str, values: tuple[str, ...]) -> str:
    """A part of a label selector, as short as Kubernetes takes it."""
    if operator in ("in", "notin") and len(values) == 1:
        return f"{label}{'=' if operator == 'in' else '!='}{values[0]}"
    return describe_requirement(label, operator, values)


def _quote(word: str, plain: re.Pattern[str] = _PLAIN) -> str:
    return word if plain.match(word) else _show(json.dumps(word, ensure_ascii=False))


def _show(text: str) -> str:
    """The text with what would do something to a terminal, or to a line, written as in a pattern."""
    return "".join(char if char.isprintable() else json.dumps(char).strip('"') for char in text)
