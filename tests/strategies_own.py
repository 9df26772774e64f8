"""Generated filters of flowd's own dialect: every test, in expressions, with shadows and samples."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from strategies import PythonMatcher, patterns

from flowd.filters.model import Condition, Expression, Filter, Rule, Step, StepKind

PATHS: list[tuple[str | int, ...]] = [
    ("a",), ("a",), ("b",), ("key-longer-than-eight",), ("missing",), ("a", "b"), ("a", 0), ("b", -1), ("a", "b", "c"),
    (0,),
]  # fmt: skip
TEXT_PATHS: list[tuple[str | int, ...]] = [
    ("source_namespace",), ("source_ip",), ("dest_ip",), ("dest_port",), ("dest_labels",), ("srcLabels",),
    ("policies",), ("num_flows",), ("missing",), ("dest_labels", "labels"), ("policies", "all_policies", 0),
]  # fmt: skip
WORDS = ["dev", "DEV", "", "-", "a.b", "80", "true", "x y", "\n", "dev\n", '"', "a=b", "pub"]
NETWORKS = ["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32", "2001:db8::1/128", "10.0.0.0/31"]
NUMBERS = ["0", "80", "-1", "1.1", "1e3", "1e400", "123456789012345678901234567890", "1000000000000000.5", "79.5"]
REQUIREMENTS: list[tuple[str, str, tuple[str, ...]]] = [
    ("a", "exists", ()), ("a", "absent", ()), ("a", "in", ("b", "dev")), ("a", "notin", ("b",)), ("c", "in", ("",)),
    ("app", "in", ("dev",)), ("labels", "exists", ()), ("x", "notin", ("y", "z")),
]  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn, matcher: PythonMatcher, paths: list[tuple[str | int, ...]]) -> Condition:
    path = draw(st.sampled_from(paths))
    test: Any = draw(
        st.sampled_from(["pattern", "equals", "equals", "prefix", "suffix", "contains", "cidr", "number", "labels"])
        | st.sampled_from(["exists", "null"])
    )
    if test == "pattern":
        pattern = draw(patterns())
        matcher.spelling[pattern.ruby] = pattern.python
        return Condition(path, pattern.ruby, reading="value")
    if test in ("exists", "null"):
        return Condition(path, reading="value", test=test)
    arguments: Any = {
        "cidr": st.sampled_from(NETWORKS),
        "number": st.tuples(st.sampled_from(["<", "<=", ">", ">="]), st.sampled_from(NUMBERS)),
        "labels": st.sampled_from(REQUIREMENTS),
    }.get(test, st.sampled_from(WORDS))
    drawn = tuple(draw(st.lists(arguments, min_size=1, max_size=3)))
    ignore_case = test in ("equals", "prefix", "suffix", "contains") and draw(st.booleans())
    return Condition(path, "", ignore_case, False, "value", test, drawn)


def expressions(rules: int) -> st.SearchStrategy[Expression]:
    leaves = st.integers(0, rules - 1).map(lambda rule: Expression("is", (), rule))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: Expression("and", tuple(parts))),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: Expression("or", tuple(parts))),
            inner.map(lambda part: Expression("not", (part,))),
        ),
        max_leaves=6,
    )


@st.composite
def own_filter_lists(draw: st.DrawFn, matcher: PythonMatcher, paths: list[tuple[str | int, ...]]) -> tuple[Filter, ...]:
    """Up to two filters of up to four steps, plain ones among them."""
    filters = []
    for number in range(draw(st.integers(1, 2))):
        steps = []
        for at in range(draw(st.integers(0, 4))):
            kind: StepKind = draw(st.sampled_from(["when", "when", "unless", "not_any", "all"]))
            group = f"rule{number}-{at}" if kind in ("when", "unless") else ""
            rules = tuple(
                Rule(f"filter{number}.{at}.{place}", "exclude", "key", condition, "f", 1, 1, group)
                for place, condition in enumerate(draw(st.lists(conditions(matcher, paths), min_size=1, max_size=4)))
            )
            if not group:
                steps.append(Step(kind, rules))
                continue
            shadow, sample = draw(
                st.sampled_from([(False, 0), (False, 0), (True, 0), (False, 2), (False, 3), (True, 2)])
            )
            steps.append(Step(kind, rules, group, draw(expressions(len(rules))), shadow, sample))
        filters.append(Filter(f"filter{number}", "**", tuple(steps), "f", 1, 1))
    return tuple(filters)
