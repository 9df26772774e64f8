"""The ingest and consume lanes over TCP: each message is looked at with the key that its connection was opened with.

The key is ZeroMQ's User-Id, which the gate gave; it is asked for anew with every message, so that a key that was
removed is refused from the next message on.
"""

from __future__ import annotations

import time
from hashlib import blake2b

import msgspec
import zmq

from flowd.errors import WireError
from flowd.relay.metrics import Counters
from flowd.relay.reception import DISCARDED_MAX, Reception
from flowd.relay.tcp.allowed import AllowedKeys, Grant
from flowd.relay.tcp.gate import ROLE_OF_LANE, Gate
from flowd.wire import Attach, Data, Err, Header, Hello, Message, Nak, View, parse
from flowd.wire.limits import ID_BYTES
from flowd.wire.sockets import DO_NOT_WAIT, has_message

CHECK_S = 0.1
"""How long what a key may hear is taken for granted: a revocation is seen at most so much later."""
CHECKED_MAX = 4096


class GuardedReception(Reception):
    """The front of a lane at its TCP endpoints."""

    def __init__(
        self, socket: zmq.Socket[bytes], lane: str, allowed: AllowedKeys, gate: Gate, counters: Counters
    ) -> None:
        super().__init__(socket, lane, counters)
        self._role = ROLE_OF_LANE[lane]
        self._allowed = allowed
        self._gate = gate
        self._checked: dict[tuple[str, str], tuple[float, bool]] = {}

    def receive(self, now_s: float) -> tuple[bytes, Message[Header]] | None:
        """The next message that waits and is allowed, or None."""
        for _ in range(DISCARDED_MAX):
            if not has_message(self._socket):
                return None
            first = self._socket.recv(DO_NOT_WAIT, copy=False)
            peer = first.bytes
            frames = self._read_frames(first)
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
        return None

    def may_hear(self, key: str, stream: str) -> bool:
        """Whether the holder of this key may be sent the stream now."""
        now_s = time.monotonic()
        known = self._checked.get((key, stream))
        if known is not None and now_s - known[0] < CHECK_S:
            return known[1]
        grant = self._allowed.find(key) if self._gate.is_alive() else None
        may = grant is not None and self._role in grant.roles and grant.has_stream(stream)
        if len(self._checked) >= CHECKED_MAX:
            self._checked.clear()
        self._checked[key, stream] = now_s, may
        return may

    def _admit(self, first: zmq.Frame, peer: bytes) -> Grant | None:
        """What the connection's key is allowed now; None, with an answer where it helps, for one that may not speak."""
        if not self._gate.is_alive():
            self._refuse("gate")
            return None
        try:
            key = str(first.get("User-Id"))
        except zmq.ZMQError:  # no connection gets here without one; if it did, it would not be heard
            key = ""
        self.heard_key = key
        grant = self._allowed.find(key)
        if grant is not None and self._role in grant.roles:
            return grant
        self._refuse("revoked" if grant is None else "role")
        self.reply(peer, Err("key", f"this key is not allowed to {self._role}"))
        return None

    def _is_for_allowed_stream(self, peer: bytes, header: Header, grant: Grant) -> bool:
        if not isinstance(header, Data | Attach | View) or grant.has_stream(header.st):
            return True
        if isinstance(header, Attach) and header.vw is not None and grant.has_stream(header.vw):
            return True  # a key may be good for a view alone
        if isinstance(header, Data):
            self._counters.add("flowd_refused_batches_total", reason="stream_key")
            self.reply(peer, Nak(header.s, "stream"))
        else:
            self._counters.add("flowd_refused_attachments_total", reason="stream")
            self.reply(peer, Err("stream", f"this key is not allowed to hear {header.st!r}"[:200]))
        return False

    def _refuse(self, reason: str) -> None:
        self._counters.add("flowd_refused_messages_total", lane=self._lane, reason=reason)


def _name_by_key(message: Message[Header], grant: Grant) -> Message[Header]:
    """Names that belong to a key: nobody speaks for the producer, or moves the cursor, of another one.

    A producer's id is made of its own and the key's; a consumer's name gets that of the key's file behind it, so that
    its cursor outlives a change of keys.
    """
    header = message.header
    if isinstance(header, Hello):
        name = blake2b(header.pid, digest_size=ID_BYTES, key=grant.key.encode()).digest()
        return message._replace(header=msgspec.structs.replace(header, pid=name))
    if isinstance(header, Attach) and header.c:
        return message._replace(header=msgspec.structs.replace(header, c=f"{header.c}@{grant.name}"))
    return message
