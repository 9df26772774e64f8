"""One write transaction of the journal: batches appended, marks, cursors and places set, the oldest batches retired.

Everything happens in the transaction alone: the rows of the streams that it changes are its own until it is committed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from heapq import heapify, heapreplace
from typing import Any, NamedTuple

from flowd.relay.journal.clock import AgeClock
from flowd.relay.journal.layout import (
    DATABASES,
    Corrupt,
    Cursor,
    Head,
    Mark,
    StreamRow,
    batch_key,
    chunk_key,
    cursor_key,
    pack_clock,
    pack_cursor,
    pack_head,
    pack_mark,
    pack_stream,
    unpack_cursor,
    unpack_head,
    unpack_mark,
)
from flowd.wire import Buffer, checksum

CLOCK_KEY, GENERATION_KEY = b"flowd.clock", b"flowd.generation"
RETIRED_MAX = 2048
"""Batches that one transaction retires: it is to stay short. What is left goes with the next ones."""
MARKS_MAX = 65536
"""Producers remembered: a node has dozens. The ones that were quiet longest are forgotten first."""
MARKS_FORGOTTEN = MARKS_MAX // 16
"""How many are forgotten at once: finding them means to look at all."""


class Shape(NamedTuple):
    """What all transactions share: the databases, sizes, and how many heads of departed batches a stream keeps."""

    databases: Mapping[str, Any]
    page_bytes: int
    chunk_bytes: int
    departed_heads: int

    def used_bytes(self, raw: Any) -> int:
        """Bytes of the pages that entries take, as a transaction of LMDB sees them."""
        pages = 0
        for name in DATABASES:
            stat = raw.stat(self.databases[name])
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return int(pages * self.page_bytes)

    def chunks(self, size_bytes: int) -> int:
        """How many values the lines of a batch take."""
        return -(-size_bytes // self.chunk_bytes)


class NewBatch(NamedTuple):
    """A decided batch: its stream, its kept lines and their number, when it was decided, and by which generation."""

    stream: str
    kept: Buffer
    kept_lines: int
    time_ns: int
    generation: int


class Placed(NamedTuple):
    """Where a batch came to stand: its sequence, and the lines of its stream before it."""

    sequence: int
    lines_before: int


class Retired(NamedTuple):
    """What went to make room, or for its age."""

    batches: int = 0
    lines: int = 0


class Transaction:
    """See the module. `rows` are the streams' rows as they are after this transaction."""

    def __init__(self, raw: Any, shape: Shape, rows: Mapping[str, StreamRow], clock: AgeClock) -> None:
        self.rows = dict(rows)
        self.generation = 0
        self._raw = raw
        self._shape = shape
        self._clock = clock
        self._before = rows
        self._heads = shape.databases["heads"]
        self._lines = shape.databases["lines"]
        self._producers = shape.databases["producers"]
        self._cursors = shape.databases["cursors"]
        self._places = shape.databases["places"]
        self._first_new: dict[str, int] = {}

    def append(self, batch: NewBatch) -> Placed:
        """Stores a batch as the next one of its stream."""
        row = self.rows.get(batch.stream) or StreamRow(1 + len(self.rows))
        self._first_new.setdefault(batch.stream, row.next)
        size_bytes = len(batch.kept)
        head = Head(
            lines_before=row.lines,
            lines=batch.kept_lines,
            time_ns=batch.time_ns,
            age_ns=self._clock.now_ns(),
            generation=batch.generation,
            size_bytes=size_bytes,
            crc=checksum(batch.kept) if size_bytes else 0,
        )
        self._raw.put(batch_key(row.number, row.next), pack_head(head), db=self._heads)
        if size_bytes <= self._shape.chunk_bytes:
            if size_bytes:
                self._raw.put(chunk_key(row.number, row.next, 0), batch.kept, db=self._lines)
        else:
            view = memoryview(batch.kept)
            step = self._shape.chunk_bytes
            for chunk in range(self._shape.chunks(size_bytes)):
                part = view[chunk * step : (chunk + 1) * step]
                self._raw.put(chunk_key(row.number, row.next, chunk), part, db=self._lines)
        self.generation = max(self.generation, batch.generation)
        placed = Placed(row.next, row.lines)
        self.rows[batch.stream] = row._replace(next=row.next + 1, lines=row.lines + batch.kept_lines)
        return placed

    def set_mark(self, producer: bytes, mark: Mark) -> None:
        """Moves a producer's mark."""
        self._raw.put(producer, pack_mark(mark), db=self._producers)
        if self._raw.stat(self._producers)["entries"] > MARKS_MAX:
            self._forget_marks()

    def find_cursor(self, consumer: str, stream: str) -> Cursor | None:
        """Where a consumer stands in a stream."""
        found = self._raw.get(cursor_key(consumer, stream), db=self._cursors)
        return None if found is None else unpack_cursor(found)

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
            self._raw.put(key, value, db=self._places)

    def used_bytes(self) -> int:
        """Bytes that entries take now."""
        return self._shape.used_bytes(self._raw)

    def retire(self, max_bytes: int, max_age_ns: int) -> Retired:
        """Removes the oldest batches, read or not, until no more than `max_bytes` are used and none is older than
        `max_age_ns`; the batches of this transaction stay. Their heads are kept for a while."""
        used_bytes = self._shape.used_bytes(self._raw)
        ages = [
            (self._age_of(row, row.oldest), name)
            for name, row in self.rows.items()
            if row.oldest < self._first_new.get(name, row.next)
        ]
        heapify(ages)
        before_ns = self._clock.now_ns() - max_age_ns
        batches = lines = 0
        while ages and batches < RETIRED_MAX and (used_bytes > max_bytes or ages[0][0] < before_ns):
            _, name = ages[0]
            lines += self._retire_oldest(name)
            batches += 1
            row = self.rows[name]
            is_old = row.oldest < self._first_new.get(name, row.next)
            heapreplace(ages, (self._age_of(row, row.oldest) if is_old else 1 << 64, name))
            if ages[0][0] == 1 << 64:
                break
            used_bytes = self._shape.used_bytes(self._raw)
        return Retired(batches, lines)

    def finish(self) -> None:
        """Writes what has changed of the streams, and the clock. The commit follows."""
        for name, row in self.rows.items():
            if self._before.get(name) is not row:
                self._raw.put(name.encode(), pack_stream(row), db=self._shape.databases["streams"])
        if self.generation:
            self._raw.put(GENERATION_KEY, str(self.generation).encode())
        self._raw.put(CLOCK_KEY, pack_clock(self._clock.now_ns(), time.time_ns()))

    def _head(self, row: StreamRow, sequence: int) -> Head | None:
        found = self._raw.get(batch_key(row.number, sequence), db=self._heads)
        if found is None:
            return None
        try:
            return unpack_head(found)
        except Corrupt:
            return None

    def _age_of(self, row: StreamRow, sequence: int) -> int:
        """When a batch was stored; one without a readable head is the first to go."""
        head = self._head(row, sequence)
        return 0 if head is None else head.age_ns

    def _retire_oldest(self, name: str) -> int:
        row = self.rows[name]
        head = self._head(row, row.oldest)
        if head is None:
            self._delete_chunks(row.number, row.oldest)
        else:
            for chunk in range(self._shape.chunks(head.size_bytes)):
                self._raw.delete(chunk_key(row.number, row.oldest, chunk), db=self._lines)
        oldest, oldest_head = row.oldest + 1, row.oldest_head
        while oldest - oldest_head > self._shape.departed_heads:
            self._raw.delete(batch_key(row.number, oldest_head), db=self._heads)
            oldest_head += 1
        self.rows[name] = row._replace(oldest=oldest, oldest_head=oldest_head)
        return 0 if head is None else head.lines

    def _delete_chunks(self, number: int, sequence: int) -> None:
        """Deletes the lines of a batch whose head does not say how many parts there are."""
        end = chunk_key(number, sequence + 1, 0)
        with self._raw.cursor(self._lines) as cursor:
            if cursor.set_range(chunk_key(number, sequence, 0)):
                while cursor.key() and bytes(cursor.key()) < end:
                    cursor.delete()

    def _forget_marks(self) -> None:
        with self._raw.cursor(self._producers) as cursor:
            quiet = sorted((unpack_mark(value).time_ns, bytes(key)) for key, value in cursor)
        for _, producer in quiet[:MARKS_FORGOTTEN]:
            self._raw.delete(producer, db=self._producers)
