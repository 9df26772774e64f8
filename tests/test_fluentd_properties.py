"""Whatever the text: problems are told as FilterError with places inside the text, soon, and reading is repeatable."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowd.errors import FilterError, Problem
from flowd.filters.fluentd.accessor import AccessorError, parse_accessor
from flowd.filters.load import read_text
from flowd.filters.model import FilterText

PIECES = [
    *("<filter flows>", "</filter>", "<exclude>", "</exclude>", "<and>", "</and>", "<or>", "</or>", "<match **>"),
    *("</match>", "<label @x>", "</label>", "<", ">", "</", "</>", "@type grep", "@id a", "key a", "key $.a[0]", "key"),
    *("pattern /x/i", "pattern (", "pattern", "exclude1 a x", "@include x", "@include", "include", "\n", "\r\n", "\r"),
    *(
        " ",
        "\t",
        "#",
        '"',
        "'",
        "\\",
        "[",
        "{",
        "]",
        "}",
        '"#{',
        "#{ENV['A']}",
        "}",
        '["a", 1]',
        '{"a":',
        ",",
        "é",
        "\0",
    ),
    *("\ufeff", "1/*", "*/", "//", "<filter /(/>", "<filter {a,b}.**>", "kind: ConfigMap", "data:", "  flow: |", "- a"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=40).map("".join) | st.lists(
    st.sampled_from(PIECES), max_size=40
).map("\n".join)


@given(TEXTS, st.sampled_from(["fluentd", None]))
@settings(deadline=None, max_examples=600, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_raises_anything_but_filter_error(text: str, dialect: str | None) -> None:
    found = outcome(text, dialect)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in found.warnings if isinstance(found, FilterText) else found:
        assert problem.message
        assert problem.hint
        assert problem.column >= 1
        assert problem.line >= 1
        if problem.file == "f":
            assert problem.line <= len(lines)


@given(TEXTS)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_line_feeds_and_carriage_returns_with_them_mean_the_same(text: str) -> None:
    if "\r" in text or '"' in text or "'" in text or "{" in text or "[" in text:
        return  # inside quotes and JSON a line's end is part of the value
    assert outcome(text) == outcome(text.replace("\n", "\r\n"))


def outcome(text: str, dialect: str | None = "fluentd") -> FilterText | tuple[Problem, ...]:
    """What a text says, or the problems that it has: at least one."""
    try:
        return read_text(text, "flows", dialect, "f")
    except FilterError as error:
        if not error.problems:
            raise
        return error.problems


@given(
    st.lists(st.sampled_from(["$", ".", "[", "]", "'", '"', "a", "0", "-", " ", "_", "x"]), max_size=12).map("".join)
)
@settings(deadline=None, max_examples=500)
def test_no_key_raises_anything_but_accessor_error(key: str) -> None:
    with contextlib.suppress(AccessorError):
        assert len(parse_accessor(key)) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "<a>\n" * 50_000,
        "k a" + " " * 500_000 + "b\n",
        "<filter" + " #" * 50_000 + ">\n</filter>",
        "k " + "[" * 100_000,
        'k "#{a\n' * 3_000,
        "k '" * 50_000,
        '"' * 100_000,
        "k [1, # c\n" * 3_000,
        "\r#" * 50_000,
        "<a " + "\r# " * 50_000,
        "x" * 1_000_000,
        "<filter " + "{a,**" * 2_000 + ">\n</filter>\n",
        "<filter flows>\n@type grep\n" + "<exclude>\nkey a\npattern x\n</exclude>\n" * 3_000 + "</filter>\n",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.monotonic()
    outcome(text)
    assert time.monotonic() - started < 10
