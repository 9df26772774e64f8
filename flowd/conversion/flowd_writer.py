"""Filters in flowd's own language, which can say everything: any filter, as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flowd.conversion.fluentd_writer import quote_value, write_key
from flowd.conversion.patterns import write_options, write_source
from flowd.filters.describe import describe_requirement
from flowd.filters.model import Condition, Expression, Filter, Rule, Step

_GIVEN_NAME = re.compile(r"filter[0-9]+_*\Z")


def write_filter(section: Filter, tags: str, steps: Sequence[Step]) -> str:
    """One `<filter>` section with these steps."""
    lines = [f"<filter {tags}>", "  @type flowd"]
    if not _GIVEN_NAME.match(section.name):
        lines.append(f"  @id {quote_value(section.name)}")
    for step in steps:
        lines += [f"  {line}" for line in _write_step(step, section.name)]
    return "\n".join([*lines, "</filter>"]) + "\n"


def check_rule(rule: Rule) -> None:
    """Raises Unsayable if the rule's condition cannot be written."""
    _write_leaf("exclude", rule, [rule.condition], [])


def _write_step(step: Step, section: str) -> list[str]:
    kind = "regexp" if step.kind in ("all", "any", "unless") else "exclude"
    if step.expression is None:
        group = {"any": "or", "not_all": "and"}.get(step.kind, "")
        lines: list[str] = []
        for rule in step.rules:
            name = [] if group else _write_name(rule.name, section)
            lines += _write_leaf(kind, rule, [rule.condition], name)
        if group:
            inside = (*_write_name(step.group, section), *lines)
            lines = [f"<{group}>", *(f"  {line}" for line in inside), f"</{group}>"]
        return lines
    return _write_expression(step.expression, step, kind, _write_ways(step, section))


def _write_expression(expression: Expression, step: Step, kind: str, ways: list[str]) -> list[str]:
    if expression.kind == "is":
        rule = step.rules[expression.rule]
        return _write_leaf(kind, rule, [rule.condition], ways)
    inside = [line for part in expression.parts for line in _write_expression(part, step, kind, [])]
    indented = [f"  {line}" for line in (*ways, *inside)]
    return [f"<{expression.kind}>", *indented, f"</{expression.kind}>"]


def _write_ways(step: Step, section: str) -> list[str]:
    ways = _write_name(step.group, section)
    if step.is_shadow:
        ways.append("shadow true")
    if step.sample:
        ways.append(f"sample 1/{step.sample}")
    if step.until_ns:
        end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=step.until_ns // 1_000)
        ways.append(f"until {end.isoformat()}")
    return ways


def _write_name(name: str, section: str) -> list[str]:
    """The name, unless it is one that flowd gives by itself: the section's, with a word and a number behind it."""
    return [] if name == section or name.startswith(f"{section}.") else [f"name {name}"]


def _write_leaf(kind: str, rule: Rule, conditions: Sequence[Condition], more: Sequence[str]) -> list[str]:
    lines = [*more, f"key {quote_value(write_key(rule.condition.path))}"]
    for condition in conditions:
        lines += _write_test(condition)
        if condition.ignore_case and condition.test != "pattern":
            lines.append("ignore_case true")
    return [f"<{kind}>", *(f"  {line}" for line in lines), f"</{kind}>"]


def _write_test(condition: Condition) -> list[str]:
    arguments: Any = condition.arguments
    if condition.test == "pattern":
        return [f"pattern {quote_value(f'/{write_source(condition)}/{write_options(condition)}')}"]
    if condition.test == "number":
        return _write_bounds(arguments)
    if condition.test == "labels":
        return [f"labels {','.join(describe_requirement(*requirement) for requirement in arguments)}"]
    if condition.test in ("exists", "null"):
        return [f"{condition.test} true"]
    if condition.test == "cidr":
        return [f"cidr {', '.join(arguments)}"]
    if len(arguments) > 1:
        return [f"in {_write_list(arguments)}"]
    return [f"{condition.test} {quote_value(arguments[0]) if arguments[0] else repr('')}"]


def _write_bounds(bounds: Sequence[tuple[str, str]]) -> list[str]:
    limits = dict(bounds)
    if len(bounds) == 2 and limits.keys() == {">=", "<="} and float(limits[">="]) <= float(limits["<="]):
        return [f"between {limits['>=']} {limits['<=']}"]
    return [f"{comparison} {number}" for comparison, number in bounds]


def _write_list(words: Sequence[str]) -> str:
    import json

    is_plain = all(word.isprintable() and word and not set(word) & set(" ,[{\"'#") for word in words)
    # Inside of JSON strings fluentd's grammar evaluates #{...}.
    return ", ".join(words) if is_plain else json.dumps(list(words), ensure_ascii=False).replace("#", "\\u0023")
