"""What the thread that carries lines does with what was read of followed files: it decides it, and has it stored
together with the places.

Lines and places are stored in one transaction, so that neither is without the other. Places that go with no lines are
stored by themselves, when nothing of their stream is under way: they tell of what was read up to them.
"""

from __future__ import annotations

from collections import Counter

from flowd.relay.carrier import Carrier, Entry, retry_refused
from flowd.relay.deciding.finding import Finding
from flowd.relay.deciding.streams import Streams
from flowd.relay.journal.outbox import Bell, Outbox
from flowd.relay.journal.transaction import Transaction
from flowd.relay.journal.writer import Writer
from flowd.relay.metrics import Counters
from flowd.relay.tail.handover import Advancing, Chunk, Handover
from flowd.wire.limits import BATCH_BYTES

TURN_BYTES = 16 * BATCH_BYTES
"""Bytes taken before others get their turn: what the other lanes' turns carry."""
RETRY_S = 0.1
"""How soon it is looked again whether the journal has room."""


class TailEntry(Entry):
    """A batch of followed files' lines. The places are stored with it; the lines that were dropped are not kept."""

    __slots__ = ("advances", "places", "stream")

    def __init__(self, lane: TailLane, chunk: Chunk) -> None:
        super().__init__(lane)
        self.stream = chunk.stream
        self.places = chunk.places
        self.advances = chunk.advances

    def write(self, transaction: Transaction) -> None:
        """Puts the batch, and the places after it, into a transaction of the journal."""
        super().write(transaction)
        for key, value in self.places:
            transaction.set_place(key, value)


class PlacesJob:
    """Places that go with no lines. They wait while the journal has no room; nothing of their stream is before them."""

    is_patient = True
    is_small = True

    def __init__(self, outbox: Outbox, chunk: Chunk) -> None:
        self.outbox = outbox
        self.term = 0
        self.places = chunk.places
        self.advances = chunk.advances
        self.size_bytes = chunk.size_bytes

    def write(self, transaction: Transaction) -> None:
        """Puts the places into a transaction."""
        for key, value in self.places:
            transaction.set_place(key, value)


class TailLane:
    """Takes chunks from a source's handover; belongs to the thread that carries lines."""

    def __init__(
        self,
        handover: Handover,
        streams: Streams,
        carrier: Carrier,
        writer: Writer,
        bell: Bell,
        counters: Counters,
    ) -> None:
        self._handover = handover
        self._counters = counters
        self._finding = Finding(streams, "tail", "nothing is carried, its files wait", self._count_failure)
        self._carrier = carrier
        self._writer = writer
        self._outbox = Outbox(bell)
        self._refused: list[Entry] = []
        self._under_way: Counter[str] = Counter()

    @property
    def is_listening(self) -> bool:
        """Whether chunks are taken at the moment."""
        return self._carrier.has_room and not self._refused

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was taken is still to be stored."""
        return not self._under_way

    def take_turn(self, now_s: float) -> bool:
        """Takes chunks that wait, up to a turn's worth, and carries them. False where none could be taken."""
        retry_refused(self._carrier, self._refused)
        while (settled := self._outbox.take()) is not None:
            if not settled.refusal and isinstance(settled.job, PlacesJob):
                _move(settled.job.advances)
        streams = {name: self._finding.find(name, now_s) for name in self._handover.waiting()}
        taken_bytes = 0
        while taken_bytes < TURN_BYTES and self.is_listening:
            chunk = self._handover.take(
                lambda chunk: streams.get(chunk.stream) is not None if chunk.lines else self._is_at_rest(chunk.stream)
            )
            if chunk is None:
                break
            taken_bytes += max(1, chunk.size_bytes)
            stream = streams.get(chunk.stream)
            if chunk.lines and stream is not None:
                self._under_way[chunk.stream] += 1
                self._carrier.carry(stream, chunk.lines, TailEntry(self, chunk))
            else:
                self._writer.submit(PlacesJob(self._outbox, chunk))
        return taken_bytes > 0

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is something to do; for ever where nothing waits."""
        if self._refused:
            return RETRY_S
        return max(0.0, self._finding.again_s - now_s)

    def stored(self, entry: Entry) -> None:
        """The lines are in the journal, and so are the places."""
        assert isinstance(entry, TailEntry)
        _move(entry.advances)
        stream = entry.stream
        self._under_way[stream] -= 1
        if not self._under_way[stream]:
            del self._under_way[stream]

    def refused(self, entry: Entry) -> None:
        """There was no room: it is kept, and nothing more is taken."""
        self._refused.append(entry)

    def _is_at_rest(self, stream: str) -> bool:
        return stream not in self._under_way

    def _count_failure(self) -> None:
        self._counters.add("flowd_tail_errors_total", reason="stream")


def _move(advances: tuple[tuple[Advancing, int], ...]) -> None:
    """So far the files are stored now."""
    for file, offset in advances:
        file.durable = offset
