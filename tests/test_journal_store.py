"""The journal's transactions and what they leave to be read: batches, marks, cursors, places, and finding one's way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_bed import (
    append,
    new_batch,
    read_batch,
    read_stream,
    retire,
    set_clock,
    stored,
)

from flowd.relay.journal.layout import (
    FORMAT_KEY,
    Corrupt,
    Cursor,
    Head,
    Mark,
    StreamRow,
    batch_key,
    cursor_key,
    part_bytes,
    part_key,
)
from flowd.relay.journal.store import PROBE_PREFIX, Store
from flowd.relay.journal.transaction import Placed, Retired, Transaction
from flowd.wire import checksum
from flowd.wire.limits import PAYLOAD_MAX_BYTES

LINE = b"line\n"
PART = part_bytes(4096)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stored(tmp_path) as store:
        yield store


def overwrite(store: Store, database: str, key: bytes, place: int) -> None:
    """Changes one byte of a value, as a bad disk would."""
    with store.environment.begin(write=True) as raw:
        value = bytearray(raw.get(key, db=store.databases[database]))
        value[place] ^= 1
        raw.put(key, value, db=store.databases[database])


class Stopped(Exception):
    """What tests abort a transaction with."""


def test_batches_have_consecutive_sequences_and_cumulative_lines_in_their_stream(store: Store) -> None:
    assert append(store, LINE * 2, b"", LINE) == [Placed(1, 0), Placed(2, 2), Placed(3, 2)]
    assert append(store, LINE * 7, stream="dns") == [Placed(1, 0)]
    assert append(store, LINE) == [Placed(4, 3)]
    assert store.streams() == {"flows": StreamRow(1, 5, 4), "dns": StreamRow(2, 2, 7)}
    assert (store.stream("dns"), store.stream("audit")) == (StreamRow(2, 2, 7), None)
    assert read_stream(store) == [LINE * 2, b"", LINE, LINE]


def test_a_head_says_all_that_is_known_of_a_batch(store: Store) -> None:
    set_clock(store, 77)
    with store.write() as transaction:
        transaction.append(new_batch(LINE * 2, time_ns=5, generation=3))
        transaction.append(new_batch(b"", time_ns=6, generation=4))
        transaction.append(new_batch(LINE, time_ns=7, generation=4)._replace(crc=9))
    row = store.streams()["flows"]
    with store.read() as reading:
        assert [reading.head(row, sequence) for sequence in (1, 2, 3, 4)] == [
            Head(0, 2, 5, 77, 3, 10, checksum(LINE * 2), 1),
            Head(2, 0, 6, 77, 4, 0, 0, 0),
            Head(2, 1, 7, 77, 4, 5, 9, 1),
            None,
        ]
    assert store.generation == 4


def test_records_times_are_kept_and_raise_the_journals_format(tmp_path: Path) -> None:
    """A flowd that knows no such times leaves the journal alone; one without them is as it always was."""

    def find_format(store: Store) -> bytes | None:
        with store.environment.begin() as transaction:
            return transaction.get(FORMAT_KEY)

    with stored(tmp_path) as store:
        append(store, LINE)
        assert find_format(store) == b"1"
        with store.write() as transaction:
            transaction.append(new_batch(LINE)._replace(record_times_ns=(5, (1 << 64) - 1)))
        assert find_format(store) == b"2"
        append(store, LINE)
    with stored(tmp_path) as store:
        store.turn_over()
        append(store, LINE)
        assert find_format(store) == b"2"
        row = store.streams()["flows"]
        with store.read() as reading:
            heads = [reading.head(row, sequence) for sequence in (1, 2, 3)]
        assert [head and head.record_times_ns for head in heads] == [None, (5, (1 << 64) - 1), None]


@pytest.mark.parametrize("is_paged", [False, True])
@pytest.mark.parametrize(
    "size_bytes", [0, 1, 2_000, 2_100, 4080, 4081, PART - 1, PART, PART + 1, 3 * PART, PAYLOAD_MAX_BYTES]
)
def test_lines_come_back_byte_for_byte(store: Store, size_bytes: int, is_paged: bool) -> None:
    lines = bytes(itertools.islice(itertools.cycle(range(251)), size_bytes))
    with store.write(is_paged=is_paged) as transaction:
        transaction.append(new_batch(lines))
        transaction.append(new_batch(memoryview(lines)[1:].tobytes()))
    assert read_stream(store) == [lines, lines[1:]]


def test_an_aborted_transaction_leaves_everything_as_it_was(store: Store) -> None:
    append(store, LINE)
    before = store.streams()

    def do_everything(transaction: Transaction) -> None:
        assert transaction.append(new_batch(LINE, generation=9)) == Placed(2, 1)
        transaction.append(new_batch(LINE, "dns"))
        transaction.set_mark(b"p", Mark(1, 1, 1))
        transaction.set_cursor("siem", "flows", Cursor(1, 1, 1, 1, 1))
        transaction.set_place(b"file", b"place")
        transaction.retire(0, 0)
        raise Stopped

    with pytest.raises(Stopped), store.write() as transaction:
        do_everything(transaction)
    assert store.streams() == before == {"flows": StreamRow(1, 2, 1)}
    assert (store.generation, store.stat().batches) == (1, 1)
    with store.read() as reading:
        assert reading.find_mark(b"p") is None
        assert (reading.cursors(), reading.places()) == ({}, {})
    assert append(store, LINE) == [Placed(2, 1)]


def test_everything_is_there_after_the_journal_was_closed(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        append(store, LINE * 3, LINE)
        with store.write() as transaction:
            transaction.append(new_batch(LINE, "dns", generation=5))
            transaction.set_mark(b"p", Mark(1, 2, 3))
            transaction.set_cursor("siem", "flows", Cursor(4, 5, 6, 7, 8))
            transaction.set_place(b"file", b"place")
        epoch, rows = store.epoch, store.streams()
    with stored(tmp_path) as store:
        assert (store.epoch, store.streams(), store.generation) == (epoch, rows, 5)
        assert read_stream(store) == [LINE * 3, LINE]
        with store.read() as reading:
            assert reading.find_mark(b"p") == Mark(1, 2, 3)
            assert reading.cursors() == {("siem", "flows"): Cursor(4, 5, 6, 7, 8)}
            assert reading.places() == {b"file": b"place"}
        assert append(store, LINE) == [Placed(3, 4)]


def test_a_reading_sees_one_moment(store: Store) -> None:
    append(store, LINE)
    with store.read() as reading:
        append(store, LINE)
        assert reading.stream("flows") == StreamRow(1, 2, 1)
        assert store.stream("flows") == StreamRow(1, 3, 2)
        assert reading.stream("dns") is None


def test_marks_move_and_the_last_one_of_a_transaction_counts(store: Store) -> None:
    with store.write() as transaction:
        transaction.set_mark(b"a", Mark(1, 1, 1))
        transaction.set_mark(b"a", Mark(1, 2, 1))
    with store.write() as transaction:
        transaction.set_mark(b"b", Mark(7, 9, 1))
    with store.read() as reading:
        assert [reading.find_mark(name) for name in (b"a", b"b", b"c")] == [Mark(1, 2, 1), Mark(7, 9, 1), None]


def test_marks_are_bounded_and_the_quietest_are_forgotten_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.relay.journal.transaction.MARKS_MAX", 8)
    monkeypatch.setattr("flowd.relay.journal.transaction.MARKS_FORGOTTEN", 3)
    with store.write() as transaction:
        for n in range(8):
            transaction.set_mark(b"%d" % n, Mark(1, n, 100 - n))
    with store.write() as transaction:
        transaction.set_mark(b"new", Mark(1, 1, 1))  # by a clock that was set back it is the quietest
        transaction.set_mark(b"7", Mark(1, 8, 200))
    with store.read() as reading:
        found = {name for name in [b"%d" % n for n in range(8)] + [b"new"] if reading.find_mark(name) is not None}
    assert found == {b"0", b"1", b"2", b"3", b"4", b"7", b"new"}
    assert store.stat().producers == 7


def test_cursors_are_kept_by_consumer_and_stream(store: Store) -> None:
    first, second = Cursor(1, 2, None, 0, 5), Cursor(2, 3, 4, 5, 6)
    with store.write() as transaction:
        transaction.set_cursor("siem", "flows", first)
        transaction.set_cursor("siem", "dns", second)
        assert (transaction.find_cursor("siem", "flows"), transaction.cursors_count()) == (first, 2)
    with store.read() as reading:
        assert reading.cursors() == {("siem", "flows"): first, ("siem", "dns"): second}
    with store.write() as transaction:
        assert transaction.delete_cursor("siem", "flows")
        assert not transaction.delete_cursor("siem", "flows")
    assert store.stat().cursors == 1


def test_places_are_set_and_forgotten(store: Store) -> None:
    with store.write() as transaction:
        transaction.set_place(b"a", b"1")
        transaction.set_place(b"b", b"2")
    with store.write() as transaction:
        transaction.set_place(b"a", b"3")
        transaction.set_place(b"b", None)
        transaction.set_place(b"c", None)
    with store.read() as reading:
        assert reading.places() == {b"a": b"3"}


def test_lines_that_are_not_what_was_written_are_corrupt(store: Store) -> None:
    append(store, b"x" * PART + LINE, LINE, LINE)
    row = store.streams()["flows"]
    overwrite(store, "lines", part_key(row.number, 1, 1), 2)
    with store.environment.begin(write=True) as raw:
        assert raw.delete(part_key(row.number, 2, 0), db=store.databases["lines"])
    for sequence, said in ((1, "the lines of batch 1 are damaged"), (2, "a part of batch 2 is missing")):
        with pytest.raises(Corrupt, match=said):
            read_batch(store, "flows", sequence)
    assert read_batch(store, "flows", 3) == LINE


def test_a_damaged_head_is_passed_over(store: Store) -> None:
    clock = set_clock(store)
    for n in range(1, 6):
        clock.time_ns = n
        append(store, LINE * n)
    row = store.streams()["flows"]
    for sequence in (3, 4):
        overwrite(store, "heads", batch_key(row.number, sequence), 0)
    with pytest.raises(Corrupt, match="a batch's head is damaged"):
        read_batch(store, "flows", 3)
    with store.read() as reading:
        assert [reading.lines_before(row, n) for n in range(1, 7)] == [0, 1, 3, None, 10, 15]
        assert [reading.age_of(row, n) for n in range(1, 6)] == [1, 2, 0, 0, 5]
        assert [reading.find_age(row, n) for n in range(1, 7)] == [1, 2, 5, 5, 5, 6]
    assert retire(store, 0) == Retired(5, 1 + 2 + 5)
    with store.environment.begin() as raw:
        assert raw.stat(store.databases["lines"])["entries"] == 0


def test_damaged_marks_cursors_and_places(store: Store) -> None:
    with store.write() as transaction:
        transaction.set_mark(b"p", Mark(1, 2, 3))
        transaction.set_place(b"a", b"1")
        for consumer in ("siem", "other"):
            transaction.set_cursor(consumer, "flows", Cursor(1, 2, 3, 4, 5))
    for database, key in (("producers", b"p"), ("places", b"a"), ("cursors", cursor_key("siem", "flows"))):
        overwrite(store, database, key, 0)
    with store.read() as reading:
        with pytest.raises(Corrupt, match="a producer's mark is damaged"):
            reading.find_mark(b"p")
        assert reading.cursors() == {("other", "flows"): Cursor(1, 2, 3, 4, 5)}
        assert reading.places() == {b"a": b""}
    with store.write() as transaction:
        assert transaction.find_cursor("siem", "flows") is None


def test_damaged_pages_are_corrupt_too(tmp_path: Path) -> None:
    """What LMDB itself notices ends neither a consumer's thread nor the daemon."""
    with stored(tmp_path) as store:
        append(store, *[bytes([n]) * 600 for n in range(1, 200)])
        row = store.streams()["flows"]
    data = tmp_path / "journal" / "data.mdb"
    found = bytearray(data.read_bytes())
    page = found.rindex(b"\x64" * 600) & ~4095
    found[page : page + 4096] = b"\xff" * 4096
    data.write_bytes(found)
    with stored(tmp_path) as store:
        with pytest.raises(Corrupt, match="the journal's pages are damaged"):
            read_batch(store, "flows", 0x64)
        assert read_batch(store, "flows", 1) == b"\x01" * 600
        assert store.streams()["flows"] == row


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40), st.integers(0, 40), st.data())
def test_places_are_found_as_a_search_through_all_batches_finds_them(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[int, int]], retired: int, data: st.DataObject
) -> None:
    """`find_age`, `find_last` and `lines_before` against plain lists of (age, lines)."""
    with stored(tmp_path_factory.mktemp("s"), 1 << 20) as store:
        clock = set_clock(store)
        ages, counts = [], []
        for passed_ns, lines in batches:
            clock.time_ns += passed_ns
            append(store, LINE * lines)
            ages.append(clock.time_ns)
            counts.append(lines)
        gone = min(retired, len(batches))
        with store.write() as transaction:
            for _ in range(gone):
                transaction._retire_oldest("flows")
        row = store.stream("flows") or StreamRow(1)
        end = len(batches) + 1
        assert (row.oldest, row.next, row.lines) == (1 + gone, end, sum(counts))
        with store.read() as reading:
            age_ns = data.draw(st.integers(0, clock.time_ns + 1))
            by_age = (n for n in range(row.oldest, end) if ages[n - 1] >= age_ns)
            assert reading.find_age(row, age_ns) == next(by_age, end)
            last = data.draw(st.integers(0, sum(counts) + 1))
            by_lines = (n for n in range(row.oldest, end) if sum(counts[:n]) > max(0, sum(counts) - last))
            assert reading.find_last(row, last) == next(by_lines, end)
            assert [reading.lines_before(row, n + 1) for n in range(end)] == [*itertools.accumulate(counts, initial=0)]


def test_a_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        append(store, LINE)
        used = store.stat()
        store.probe(1 << 20)
        assert store.stat()._replace(file_bytes=0) == used._replace(file_bytes=0)
        with store.environment.begin(write=True) as raw:
            assert [key for key, _ in raw.cursor() if key.startswith(PROBE_PREFIX)] == []
            raw.put(PROBE_PREFIX + b"7", b"left by one that was killed")
    with stored(tmp_path) as store, store.environment.begin() as raw:
        assert [key for key, _ in raw.cursor() if key.startswith(PROBE_PREFIX)] == []


def test_a_probe_of_more_than_there_is_room_for_raises(tmp_path: Path) -> None:
    with stored(tmp_path, 1 << 20) as store:
        with pytest.raises(lmdb.MapFullError):
            store.probe(100 << 20)
        append(store, LINE)


def test_stat_counts_what_is_stored(store: Store) -> None:
    append(store, *[LINE * 1000] * 10)
    with store.write() as transaction:
        transaction.set_mark(b"p", Mark(1, 1, 1))
        transaction.set_cursor("c", "s", Cursor(1, 1, None, 0, 1))
        for _ in range(4):
            transaction._retire_oldest("flows")
    stat = store.stat()
    assert (stat.batches, stat.producers, stat.cursors) == (6, 1, 1)
    assert 6 * 5000 < stat.used_bytes < 6 * 5000 + 20 * 4096
    assert stat.file_bytes == (store.directory / "data.mdb").stat().st_size >= stat.used_bytes


def test_who_gives_way_waits_while_a_transaction_is_filled(store: Store) -> None:
    store.give_way()
    went_on = threading.Event()

    def wait() -> None:
        store.give_way()
        went_on.set()

    waiting = threading.Thread(target=wait, daemon=True)
    with store.write() as transaction:
        waiting.start()
        transaction.append(new_batch(LINE))
        assert not went_on.wait(0.1)
    assert went_on.wait(10)
    with pytest.raises(ZeroDivisionError), store.write():
        _ = 1 // 0
    store.give_way()


def test_a_reader_that_stays_is_found(store: Store) -> None:
    append(store, LINE)
    with store.read():
        assert store.find_holders() == []
        append(store, LINE)
        append(store, LINE)
        assert len(store.find_holders()) == 1
    assert store.find_holders() == []
