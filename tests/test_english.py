"""Filters in plain English: what is said is what is done, in every language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_bed import flowd as run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import PATHS, PythonMatcher, filter_lists
from strategies_own import PATHS as OWN_PATHS
from strategies_own import own_filter_lists

import flowd
from flowd.filters.english import write_sentences
from flowd.filters.model import FilterText
from flowd.filterset import FilterSet


def say(text: str, stream: str = "flows", dialect: str | None = None) -> list[str]:
    return [sentence.text for sentence in write_sentences(flowd.compile(text, stream=stream, dialect=dialect).text)]


def grep(rules: str) -> str:
    return f"<filter **>\n@type grep\n{rules}\n</filter>"


def own(rules: str) -> str:
    return f"<filter **>\n@type flowd\n{rules}\n</filter>"


def rule(kind: str, key: str, asked: str) -> str:
    return f"<{kind}>\nkey {key}\n{asked}\n</{kind}>\n"


A = rule("exclude", "dest_name_aggr", "pattern ^nginx-internet")
B = rule("exclude", "source_name_aggr", "pattern pub")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (grep(f"<and>\n{A}{B}</and>"),
         ["drop a flow when dest_name_aggr starts with nginx-internet and source_name_aggr contains pub"]),
        (grep(A + B), ["drop a flow when dest_name_aggr starts with nginx-internet",
                       "drop a flow when source_name_aggr contains pub"]),
        (grep(rule("regexp", "a", "pattern /^(prod|stage)$/")), ["drop a flow unless a is prod or stage"]),
        (grep("<or>\n" + rule("regexp", "a", "pattern x$") + rule("regexp", "b", "pattern /x y/i") + "</or>"),
         ["drop a flow unless a ends with x or b matches /x y/ (ignoring case)"]),
        (grep(rule("exclude", "a", "pattern .*")), ["drop a flow when a is anything, even null or missing"]),
        (grep(rule("exclude", "a", "pattern ^$")), ["drop a flow when a is empty, null or missing"]),
        (grep(rule("exclude", "a", r"pattern \d+")), [r"drop a flow when a matches /\d+/"]),
        ("- name: grep\n  exclude: a ^x$\n  regex: [b y, c z, d z]\n",
         ["drop a flow when a is x", "drop a flow unless b contains y (the 2 rules behind it never decide)"]),
        ("- name: grep\n  logical_op: and\n  exclude: [a ^x$, b .*]\n", ["drop a flow when a is x and b is any text"]),
        ("- name: grep\n  exclude: $TAG.x ^x$\n", ["drop a flow when $TAG.x is x (but no line has this field)"]),
        (own(rule("exclude", "a", "cidr 10.0.0.0/8, 192.168.1.1, fd00::/8")),
         ["drop a flow when a is in 10.0.0.0/8, 192.168.1.1 or fd00::/8"]),
        (own(rule("exclude", "a", ">= 1024\n< 2048")), ["drop a flow when a is at least 1024 and below 2048"]),
        (own(rule("regexp", "a", "labels app=web,tier notin (x,y),!c,d!=e,f")),
         ["drop a flow unless a matches the label selector app=web,tier notin (x, y),!c,d!=e,f"]),
        (own("<not>\n" + rule("exclude", "a", "equals x") + "</not>"), ["drop a flow when a is not x"]),
        (own("<not>\n<or>\n" + rule("exclude", "a", "equals x") + rule("exclude", "b", "null true") + "</or>\n</not>"),
         ["drop a flow when a is not x and b is not null"]),
        (own("<or>\n<and>\n" + rule("exclude", "a", "contains x") + rule("exclude", "b", "exists false")
             + "</and>\n" + rule("exclude", "c", "in x, y\nignore_case true") + "</or>"),
         ["drop a flow when (a contains x and b is not there) or c is x or y (ignoring case)"]),
        (own(rule("exclude", "a", "equals 'x y'\nsample 1/1000")),
         ['drop a flow when a is "x y"; one in 1,000 goes on']),
        (own(rule("exclude", "a", "equals x\nshadow true\nuntil 2030-01-01T12:30Z")),
         ["until 2030-01-01 12:30 UTC: count, but do not drop, a flow when a is x"]),
    ],
)  # fmt: skip
def test_what_filters_say(text: str, sentences: list[str]) -> None:
    assert say(text) == sentences


def test_a_line_is_called_what_its_stream_holds() -> None:
    text = grep(rule("exclude", "qname", "pattern local$"))
    assert say(text, "dns") == ["drop a DNS log line when qname ends with local"]
    assert say(text, "audit") == ["drop a line when qname ends with local"]


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_everything_that_can_decide_has_its_sentence(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    strategy = filter_lists(matcher, PATHS) if data.draw(st.booleans()) else own_filter_lists(matcher, OWN_PATHS)
    filters = FilterSet(FilterText("flowd", "flows", data.draw(strategy)))
    said = {sentence.rule for sentence in write_sentences(filters.text)}
    dead = {
        looked.name
        for section in filters.text.filters
        for step in section.steps
        if step.kind == "first"
        for number, looked in enumerate(step.rules)
        if any(before.kind == "regexp" for before in step.rules[:number])
    }
    deciders = {name.removesuffix(".sampled") for name in filters.hits} - {"default"} - dead
    assert said == deciders


def test_the_command_says_them_below_the_table(tmp_path: Path) -> None:
    (tmp_path / "flow.conf").write_text(grep(A))
    sentence = "drop a flow when dest_name_aggr starts with nginx-internet"
    done = run("explain", "-f", tmp_path / "flow.conf")
    assert done.stdout.decode().splitlines()[-2:] == [f"1. {sentence}", "Everything else is kept."]
    done = run("explain", "-f", tmp_path / "flow.conf", "--plain")
    assert done.stdout.decode() == f"1. {sentence}\nEverything else is kept.\n"
    done = run("explain", "-f", tmp_path / "flow.conf", "-o", "json")
    assert [json.loads(line)["english"] for line in done.stdout.splitlines()] == [sentence]


def test_what_cannot_be_shown_is_written_out() -> None:
    rules = rule("exclude", "a b", 'pattern "x\\ny+"') + rule("exclude", "c", "pattern /\u202e+/")
    assert say(grep(rules)) == [
        r'drop a flow when "a b" matches /x\ny+/',
        r"drop a flow when c matches /\u202e+/",
    ]


def test_brackets_stand_where_and_meets_or() -> None:
    a, b = rule("exclude", "a", "pattern ^$"), rule("exclude", "b", "pattern ^(x|y)$")
    assert say(grep(f"<and>\n{a}{b}</and>")) == [
        "drop a flow when (a is empty, null or missing) and (b is x or y)",
    ]
    c = rule("exclude", "c", ">= 5\n< 9")
    assert say(own(f"<not>\n<and>\n{c}{rule('exclude', 'b', 'in x, y')}</and>\n</not>")) == [
        "drop a flow when (c is no number that is at least 5 and below 9) or (b is none of x and y)",
    ]


def test_the_seconds_of_an_end_are_said() -> None:
    text = own(rule("exclude", "a", "equals x\nuntil 2030-01-01T12:30:15Z"))
    assert say(text) == ["until 2030-01-01 12:30:15 UTC: drop a flow when a is x"]
