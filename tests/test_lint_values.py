"""What lint says of values that are no texts, and of backslashes that double quotes eat, in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_bed import FB, grep, own, pattern, rule

from flowd.cli.check import check_path


def messages(tmp_path: Path, text: str, code: str) -> list[str]:
    """What the warnings of one code say."""
    (tmp_path / "text").write_text(text)
    report = check_path(str(tmp_path / "text"))
    assert not report.problems
    return [warning.message for warning in report.warnings if warning.code == code]


def turned(*rules: str) -> str:
    return f"<not>\n{''.join(rules)}</not>\n"


EMPTY = pattern("source_ip", "^(10)?$")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (grep(EMPTY), "drops"),
        (own(EMPTY), "drops"),
        (grep(pattern("source_ip", "^(10)?$", "regexp")), "keeps"),
        (own(turned(EMPTY)), "keeps"),
        (own(turned(turned(EMPTY))), "drops"),
        (own(turned(pattern("source_ip", "^(10)?$", "regexp"))), "drops"),
        (own("<and>\n", rule("exclude", "action", "equals deny"), turned(EMPTY), "</and>\n"), "keeps"),
    ],
)
def test_a_null_trap_says_what_becomes_of_null(text: str, what: str, tmp_path: Path) -> None:
    assert messages(tmp_path, text, "null-trap") == [
        f"the pattern of source_ip matches the empty text: this {what} also lines in which it is null or missing"
    ]


@pytest.mark.parametrize("source", ["^(?!deny)", "(?!deny)", r"\A(?!deny)", "^(?!deny$).*"])
def test_keeping_all_but_a_word_is_no_null_trap(source: str, tmp_path: Path) -> None:
    assert messages(tmp_path, grep(pattern("action", source, "regexp")), "null-trap") == []
    assert messages(tmp_path, grep(pattern("source_ip", "^(?!10)")), "null-trap") != []


def test_a_number_trap_says_what_becomes_of_the_lines(tmp_path: Path) -> None:
    for property_, what in (("exclude", "an exclude drops nothing"), ("regex", "a regex keeps nothing")):
        assert messages(tmp_path, FB + f"  {property_}: dest_port ^53$\n", "number-trap") == [
            f"dest_port is a number in flows, and Fluent Bit's grep matches strings only: {what}"
        ]


@pytest.mark.parametrize("quoted", [r'"a\.b"', r'"a\/b"', r'"\$"', r'"[a\-z]"', r'"\bdev"', r'"\(a\)"'])
def test_a_backslash_that_the_pattern_needs_is_missed(quoted: str, tmp_path: Path) -> None:
    assert messages(tmp_path, grep(pattern("process_name", quoted)), "eaten-backslash") != []


@pytest.mark.parametrize("quoted", [r'"a\_b"', r'"a\"b"', r'"a\\.b"', r'"a\@b"', r'"a\tb"', r'"a\:b"', r"'a\.b'"])
def test_a_backslash_that_changes_nothing_is_not(quoted: str, tmp_path: Path) -> None:
    assert messages(tmp_path, grep(pattern("process_name", quoted)), "eaten-backslash") == []
