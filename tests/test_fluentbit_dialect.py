"""Fluent Bit's dialect beyond the measured cases: each rule of its forms, what is warned of, and places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowd
from flowd.filters.fluentbit.accessor import AccessorError, parse_accessor
from flowd.filters.fluentbit.tags import matches_regex, matches_wildcard
from flowd.filters.fluentbit.variables import substitute


def grep(properties: str, dialect: str = "fluentbit-yaml", **arguments: object) -> flowd.FilterSet:
    lines = "".join(f"  {line}\n" for line in properties.splitlines())
    return flowd.compile(f"- name: grep\n{lines}", dialect=dialect, **arguments)  # type: ignore[arg-type]


def verdicts(filters: flowd.FilterSet, *records: object) -> str:
    return filters.verdicts("".join(json.dumps(record) + "\n" for record in records).encode()).decode()


def problems(text: str, dialect: str, **arguments: object) -> list[tuple[int, int, str]]:
    with pytest.raises(flowd.FilterError) as caught:
        flowd.compile(text, dialect=dialect, **arguments)  # type: ignore[arg-type]
    assert all(problem.hint for problem in caught.value.problems)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def warned(filters: flowd.FilterSet) -> list[str]:
    assert all(warning.hint for warning in filters.warnings)
    return [warning.code for warning in filters.warnings]


# Rules


def test_the_deciding_rule_is_the_one_at_which_it_returned() -> None:
    filters = grep("exclude: a ^x$\nregex: b ^y$")
    records = [{"a": "x", "b": "y"}, {"a": "1", "b": "y"}, {"a": "1", "b": "2"}]
    assert verdicts(filters, *records) == "DKD"
    assert [filters.explain(json.dumps(record)).rule for record in records] == [
        "filter1.exclude1", "filter1.regexp1", "filter1.regexp1",
    ]  # fmt: skip


def test_a_group_decides_as_a_whole_where_all_of_it_has_a_say() -> None:
    filters = grep("logical_op: AND\nexclude: [a 1, b 1]")
    assert filters.explain('{"a":"1","b":"1"}').rule == "filter1.and"
    filters = grep("logical_op: or\nregex: [a 1, b 1]")
    assert filters.explain('{"a":"2","b":"2"}').rule == "filter1.or"
    filters = grep("logical_op: AND\nregex: [a 1, b 1]")
    assert filters.explain('{"a":"1","b":"2"}').rule == "filter1.regexp2"


def test_a_filter_has_its_alias_as_its_name() -> None:
    assert [rule.name for rule in grep("alias: drop-dev\nexclude: a 1").rules] == ["drop-dev.exclude1"]


@pytest.mark.parametrize("value", ["53", "5.0", "true", "null", '["dev"]', '{"x":"dev"}'])
def test_only_strings_match(value: str) -> None:
    line = f'{{"a":{value}}}\n'.encode()
    assert grep("exclude: a .*").verdicts(line) == b"K"
    assert grep("regex: a .*").verdicts(line) == b"D"


def test_a_stray_byte_is_one_character_that_is_no_letter() -> None:
    assert grep("exclude: a ^.$").verdicts(b'{"a":"\xff"}') == b"D"
    assert grep("exclude: a ^..$").verdicts(b'{"a":"\xe3\x81"}') == b"D"
    assert grep("exclude: 'a ^\\W$'").verdicts(b'{"a":"\xff"}') == b"D"
    assert grep("exclude: 'a [\\u0080-\\uffff]'").verdicts(b'{"a":"\xff"}\n{"a":"\xc3\xa9"}') == b"KD"


def test_a_pattern_at_the_step_limit_is_an_error_that_keeps_the_line() -> None:
    filters = grep("exclude: a ^(a|a)*\\1$")
    assert verdicts(filters, {"a": "a" * 60 + "b"}) == "E"


def test_an_inactive_filters_rules_are_not_compiled_but_its_names_are_checked() -> None:
    assert verdicts(grep("active: FALSE\nexclude: a ("), {"a": "("}) == "K"
    assert verdicts(grep("active: 0\nexclude: a 1"), {"a": "1"}) == "K"
    assert verdicts(grep("active: off\nexclude: a 1"), {"a": "1"}) == "D"
    assert (
        "unknown configuration property 'zork'"
        in problems("- name: grep\n  active: false\n  zork: 1\n", "fluentbit-yaml")[0][2]
    )


# Keys


@pytest.mark.parametrize(
    ("key", "path", "rest", "skipped"),
    [
        ("a", ("a",), "", ""),
        ("$a", ("a",), "", ""),
        ("a.b", ("a",), ".b", ""),
        ("a,b", ("a",), ",b", ""),
        ('a"b', ("a",), '"b', ""),
        ("$a['b'][0]['x.y/z']", ("a", "b", 0, "x.y/z"), "", ""),
        ("a['it''s']", ("a", "it's"), "", ""),
        ("a['']", ("a", ""), "", ""),
        ("@timestamp", ("timestamp",), "", "@"),
        ("$a[-1]", ("a", 1), "", "-"),
        ("/a/", ("a/",), "", "/"),
        ("clé", ("cl",), "", "é"),
        ("a\tb", None, "", ""),
        ("a[\t0]", ("a", 0), "", ""),
        ("\na", ("a",), "", ""),
        ("dest-name", ("dest-name",), "", ""),
        ("a[99999999999999999999]", ("a", 2**62), "", ""),
    ],
)
def test_a_keys_first_part_counts_as_far_as_it_is_known(
    key: str, path: tuple[str | int, ...] | None, rest: str, skipped: str
) -> None:
    if path is None:
        with pytest.raises(AccessorError):
            parse_accessor(key)
        return
    assert parse_accessor(key) == (path, rest, skipped, False)


@pytest.mark.parametrize("key", ["TAG", "TAGGED", "TAG[0]", "$TAG", "1k", "$0"])
def test_the_tag_and_captures_never_match(key: str) -> None:
    filters = grep(f"exclude: {key} .*")
    assert verdicts(filters, {key.lstrip("$"): "x", "TAG": "x"}) == "K"
    assert warned(filters) == ["reference-key"]


@pytest.mark.parametrize("key", ["$", "$$a", "a[b]", 'a["b"]', "a[00]", "a[", "a]", "a@b", "$.a", "'a'", "@"])
def test_what_is_no_accessor_is_refused(key: str) -> None:
    with pytest.raises(AccessorError):
        parse_accessor(key)


# Patterns


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("/dev/", ["dev"], ["/dev/x"][1:]),
        ("//", ["", "x"], []),
        ("/", ["a/b"], ["ab"]),
        ("/x", ["a/x"], ["x"]),
        ("x/", ["x/"], ["x"]),
        ("///", ["a/b"], ["ab"]),
        ("/d e v/x", ["dev"], ["d e v"]),
        ("/D.V/im", ["d\nv"], ["dv"]),
        ("/dev/io", ["DEV"], ["d"]),
        ("/dev/o", ["/dev/o"], ["dev"]),
        ("/dev/g", ["/dev/g"], ["dev"]),
        ("dev/i", ["dev/i"], ["DEV"]),
    ],
)
def test_slashes_and_options(pattern: str, matches: list[str], others: list[str]) -> None:
    filters = grep(f"exclude: {json.dumps('a ' + pattern)}")
    assert verdicts(filters, *[{"a": value} for value in matches]) == "D" * len(matches)
    assert verdicts(filters, *[{"a": value} for value in others]) == "K" * len(others)


def test_a_lists_items_are_not_trimmed_and_scalars_are() -> None:
    assert verdicts(grep('exclude: ["a dev "]'), {"a": "dev"}, {"a": "dev "}) == "KD"
    assert verdicts(grep('exclude: "a dev "'), {"a": "dev"}) == "D"
    assert verdicts(grep('exclude: ["a  "]'), {"a": "x"}, {"a": "x y"}) == "KD"


# Tags


@pytest.mark.parametrize(
    ("pattern", "tag", "fits"),
    [
        ("*", "flows", True), ("", "flows", False), ("", "", False), ("*", "", True), ("f*s", "flows", True),
        ("f*w*s", "flows", True), ("f*x*s", "flows", False), ("flows*", "flows", True), ("*ab", "aab", True),
        ("ab*ba", "aba", False), ("a*a", "a", False), ("**", "x", True), ("flows", "flows.x", False),
        ("Flows", "flows", False),
    ],
)  # fmt: skip
def test_match_takes_the_whole_tag_and_one_wildcard(pattern: str, tag: str, fits: bool) -> None:
    assert matches_wildcard(pattern, tag) is fits


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("flo", True), ("lows", False), ("x*", False), ("", False), ("/FLO/i", True), ("f*?", False),
        ("(|flows)", False),
        ("(flows|)", True), ("(?=f)", False), ("/f l # o/x", True),
    ],
)  # fmt: skip
def test_match_regex_begins_at_the_start_and_takes_something(pattern: str, fits: bool) -> None:
    assert matches_regex(pattern, "flows") is fits


def test_match_and_match_regex_suffice_either() -> None:
    text = "- name: grep\n  match: dns\n  match_regex: ^fl\n  exclude: a 1\n"
    assert [
        len(flowd.compile(text, stream=stream, dialect="fluentbit-yaml").text.filters)
        for stream in ("flows", "dns", "audit")
    ] == [1, 1, 0]


def test_a_bad_match_regex_alone_is_no_match_rule() -> None:
    found = problems("- name: grep\n  match_regex: (\n", "fluentbit-yaml")
    assert found == [(1, 3, "NO match rule for grep.0 filter instance, unloading.")]


# Variables


@pytest.mark.parametrize(
    ("text", "expected", "unset"),
    [
        ("a ${X}", "a x", []), ("a ${X}${Y}", "a xy", []), ("a ${NO}", "a ", ["NO"]), ("a ${NO:-d}b", "a db", []),
        ("a ${EMPTY:-d}", "a d", []), ("a $X", "a $X", []), ("a ${}", "a ${}", []), ("a ${X", "a ${X", []),
        ("a de{1}v${X}", "a de{1}v${X}", []), ("a ^${X}e{1}${Y}", "a ^x${Y}", []), (r"a \${X}", r"a \x", []),
        ("${X}", "x", []), ("${NO}", "", ["NO"]), ("a ${X} b ${Y", "a x", []), ("dev${2}", "dev2nd", []),
    ],
)  # fmt: skip
def test_variables_are_put_in_as_fluent_bit_does(text: str, expected: str, unset: list[str]) -> None:
    told: list[str] = []
    assert substitute(text, {"X": "x", "Y": "y", "EMPTY": "", "2": "2nd"}, told.append) == expected
    assert told == unset


def test_the_texts_own_variables_go_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS", "outside")
    text = "env:\n  NS: inside\npipeline:\n  filters:\n    - name: grep\n      match: '*'\n      exclude: a ^${NS}$\n"
    assert verdicts(flowd.compile(text, dialect=None), {"a": "inside"}, {"a": "outside"}) == "DK"
    classic = "@SET NS=inside\n[FILTER]\n  name grep\n  match *\n  exclude a ^${NS}$\n"
    assert verdicts(flowd.compile(classic, dialect=None), {"a": "inside"}, {"a": "outside"}) == "DK"


def test_the_environment_is_read_when_the_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from flowd.filters.load import open_text

    monkeypatch.setenv("NS", "early")
    opened = open_text("- name: grep\n  exclude: a ${NS}\n", "fluentbit-yaml")
    monkeypatch.setenv("NS", "late")
    assert opened.resolve("flows").filters[0].steps[0].rules[0].condition.pattern == "early"


# YAML


def test_a_whole_pipeline_gives_its_filters_only() -> None:
    text = """
service:
  flush: 1
pipeline:
  inputs:
    - name: tail
      path: /var/log/x
      processors: {logs: [{name: grep, exclude: a 1}]}
  filters:
    - name: grep
      match: flows
      exclude: a 1
    - name: grep
      match: dns
      exclude: a 2
  outputs:
    - {name: stdout, match: '*'}
"""
    filters = flowd.compile(text, dialect=None)
    assert (filters.dialect, len(filters.text.filters)) == ("fluentbit-yaml", 1)
    assert (filters.rules[0].line, filters.rules[0].column) == (12, 16)


def test_a_pipelines_filter_must_say_what_it_is_for() -> None:
    text = "pipeline:\n  filters:\n    - name: grep\n      exclude: a 1\n"
    assert problems(text, "fluentbit-yaml")[0][2] == "NO match rule for grep.0 filter instance, unloading."


def test_includes_of_a_pipeline_are_read(tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("pipeline:\n  filters:\n    - {name: grep, match: '*', exclude: a 1}\n")
    (tmp_path / "main.yaml").write_text("includes:\n  - part.yaml\npipeline:\n  filters: []\n")
    filters = flowd.load(tmp_path / "main.yaml")
    assert filters.rules[0].file == str(tmp_path / "part.yaml")
    (tmp_path / "main.yaml").write_text("includes:\n  - nosuch.yaml\n  - main.yaml\n")
    with pytest.raises(flowd.FilterError) as caught:
        flowd.load(tmp_path / "main.yaml", dialect="fluentbit-yaml")
    assert [problem.code for problem in caught.value.problems] == ["include", "include"]


def test_all_problems_of_a_text_are_told_with_their_places() -> None:
    text = "- name: grep\n  exclude: [a (, 'b', $$c 1]\n  zork: 1\n- name: grep\n  logical_op: AND\n- name: lua\n"
    assert [(line, column) for line, column, _ in problems(text, "fluentbit-yaml")] == [
        (2, 13), (2, 18), (2, 23), (3, 3), (5, 3), (6, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected event 'scalar-event' (6) in state 'pipeline' (11)."),
        ("- name: grep\n---\n- name: grep\n", "could not find expected ':'"),
        ("---\n- name: grep\n", "unexpected event 'scalar-event' (6) in state 'pipeline' (11)."),
        ("- &a {name: grep}\n- *a\n", "unexpected event 'alias-event' (5) in state 'filter' (13)."),
        ("- - name: grep\n", "unexpected event 'sequence-end-event' (8) in state 'pipeline' (11)."),
        ("- name: grep\n  ? [a]\n  : b\n", "unexpected event 'sequence-start-event' (7) in state 'plugin-start' (15)."),
        (
            "- name: grep\n  condition: {rules: []}\n",
            "unexpected event 'sequence-start-event' (7) in state 'group-val' (21).",
        ),
        ("- name: grep\n  condition: {op: and}\n", "could not configure property 'condition'"),
        ("- name: grep\n  processors: {zork: []}\n", "unknown processor 'zork'"),
        ("- name: grep\n  processors: [grep]\n", "grep: unknown configuration property 'processors'."),
        ("- name: grep\n  '  ': x\n", "unable to add variant value property"),
        ("- name: grep\n  exclude: '  '\n", "unable to add variant value property"),
        ("- name: [a, b]\n", "section '  a b' tried to instance a plugin name that doesn't exist"),
        ("- name: ${NOT_SET}x\n", "section '${NOT_SET}x' tried to instance a plugin name that doesn't exist"),
        ("- name: GREP\n  log_level: loud\n", "property 'log_level' on filter plugin with section name 'GREP'"),
        ("- name: grep\n  log_suppress_interval: -1\n", "could not configure property 'log_suppress_interval'"),
        ("- name: grep\n  logical_op: [AND, OR]\n", "configuration property 'logical_op' is set 2 times"),
        ("- name: grep\n  Logical_Op: a\n  logical_op: b\n", "configuration property 'Logical_Op' is set 2 times"),
        ("- name: grep\n  log_Zork: 1\n", "grep: unknown configuration property 'log_zork'."),
        ("- name: grep\n  active: false\n  logical_op: [a, b]\n", "configuration property 'logical_op' is set 2 times"),
        ("- name: grep\n  exclude: []\n", "could not configure property 'exclude'"),
        ("- name: grep\n  exclude: {a: b}\n", "could not configure property 'exclude'"),
        (
            "- name: grep\n  exclude: [[a 1]]\n",
            "unexpected event 'sequence-start-event' (7) in state 'plugin-values' (18).",
        ),
        (
            "- name: grep\n  exclude: [{a: 1}]\n",
            "unexpected event 'mapping-start-event' (9) in state 'plugin-values' (18).",
        ),
        ("- name: grep\n  <<: {exclude: a 1}\n", "could not configure property '<<'"),
        ("pipeline:\n  filters:\n", "unexpected event 'scalar-event' (6) in state 'pipeline' (11)."),
        ("pipeline:\n", "the pipeline component '' is not valid. Try one of these values: customs, inputs, filters"),
        ("pipeline:\n  zork: []\n", "the pipeline component 'zork' is not valid."),
        ("pipeline:\n  filters: []\nzork: 1\n", "unexpected event 'scalar-event' (6) in state 'other' (9)."),
        (
            "pipeline:\n  filters: []\n---\n- name: grep\n",
            "unexpected event 'sequence-start-event' (7) in state 'document'",
        ),
        ("service: {}\nservice: {}\npipeline: {}\n", "duplicated definition of 'service'"),
        ("env:\n  X: file:///etc/hostname\npipeline: {}\n", "the variable X is to be read from a file"),
        ("? {pipeline: {}}\n: service\n", "unexpected event"),
        ("- name: nosuch\n", "section 'nosuch' tried to instance a plugin name that doesn't exist"),
        ("- name: rewrite_tag\n", "the filter rewrite_tag is none that flowd can run"),
        ("- name: grep\n  log_level: loud\n", "could not configure property 'log_level'"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert message in problems(text, "fluentbit-yaml")[0][2]


def test_another_filter_is_passed_over_where_that_is_asked_for() -> None:
    text = "- name: modify\n  add: a b\n- name: grep\n  exclude: action 1\n"
    filters = flowd.compile(text, dialect="fluentbit-yaml", skip_unsupported=True)
    assert [section.name for section in filters.text.filters] == ["filter2"]
    assert warned(filters) == ["unsupported-type"]


# Through Calico's operator


def operator(text: str) -> flowd.FilterSet:
    return flowd.compile(text, dialect="fluentbit-configmap")


def test_excludes_come_before_regexes_whatever_was_written() -> None:
    text = "- name: grep\n  regex: a 1\n  exclude: b 1\n"
    records = [{"a": "1", "b": "1"}, {"a": "1"}, {"b": "1"}]
    assert verdicts(flowd.compile(text, dialect="fluentbit-yaml"), *records) == "KKD"
    assert verdicts(operator(text), *records) == "DKD"


def test_the_last_of_repeated_names_is_left_and_that_is_told() -> None:
    filters = operator("- name: grep\n  exclude: a 1\n  exclude: b 1\n")
    assert verdicts(filters, {"a": "1"}, {"b": "1"}) == "KD"
    assert [(warning.code, warning.line) for warning in filters.warnings if warning.code != "unknown-field"] == [
        ("repeated-parameter", 3)
    ]


def test_the_operator_adds_a_match_where_the_name_is_not_written_just_so() -> None:
    text = "- name: grep\n  Match: dns\n  exclude: action 1\n"
    assert len(flowd.compile(text, dialect="fluentbit-yaml").text.filters) == 0
    assert len(operator(text).text.filters) == 1
    text = "- name: grep\n  matchRegex: ^d\n  exclude: action 1\n"
    assert [
        len(flowd.compile(text, stream=stream, dialect="fluentbit-configmap").text.filters)
        for stream in ("flows", "dns")
    ] == [1, 1]


def test_an_empty_variable_of_the_text_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NS", "outside")
    filters = flowd.compile("@SET NS=\n[FILTER]\n  name grep\n  match *\n  exclude a ^${NS}$\n", dialect=None)
    assert verdicts(filters, {"a": "outside"}, {"a": ""}) == "KD"


def test_anchors_and_merges_work_there() -> None:
    text = "- &base\n  name: grep\n  exclude: &r a 1\n- <<: *base\n  exclude: b 1\n- {name: grep, exclude: *r}\n"
    filters = operator(text)
    assert [rule.key for section in filters.text.filters for step in section.steps for rule in step.rules] == list(
        "aba"
    )


@pytest.mark.parametrize(
    ("value", "active"),
    [("no", False), ("off", False), ("n", False), ("False", False), ("'no'", True), ("!!str no", True), ("yes", True),
     ("0", False), ("0x0", False), ("00", False), ("1", True), ("~", True), ("0.0", False)],
)  # fmt: skip
def test_yaml_1_1_types_reach_fluent_bit_as_json(value: str, active: bool) -> None:
    letters = verdicts(operator(f"- name: grep\n  active: {value}\n  exclude: a 1\n"), {"a": "1"})
    assert letters == ("D" if active else "K")


@pytest.mark.parametrize(
    "text",
    [
        "<filter flows>\n</filter>",
        "name: grep\n",
        "- grep\n",
        "- name: [\n",
        "\t- name: grep",
        "- {a: {b: c}, ? [x] : y}",
    ],
)
def test_what_the_operator_skips_is_refused_with_that_hint(text: str) -> None:
    with pytest.raises(flowd.FilterError) as caught:
        operator(text)
    assert "Calico's operator skips this key, and all logs flow unfiltered" in caught.value.problems[0].hint


@pytest.mark.parametrize("text", ["", "# nothing\n", "~", "---\n", "[]"])
def test_nothing_keeps_everything(text: str) -> None:
    assert operator(text).rules == ()


def test_aliases_to_aliases_are_bounded() -> None:
    text = "- &a0 {name: grep, exclude: [a 1, a 1, a 1, a 1, a 1, a 1, a 1, a 1, a 1]}\n"
    text += "".join(f"- &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9))
    with pytest.raises(flowd.FilterError, match="aliases make this text too large"):
        operator(text)


# Classic


def classic(text: str) -> flowd.FilterSet:
    return flowd.compile(text, dialect="fluentbit-classic")


def test_keys_of_any_case_and_aligned_values() -> None:
    filters = classic("[filter]\n\tNAME    grep\n\tMatch   *\n\tEXCLUDE a 1\n\t\texclude b 1\n")
    assert verdicts(filters, {"a": "1"}, {"b": "1"}, {"a": "2"}) == "DDK"
    assert (filters.rules[0].line, filters.rules[0].column) == (4, 10)


def test_other_sections_are_passed_over_and_a_near_miss_is_told() -> None:
    filters = classic("[SERVICE]\n  flush 1\n[INPUT]\n  name tail\n[FILTR]\n  name grep\n[WHAT]\n  x y\n")
    assert filters.rules == ()
    assert warned(filters) == ["unknown-section"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[FILTER\n", 1, "bad header definition"),
        ("name grep\n", 1, "could not allocate key value pair"),
        ("[FILTER]\nname grep\n", 2, "invalid indentation level: indentation level is too low"),
        ("[FILTER]\n  name grep\n\tmatch *\n", 3, "invalid indentation level: inconsistent use of tab and space"),
        ("[FILTER]\n  name grep\n   match *\n", 3, "invalid indentation level: extra indentation level found"),
        ("[FILTER]\n  name\tgrep\n", 2, "undefined value - check config is in valid classic format"),
        ("[FILTER]\n  match *\n", 1, "section 'filter' is missing the 'name' property"),
        ("[FILTER]\n  name grep\n", 1, "NO match rule for grep.0 filter instance, unloading."),
        ("[FILTER]\n  name grep\n  match *\n  logicalOp AND\n", 4, "grep: unknown configuration property 'logicalop'"),
        ("[FILTER]\n  name grep\n \n  match *\n", 3, "invalid indentation level: indentation level is too low"),
        ("[FILTER]\n  name grep\n   \n  match *\n", 3, "invalid indentation level: extra indentation level found"),
        ("[FILTER]\n  name grep\n # c\n  match *\n", 3, "invalid indentation level: indentation level is too low"),
        ("  # c\n[FILTER]\n   name grep\n", 3, "invalid indentation level: extra indentation level found"),
        ("[FILTER]\n  name \n", 2, "key has an empty value"),
        ("[FILTER]\n  name   \n", 2, "could not allocate key value pair"),
        ("[FILTER]\n\u00a0\n", 2, "invalid indentation level: indentation level is too low"),
        ("[FILTER]\n  name grep\0\n", 2, "a NUL"),
        ("[PARSER]\n  name x\n", 1, "Sections 'multiline_parser' and 'parser' are not valid in the main configuration"),
        ("@SET\n", 1, "@SET without a value"),
        ("@SET   \n", 1, "@SET without a value"),
        ("@INCLUDE\tx\n", 1, "@INCLUDE\tx without a value"),
        ("@ab\n", 1, "undefined value - check config is in valid classic format"),
        ("  [FILTER]\n  name grep\n", 1, "undefined value - check config is in valid classic format"),
        ("[SERVICE]\n  [FILTER]\n  name grep\n", 2, "undefined value - check config is in valid classic format"),
        ("@SET X=file:///etc/hostname\n", 1, "the variable X is to be read from a file"),
    ],
)
def test_what_a_classic_file_cannot_say(text: str, line: int, message: str) -> None:
    found = problems(text, "fluentbit-classic")
    assert (found[0][0], found[0][2][: len(message)]) == (line, message)


def test_includes_of_a_classic_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "part.conf").write_text("@INCLUDE inner.conf\n")
    (tmp_path / "inner.conf").write_text("[FILTER]\n  name grep\n  match *\n  exclude b 1\n")
    main = tmp_path / "main.conf"
    main.write_text("[FILTER]\n  name grep\n  match *\n@include folder/part.conf\n  exclude a 1\n")
    filters = flowd.load(main)
    assert verdicts(filters, {"a": "1"}, {"b": "1"}, {"c": "1"}) == "DDK"
    main.write_text("@INCLUDE  inner.conf\n@INCLUDE inner.conf\n@INCLUDE inner.conf\n@INCLUDE x*\n[FILTER]\n")
    with pytest.raises(flowd.FilterError) as caught:
        flowd.load(main, dialect="fluentbit-classic")
    messages = [problem.message.removeprefix(f"{tmp_path}/") for problem in caught.value.problems[:3]]
    assert "No such file" in messages[0]
    assert messages[1].startswith("Read twice. path=")
    assert messages[2] == "@INCLUDE x*: no match"


# What somebody else sent


@pytest.mark.parametrize(
    "text", ["- name: grep\n  exclude: a ${HOME}\n", "includes: [/etc/x]\npipeline: {}\n", "@INCLUDE x\n[FILTER]\n"]
)
def test_a_text_that_was_sent_reads_nothing_here(text: str) -> None:
    from flowd.filters.load import open_foreign_text

    with pytest.raises(flowd.FilterError, match="cannot read files or variables"):
        open_foreign_text(text, None, "<sent>")


# Warnings


@pytest.mark.parametrize(
    ("properties", "codes"),
    [
        ("exclude: dest_name a", []),
        ("exclude: action.name a", ["ignored-key-part"]),
        ("exclude: '@dest_name a'", ["skipped-character"]),
        ("exclude: dest_name /a/g", ["literal-options"]),
        ("exclude: dest_name ${NOT_SET_AT_ALL}x", ["unset-variable"]),
        ("logical_op: xor\nexclude: dest_name a", ["unknown-logical-op"]),
        ("match: flow\nexclude: dest_name a", ["unknown-stream"]),
        ("match: flows\nmatch: '*'\nexclude: dest_name a", ["repeated-parameter"]),
        ("match: [dns, flows]\nname: lua\nexclude: dest_name a", ["repeated-parameter", "repeated-parameter"]),
        ("condition: x\nexclude: dest_name a", ["ignored-property"]),
        ("match: flows\nmatch_regex: (\nexclude: dest_name a", ["bad-match-regex"]),
        ("exclude: dest_name a\nprocessors: {logs: []}", ["ignored-property"]),
    ],
)
def test_what_means_something_else_than_it_seems_is_told(properties: str, codes: list[str]) -> None:
    assert warned(grep(properties)) == codes


PIECES = [
    "- name: grep\n", "- name: lua\n", "  exclude: a 1\n", "  regex: ", "[a 1, b 2]\n", "  match: '*'\n",
    "  logical_op: AND\n", "pipeline:\n", "  filters:\n", "env:\n", "includes: [x]\n", "&a ", "*a", "<<: *a\n", "{",
    "}", "[", "]", "- ", "? ", ": ", "---\n", "...\n", "|\n", "'", "\"", "\\", "\t", " ", "\n", "\r\n", "#", "${X}",
    "${", "!!str ", "%", "~", "no", "0x1", "1e9", "[FILTER]\n", "[F", "  name grep\n", "  match *\n",
    "  exclude a (\n", "@SET A=b\n", "@INCLUDE x\n", "\ufeff", "\0", "é",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join),
    st.sampled_from(["fluentbit-yaml", "fluentbit-configmap", "fluentbit-classic", None]),
)
@settings(deadline=None, max_examples=800, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_raises_anything_but_filter_error(text: str, dialect: str | None) -> None:
    try:
        found = list(flowd.compile(text, dialect=dialect, origin="f").warnings)
    except flowd.FilterError as error:
        found = [*error.problems, *error.warnings]
    for problem in found:
        assert problem.message
        assert problem.hint
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.line <= text.count("\n") + text.count("\r") + 2
