"""The journal's records as bytes, and its clock: what is written comes back, and time never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.relay.journal.clock import AgeClock
from flowd.relay.journal.layout import (
    Corrupt,
    Cursor,
    Head,
    Mark,
    StreamRow,
    batch_key,
    cursor_key,
    pack_cursor,
    pack_head,
    pack_mark,
    pack_stream,
    part_bytes,
    part_key,
    seal,
    split_batch_key,
    split_cursor_key,
    split_part_key,
    unpack_cursor,
    unpack_head,
    unpack_mark,
    unpack_stream,
)
from flowd.wire.limits import PAYLOAD_MAX_BYTES

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
RECORDS: list[tuple[st.SearchStrategy[Any], Callable[[Any], bytes], Callable[[bytes], Any]]] = [
    (st.builds(StreamRow, U32, U64, U64, U64, U64), pack_stream, unpack_stream),
    (st.builds(Head, U64, U32, U64, U64, U32, U32, U32, U16, st.none() | st.tuples(U64, U64)), pack_head, unpack_head),
    (st.builds(Mark, U64, U64, U64), pack_mark, unpack_mark),
    (st.builds(Cursor, U64, U64, st.none() | U64, U64, U64), pack_cursor, unpack_cursor),
]
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
DAY_NS = 86_400 * 10**9


class Times:
    """A wall clock and a steady one, in nanoseconds, that tests set."""

    def __init__(self, wall_ns: int, steady_ns: int) -> None:
        self.wall_ns = wall_ns
        self.steady_ns = steady_ns

    def start(self, stored: tuple[int, int] | None) -> AgeClock:
        """A journal's clock at a start of the daemon."""
        return AgeClock(stored, lambda: self.wall_ns, lambda: self.steady_ns)


@given(st.data())
def test_records_come_back_as_they_were_written(data: st.DataObject) -> None:
    for records, pack, unpack in RECORDS:
        record = data.draw(records)
        assert unpack(pack(record)) == record
        assert unpack(memoryview(pack(record))) == record


@given(st.data(), st.integers(0), st.integers(1, 255))
def test_a_record_with_any_byte_changed_is_corrupt(data: st.DataObject, place: int, change: int) -> None:
    for records, pack, unpack in RECORDS:
        packed = bytearray(pack(data.draw(records)))
        packed[place % len(packed)] ^= change
        with pytest.raises(Corrupt):
            unpack(packed)


@pytest.mark.parametrize("value", [b"", b"x", bytes(4), bytes(100), seal(bytes(100))])
def test_what_has_another_length_is_no_record(value: bytes) -> None:
    for _, _, unpack in RECORDS:
        with pytest.raises(Corrupt):
            unpack(value)


@given(st.lists(st.tuples(U32, U64, U16)))
def test_keys_sort_by_stream_then_sequence_then_part(places: list[tuple[int, int, int]]) -> None:
    assert [split_part_key(key) for key in sorted(part_key(*place) for place in places)] == sorted(places)
    batches = [place[:2] for place in places]
    assert [split_batch_key(key) for key in sorted(batch_key(*batch) for batch in batches)] == sorted(batches)


@given(NAMES, NAMES)
def test_cursors_keys_come_apart_again(consumer: str, stream: str) -> None:
    assert split_cursor_key(cursor_key(consumer, stream)) == (consumer, stream)


def test_the_largest_batch_has_a_key_for_each_page() -> None:
    assert -(-PAYLOAD_MAX_BYTES // part_bytes(4096, 1)) < 1 << 16


def test_the_clock_goes_on_over_a_restart() -> None:
    times = Times(wall_ns=1_000, steady_ns=50)
    clock = times.start(None)
    assert clock.now_ns() == 0
    times.wall_ns, times.steady_ns = 1_500, 550
    stored = clock.now_ns(), times.wall_ns
    assert stored == (500, 1_500)
    times.wall_ns, times.steady_ns = 2_500, 7  # another start of the system, an hour later
    assert times.start(stored).now_ns() == 1_500


@pytest.mark.parametrize("jump_ns", [DAY_NS, -DAY_NS])
def test_a_wall_clock_that_is_set_while_it_runs_changes_nothing(jump_ns: int) -> None:
    times = Times(wall_ns=10 * DAY_NS, steady_ns=3)
    clock = times.start((7, 10 * DAY_NS))
    times.wall_ns += jump_ns
    times.steady_ns += 5
    assert clock.now_ns() == 12


def test_a_wall_clock_that_went_back_over_a_restart_does_not_take_the_journals_back() -> None:
    times = Times(wall_ns=9 * DAY_NS, steady_ns=0)
    assert times.start((DAY_NS, 10 * DAY_NS)).now_ns() == DAY_NS


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.booleans()), max_size=30))
def test_the_clock_never_goes_back(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever the wall clock does, while it runs and over restarts."""
    times = Times(wall_ns=10**9, steady_ns=0)
    clock = times.start(None)
    before_ns = clock.now_ns()
    for wall_ns, steady_ns, is_restart in steps:
        stored = clock.now_ns(), times.wall_ns
        times.wall_ns += wall_ns
        times.steady_ns += steady_ns
        if is_restart:
            times.steady_ns = steady_ns
            clock = times.start(stored)
        assert clock.now_ns() >= before_ns
        before_ns = clock.now_ns()


def test_the_systems_own_clocks_are_read_where_none_are_given() -> None:
    clock = AgeClock(None)
    assert 0 <= clock.now_ns() <= clock.now_ns()
