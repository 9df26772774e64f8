"""The one way of all lines: decided, stored, published, and then acknowledged to whoever brought them.

What was received is decided here, or by workers where there are some, and handed to the journal as batches; when one
is stored, it has its sequence, goes out on the live lane, and its origin is told. Belongs to the thread that carries
lines.
"""

from __future__ import annotations

import itertools
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from flowd.relay.deciding.streams import Stream
from flowd.relay.deciding.workers import Work, Workers
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.transaction import NewBatch, Placed, Transaction
from flowd.relay.journal.writer import FAILED, Writer
from flowd.relay.live.lane import LiveLane
from flowd.wire import Buffer

if TYPE_CHECKING:
    from flowd.filterset import Borrowed, FilterSet

UNDER_WAY_BYTES = 16 << 20
"""Received and not stored yet: two groups of the journal, so that it never waits. No more is received meanwhile."""
ENTRY_BYTES = 512
"""What a batch of which nothing is kept counts as: its head is stored, too."""


class Origin(Protocol):
    """Who brought a batch, and wants to know what became of it."""

    def stored(self, entry: Entry) -> None:
        """It is in the journal, and published."""

    def refused(self, entry: Entry) -> None:
        """There was no room: it is to be carried again, by `resubmit`, when its origin says so."""


class Entry:
    """A batch on its way into the journal, numbered in the `order` in which it was taken. `batch` and `lines`, their
    number, are there once it is decided; `placed` is where it came to stand, once it is stored.

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


class Part(NamedTuple):
    """What a batch of the journal is made of: its `entry`, how many bytes were received for it, what the filters made
    of them, the kept lines' crc32 where it is known, and their records' own times where they have any."""

    entry: Entry
    received_bytes: int
    applied: Borrowed
    crc: int | None = None
    record_times_ns: tuple[int, int] | None = None


class Load(Work):
    """What a stream has received at once. It is decided by the filters that the stream has when it is carried, into
    `parts`, of which each is stored as a batch. It holds what was received until it is decided, and sampled from."""

    __slots__ = ("filter_set", "parts", "size_bytes", "stream", "term")

    def __init__(self, stream: Stream, size_bytes: int) -> None:
        super().__init__()
        self.stream = stream
        self.filter_set: FilterSet = stream.filter_set
        self.size_bytes = size_bytes
        self.term = 0
        self.parts: Sequence[Part] = ()

    @abstractmethod
    def add_to_samples(self, part: Part, now_ns: int) -> None:
        """Lets the stream remember a few lines of a part, and of what was dropped of it."""


class Lines(Load):
    """A batch of lines: one part. `crc` is the checksum of all of them, where it is known."""

    __slots__ = ("_crc", "_entry", "_lines")

    def __init__(self, stream: Stream, lines: Buffer, entry: Entry, crc: int | None) -> None:
        super().__init__(stream, len(lines) + ENTRY_BYTES)
        self._lines = lines
        self._entry = entry
        self._crc = crc

    def decide(self) -> None:
        """Decides the lines."""
        lines = self._lines
        applied = self.filter_set.apply_borrowing(lines)
        self.parts = (Part(self._entry, len(lines), applied, self._crc if applied.kept is lines else None),)

    def add_to_samples(self, part: Part, now_ns: int) -> None:
        """Picks from the lines where they lie."""
        stream, applied = self.stream, part.applied
        stream.sample.add_from(self._lines, applied.lines)
        stream.dropped.add_from(self._lines, applied.lines - applied.kept_lines, self.filter_set, now_ns)
        for tap in stream.taps:
            tap.offer(self._lines, applied, self.filter_set, self.filter_set is not stream.loaded, now_ns)


class Carrier:
    """See the module. `outbox`, and `workers` where others decide, have their wake in the poller of the thread that
    carries lines. Whoever changes what decides calls `finish_deciding` before."""

    def __init__(self, live: LiveLane, writer: Writer, outbox: Outbox, workers: Workers | None = None) -> None:
        self.under_way_bytes = 0
        self._workers = workers
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

    @property
    def moved_s(self) -> float:
        """When deciding last moved on, by the steady clock, where others decide. Any thread may ask."""
        return time.monotonic() if self._workers is None else self._workers.moved_s

    def start(self) -> None:
        """Batches may be carried from now on."""
        if self._workers is not None:
            self._workers.start()

    def end(self) -> None:
        """Nothing is carried any more; what workers still have is left."""
        if self._workers is not None:
            self._workers.end()

    def carry(self, stream: Stream, lines: Buffer, entry: Entry, crc: int | None = None) -> None:
        """Decides a batch of lines and hands it to the journal, now or soon, in the order of these calls. `crc` is the
        lines' checksum where it is known; their buffer must not change any more."""
        self.carry_load(Lines(stream, lines, entry, crc))

    def carry_load(self, load: Load) -> None:
        """The same of whatever is decided in a way of its own."""
        self._writer.give_way()
        load.term = self._outbox.known_refusals  # what is refused from here on, its batches must not overtake
        if self._workers is None:
            load.decide()
            self._store(load)
            return
        self.under_way_bytes += load.size_bytes
        self._workers.submit(load)
        self._take_decided()

    def finish_deciding(self) -> None:
        """Waits until all that was carried is decided, so that the filters can be changed between two batches."""
        self._take_decided(is_patient=True)

    def resubmit(self, entry: Entry) -> None:
        """Hands a decided batch to the journal again: it is not decided, and not counted, a second time."""
        entry.term = self._outbox.known_refusals
        self._submit(entry)

    def settle(self) -> bool:
        """Takes what workers have decided, and what the journal is done with: stored batches are published. False where
        there was nothing.

        Raises what ended the journal, where that was not its order, and what deciding raised.
        """
        is_busy = self._workers is not None and self._take_decided()
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

    def _take_decided(self, *, is_patient: bool = False) -> bool:
        """Hands what workers have decided to the journal; False where there was nothing."""
        if self._workers is None:
            return False
        is_busy = False
        while (taken := self._workers.take(is_patient=is_patient)) is not None:
            assert isinstance(taken, Load)
            is_busy = True
            self.under_way_bytes -= taken.size_bytes
            self._store(taken)
        return is_busy

    def _store(self, load: Load) -> None:
        """Counts what was decided and hands it to the journal. The stream's filters are those that have decided it."""
        stream = load.stream
        parts, load.parts = load.parts, ()  # an entry may know its load: nothing must hold both until it is collected
        for part in parts:
            entry, applied = part.entry, part.applied
            kept = cast(Buffer, applied.kept)
            stream.account(part.received_bytes, len(kept), applied)
            now_ns = time.time_ns()
            load.add_to_samples(part, now_ns)
            entry.batch = NewBatch(
                stream.name, kept, applied.kept_lines, now_ns, stream.generation, part.crc, part.record_times_ns
            )
            entry.lines = applied.lines
            entry.order = next(self._orders)
            entry.outbox = self._outbox
            entry.term = load.term
            entry.size_bytes = len(kept) + ENTRY_BYTES
            self._submit(entry)

    def _submit(self, entry: Entry) -> None:
        self.under_way_bytes += entry.size_bytes
        self._writer.submit(entry, entry.term)


def retry_refused(carrier: Carrier, refused: list[Entry]) -> None:
    """Hands refused batches to the journal again, where it has room now: in the order in which they were decided, which
    is not always that in which they were refused."""
    if refused and not carrier.is_refusing:
        again = sorted(refused, key=lambda entry: entry.order)
        refused.clear()
        for entry in again:
            carrier.resubmit(entry)
