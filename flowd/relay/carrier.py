"""The one way of all lines: decided, stored, published, and then acknowledged to whoever brought them.

A batch is decided here and handed to the journal; when it is stored, it has its sequence, goes out on the live lane,
and its origin is told. Belongs to the thread that carries lines.
"""

from __future__ import annotations

import itertools
import time
from typing import Protocol, cast

from flowd.relay.deciding.streams import Stream
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.transaction import NewBatch, Placed, Transaction
from flowd.relay.journal.writer import FAILED, Writer
from flowd.relay.live.lane import LiveLane
from flowd.wire import Buffer

UNDER_WAY_BYTES = 16 << 20
"""Decided and not stored yet: two groups of the journal, so that it never waits. No more is received meanwhile."""
ENTRY_BYTES = 512
"""What a batch of which nothing is kept counts as: its head is stored, too."""


class Origin(Protocol):
    """Who brought a batch, and wants to know what became of it."""

    def stored(self, entry: Entry) -> None:
        """It is in the journal, and published."""

    def refused(self, entry: Entry) -> None:
        """There was no room: it is to be carried again, by `resubmit`, when its origin says so."""


class Entry:
    """A decided batch on its way into the journal, numbered in the `order` of deciding. `placed` is where it came to
    stand, once it is stored.

    A subclass writes what belongs into the same transaction.
    """

    is_patient = False
    is_small = False

    __slots__ = ("batch", "lines", "order", "origin", "outbox", "placed", "size_bytes", "term")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.term = 0
        self.order = 0
        self.batch: NewBatch
        self.lines: int
        self.outbox: Outbox
        self.size_bytes: int
        self.placed: Placed

    def write(self, transaction: Transaction) -> None:
        """Puts the batch into a transaction of the journal."""
        self.placed = transaction.append(self.batch)


class Carrier:
    """See the module. `outbox` has its wake in the poller of the thread that carries lines."""

    def __init__(self, live: LiveLane, writer: Writer, outbox: Outbox) -> None:
        self.under_way_bytes = 0
        self._live = live
        self._writer = writer
        self._outbox = outbox
        self._orders = itertools.count(1)

    @property
    def has_room(self) -> bool:
        """Whether more may be received."""
        return self.under_way_bytes < UNDER_WAY_BYTES

    @property
    def has_news(self) -> bool:
        """Whether the journal is done with something that `settle` has not taken yet."""
        return bool(self._outbox)

    @property
    def is_refusing(self) -> bool:
        """Whether the journal has no room, so that nothing more should be decided."""
        return self._writer.is_full

    def carry(self, stream: Stream, lines: Buffer, entry: Entry, crc: int | None = None) -> int:
        """Decides a batch and hands it to the journal. Returns how many lines it had. `crc` is the lines' checksum
        where it is known."""
        self._writer.give_way()
        applied = stream.filter_set.apply_borrowing(lines)
        kept = cast(Buffer, applied.kept)
        stream.account(len(lines), len(kept), applied)
        stream.sample.add_from(lines, applied.lines)
        now_ns = time.time_ns()
        stream.dropped.add_from(lines, applied.lines - applied.kept_lines, stream.filter_set, now_ns)
        entry.batch = NewBatch(
            stream.name,
            kept,
            applied.kept_lines,
            now_ns,
            stream.generation,
            crc if kept is lines else None,
        )
        entry.lines = applied.lines
        entry.order = next(self._orders)
        entry.outbox = self._outbox
        entry.size_bytes = len(kept) + ENTRY_BYTES
        self.resubmit(entry)
        return applied.lines

    def resubmit(self, entry: Entry) -> None:
        """Hands a decided batch to the journal again: it is not decided, and not counted, a second time."""
        self.under_way_bytes += entry.size_bytes
        self._writer.submit(entry)

    def settle(self) -> bool:
        """Takes what the journal is done with: stored batches are published. False where there was nothing.

        Raises what ended the journal, where that was not its order.
        """
        is_busy = False
        while (settled := self._outbox.take()) is not None:
            is_busy = True
            entry = settled.job
            assert isinstance(entry, Entry)
            self.under_way_bytes -= entry.size_bytes
            if not settled.refusal:
                self._live.publish(entry.batch, entry.placed)
                entry.origin.stored(entry)
            elif settled.refusal != FAILED:
                entry.origin.refused(entry)
        if self._writer.failure is not None:
            raise self._writer.failure
        return is_busy


def retry_refused(carrier: Carrier, refused: list[Entry]) -> None:
    """Hands refused batches to the journal again, where it has room now: in the order in which they were decided, which
    is not always that in which they were refused."""
    if refused and not carrier.is_refusing:
        again = sorted(refused, key=lambda entry: entry.order)
        refused.clear()
        for entry in again:
            carrier.resubmit(entry)
