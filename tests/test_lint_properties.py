"""What lint says of decisions is true: no generated line ever speaks against it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

import flowd
from flowd import _core
from flowd.filters.lint.impossible import takes_no_text
from flowd.filters.lint.texts import lint_streams, lint_text
from flowd.filters.load import open_text
from flowd.filters.model import Condition
from flowd.filterset import FilterSet
from flowd.patterns import PatternError, compile_pattern

NEVER = ("never-decides", "duplicate-rule", "shadowed-rule", "dead-rule")

# One field that is a string, one that is a list, and one inside of a value, where looking can fail.
FIELDS = ("dest_name", "dest_domains", "$.policies.name")
WORDS = ("a", "b", "ab", "ba", "abc")
TEXTS = ("", *WORDS, "c", "cab")

patterns = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(("", "^")), st.sampled_from(WORDS), st.sampled_from(("", "$"))),
    st.sampled_from(("^(?:a|b)$", "a|b", ".*", ".", "^$", "a$b", "[ab]+", "b^a", "^(?:ab|abc)")),
)
tests = st.one_of(
    st.builds("pattern /{}/".format, patterns),
    st.builds(
        "{} {}".format, st.sampled_from(("equals", "prefix", "suffix", "contains", "in")), st.sampled_from(WORDS)
    ),
)
kinds = st.sampled_from(("exclude", "regexp"))
ways = st.sampled_from(("", "", "", "", "shadow true", "sample 1/2", "until 2200-01-01"))
tags = st.sampled_from(("flows", "flows", "flows", "**", "dns"))


def write(kind: str, field: str, asked: str, way: str = "") -> str:
    return f"<{kind}>\nkey {field}\n{asked}\n{way}\n</{kind}>\n"


@st.composite
def own_rules(draw: st.DrawFn) -> str:
    kind = draw(kinds)
    conditions = [
        write(kind, draw(st.sampled_from(FIELDS)), draw(tests)) for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3))))
    ]
    conditions = [f"<not>\n{written}</not>\n" if draw(st.integers(0, 5)) == 0 else written for written in conditions]
    way = draw(ways)
    if len(conditions) == 1 and not conditions[0].startswith("<not>"):
        return conditions[0].replace(f"</{kind}>", f"{way}\n</{kind}>")
    group = draw(st.sampled_from(("and", "or")))
    return f"<{group}>\n{way}\n{''.join(conditions)}</{group}>\n"


@st.composite
def grep_rules(draw: st.DrawFn) -> str:
    kind = draw(kinds)
    fields = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True))
    written = "".join(write(kind, field, f"pattern /{draw(patterns)}/") for field in fields)
    group = draw(st.sampled_from(("", "", "and", "or")))
    return f"<{group}>\n{written}</{group}>\n" if group else written


@st.composite
def fluentd_texts(draw: st.DrawFn) -> str:
    sections = []
    for _ in range(draw(st.integers(1, 4))):
        is_own = draw(st.booleans())
        body = "".join(draw(st.lists(own_rules(), min_size=1, max_size=4))) if is_own else draw(grep_rules())
        sections.append(f"<filter {draw(tags)}>\n@type {'flowd' if is_own else 'grep'}\n{body}</filter>\n")
    return "".join(sections)


@st.composite
def fluentbit_texts(draw: st.DrawFn) -> str:
    filters = []
    for _ in range(draw(st.integers(1, 3))):
        rules = "".join(
            f"  {draw(st.sampled_from(('regex', 'exclude')))}: {draw(st.sampled_from(FIELDS[:2]))} /{draw(patterns)}/\n"
            for _ in range(draw(st.integers(1, 4)))
        )
        tag = draw(st.sampled_from(("flows", "flows", "*", "dns")))
        filters.append(f"- name: grep\n  match: '{tag}'\n{rules}")
    return "".join(filters)


def every_line() -> bytes:
    """All combinations of values that the patterns tell apart, also those that the field never has."""
    names: tuple[Any, ...] = (None, *TEXTS)
    domains: tuple[Any, ...] = (None, "a", "ab", [], ["a"], ["a", "b"], ["ab", "cab"])
    nested: tuple[Any, ...] = (None, "text", {"name": "a"}, {"name": "abc"}, {})
    records = [
        {"dest_name": name, "dest_domains": domain, "policies": policy}
        for name in names
        for domain in domains
        for policy in nested
    ]
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


LINES = every_line()


def count_drops(filters: FilterSet, name: str) -> int:
    """How many of the lines a rule or group dropped; Fluent Bit's regex also decides what it keeps."""
    if "fluentbit" not in filters.dialect or not filters.hits[name].lines:
        return filters.hits[name].lines
    found = [filters.explain(line) for line in LINES.splitlines()]
    return sum(explanation.rule == name and explanation.verdict == "D" for explanation in found)


def compare_with_lines(text: str, dialect: str | None) -> None:
    """No rule that is said never to decide decides, in any stream; no line comes through a rule that drops all."""
    opened = open_text(text, dialect)
    streams = ("flows", "dns", "other")
    texts = [opened.resolve(stream) for stream in streams]
    warnings = lint_streams(texts, now_ns=0)
    for resolved in texts:
        filters = FilterSet(resolved)
        filters.filter(LINES)
        at = {(rule.line, rule.column): rule for rule in filters.rules}
        for warning in warnings:
            rule = at.get((warning.line, warning.column))
            if rule is None:
                continue
            name = rule.group or rule.name
            if warning.code in NEVER:
                assert count_drops(filters, name) == 0, (str(warning), text, resolved.stream)
            elif warning.code == "drops-everything":
                after = list(filters.hits)[list(filters.hits).index(name) + 1 :]
                went_on = {decider: filters.hits[decider].lines for decider in after if not decider.endswith("sampled")}
                assert filters.hits["default"].lines == 0 or "$.policies" in text, (str(warning), text, went_on)


def in_own(*rules: str) -> str:
    return f"<filter flows>\n@type flowd\n{''.join(rules)}</filter>\n"


def in_grep(*rules: str, tag: str = "flows") -> str:
    return f"<filter {tag}>\n@type grep\n{''.join(rules)}</filter>\n"


A_NAME = write("exclude", "dest_name", "pattern ^a$")


# A list has a and b; an error ends the first section before its exclude; the second rule is for other streams, too.
@example(in_own(write("regexp", "dest_domains", "equals a"), write("exclude", "dest_domains", "equals b")))
@example(in_own(write("regexp", "dest_domains", "equals a"), write("regexp", "dest_domains", "equals b")))
@example(in_grep(write("exclude", "$.policies.name", "pattern b"), A_NAME) + in_grep(A_NAME))
@example(in_grep(A_NAME) + in_grep(A_NAME, tag="**"))
@example(in_own(write("exclude", "dest_name", "equals a", "shadow true"), write("exclude", "dest_name", "equals a")))
@given(fluentd_texts())
def test_rules_that_never_decide_do_not_decide(text: str) -> None:
    compare_with_lines(text, None)


@given(fluentbit_texts())
def test_rules_of_fluent_bit_that_never_decide_do_not_decide(text: str) -> None:
    compare_with_lines(text, "fluentbit-yaml")


pieces = st.lists(
    st.sampled_from(
        ("a", "b", "^", "$", "\\A", "\\z", "\\Z", "a?", "b*", ".", "\\n", "(?:a|b)", "(?:^a|$)", "[ab]", "\n")
    ),
    min_size=1,
    max_size=5,
)
values = st.lists(st.sampled_from(("a", "b", "\n", "ab\n")), max_size=6).map("".join)


@given(pieces, st.lists(values, min_size=5, max_size=20), st.booleans())
def test_what_no_text_is_said_to_match_none_does(parts: list[str], texts: list[str], dotall: bool) -> None:
    condition = Condition(("a",), "".join(parts), dotall=dotall)
    try:
        compiled = compile_pattern(condition.pattern, dotall=dotall)
    except PatternError:
        return
    regex = _core.Regex(compiled.reference, compiled.reference_options)
    if takes_no_text(condition):
        assert not any(regex.search(text.encode()) for text in ("", *texts)), condition


def test_what_is_certain_is_found_in_every_dialect() -> None:
    """The properties above would hold of a lint that never says anything."""
    both = write("exclude", "dest_name", "pattern ^a") + write("exclude", "dest_domains", "pattern ^b")
    later = write("exclude", "dest_name", "pattern ^ab$")
    for text, dialect in (
        (f"<filter flows>\n@type grep\n{both}</filter>\n<filter flows>\n@type grep\n{later}</filter>\n", "fluentd"),
        (f"<filter flows>\n@type flowd\n{both}{later}</filter>\n", None),
        ("- name: grep\n  match: flows\n  exclude: [dest_name ^a, dest_name ^ab$]\n", "fluentbit-yaml"),
    ):
        found = lint_text(flowd.compile(text, dialect=dialect).text, now_ns=0)
        assert "shadowed-rule" in [warning.code for warning in found], text
