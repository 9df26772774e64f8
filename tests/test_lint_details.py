"""Where lint is silent on purpose, what it says in words, and comments that silence in every dialect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_bed import flowd, json_line
from lint_bed import CLASSIC, FB, check, grep, own, pattern, rule

from flowd.cli.check import check_path, silence_warnings
from flowd.errors import Problem
from flowd.filters.lint.backtracking import find_costly_value
from flowd.filters.model import Condition

DEV = pattern("source_namespace", "dev")


def find(tmp_path: Path, text: str, name: str = "text") -> list[Problem]:
    """The warnings that no comment silences."""
    (tmp_path / name).write_text(text)
    return list(silence_warnings(check_path(str(tmp_path / name), None, True)))


def codes(tmp_path: Path, text: str) -> list[str]:
    return [code for code, _ in check(tmp_path, text)]


# Decisions


@pytest.mark.parametrize(
    "text",
    [
        # a list may hold both
        own(rule("regexp", "dest_domains", "equals a.com"), rule("exclude", "dest_domains", "equals b.com")),
        # looking into a text is an error, which ends the first section before its exclude
        grep(pattern("$.policies.x", "^x$"), pattern("action", "^deny$")) + grep(pattern("action", "^deny$")),
        # the second section is for other streams, too
        grep(pattern("start_time", "^1$")) + grep(pattern("start_time", "^1$"), tag="**"),
        grep(pattern("action", ".*")) + grep(pattern("start_time", "^1$"), tag="**"),
        # a shadow drops nothing, a sample not all, and what ends will not always drop
        own(rule("exclude", "action", "equals deny\n    shadow true"), rule("exclude", "action", "equals deny")),
        own(rule("exclude", "action", "equals deny\n    sample 1/9"), rule("exclude", "action", "equals deny")),
        own(rule("exclude", "action", "equals deny\n    until 2200-01-01"), rule("exclude", "action", "equals deny")),
    ],
)
def test_what_only_seems_to_never_decide_is_not_told(text: str, tmp_path: Path) -> None:
    told = {"never-decides", "duplicate-rule", "shadowed-rule"}
    assert told.isdisjoint(codes(tmp_path, text))


def group(*rules: str, name: str = "and") -> str:
    return f"  <{name}>\n{''.join(rules)}  </{name}>\n"


DENY, UDP = pattern("action", "^deny$"), pattern("proto", "^udp$")
DENIED, TCP = pattern("action", "^deny$", "regexp"), pattern("proto", "^tcp$", "regexp")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (grep(DENIED, DENY), ("drops-everything", 7)),
        (grep(DENY) + grep(DENIED), ("drops-everything", 10)),
        (grep(DENIED) + grep(pattern("action", "^den", "regexp")), ("never-decides", 10)),
        (grep(pattern("proto", "$a")), ("never-decides", 3)),
        (grep(pattern("proto", "tcp$x", "regexp")), ("drops-everything", 3)),
        (grep(group(DENY, UDP)) + grep(group(DENY, UDP)), ("duplicate-rule", 17)),
        (grep(DENY) + grep(group(DENY, UDP)), ("shadowed-rule", 11)),
        (grep(DENIED) + grep(group(pattern("action", "^allow$"), UDP)), ("never-decides", 11)),
        (grep(group(DENIED, TCP, name="or")) + grep(group(DENIED, TCP, name="or")), ("duplicate-rule", 17)),
        (own(DENY) + own(group(DENY, UDP)), ("shadowed-rule", 11)),
        (own(DENY) + own(group(group(DENY, name="not"), UDP, name="or")), ("drops-everything", 12)),
        (FB + "  regex: action ^deny$\n" + FB + "  regex: action ^deny$\n", ("duplicate-rule", 6)),
    ],
)
def test_groups_and_contradictions_are_told(text: str, told: tuple[str, int], tmp_path: Path) -> None:
    assert told in check(tmp_path, text)


def test_the_hint_names_the_place_of_the_other_rule(tmp_path: Path) -> None:
    found = find(tmp_path, grep(pattern("dest_name", "^web")) + grep(pattern("dest_name", "^web-1$")))
    assert [(warning.code, warning.message, warning.hint) for warning in found] == [
        (
            "shadowed-rule",
            "filter2.exclude1 never decides: filter1.exclude1 drops all that it matches before",
            f"remove it, or the rule at {tmp_path / 'text'}:3:3",
        )
    ]


# Words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (grep(pattern("dest_port", "53")), "53 is found anywhere in dest_port: 153 and 530 match, too"),
        (
            grep(pattern("qtype", "A"), tag="dns"),
            "A is found anywhere in qtype: AAAA, CNAME and SOA match, too",
        ),
        (grep(pattern("proto", "icmp")), "icmp is found anywhere in proto: icmp6 matches, too"),
        (
            grep(pattern("source_ip", r"10\.0\.0\.1")),
            r"10\.0\.0\.1 is found anywhere in source_ip: 110.0.0.1 and 10.0.0.10 match, too",
        ),
        (
            grep(pattern("source_namespace", "dev|test")),
            "dev|test is found anywhere in source_namespace: my-dev and dev-2 match, too",
        ),
        (grep(pattern("source_namespace", "/dev/i")), "dev is found anywhere in source_namespace: my-dev and dev-2"),
        (grep(DEV, tag="l7"), "dev is found anywhere in source_namespace: my-dev and dev-2 match, too"),
    ],
)
def test_a_bare_word_is_told_with_what_else_it_hits(text: str, message: str, tmp_path: Path) -> None:
    found = [warning for warning in find(tmp_path, text) if warning.code == "unanchored-word"]
    assert [warning.message[: len(message)] for warning in found] == [message]
    assert "^" in found[0].hint


@pytest.mark.parametrize(
    "text",
    [
        grep(pattern("source_namespace", ".*dev.*")),
        grep(pattern("source_namespace", "-dev")),
        grep(pattern("dest_port", "^53$")),
        grep(pattern("dest_port", "^(53|80)$")),
        grep(pattern("qtype", "AAAA"), tag="dns"),
        grep(pattern("proto", "udp")),
        own(rule("exclude", "source_namespace", "contains dev")),
    ],
)
def test_what_is_meant_to_be_a_part_is_not_told(text: str, tmp_path: Path) -> None:
    assert "unanchored-word" not in codes(tmp_path, text)


def test_capitals_are_found_in_more_than_words(tmp_path: Path) -> None:
    assert "case-mismatch" in codes(tmp_path, grep(pattern("dest_namespace", "^Prod-[0-9]+$")))
    assert "case-mismatch" not in codes(tmp_path, grep(pattern("dest_namespace", "^(Prod|prod)-[0-9]+$")))
    assert "case-mismatch" not in codes(tmp_path, grep(pattern("dest_namespace", "^[^A-Z]+-[0-9]+$")))


def test_a_backspace_of_yamls_quotes_is_told(tmp_path: Path) -> None:
    assert ("eaten-backslash", 3) in check(tmp_path, FB + '  exclude: "qname \\bdev"\n')
    assert "eaten-backslash" not in codes(tmp_path, FB + "  exclude: 'qname \\bdev'\n")


@pytest.mark.parametrize(
    "source",
    [
        r"^([+#]+)+$", r"^([^/]+)*/$", r"([A-Z]+)*[0-9]$", r"^(ab|a|b)*c$", "^(é+)+$", r"^(?:dev|prod)-([a-z]+)*[0-9]$",
        "(%+)+;", "^pod-[0-9]+-(q|[q-r])*!$", "^((ab)*)*$",
    ],
)  # fmt: skip
def test_the_value_fits_the_pattern_and_meets_the_real_limit(source: str) -> None:
    from flowd import _core
    from flowd.patterns import compile_pattern

    value = find_costly_value(Condition((), source))
    compiled = compile_pattern(source)
    assert 0 < len(value) <= 80
    assert _core.Regex(compiled.reference, compiled.reference_options).search(value.encode()) is None


@pytest.mark.parametrize(
    "source", [".*-.*-.*-.*-.*-.*x", "a*a*a*a*a*b", r"^(\w+\.)+local$", "^(?>a+)+$", "^(a++)+$", "^(?:web|web-)*x$"]
)
def test_long_work_that_does_not_explode_is_not_told(source: str) -> None:
    assert find_costly_value(Condition((), source)) == ""


# Comments

IGNORE = "# flowd: ignore unanchored-word"


@pytest.mark.parametrize(
    "text",
    [
        # inside of the rule, and behind its pattern
        grep(rule("exclude", "source_namespace", f"{IGNORE}\n    pattern dev")),
        grep(rule("exclude", "source_namespace", f"pattern dev {IGNORE}")),
        # a whole item, a whole list, a whole section
        f"{IGNORE}\n- name: grep\n  match: flows\n  exclude:\n    - dest_namespace dev\n    - source_namespace dev\n",
        f"- name: grep\n  match: flows\n  {IGNORE}\n  exclude:\n  - dest_namespace dev\n  - source_namespace dev\n",
        f"{IGNORE}\n{CLASSIC}  exclude dest_namespace dev\n",
        # written otherwise
        grep(f"  # flowd:ignore Unanchored-Word\n{DEV}"),
    ],
)
def test_a_comment_silences_the_block_that_it_is_about(text: str, tmp_path: Path) -> None:
    assert check(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{IGNORE}\n{FB}  exclude: action ^deny$\n{FB}  exclude: dest_namespace dev\n", 7),
        (f"- name: grep\n  match: flows\n  {IGNORE}\n  alias: x\n  exclude: dest_namespace dev\n", 5),
        (f"{IGNORE}\n{CLASSIC}  exclude action ^deny$\n{CLASSIC}  exclude dest_namespace dev\n", 9),
    ],
)
def test_a_comment_ends_with_its_block(text: str, line: int, tmp_path: Path) -> None:
    found = check(tmp_path, text)
    assert ("unanchored-word", line) in found
    assert "unused-ignore" in [code for code, _ in found]


def test_comments_in_a_text_that_is_quoted_in_a_manifest_count(tmp_path: Path) -> None:
    manifest = {"kind": "ConfigMap", "data": {"flow": grep(f"  {IGNORE}\n{DEV}", "  # flowd: ignore null-trap\n")}}
    (found,) = find(tmp_path, json.dumps(manifest), "cm.json")
    assert (found.file, found.line, found.code) == (f"{tmp_path / 'cm.json'}:flow", 8, "unused-ignore")


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("# flowd: ignore", "this comment names no code, and silences nothing"),
        ("# flowd: ignore-file bad-pattern", "bad-pattern is an error, which no comment can silence"),
        ("# flowd: ignore unused-ignore", "no warning that can be silenced has the code unused-ignore"),
        ("# flowd: ignore shadowed-rules", "no warning that can be silenced has the code shadowed-rules"),
        ("# flowd: ignore shadowed-rule", "nothing here is warned of as shadowed-rule"),
    ],
)
def test_a_comment_that_cannot_silence_is_told(comment: str, message: str, tmp_path: Path) -> None:
    (found,) = find(tmp_path, f"{comment}\n{grep(DENY)}")
    assert (found.message, found.line, found.column) == (message, 1, 1)
    assert found.hint


def test_comments_on_what_other_options_bring_are_of_use(tmp_path: Path) -> None:
    text = grep(
        "  # flowd: ignore idle-rule, number-trap\n" + pattern("dest_port", "^53$"), f"  {IGNORE}\n" + DEV,
    )  # fmt: skip
    assert check(tmp_path, text) == []
    assert check(tmp_path, text, "fluentbit-yaml") == []
    sample = tmp_path / "sample"
    sample.write_bytes(json_line("dev"))
    report = json.loads(flowd("check", "-o", "json", "--sample", sample, tmp_path / "text").stdout)
    assert report["warnings"] == []


def test_no_comment_is_called_useless_where_the_text_has_errors(tmp_path: Path) -> None:
    text = grep(f"  {IGNORE}\n{DEV}", pattern("host", "^a$"), pattern("action", "("))
    assert [warning.code for warning in find(tmp_path, text)] == ["field-added-later"]


# The sample


def test_all_lines_of_a_sample_are_counted(tmp_path: Path) -> None:
    (tmp_path / "filter").write_text(grep(DEV, pattern("dest_namespace", "we")))
    lines = b"".join(json_line("devops" if number % 2 else "dev", number) for number in range(60_000))
    report = json.loads(flowd("check", "-o", "json", "--sample", "-", tmp_path / "filter", lines=lines).stdout)
    assert [warning["message"] for warning in report["warnings"] if warning["code"] == "unanchored-word"] == [
        "dev also hits devops (30,000 lines) in source_namespace",
        "we also hits web (60,000 lines) in dest_namespace",
    ]


def test_lines_that_are_not_counted_any_more_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowd.cli import sampled_words
    from flowd.cli.sampling import try_sample
    from flowd.filterset import load

    monkeypatch.setattr(sampled_words, "MOST_COUNTED", 10)
    (tmp_path / "filter").write_text(grep(DEV))
    (tmp_path / "sample").write_bytes(json_line("devops") * 30)
    found = try_sample(load(tmp_path / "filter"), str(tmp_path / "sample")).warnings
    assert [warning.message for warning in found] == [
        "dev also hits devops (10 lines) in source_namespace in the first 10 lines that such words hit"
    ]
