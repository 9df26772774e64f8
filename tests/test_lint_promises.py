"""What lint says of generated filters must be so: rules that "never decide" decide no line of any that is tried.

Values are such as the logs have them: strings in fields that hold strings, lists in those that hold lists, no line end.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowd.filters.lint.texts import lint_text
from flowd.filters.model import Condition, Expression, Filter, FilterText, Rule, Step
from flowd.filterset import FilterSet

NO_HIT = ("never-decides", "duplicate-rule", "shadowed-rule", "dead-rule")
LATE_NS = 2**62

WORDS = ["a", "ab", "abc", "b", "ba", "aba", "", "80"]
PATTERNS = [
    *["a", "ab", "^a", "^ab", "a$", "ba$", "^a$", "^ab$", "^(a|b)$", "a|b", "^$", ".*", ".", "//", "", "^(ab|)$"],
    *["$a", "a^", "^ab?$", "[ab]", r"\Aa\z", "^a.*", "(?!)", "^(?!a)", "80", "^80$", "b*", "(a)", "^.*a$"],
]
STRINGS = ("action", "dest_namespace")
PATHS: list[tuple[str | int, ...]] = [
    *[("action",), ("action",), ("dest_namespace",), ("dest_domains",), ("dest_port",), ("zork",)],
    *[("dest_domains", 0), ("zork", "x")],
]
words = st.sampled_from(WORDS)
scalars = st.one_of(words, st.none())
anything = st.one_of(scalars, st.sampled_from([80, 1.5, True]), st.lists(scalars, max_size=3))
values = {
    "action": scalars,
    "dest_namespace": scalars,
    "dest_domains": st.one_of(st.none(), st.lists(words, max_size=3)),
    "dest_port": st.one_of(st.none(), st.sampled_from([80, 8, 443])),
    "zork": st.one_of(anything, st.fixed_dictionaries({}, optional={"x": anything})),
}
records = st.fixed_dictionaries({}, optional=values)


@st.composite
def conditions(draw: st.DrawFn, reading: str) -> Condition:
    path = draw(st.sampled_from(PATHS))
    ignore_case = draw(st.sampled_from([False, False, False, True]))
    if reading != "value":
        return Condition(path, draw(st.sampled_from(PATTERNS)), ignore_case, reading=reading)  # type: ignore[arg-type]
    test = draw(st.sampled_from(["equals", "prefix", "suffix", "contains", "pattern", "number", "exists", "null"]))
    if test == "pattern":
        return Condition(path, draw(st.sampled_from(PATTERNS)), ignore_case)
    arguments: tuple[Any, ...] = ()
    if test == "number":
        bounds = st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(["8", "80", "81"]))
        arguments = tuple(draw(st.lists(bounds, min_size=1, max_size=3)))
    elif test not in ("exists", "null"):
        arguments = tuple(draw(st.lists(words, min_size=1, max_size=2)))
    return Condition(path, "", ignore_case, reading="value", test=test, arguments=arguments)  # type: ignore[arg-type]


def expressions(rules: int) -> st.SearchStrategy[Expression]:
    """Expressions over some of the rules."""
    leaves = st.integers(0, rules - 1).map(lambda number: Expression("is", (), number))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            inner.map(lambda part: Expression("not", (part,))),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: Expression("and", tuple(parts))),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: Expression("or", tuple(parts))),
        ),
        max_leaves=4,
    )


@st.composite
def steps(draw: st.DrawFn, reading: str, name: str, line: int) -> Step:
    kinds = {"ruby": ["all", "any", "not_all", "not_any"], "string": ["first", "all", "any", "not_all", "not_any"]}
    kind = draw(st.sampled_from(kinds.get(reading, ["all", "not_any", "when", "unless"])))
    group = "" if kind in ("all", "not_any", "first") else f"{name}.group"
    rules = []
    for number in range(draw(st.integers(1, 3))):
        shape = "regexp" if kind in ("all", "any", "unless") else "exclude"
        if kind == "first":
            shape = draw(st.sampled_from(["regexp", "exclude"]))
        condition = draw(conditions(reading))
        rules.append(Rule(f"{name}.rule{number}", shape, "key", condition, "f", line + number, 1, group))  # type: ignore[arg-type]
    if kind not in ("when", "unless"):
        return Step(kind, tuple(rules), group)  # type: ignore[arg-type]
    is_shadow, sample = draw(st.sampled_from([(False, 0), (False, 0), (True, 0), (False, 2)]))
    until_ns = draw(st.sampled_from([0, 0, LATE_NS]))
    return Step(kind, tuple(rules), group, draw(expressions(len(rules))), is_shadow, sample, until_ns)  # type: ignore[arg-type]


@st.composite
def texts(draw: st.DrawFn) -> FilterText:
    """Up to three filters, each in one reading; every rule stands on a line of its own."""
    filters = []
    for section in range(draw(st.integers(1, 3))):
        reading = draw(st.sampled_from(["ruby", "string", "value", "value"]))
        made = [
            draw(steps(reading, f"filter{section}.step{number}", section * 100 + number * 10 + 1))
            for number in range(1 if reading == "string" else draw(st.integers(1, 3)))  # one, as Fluent Bit has it
        ]
        filters.append(Filter(f"filter{section}", "**", tuple(made), "f", section * 100 + 1, 1))
    return FilterText("flowd", "flows", tuple(filters))


def own_step(line: int, *rules: Condition, kind: str = "all") -> Step:
    shape = "regexp" if kind == "all" else "exclude"
    made = [
        Rule(f"line{line + number}", shape, "key", condition, "f", line + number, 1)  # type: ignore[arg-type]
        for number, condition in enumerate(rules)
    ]
    return Step(kind, tuple(made))  # type: ignore[arg-type]


def equals(path: tuple[str | int, ...], *words_: str) -> Condition:
    return Condition(path, reading="value", test="equals", arguments=words_)


def text_of(*sections: Step) -> FilterText:
    filters = [
        Filter(f"filter{number}", "**", (step,), "f", step.rules[0].line, 1) for number, step in enumerate(sections)
    ]
    return FilterText("flowd", "flows", tuple(filters))


BOTH_IN_A_LIST = text_of(own_step(1, equals(("dest_domains",), "a"), equals(("dest_domains",), "b")))
FAILING = text_of(own_step(1, Condition(("zork", "x"), "$a")), own_step(101, Condition(("action",), "a")))


def write_lines(records_: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records_)


def without_end_of_first(text: FilterText, line: int) -> FilterText:
    """The text without the regexp on this line and what stands behind it, in a step of Fluent Bit's."""
    filters = []
    for section in text.filters:
        made = []
        for step in section.steps:
            at = next((at for at, rule in enumerate(step.rules) if rule.line == line), len(step.rules))
            made.append(step._replace(rules=step.rules[:at]))
        filters.append(section._replace(steps=tuple(step for step in made if step.rules)))
    return text._replace(filters=tuple(filters))


@settings(max_examples=400, deadline=None)
@given(texts(), st.lists(records, min_size=1, max_size=12))
@example(BOTH_IN_A_LIST, [{"dest_domains": ["a", "b"]}])
@example(FAILING, [{"zork": "a", "action": "b"}])
def test_what_is_said_of_rules_is_so(text: FilterText, found: list[dict[str, Any]]) -> None:
    lines = write_lines(found)
    steps_by_line = {
        rule.line: (step, rule) for section in text.filters for step in section.steps for rule in step.rules
    }
    filters = FilterSet(text)
    letters = filters.verdicts(lines)
    filters.filter(lines)
    hits = filters.hits
    for warning in lint_text(text, now_ns=0):
        step, rule = steps_by_line[warning.line]
        if warning.code == "drops-everything":
            # A line on which an earlier rule of the section failed never came to this one.
            assert set(letters) <= set(b"DE"), warning
        elif warning.code in NO_HIT and step.kind == "first" and rule.kind == "regexp" and warning.code != "dead-rule":
            # Such a regexp keeps what it matches, at once: that is a hit, and no difference.
            assert FilterSet(without_end_of_first(text, rule.line)).verdicts(lines) == letters, warning
        elif warning.code in NO_HIT:
            assert hits[step.group or rule.name].lines == 0, warning
