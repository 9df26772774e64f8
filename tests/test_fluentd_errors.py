"""What fluentd refuses: all problems of a text at once, each in fluentd's words, at its place, with a hint."""

from __future__ import annotations

import pytest

from flowd.errors import FilterError, Problem
from flowd.filters.load import read_text


def find_problems(text: str, *, skip_unsupported: bool = False) -> list[Problem]:
    try:
        read_text(text, "flows", "fluentd", "f", skip_unsupported)
    except FilterError as error:
        return list(error.problems)
    return []


def in_filter(body: str) -> str:
    return f"<filter flows>\n@type grep\n{body}\n</filter>\n"


def condition(kind: str, key: str, pattern: str = "x") -> str:
    return f"<{kind}>\nkey {key}\npattern {pattern}\n</{kind}>"


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ("regexp1 message", "3:9", "regexp1 does not contain 2 parameters"),
        ("exclude7 message", "3:10", "exclude7 does not contain 2 parameters"),
        ("regexp1 a x\nregexp2 a y", "4:9", "regexp2 contains a duplicated key, a"),
        ("regexp2 a x\nregexp1 a y", "3:9", "regexp2 contains a duplicated key, a"),
        ("exclude1 a x\nexclude2 a y", "4:10", "exclude2 contains a duplicated key, a"),
        (f"regexp1 a x\n{condition('regexp', 'a')}", "5:5", "Duplicate key: a"),
        (f"{condition('exclude', 'a')}\nexclude1 a x", "4:5", "Duplicate key: a"),
        (f"<and>\n{condition('regexp', 'a')}\n</and>\n{condition('regexp', 'a')}", "5:5", "Duplicate key in <and>: a"),
        (
            f"<and>\n{condition('exclude', 'a')}\n</and>\n<and>\n{condition('exclude', 'a')}\n</and>",
            "11:5",
            "Duplicate key in <and>: a",
        ),
        (f"<or>\n{condition('exclude', 'a')}\n</or>\n{condition('exclude', 'a')}", "5:5", "Duplicate key in <or>: a"),
        (
            f"<or>\n{condition('regexp', 'a')}\n</or>\n<or>\n{condition('regexp', 'a')}\n</or>",
            "11:5",
            "Duplicate key in <or>: a",
        ),
        (
            f"<and>\n{condition('exclude', 'a')}\n{condition('regexp', 'b')}\n</and>",
            "3:1",
            "Do not specify both <regexp> and <exclude> in <and>",
        ),
        (
            f"<or>\n{condition('exclude', 'a')}\n{condition('regexp', 'a')}\n</or>",
            "3:1",
            "Do not specify both <regexp> and <exclude> in <or>",
        ),
        ("<exclude>\npattern x\n</exclude>", "3:1", "'key' parameter is required, in section exclude"),
        ("<regexp>\nkey x\n</regexp>", "3:1", "'pattern' parameter is required, in section regexp"),
        (
            "<or>\n<exclude>\nkey x\n</exclude>\n</or>",
            "4:1",
            "'pattern' parameter is required, in section or > exclude",
        ),
        (condition("exclude", "a", '"#{use_nil}"'), "5:9", "'pattern' parameter is required but nil is specified"),
        (condition("exclude", '"#{use_nil}"'), "4:5", "'key' parameter is required but nil is specified"),
        (condition("exclude", "a", '"#{use_default}"'), "5:9", "'pattern' doesn't have default value"),
        (condition("exclude", "a", "/abc"), "5:9", "invalid regexp: missing right slash: /abc"),
        (condition("exclude", "a", "/a/imx"), "5:9", "invalid regexp: missing right slash: /a/imx"),
        (condition("exclude", "a", "/var/log"), "5:9", "invalid regexp: missing right slash: /var/log"),
        (condition("exclude", "a", "("), "5:9", "end pattern with unmatched parenthesis: /(/"),
        (condition("exclude", "a", "/a/b(/im"), "5:9", "end pattern with unmatched parenthesis: /a\\/b(/mi"),
        (condition("exclude", "a", "[a-z]+"), "5:9", "got incomplete JSON array configuration"),
        ("regexp1 a *", "3:9", "target of repeat operator is not specified: /*/"),
        (condition("exclude", "$.a[x]"), "4:5", 'invalid value for Integer(): "x"'),
        ("regexp1 $['a b'] x", "3:9", "Incomplete bracket. Invalid syntax: $['a"),
        (
            "@id a\n</filter>\n<match x>\n@type null\n@id a\n</match>\n<filter>\n@type grep",
            "7:5",
            "Duplicated plugin id `a`.",
        ),
        ("id a\n</filter>\n<filter>\n@type grep\n@id a", "7:5", "Duplicated plugin id `a`."),
        ("@label @X", "3:8", "@X label not found"),
        ('@type "#{use_default}"', "3:7", "Unknown filter plugin 'default'."),
        ('type grep\n@type "#{use_nil}"', "1:1", "Missing '@type' parameter on <filter> directive"),
        ('@label "#{use_default}"', "3:8", "default label not found"),
        ("@log_level loud", "3:12", "Unknown log level: level = loud"),
        ("log_level inf", "3:11", "Unknown log level: level = inf"),
        ("@log_level", "3:1", "Unknown log level: level = "),
        (
            "@zork 1",
            "3:1",
            "'@' is the system reserved prefix. Don't use '@' prefix parameter in the configuration: @zork",
        ),
    ],
)
def test_a_section_that_fluentd_refuses(body: str, place: str, message: str) -> None:
    (problem,) = find_problems(in_filter(body))
    assert problem.message.startswith(message)
    assert str(problem).startswith(f"f:{place}: ")
    assert problem.hint
    assert problem.code


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("<filter flows>\n", "1:1", "Missing '@type' parameter on <filter> directive"),
        ("<filter flows>\n@type grep\n", "1:1", "expected end tag '</filter>' but got end of file"),
        ("</filter>\n", "1:1", "unmatched end tag"),
        ("\ufeff<filter flows>\n@type grep\n</filter>\n", "3:1", "unmatched end tag"),
        ("<filter flows>\n@type grep\n</filter >x\n", "3:11", "expected end of line after end tag"),
        ("<filter flows> @type grep\n</filter>\n", "1:16", "expected end of line after tag"),
        ("<filter flows\n@type grep\n</filter>\n", "1:1", "expected '>'"),
        ("<filter #c>\n@type grep\n</filter>\n", "1:1", "expected '>'"),
        ("<filter /flo>\n@type grep\n</filter>\n", "1:1", "invalid match - regex"),
        ("<filter flows>\n@type grep\n</fil-ter>\n", "3:1", "expected character in tag name"),
        ("</>\n<filter flows>\n", "2:1", "expected EOF"),
        ("<filter flows>\n@type nosuch\n</filter>\n", "2:7", "Unknown filter plugin 'nosuch'. Run 'gem search -rd"),
        ("<filter dns>\n@type parser\n</filter>\n", "2:7", "<filter dns> is of @type parser, which flowd cannot run"),
        ("<match x>\n</match>\n", "1:1", "Missing '@type' parameter on <match> directive"),
        ("<label>\n</label>\n", "1:1", "Missing symbol argument on <label> directive"),
        ("<label @a>\n</label>\n<label @a>\n</label>\n", "3:1", "Section <label @a> appears twice"),
        ("<label @ROOT>\n</label>\n", "1:1", "@ROOT for <label> is not permitted"),
        ("<label @a>\n<filter>\n@type grep\nregexp1 x\n</filter>\n</label>\n", "4:9", "regexp1 does not contain 2"),
        ("@include http://example.com/x\n", "1:10", "include error http://example.com/x - "),
        ("@include a[b\n", "1:10", 'bad URI(is not URI?): "a[b"'),
        ("@include /\n", "1:10", "include error / - Is a directory"),
        ("@zork\n", None, ""),
        ("k \ud800\n", "1:3", "not UTF-8"),
    ],
)
def test_a_text_that_fluentd_refuses(text: str, place: str | None, message: str) -> None:
    problems = find_problems(text)
    if place is None:
        assert problems == []
        return
    assert problems[0].message.startswith(message) or message in [problem.message for problem in problems]
    assert f"f:{place}: {message}" in "\n".join(map(str, problems))
    assert all(problem.hint for problem in problems)


def test_all_problems_of_a_text_are_told_at_once() -> None:
    text = """<filter flows>
  @type grep
  <exclude>
    key sourc_namespace
    patern dev
  </exclude>
  <exclude>
    key a
    pattern "\\d+"
  </exclude>
  <regexp>
    key b
    pattern (
  </exclude>
  regexp1 c
  <or>
    <regexp>
      key $.
      pattern 'a
    </regexp>
  </or>
</filter></x>
<filter dns>
  @type record_transformer
</filter>
<filter /x>
  @type grep
  <exclude>
    key "a" b
    pattern [a
  </exclude>
"""
    assert [(problem.line, problem.column, problem.message) for problem in find_problems(text)] == [
        (3, 3, "'pattern' parameter is required, in section exclude"),
        (9, 14, "unexpected back-slash escape character 'd'"),
        (13, 13, "end pattern with unmatched parenthesis: /(/"),
        (14, 3, "unmatched end tag"),
        (15, 11, "regexp1 does not contain 2 parameters"),
        (18, 11, "empty keys in dot notation"),
        (19, 15, "unexpected end of file in a single quoted string"),
        (22, 10, "expected end of line after end tag"),
        (22, 10, "unmatched end tag"),
        (24, 9, "<filter dns> is of @type record_transformer, which flowd cannot run"),
        (26, 1, "expected end tag '</filter>' but got end of file"),
        (26, 1, "invalid match - regex"),
        (29, 13, "expected end of line"),
        (30, 13, "got incomplete JSON array configuration"),
    ]


def test_an_unclosed_section_does_not_hide_what_follows() -> None:
    text = in_filter("<exclude>\nkey a\npattern x") + in_filter(condition("exclude", "b", "("))
    assert [(problem.line, problem.message.split(":")[0]) for problem in find_problems(text)] == [
        (6, "unmatched end tag"),
        (11, "end pattern with unmatched parenthesis"),
    ]


def test_filters_of_other_types_can_be_skipped() -> None:
    text = "<filter flows>\n@type record_transformer\n</filter>\n<filter flows>\n@type zork\n</filter>\n" + in_filter(
        ""
    )
    assert len(find_problems(text)) == 2
    read = read_text(text, "flows", skip_unsupported=True)
    assert [(warning.line, warning.code) for warning in read.warnings] == [
        (2, "unsupported-type"),
        (5, "unsupported-type"),
    ]
    assert [section.name for section in read.filters] == ["filter3"]
