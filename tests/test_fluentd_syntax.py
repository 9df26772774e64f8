"""The grammar of fluentd's v1 configuration: what is read, and where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from flowd.filters.fluentd.elements import Element, Unset
from flowd.filters.fluentd.syntax import read_elements
from flowd.filters.source import Report, Source


def read(text: str) -> tuple[Element, Report]:
    report = Report()
    return read_elements([(Source("f", text), "")], report), report


def read_value(written: str) -> object:
    """The value of a parameter that is written like this, when the text has no problem."""
    root, report = read(f"k {written}\n")
    assert report.problems == []
    return root.parameters["k"].value


def shape(element: Element) -> Any:
    """A tree as plain lists."""
    return [
        element.name,
        element.argument,
        {name: parameter.value for name, parameter in element.parameters.items()},
        [shape(child) for child in element.children],
    ]


DOCUMENT = """# one
<filter flows>
  @type grep  # two
  <exclude>
    key a
    pattern ^b c$

  </exclude>
  # three
</filter>
"""
TREE = [
    "ROOT",
    "",
    {},
    [["filter", "flows", {"@type": "grep"}, [["exclude", "", {"key": "a", "pattern": "^b c$"}, []]]]],
]


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENT,
        DOCUMENT.replace("\n", "\r\n"),
        DOCUMENT.replace("\n", "\n\n\n"),
        DOCUMENT.replace("    ", "\t \t"),
        DOCUMENT.replace(">\n", " >\n").replace("</exclude", "</exclude\n"),
        DOCUMENT.removesuffix("\n"),
    ],
)
def test_blanks_and_line_ends_do_not_matter(text: str) -> None:
    root, report = read(text)
    assert report.problems == []
    assert shape(root) == TREE


def test_lone_carriage_returns_end_lines() -> None:
    text = "<filter flows>\r@type grep\r<exclude>\rkey a\rpattern ^b c$\r</exclude>\r</filter>\r"
    root, report = read(text)
    assert (report.problems, report.warnings) == ([], [])
    assert shape(root) == TREE


def test_a_comment_in_a_file_of_lone_carriage_returns_hides_the_rest() -> None:
    root, report = read("<filter flows>\r@type grep\r</filter>\r# two\r<filter dns>\r</filter>\r")
    assert [child.argument for child in root.children] == ["flows"]
    assert [(warning.line, warning.column, warning.code) for warning in report.warnings] == [(4, 1, "endless-comment")]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a", "a"),
        ("a b  c \t ", "a b  c"),
        ("a # comment", "a"),
        ("a \t#", "a"),
        ("a#b", "a#b"),
        ("#c", "#c"),
        ("# c # d", "# c"),
        ("/a #b/", "/a"),
        (r"a\ b\\", r"a\ b\\"),
        ("a'b\"c", "a'b\"c"),
        ("<x>", "<x>"),
        ("'a # b'", "a # b"),
        (r"'it\'s \\ \d'", r"it's \ \d"),
        ("''", ""),
        ('""', ""),
        (r'"\"\'\\\r\n\t\f\b\0\.\/\$"', "\"'\\\r\n\t\f\b\0./$"),
        ('"a\nb"', "a\nb"),
        ('"a\\\nb"', "ab"),
        ('"a\n\nb"', None),
        ('"é\nß"', "é\nß"),
        ('"a # b" # c', "a # b"),
        (r'"\#{x}"', "#{x}"),
        ('"#"', "#"),
    ],
)
def test_values_are_read_as_they_are_written(written: str, value: str | None) -> None:
    if value is None:
        _, report = read(f"k {written}\n")
        assert [problem.message for problem in report.problems][:1] == [
            "unexpected end of file in a double quoted string"
        ]
        return
    assert read_value(written) == value


@pytest.mark.parametrize("text", ["k", "k\n", "k  ", "k  \n", "k\t\n\n", "k \r\n"])
def test_a_name_alone_has_the_empty_value(text: str) -> None:
    root, report = read(text)
    assert report.problems == []
    assert root.parameters["k"].value == ""


def test_a_comment_after_a_name_is_its_value() -> None:
    root, _ = read("k # c\n")
    assert root.parameters["k"].value == "# c"


def test_names_may_be_quoted_and_the_last_of_two_counts() -> None:
    root, report = read("\"a b\" 1\n'c' 2\nc 3\n")
    assert {name: parameter.value for name, parameter in root.parameters.items()} == {"a b": "1", "c": "3"}
    assert [(warning.code, warning.line) for warning in report.warnings] == [("repeated-parameter", 3)]


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("ENV['FLOWD_TEST']", "a|b"),
        ('ENV["FLOWD_TEST"]', "a|b"),
        (" ENV[ 'FLOWD_TEST' ] ", "a|b"),
        ("ENV['FLOWD_ABSENT']", ""),
        ("ENV.fetch('FLOWD_TEST', 'd')", "a|b"),
        ('ENV.fetch("FLOWD_ABSENT", "d e")', "d e"),
        ("worker_id", ""),
    ],
)
def test_embedded_code_of_the_known_forms_is_evaluated(code: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWD_TEST", "a|b")
    monkeypatch.delenv("FLOWD_ABSENT", raising=False)
    monkeypatch.delenv("SERVERENGINE_WORKER_ID", raising=False)
    assert read_value(f'"x#{{{code}}}y"') == f"x{value}y"


def test_embedded_code_stands_only_in_double_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWD_TEST", "x")
    assert read_value("""'#{ENV["FLOWD_TEST"]}'""") == """#{ENV["FLOWD_TEST"]}"""
    assert read_value("""#{ENV["FLOWD_TEST"]}""") == """#{ENV["FLOWD_TEST"]}"""


@pytest.mark.parametrize(
    ("written", "value"),
    [('"#{use_nil}"', Unset.NIL), ('"a#{use_default}"', Unset.DEFAULT), ('"#{use_default}#{use_nil}"', Unset.NIL)],
)
def test_use_nil_and_use_default_unset_a_value(written: str, value: Unset) -> None:
    assert read_value(written) is value


@pytest.mark.parametrize("code", ["1+1", "`ls`", "File.read('}')", "ENV['A'] || 'b'", "{a: 1}", "", "hostname.upcase"])
def test_other_code_is_refused_by_name(code: str) -> None:
    _, report = read(f'k "a#{{{code}}}b"\nz\n')
    (problem,) = report.problems
    assert problem.message == f"embedded code #{{{code}}} is not evaluated"
    assert (problem.line, problem.column) == (1, 5)
    assert problem.hint


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("<filter flows dns>", "filter", "flows dns"),
        ("<filter  flows >", "filter", "flows"),
        ("<filter*>", "filter", "*"),
        ("<filter\nflows\n>", "filter", "flows"),
        ('<filter "a > b">', "filter", "a > b"),
        ("<filter 'a'>", "filter", "a"),
        ("<filter flows #c>", "filter", "flows #c"),
        ("<filter flows # c\n>", "filter", "flows"),
        ("<filter # c\nflows>", "filter", "flows"),
        ("<filter {a,b}.**>", "filter", "{a,b}.**"),
        ("<filter>", "filter", ""),
        ('<filter "#{use_nil}">', "filter", ""),
        ("<fil-ter x>", "fil", "-ter x"),
    ],
)
def test_tags_carry_an_argument(text: str, name: str, argument: str) -> None:
    root, report = read(f"{text}\n</{name}>\n")
    assert report.problems == []
    assert [(child.name, child.argument or "") for child in root.children if child.argument is not Unset.NIL] == (
        [(name, argument)] if "use_nil" not in text else []
    )


def test_a_less_than_sign_before_a_blank_is_a_name() -> None:
    root, report = read("< filter>\n")
    assert report.problems == []
    assert {name: parameter.value for name, parameter in root.parameters.items()} == {"<": "filter>"}


def test_places_count_characters_and_lines_of_every_kind() -> None:
    root, _ = read("\r\n# é\r  <a>\n\tüü x\n  'k' v\n</a>")
    (element,) = root.children
    assert str(element.place) == "f:3:3"
    assert str(element.parameters["üü"].place) == "f:4:2"
    assert str(element.parameters["üü"].value_place) == "f:4:5"
    assert str(element.parameters["k"].value_place) == "f:5:7"


JSON_VALUES = [
    ("[1, 2 ,3]", "[1,2,3]"),
    ('["a", "b"] # c', '["a","b"]'),
    ('{"a": 1, "b": {"c": [true, false, null]}}', '{"a":1,"b":{"c":[true,false,null]}}'),
    ('[ "é\\u00e9\\n\\/\\d" ]', '["éé\\n/d"]'),
    ("[1.10, -0, -0.0, 1e3, 1e15, 1e20, 0.00001, 123456789012345.5, 1234567890123456.5]", None),
    ('{"a": 1,\n "b": 2\n}', '{"a":1,"b":2}'),
    ('["a", # one\n"b" # two\n # three\n]', '["a","b"]'),
    ("[ # c\n1]", "[1]"),
    ("[1, /* # ] */ 2 // ]\n]", "[1,2]"),
    ('{"a":1,"a":2}', '{"a":2}'),
    ("[]", "[]"),
    ("{}", "{}"),
    ('["a#b"]', '["a#b"]'),
    ('["\\ud83d\\ude00"]', '["😀"]'),
]


@pytest.mark.parametrize(("written", "value"), JSON_VALUES)
def test_json_values_are_stored_compactly(written: str, value: str | None) -> None:
    expected = value or "[1.1,0,-0.0,1000.0,1.0e+15,1.0e+20,1.0e-05,123456789012345.5,1234567890123456.5]"
    assert read_value(written) == expected


def test_embedded_code_works_in_json_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWD_TEST", "x")
    assert read_value("""["a#{ENV['FLOWD_TEST']}b"]""") == '["axb"]'


@pytest.mark.parametrize(
    "written",
    [
        "[a-z]+",
        "[1,]",
        '["a",\n# on its own line after a comma\n"b"]',
        "[[1 # c\n]]",
        "{a: 1}",
        "[01]",
        "[NaN]",
        '["\\ud800"]',
        '["a',
        "[" * 101 + "]" * 101,
        "['a']",
    ],
)
def test_what_begins_like_json_and_is_none_is_refused(written: str) -> None:
    root, report = read(f"k {written}\n")
    kind = "array" if written.startswith("[") else "hash"
    assert report.problems[0].message == f"got incomplete JSON {kind} configuration"
    assert (report.problems[0].line, report.problems[0].column) == (1, 3)
    assert "slashes" in report.problems[0].hint
    assert root.parameters["k"].value is Unset.BROKEN
