"""What is stored, as one moment's transaction sees it: batches, places found by time or by lines, marks and cursors.

Lines are lent: they are valid as long as the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import lmdb

from flowd.relay.journal.layout import (
    Corrupt,
    Cursor,
    Head,
    Mark,
    StreamRow,
    batch_key,
    part_key,
    split_cursor_key,
    unpack_cursor,
    unpack_head,
    unpack_mark,
    unpack_stream,
    unseal,
)
from flowd.wire import Buffer, checksum

if TYPE_CHECKING:
    from flowd.relay.journal.transaction import Shape


DAMAGED = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.BadTxnError)
"""What LMDB raises for pages that are not what was written; the last one for what comes after in the same moment."""


class Reading:
    """A moment of the journal. Belongs to one thread, and ends with its block."""

    def __init__(self, raw: Any, shape: Shape) -> None:
        self._raw = raw
        self._shape = shape
        self._databases = shape.databases

    def stream(self, name: str) -> StreamRow | None:
        """Where a stream stands at this moment, which `Store.stream` may be behind or ahead of. Raises Corrupt."""
        found = self._get("streams", name.encode())
        return None if found is None else unpack_stream(found)

    def head(self, row: StreamRow, sequence: int) -> Head | None:
        """A batch's head; None where it is not stored. Raises Corrupt."""
        found = self._get("heads", batch_key(row.number, sequence))
        return None if found is None else unpack_head(found)

    def lines(self, row: StreamRow, sequence: int, head: Head) -> Buffer:
        """A batch's kept lines, lent from the file where they lie in one piece. Raises Corrupt where they are not what
        was written."""
        if not head.size_bytes:
            return b""
        parts = []
        for number in range(head.parts):
            part = self._get("lines", part_key(row.number, sequence, number))
            if part is None:
                raise Corrupt(f"a part of batch {sequence} is missing")
            parts.append(part)
        lines: Buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(lines) != head.size_bytes or checksum(lines) != head.crc:
            raise Corrupt(f"the lines of batch {sequence} are damaged")
        return lines

    def lines_before(self, row: StreamRow, sequence: int) -> int | None:
        """How many lines of the stream come before a batch, which may be gone; None where nothing is known of it."""
        if sequence <= 1:
            return 0
        if sequence >= row.next:
            return row.lines
        head = self._find_head(row, sequence)
        if head is not None:
            return head.lines_before
        before = self._find_head(row, sequence - 1)
        return None if before is None else before.lines_before + before.lines

    def age_of(self, row: StreamRow, sequence: int) -> int:
        """When a batch was stored, by the journal's clock; 0 for one without a readable head."""
        head = self._find_head(row, sequence)
        return 0 if head is None else head.age_ns

    def find_age(self, row: StreamRow, age_ns: int) -> int:
        """The first batch that was stored then or later, by the journal's clock; the next one where none was."""
        return self._bisect(row, lambda head: head.age_ns >= age_ns)

    def find_last(self, row: StreamRow, lines: int) -> int:
        """The batch that holds the stream's n-th line from the end; the oldest where there are fewer."""
        wanted = max(0, row.lines - lines)
        return self._bisect(row, lambda head: head.lines_before + head.lines > wanted)

    def find_mark(self, producer: bytes) -> Mark | None:
        """A producer's mark. Raises Corrupt."""
        found = self._get("producers", producer)
        return None if found is None else unpack_mark(found)

    def cursors(self) -> dict[tuple[str, str], Cursor]:
        """All consumers' places, by consumer and stream, but for damaged ones. Raises Corrupt where the pages are."""
        found = {}
        for key, value in self._entries("cursors"):
            with suppress(Corrupt):
                found[split_cursor_key(key)] = unpack_cursor(value)
        return found

    def places(self) -> dict[bytes, bytes]:
        """What the tail source has kept; of a damaged place nothing but its key. Raises Corrupt where the pages are."""
        found = {}
        for key, value in self._entries("places"):
            try:
                found[bytes(key)] = unseal(value, "a place")
            except Corrupt:
                found[bytes(key)] = b""
        return found

    def _entries(self, database: str) -> Iterator[tuple[memoryview, memoryview]]:
        try:
            with self._raw.cursor(self._databases[database]) as cursor:
                yield from cursor
        except DAMAGED as error:
            raise Corrupt(f"the journal's pages are damaged: {error}") from error

    def _get(self, database: str, key: bytes) -> Any:
        """Raises Corrupt where the pages on the way are damaged."""
        try:
            return self._raw.get(key, db=self._databases[database])
        except DAMAGED as error:
            raise Corrupt(f"the journal's pages are damaged: {error}") from error

    def _bisect(self, row: StreamRow, is_there: Callable[[Head], bool]) -> int:
        """The first stored batch from which on this is true; of damaged heads it is not."""
        low, high = row.oldest, row.next
        while low < high:
            middle = (low + high) // 2
            looked = middle
            while (head := self._find_head(row, looked)) is None and looked > low:
                looked -= 1
            if head is not None and is_there(head):
                high = looked
            else:
                low = middle + 1
        return low

    def _find_head(self, row: StreamRow, sequence: int) -> Head | None:
        """A batch's head; None where it is not stored, or damaged."""
        try:
            return self.head(row, sequence)
        except Corrupt:
            return None
