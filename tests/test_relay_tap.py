"""Taps: what is dropped or kept at this moment is told with its rule, each line with the same chance, within bounds;
and nothing is counted twice for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, feed, running, wait_until, with_views

import flowd
from flowd.client import request
from flowd.errors import FlowdError, Refused
from flowd.filterset import Borrowed, FilterSet
from flowd.relay.config import Config, load_config
from flowd.relay.deciding.looking import Looker, Pool, pick_lines
from flowd.relay.deciding.rulebook import read_rulebook
from flowd.relay.deciding.streams import Streams
from flowd.relay.deciding.tap import FORGOTTEN_S, HELD_BYTES, Tap
from flowd.relay.deciding.tapping import LINE_BYTES, RATE_MAX, TAPS_MAX, TOLD_BYTES_S, Budget, Tapping

TWO_RULES = DROP_DEV + DROP_DEV.replace("dev", "test")
ALSO_DROPPED = b'{"source_namespace":"test"}\n'
MALFORMED = b"no record\n"


class Asker:
    """Asks one tap again and again, and adds up what it tells."""

    def __init__(self, config: Config, **arguments: Any) -> None:
        self._endpoint = config.endpoint("admin")
        self._arguments = arguments
        self.lines: list[dict[str, Any]] = []
        self.sums: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.ask()

    def ask(self) -> bool:
        """One question; always true, for `wait_until`."""
        tap = {"tap": self.last["tap"]} if self.last else {}
        self.last = request(self._endpoint, "tap", DEADLINE_S, **self._arguments, **tap)
        self.lines += self.last["lines"]
        self.sums.update({name: self.last[name] for name in ("passed_lines", "looked_lines", "matching_lines")})
        return True

    def wait_for(self, lines: int) -> list[dict[str, Any]]:
        """The lines as soon as there are so many."""
        wait_until(lambda: self.ask() and len(self.lines) >= lines, f"{lines} lines of the tap")
        return self.lines


def decided(lines: list[dict[str, Any]]) -> Counter[tuple[bytes, str, str]]:
    return Counter((line["text"], line["verdict"], line["rule"]) for line in lines)


def held(filters: FilterSet, lines: bytes) -> Borrowed:
    return filters.apply_borrowing(lines)


def test_dropped_lines_are_told_with_rule_and_place(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        asker = Asker(config)
        assert (asker.last["stream"], asker.last["view"], asker.last["lines"]) == ("flows", "", [])
        feed(config, DROPPED * 2 + KEPT, KEPT, DROPPED)
        lines = asker.wait_for(3)
        assert decided(lines) == {(DROPPED[:-1], "drop", "filter1.exclude1"): 3}
        assert {(line["file"], line["line"], line["size_bytes"]) for line in lines} == {
            (str(tmp_path / "flow"), 3, len(DROPPED))
        }
        assert [line["time_ns"] for line in lines] == sorted(line["time_ns"] for line in lines)
        assert asker.sums == {"passed_lines": 3, "looked_lines": 3, "matching_lines": 3}


def test_kept_lines_are_told_malformed_ones_among_them(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        asker = Asker(config, which="kept")
        feed(config, KEPT + DROPPED + MALFORMED)
        assert decided(asker.wait_for(2)) == {
            (KEPT[:-1], "keep", "default"): 1,
            (MALFORMED[:-1], "malformed", "default"): 1,
        }


def test_only_one_rule_s_lines_can_be_wanted(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        (tmp_path / "flow").write_text(TWO_RULES)
        assert request(config.endpoint("admin"), "reload", DEADLINE_S)["result"] == "loaded"
        asker = Asker(config, rule="filter2.exclude1")
        feed(config, (DROPPED + KEPT) * 50 + ALSO_DROPPED + DROPPED * 50)
        assert decided(asker.wait_for(1)) == {(ALSO_DROPPED[:-1], "drop", "filter2.exclude1"): 1}
        assert asker.sums == {"passed_lines": 101, "looked_lines": 101, "matching_lines": 1}


def test_a_view_tells_what_it_makes_of_what_the_stream_keeps(tmp_path: Path) -> None:
    view = DROP_DEV.replace("dev", "prod")
    with running(tmp_path, **with_views(tmp_path, calm=view)) as (_, config):
        drops, keeps = Asker(config, stream="calm"), Asker(config, stream="calm", which="kept")
        feed(config, DROPPED + KEPT + ALSO_DROPPED)
        assert decided(drops.wait_for(1)) == {(KEPT[:-1], "drop", "filter1.exclude1"): 1}
        assert drops.lines[0]["file"] == str(tmp_path / "calm")
        assert decided(keeps.wait_for(1)) == {(ALSO_DROPPED[:-1], "keep", "default"): 1}
        assert (keeps.last["stream"], keeps.last["view"]) == ("flows", "calm")
        assert drops.sums == {"passed_lines": 2, "looked_lines": 2, "matching_lines": 1}


def test_what_bypassing_keeps_is_told_as_that(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        asker = Asker(config, which="kept")
        request(config.endpoint("admin"), "bypass", DEADLINE_S, on=True)
        feed(config, DROPPED)
        assert decided(asker.wait_for(1)) == {(DROPPED[:-1], "keep", "bypass"): 1}
        assert asker.last["bypass"] is True


@pytest.mark.parametrize("workers", [0, 2])
def test_tapping_counts_nothing(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, runtime__workers=workers) as (_, config):
        asker = Asker(config, rate=100)
        feed(config, *[DROPPED * 30 + KEPT * 10] * 3)
        asker.wait_for(90)
        stream = request(config.endpoint("admin"), "status", DEADLINE_S)["streams"]["flows"]
        assert {rule["name"]: rule["lines"] for rule in stream["rules"]} == {"filter1.exclude1": 90, "default": 30}
        assert stream["lines"] == 120


def test_lines_are_told_by_the_rules_that_decided_them_however_they_change(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        asker = Asker(config)
        feed(config, DROPPED)
        (tmp_path / "flow").write_text(TWO_RULES.replace("/^dev$/", "/^no$/"))
        assert request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)["result"] == "loaded"
        feed(config, DROPPED, ALSO_DROPPED)
        assert decided(asker.wait_for(2)) == {
            (DROPPED[:-1], "drop", "filter1.exclude1"): 1,
            (ALSO_DROPPED[:-1], "drop", "filter2.exclude1"): 1,
        }
        assert asker.last["generation"] == 2


def test_no_more_than_the_rate_is_told_and_the_rest_is_counted(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        asker = Asker(config, rate=5)
        feed(config, DROPPED * 1000)
        asker.wait_for(5)
        assert len(asker.lines) == 5
        assert asker.sums["matching_lines"] == 1000


def test_who_asks_too_soon_gets_nothing_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        asker = Asker(config)
        feed(config, DROPPED)
        asker.wait_for(1)
        feed(config, DROPPED)
        asker.ask()
        asker.wait_for(2)
        assert asker.sums["passed_lines"] == 2


def test_long_lines_are_cut_and_an_answer_is_bounded(tmp_path: Path) -> None:
    long = b'{"source_namespace":"dev","a":"%s"}\n' % (b"x" * LINE_BYTES)
    with running(tmp_path) as (_, config):
        asker = Asker(config, rate=RATE_MAX)
        feed(config, long * 40)
        asker.wait_for(1)
        assert {(len(line["text"]), line["size_bytes"]) for line in asker.lines} == {(LINE_BYTES, len(long))}
        assert sum(len(line["text"]) for line in asker.last["lines"]) < TOLD_BYTES_S
        assert asker.sums["matching_lines"] == 40


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"stream": "nosuch"}, "there is no stream 'nosuch'", "known: flows"),
        ({"stream": 5}, "stream is 5", "give a stream's or a view's name"),
        ({"which": "all"}, "which is 'all'", "it is dropped or kept"),
        ({"rule": "filter1.exclude2"}, "there is no rule 'filter1.exclude2'", "did you mean 'filter1.exclude1'?"),
        ({"rule": "x"}, "there is no rule 'x'", "`flowd filters` lists the rules"),
        ({"rule": 5}, "rule is 5", "give a rule's name, as `filters` tells them"),
        ({"rate": 0}, "rate is 0", "give lines a second, from 1 to 500"),
        ({"rate": float("nan")}, "rate is nan", "give lines a second, from 1 to 500"),
        ({"rate": 501}, "rate is 501", "give lines a second, from 1 to 500"),
        ({"rate": True}, "rate is True", "give lines a second, from 1 to 500"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, arguments: dict[str, Any], message: str, hint: str) -> None:
    with running(tmp_path) as (_, config), pytest.raises(Refused) as refused:
        request(config.endpoint("admin"), "tap", DEADLINE_S, **arguments)
    assert (refused.value.message, refused.value.hint) == (f"tap: {message}", hint)


def test_a_shadow_decides_nothing_that_could_be_tapped(tmp_path: Path) -> None:
    shadow = "<filter flows>\n@type flowd\n<exclude>\nkey a\nequals 1\nshadow true\n</exclude>\n</filter>\n"
    with running(tmp_path, filters__watch=False) as (_, config):
        (tmp_path / "flow").write_text(shadow)
        assert request(config.endpoint("admin"), "reload", DEADLINE_S)["result"] == "loaded"
        with pytest.raises(Refused, match="is a shadow: it only counts"):
            request(config.endpoint("admin"), "tap", DEADLINE_S, rule="filter1.exclude1")


def tapping(tmp_path: Path) -> tuple[Tapping, Streams]:
    (tmp_path / "flow").write_text(DROP_DEV)
    config = load_config(None, {"filters.path": str(tmp_path / "flow")}, {})
    streams = Streams(read_rulebook(config.filters))
    streams.get("flows")
    return Tapping(streams), streams


def test_only_so_many_tap_and_who_asks_no_more_is_forgotten(tmp_path: Path) -> None:
    asked, streams = tapping(tmp_path)
    numbers = [asked.tap({"rate": n + 1})["tap"] for n in range(TAPS_MAX)]
    with pytest.raises(FlowdError, match=f"{TAPS_MAX} others tap already"):
        asked.tap({"rate": 100})
    stream = streams.all()[0]
    assert len(stream.taps) == TAPS_MAX
    later_s = stream.taps[-1]._asked_s + FORGOTTEN_S + 1
    asked.forget(later_s)
    assert stream.taps == ()
    assert asked.tap({"tap": numbers[0]})["tap"] != numbers[0]
    assert len(stream.taps) == 1


def test_a_tap_holds_a_bounded_number_of_bytes_and_each_batch_has_the_same_chance() -> None:
    """A seeded chi-square over 20 batches, of which 4 have room: at most what one in a thousand would exceed."""
    filters = flowd.compile(DROP_DEV)
    batches = [
        line * (HELD_BYTES // 4 // len(line))
        for line in (b'{"source_namespace":"dev","n":%7d}\n' % n for n in range(20))
    ]
    assert all(HELD_BYTES // 5 < len(lines) <= HELD_BYTES // 4 for lines in batches)
    decided = [held(filters, lines) for lines in batches]
    random, seen = Random(5), Counter[int]()
    for _ in range(500):
        tap = Tap("dropped", is_view=False, random=random)
        for number, (lines, applied) in enumerate(zip(batches, decided, strict=True)):
            tap.offer(lines, applied, filters, False, number)
        caught = tap.take()
        assert caught.passed_lines == sum(applied.lines for applied in decided)
        assert sum(len(one.lines) for one in caught.held) <= HELD_BYTES
        assert [one.time_ns for one in caught.held] == sorted(one.time_ns for one in caught.held)
        seen.update(one.time_ns for one in caught.held)
        assert tap.take() == (0, [])
    wanted = 500 * 4 / 20
    assert sum((seen[n] - wanted) ** 2 / wanted for n in range(20)) < 43.8


def test_a_tap_passes_over_batches_without_what_is_wanted() -> None:
    filters = flowd.compile(DROP_DEV)
    drops, keeps, view = (
        Tap("dropped", is_view=False), Tap("kept", is_view=False), Tap("dropped", is_view=True),
    )  # fmt: skip
    for number, lines in enumerate((KEPT * 3, DROPPED * 2)):
        for tap in (drops, keeps, view):
            tap.offer(lines, held(filters, lines), filters, False, number)
    assert [(tap.take().passed_lines) for tap in (drops, keeps, view)] == [2, 3, 3]


def test_a_larger_batch_is_held_alone() -> None:
    filters = flowd.compile(DROP_DEV)
    tap = Tap("dropped", is_view=False)
    for number, lines in enumerate((DROPPED, DROPPED * (HELD_BYTES // len(DROPPED) + 1))):
        tap.offer(lines, held(filters, lines), filters, False, number)
    assert len(tap.take().held) == 1


def test_each_line_of_a_batch_has_a_chance_and_counts_are_exact() -> None:
    filters = flowd.compile(TWO_RULES)
    lines = b"".join(b'{"source_namespace":"%s","n":%d}\n' % (b"test" if n % 4 else b"dev", n) for n in range(400))
    looker, random, seen = Looker(filters, 5), Random(2), set[bytes]()
    for _ in range(300):
        pools = looker.look(lines, False, 7, random)
        assert {(pool.rule, pool.lines, len(pool.examples)) for pool in pools} == {
            ("filter1.exclude1", 100, 5),
            ("filter2.exclude1", 300, 5),
        }
        seen.update(text for pool in pools for text in pool.examples)
    assert len(seen) > 380
    assert filters.hits["filter1.exclude1"] == (0, 0)


def test_lines_are_picked_by_how_many_there_are() -> None:
    random = Random(3)
    pools = [Pool("D", "a", "", 0, 300, [b"a"] * 8, 2), Pool("D", "b", "", 0, 100, [b"b"] * 8, 1)]
    counts = Counter(one.text for _ in range(500) for one in pick_lines(pools, 8, random))
    assert sum(counts.values()) == 4000
    assert 2850 < counts[b"a"] < 3150
    assert [one.text for one in pick_lines([Pool("D", "a", "", 0, 2, [b"a", b"b"], 1)], 5, random)] == [b"a", b"b"]


def test_a_batch_without_a_newline_at_its_end_is_looked_at_whole() -> None:
    looker = Looker(flowd.compile(DROP_DEV), 5)
    pools = looker.look(DROPPED + DROPPED[:-1], False, 1, Random(1))
    assert [(pool.lines, pool.examples) for pool in pools] == [(2, [DROPPED[:-1]] * 2)]


def test_a_budget_never_has_more_than_a_second_s_worth() -> None:
    budget = Budget(10)
    began_s = budget._filled_s
    budget.left = 0
    budget.refill(began_s + 0.25)
    assert budget.left == 2.5
    budget.refill(began_s + 100)
    assert budget.left == 10
