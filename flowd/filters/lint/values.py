"""Values that are no texts: numbers, lists and null, which the languages treat differently."""

from __future__ import annotations

import re

from flowd.filters.lint.patterns import each_rule, place_of, takes_any_text, takes_nothing
from flowd.filters.model import FilterText, Rule, Step
from flowd.filters.schema import LISTS, NULLABLE, NUMBERS, OBJECTS
from flowd.filters.source import Report

_NOT_FOLLOWED = re.compile(r"(?:\^|\\A)?\(\?!")


def warn_values(text: FilterText, report: Report, target: str) -> None:
    """Warn about rules that depend on what becomes of a value that is no text, here or in the target dialect."""
    to_fluentbit = target.startswith("fluentbit")
    to_fluentd = target in ("fluentd", "flowd")
    turned_round = {rule.name for section in text.filters for step in section.steps for rule in _turned_round(step)}
    for _, _, rule in each_rule(text):
        reading = rule.condition.reading
        if reading == "string":
            _warn_never_text(rule, text.stream, report)
            if to_fluentd:
                _warn_text_there(rule, text.stream, target, report)
        elif reading == "ruby":
            _warn_nothing(rule, (rule.kind == "exclude") != (rule.name in turned_round), report)
            if to_fluentbit:
                _warn_never_text_there(rule, text.stream, report)


def describe_type(field: str | int, stream: str) -> str:
    """What a field's values are if not strings: `a number`, `a list` or `an object`; nothing where they are strings."""
    if field in NUMBERS.get(stream, ()):
        return "a number"
    if field in LISTS.get(stream, ()):
        return "a list"
    return "an object" if field in OBJECTS.get(stream, ()) else ""


def _warn_never_text(rule: Rule, stream: str, report: Report) -> None:
    kind = describe_type(rule.condition.path[0], stream)
    if kind and len(rule.condition.path) == 1:
        what = "an exclude drops nothing" if rule.kind == "exclude" else "a regex keeps nothing"
        report.warning(
            place_of(rule),
            f"{rule.key} is {kind} in {stream}, and Fluent Bit's grep matches strings only: {what}",
            hint="write it in flowd's own language (@type flowd): equals, < or between for numbers, cidr or labels",
            code="number-trap",
        )


def _turned_round(step: Step) -> list[Rule]:
    """The rules of an expression of which the opposite counts."""
    found: list[Rule] = []
    waiting = [(step.expression, False)] if step.expression else []
    while waiting:
        expression, is_turned = waiting.pop()
        if expression.kind == "is" and is_turned:
            found.append(step.rules[expression.rule])
        waiting += [(part, is_turned != (expression.kind == "not")) for part in expression.parts]
    return found


def _warn_nothing(rule: Rule, drops: bool, report: Report) -> None:
    if not takes_nothing(rule.condition) or takes_any_text(rule.condition):
        return
    if not drops and _NOT_FOLLOWED.match(rule.condition.pattern):
        return  # whoever keeps what does not begin with a word keeps what does not begin at all
    what = "drops also" if drops else "keeps also"
    report.warning(
        place_of(rule),
        f"the pattern of {rule.key} matches the empty text: this {what} lines in which it is null or missing",
        hint="a field that is null or missing counts as the empty text in fluentd; in Fluent Bit it never matches",
        code="null-trap",
    )


def _warn_never_text_there(rule: Rule, stream: str, report: Report) -> None:
    kind = describe_type(rule.condition.path[0], stream)
    if kind and len(rule.condition.path) == 1:
        report.warning(
            place_of(rule),
            f"{rule.key} is {kind} in {stream}: in Fluent Bit this rule never matches",
            hint="Fluent Bit's grep matches strings only; it cannot be said there",
            code="number-trap",
        )
    if "." in str(rule.condition.path[0]):
        report.warning(
            place_of(rule),
            f"a field with a dot in its name, as {rule.key}, cannot be named in Fluent Bit",
            hint="it tests what stands before the dot",
            code="ignored-key-part",
        )


def _warn_text_there(rule: Rule, stream: str, target: str, report: Report) -> None:
    field = rule.condition.path[0]
    kind = describe_type(field, stream) or ("sometimes null" if field in NULLABLE.get(stream, ()) else "")
    if kind == "sometimes null" and takes_nothing(rule.condition):
        report.warning(
            place_of(rule),
            f"{rule.key} is {kind} in {stream}: in {target} null matches this pattern as the empty text",
            hint="say there what is to become of null",
            code="null-trap",
        )
