"""One sender's connection: what it sends becomes messages, these become deliveries, and their acknowledgements go back.

Entries of a large message stay where they came, those of small ones are copied: see `buffer`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from flowd.messages import MalformedMessage, Message, MessageWalk
from flowd.relay.forward.buffer import COPIED_BYTES, READ_BYTES, Buffer
from flowd.relay.forward.compression import CannotOpen, open_entries
from flowd.relay.forward.desk import Desk
from flowd.relay.forward.handover import Delivery
from flowd.relay.forward.handshake import BadPing, Handshake
from flowd.relay.forward.options import BadOption, pack_ack, read_option
from flowd.relay.forward.repeats import make_key
from flowd.relay.forward.room import SENDER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_BYTES = 256
"""What a message takes beside its entries."""
HANDSHAKE_S = 10.0
"""A sender that is to prove who it is does so within this time. Afterwards it may be silent for as long as it likes."""
PAIR = b"\x92"
"""The header that a single record's time and record lack."""
NIL = b"\xc0"
"""A heartbeat."""

log = logging.getLogger(__name__)


class Connection(asyncio.BufferedProtocol):
    """See the module. Belongs to the source's thread.

    Invariant: nothing is read while `_is_short`, `_is_stuffed`, or after `stop`.
    """

    def __init__(
        self,
        desk: Desk,
        sender: bytes,
        on_begin: Callable[[Connection], None],
        on_end: Callable[[Connection], None],
        *,
        is_asked: bool,
    ) -> None:
        """`is_asked`: the sender must prove who it is. With TLS it begins when the two have agreed, or never."""
        self.has_begun = False
        self.heard_s = 0.0
        self.waiting_bytes = 0
        self._desk = desk
        self._sender = sender
        self._on_begin = on_begin
        self._on_end = on_end
        self._handshake = Handshake(desk.secrets) if is_asked and desk.secrets is not None else None
        self._timer: asyncio.TimerHandle | None = None
        self._walk = MessageWalk(desk.most_bytes)
        self._transport: asyncio.Transport
        self._buffer = Buffer(desk.room)
        self._is_short = self._is_stuffed = self._is_stopped = False
        self._is_discarding = self._is_half_closed = self._is_over = False
        self._acks: list[bytes] = []
        self._batch: list[Delivery] = []

    @property
    def partial_bytes(self) -> int:
        """What the buffer of an unfinished message takes of the room."""
        return self._buffer.partial_bytes

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        self._transport = cast(asyncio.Transport, transport)
        loop = asyncio.get_running_loop()
        self.heard_s = loop.time()
        if self._handshake is not None:
            self._timer = loop.call_later(HANDSHAKE_S, self._run_out)
            self._transport.write(self._handshake.helo)
        self.has_begun = True
        self._on_begin(self)

    def get_buffer(self, _: int) -> memoryview:
        """Where the next bytes are to go."""
        return memoryview(bytearray(READ_BYTES)) if self._is_discarding else self._buffer.find_free()

    def buffer_updated(self, n: int) -> None:
        """So many bytes have come."""
        if self._is_discarding or self._is_over:
            return
        self.heard_s = asyncio.get_running_loop().time()
        self._desk.counters.add("flowd_forward_received_bytes_total", n)
        self._buffer.end += n
        try:
            if self._handshake is not None:
                self._shake_hands(self._handshake)
            if self._handshake is None:
                self._read_messages()
        except Exception:
            log.exception("forward: %s: what it sent was met by a mistake of flowd's own: closed", self._sender)
            self.give_up("error")

    def eof_received(self) -> bool:
        """The sender says no more; what it still waits for is sent before the connection ends, but not with TLS, where
        there is no such half."""
        self._is_half_closed = True
        is_owed = self.waiting_bytes > 0 and self._transport.get_extra_info("ssl_object") is None
        return is_owed and not (self._is_over or self._is_discarding)

    def connection_lost(self, _: Exception | None) -> None:
        """It is over. What came whole is carried even so."""
        if self._handshake is None and not self._is_over:
            self._is_short = False
            self._read_messages(is_last=True)
        self._is_over = True
        self._drop_timer()
        self._desk.room.forget(self)
        self._buffer.release()
        self._on_end(self)

    def pause_writing(self) -> None:
        """The sender does not take its acknowledgements: nothing more is read of it."""
        self._is_stuffed = True
        self._listen()

    def resume_writing(self) -> None:
        """It takes them again."""
        self._is_stuffed = False
        self._listen()

    # What the source calls

    def acknowledge(self, ack: bytes) -> None:
        """Has an acknowledgement sent with the next `flush`."""
        self._acks.append(ack)

    def give_room(self, size_bytes: int) -> None:
        """So much of what it sent is not under way any more."""
        self.waiting_bytes -= size_bytes

    def flush(self) -> None:
        """Sends the acknowledgements; ends a connection whose sender waited for these alone."""
        if self._acks and not self._is_over:
            self._desk.counters.add("flowd_forward_acks_total", len(self._acks))
            self._transport.write(b"".join(self._acks))
        self._acks.clear()
        if self._is_half_closed and self.waiting_bytes <= 0 and not self._is_over:
            self._transport.close()

    def go_on(self) -> None:
        """There may be room again."""
        if self._is_over or not self._is_short:
            return
        self._is_short = False
        self._read_messages()
        self._listen()

    def give_up(self, reason: str) -> None:
        """Ends the connection at once, for this reason."""
        if not self._is_over:
            self._desk.counters.add("flowd_forward_closed_connections_total", reason=reason)
            self._is_over = True
            self._transport.abort()

    def stop(self) -> None:
        """Nothing more is read; what has come whole is handed over."""
        self._is_stopped = True
        if not self._is_over and self._handshake is None:
            self._is_short = False
            self._read_messages(is_last=True)
        self._listen()

    def finish(self) -> None:
        """Ends after what is to be sent. What still comes is read and forgotten, until the sender ends, too: a
        connection that is closed with unread bytes takes its last acknowledgements with it."""
        if self._is_over:
            return
        self._is_discarding = True
        self._is_stopped = self._is_short = self._is_stuffed = False
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the sender has gone, and nobody was told yet
            self._transport.abort()
        else:
            self._listen()

    def abort(self) -> None:
        """Ends at once."""
        self._transport.abort()

    # Messages

    def _read_messages(self, *, is_last: bool = False) -> None:
        """Hands over the whole messages in the buffer, as far as there is room; all of them where they are the last."""
        try:
            self._find_messages(is_last=is_last)
        finally:
            if self._batch:
                self._desk.handover.put(self._batch)
                self._batch = []
        self.flush()
        if not is_last:
            self._must_wait()

    def _find_messages(self, *, is_last: bool) -> None:
        buffer = self._buffer
        while buffer.begin < buffer.end and not self._is_over:
            if not is_last and self._must_wait():
                break
            try:
                found = self._walk.find(buffer.view[: buffer.end], buffer.begin)
            except MalformedMessage as error:
                self._refuse(str(error.args[0]))
                break
            if isinstance(found, int):
                buffer.missing = found
                break
            self._take(found)
            buffer.pass_message(found.end)
        buffer.reuse()

    def _must_wait(self) -> bool:
        """Whether nothing more is taken for now; it is told when there is room."""
        room = self._desk.room
        if not self._is_short and (room.is_short or self.waiting_bytes >= SENDER_BYTES):
            self._is_short = True
            room.wait(self)
            self._listen()
        return self._is_short

    def _take(self, message: Message) -> None:
        """One whole message."""
        counters = self._desk.counters
        view = self._buffer.view
        if message.kind == "other":
            if bytes(view[self._buffer.begin : message.end]) == NIL:
                counters.add("flowd_forward_heartbeats_total")
            else:
                self._refuse("shape")
            return
        counters.add("flowd_forward_messages_total", mode=message.kind)
        tag = bytes(view[slice(*message.tag)])
        stream = self._desk.routes.find(tag)
        if stream is None:
            self._desk.complain(tag)
            counters.add("flowd_forward_dropped_messages_total", reason="tag")
            return
        try:
            option = read_option(bytes(view[slice(*message.option)]))
            entries = self._find_entries(message, option.compressed)
        except (BadOption, CannotOpen) as error:
            counters.add("flowd_forward_dropped_messages_total", reason=str(error.args[0]))
            return
        is_sound = message.kind in ("message", "forward")
        delivery = Delivery(stream, entries, self, is_sound=is_sound)
        if option.chunk is not None and not self._is_new(tag, option.chunk, delivery):
            return
        if isinstance(entries, memoryview):
            self._buffer.is_lent = True
        delivery.size_bytes = len(entries) + SMALL_BYTES
        self.waiting_bytes += delivery.size_bytes
        self._desk.room.waiting_bytes += delivery.size_bytes
        self._batch.append(delivery)

    def _find_entries(self, message: Message, compressed: str) -> bytes | memoryview:
        found = self._buffer.view[slice(*message.entries)]
        if message.kind == "compressed":
            return open_entries(compressed, found, self._desk.most_bytes)
        if message.is_bare:
            return PAIR + found
        return bytes(found) if len(found) <= COPIED_BYTES else found

    def _is_new(self, tag: bytes, chunk: bytes, delivery: Delivery) -> bool:
        """Whether a chunk is to be stored. Where it is stored already its sender hears so at once, and where it is
        under way, when it is."""
        repeats = self._desk.repeats
        key = make_key(self._sender, tag, chunk)
        ack = pack_ack(chunk)
        if repeats.is_stored(key):
            self.acknowledge(ack)
        elif (earlier := repeats.find_under_way(key)) is not None:
            earlier.waiters.append((self, ack))
        else:
            delivery.waiters.append((self, ack))
            repeats.begin(key, delivery)
            return True
        self._desk.counters.add("flowd_forward_repeated_chunks_total")
        return False

    def _refuse(self, reason: str) -> None:
        """What came is no message, and nobody knows where the next one begins."""
        self._desk.counters.add("flowd_forward_malformed_messages_total", reason=reason)
        log.warning("forward: %s: not the Forward protocol (%s): closed", self._sender.decode(errors="replace"), reason)
        self.give_up("malformed")

    # The handshake

    def _shake_hands(self, handshake: Handshake) -> None:
        buffer = self._buffer
        try:
            found = handshake.read(bytes(buffer.view[buffer.begin : buffer.end]))
        except BadPing:
            self._turn_away("malformed")
            return
        if found is None:
            return
        verdict, length = found
        if verdict.refusal:
            self._turn_away(verdict.refusal, verdict.pong)
            return
        self._transport.write(verdict.pong)
        buffer.begin += length
        self._sender += b" " + verdict.hostname
        self._handshake = None
        self._drop_timer()

    def _turn_away(self, reason: str, last_word: bytes = b"") -> None:
        self._desk.counters.add("flowd_forward_refused_handshakes_total", reason=reason)
        log.warning("forward: %s was not let in: %s", self._sender.decode(errors="replace"), reason)
        self._is_over = True
        self._transport.write(last_word)
        self._transport.close()

    def _run_out(self) -> None:
        if not self._is_over:
            self._turn_away("timeout")

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Reading, or not

    def _listen(self) -> None:
        """Reads, or stops to, as it should."""
        if self._is_over or self._transport.is_closing():
            return
        if self._is_short or self._is_stuffed or self._is_stopped:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
