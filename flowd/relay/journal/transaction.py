"""One write transaction of the journal: batches appended, marks, cursors and places set, the oldest batches retired.

Everything happens in the transaction alone: the rows of the streams that it changes are its own until it is committed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple

from flowd.relay.journal.clock import AgeClock
from flowd.relay.journal.layout import (
    DATABASES,
    FORMAT,
    FORMAT_KEY,
    FORMAT_RECORD_TIMES,
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
    unpack_cursor,
    unpack_head,
    unpack_mark,
)
from flowd.wire import Buffer, checksum

GENERATION_KEY = b"flowd.generation"
HEAD_COST_BYTES = 128
"""A head and its key, with what a page that is not full costs."""
KEY_COST_BYTES = 64
"""The key of a batch's lines, with the same."""
RETIRED_MAX = 2048
"""Batches that one transaction retires: it is to stay short. What is left goes with the next ones. More go only where
the transaction has added more than that frees: a journal of many small batches must not grow while large ones come."""
COUNTED_BATCHES = 64
"""So often it is looked how much retiring has freed; between, it is estimated: for batches that share pages that can be
wrong by half."""
COUNTED_TRANSACTIONS = 64
"""So often the pages of all databases are counted; between, those of the two that grow with each batch."""
DEPARTED_HEADS_MAX = 16384
"""Heads kept of a stream's batches whose lines are gone: what a consumer missed is counted from them."""
DEPARTED_HEADS_LEAST = 16
"""Each stream keeps so many, however many streams there are."""
BULK = ("lines", "heads")
"""What grows with each batch."""
REST = tuple(name for name in DATABASES if name not in BULK)
MARKS_MAX = 65536
"""Producers remembered: a node has dozens. The ones that were quiet longest are forgotten first."""
MARKS_FORGOTTEN = MARKS_MAX // 16
"""How many are forgotten at once: finding them means to look at all."""

log = logging.getLogger(__name__)


class Shape(NamedTuple):
    """What all transactions share: the databases, the size of a page, and how many heads of departed batches are kept,
    all streams together."""

    databases: Mapping[str, Any]
    page_bytes: int
    departed_heads: int

    def used_bytes(self, raw: Any, names: Iterable[str] = DATABASES) -> int:
        """Bytes of the pages that entries of these databases take, as a transaction of LMDB sees them."""
        pages = 0
        for name in names:
            stat = raw.stat(self.databases[name])
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * self.page_bytes)

    def freed(self, size_bytes: int) -> int:
        """What is free when a batch's lines of this size are gone: whole pages, and no fewer are, where they are many;
        about a part of one else, its key's included."""
        if self.shares_pages(size_bytes):
            return size_bytes + KEY_COST_BYTES
        return -(-size_bytes // self.page_bytes) * self.page_bytes

    def shares_pages(self, size_bytes: int) -> bool:
        """Whether the lines of a batch of this size lie in a page with those of others."""
        return size_bytes < self.page_bytes // 2

    def departed(self, streams: int) -> int:
        """How many heads of departed batches each of so many streams keeps."""
        return min(DEPARTED_HEADS_MAX, max(DEPARTED_HEADS_LEAST, self.departed_heads // max(1, streams)))


class NewBatch(NamedTuple):
    """A decided batch: its stream, its kept lines and their number, when it was decided, by which generation, the kept
    lines' crc32 where it is known, and the first and the last of its records' own times where they have any."""

    stream: str
    kept: Buffer
    kept_lines: int
    time_ns: int
    generation: int
    crc: int | None = None
    record_times_ns: tuple[int, int] | None = None


class Placed(NamedTuple):
    """Where a batch came to stand: its sequence, and the lines of its stream before it."""

    sequence: int
    lines_before: int


class Retired(NamedTuple):
    """What went to make room, or for its age."""

    batches: int = 0
    lines: int = 0


class State(NamedTuple):
    """What is known of the journal between two transactions: the streams' rows, how many bytes are used (but for a few
    pages), the sequence and head of each stream's oldest batch (None: not readable), and the newest generation that
    decided. `rest_bytes` is the part of all databases but BULK, as of `rest_left` transactions before it is counted
    again. `format` is the journal's."""

    rows: Mapping[str, StreamRow]
    used_bytes: int
    oldest: Mapping[str, tuple[int, Head | None]]
    generation: int
    rest_bytes: int = 0
    rest_left: int = 0
    format: int = FORMAT


class Transaction:
    """See the module. `state` is what is known after it, once it is committed. With `is_paged` lines are cut into parts
    of one page each, for where free pages do not lie side by side."""

    def __init__(self, raw: Any, shape: Shape, state: State, clock: AgeClock, *, is_paged: bool = False) -> None:
        self._raw = raw
        self._shape = shape
        self._clock = clock
        self._before = state
        self._rows = dict(state.rows)
        self._used_bytes: int | None = None
        self._rest_bytes = state.rest_bytes
        self._rest_left = state.rest_left
        self._oldest = dict(state.oldest)
        self._generation = state.generation
        self._format = state.format
        self._part_bytes = part_bytes(shape.page_bytes, 1) if is_paged else part_bytes(shape.page_bytes)
        self._heads = shape.databases["heads"]
        self._lines = shape.databases["lines"]
        self._producers = shape.databases["producers"]
        self._cursors = shape.databases["cursors"]
        self._places = shape.databases["places"]
        self._first_new: dict[str, int] = {}
        self._marks: dict[bytes, Mark] = {}

    @property
    def state(self) -> State:
        """What is known after this transaction."""
        used_bytes = self._before.used_bytes if self._used_bytes is None else self._used_bytes
        rest_left = COUNTED_TRANSACTIONS if not self._rest_left else self._rest_left - 1
        return State(self._rows, used_bytes, self._oldest, self._generation, self._rest_bytes, rest_left, self._format)

    def append(self, batch: NewBatch) -> Placed:
        """Stores a batch as the next one of its stream."""
        row = self._rows.get(batch.stream) or StreamRow(1 + len(self._rows))
        self._first_new.setdefault(batch.stream, row.next)
        size_bytes = len(batch.kept)
        head = Head(
            lines_before=row.lines,
            lines=batch.kept_lines,
            time_ns=batch.time_ns,
            age_ns=self._clock.now_ns(),
            generation=batch.generation,
            size_bytes=size_bytes,
            crc=0 if not size_bytes else batch.crc if batch.crc is not None else checksum(batch.kept),
            parts=-(-size_bytes // self._part_bytes),
            record_times_ns=batch.record_times_ns,
        )
        if batch.record_times_ns is not None:
            self._format = FORMAT_RECORD_TIMES
        self._raw.put(batch_key(row.number, row.next), pack_head(head), db=self._heads)
        if head.parts == 1:
            self._raw.put(part_key(row.number, row.next, 0), batch.kept, db=self._lines)
        else:
            view = memoryview(batch.kept)
            for part in range(head.parts):
                lines = view[part * self._part_bytes : (part + 1) * self._part_bytes]
                self._raw.put(part_key(row.number, row.next, part), lines, db=self._lines)
        self._generation = max(self._generation, batch.generation)
        placed = Placed(row.next, row.lines)
        lines_after = row.lines + batch.kept_lines
        self._rows[batch.stream] = StreamRow(row.number, row.next + 1, lines_after, row.oldest, row.oldest_head)
        return placed

    def set_mark(self, producer: bytes, mark: Mark) -> None:
        """Moves a producer's mark."""
        self._marks[producer] = mark

    def find_cursor(self, consumer: str, stream: str) -> Cursor | None:
        """Where a consumer stands in a stream. A damaged cursor is none: who had it begins as its ATTACH says."""
        found = self._raw.get(cursor_key(consumer, stream), db=self._cursors)
        if found is None:
            return None
        try:
            return unpack_cursor(found)
        except Corrupt as error:
            log.error("journal: %s of stream %s: %s; it begins anew", consumer, stream, error)
            return None

    def set_cursor(self, consumer: str, stream: str, cursor: Cursor) -> None:
        """Moves a consumer's cursor."""
        self._raw.put(cursor_key(consumer, stream), pack_cursor(cursor), db=self._cursors)

    def cursors_count(self) -> int:
        """How many places of consumers are kept."""
        return int(self._raw.stat(self._cursors)["entries"])

    def delete_cursor(self, consumer: str, stream: str) -> bool:
        """Forgets a consumer's place in a stream; False where it has none."""
        return bool(self._raw.delete(cursor_key(consumer, stream), db=self._cursors))

    def set_place(self, key: bytes, value: bytes | None) -> None:
        """Keeps what the tail source wants to be kept; None forgets it."""
        if value is None:
            self._raw.delete(key, db=self._places)
        else:
            self._raw.put(key, seal(value), db=self._places)

    def used_bytes(self) -> int:
        """Bytes that entries take now."""
        if not self._rest_left:
            growth_bytes = len(REST) * self._shape.page_bytes
            self._rest_bytes = self._shape.used_bytes(self._raw, REST) + growth_bytes
        self._used_bytes = found = self._rest_bytes + self._shape.used_bytes(self._raw, BULK)
        return found

    def retire(self, max_bytes: int, max_age_ns: int) -> Retired:
        """Removes the oldest batches, read or not, until no more than `max_bytes` are used and none is older than
        `max_age_ns`; the batches of this transaction stay. Their heads are kept for a while.

        Not all at once: see RETIRED_MAX. But what is used afterwards is no more than before, or than `max_bytes`."""
        before_ns = self._clock.now_ns() - max_age_ns
        most_bytes = max(max_bytes, self._before.used_bytes)
        ages = [(self._find_age(name), name) for name in self._rows if self._has_old(name)]
        heapify(ages)
        batches = lines = 0
        is_estimate = False
        used_bytes = self.used_bytes()
        while ages and (used_bytes > most_bytes or batches < RETIRED_MAX):
            age_ns, name = ages[0]
            if used_bytes <= max_bytes and age_ns >= before_ns:
                break
            head = self._retire_oldest(name)
            batches += 1
            lines += 0 if head is None else head.lines
            if self._has_old(name):
                heapreplace(ages, (self._find_age(name), name))
            else:
                heappop(ages)
            if head is None:
                is_estimate = True
            else:
                is_estimate |= self._shape.shares_pages(head.size_bytes)
                used_bytes -= self._shape.freed(head.size_bytes)
            if is_estimate and (used_bytes <= max_bytes or not batches % COUNTED_BATCHES):
                used_bytes = self.used_bytes()
                is_estimate = False
        self._used_bytes = used_bytes
        return Retired(batches, lines)

    def finish(self) -> None:
        """Writes what has changed of marks and streams. The commit follows."""
        for producer, mark in self._marks.items():
            self._raw.put(producer, pack_mark(mark), db=self._producers)
        if self._marks and self._raw.stat(self._producers)["entries"] > MARKS_MAX:
            self._forget_marks()
        for name, row in self._rows.items():
            if self._before.rows.get(name) is not row:
                self._raw.put(name.encode(), pack_stream(row), db=self._shape.databases["streams"])
        if self._format != self._before.format:
            self._raw.put(FORMAT_KEY, str(self._format).encode())
        if self._generation != self._before.generation:
            self._raw.put(GENERATION_KEY, str(self._generation).encode())
        if self._used_bytes is None:
            self.used_bytes()

    def _has_old(self, name: str) -> bool:
        """Whether a stream has batches from before this transaction."""
        row = self._rows[name]
        return row.oldest < self._first_new.get(name, row.next)

    def _find_age(self, name: str) -> int:
        """When a stream's oldest batch was stored, by the journal's clock; one without a readable head goes first."""
        head = self._oldest_head(name)
        return 0 if head is None else head.age_ns

    def _oldest_head(self, name: str) -> Head | None:
        row = self._rows[name]
        known = self._oldest.get(name)
        if known is None or known[0] != row.oldest:
            known = self._oldest[name] = row.oldest, self._head(row, row.oldest)
        return known[1]

    def _head(self, row: StreamRow, sequence: int) -> Head | None:
        found = self._raw.get(batch_key(row.number, sequence), db=self._heads)
        if found is None:
            return None
        try:
            return unpack_head(found)
        except Corrupt:
            return None

    def _retire_oldest(self, name: str) -> Head | None:
        row = self._rows[name]
        head = self._oldest_head(name)
        if head is None:
            self._delete_parts(row.number, row.oldest)
        else:
            for part in range(head.parts):
                self._raw.delete(part_key(row.number, row.oldest, part), db=self._lines)
        oldest, oldest_head = row.oldest + 1, row.oldest_head
        departed = self._shape.departed(len(self._rows))
        while oldest - oldest_head > departed:
            self._raw.delete(batch_key(row.number, oldest_head), db=self._heads)
            oldest_head += 1
        self._rows[name] = StreamRow(row.number, row.next, row.lines, oldest, oldest_head)
        return head

    def _delete_parts(self, number: int, sequence: int) -> None:
        """Deletes the lines of a batch whose head does not say how many parts there are."""
        end = part_key(number, sequence + 1, 0)
        with self._raw.cursor(self._lines) as cursor:
            if cursor.set_range(part_key(number, sequence, 0)):
                while cursor.key() and bytes(cursor.key()) < end:
                    cursor.delete()

    def _forget_marks(self) -> None:
        with self._raw.cursor(self._producers) as cursor:
            quiet = sorted((_heard_ns(value), bytes(key)) for key, value in cursor)
        for _, producer in quiet[:MARKS_FORGOTTEN]:
            if producer not in self._marks:  # who speaks now may look quiet, by a clock that was set back
                self._raw.delete(producer, db=self._producers)


def _heard_ns(mark: bytes) -> int:
    """When a producer was heard last; long ago, where its mark is damaged."""
    try:
        return unpack_mark(mark).time_ns
    except Corrupt:
        return 0
