"""The ingest lane: what a producer says, and what it is answered.

A batch is taken when it is the next one of its producer, whole and undamaged; it is then filtered and published, and
only then acknowledged. No sockets here: messages come in as values, answers go out as values.
"""

from __future__ import annotations

import logging
import time
from collections import Counter

from flowd.errors import FlowdError, WireError
from flowd.relay.deciding.streams import Stream, Streams
from flowd.relay.ingest.marks import Mark, Marks
from flowd.relay.live.lane import LiveLane
from flowd.relay.metrics import Counters
from flowd.wire import (
    Ack,
    Buffer,
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
    VERSION,
    is_stream_name,
)

BUSY_RETRY_MS = 1000

log = logging.getLogger(__name__)


def carry(stream: Stream, lines: Buffer, live: LiveLane) -> int:
    """Decides a batch and publishes what is kept: the one way of all lines. Returns how many lines it had."""
    applied = stream.filter_set.apply(lines)
    stream.account(len(lines), applied)
    stream.sample.add_from(lines, applied.lines)
    live.publish(stream.name, applied.kept, applied.kept_lines, time.time_ns(), stream.generation)
    return applied.lines


class Misplaced(Exception):
    """A well-formed message that has no place in this lane."""


class Ingest:
    """The conversations with all producers. For one thread; `conversations` may be read from elsewhere."""

    def __init__(self, streams: Streams, live: LiveLane, counters: Counters) -> None:
        self._streams = streams
        self._live = live
        self._counters = counters
        self._marks = Marks()
        self._credit_bytes = CREDIT_BYTES
        self._credit_messages = CREDIT_MESSAGES
        self._is_draining = False
        self._late: Counter[bytes] = Counter()

    @property
    def conversations(self) -> int:
        """Producers that have said HELLO and not BYE."""
        return len(self._marks)

    def drain(self) -> None:
        """From now on no credit is given; what was sent on the credit given before is still taken."""
        self._credit_bytes = self._credit_messages = 0
        self._is_draining = True

    def answer(self, peer: bytes, message: Message[Header]) -> Header | None:
        """Does what the message asks for and returns the answer, if it has one. Raises Misplaced."""
        header = message.header
        if isinstance(header, Data):
            return self._answer_data(peer, header, message)
        if isinstance(header, Hello):
            return self._answer_hello(peer, header)
        if isinstance(header, Bye):
            self._marks.part(peer)
            return None
        raise Misplaced(f"{header.type.name} has no place in the ingest lane")

    def _answer_hello(self, peer: bytes, hello: Hello) -> Header:
        if VERSION not in hello.v:
            self._counters.add("flowd_refused_conversations_total", reason="version")
            return Err("version", f"this daemon speaks version {VERSION} only")
        is_again = self._marks.find(peer) is not None
        mark = self._marks.greet(peer, hello)
        self._counters.add("flowd_conversations_total", kind="again" if is_again else "first")
        return Welcome(
            v=VERSION,
            epoch=self._live.epoch,
            last=mark.last,
            cb=self._credit_bytes,
            cm=self._credit_messages,
            max=PAYLOAD_MAX_BYTES,
            hb=HEARTBEAT_MS,
        )

    def _answer_data(self, peer: bytes, data: Data, message: Message[Header]) -> Header:
        mark = self._marks.find(peer)
        if mark is None:
            self._counters.add("flowd_refused_conversations_total", reason="no_hello")
            return Err("hello", "say HELLO first")
        if mark.owner != peer:
            self._counters.add("flowd_refused_conversations_total", reason="fenced")
            return Err("fenced", "another conversation of this producer began later")
        if data.s <= mark.last:
            self._counters.add("flowd_duplicate_batches_total")
            return self._acknowledge(mark)
        if data.s > mark.last + 1:
            return self._refuse(data, "gap", want=mark.last + 1)
        if self._is_draining and self._is_late(peer):
            return self._refuse(data, "busy", retry=BUSY_RETRY_MS)
        return self._take(mark, data, message)

    def _take(self, mark: Mark, data: Data, message: Message[Header]) -> Header:
        if not is_stream_name(data.st):
            return self._refuse(data, "stream", reason="stream_name")
        if len(message.payload) > PAYLOAD_MAX_BYTES:
            return self._refuse(data, "too_big")
        if checksum(message.payload) != data.crc:
            return self._refuse(data, "bad", reason="crc")
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
        if carry(stream, lines, self._live) != data.n:
            self._counters.add("flowd_miscounted_batches_total")
        mark.last = data.s
        return self._acknowledge(mark)

    def _is_late(self, peer: bytes) -> bool:
        """Whether a draining daemon has taken from this peer what it had given credit for."""
        self._late[peer] += 1
        return self._late[peer] > CREDIT_MESSAGES

    def _acknowledge(self, mark: Mark) -> Ack:
        return Ack(mark.last, self._credit_bytes, self._credit_messages)

    def _refuse(
        self, data: Data, code: str, *, reason: str = "", want: int | None = None, retry: int | None = None
    ) -> Nak:
        self._counters.add("flowd_refused_batches_total", reason=reason or code)
        return Nak(data.s, code, want, retry)
