"""Filter texts in every dialect, and what `flowd check` warns of in them: what the tests of lint stand on."""

from __future__ import annotations

from pathlib import Path

from flowd.cli.check import check_path, silence_warnings


def rule(kind: str, key: str, asked: str) -> str:
    return f"  <{kind}>\n    key {key}\n    {asked}\n  </{kind}>\n"


def grep(*rules: str, tag: str = "flows") -> str:
    return f"<filter {tag}>\n  @type grep\n{''.join(rules)}</filter>\n"


def own(*rules: str) -> str:
    return f"<filter flows>\n  @type flowd\n{''.join(rules)}</filter>\n"


def pattern(key: str, text: str, kind: str = "exclude") -> str:
    return rule(kind, key, f"pattern {text}")


def check(tmp_path: Path, text: str, target: str = "") -> list[tuple[str, int]]:
    """The codes of the warnings, with their lines, that no comment silences."""
    (tmp_path / "text").write_text(text)
    report = check_path(str(tmp_path / "text"), None, True, target)
    assert not report.problems, report.problems
    warnings = silence_warnings(report)
    assert all(warning.hint and warning.message for warning in warnings)
    return [(warning.code, warning.line) for warning in warnings]


FB = "- name: grep\n  match: flows\n"
CLASSIC = "[FILTER]\n  name grep\n  match flows\n"
