"""The journal's bounds: what goes first, what stays, what is still known of what went, and that a full ring goes on."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from journal_bed import (
    FOR_EVER_NS,
    MAX_BYTES,
    SetClock,
    WriterBed,
    append,
    new_batch,
    read_batch,
    read_stream,
    refusals,
    retire,
    set_clock,
    stored,
)

from flowd.relay.journal.layout import Mark, StreamRow
from flowd.relay.journal.store import MAP_SLACK_BYTES, Store
from flowd.relay.journal.transaction import Retired

LINE = b"line\n"
SMALL_BYTES = 4 << 20
SIZES = {"tiny": (0, 400), "small": (0, 8_000), "middle": (8_000, 300_000), "large": (300_000, 4 << 20)}
PHASE_BYTES = {"tiny": 1 << 20, "small": 8 << 20, "middle": 96 << 20, "large": 192 << 20}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stored(tmp_path, SMALL_BYTES) as store:
        yield store


@pytest.fixture
def clock(store: Store) -> SetClock:
    return set_clock(store)


def append_in_turn(store: Store, clock: SetClock, count: int, lines: bytes = LINE) -> None:
    """Batches of three streams, one after the other: a, b, c, a, b…"""
    for stream in itertools.islice(itertools.cycle("abc"), count):
        clock.time_ns += 1
        append(store, lines, stream=stream)


def oldest(store: Store) -> dict[str, int]:
    return {name: row.oldest for name, row in store.streams().items()}


def test_the_oldest_of_all_streams_goes_first(store: Store, clock: SetClock) -> None:
    append_in_turn(store, clock, 30, LINE * 20_000)
    full_bytes = store.stat().used_bytes
    gone = retire(store, full_bytes - 700_000)
    assert gone == Retired(7, 7 * 20_000)
    assert oldest(store) == {"a": 4, "b": 3, "c": 3}
    assert full_bytes - 800_000 < store.stat().used_bytes <= full_bytes - 700_000
    assert [len(read_stream(store, stream)) for stream in "abc"] == [7, 8, 8]


def test_what_is_too_old_goes_and_nothing_else(store: Store, clock: SetClock) -> None:
    append_in_turn(store, clock, 30)
    clock.time_ns = 40
    assert retire(store, max_age_ns=40) == Retired()
    assert retire(store, max_age_ns=30) == Retired(9, 9)  # those of 1 to 9; the one of 10 is just not too old
    assert oldest(store) == {"a": 4, "b": 4, "c": 4}
    assert retire(store, max_age_ns=0) == Retired(21, 21)
    assert [read_stream(store, stream) for stream in "abc"] == [[], [], []]
    append(store, LINE, stream="b")
    assert read_stream(store, "b") == [LINE]


def test_the_batches_of_a_transaction_stay_in_it(store: Store) -> None:
    append(store, LINE, LINE)
    with store.write() as transaction:
        placed = [transaction.append(new_batch(bytes(3 << 20))) for _ in range(3)]
        assert transaction.retire(SMALL_BYTES, 0) == Retired(2, 2)
    assert [one.sequence for one in placed] == [3, 4, 5]
    assert read_stream(store) == [bytes(3 << 20)] * 3
    assert retire(store, SMALL_BYTES).batches == 2


@pytest.mark.parametrize("size_bytes", [0, 60, 1_000, 1_900, 2_500, 270_000])
def test_no_more_is_used_than_may_be_whatever_the_size(store: Store, size_bytes: int) -> None:
    """Pages that are half full count as a whole: what is used is looked at, not added up."""
    most = 0
    lines = bytes(size_bytes)
    for _ in range(60):
        with store.write() as transaction:
            for _ in range(max(1, min(400, 400_000 // (size_bytes + 1)))):
                transaction.append(new_batch(lines, "a"))
                transaction.append(new_batch(lines, "b"))
            transaction.retire(SMALL_BYTES, FOR_EVER_NS)
        most = max(most, store.stat().used_bytes)
    assert most <= SMALL_BYTES
    assert most > SMALL_BYTES * 3 // 4 or size_bytes < 60


def test_retiring_many_small_batches_keeps_pace_with_large_ones(tmp_path: Path) -> None:
    """A transaction retires so many batches at most, but never grows the journal by that."""
    with stored(tmp_path, SMALL_BYTES) as store:
        while store.stat().used_bytes < SMALL_BYTES - 100_000:
            append(store, *[LINE] * 1_000)
        for _ in range(10):
            with store.write() as transaction:
                transaction.append(new_batch(bytes(1 << 20), "large"))
                transaction.retire(SMALL_BYTES, FOR_EVER_NS)
            assert store.stat().used_bytes <= SMALL_BYTES


def test_trimming_goes_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.relay.journal.transaction.RETIRED_MAX", 10)
    append(store, *[LINE] * 25)
    assert [retire(store, 0).batches for _ in range(4)] == [10, 10, 5, 0]


def test_heads_of_departed_batches_are_kept_for_a_while(store: Store) -> None:
    """What was missed is counted from them, exactly."""
    kept = store.shape.departed(1)
    counts = [n % 3 for n in range(1, kept + 201)]
    append(store, *(LINE * count for count in counts))
    while retire(store, 0).batches:
        pass
    row = store.streams()["flows"]
    assert row == StreamRow(1, kept + 201, sum(counts), kept + 201, 201)
    with store.read() as reading:
        known = [reading.lines_before(row, n) for n in range(1, kept + 202)]
        assert (reading.find_age(row, 0), reading.find_last(row, 5)) == (row.next, row.next)
    expected = [0, *itertools.accumulate(counts)]
    assert known[0] == 0
    assert known[1:200] == [None] * 199
    assert known[200:] == expected[200:]


def test_heads_of_departed_batches_are_fewer_where_there_are_many_streams(tmp_path: Path) -> None:
    """They must not fill a small journal."""
    with stored(tmp_path, 1 << 20) as store:
        for stream in range(64):
            append(store, *[b""] * 200, stream=f"s{stream}")
        while retire(store, 0).batches:
            pass
        assert {row.oldest - row.oldest_head for row in store.streams().values()} == {16}
        assert store.stat().used_bytes < 1 << 19


def test_other_things_are_not_retired(store: Store) -> None:
    with store.write() as transaction:
        transaction.set_mark(b"p", Mark(1, 2, 3))
        transaction.set_place(b"file", b"place")
        transaction.append(new_batch(LINE))
    retire(store, 0, 0)
    with store.read() as reading:
        assert reading.find_mark(b"p") == Mark(1, 2, 3)
        assert reading.places() == {b"file": b"place"}


@hypothesis_settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60_000), st.integers(0, 2)), max_size=60),
    st.integers(100_000, 2_000_000),
    st.integers(0, 60),
)
def test_what_stays_is_what_came_last(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[str, int, int]], max_bytes: int, max_age_ns: int
) -> None:
    """Each stream ends as it came, from some batch on; nothing older of one stream stays where younger of another went;
    the bounds hold."""
    with stored(tmp_path_factory.mktemp("s"), SMALL_BYTES) as store:
        clock = set_clock(store)
        came: dict[str, list[tuple[int, bytes]]] = {"a": [], "b": []}
        for stream, size_bytes, passed_ns in batches:
            clock.time_ns += passed_ns
            lines = os.urandom(4) * (size_bytes // 4)
            came[stream].append((clock.time_ns, lines))
            with store.write() as transaction:
                transaction.append(new_batch(lines, stream))
                transaction.retire(max_bytes, max_age_ns)
        clock.time_ns += 1
        retire(store, max_bytes, max_age_ns)
        gone, stay = [], []
        for stream, row in store.streams().items():
            assert row.next == len(came[stream]) + 1
            assert read_stream(store, stream) == [lines for _, lines in came[stream][row.oldest - 1 :]]
            gone += [age_ns for age_ns, _ in came[stream][: row.oldest - 1]]
            stay += [age_ns for age_ns, _ in came[stream][row.oldest - 1 :]]
        assert max(gone, default=0) <= min(stay, default=FOR_EVER_NS)
        assert all(age_ns >= clock.time_ns - max_age_ns for age_ns in stay)
        assert store.stat().used_bytes <= max_bytes


def mixed_sizes(chance: random.Random) -> Iterator[tuple[str, int]]:
    """Sizes of batches without end: phases of one kind or of all kinds, each with its kind's name."""
    while True:
        phase = chance.choice([*SIZES, "mixed"])
        left_bytes = chance.randint(1, PHASE_BYTES.get(phase, 64 << 20))
        while left_bytes > 0:
            kind = chance.choice(["small", "middle", "large"]) if phase == "mixed" else phase
            size_bytes = chance.randint(*SIZES[kind])
            left_bytes -= size_bytes + 100
            yield phase, size_bytes


@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_ring_of_mixed_sizes_goes_on(tmp_path: Path, seed: int) -> None:
    """However the free pages lie, there is room: 2 GiB through 64 MiB, in groups as they come."""
    chance = random.Random(seed)
    noise = chance.randbytes(4 << 20)
    with stored(tmp_path) as store, WriterBed(store, tmp_path) as bed:
        sent_bytes = under_way = 0
        sizes = mixed_sizes(chance)
        last: dict[str, bytes] = {}
        while sent_bytes < 2 << 30:
            phase, size_bytes = next(sizes)
            begin = chance.randint(0, len(noise) - size_bytes)
            stream = chance.choice("abcd")
            last[stream] = noise[begin : begin + size_bytes]
            bed.submit(last[stream], stream=stream)
            sent_bytes += size_bytes + 100
            under_way += 1
            if under_way >= (512 if phase in ("tiny", "small") else 16):
                assert refusals(bed.settled(under_way)) == [""] * under_way
                under_way = 0
                assert store.stat().used_bytes <= MAX_BYTES
        assert refusals(bed.settled(under_way)) == [""] * under_way
        for stream, lines in last.items():
            assert read_batch(store, stream, store.streams()[stream].next - 1) == lines
        assert store.stat().used_bytes > MAX_BYTES // 2
        assert store.stat().file_bytes <= MAX_BYTES + MAP_SLACK_BYTES
        assert (bed.health.reasons(), bed.counters.get("flowd_journal_full_total")) == ([], 0)


def test_a_journal_that_is_made_smaller_gives_way(tmp_path: Path) -> None:
    """The file stays as long as it was, without a free page in it at first; what is in it is no more than may be."""
    with stored(tmp_path, 1 << 30) as store:
        for _ in range(25):
            append(store, bytes(4 << 20))
        file_bytes = store.stat().file_bytes
        assert file_bytes > 100 << 20
    with stored(tmp_path, 8 << 20) as store, WriterBed(store, tmp_path, max_bytes=8 << 20) as bed:
        bed.submit(*[bytes(1 << 20)] * 20)
        assert refusals(bed.settled(20)) == [""] * 20
        assert store.stat().used_bytes <= 8 << 20
        assert store.stat().file_bytes <= file_bytes + (1 << 20)
        assert store.streams()["flows"].next == 46
    for _ in range(3):
        with stored(tmp_path, 8 << 20) as store, WriterBed(store, tmp_path, max_bytes=8 << 20) as bed:
            bed.submit(*[bytes(3 << 20)] * 4)
            assert refusals(bed.settled(4)) == [""] * 4
            assert store.stat().file_bytes <= file_bytes + (1 << 20)
