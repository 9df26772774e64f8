"""What is accepted and probably not meant: warned about, with did-you-mean, without a change of meaning."""

from __future__ import annotations

import pytest

from flowd.errors import Problem
from flowd.filters.load import read_text


def find_warnings(text: str, stream: str = "flows") -> list[Problem]:
    return list(read_text(text, stream, "fluentd", "f").warnings)


def in_filter(body: str, tags: str = "flows") -> str:
    return f"<filter {tags}>\n@type grep\n{body}\n</filter>\n"


def condition(key: str) -> str:
    return f"<exclude>\nkey {key}\npattern x\n</exclude>"


@pytest.mark.parametrize(
    ("text", "line", "code", "hint"),
    [
        (in_filter("<Exclude>\nkey a\n</Exclude>"), 3, "unknown-section", "did you mean <exclude>?"),
        (in_filter("<excludes>\n</excludes>"), 3, "unknown-section", "did you mean <exclude>?"),
        (in_filter("<zork>\n</zork>"), 3, "unknown-section", "<filter> knows <regexp>, <exclude>, <and>, <or>"),
        (in_filter("<and>\n<or>\n</or>\n</and>"), 4, "unknown-section", "does nothing"),
        ("<FILTER flows>\n</FILTER>\n", 1, "unknown-section", "did you mean <filter>?"),
        ("<exclude>\n</exclude>\n", 1, "unknown-section", "<exclude> stands inside a <filter>"),
        ("zork 1\n", 1, "unknown-parameter", "remove it"),
        (in_filter("regexp0 a x"), 3, "unknown-parameter", "did you mean regexp"),
        (in_filter("regexp21 a x"), 3, "unknown-parameter", "did you mean regexp"),
        (in_filter("<and>\nkey a\n</and>"), 4, "unknown-parameter", "remove it"),
        (in_filter("<and x>\n</and>"), 3, "ignored-argument", "write <and>"),
        (in_filter(condition("source_namespaces")), 3, "unknown-field", "did you mean source_namespace?"),
        (in_filter(condition("$.sourceNamespace.x")), 3, "unknown-field", "did you mean"),
        (in_filter(condition("host")), 3, "field-added-later", "always missing"),
        (in_filter(condition("$['@timestamp']")), 3, "field-added-later", "always missing"),
        (in_filter(condition("qname")), 3, "other-stream-field", ""),
        (in_filter(condition("source_namespace"), "dns"), 3, "other-stream-field", ""),
        (in_filter(condition("qname"), "flow"), 1, "unknown-stream", "did you mean flows?"),
        (in_filter("id x"), 3, "deprecated-parameter", "write @id"),
        (in_filter("regexp1 proto x"), 3, "deprecated-parameter", "write an <regexp> section"),
        (
            in_filter(f"<and>\n{condition('proto')}\n</and>\n<and>\n{condition('action')}\n</and>"),
            9,
            "merged-groups",
            "use a <filter> section for each <and>",
        ),
        ("include nosuch\n", 1, "deprecated-include", "write @include"),
        ("@include nosuch\n", 1, "missing-include", "relative"),
        ("<source>\n@type tail\n</source>\n", 1, "skipped-section", "flowd reads filters only"),
        ("<system>\nlog_level info\n</system>\n", 1, "skipped-section", "flowd reads filters only"),
        ("<label @x>\n<filter>\n@type grep\n</filter>\n</label>\n", 1, "skipped-section", ""),
        ("<worker 0>\n<filter>\n@type stdout\n</filter>\n</worker>\n", 1, "skipped-section", ""),
        (in_filter("<exclude>\n@a 1\nkey proto\npattern x\n</exclude>"), 4, "reserved-parameter", "only @type"),
        (in_filter(condition("proto").replace("pattern", "key proto\npattern")), 5, "repeated-parameter", "line 4"),
    ],
)
def test_a_doubtful_text_is_warned_about(text: str, line: int, code: str, hint: str) -> None:
    warning = find_warnings(text)[0]
    assert (warning.line, warning.code) == (line, code)
    assert hint in warning.hint
    assert warning.hint


@pytest.mark.parametrize(
    "text",
    [
        in_filter(condition("source_namespace")),
        in_filter(condition("srcNamespace")),
        in_filter(condition("$['dest_labels']['labels'][0]")),
        in_filter(condition("qname"), "dns"),
        in_filter(condition("qname") + "\n" + condition("source_namespace"), "**"),
        in_filter(condition("anything"), "l7"),
        in_filter(condition("anything"), "my.own.tag"),
        in_filter("@id x\n@log_level info\n" + condition("action")),
    ],
)
def test_an_ordinary_text_is_not(text: str) -> None:
    assert find_warnings(text) == []


def test_a_filter_in_a_skipped_section_is_not_applied() -> None:
    found = read_text("<label @x>\n<filter>\n@type grep\n</filter>\n</label>\n", "flows")
    assert found.filters == ()
    assert "a filter inside it is not applied" in found.warnings[0].message
