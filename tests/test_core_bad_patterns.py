"""Patterns that nobody should write: bounded time, an error verdict that keeps the line, or a clear refusal."""

from __future__ import annotations

import time

import pytest

import flowd
from flowd.filters.model import Condition, Filter, FilterText, Rule, Step

# Several times what the step limit allows on a slow and busy machine; without a limit these would take ages.
MOST_SECONDS = 20.0


@pytest.fixture(params=["auto", "portable", "reference"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWD_ENGINE", request.param)
    return str(request.param)


def section(*conditions: tuple[str, str], kind: str = "exclude") -> str:
    rules = "".join(f"<{kind}>\nkey {key}\npattern {pattern}\n</{kind}>\n" for key, pattern in conditions)
    return f"<filter flows>\n@type grep\n{rules}</filter>\n"


def exclude_all(patterns: list[str], field: str = "a") -> flowd.FilterSet:
    """A filter set of many excludes on one field, as a chain of sections would give."""
    rules = tuple(
        Rule(f"rule{number}", "exclude", field, Condition((field,), pattern), "f", number + 1, 1)
        for number, pattern in enumerate(patterns)
    )
    steps = (Step("not_any", rules),)
    return flowd.FilterSet(FilterText("fluentd", "flows", (Filter("filter1", "flows", steps, "f", 1, 1),)))


def is_refused(text: str) -> bool:
    """Is the text refused as it should be: with a problem that says something?"""
    try:
        flowd.compile(text)
    except flowd.FilterError as error:
        return bool(error.problems[0].message)
    return False


EXPONENTIAL = [r"^(a+)+\1$", r"^(?:(a|aa)+)\1[bc]$", r"(x+x+)+\1[yz]"]


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_exponential_backtracking_is_an_error_verdict_within_bounds(pattern: str) -> None:
    filter_set = flowd.compile(section(("a", f"/{pattern}/"), ("b", "dev")))
    letter = "x" if pattern.startswith("(x") else "a"
    value = letter * 60 + "!"
    line = f'{{"a":"{value}","b":"dev"}}\n'.encode()
    started = time.monotonic()
    letters = filter_set.verdicts(line * 500 + b'{"a":"","b":"dev"}\n')
    assert time.monotonic() - started < MOST_SECONDS
    assert letters == b"E" * 500 + b"D"  # the value's class is known after the first line; the next line is unharmed
    applied = filter_set.apply(line)
    assert (applied.kept, applied.errors) == (line, 1)
    assert filter_set.hits["default"].lines == 501


def test_error_verdict_ends_its_own_section_only() -> None:
    filter_set = flowd.compile(section(("a", rf"/{EXPONENTIAL[0]}/")) + section(("b", "dev")))
    value = b"a" * 60 + b"!"
    lines = b'{"a":"%s","b":"dev"}\n{"a":"%s","b":"web"}\n' % (value, value)
    assert filter_set.verdicts(lines) == b"DE"
    assert filter_set.apply(lines).errors == 2


def test_many_costly_patterns_share_one_bound() -> None:
    filter_set = exclude_all([rf"^(a+)+\1(?:{number})?$" for number in range(300)])
    started = time.monotonic()
    assert filter_set.verdicts(b'{"a":"' + b"a" * 60 + b'!"}\n') == b"E"
    assert time.monotonic() - started < MOST_SECONDS


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*$", r"(a*)*b", r"^(\w+\s?)*$"])
def test_what_a_linear_engine_takes_never_explodes(pattern: str, engine: str) -> None:
    filter_set = flowd.compile(section(("a", f"/{pattern}/")))
    started = time.monotonic()
    letter = filter_set.verdicts(b'{"a":"' + b"a" * 60 + b'!"}\n')
    assert time.monotonic() - started < MOST_SECONDS
    assert letter in ((b"K",) if engine == "auto" and filter_set.rules[0].engine == "linear" else (b"K", b"E"))


def test_ten_thousand_patterns_on_one_field_each_decide_their_own() -> None:
    patterns = [f"^service-{number}$" for number in range(10_000)]
    started = time.monotonic()
    filter_set = exclude_all(patterns)
    lines = b"".join(b'{"a":"service-%d"}\n' % number for number in range(9_990, 10_010))
    assert filter_set.verdicts(lines) == b"D" * 10 + b"K" * 10
    assert {f"rule{number}": filter_set.hits[f"rule{number}"].lines for number in (9_989, 9_990, 9_999)} == {
        "rule9989": 0, "rule9990": 1, "rule9999": 1,
    }  # fmt: skip
    assert time.monotonic() - started < MOST_SECONDS * 3


def test_ten_thousand_patterns_of_every_kind_find_the_first_that_matches() -> None:
    patterns = [(f"dev{number}", f"^a{number}x.*z$", rf"\Ab{number}x\d+")[number % 3] for number in range(2_000)]
    filter_set = exclude_all(patterns)
    lines = b'{"a":"x-dev3-dev1998"}\n{"a":"a1999x z"}\n{"a":"b1997x0"}\n{"a":"b77x"}\n{"a":"a1998xz"}\n'
    assert filter_set.verdicts(lines) == b"DDDKK"
    assert {name: hit.lines for name, hit in filter_set.hits.items() if hit.lines} == {
        "default": 2, "rule3": 1, "rule1999": 1, "rule1997": 1,
    }  # fmt: skip


def test_a_pattern_of_64_kib_is_compiled_or_refused_clearly() -> None:
    words = "|".join(f"word{number:05d}" for number in range(6_554))
    assert len(words) > 64 << 10
    filter_set = flowd.compile(section(("a", f"/^(?:{words})$/")))
    assert filter_set.verdicts(b'{"a":"word00000"}\n{"a":"word06553"}\n{"a":"word06554"}\n') == b"DDK"
    long_literal = flowd.compile(section(("a", "x" * (64 << 10))))
    value = b"x" * (64 << 10)
    assert long_literal.verdicts(b'{"a":"' + value + b'"}\n{"a":"' + value[1:] + b'"}\n') == b"DK"


def test_deeply_nested_groups_are_compiled_or_refused_clearly() -> None:
    for depth in (100, 5_000):
        pattern = "/" + "(?:" * depth + "a" + ")" * depth + "/"
        text = section(("a", pattern))
        if depth == 100 or not is_refused(text):
            assert flowd.compile(text).verdicts(b'{"a":"a"}\n{"a":"b"}\n') == b"DK"


INVALID = [
    ("/pub(lic/", "end pattern with unmatched parenthesis"),
    ("/[a/", "premature end of char-class"),
    ("/*a/", "target of repeat operator is not specified"),
    ("/a)/", "unmatched close parenthesis"),
    ("/(?<n>a)\\2/", "numbered backref"),
    ("/(?~a/", "end pattern with unmatched parenthesis"),
    ("/(?P<n>a)/", "undefined group option"),
    ("/(?<=a+)b/", "invalid pattern in look-behind"),
    ("/\\p{Nope}/", "invalid character property name"),
    ("/[z-a]/", "empty range in char class"),
]


@pytest.mark.parametrize(("pattern", "message"), INVALID)
def test_invalid_syntax_is_refused_with_its_place(pattern: str, message: str) -> None:
    text = section(("b", "dev"), ("a", pattern))
    with pytest.raises(flowd.FilterError) as caught:
        flowd.compile(text, origin="flow")
    problems = caught.value.problems
    assert len(problems) == 1
    assert message in problems[0].message
    assert (problems[0].file, problems[0].line) == ("flow", 9)


def test_all_bad_patterns_of_a_text_are_reported_at_once() -> None:
    with pytest.raises(flowd.FilterError) as caught:
        flowd.compile(section(("a", "/(/"), ("b", "/[/"), ("c", "fine"), ("d", "/*/")))
    assert [problem.line for problem in caught.value.problems] == [5, 9, 17]


def test_a_pattern_of_nothing_matches_everything() -> None:
    assert flowd.compile(section(("a", "//"))).verdicts(b'{}\n{"a":null}\n{"a":"x"}\n') == b"DDD"
    assert flowd.compile(section(("a", "//"), kind="regexp")).verdicts(b"{}\nx\n") == b"KM"
