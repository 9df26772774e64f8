"""The ingest lane: what a producer says, and what it is answered.

A batch is taken when it is the next one of its producer, whole and undamaged; it is then decided and stored, and only
then acknowledged. No sockets here: messages come in as values, answers go out as values.
"""

from __future__ import annotations

import logging
from collections import Counter

from flowd.errors import FlowdError, WireError
from flowd.relay.carrier import Carrier, Entry, Origin
from flowd.relay.deciding.streams import Streams
from flowd.relay.ingest.marks import Mark, Marks
from flowd.relay.journal.layout import Corrupt
from flowd.relay.journal.layout import Mark as StoredMark
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import Transaction
from flowd.relay.metrics import Counters
from flowd.wire import (
    Ack,
    Bye,
    Data,
    Err,
    Header,
    Hello,
    Message,
    Nak,
    Welcome,
    checksum,
    open_payload,
)
from flowd.wire.limits import (
    CREDIT_BYTES,
    CREDIT_MESSAGES,
    HEARTBEAT_MS,
    PAYLOAD_MAX_BYTES,
    SEQUENCE_MAX,
    VERSION,
    is_stream_name,
)

BUSY_RETRY_MS = 1000
NO_SPACE_RETRY_MS = 1000
REFUSED_MAX_BYTES = 32 << 20
"""Decided batches kept for when there is room again; what is beyond is decided, and counted, a second time."""

log = logging.getLogger(__name__)


class Misplaced(Exception):
    """A well-formed message that has no place in this lane."""


class ProducerEntry(Entry):
    """A producer's batch: its mark moves in the same transaction."""

    __slots__ = ("crc", "incarnation", "mark", "sequence", "told_lines")

    def __init__(self, origin: Origin, mark: Mark, data: Data) -> None:
        super().__init__(origin)
        self.mark = mark
        self.sequence = data.s
        self.crc = data.crc
        self.told_lines = data.n
        self.incarnation = mark.incarnation

    def write(self, transaction: Transaction) -> None:
        """Puts the batch and the mark into a transaction of the journal."""
        super().write(transaction)
        transaction.set_mark(self.mark.producer, StoredMark(self.incarnation, self.sequence, self.batch.time_ns))


class Ingest:
    """The conversations with all producers. For one thread; `conversations` may be read from elsewhere.

    `owed` are the acknowledgements to be sent: one a producer, since each covers all before it.
    """

    def __init__(self, streams: Streams, carrier: Carrier, store: Store, counters: Counters) -> None:
        self.owed: dict[bytes, Header] = {}
        self._streams = streams
        self._carrier = carrier
        self._store = store
        self._counters = counters
        self._marks = Marks(self._find_stored)
        self._credit_bytes = CREDIT_BYTES
        self._credit_messages = CREDIT_MESSAGES
        self._is_draining = False
        self._late: Counter[bytes] = Counter()
        self._refused_bytes = 0

    @property
    def conversations(self) -> int:
        """Producers that have said HELLO and not BYE."""
        return len(self._marks)

    @property
    def has_room(self) -> bool:
        """Whether more batches may be received now."""
        return self._carrier.has_room

    @property
    def has_news(self) -> bool:
        """Whether the journal is done with batches that nobody has been told of."""
        return self._carrier.has_news

    def drain(self) -> None:
        """From now on no credit is given; what was sent on the credit given before is still taken."""
        self._credit_bytes = self._credit_messages = 0
        self._is_draining = True

    def answer(self, peer: bytes, message: Message[Header]) -> Header | None:
        """Does what the message asks for and returns the answer, if it has one now. Raises Misplaced."""
        header = message.header
        if isinstance(header, Data):
            return self._answer_data(peer, header, message)
        if isinstance(header, Hello):
            return self._answer_hello(peer, header)
        if isinstance(header, Bye):
            self._part(peer)
            return None
        raise Misplaced(f"{header.type.name} has no place in the ingest lane")

    def stored(self, entry: Entry) -> None:
        """A batch is in the journal: its producer is owed an acknowledgement."""
        assert isinstance(entry, ProducerEntry)
        if entry.lines != entry.told_lines:
            self._counters.add("flowd_miscounted_batches_total")
        mark = entry.mark
        mark.last = max(mark.last, entry.sequence)
        self.owed[mark.owner] = self._acknowledge(mark)

    def refused(self, entry: Entry) -> None:
        """There was no room for a batch: its producer sends it again, and all that follow."""
        assert isinstance(entry, ProducerEntry)
        mark = entry.mark
        mark.taken = min(mark.taken, entry.sequence - 1)
        if not any(kept < entry.sequence for kept in mark.refused):
            self.owed[mark.owner] = self._refuse_at(entry.sequence, "no_space", retry=NO_SPACE_RETRY_MS)
        if entry.sequence not in mark.refused and self._refused_bytes + entry.size_bytes <= REFUSED_MAX_BYTES:
            self._refused_bytes += entry.size_bytes
            mark.refused[entry.sequence] = entry

    def _find_stored(self, producer: bytes) -> int:
        try:
            with self._store.read() as reading:
                mark = reading.find_mark(producer)
        except Corrupt as error:
            # What its last life left unacknowledged is taken: what of that was stored, is stored twice.
            log.error("ingest: producer %s: %s; it is taken for a new one", producer[:16].hex(), error)
            self._counters.add("flowd_corrupt_marks_total")
            return 0
        return 0 if mark is None else mark.last

    def _answer_hello(self, peer: bytes, hello: Hello) -> Header:
        if VERSION not in hello.v:
            self._counters.add("flowd_refused_conversations_total", reason="version")
            return Err("version", f"this daemon speaks version {VERSION} only")
        is_again = self._marks.find(peer) is not None
        mark = self._marks.greet(peer, hello)
        self._forget_refused(mark, mark.taken)
        self._counters.add("flowd_conversations_total", kind="again" if is_again else "first")
        return Welcome(
            v=VERSION,
            epoch=self._store.epoch,
            # Who holds nothing goes on behind what is still on its way into the journal from its life before.
            last=mark.taken if hello.first is None else mark.last,
            cb=self._credit_bytes,
            cm=self._credit_messages,
            max=PAYLOAD_MAX_BYTES,
            hb=HEARTBEAT_MS,
        )

    def _answer_data(self, peer: bytes, data: Data, message: Message[Header]) -> Header | None:
        mark = self._marks.find(peer)
        if mark is None:
            self._counters.add("flowd_refused_conversations_total", reason="no_hello")
            return Err("hello", "say HELLO first")
        if mark.owner != peer:
            self._counters.add("flowd_refused_conversations_total", reason="fenced")
            return Err("fenced", "another conversation of this producer began later")
        if data.s <= mark.taken:
            self._counters.add("flowd_duplicate_batches_total")
            return self._acknowledge(mark) if data.s <= mark.last else None  # else it is under way: the ACK will come
        if data.s > mark.taken + 1:
            return self._refuse(data, "gap", want=mark.taken + 1)
        if self._is_draining and self._is_late(peer):
            return self._refuse(data, "busy", retry=BUSY_RETRY_MS)
        if self._carrier.is_refusing:
            return self._refuse(data, "no_space", retry=NO_SPACE_RETRY_MS)
        return self._take(mark, data, message)

    def _take(self, mark: Mark, data: Data, message: Message[Header]) -> Header | None:
        if not is_stream_name(data.st):
            return self._refuse(data, "stream", reason="stream_name")
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            return self._refuse(data, "too_big")
        if checksum(message.payload) != data.crc:
            return self._refuse(data, "bad", reason="crc")
        known = self._find_refused(mark, data)
        if known is not None:
            mark.taken = data.s
            self._carrier.resubmit(known)
            return None
        try:
            lines = open_payload(message.flags, message.payload)
        except WireError as error:
            return self._refuse(data, "too_big" if error.reason == "payload_size" else "bad", reason=error.reason)
        if len(lines) and lines[-1] not in (b"\n", 10):
            return self._refuse(data, "bad", reason="partial_line")
        try:
            stream = self._streams.get(data.st)
        except (FlowdError, OSError):
            log.exception("ingest: the filters of stream %r cannot be loaded", data.st)
            return self._refuse(data, "busy", reason="filters", retry=BUSY_RETRY_MS)
        if stream is None:
            return self._refuse(data, "stream", reason="too_many_streams")
        crc = data.crc if lines is message.payload else None
        self._carrier.carry(stream, lines, ProducerEntry(self, mark, data), crc)
        mark.taken = data.s
        return None

    def _part(self, peer: bytes) -> None:
        mark = self._marks.find(peer)
        if mark is not None and mark.owner == peer:
            self._forget_refused(mark, SEQUENCE_MAX)
        self._marks.part(peer)

    def _forget_refused(self, mark: Mark, up_to: int) -> None:
        for sequence in [sequence for sequence in mark.refused if sequence <= up_to]:
            self._refused_bytes -= mark.refused.pop(sequence).size_bytes

    def _find_refused(self, mark: Mark, data: Data) -> ProducerEntry | None:
        """The same batch, decided before and refused for want of room."""
        entry = mark.refused.pop(data.s, None)
        if not isinstance(entry, ProducerEntry):
            return None
        self._refused_bytes -= entry.size_bytes
        if (entry.crc, entry.batch.stream) != (data.crc, data.st):
            return None
        entry.mark = mark
        return entry

    def _is_late(self, peer: bytes) -> bool:
        """Whether a draining daemon has taken from this peer what it had given credit for."""
        self._late[peer] += 1
        return self._late[peer] > CREDIT_MESSAGES

    def _acknowledge(self, mark: Mark) -> Ack:
        return Ack(mark.last, self._credit_bytes, self._credit_messages)

    def _refuse(
        self, data: Data, code: str, *, reason: str = "", want: int | None = None, retry: int | None = None
    ) -> Nak:
        return self._refuse_at(data.s, code, reason=reason, want=want, retry=retry)

    def _refuse_at(
        self, sequence: int, code: str, *, reason: str = "", want: int | None = None, retry: int | None = None
    ) -> Nak:
        self._counters.add("flowd_refused_batches_total", reason=reason or code)
        return Nak(sequence, code, want, retry)
