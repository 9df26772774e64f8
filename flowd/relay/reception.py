"""Where a lane's messages come in: a ROUTER socket read frame by frame, and strangers kept at a distance.

Whatever is no message of FLW/1 is counted by its reason and goes no further. A peer that sends ten such in a minute is
ignored for a minute. Nothing here knows what a message means.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import zmq

from flowd.errors import WireError
from flowd.relay.metrics import Counters
from flowd.wire import Buffer, Header, Message, encode, parse
from flowd.wire.sockets import DO_NOT_WAIT, has_message, send_frames

FRAMES_READ = 4
"""One more than a message can have: enough to see that there are too many; the others are dropped unread."""
DISCARDED_MAX = 64
"""Useless messages read in one go: a flood of them must not keep heartbeats, or the end, waiting."""
OFFENCES_MAX = 10
OFFENCE_WINDOW_S = 60.0
IGNORED_S = 60.0
OFFENDERS_MAX = 4096
"""Offending peers remembered; the one that offended longest ago is forgotten first."""


@dataclass(slots=True)
class _Offender:
    since_s: float
    offences: int = 0
    ignored_until_s: float = 0.0


class Offenders:
    """The peers that sent malformed messages lately. Times are seconds of one steady clock, given by the caller."""

    def __init__(self) -> None:
        self._peers: OrderedDict[bytes, _Offender] = OrderedDict()

    def is_ignored(self, peer: bytes, now_s: float) -> bool:
        """Whether this peer is not listened to at the moment."""
        offender = self._peers.get(peer)
        return offender is not None and now_s < offender.ignored_until_s

    def blame(self, peer: bytes, now_s: float) -> None:
        """Takes note of a malformed message."""
        offender = self._peers.get(peer)
        if offender is None or now_s - offender.since_s > OFFENCE_WINDOW_S:
            offender = self._peers[peer] = _Offender(now_s)
        self._peers.move_to_end(peer)
        offender.offences += 1
        if offender.offences >= OFFENCES_MAX:
            offender.ignored_until_s = now_s + IGNORED_S
            offender.since_s, offender.offences = now_s, 0
        if len(self._peers) > OFFENDERS_MAX:
            self._peers.popitem(last=False)


class Reception:
    """The front of one lane: `receive` gives well-formed messages with their peer, `reply` answers one.

    `heard_key` is the CURVE key of the last message's peer; "" where there are no keys.
    """

    is_inside = False

    def __init__(self, socket: zmq.Socket[bytes], lane: str, counters: Counters) -> None:
        self.heard_key = ""
        self._socket = socket
        self._lane = lane
        self._counters = counters
        self._offenders = Offenders()

    def receive(self, now_s: float) -> tuple[bytes, Message[Header]] | None:
        """The next message that waits, or None: there is none, or only strangers' noise was read so far.

        A large third frame is not copied.
        """
        for _ in range(DISCARDED_MAX):
            if not has_message(self._socket):
                return None
            first = self._socket.recv(DO_NOT_WAIT, copy=False)
            peer = first.bytes
            frames = self._read_frames(first)
            if self._offenders.is_ignored(peer, now_s):
                self._counters.add("flowd_ignored_messages_total", lane=self._lane)
                continue
            try:
                return peer, parse(frames)
            except WireError as error:
                self.blame(peer, error.reason, now_s)
        return None

    def blame(self, peer: bytes, reason: str, now_s: float) -> None:
        """Counts a malformed message of this peer."""
        self._counters.add("flowd_malformed_messages_total", lane=self._lane, reason=reason)
        self._offenders.blame(peer, now_s)

    def may_hear(self, key: str, stream: str) -> bool:  # noqa: ARG002
        """Whether the holder of this key may be sent the stream now."""
        return True

    def reply(self, peer: bytes, header: Header) -> None:
        """Answers, unless the peer is gone or does not read its answers: that is counted, never waited for."""
        outcome = self.send(peer, header)
        if outcome:
            self._counters.add("flowd_undelivered_replies_total", lane=self._lane, reason=outcome)

    def send(self, peer: bytes, header: Header, lines: bytes | zmq.Frame | None = None) -> str:
        """Sends a message, without waiting: "" where it went, else why not: the peer is `gone`, or its queue `full`.
        A frame of ZeroMQ's own is not copied."""
        frames: list[Buffer | zmq.Frame] = [peer, *encode(header)]
        if lines is not None:
            frames.append(lines)
        try:
            send_frames(self._socket, frames, DO_NOT_WAIT)
        except zmq.Again:
            return "full"
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return "gone"
        return ""

    def _read_frames(self, first: zmq.Frame) -> list[Buffer]:
        """The frames that follow the first one."""
        frames: list[Buffer] = []
        frame = first
        while frame.more:
            frame = self._socket.recv(DO_NOT_WAIT, copy=False)
            if len(frames) < FRAMES_READ:
                frames.append(frame.buffer if len(frames) == 2 else frame.bytes)
        return frames
