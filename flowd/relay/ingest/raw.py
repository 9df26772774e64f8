"""Raw ingest: frames of lines from senders that know nothing of FLW, made into batches.

A frame is one or more lines; its last newline may be missing. There are no sequences and no acknowledgements: a line is
carried at most once, and what had not left its sender's or this socket's queue at an end is lost. While the journal has
no room, nothing is read: lines wait in the queues. For one thread.
"""

from __future__ import annotations

import zmq

from flowd.relay.carrier import Carrier, Entry, retry_refused
from flowd.relay.deciding.streams import Stream
from flowd.relay.metrics import Counters
from flowd.wire.limits import BATCH_BYTES, BATCH_DELAY_S, PAYLOAD_MAX_BYTES

TURN_FRAMES = 1024
"""Frames taken before others get their turn: mostly single lines, so a millisecond or two of work."""
TURN_BYTES = 16 * BATCH_BYTES
"""Bytes taken before others get their turn: what the ingest lane's turn carries."""
RETRY_S = 0.1
"""How soon it is looked again whether the journal has room."""


class RawLane:
    """Takes frames from a PULL socket and carries them, batch by batch, as lines of one stream."""

    def __init__(self, socket: zmq.Socket[bytes], stream: Stream, carrier: Carrier, counters: Counters) -> None:
        self.socket = socket
        self._stream = stream
        self._carrier = carrier
        self._counters = counters
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self._due_s = 0.0
        self._refused: list[Entry] = []

    @property
    def is_listening(self) -> bool:
        """Whether frames are read at the moment."""
        return self._carrier.has_room and not self._refused

    @property
    def refused_lines(self) -> int:
        """Lines that were taken and found no room yet."""
        return sum(entry.lines for entry in self._refused)

    def take_turn(self, now_s: float) -> bool:
        """Takes frames that wait, up to a turn's worth; carries what is full or due. False where none waited."""
        retry_refused(self._carrier, self._refused)
        taken = taken_bytes = 0
        while taken < TURN_FRAMES and taken_bytes < TURN_BYTES and self.is_listening:
            try:
                frame = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            taken += 1
            taken_bytes += len(frame)
            self._take(frame, now_s)
        if self._frames and now_s >= self._due_s:
            self.flush()
        return taken > 0

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is something to do; for ever where nothing waits."""
        if self._refused:
            return RETRY_S
        return max(0.0, self._due_s - now_s) if self._frames else float("inf")

    def stored(self, entry: Entry) -> None:
        """Nobody waits to hear it."""

    def refused(self, entry: Entry) -> None:
        """There was no room: it is kept, and nothing more is read."""
        self._refused.append(entry)

    def flush(self) -> None:
        """Carries the open batch, if there is one."""
        if not self._frames:
            return
        lines = b"".join(self._frames)
        self._counters.add("flowd_raw_frames_total", len(self._frames))
        self._frames.clear()
        self._size_bytes = 0
        self._carrier.carry(self._stream, lines, Entry(self))

    def _take(self, frame: bytes, now_s: float) -> None:
        if self.socket.getsockopt(zmq.RCVMORE):
            self._skip_rest()
            self._refuse("multipart")
            return
        if not frame:
            self._refuse("empty")
            return
        if not frame.endswith(b"\n"):
            frame += b"\n"
        if len(frame) > PAYLOAD_MAX_BYTES:
            self._refuse("too_big")
            return
        if self._size_bytes + len(frame) > BATCH_BYTES:
            self.flush()
        if not self._frames:
            self._due_s = now_s + BATCH_DELAY_S
        self._frames.append(frame)
        self._size_bytes += len(frame)

    def _skip_rest(self) -> None:
        """Drops a multipart message's other frames: which of them would be lines, nobody said."""
        while self.socket.getsockopt(zmq.RCVMORE):
            self.socket.recv(zmq.NOBLOCK)

    def _refuse(self, reason: str) -> None:
        self._counters.add("flowd_raw_refused_messages_total", reason=reason)
