"""How Fluent Bit's three forms are read: places in a bare list, what Go makes of scalars, what a sent text may name."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from test_fluentbit_dialect import operator, problems, verdicts, warned

import flowd
from flowd.filters.fluentbit.accessor import AccessorError, parse_accessor
from flowd.filters.fluentbit.events import translate_name
from flowd.filters.fluentbit.nodes import Node, json_text
from flowd.filters.fluentbit.quoting import QuotedList
from flowd.filters.load import open_foreign_text
from flowd.filters.source import Place

HERE = Place("f", 1, 1)


# A bare list


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85"])
@pytest.mark.parametrize("before", ["", "\ufeff", "# é\n", "\n\n"])
def test_every_character_of_a_bare_list_is_found_again(before: str, end: str) -> None:
    text = before + end.join(["- name: grep", "  exclude: 'a é'", "", "  regex: b 1"])
    quoted = QuotedList(text)
    for at, char in enumerate(quoted.text):
        if char in "grep'é1:b":
            assert at < len("pipeline:\n  filters:\n") or text[quoted.original_offset(at)] == char


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_rule_of_a_bare_list_has_its_place(end: str) -> None:
    text = end.join(["# é", "- name: grep", "  exclude:", "    - 'é 1'", "    - [", ""])
    assert problems(text, "fluentbit-yaml")[0][:2] == (5, 7)
    text = end.join(["# é", "- name: grep", "  exclude:", "    - 'clé 1'", "    - action (", ""])
    assert problems(text, "fluentbit-yaml") == [(5, 7, "could not compile regex pattern '('")]


def test_a_list_in_flow_style_has_its_places_too() -> None:
    filters = flowd.compile('\ufeff[{name: grep, exclude: "action ^a$"}]', dialect="fluentbit-yaml")
    assert [(rule.line, rule.column) for rule in filters.rules] == [(1, 25)]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("regex", "regex"),
        ("Regex", "Regex"),
        ("regEx", "reg_ex"),
        ("eXclude", "e_xclude"),
        ("LogicalOp", "LogicalOp"),
        ("logicalOp", "logical_op"),
        ("logical_Op", "logical_op"),
        ("Logical_Op", "Logical_Op"),
        (" regex ", "regex"),
        (" regEx", "regEx"),
        ("\u00a0regex", "\u00a0regex"),
        ("éA", "éA"),
        ("", ""),
        ("\t", ""),
        ("re\0x", "re"),
    ],
)
def test_names_are_taken_as_fluent_bits_yaml_reader_takes_them(name: str, taken: str) -> None:
    assert translate_name(name) == taken


def test_what_fluent_bit_ignores_in_a_filter_changes_nothing() -> None:
    text = "- name: grep\n  routes: {logs: [{name: x}]}\n  Routes: []\n  name: []\n  active: true\n  active: false\n"
    filters = flowd.compile(text + "  exclude: action ^a$\n", dialect="fluentbit-yaml")
    assert verdicts(filters, {"action": "a"}) == "D"
    filters = flowd.compile(text + '  exclude: "action ^a$\\0b"\n  condition: x\n', dialect="fluentbit-yaml")
    assert verdicts(filters, {"action": "a"}) == "D"
    assert warned(filters) == ["repeated-parameter", "cut-value", "ignored-property"]


# A whole configuration


def test_sections_are_named_in_any_case_and_stand_in_any_number_of_documents() -> None:
    text = """
Pipeline:
  Filters:
    - {name: grep, match: '*', exclude: action 1}
  inputs: [{name: x}]
zork:
  a: b
---
pipeline:
  filters:
    - {name: grep, match: '*', exclude: action 2}
"""
    filters = flowd.compile(text, dialect="fluentbit-yaml")
    assert verdicts(filters, *[{"action": value} for value in "123"]) == "DDK"
    assert warned(filters) == ["unknown-section"]


def test_an_include_is_a_path_unless_it_has_an_asterisk(tmp_path: Path) -> None:
    folder = tmp_path / "[x]"
    folder.mkdir()
    (folder / "a[1].yaml").write_text("pipeline: {filters: [{name: grep, match: '*', exclude: action 1}]}\n")
    (folder / "b1.yaml").write_text("pipeline: {filters: [{name: grep, match: '*', exclude: action 2}]}\n")
    (folder / "b2.yaml").write_text("pipeline: {filters: [{name: grep, match: '*', exclude: action 3}]}\n")
    main = folder / "main.yaml"
    main.write_text("includes: ['a[1].yaml', b*.yaml]\npipeline: {filters: []}\n")
    assert verdicts(flowd.load(main), *[{"action": value} for value in "1234"]) == "DDDK"
    main.write_text('includes: [b1.yaml, b1.yaml, c*.yaml, "a\\0b"]\npipeline: {filters: []}\n')
    with pytest.raises(flowd.FilterError) as caught:
        flowd.load(main)
    assert [problem.code for problem in caught.value.problems] == ["include"] * 3
    assert "is already included" in caught.value.problems[0].message
    assert caught.value.problems[1].message == "includes c*.yaml: no match"


# Classic


def test_a_file_is_known_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("[FILTER]\n  name grep\n  match *\n  exclude action 1\n")
    os.link(tmp_path / "a.conf", tmp_path / "b.conf")
    main = tmp_path / "main.conf"
    main.write_text("@INCLUDE ./a.conf\n@INCLUDE b.conf\n[SERVICE]\n")
    with pytest.raises(flowd.FilterError, match=r"Read twice\. path="):
        flowd.load(main, dialect="fluentbit-classic")
    main.write_text("@INCLUDE main.conf\n[SERVICE]\n")
    with pytest.raises(flowd.FilterError, match=r"Read twice\. path="):
        flowd.load(main, dialect="fluentbit-classic")


def test_directives_are_trimmed_and_unknown_ones_are_passed_over() -> None:
    text = "@SET   X=1 \t\n@FOO bar\n@set Y = 2\n@SET Z=\n[FILTER]\n  name grep\n  match *\n  exclude a ^${X}${Z}$\n"
    assert verdicts(flowd.compile(text, dialect="fluentbit-classic"), {"a": "1"}, {"a": "2"}) == "DK"


def test_a_group_in_a_section_holds_what_is_indented_twice() -> None:
    text = "[FILTER]\n  name grep\n  match *\n  [x] y\n    exclude a 1\n  exclude b 1\n    exclude c 1\n"
    filters = flowd.compile(text, dialect="fluentbit-classic")
    assert verdicts(filters, {"a": "1"}, {"b": "1"}, {"c": "1"}) == "KDD"


def test_a_group_without_a_name_is_none_and_one_without_its_end_is_refused() -> None:
    text = "[FILTER]\n  name grep\n  match *\n  [{}\n    exclude a 1\n"
    assert verdicts(flowd.compile(text.format("] y"), dialect="fluentbit-classic"), {"a": "1"}) == "D"
    assert problems(text.format("x y"), "fluentbit-classic") == [(4, 3, "expected a valid group name: [..]")]


def test_a_blank_line_of_the_right_indent_is_passed_over() -> None:
    text = "[FILTER]\n\n  \n  name grep\n    \n  match *\n\n  # c\n    # d\n  exclude a 1"
    assert verdicts(flowd.compile(text, dialect="fluentbit-classic"), {"a": "1"}) == "D"


# Keys and variables


@pytest.mark.parametrize("key", ["a;", "a.$b[", "a,$$b", "1$a[", "TAGx$a["])
def test_what_fluent_bits_lexer_refuses_anywhere_in_a_key_is_refused(key: str) -> None:
    with pytest.raises(AccessorError):
        parse_accessor(key)


@pytest.mark.parametrize(("key", "path"), [("a.$b", ("a",)), ("a,$", ("a",)), ("²a", ("a",)), ("a.$1", ("a",))])
def test_what_follows_in_a_key_means_nothing(key: str, path: tuple[str | int, ...]) -> None:
    assert parse_accessor(key).path == path


def test_the_machines_name_is_always_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "- name: grep\n  exclude: a ^${HOSTNAME}$\n"
    monkeypatch.delenv("HOSTNAME", raising=False)
    assert verdicts(flowd.compile(text, dialect="fluentbit-yaml"), {"a": os.uname().nodename}, {"a": ""}) == "DK"
    monkeypatch.setenv("HOSTNAME", "given")
    assert verdicts(flowd.compile(text, dialect="fluentbit-yaml"), {"a": "given"}) == "D"


def test_a_variable_that_is_no_text_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "\udcff")
    found = problems("- name: grep\n  exclude: a ${ODD}\n", "fluentbit-yaml")
    assert found[0] == (2, 12, "a variable in this value is not UTF-8")


# Through Calico's operator


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("yes", "true"),
        ("N", "false"),
        ("~", None),
        ("", None),
        ("5", "5"),
        ("+5", "5"),
        ("-0", "0"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("0X1f", "31"),
        ("0b101", "5"),
        ("0o17", "15"),
        ("017", "15"),
        ("08", "8"),
        ("-0x10", "-16"),
        ("1.50", "1.5"),
        ("1.", "1"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("-0.0", "-0"),
        ("1e3", "1000"),
        ("1e21", "1e+21"),
        ("1e-6", "0.000001"),
        ("1e-7", "1e-7"),
        ("1.5e-10", "1.5e-10"),
        ("1e400", "1e400"),
        ("1_0.5", "10.5"),
        ("123456789012345678", "123456789012345680"),
        ("18446744073709551615", "18446744073709552000"),
        ("18446744073709551616", "18446744073709552000"),
        ("99999999999999999999999", "1e+23"),
        ("0x", "0x"),
        ("1:20", "1:20"),
        ("2001-01-01", "2001-01-01"),
        ("NULL", None),
        ("nUll", "nUll"),
        ("+", "+"),
        (".", "."),
        ("0b12", "0b12"),
        ("é5", "é5"),
        ("٣", "٣"),
        ("truE", "truE"),
        ("9" * 400, "9" * 400),
    ],
)
def test_a_plain_scalar_becomes_what_go_writes_as_json(written: str, text: str | None) -> None:
    assert json_text(Node("scalar", HERE, written, is_plain=True)) == text
    assert json_text(Node("scalar", HERE, written)) == written


@pytest.mark.parametrize(
    ("value", "is_active"),
    [("!!str no", True), ("!!bool 'no'", False), ("!!int '0'", False), ("!!float 0", False), ("!zork no", True)],
)
def test_a_tag_says_how_a_scalar_is_read(value: str, is_active: bool) -> None:
    letters = verdicts(operator(f"- name: grep\n  active: {value}\n  exclude: a 1\n"), {"a": "1"})
    assert letters == ("D" if is_active else "K")


@pytest.mark.parametrize(
    "text",
    [
        "- {a: .inf}\n",
        "- {a: [-.INF]}\n",
        "- {a: {b: .nan}}\n",
        "- {~: x}\n",
        "- {: x}\n",
        "- {? [x] : y}\n",
        "- *a\n",
        "- &a {b: *a}\n",
        "- <<: x\n",
        "- <<: [x]\n",
        "- {a: !!int x}\n",
        "!!int x",
        "- {name: grep, exclude: a (}\n- x\n",
        "5",
        "[" * 101 + "]" * 101,
        "- " * 300 + "x",
    ],
)
def test_what_go_cannot_read_or_write_is_skipped_as_a_whole(text: str) -> None:
    with pytest.raises(flowd.FilterError) as caught:
        operator(text)
    (problem,) = caught.value.problems
    assert problem.code == "skipped-by-operator"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: grep, exclude: [[a 1]]}\n", "event 'sequence-start-event' (7) in state 'plugin-values' (18)."),
        ("- {name: grep, exclude: [{a: 1}]}\n", "event 'mapping-start-event' (9) in state 'plugin-values' (18)."),
        ("- {name: grep, exclude: {a: 1}}\n", "could not configure property 'exclude'"),
        ("- {name: grep, exclude: {a: []}}\n", "event 'sequence-start-event' (7) in state 'group-val' (21)."),
        ("- {name: grep, exclude: [~]}\n", "invalid regex, expected field and regular expression"),
        ("- {name: grep, exclude: 53}\n", "invalid regex, expected field and regular expression"),
        ("- {name: grep, exclude: '  '}\n", "unable to add variant value property"),
        ("- {name: [grep]}\n", "section '  grep' tried to instance a plugin name that doesn't exist"),
        ("- {name: ~}\n", "section 'null' tried to instance a plugin name that doesn't exist"),
        ("- {name: grep, on: x}\n", "grep: unknown configuration property 'true'."),
        ("- {name: grep, Logical_Op: a, logical_op: b}\n", "configuration property 'Logical_Op' is set 2 times"),
        ("-\n", "Calico's operator ends in a panic"),
    ],
)
def test_what_fluent_bit_then_refuses_is_refused_in_its_words(text: str, message: str) -> None:
    assert message in problems(text, "fluentbit-configmap")[0][2]


def test_a_merge_counts_where_it_stands() -> None:
    base = "- &b {name: grep, exclude: a 1, alias: base}\n"
    assert [rule.field for rule in operator(base + "- <<: *b\n  exclude: b 1\n").rules] == ["a", "b"]
    filters = operator(base + "- exclude: b 1\n  <<: *b\n")
    assert [rule.field for rule in filters.rules] == ["a", "a"]
    assert [warning.line for warning in filters.warnings if warning.code == "repeated-parameter"] == [3]
    filters = operator("- &b {name: grep, exclude: a 1}\n- &c {exclude: b 1}\n- <<: [*b, *c]\n- <<: [*c, *b]\n".replace(
        "- &c {", "- &c {name: grep, "))  # fmt: skip
    assert [rule.field for rule in filters.rules] == ["a", "b", "a", "b"]


def test_what_stands_behind_the_first_document_is_not_read() -> None:
    filters = operator("- {name: grep, exclude: a 1}\n---\n- [\n")
    assert verdicts(filters, {"a": "1"}) == "D"


def test_a_text_of_a_null_is_the_text_null() -> None:
    filters = flowd.compile("- {name: grep, match: ~, exclude: a 1}\n", stream="null", dialect="fluentbit-configmap")
    assert verdicts(filters, {"a": "1"}) == "D"


# What somebody else sent


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what no text from outside may read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "part.yaml").write_text("pipeline: {filters: [{name: grep, match: '*', exclude: secret 1}]}\n")
    (tmp_path / "part.conf").write_text("[FILTER]\n  name grep\n  match *\n  exclude secret 1\n")
    (tmp_path / "fluent.conf").write_text("<filter>\n@type grep\n@id leaked\n</filter>\n")


def manifest(text: str, part: str = "data") -> str:
    return json.dumps({"kind": "ConfigMap", part: {"flow": text}}).replace("@", "\\u0040").replace("$", "\\u0024")


FLUENTD = "<filter>\n@type grep\n</filter>\n@include fluent.conf\n"


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    "text",
    [
        "includes: [part.yaml]\npipeline: {}\n",
        "{includes: [part.yaml], pipeline: {}}\n",
        "Includes: [part.yaml]\npipeline: {}\n",
        '"\\x69ncludes": [part.yaml]\npipeline: {}\n',
        "? includes\n: [part.yaml]\npipeline: {}\n",
        "pipeline: {}\n---\nincludes: ['*.yaml']\n",
        "- name: grep\n  exclude: a ${SECRET}\n",
        '- name: grep\n  exclude: "a \\x24{SECRET}"\n',
        '- name: "\\x24{SECRET}"\n',
        "[FILTER]\n  name grep\n  match *\n  exclude a ${SECRET}\n",
        "[SERVICE]\n@INCLUDE part.conf\n",
        FLUENTD,
        manifest(FLUENTD),
        manifest(base64.b64encode(FLUENTD.encode()).decode(), "binaryData"),
        manifest("- name: grep\n  exclude: a ${SECRET}\n"),
        manifest("<filter>\n@type grep\n@id \"#{ENV['SECRET']}\"\n</filter>\n"),
    ],
)
def test_a_text_that_was_sent_names_no_file_and_no_variable(text: str) -> None:
    with pytest.raises(flowd.FilterError) as caught:
        open_foreign_text(text, None, "<sent>")
    assert {problem.code for problem in caught.value.problems} == {"reaches-out"}
    assert "hunter2" not in str(caught.value)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("- name: grep\n  exclude: 'action ^a$'\n", None),
        ("- name: grep\n  exclude: 'action ^a$'\n", "fluentbit-configmap"),
        ("env: {A: b}\npipeline: {filters: [{name: grep, match: '*', exclude: action ^a$}]}\n", "fluentbit-yaml"),
        ("[FILTER]\n  name grep\n  match *\n  exclude action ^a$\n", None),
        (manifest("- name: grep\n  exclude: action ^a$\n"), None),
    ],
)
def test_a_text_that_was_sent_and_names_nothing_is_read(text: str, dialect: str | None) -> None:
    resolved = open_foreign_text(text, dialect, "<sent>").resolve("flows")
    assert [rule.key for section in resolved.filters for step in section.steps for rule in step.rules] == ["action"]
