"""Fluent Bit's evaluation, against section by section in plain Python: whatever the rules, forms and records."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowd

Rule = tuple[str, str, str]  # regex or exclude, the field, the pattern

FIELDS = ["a", "b", "n"]
PATTERNS = ["1", "^1$", "x", "^$", ".*", "2|x", "[^1]", "1{2}"]
VALUES: list[Any] = ["1", "11", "x", "", "2x", "1\n2", 1, 1.5, None, True, ["1"], {"a": "1"}]
OPERATIONS = ["", "legacy", "AND", "or", "Or", "xor"]

rules = st.tuples(st.sampled_from(["regex", "exclude"]), st.sampled_from(FIELDS), st.sampled_from(PATTERNS))
records = st.lists(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(VALUES)), min_size=1, max_size=8)


@st.composite
def filters(draw: st.DrawFn) -> tuple[str, list[Rule]]:
    """An operation and rules that go with it."""
    operation = draw(st.sampled_from(OPERATIONS))
    found = draw(st.lists(rules, max_size=4))
    if operation.lower() in ("and", "or"):
        kind = draw(st.sampled_from(["regex", "exclude"]))
        found = [(kind, field, pattern) for _, field, pattern in found] or [(kind, "a", "1")]
    return operation, found


def keeps(operation: str, found: list[Rule], record: dict[str, Any]) -> bool:
    """Whether one filter keeps a record, as Fluent Bit decides it."""

    def matches(rule: Rule) -> bool:
        value = record.get(rule[1])
        return isinstance(value, str) and re.search(rule[2], value, re.MULTILINE) is not None

    if operation.lower() in ("and", "or"):
        is_met = (all if operation.lower() == "and" else any)(matches(rule) for rule in found)
        return is_met == (found[0][0] == "regex")
    for rule in found:
        if rule[0] == "regex":
            return matches(rule)
        if matches(rule):
            return False
    return True


def write_yaml(operation: str, found: list[Rule], *, in_lists: bool) -> str:
    lines = ["- name: grep"] + [f"  logical_op: {operation}"] * bool(operation)
    if in_lists:
        for kind in ("regex", "exclude"):
            values = [f"{field} {pattern}" for name, field, pattern in found if name == kind]
            lines += [f"  {kind}: {json.dumps(values)}"] * bool(values)
    else:
        lines += [f"  {kind}: {json.dumps(f'{field} {pattern}')}" for kind, field, pattern in found]
    return "\n".join(lines) + "\n"


def write_classic(operation: str, found: list[Rule]) -> str:
    lines = ["[FILTER]", "  Name grep", "  Match *"] + [f"  Logical_Op {operation}"] * bool(operation)
    return "\n".join([*lines, *(f"  {kind} {field} {pattern}" for kind, field, pattern in found)]) + "\n"


def kept(text: str, dialect: str, lines: list[dict[str, Any]]) -> list[bool]:
    encoded = "".join(json.dumps(line) + "\n" for line in lines).encode()
    return [letter == ord("K") for letter in flowd.compile(text, dialect=dialect).verdicts(encoded)]


@given(st.lists(filters(), min_size=1, max_size=3), records)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_every_form_keeps_what_fluent_bit_would(
    found: list[tuple[str, list[Rule]]], lines: list[dict[str, Any]]
) -> None:
    expected = [all(keeps(operation, listed, line) for operation, listed in found) for line in lines]
    text = "".join(write_yaml(operation, listed, in_lists=False) for operation, listed in found)
    assert kept(text, "fluentbit-yaml", lines) == expected
    whole = "pipeline:\n  filters:\n" + "".join(f"    {line}\n" for line in text.splitlines())
    whole = whole.replace("name: grep", "name: grep\n      match: '*'")
    assert kept(whole, "fluentbit-yaml", lines) == expected
    text = "".join(write_classic(operation, listed) for operation, listed in found)
    assert kept(text, "fluentbit-classic", lines) == expected


@given(st.lists(filters(), min_size=1, max_size=3), records)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_the_operator_puts_excludes_first(found: list[tuple[str, list[Rule]]], lines: list[dict[str, Any]]) -> None:
    resorted = [(operation, sorted(listed, key=lambda rule: rule[0])) for operation, listed in found]
    expected = [all(keeps(operation, listed, line) for operation, listed in resorted) for line in lines]
    text = "".join(write_yaml(operation, listed, in_lists=True) for operation, listed in found)
    assert kept(text, "fluentbit-configmap", lines) == expected
