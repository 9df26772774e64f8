"""What `flowd check` warns of: for every code one text that it is said of and one that it is not."""

# ruff: noqa: E501 (a text and its like stand side by side)
from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from lint_bed import CLASSIC, FB, check, grep, own, pattern, rule

import flowd
from flowd.cli.check import check_path
from flowd.filters.lint.backtracking import find_costly_value
from flowd.filters.lint.codes import CODES, PROBLEMS, WARNINGS
from flowd.filters.model import Condition

ROOT = Path(__file__).resolve().parent.parent


# (code, a text that it is said of, the line, a text like it that it is not said of)
CASES: list[tuple[str, str, int, str]] = [
    ("unanchored-word", grep(pattern("source_namespace", "dev")), 3, grep(pattern("source_namespace", "^dev$"))),
    ("unanchored-word", FB + "  exclude: dest_namespace dev\n", 3, FB + "  exclude: dest_namespace -dev\n"),
    ("unanchored-word", grep(pattern("dest_name", "web")), 3, grep(pattern("action", "deny"))),
    ("case-mismatch", grep(pattern("action", "^Deny$")), 3, grep(pattern("action", "/^Deny$/i"))),
    ("case-mismatch", own(rule("exclude", "dest_namespace", "equals Dev")), 3, own(rule("exclude", "qname", "equals Dev"))),
    ("unknown-value", grep(pattern("action", "^denied$")), 3, grep(pattern("action", "^den"))),
    ("unknown-value", own(rule("exclude", "reporter", "equals dest")), 3, own(rule("exclude", "reporter", "in dest, dst"))),
    ("unescaped-dot", grep(pattern("qname", "example.com$"), tag="dns"), 3, grep(pattern("qname", r"example\.com$"), tag="dns")),
    ("unknown-field", grep(pattern("dest_namespac", "^a$")), 3, grep(pattern("dest_namespace", "^a$"))),
    ("unknown-field", FB + "  exclude: dest_namespac ^a$\n", 3, FB + "  exclude: dest_namespace ^a$\n"),
    ("unknown-field", own(rule("exclude", "dest_prt", "< 5")), 3, own(rule("exclude", "dest_port", "< 5"))),
    ("other-stream-field", grep(pattern("qname", "^a$")), 3, grep(pattern("qname", "^a$"), tag="dns")),
    ("other-stream-field", FB + "  exclude: qname ^a$\n", 3, FB + "  exclude: start_time ^a$\n"),
    ("field-added-later", grep(pattern("host", "^a$")), 3, grep(pattern("action", "^a$"))),
    ("unknown-stream", grep(pattern("action", "^a$"), tag="flow"), 1, grep(pattern("action", "^a$"), tag="flows")),
    ("unknown-parameter", grep("  zork 1\n"), 3, grep("  @id x\n")),
    ("unknown-section", grep("  <Exclude>\n  </Exclude>\n"), 3, grep("  <and>\n  </and>\n")),
    ("unknown-section", "[FILTR]\n  a b\n", 1, "[INPUT]\n  a b\n"),
    ("ignored-argument", grep("  <and x>\n  </and>\n"), 3, grep("  <and>\n  </and>\n")),
    ("ignored-property", FB + "  processors: {logs: []}\n", 3, FB + "  alias: x\n"),
    ("ignored-property", FB + "  condition: x\n", 3, FB + "  alias: x\n"),
    ("ignored-property", "[FILTER]\n  name grep\n  match *\n@SET X\n", 4, "[FILTER]\n  name grep\n  match *\n@SET X=1\n"),
    ("cut-value", FB + '  exclude: "action ^a$\\0b"\n', 3, FB + "  exclude: action ^a$\n"),
    ("repeated-parameter", grep("  @id x\n  @id y\n"), 4, grep("  @id x\n")),
    ("merged-groups", grep("  <and>\n" + pattern("action", "^a$") + "  </and>\n  <and>\n" + pattern("proto", "^b$") + "  </and>\n"),
     9, own("  <and>\n" + pattern("action", "^a$") + "  </and>\n  <and>\n" + pattern("proto", "^b$") + "  </and>\n")),
    ("never-decides", grep(pattern("action", "^allow$", "regexp")) + grep(pattern("action", "^deny$")), 10,
     grep(pattern("action", "^(allow|deny)$", "regexp")) + grep(pattern("action", "^deny$"))),
    ("never-decides", grep(pattern("action", ".*", "regexp")), 3, grep(pattern("action", ".", "regexp"))),
    ("never-decides", grep(pattern("action", ".*")) + grep(pattern("proto", "^b$")), 10,
     FB + "  exclude: action .*\n- name: grep\n  match: flows\n  exclude: proto ^b$\n"),
    ("drops-everything", grep(pattern("action", "//")), 3, FB + "  exclude: action //\n"),
    ("drops-everything", own(pattern("action", "^a$", "regexp"), pattern("action", "^b$", "regexp")), 7,
     own(pattern("action", "^a", "regexp"), pattern("action", "b$", "regexp"))),
    ("dead-rule", FB + "  regex: action ^a$\n  exclude: proto ^b$\n", 4, FB + "  exclude: proto ^b$\n  regex: action ^a$\n"),
    ("duplicate-rule", grep(pattern("action", "^a$")) + grep(pattern("action", "^a$")), 10,
     grep(pattern("action", "^a$")) + grep(pattern("action", "^b$"))),
    ("shadowed-rule", own(rule("exclude", "dest_name", "contains -dev"), rule("exclude", "dest_name", "equals web-dev")), 7,
     own(rule("exclude", "dest_name", "contains -dev"), rule("exclude", "dest_name", "equals web-de"))),
    ("shadowed-rule", grep(pattern("action", "^al")) + grep(pattern("action", "^allow$")), 10,
     grep(pattern("action", "^allow$")) + grep(pattern("action", "^al"))),
    ("shadowed-rule", grep(pattern("qname", "local$"), tag="dns") + grep(pattern("qname", r"\.local$"), tag="dns"), 10,
     grep(pattern("qname", "local$"), tag="dns") + grep(pattern("qname", "^local"), tag="dns")),
    ("rule-ended", own(rule("exclude", "action", "equals a\n    until 2020-01-01")), 3,
     own(rule("exclude", "action", "equals a\n    until 2200-01-01"))),
    ("null-trap", grep(pattern("source_ip", "^(10.*)?$")), 3, grep(pattern("source_ip", "^10"))),
    ("number-trap", FB + "  exclude: dest_port ^53$\n", 3, FB + "  exclude: proto ^udp$\n"),
    ("number-trap", FB + "  exclude: dest_labels app\n", 3, FB + "  exclude: $dest_labels['labels'][0] app\n"),
    ("exponential-pattern", grep(pattern("dest_name", "/^(a+)+$/")), 3, grep(pattern("dest_name", "/^a+b+$/"))),
    ("exponential-pattern", grep(pattern("dest_name", r"/^web-(\w+\s?)*$/")), 3, grep(pattern("dest_name", r"/^(\w+\s)*$/"))),
    ("eaten-backslash", grep(pattern("qname", r'"a\.b$"'), tag="dns"), 5, grep(pattern("qname", r'"a\\.b$"'), tag="dns")),
    ("eaten-backslash", grep(pattern("qname", r'"\bab$"'), tag="dns"), 5, grep(pattern("qname", r"'\bab$'"), tag="dns")),
    ("ignored-key-part", FB + "  exclude: a.b ^x$\n", 3, FB + "  exclude: $policies['b'] ^x$\n"),
    ("skipped-character", FB + "  exclude: '@action ^x$'\n", 3, FB + "  exclude: action ^x$\n"),
    ("reference-key", FB + "  exclude: TAG ^x$\n", 3, FB + "  exclude: action ^x$\n"),
    ("literal-options", FB + "  exclude: action /^x$/g\n", 3, FB + "  exclude: action /^x$/i\n"),
    ("unknown-logical-op", FB + "  logical_op: xor\n", 3, FB + "  logical_op: legacy\n"),
    ("unset-variable", FB + "  exclude: action ^${FLOWD_NOT_SET}x$\n", 3, FB + "  exclude: action ^${FLOWD_NOT_SET:-a}x$\n"),
    ("bad-match-regex", FB + "  match_regex: (\n", 3, FB + "  match_regex: f\n"),
    ("leftover-fluentd",
     "kind: ConfigMap\nmetadata: {name: fluent-bit-filters}\ndata:\n  flow: |\n    <filter flows>\n    @type grep\n    </filter>\n", 5,
     "kind: ConfigMap\nmetadata: {name: fluentd-filters}\ndata:\n  flow: |\n    <filter flows>\n    @type grep\n    </filter>\n"),
    ("second-document", "kind: ConfigMap\ndata:\n  flow: |\n    - name: grep\n    ---\n    - name: grep\n", 6,
     "kind: ConfigMap\ndata:\n  flow: |\n    - name: grep\n    - name: grep\n"),
    ("skipped-section", "<source>\n  @type tail\n</source>\n", 1, grep()),
    ("unreachable-filter", "<match **>\n  @type null\n</match>\n" + grep(), 4, grep() + "<match **>\n  @type null\n</match>\n"),
    ("unsupported-type", "<filter flows>\n  @type stdout\n</filter>\n", 2, grep()),
    ("deprecated-parameter", grep("  exclude1 action ^a$\n"), 3, grep(pattern("action", "^a$"))),
    ("deprecated-include", "<filter flows>\n@type grep\n</filter>\ninclude nosuch\n", 4,
     "<filter flows>\n@type grep\n</filter>\n@include nosuch\n"),
    ("reserved-parameter", grep("  <and>\n    @zork 1\n  </and>\n"), 4, grep("  <and>\n  </and>\n")),
    ("missing-include", grep() + "@include nosuch\n", 4, grep() + "@include text?.none\n" * 0),
    ("endless-comment", grep() + "# a\r<filter>\n", 4, grep() + "# a\n"),
    ("unused-ignore", "# flowd: ignore null-trap\n" + grep(pattern("action", "^a$")), 1,
     grep("  # flowd: ignore null-trap\n" + pattern("action", "^a?$"))),
    ("unknown-ignore", grep("  # flowd: ignore nul-trap\n"), 3, grep("  # flowd: ignores nothing\n")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "line", "other"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)
def test_each_code_is_said_where_it_is_meant_and_not_elsewhere(
    code: str, text: str, line: int, other: str, tmp_path: Path
) -> None:
    assert (code, line) in check(tmp_path, text)
    assert code not in [found for found, _ in check(tmp_path, other)]


def test_every_warning_has_its_two_texts() -> None:
    by_sample = {"idle-rule"}  # tests/test_cli_commands.py has these: they need a sample
    assert {case[0] for case in CASES} | by_sample == set(WARNINGS)


def test_every_code_that_is_emitted_is_known() -> None:
    emitted = set()
    for path in (*(ROOT / "flowd" / "filters").rglob("*.py"), ROOT / "flowd" / "cli" / "sampling.py"):
        if path.name != "codes.py":
            text = path.read_text()
            emitted |= set(re.findall(r'code=f?"([a-z0-9-]+)"', text))
            emitted |= {word for word in re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"', text) if word in CODES}
    assert emitted - {"missing-", "bad-"} <= set(CODES)
    assert set(CODES) - emitted - {"missing-key", "missing-pattern", "missing-test", "bad-key", "bad-pattern"} <= {
        "include", "syntax", "idle-rule",
    }  # fmt: skip


def test_every_code_is_documented() -> None:
    page = (ROOT / "docs" / "lint.md").read_text()
    sections = set(re.findall(r"^### ([a-z0-9-]+)$", page, re.MULTILINE))
    assert sections == set(WARNINGS)
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)) == set(PROBLEMS)


# What would mean something else elsewhere


@pytest.mark.parametrize(
    ("text", "target", "code"),
    [
        (grep(pattern("dest_port", "^53$")), "fluentbit-yaml", "number-trap"),
        (grep(pattern("dest_port", "^53$")), "fluentd", ""),
        (grep(pattern("a.b", "^53$")), "fluentbit-configmap", "ignored-key-part"),
        (FB + "  exclude: source_ip ^(10)?$\n", "fluentd", "null-trap"),
        (FB + "  exclude: source_ip ^10$\n", "fluentd", ""),
    ],
)
def test_a_target_dialect_tells_what_would_change(text: str, target: str, code: str, tmp_path: Path) -> None:
    traps = [
        found for found, _ in check(tmp_path, text, target) if found in ("number-trap", "null-trap", "ignored-key-part")
    ]
    assert traps == ([code] if code else [])


# Ignore comments


@pytest.mark.parametrize(
    "text",
    [
        grep("  # flowd: ignore unanchored-word\n" + pattern("source_namespace", "dev")),
        grep("  # flowd: ignore unanchored-word, null-trap because it is meant\n" + pattern("source_namespace", "dev")).replace(
            ", null-trap", ""
        ),
        grep(pattern("source_namespace", "dev").replace("<exclude>", "<exclude> # flowd: ignore unanchored-word", 1)),
        "# flowd: ignore unanchored-word\n" + grep(pattern("source_namespace", "dev"), pattern("dest_namespace", "dev")),
        grep(pattern("source_namespace", "dev")) + "# flowd: ignore-file unanchored-word\n",
        FB + "  exclude: dest_namespace dev # flowd: ignore unanchored-word\n",
        FB + "  # flowd: ignore unanchored-word\n  exclude: dest_namespace dev\n",
        CLASSIC + "  # flowd: ignore unanchored-word\n  exclude dest_namespace dev\n",
    ],
)  # fmt: skip
def test_a_comment_silences_what_follows_it(text: str, tmp_path: Path) -> None:
    assert check(tmp_path, text) == []


def test_a_comment_silences_its_own_code_and_place_only(tmp_path: Path) -> None:
    text = grep(
        "  # flowd: ignore unanchored-word\n", pattern("source_namespace", "dev"), pattern("dest_namespace", "dev"),
        pattern("host", "^a$"),
    )  # fmt: skip
    assert check(tmp_path, text) == [("unanchored-word", 8), ("field-added-later", 12)]


def test_comments_in_a_configmaps_block_and_in_includes_count(tmp_path: Path) -> None:
    body = grep("  # flowd: ignore unanchored-word\n" + pattern("source_namespace", "dev"))
    block = "".join(f"    {line}\n" for line in body.splitlines())
    assert check(tmp_path, f"kind: ConfigMap\ndata:\n  flow: |\n{block}") == []
    (tmp_path / "part.conf").write_text(body)
    assert check(tmp_path, "<filter dns>\n@type grep\n</filter>\n@include part.conf\n") == []


def test_errors_are_not_silenced(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("# flowd: ignore-file bad-pattern\n" + grep(pattern("action", "(")))
    assert [problem.code for problem in check_path(str(path)).problems] == ["bad-pattern"]


# Costs


def test_a_thousand_rules_are_looked_at_soon() -> None:
    from flowd.filters.lint.texts import lint_text

    rules = "".join(rule("exclude", "dest_name", f"equals name-{number}") for number in range(10_000))
    text = flowd.compile(own(rules), dialect=None).text
    began_s = time.monotonic()
    assert lint_text(text, now_ns=0) == []
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    "source", ["^(a|a)*$", r"^(\d+)*$", "(x+x+)+y", "^([a-z]+)*$", r"^(([a-z])+.)+[A-Z]([a-z])+$", "^(.*a){12}$"]
)
def test_exponential_patterns_are_found_with_a_value(source: str) -> None:
    from flowd import _core

    value = find_costly_value(Condition((), source))
    assert 0 < len(value) <= 60
    assert _core.Regex(source.encode()).search(value.encode(), 300_000) is None


@pytest.mark.parametrize(
    "source", ["^a+b+c+$", "^(?:dev|prod)-.*-[0-9]+$", r"^[a-z]+(-[a-z0-9]+)*$", ".*a.*b.*c.*", "^(a+)$"]
)
def test_patterns_that_are_only_long_are_not_told(source: str) -> None:
    assert find_costly_value(Condition((), source)) == ""
