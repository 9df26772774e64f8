"""A daemon with ten thousand rules, and one with long ones, answers about itself: bounded, and the sums add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli_bed import flowd
from hypothesis import given, settings
from hypothesis import strategies as st
from relay_bed import DEADLINE_S, KEPT, feed, running

import flowd as library
from flowd.cli.status_tables import RULES_SHOWN
from flowd.client import request
from flowd.client.pages import request_rules
from flowd.errors import Refused
from flowd.relay.answers import ANSWER_BYTES, PAGE_ITEMS, packed_bytes
from flowd.relay.deciding.streams import EARLIER_MAX, Stream
from flowd.relay.status import RULES_TOLD, add_rules, describe_streams

RULES = 10_000
HIT_EVERY = 3
BUSIEST = 9_999
"""Stands last and decides the most."""


def write_rules(number: int, word: str = "team", column: str = "source_namespace") -> str:
    rules = (f"  <exclude>\n    key {column}\n    equals {word}-{at}\n  </exclude>\n" for at in range(number))
    return f"<filter **>\n  @type flowd\n{''.join(rules)}</filter>\n"


def lines_of(*teams: int) -> bytes:
    return b"".join(b'{"source_namespace":"team-%d"}\n' % team for team in teams)


class Many(NamedTuple):
    endpoint: str
    folder: Path
    lines: int

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        return request(self.endpoint, op, DEADLINE_S, **arguments)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    """A daemon that has decided lines by a third of its rules, by the last one the most, and kept one line."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "rules").write_text(write_rules(RULES))
    lines = lines_of(*range(0, RULES, HIT_EVERY), *[BUSIEST] * 100) + KEPT
    with running(folder, filters__path=str(folder / "rules"), filters__watch=False) as (_, config):
        feed(config, lines)
        yield Many(config.endpoint("admin"), folder, lines.count(b"\n"))


def test_status_tells_what_decided_the_most_and_sums_up_the_others(many: Many) -> None:
    stream = many.ask("status")["streams"]["flows"]
    rules = stream["rules"]
    assert (len(rules), stream["rules_left_off"]) == (RULES_TOLD, RULES + 1 - RULES_TOLD)
    assert [rule["line"] for rule in rules[:-1]] == sorted(rule["line"] for rule in rules[:-1])
    assert (rules[-1]["name"], rules[-1]["lines"]) == ("default", 1)
    assert (rules[-2]["name"], rules[-2]["lines"]) == (f"filter1.exclude{RULES}", 101)
    assert all(rule["lines"] for rule in rules)
    for unit in ("lines", "bytes"):
        assert sum(rule[unit] for rule in rules) + stream[f"{unit}_left_off"] == stream[unit]


def test_all_counts_come_in_pages(many: Many) -> None:
    first = many.ask("decided")["streams"]["flows"]
    assert (first["all_rules"], len(first["rules"]), first["next"]) == (RULES + 1, PAGE_ITEMS, PAGE_ITEMS)
    generation, rules = request_rules(many.endpoint, "decided", "flows", DEADLINE_S)
    assert (generation, len(rules), len({rule["name"] for rule in rules})) == (1, RULES + 1, RULES + 1)
    assert sum(rule["lines"] for rule in rules) == many.lines
    assert [rule["lines"] for rule in rules[:4]] == [1, 0, 0, 1]


def test_all_rules_come_in_pages(many: Many) -> None:
    first = many.ask("filters")["streams"]["flows"]
    assert (first["all_rules"], first["next"]) == (RULES, len(first["rules"]))
    _, rules = request_rules(many.endpoint, "filters", "flows", DEADLINE_S)
    assert [rule["pattern"] for rule in rules] == [f"equals team-{at}" for at in range(RULES)]
    assert many.ask("filters", stream="flows", first=RULES)["streams"]["flows"]["rules"] == []


def test_an_explanation_tells_the_rule_that_decided_whatever_it_leaves_off(many: Many) -> None:
    told = many.ask("explain", line=lines_of(BUSIEST)[:-1])
    assert (told["verdict"], told["rule"]) == ("D", f"filter1.exclude{RULES}")
    assert (told["trace"][-1]["rule"], told["trace"][-1]["result"]) == (told["rule"], "yes")
    assert len(told["trace"]) + told["trace_left_off"] == RULES
    assert told["trace_left_off"] > 0


@pytest.mark.parametrize("op", ["filters", "decided"])
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"first": 7}, "without stream"),
        ({"stream": "flows", "first": -1}, "first is -1"),
        ({"stream": "flows", "first": "7"}, "first is '7'"),
        ({"stream": "flows", "first": True}, "first is True"),
    ],
)
def test_a_page_that_makes_no_sense_is_refused(many: Many, op: str, arguments: dict[str, Any], word: str) -> None:
    with pytest.raises(Refused, match=word):
        many.ask(op, **arguments)


def test_status_on_the_command_line_shows_a_screen_and_has_them_all_as_json(many: Many) -> None:
    run = ("--runtime-dir", many.folder / "run")
    shown = flowd("status", *run).stdout.decode()
    table = shown[shown.index("STREAM  RULE") :].splitlines()
    assert len([row for row in table if "exclude" in row]) == RULES_SHOWN
    assert f"filter1.exclude{RULES}" in shown
    left_off = many.lines - (RULES_SHOWN + 100) - 1
    assert f"flows: {RULES - RULES_SHOWN:,} rules more, which decided {left_off:,} lines" in shown
    stream = json.loads(flowd("status", "-o", "json", *run).stdout)["streams"]["flows"]
    assert (len(stream["rules"]), stream["rules_left_off"]) == (RULES + 1, 0)
    assert sum(rule["lines"] for rule in stream["rules"]) == stream["lines"] == many.lines


def test_what_a_reload_would_change_is_told_in_an_answer(many: Many) -> None:
    (many.folder / "rules").write_text(write_rules(RULES, "gang"))
    told = many.ask("reload", dry=True)
    stream = told["streams"]["flows"]
    assert (told["result"], stream["rules_come"], stream["rules_gone"]) == ("loaded", RULES, RULES)
    assert 0 < len(stream["come"]) < RULES
    assert stream["changes"]


LONG = "x" * (6 << 10)


def test_long_rules_are_cut_by_their_bytes_and_not_only_by_their_number(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(write_rules(200, LONG))
    with running(tmp_path, filters__path=str(tmp_path / "rules"), filters__watch=False) as (_, config):
        endpoint = config.endpoint("admin")
        feed(config, KEPT)
        page = request(endpoint, "filters", DEADLINE_S)["streams"]["flows"]
        assert 0 < len(page["rules"]) == page["next"] < 200
        _, rules = request_rules(endpoint, "filters", "flows", DEADLINE_S)
        assert [rule["pattern"] for rule in rules] == [f"equals {LONG}-{at}" for at in range(200)]
        told = request(endpoint, "explain", DEADLINE_S, line=KEPT)
        assert 0 < len(told["trace"]) == 200 - told["trace_left_off"] < 200
        (tmp_path / "rules").write_text(write_rules(200, LONG + "y"))
        stream = request(endpoint, "reload", DEADLINE_S)["streams"]["flows"]
        assert (stream["rules_come"], stream["rules_gone"]) == (200, 200)
        assert stream["come"][0].endswith("…")
        assert len(request(endpoint, "status", DEADLINE_S)["streams"]["flows"]["rules"]) == 201


def test_problems_with_long_texts_are_cut_in_answers_and_status(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(write_rules(1))
    with running(tmp_path, filters__path=str(tmp_path / "rules"), filters__watch=False) as (_, config):
        endpoint = config.endpoint("admin")
        bad = "".join(f"  <exclude>\n    name {LONG}\n    key a\n    equals {at}\n  </exclude>\n" for at in range(300))
        (tmp_path / "rules").write_text(f"<filter **>\n  @type flowd\n{bad}</filter>\n")
        told = request(endpoint, "reload", DEADLINE_S)
        assert told["result"] == "failed"
        assert (len(told["problems"]), told["more_problems"]) == (100, 200)
        assert all(len(problem) < 1100 for problem in told["problems"])
        status = request(endpoint, "status", DEADLINE_S)
        assert status["last_reload"]["problems"] == told["problems"]
        assert (status["state"], status["last_reload"]["more_problems"]) == ("degraded", 200)
        shown = flowd("status", "--runtime-dir", tmp_path / "run").stdout.decode()
        assert "  and 200 problems more\n" in shown


def test_a_value_of_a_megabyte_is_explained(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        line = b'{"source_namespace":"' + b"x" * 1_000_000 + b'"}'
        told = request(config.endpoint("admin"), "explain", DEADLINE_S, line=line)
        assert (told["verdict"], told["rule"], told["trace_left_off"]) == ("K", "default", 0)
        assert told["trace"][0]["text"].endswith("x…")
        assert told["trace"][0]["raw"].endswith("x…".encode())


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.sampled_from([1, RULES_TOLD - 1, RULES_TOLD, RULES_TOLD + 100]),
    st.sampled_from([8, 4_000]),
    st.integers(0, 1_100_000),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25)
def test_a_status_of_any_rules_fits_and_its_sums_add_up(
    numbers: list[int], many: int, path: int, other: int, random: Any
) -> None:
    streams = []
    for at, number in enumerate([*numbers, many]):
        filter_set = library.compile(write_rules(number), dialect="flowd", origin="/" * path)
        filter_set.filter(lines_of(*(random.randrange(number) for _ in range(60))))
        streams.append(Stream(f"stream{at}", filter_set, 1, None))
    status: dict[str, Any] = {"streams": describe_streams(streams, {}, {}), "other": "x" * other}
    room_bytes = max(ANSWER_BYTES, packed_bytes(status)) + 4096
    add_rules(status, {stream.name: stream.tally() for stream in streams})
    size_bytes = packed_bytes(status)
    assert size_bytes <= room_bytes
    for stream in streams:
        told, tally = status["streams"][stream.name], stream.tally()
        assert len(told["rules"]) + told["rules_left_off"] == len(tally)
        assert sum(rule["lines"] for rule in told["rules"]) + told["lines_left_off"] == 60
        lines = [rule["line"] for rule in told["rules"] if rule["line"]]
        assert lines == sorted(set(lines))
        if len(tally) <= RULES_TOLD and path == 8 and other < 400_000:
            assert told["rules_left_off"] == 0


def test_counts_outlive_reloads_and_those_of_gone_rules_become_one_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.relay.deciding.streams.EARLIER_MAX", 50)
    assert EARLIER_MAX > 50

    def compiled(word: str) -> library.FilterSet:
        return library.compile(write_rules(40, word), dialect="flowd")

    stream = Stream("flows", compiled("team"), 1, None)
    for generation in range(2, 7):
        word = b"team" if generation % 2 == 0 else b"gang%d" % generation
        lines = b"".join(b'{"source_namespace":"%s-%d"}\n' % (word, at) for at in range(40)) + KEPT
        assert stream.filter_set.filter(lines) == KEPT
        following = "team" if generation % 2 else f"gang{generation + 1}"
        stream.decide_by(compiled(following), generation, None)
        assert len(stream._earlier) <= 50 + 41
    told = {one.name: one.lines for one in stream.tally()}
    assert sum(told.values()) == 5 * 41
    assert told["default"] == 5
    assert told["retired"] > 0


def test_rules_that_decided_nothing_leave_nothing_behind() -> None:
    stream = Stream("flows", library.compile(write_rules(40), dialect="flowd"), 1, None)
    for generation in range(2, 6):
        stream.decide_by(library.compile(write_rules(40, f"gang{generation}"), dialect="flowd"), generation, None)
    assert stream._earlier == {}
    assert stream.tally().total() == (0, 0)
