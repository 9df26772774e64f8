"""Tag patterns: which streams a section is for."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowd.filters.tags import TagError, parse_tags


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("flows", ["flows", "flows\n"], ["flow", "xflows", "flows.x", "Flows", "", "flows\n\n"]),
        ("", ["flows", "a.b", ""], []),
        ("**", ["flows", "a.b", ""], []),
        ("*", ["flows", "", "a\nb"], ["a.b"]),
        ("fl*", ["flows", "fl"], ["fl.x"]),
        ("a.*", ["a.b", "a."], ["a", "a.b.c"]),
        ("a.**", ["a", "a.b", "a.b.c"], ["ab", "b.a"]),
        ("**.a", ["a", "b.a", "c.b.a"], ["xa", "a.b"]),
        ("a.**.b", ["a.b", "a.x.b", "a.x.y.b"], ["ab", "a.xb"]),
        ("a**", ["a", "ab", "a.b"], ["ba"]),
        ("{flows,dns}", ["flows", "dns"], ["flow", "{flows,dns}"]),
        ("{a,b.**,c*}.x", ["a.x", "b.x", "b.y.x", "cd.x"], ["d.x", "b..y"]),
        ("{a,{b,c}d}", ["a", "bd", "cd"], ["ad", "b"]),
        ("{,a}b", ["b", "ab"], ["a"]),
        ("{flows", ["flows"], ["flow"]),
        ("flows dns", ["flows", "dns"], ["flows dns"]),
        ("flows,dns", ["flows,dns"], ["flows", "dns"]),
        ("flo?s [a] a-b", ["flo?s", "[a]", "a-b"], ["flows", "a"]),
        ("a.", ["a"], ["a."]),
        (r"a\*b", ["a*b"], ["axb"]),
        (r"\{a\}", ["{a}"], ["a"]),
        ("flows #c", ["flows", "#c"], ["c"]),
        (" a", ["a", ""], ["b"]),
    ],
)
def test_a_glob_means_these_tags(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    tags = parse_tags(pattern)
    assert [tag for tag in matched if not tags.matches(tag)] == []
    assert [tag for tag in unmatched if tags.matches(tag)] == []


@pytest.mark.parametrize(
    ("pattern", "matched", "unmatched"),
    [
        ("/flo.*/", ["flo", "flows"], ["xflows"]),
        ("/a|b/", ["ax", "xb"], ["xay"]),
        ("dns /(?i)flows/", ["dns", "FLOWS"], ["x"]),
        ("/", [""], ["a"]),
    ],
)
def test_a_regex_must_match_the_whole_tag(pattern: str, matched: list[str], unmatched: list[str]) -> None:
    tags = parse_tags(pattern)
    assert [tag for tag in matched if not tags.matches(tag)] == []
    assert [tag for tag in unmatched if tags.matches(tag)] == []


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("/flo", "invalid match - regex"),
        ("/(/", r"end pattern with unmatched parenthesis: /\A(\Z/"),
        ("{" * 60 + "}" * 60, "braces are nested too deeply"),
        ("{a,{b,{c,{d", "braces are not closed"),
    ],
)
def test_what_is_no_tag_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(TagError) as caught:
        parse_tags(pattern)
    assert message in caught.value.message
    assert caught.value.hint


def as_regex(glob: str) -> str:
    """The regular expression that a glob without braces and escapes stands for, written the other way round."""
    parts = {"**.": r"(?:.*\.|\A)", ".**": r"(?![^.]).*", "**": ".*", "*": "[^.]*", ".": r"\."}
    return re.sub(r"\*\*\.|\.\*\*\.?|\*\*|\*|\.", lambda found: _as_regex_part(found[0], parts), glob)


def _as_regex_part(part: str, parts: dict[str, str]) -> str:
    return r"(?![^.])(?:.*\.|\A)" if part == ".**." else parts[part]


@given(st.from_regex(r"\A(?:[ab]|\*|\.(?!\Z)){0,6}\Z"), st.from_regex(r"\A[ab.]{0,6}\Z"))
@settings(deadline=None, max_examples=300)
def test_globs_match_as_their_regular_expressions(glob: str, tag: str) -> None:
    if "***" in glob or ".." in glob or not glob:
        return
    assert parse_tags(glob).matches(tag) == bool(re.search(rf"\A{as_regex(glob)}\Z", tag))


def test_no_glob_takes_long() -> None:
    started = time.monotonic()
    for glob in ("**.a" * 100, "*a" * 100, "{a*,b**}" * 40, "**" * 500):
        parse_tags(glob).matches("a." * 64)
    assert time.monotonic() - started < 5
