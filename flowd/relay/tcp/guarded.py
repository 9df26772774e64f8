"""Ingest over TCP: each message is looked at with the key that its connection was opened with.

The key is ZeroMQ's User-Id, which the gate gave; it is asked for anew with every message, so that a key that was
removed is refused from the next message on.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import zmq

from flowd.errors import WireError
from flowd.relay.metrics import Counters
from flowd.relay.reception import Reception
from flowd.relay.tcp.allowed import PRODUCE, AllowedKeys, Grant
from flowd.relay.tcp.gate import Gate
from flowd.wire import Data, Err, Header, Hello, Message, Nak, parse
from flowd.wire.limits import ID_BYTES

REFUSED_TEXT = "this key is not allowed to produce"


class GuardedReception(Reception):
    """The front of the ingest lane at its TCP endpoints."""

    def __init__(self, socket: zmq.Socket[bytes], allowed: AllowedKeys, gate: Gate, counters: Counters) -> None:
        super().__init__(socket, "ingest", counters)
        self._allowed = allowed
        self._gate = gate

    def receive(self, now_s: float) -> tuple[bytes, Message[Header]] | None:
        """The next message that waits and is allowed, or None."""
        while True:
            try:
                first = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return None
            peer = first.bytes
            frames = self._read_frames()
            grant = self._admit(first, peer)
            if grant is None:
                continue
            if self._offenders.is_ignored(peer, now_s):
                self._counters.add("flowd_ignored_messages_total", lane=self._lane)
                continue
            try:
                message = parse(frames)
            except WireError as error:
                self.blame(peer, error.reason, now_s)
                continue
            if self._is_for_allowed_stream(peer, message.header, grant):
                return peer, _name_by_key(message, grant)

    def _admit(self, first: zmq.Frame, peer: bytes) -> Grant | None:
        """What the connection's key is allowed now; None, with an answer where it helps, for one that may not speak."""
        if not self._gate.is_alive():
            self._refuse("gate")
            return None
        try:
            key = str(first.get("User-Id"))
        except zmq.ZMQError:  # no connection gets here without one; if it did, it would not be heard
            key = ""
        grant = self._allowed.find(key)
        if grant is not None and PRODUCE in grant.roles:
            return grant
        self._refuse("revoked" if grant is None else "role")
        self.reply(peer, Err("key", REFUSED_TEXT))
        return None

    def _is_for_allowed_stream(self, peer: bytes, header: Header, grant: Grant) -> bool:
        if not isinstance(header, Data) or grant.has_stream(header.st):
            return True
        self._counters.add("flowd_refused_batches_total", reason="stream_key")
        self.reply(peer, Nak(header.s, "stream"))
        return False

    def _refuse(self, reason: str) -> None:
        self._counters.add("flowd_refused_messages_total", lane=self._lane, reason=reason)


def _name_by_key(message: Message[Header], grant: Grant) -> Message[Header]:
    """A HELLO under an id made of the producer's and the key's: nobody speaks for the producer of another key."""
    if not isinstance(message.header, Hello):
        return message
    name = blake2b(message.header.pid, digest_size=ID_BYTES, key=grant.key.encode()).digest()
    return message._replace(header=msgspec.structs.replace(message.header, pid=name))
