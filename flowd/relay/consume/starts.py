"""Where an attachment begins and ends: its cursor, the oldest batch, a time, a number of lines, or a batch by name.

And what is lost before it has begun: batches of an epoch that is over. Belongs to the thread that serves consumers.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from flowd.relay.journal.inspection import Loss
from flowd.relay.journal.layout import Cursor, StreamRow
from flowd.relay.journal.store import Store
from flowd.wire import Attach, Gone


class Begun(NamedTuple):
    """The first sequence to be sent, the last one if there is one, and what is to be told as lost before."""

    next: int
    until: int | None = None
    gone: Gone | None = None


class Starts:
    """Knows the journal, and the one that was lost before it, if one was."""

    def __init__(self, store: Store, loss: Loss | None) -> None:
        self._store = store
        self._known = loss.known if loss is not None else None
        self._told: set[tuple[str, str]] = set()

    def begin(self, header: Attach, cursor: Cursor | None) -> Begun:
        """Where a consumer begins that attaches like this, and has this cursor."""
        row = self._store.stream(header.st) or StreamRow(0)
        until = self._find_end(header, row)
        if not isinstance(header.start, str):
            epoch, sequence = header.start
            found = self._find_now(header.st, epoch, sequence)
            if found is not None:
                return Begun(max(1, found), until)
            return Begun(row.oldest, until, self._describe_epoch(header, epoch, sequence, row))
        if header.start == "newest":
            return Begun(row.next, until)
        if header.start == "cursor" and cursor is not None and cursor.sequence is not None:
            return Begun(cursor.sequence + 1, until)
        gone = self._describe_lost_cursor(header, row) if header.start == "cursor" else None
        return Begun(row.oldest if gone is not None else self._find_first(header, row), until, gone)

    def _find_first(self, header: Attach, row: StreamRow) -> int:
        """Where somebody without a cursor begins."""
        if header.start == "oldest":
            return row.oldest
        if header.since is not None:
            age_ns = self._store.clock.now_ns() - max(0, time.time_ns() - header.since)
            with self._store.read() as reading:
                return reading.find_age(row, age_ns)
        if header.last is not None:
            with self._store.read() as reading:
                return reading.find_last(row, header.last)
        return row.oldest

    def _find_end(self, header: Attach, row: StreamRow) -> int | None:
        if header.until is None:
            return None
        if isinstance(header.until, str):
            return row.next - 1
        epoch, sequence = header.until
        found = self._find_now(header.st, epoch, sequence + 1)
        return 0 if found is None else found - 1

    def _find_now(self, stream: str, epoch: bytes, sequence: int) -> int | None:
        """Which sequence a batch has now that this one was in that epoch: the same, unless it was lost since with the
        end of its epoch; then the one that was written in its place. None for an epoch of another journal."""
        if epoch == self._store.epoch:
            return sequence
        epochs = [continued.epoch for continued in self._store.continued]
        if epoch.hex() not in epochs:
            return None
        since = self._store.continued[epochs.index(epoch.hex()) :]
        return min(sequence, *(continued.streams.get(stream, (1, 0))[0] for continued in since))

    def _describe_epoch(self, header: Attach, epoch: bytes, sequence: int, row: StreamRow) -> Gone:
        """What is lost to a consumer that wants batches of another epoch: as much as is known of that one."""
        known = self._known
        if known is None or known.epoch != epoch.hex() or header.st not in known.streams:
            return Gone(sequence, row.oldest, (0, 0), "epoch", True)
        next_sequence, lines = known.streams[header.st]
        place = known.find_cursor(header.c, header.st)
        before = place[1] if place is not None and place[0] == sequence - 1 else lines
        if sequence <= 1:
            before = 0
        lost = (max(0, next_sequence - sequence), max(0, lines - before))
        return Gone(sequence, row.oldest, lost, "epoch", True)

    def _describe_lost_cursor(self, header: Attach, row: StreamRow) -> Gone | None:
        """What is lost to a consumer whose cursor went with the journal. It is told once."""
        known = self._known
        place = known.find_cursor(header.c, header.st) if known is not None and header.c else None
        if known is None or place is None or (header.c, header.st) in self._told:
            return None
        self._told.add((header.c, header.st))
        sequence, lines = place
        next_sequence, all_lines = known.streams.get(header.st, (sequence + 1, lines))
        lost = (max(0, next_sequence - sequence - 1), max(0, all_lines - lines))
        return Gone(sequence + 1, row.oldest, lost, "epoch", True)
