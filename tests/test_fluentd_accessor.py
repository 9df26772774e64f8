"""Record accessors: keys as paths, with fluentd's own error texts."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from flowd.filters.fluentd.accessor import AccessorError, parse_accessor, parse_integer


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a", ("a",)),
        ("", ("",)),
        ("a.b", ("a.b",)),
        ("ke y", ("ke y",)),
        ("$a", ("$a",)),
        ("$", ("$",)),
        ("@timestamp", ("@timestamp",)),
        ("$.a", ("a",)),
        ("$.a.b", ("a", "b")),
        ("$.a.b..", ("a", "b")),
        ("$..a", ("", "a")),
        ("$.a..b", ("a", "", "b")),
        ("$.a[0]", ("a", 0)),
        ("$.a[-1].b", ("a", -1, "b")),
        ("$.a[0][1]", ("a", 0, 1)),
        ("$.[0]", (0,)),
        ("$.a.[0]", ("a", 0)),
        ("$.a[ 0x1F ]", ("a", 31)),
        ("$.a[010]", ("a", 8)),
        ("$.a[1_0]", ("a", 10)),
        ("$.a[9223372036854775807]", ("a", 2**62)),
        ("$.a[-9223372036854775808]", ("a", -(2**62))),
        ("$.a[", ("a",)),
        ("$[0]", (0,)),
        ("$['a']", ("a",)),
        ('$["a"]["b"][0]', ("a", "b", 0)),
        ("$['a.b c']", ("a.b c",)),
        ("$['a[0]']", ("a[0]",)),
        ("$['']", ("",)),
        ("$['']['a']", ("", "a")),
        ("$['a\"]b']", ('a"]b',)),
        ("$['it's']", ("it's",)),
    ],
)
def test_a_key_is_a_path(key: str, path: tuple[str | int, ...]) -> None:
    assert parse_accessor(key) == path


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("$.", "empty keys in dot notation"),
        ("$..", "empty keys in dot notation"),
        ("$.a b", "whitespace character is not allowed in dot notation. Use bracket notation: a b"),
        ("$.a\tb.c", "whitespace character is not allowed in dot notation. Use bracket notation: a\tb"),
        ("$.a[]", "missing array index in '[]'. Invalid syntax: $.a[]"),
        ("$.a[0", "'[' found but ']' not found. Invalid syntax: $.a[0"),
        ("$.a[0]b", "found more characters after ']'. Invalid syntax: $.a[0]b"),
        ("$.a[x]", 'invalid value for Integer(): "x"'),
        ("$.a['b']", "invalid value for Integer(): \"'b'\""),
        ("$.a[][0]", 'invalid value for Integer(): "][0]"'),
        ("$[", "empty keys in bracket notation"),
        ("$[]", "missing array index in '[]'. Invalid syntax: ]"),
        ("$['a'", "Incomplete bracket. Invalid syntax: $['a'"),
        ("$[0", "'[' found but ']' not found. Invalid syntax: $[0"),
        ("$['a'].b", "found more characters after ']'. Invalid syntax: $['a'].b"),
        ("$['a\"]", "Mismatched quotes. Invalid syntax: $['a\"]"),
        ("$[\"a\"]['b']", "Mismatched quotes. Invalid syntax: $[\"a\"]['b']"),
        ("$[a]", 'invalid value for Integer(): "a"'),
        ("$.a[" + "9" * 5000 + "]", f'the index "{"9" * 40}" is too large'),
    ],
)
def test_what_is_no_accessor_is_refused_with_a_hint(key: str, message: str) -> None:
    with pytest.raises(AccessorError) as caught:
        parse_accessor(key)
    assert caught.value.message == message
    assert caught.value.hint


INTEGERS = [
    *("0", "1_0", "-1", " 5 ", "0x1F", "0b11", "0o17", "017", "08", "0_7", "0__7", "1__0", "_1", "1_", "", "0x", "+3"),
    *("- 3", "0d19", "0_d1", "00", "0_0", "000", "0b_1", "0x_1", "１", "\t7\n", "0o", "-0x10", "0xg", "b'x", "a\nb"),
    *(" ", "0B1", "a#{b", "0d", "0o_7", "--1", "\x1b", "é", "\x00"),
]
_RUBY = """
STDIN.set_encoding("UTF-8")
require "json"
answers = JSON.parse(STDIN.read).map { |text| begin; Integer(text); rescue ArgumentError => error; error.message; end }
puts JSON.generate(answers)
"""


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed")
def test_indexes_are_read_as_ruby_reads_integers() -> None:
    ran = subprocess.run(
        ["ruby", "-EUTF-8:UTF-8", "-e", _RUBY], input=json.dumps(INTEGERS), capture_output=True, text=True, check=True
    )
    for text, answer in zip(INTEGERS, json.loads(ran.stdout), strict=True):
        if answer == "string contains null byte":  # no such character can stand in a text that Ruby reads
            assert "invalid value" in str(parse_or_refuse(text))
        else:
            assert parse_or_refuse(text) == answer


def parse_or_refuse(text: str) -> int | str:
    try:
        return parse_integer(text)
    except AccessorError as error:
        return error.message
