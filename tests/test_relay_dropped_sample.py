"""The sample of dropped lines: each has the same chance, it is bounded, it is told by the admin lane, and it costs a
batch next to nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, Peer, running

import flowd
from flowd.client import request
from flowd.errors import Refused
from flowd.filterset import FilterSet
from flowd.relay.config import Config
from flowd.relay.deciding.dropped import (
    LINE_BYTES,
    PICKS_A_BATCH,
    SPAN_BYTES,
    SPAN_LINES,
    SPAN_S,
    SPANS,
    DroppedSample,
    Reservoir,
)

SECOND_NS = 1_000_000_000
BEGAN_NS = 1_700_000_000 * SECOND_NS


def fill(reservoir: Reservoir, lines: int, batch: int, size: int = 0) -> None:
    """Passes numbered lines in batches, as the daemon does; `size` pads them."""
    for first in range(0, lines, batch):
        numbers = range(first, min(first + batch, lines))
        if reservoir.is_due(len(numbers)):
            reservoir.add(first, [b"%d" % number + b" " * size + b"\n" for number in numbers])
        else:
            reservoir.pass_over(len(numbers))


def picked(reservoir: Reservoir) -> list[int]:
    return [int(line) for _, line in reservoir.entries]


@pytest.mark.parametrize("bound", ["lines", "bytes"])
def test_every_line_has_the_same_chance(bound: str) -> None:
    """A seeded chi-square over 20 parts of 2,000 lines, in 400 samples of 20: at most what one in a thousand would
    exceed."""
    random = Random(7)
    parts: Counter[int] = Counter()
    total = 0
    for _ in range(400):
        if bound == "lines":
            reservoir = Reservoir(random, lines_max=20)
            fill(reservoir, 2_000, 37)
        else:
            reservoir = Reservoir(random, lines_max=100, bytes_max=20 * 54 + 53)
            fill(reservoir, 2_000, 37, size=50)
        assert 15 <= len(reservoir.entries) <= 21
        assert reservoir.seen == 2_000
        assert len(set(picked(reservoir))) == len(reservoir.entries)
        parts.update(number // 100 for number in picked(reservoir))
        total += len(reservoir.entries)
    wanted = total / 20
    assert sum((parts[part] - wanted) ** 2 / wanted for part in range(20)) < 43.8


def test_the_batches_do_not_matter() -> None:
    whole, cut = Reservoir(Random(3), lines_max=50), Reservoir(Random(3), lines_max=50)
    fill(whole, 10_000, 10_000)
    fill(cut, 10_000, 7)
    assert picked(whole) == picked(cut)


def test_few_lines_are_all_there() -> None:
    reservoir = Reservoir(Random(1))
    fill(reservoir, SPAN_LINES - 1, 10)
    assert sorted(picked(reservoir)) == list(range(SPAN_LINES - 1))


def test_bytes_are_bounded_and_long_lines_only_counted() -> None:
    reservoir = Reservoir(Random(2))
    fill(reservoir, 500, 10, size=LINE_BYTES - 10)
    assert sum(len(line) for _, line in reservoir.entries) <= SPAN_BYTES
    assert len(reservoir.entries) >= SPAN_BYTES // LINE_BYTES - 1
    sample = DroppedSample(Random(2))
    line = b'{"source_namespace":"dev","x":"' + b"x" * LINE_BYTES + b'"}\n'
    sample.add_from(line + DROPPED, 2, flowd.compile(DROP_DEV), BEGAN_NS)
    assert sample.describe() == [
        {"since_ns": BEGAN_NS, "dropped_lines": 2, "picked_lines": 2, "lines": [DROPPED], "times_ns": [BEGAN_NS]}
    ]


def test_only_dropped_lines_are_picked_and_nothing_is_counted() -> None:
    filters = flowd.compile(DROP_DEV)
    sample = DroppedSample(Random(4))
    for number in range(100):
        batch = b'{"source_namespace":"dev","n":%d}\n' % number * 10 + KEPT * 90
        sample.add_from(batch, 10, filters, BEGAN_NS + number)
    (span,) = sample.describe()
    assert (span["dropped_lines"], span["picked_lines"]) == (1_000, SPAN_LINES)
    assert all(b'"dev"' in line for line in span["lines"])
    assert all(
        line == b'{"source_namespace":"dev","n":%d}\n' % (time_ns - BEGAN_NS)
        for line, time_ns in zip(span["lines"], span["times_ns"], strict=True)
    )
    assert filters.hits["filter1.exclude1"].lines == 0


def test_batches_that_are_passed_over_have_the_same_chance() -> None:
    """So many batches that one of some dozen is looked at: every tenth of them has its share of the picks, which come
    in clusters of eight (chi-square with 9 degrees of freedom, one in a thousand: 27.9)."""
    filters = flowd.compile(DROP_DEV)
    random = Random(9)
    parts: Counter[int] = Counter()
    picks = 0
    for _ in range(10):
        sample = DroppedSample(random)
        for number in range(3_000):
            batch = b'{"source_namespace":"dev","n":%d}\n' % number * 150
            sample.add_from(batch, 150, filters, BEGAN_NS + number)
        (span,) = sample.describe()
        assert (span["dropped_lines"], span["picked_lines"]) == (450_000, SPAN_LINES)
        parts.update((time_ns - BEGAN_NS) // 300 for time_ns in span["times_ns"])
        picks += SPAN_LINES
    wanted = picks / 10
    assert sum((parts[part] - wanted) ** 2 / wanted for part in range(10)) / PICKS_A_BATCH < 27.9
    assert all(0.7 < parts[part] / wanted < 1.3 for part in range(10))


def test_few_batches_are_filtered_again() -> None:
    """Of 4,000 full batches some 300, most of them at the beginning; of small ones no line is picked twice."""

    class Counting:
        """A filter set that counts how often it is used."""

        def __init__(self) -> None:
            self.used = 0
            self.filters = flowd.compile(DROP_DEV)

        def twin(self) -> FilterSet:
            self.used += 1
            return self.filters

    counting = Counting()
    sample = DroppedSample(Random(8))
    used = []
    for _ in range(4_000):
        sample.add_from(DROPPED * 300, 300, counting, BEGAN_NS)  # type: ignore[arg-type]
        used.append(counting.used)
    assert used[999] < 300
    assert used[3_999] - used[1_999] < 80
    small = DroppedSample(Random(8))
    for number in range(4_000):
        small.add_from(b'{"source_namespace":"dev","n":%d}\n' % number, 1, counting.filters, BEGAN_NS)
    (span,) = small.describe()
    assert len(set(span["lines"])) == SPAN_LINES


def test_a_batch_of_which_nothing_is_dropped_is_not_looked_at() -> None:
    sample = DroppedSample()
    sample.add_from(KEPT, 0, None, BEGAN_NS)  # type: ignore[arg-type]
    assert sample.describe() == []


def test_it_reaches_back_an_hour_and_no_more_than_two() -> None:
    filters = flowd.compile(DROP_DEV)
    sample = DroppedSample(Random(6))
    for minute in range(0, 300, 10):
        sample.add_from(DROPPED, 1, filters, BEGAN_NS + minute * 60 * SECOND_NS)
        spans = sample.describe()
        assert len(spans) <= SPANS
        assert spans[-1]["times_ns"][-1] - spans[0]["since_ns"] < SPANS * SPAN_S * SECOND_NS
    assert [span["dropped_lines"] for span in sample.describe()] == [6, 6]


def ask(config: Config, **arguments: Any) -> dict[str, Any]:
    return request(config.endpoint("admin"), "dropped", DEADLINE_S, **arguments)


def test_the_daemon_tells_what_it_dropped(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), Peer(config.endpoint("ingest")) as peer:
        assert ask(config) == {"stream": "flows", "spans": []}
        peer.hello()
        peer.send(1, KEPT * 30 + DROPPED * 70)
        peer.send(2, KEPT * 100)
        peer.send(3, KEPT, "dns")
        answer = ask(config, stream="flows")
        (span,) = answer["spans"]
        assert (span["dropped_lines"], span["picked_lines"]) == (70, 70)
        assert span["lines"] == [DROPPED] * 70
        assert set(span["times_ns"]) == {span["since_ns"]}
        assert ask(config, stream="dns")["spans"] == []
        with pytest.raises(Refused, match="there is no stream 'nosuch'"):
            ask(config, stream="nosuch")
        status = request(config.endpoint("admin"), "status", DEADLINE_S)
        assert {rule["name"]: rule["lines"] for rule in status["streams"]["flows"]["rules"]} == {
            "filter1.exclude1": 70,
            "default": 130,
        }


def test_the_answer_holds_full_spans(tmp_path: Path) -> None:
    line = b'{"source_namespace":"dev","x":"' + b"x" * 1_600 + b'"}\n'
    with running(tmp_path) as (daemon, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        for sequence in range(1, 11):
            peer.send(sequence, line * 100)
        stream = daemon._streams.get("flows")
        assert stream is not None
        later_ns = stream.dropped.describe()[0]["since_ns"] + 2 * SPAN_S * SECOND_NS
        filters: FilterSet = stream.loaded
        for _ in range(10):
            stream.dropped.add_from(line * 100, 100, filters, later_ns)
        spans = ask(config)["spans"]
        assert [span["dropped_lines"] for span in spans] == [1_000, 1_000]
        assert all(SPAN_BYTES * 0.99 < sum(map(len, span["lines"])) <= SPAN_BYTES for span in spans)
