"""Sections as filters: the four buckets, their order, names, values, and which sections apply to a stream."""

from __future__ import annotations

import pytest

from flowd.filters.load import read_text
from flowd.filters.model import Condition, Filter, FilterText


def read(text: str, stream: str = "flows") -> FilterText:
    return read_text(text, stream, "fluentd", "f")


def read_one(body: str) -> Filter:
    (section,) = read(f"<filter flows>\n@type grep\n{body}\n</filter>\n").filters
    return section


def condition(kind: str, key: str, pattern: str = "x") -> str:
    return f"<{kind}>\nkey {key}\npattern {pattern}\n</{kind}>\n"


def test_conditions_run_in_fluentds_order_whatever_the_layout() -> None:
    section = read_one(
        condition("exclude", "a")
        + f"<or>\n{condition('exclude', 'b')}</or>\n"
        + f"<and>\n{condition('exclude', 'c')}</and>\n"
        + f"<or>\n{condition('regexp', 'd')}</or>\n"
        + f"<and>\n{condition('regexp', 'e')}</and>\n"
        + condition("regexp", "f")
        + "exclude2 g x\nexclude1 h x\nregexp1 i x\n"
        + f"<and>\n{condition('exclude', 'j')}</and>\n"
    )
    assert [(step.kind, step.group, [rule.key for rule in step.rules]) for step in section.steps] == [
        ("all", "", ["i", "f", "e"]),
        ("any", "filter1.or", ["d"]),
        ("not_all", "filter1.and", ["c", "j"]),
        ("not_any", "", ["h", "g", "a", "b"]),
    ]
    names = {rule.key: rule.name for step in section.steps for rule in step.rules}
    assert names == {
        "a": "filter1.exclude1",
        "b": "filter1.exclude2",
        "c": "filter1.exclude3",
        "d": "filter1.regexp1",
        "e": "filter1.regexp2",
        "f": "filter1.regexp3",
        "g": "filter1.exclude4",
        "h": "filter1.exclude5",
        "i": "filter1.regexp4",
        "j": "filter1.exclude6",
    }


def test_rules_say_where_they_stand() -> None:
    section = read_one(f"<or>\n  {condition('regexp', 'a')}</or>\nexclude1 b x\n")
    assert [(rule.file, rule.line, rule.column, rule.group) for step in section.steps for rule in step.rules] == [
        ("f", 4, 3, "filter1.or"),
        ("f", 9, 1, ""),
    ]


@pytest.mark.parametrize(
    ("written", "source", "ignore_case", "dotall"),
    [
        ("dev", "dev", False, False),
        ("^nginx", "^nginx", False, False),
        ("/dev/", "dev", False, False),
        ("/dev/i", "dev", True, False),
        ("/dev/m", "dev", False, True),
        ("/dev/mi", "dev", True, True),
        ("/dev/x", "dev", False, False),
        ("/var/lo", "var", False, False),
        ("/a/b/", "a/b", False, False),
        ("/", "", False, False),
        ("/ab", "", False, False),
        ("//", "", False, False),
        ("", "", False, False),
        ("'/a #b/'", "a #b", False, False),
        ('["a","b"]', '["a","b"]', False, False),
        ('[ "a", "b" ]', '["a","b"]', False, False),
        (r"'\d'", r"\d", False, False),
        (r'"\\d"', r"\d", False, False),
    ],
)
def test_patterns_are_read_with_their_options(written: str, source: str, ignore_case: bool, dotall: bool) -> None:
    section = read_one(condition("exclude", "$.a.b", written))
    assert section.steps[0].rules[0].condition == Condition(("a", "b"), source, ignore_case, dotall)


def test_legacy_parameters_take_the_rest_after_the_first_blank_as_it_is() -> None:
    section = read_one("regexp20 a  /b/i c\n")
    assert section.steps[0].rules[0].condition == Condition(("a",), " /b/i c")


def test_one_key_may_stand_once_in_each_bucket_and_under_two_spellings() -> None:
    section = read_one(
        condition("regexp", "a")
        + condition("exclude", "a")
        + condition("exclude", "$.a")
        + f"<and>\n{condition('exclude', 'a')}</and>\n<or>\n{condition('regexp', 'a')}</or>\n"
    )
    assert [[rule.key for rule in step.rules] for step in section.steps] == [["a"], ["a"], ["a"], ["a", "$.a"]]


def test_sections_that_say_nothing_make_no_steps() -> None:
    section = read_one("<and>\n</and>\n<or>\n</or>\n<and>\n<and>\n" + condition("regexp", "a") + "</and>\n</and>\n")
    assert section.steps == ()


SECTION = "<filter {}>\n@type grep\n</filter>\n"


def test_only_the_sections_for_the_stream_apply_and_all_are_counted() -> None:
    text = "".join(SECTION.format(tags) for tags in ("dns", "flows", "**", "flow*"))
    assert [(section.name, section.tags) for section in read(text).filters] == [
        ("filter2", "flows"),
        ("filter3", "**"),
        ("filter4", "flow*"),
    ]
    assert [section.name for section in read(text, "dns").filters] == ["filter1", "filter3"]


def test_filters_are_named_by_their_id() -> None:
    text = "<filter>\n@type grep\n@id filter2\n</filter>\n<filter>\n@type grep\n@id\n</filter>\n"
    assert [section.name for section in read(text).filters] == ["filter2", "filter2_"]


@pytest.mark.parametrize("comment", ["", "# nothing here", "\n\n", " # a\r\n", "\ufeff"])
def test_an_empty_text_keeps_everything(comment: str) -> None:
    assert read(comment).filters == ()


def test_a_match_ends_the_chain_for_its_tags() -> None:
    text = SECTION.format("flows") + "<match flo*>\n@type zork\n</match>\n" + SECTION.format("**")
    found = read(text)
    assert [section.name for section in found.filters] == ["filter1"]
    assert [(warning.line, warning.code) for warning in found.warnings] == [
        (4, "skipped-section"),
        (7, "unreachable-filter"),
    ]
    assert [section.name for section in read(text, "dns").filters] == ["filter2"]


def test_the_last_type_counts_and_one_without_the_at_sign_is_taken() -> None:
    found = read("<filter>\n@type stdout\n@type grep\n</filter>\n<filter>\ntype grep\n</filter>\n")
    assert [section.name for section in found.filters] == ["filter1", "filter2"]
    assert [warning.code for warning in found.warnings] == ["repeated-parameter", "deprecated-parameter"]
