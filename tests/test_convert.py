"""Filters in another language: what is written means the same, and where it cannot, the reason is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_bed import flowd as run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowd
from flowd.conversion.converting import TARGETS, Conversion, convert_path
from flowd.conversion.flowd_writer import write_filter
from flowd.filters.load import read_text
from flowd.filters.model import Condition, Expression, Filter, FilterText, Rule, Step, StepKind
from flowd.filterset import FilterSet

DATA = Path(__file__).parent / "data"


def convert(tmp_path: Path, text: str, target: str, **options: object) -> Conversion:
    (tmp_path / "text").write_text(text)
    return convert_path(tmp_path / "text", target, **options)  # type: ignore[arg-type]


def grep(*rules: str, tag: str = "flows") -> str:
    return f"<filter {tag}>\n@type grep\n{''.join(rules)}</filter>\n"


def rule(kind: str, key: str, pattern: str) -> str:
    return f"<{kind}>\nkey {key}\npattern {pattern}\n</{kind}>\n"


def own(*lines: str) -> str:
    return "<filter flows>\n@type flowd\n" + "\n".join(lines) + "\n</filter>\n"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("path", sorted((DATA / "filters").iterdir()), ids=lambda path: path.name)
def test_the_documented_filters_are_kept_in_every_language(path: Path, target: str) -> None:
    conversion = convert_path(path, target)
    assert conversion.is_exact
    assert conversion.compared_lines > 100 or not flowd.load(path).rules


@pytest.mark.parametrize(
    ("text", "target", "reason"),
    [
        (grep(rule("exclude", "dest_port", "^53$")), "fluentbit-yaml", "dest_port is a number in flows"),
        (grep(rule("exclude", "policies", "deny")), "fluentbit-yaml", "policies is an object in flows"),
        (grep(rule("exclude", "source_ip", "^$")), "fluentbit-yaml", "source_ip can be null or missing in flows"),
        (grep(rule("exclude", "$.policies.a[-1]", "x")), "fluentbit-yaml", "no index from the end"),
        (grep(rule("exclude", "a.b", "x")), "fluentbit-yaml", "Fluent Bit cannot name the field a.b"),
        (grep(rule("exclude", "TAG", "x")), "fluentbit-classic", "Fluent Bit cannot name the field TAG"),
        (grep(rule("exclude", "action", "/x${y}/")), "fluentbit-yaml", "which Fluent Bit takes for a variable"),
        ("- name: grep\n  exclude: dest_port ^53$\n", "fluentd", "dest_port is a number in flows"),
        ("- name: grep\n  exclude: dest_port ^53$\n", "flowd", "dest_port is a number in flows"),
        ("- name: grep\n  exclude: source_ip ^(10)?$\n", "fluentd", "source_ip can be null or missing"),
        (own("<exclude>", "key source_ip", "cidr 10.0.0.0/8", "</exclude>"), "fluentd", "knows no networks"),
        (own("<exclude>", "key dest_port", "> 5", "</exclude>"), "fluentbit-yaml", "compares no numbers"),
        (own("<exclude>", "key dest_labels", "labels a", "</exclude>"), "fluentd", "knows no label selectors"),
        (own("<exclude>", "key action", "exists no", "</exclude>"), "fluentd", "cannot ask whether a field is there"),
        (own("<exclude>", "key action", "equals x", "sample 1/2", "</exclude>"), "fluentd", "a sample of 1/2"),
        (own("<exclude>", "key action", "equals x", "until 2200-01-01", "</exclude>"), "fluentd", "rules that end"),
        (own("<exclude>", "key dest_domains", "equals x", "</exclude>"), "fluentd", "dest_domains is a list in flows"),
        (own("<and>", "<exclude>", "key action", "equals x", "</exclude>", "<not>", "<exclude>", "key proto",
             "equals y", "</exclude>", "</not>", "</and>"), "fluentbit-yaml", "what proto is not: missing, it would"),
        (grep(rule("exclude", "zork", "1")), "fluentbit-yaml", "flowd does not know what zork is in flows"),
        (grep(rule("exclude", "code", "1"), tag="l7"), "fluentbit-yaml", "flowd does not know what code is in l7"),
        (grep(rule("exclude", "code", "1"), tag="my.logs"), "fluentbit-yaml", "what code is in my.logs"),
        (grep(rule("exclude", "code", "1"), tag="my.*"), "fluentd", "it is for my.*, of which flowd knows no stream"),
        ("- name: grep\n  exclude: $TAG.x a\n", "fluentd", "the key names nothing that a line can have"),
        ("- name: grep\n  exclude: $TAG.x a\n", "fluentbit-classic", "the key names nothing that a line can have"),
        (grep(rule("exclude", "host", "node1")), "fluentbit-yaml", "the collector adds host: fluentd's filters run"),
        (grep(rule("exclude", "$.latency.count", "5"), tag="dns"), "fluentbit-yaml", "count is a number in dns"),
        (grep(rule("exclude", "$.servers[0].labels", "a"), tag="dns"), "fluentbit-yaml", "labels is an object in dns"),
        (grep(rule("exclude", "$.action.x", "a")), "fluentbit-yaml", "action.x looks inside of a value that has no"),
        (grep(rule("exclude", "$['client_labels']['${x}']", "a"), tag="dns"), "fluentbit-yaml", "it holds ${, which"),
        (grep(rule("exclude", "dest_namespace", "^(?!prod)"), tag="**"), "fluentbit-yaml",
         "dest_namespace can be null or missing in dns"),
        (grep(rule("exclude", "dest_service_name", "^(?!a)")), "fluentbit-yaml",
         "dest_service_name can be null or missing"),
        (grep(rule("regexp", "$.dest_labels.labels.app", "x"), rule("exclude", "action", "deny")), "fluentd",
         "can be an error, at which fluentd ends the filter"),
        (grep(rule("exclude", "action", '"(?x)a\tb"')), "fluentbit-yaml", "blanks that do not count"),
        (grep(rule("exclude", "$[0]", "x")), "flowd", "the key names nothing that a line can have"),
    ],
)  # fmt: skip
def test_where_the_meaning_cannot_be_kept_the_reason_is_said(
    text: str, target: str, reason: str, tmp_path: Path
) -> None:
    conversion = convert(tmp_path, text, target)
    assert [reason in found.text for found in conversion.reasons] == [True]
    assert conversion.reasons[0].file == str(tmp_path / "text")
    assert not conversion.is_exact


@pytest.mark.parametrize(
    ("text", "target", "written"),
    [
        (grep(rule("exclude", "action", "'it''s # /x/i'".replace("''", "\\'"))), "fluentd",
         r"pattern '/it\'s # /x/i/'"),
        (grep(rule("exclude", "action", "'/a b /'")), "fluentbit-yaml", "exclude: 'action /a b /'"),
        (grep(rule("exclude", "action", "/^deny$/i")), "fluentbit-yaml", "exclude: 'action /^deny$/i'"),
        (grep(rule("regexp", "action", "a"), rule("regexp", "proto", "b")), "fluentbit-yaml", "regex: proto b"),
        (grep("<or>\n", rule("regexp", "action", "a"), rule("regexp", "proto", "b"), "</or>\n"), "fluentbit-yaml",
         "logical_op: OR\n  regex:\n    - action a\n    - proto b"),
        ("- name: grep\n  exclude: [action a, action b]\n", "fluentd", "<filter **>"),
        ("- name: grep\n  match: dns\n  logical_op: AND\n  exclude: [qname a, qname b]\n", "fluentd",
         "key $['qname']"),
        (own("<exclude>", "key action", "in a, b", "</exclude>"), "fluentd", r"pattern /\A(?:a|b)\z/"),
        (own("<exclude>", "key action", "prefix a", "shadow true", "</exclude>", "<exclude>", "key proto",
             "equals x", "</exclude>"), "fluentbit-classic", r"Exclude proto \Ax\z"),
        ("- name: grep\n  logical_op: OR\n  regex: [action a, action b, action /c/i, action d]\n", "fluentd",
         "pattern /(?:a)|(?:b)|(?i:c)|(?:d)/"),
        ("- name: grep\n  match: dns\n  logical_op: AND\n  exclude: [\"$servers[0]['name'] a\","
         " \"$servers[0]['name'] b\", \"$servers[0]['name'] c\", \"$servers[0]['name'] d\"]\n",
         "fluentd", "key $.servers[0].name.\n"),
        # An error ends the section, as it did: it is one.
        (grep(rule("exclude", "$.action.x", "a"), rule("exclude", "proto", "b")), "fluentd", "key $['action']['x']"),
        (grep(rule("exclude", "action", r"\u{e9 ea}")), "fluentbit-yaml", r"exclude: 'action \x{e9}\x{ea}'"),
        ("- name: grep\n  exclude: action \\x{e9}\n", "fluentbit-classic", r"Exclude action \x{e9}"),
        (grep(rule("exclude", "action", "a\x85b\u2028c\x7fd\ufeff")), "fluentbit-yaml", r"a\u0085b\u2028c\x7fd\ufeff"),
        (grep(rule("exclude", "action", "a\U000e0001")), "fluentbit-yaml", r"a\x{e0001}"),
        (grep(rule("exclude", "action", "a\U000e0001")), "flowd", r"a\u{e0001}"),
        ("- name: grep\n  match: dns\n  exclude: $servers[0]['name'] a\n", "fluentd", "key $['servers'][0]['name']"),
        ("- name: grep\n  exclude: action \\x{e9}\n", "fluentd", r"pattern /\u{e9}/"),
        ("- name: grep\n  exclude: action \\x{e9}\n", "flowd", r"pattern /\u{e9}/"),
        (grep(rule("exclude", "action", "a"), tag="{flows,my.logs}"), "flowd", "<filter {flows,my.logs}>"),
        (grep(rule("exclude", "$.policies.all_policies[0]", "a")), "fluentbit-yaml",
         "$policies[''all_policies''][0] a"),
        (own("<and>", "<exclude>", "key action", "equals x", "</exclude>", "<not>", "<exclude>", "key proto",
             "equals y", "</exclude>", "</not>", "</and>"), "fluentd", r"pattern /\A(?!(?m:.*?)(?:\Ay\z))/"),
        (own("<not>", "<or>", "<exclude>", "key action", "equals a", "</exclude>", "<exclude>", "key proto",
             "equals b", "</exclude>", "</or>", "</not>"), "fluentd", "<or>\n    <regexp>"),
    ],
)  # fmt: skip
def test_what_is_written(text: str, target: str, written: str, tmp_path: Path) -> None:
    conversion = convert(tmp_path, text, target)
    assert conversion.is_exact, (conversion.reasons, conversion.counterexample)
    assert written in conversion.text


def test_dead_rules_and_shadows_are_left_out_with_a_note(tmp_path: Path) -> None:
    conversion = convert(tmp_path, "- name: grep\n  regex: action a\n  exclude: proto b\n", "fluentd")
    assert conversion.is_exact
    assert conversion.notes == [
        f"{tmp_path / 'text'}:3: filter1.exclude1 is left out: it stands behind a regex and never decides"
    ]


@pytest.mark.parametrize("target", ["fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap"])
def test_what_holds_only_because_a_field_is_in_every_line_is_said(target: str, tmp_path: Path) -> None:
    text = grep(rule("exclude", "dest_namespace", "^(?!prod)"))
    conversion = convert(tmp_path, text, target)
    assert conversion.is_exact
    assert conversion.presumed == {"flows": ["dest_namespace"]}
    why = "filter1.exclude1 means the same because every line of flows has dest_namespace, which is never null"
    assert conversion.notes == [f"{tmp_path / 'text'}:3: {why}"]
    assert conversion.text.startswith(f"# {why}\n")
    # Without the field they would differ, which is what the note is about.
    new = flowd.compile(conversion.text, dialect=target)
    assert (flowd.compile(text).verdicts(b"{}"), new.verdicts(b"{}")) == (b"D", b"K")


def test_sections_of_all_streams_are_written_once_and_in_order(tmp_path: Path) -> None:
    text = (
        grep(rule("exclude", "action", "a")) + grep(rule("exclude", "qname", "b"), tag="dns")
        + grep(rule("exclude", "source_name", "c"), tag="**") + grep(rule("exclude", "proto", "d"))
    )  # fmt: skip
    conversion = convert(tmp_path, text, "fluentd")
    tags = [line.split()[1] for line in conversion.text.splitlines() if line.startswith("<filter")]
    assert tags == ["flows>", "dns>", "**>", "flows>"]
    assert "match: '*'" in convert(tmp_path, text, "fluentbit-yaml").text


def test_a_sample_is_compared_too(tmp_path: Path) -> None:
    lines = [b'{"dest_port":"53"}', b'{"dest_port":53}']
    text = "- name: grep\n  exclude: dest_labels x\n"
    assert not convert(tmp_path, text, "fluentd", sample=lines).is_exact
    text = grep(rule("exclude", "action", "x"))
    plain = convert(tmp_path, text, "fluentbit-yaml")
    assert plain.is_exact
    sampled = convert(tmp_path, text, "fluentbit-yaml", sample=[b'{"action":["x"]}'])
    assert sampled.counterexample is not None
    assert (sampled.counterexample.stream, sampled.counterexample.line) == ("flows", '{"action":["x"]}')


def test_a_sample_is_of_any_stream_and_form(tmp_path: Path) -> None:
    text = grep(rule("exclude", "url", "x"), tag="**")
    options = {"sample": [b'{"url":"x"}'], "sample_stream": "my.logs"}
    conversion = convert(tmp_path, text, "flowd", **options)
    assert (conversion.is_exact, conversion.compared_lines) == (True, convert(tmp_path, text, "flowd",
            sample_stream="my.logs").compared_lines + 1)  # fmt: skip
    line = b"1 2 wep dev a - wep web b - - - 6 - - 1 1 1 src 1 1 1 1 allow"
    text = grep(rule("exclude", "source_namespace", "dev"))
    assert convert(tmp_path, text, "fluentbit-yaml", sample=[line], sample_format="text24").is_exact


def test_a_filter_for_tags_that_nobody_knows_is_not_lost(tmp_path: Path) -> None:
    text = grep(rule("exclude", "action", "a"), tag="my.*")
    conversion = convert(tmp_path, text, "flowd")
    assert [(reason.line, reason.rule) for reason in conversion.reasons] == [(1, "filter1")]
    conversion = convert(tmp_path, text, "flowd", sample_stream="my.logs")
    assert conversion.is_exact
    assert "<filter my.*>" in conversion.text


def test_a_wildcard_that_cannot_be_said_is_noted(tmp_path: Path) -> None:
    conversion = convert(tmp_path, grep(rule("exclude", "action", "a"), tag="fl*"), "fluentbit-yaml")
    assert conversion.is_exact
    assert conversion.notes == [
        f"{tmp_path / 'text'}:1: filter1 is for fl*, and is written for what flowd knows of it: flows"
    ]


def test_a_field_is_what_it_is_in_the_stream_that_knows_it(tmp_path: Path) -> None:
    text = grep(rule("exclude", "$.policies.all_policies[0]", "deny"), rule("regexp", "qname", "a"), tag="**")
    assert convert(tmp_path, text, "fluentbit-yaml").is_exact


def test_an_approximate_text_says_what_is_not_the_same(tmp_path: Path) -> None:
    text = grep(rule("exclude", "dest_port", "^53$"), rule("exclude", "action", "x"))
    conversion = convert(tmp_path, text, "fluentbit-yaml", approximate=True)
    assert "# not the same: " in conversion.text
    assert "- dest_port ^53$" in conversion.text
    assert len(flowd.compile(conversion.text, dialect="fluentbit-yaml").rules) == 2


def test_an_approximate_text_has_what_stands_beside_the_unsayable(tmp_path: Path) -> None:
    rules = ["<exclude>", "key source_ip", "cidr 10.0.0.0/8", "</exclude>", "<exclude>", "key action", "equals deny"]
    conversion = convert(tmp_path, own(*rules, "</exclude>"), "fluentbit-classic", approximate=True)
    assert [reason.text for reason in conversion.reasons] == ["Fluent Bit's grep knows no networks"]
    found = flowd.compile(conversion.text, dialect="fluentbit-classic")
    assert [rule.pattern for rule in found.rules] == [r"\Adeny\z"]
    text = grep(rule("exclude", "a.b", "x"), rule("exclude", "action", "deny"))
    conversion = convert(tmp_path, text, "fluentbit-yaml", approximate=True)
    assert [rule.field for rule in flowd.compile(conversion.text, dialect="fluentbit-yaml").rules] == ["action"]


def test_a_reason_is_told_at_the_rule_that_it_is_about(tmp_path: Path) -> None:
    text = "- name: grep\n  exclude: action a\n- name: grep\n  exclude: $TAG.x a\n"
    conversion = convert(tmp_path, text, "flowd")
    assert [(reason.line, reason.rule) for reason in conversion.reasons] == [(4, "filter2.exclude1")]


def test_nothing_is_nothing_in_every_language(tmp_path: Path) -> None:
    for target in TARGETS:
        conversion = convert(tmp_path, "", target)
        assert conversion.is_exact
        assert flowd.compile(conversion.text, dialect=target).rules == ()


# Any filter

FIELDS = ["source_namespace", "dest_namespace", "action", "source_name", "source_ip"]
WORDS = [
    "dev",
    "devops",
    "a.b",
    "a b",
    "it's",
    "x#y",
    " #z",
    "[a",
    "{b",
    "/c/",
    "d/",
    "$",
    "-",
    "é",
    '"',
    "\\",
    "${x",
    "e\n",
]
SOURCES = [
    "dev",
    "^dev$",
    "dev|web",
    "[a-c]+",
    r"\d",
    ".",
    "^$",
    "a*",
    r"\.b",
    "x$",
    "(?i)dev",
    "/",
    " a ",
    "#",
    "'",
    "a\\#b",
]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    path = (draw(st.sampled_from(FIELDS)),)
    if draw(st.booleans()):
        return Condition(path, draw(st.sampled_from(SOURCES)), draw(st.booleans()), draw(st.booleans()))
    test = draw(st.sampled_from(["equals", "prefix", "suffix", "contains"]))
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3 if test == "equals" else 1, unique=True))
    return Condition(path, "", draw(st.booleans()), False, "value", test, tuple(words))  # type: ignore[arg-type]


@st.composite
def own_texts(draw: st.DrawFn) -> FilterText:
    steps = []
    for number in range(draw(st.integers(1, 3))):
        kind: StepKind = draw(st.sampled_from(["when", "unless", "not_any", "all"]))
        group = f"rule{number}" if kind in ("when", "unless") else ""
        rules = tuple(
            Rule(f"filter1.{number}.{at}", "exclude", "k", condition, "f", 1, 1, group)
            for at, condition in enumerate(draw(st.lists(conditions(), min_size=1, max_size=3)))
        )
        expression = None
        if group:
            leaves = [Expression("is", (), at) for at in range(len(rules))]
            signed = [Expression("not", (leaf,)) if draw(st.booleans()) else leaf for leaf in leaves]
            expression = Expression(draw(st.sampled_from(["and", "or"])), tuple(signed))
        steps.append(Step(kind, rules, group, expression))
    return FilterText("flowd", "flows", (Filter("filter1", "flows", tuple(steps), "f", 1, 1),))


VALUES = ["dev", "DEV", "devops", "web", "", "a.b", "ab", "a b", "it's", "x#y", "e\n", "é", "7", None, *WORDS]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(own_texts(), st.lists(st.lists(st.sampled_from(VALUES), min_size=5, max_size=5), min_size=5, max_size=20))
def test_any_filter_that_is_converted_drops_the_same(
    tmp_path_factory: pytest.TempPathFactory, text: FilterText, rows: list[list[str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("convert")
    written = write_filter(text.filters[0], "flows", text.filters[0].steps)
    old = FilterSet(text)
    records = [dict(zip(FIELDS, row, strict=True)) for row in rows]
    always = [
        {field: value if value is not None or field == "source_ip" else "-" for field, value in record.items()}
        for record in records
    ]
    lines = "".join(json.dumps(record) + "\n" for record in always).encode()
    again = FilterSet(read_text(written, "flows", "flowd"))
    assert again.verdicts(lines) == old.verdicts(lines)
    (folder / "own").write_text(written)
    for target in TARGETS:
        conversion = convert_path(folder / "own", target, dialect="flowd")
        assert conversion.counterexample is None
        if conversion.is_exact:
            new = flowd.compile(conversion.text, dialect=target)
            assert new.filter(lines) == old.filter(lines)


# The command


def test_the_command_writes_the_text_and_says_what_was_compared(tmp_path: Path) -> None:
    (tmp_path / "flow.conf").write_text(grep(rule("exclude", "action", "^deny$")))
    done = run("convert", "-f", tmp_path / "flow.conf", "--to", "fluentbit-yaml")
    assert (done.returncode, done.stdout.decode().splitlines()[1:]) == (
        0, ["- name: grep", "  match: flows", "  exclude: action ^deny$"],
    )  # fmt: skip
    assert done.stderr.decode().startswith("flowd: both drop the same of ")
    done = run("convert", "-f", tmp_path / "flow.conf", "--to", "flowd", "-O", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, b"")
    assert flowd.load(tmp_path / "out").dialect == "flowd"


def test_the_command_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(grep(rule("exclude", "dest_port", "^53$")))
    done = run("convert", "-f", path, "--to", "fluentbit-yaml")
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{path}:3: filter1.exclude1 cannot be kept: dest_port is a number in flows" in done.stderr.decode()
    described = json.loads(run("convert", "-f", path, "--to", "fluentbit-yaml", "-o", "json").stdout)
    assert (described["is_exact"], len(described["reasons"]), described["text"]) == (False, 1, "")
    sample = tmp_path / "lines"
    sample.write_bytes(b'{"action":["deny"]}\n')
    path.write_text(grep(rule("exclude", "action", "deny")))
    done = run("convert", "-f", path, "--to", "fluentbit-yaml", "--sample", sample)
    assert (done.returncode, b"one drops this line of flows" in done.stderr) == (1, True)
