"""The live lane over TCP: each subscription is looked at with the key that its connection was opened with.

A plain XPUB can neither refuse a topic to one key nor drop one subscriber. So subscriptions are taken by hand
(XPUB_MANUAL), and when a key that has one loses its right, the socket is closed and its endpoints are bound again: the
others come back by themselves, the key that lost its right is stopped at the gate.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import zmq

from flowd.relay.deciding.views import Views
from flowd.relay.metrics import Counters
from flowd.relay.taken import NotToBeHad, hint_of_address
from flowd.relay.tcp.allowed import CONSUME, AllowedKeys, Grant
from flowd.relay.tcp.gate import Gate
from flowd.wire import Buffer
from flowd.wire.limits import is_stream_name
from flowd.wire.sockets import allow_ipv6, send_frames

CHECK_S = 0.1
"""How long what a key may do is taken for granted: a revocation is seen at most so much later."""
RETRY_S = 0.005
"""How soon an endpoint is bound again that ZeroMQ has not given back yet."""
PATIENCE_S = 5.0
"""When an endpoint that cannot be bound again is said in the log, once."""
SUBSCRIPTIONS_READ = 256
TOPICS_MAX = 1024
"""Topics of one key: a subscription beyond them is refused."""

log = logging.getLogger(__name__)


class RemotePublisher:
    """An XPUB at TCP endpoints. Belongs to the thread that carries lines, from its first use on.

    `open_socket` makes a socket with its keys and its watch, not bound yet. Raises FlowdError where an endpoint cannot
    be bound at the start. `endpoints` are the ones that were bound, with their real ports.
    """

    def __init__(
        self,
        open_socket: Callable[[], zmq.Socket[bytes]],
        endpoints: Sequence[str],
        allowed: AllowedKeys,
        gate: Gate,
        views: Views,
        counters: Counters,
    ) -> None:
        self._open_socket = open_socket
        self._views = views
        self._allowed = allowed
        self._gate = gate
        self._counters = counters
        self._topics: dict[str, set[bytes]] = {}
        self._taken: Counter[bytes] = Counter()
        self._refused: Counter[bytes] = Counter()
        self._lost: list[bytes] = []
        self._checked_s = 0.0
        self._unbound: list[str] = []
        self._patient_until_s = 0.0
        self._pollers: list[zmq.Poller] = []
        self._socket = open_socket()
        self.endpoints = [bind_tcp(self._socket, endpoint) for endpoint in endpoints]

    def register(self, poller: zmq.Poller) -> None:
        """Has a poller wake for subscriptions."""
        self._pollers.append(poller)
        poller.register(self._socket, zmq.POLLIN)

    def wait_s(self) -> float:
        """Seconds until there is something to do again."""
        return RETRY_S if self._unbound else float("inf")

    def send(self, frames: Sequence[Buffer | zmq.Frame]) -> None:
        """Publishes to those who are allowed to hear it now."""
        if self._unbound or not self._taken or not self._gate.is_alive():
            return
        now_s = time.monotonic()
        if now_s - self._checked_s >= CHECK_S:
            self._checked_s = now_s
            if not all(self._may_hear(key, topics) for key, topics in self._topics.items()):
                self._rebind()
                return
        send_frames(self._socket, frames)

    def read_subscriptions(self) -> list[tuple[bytes, bool]]:
        """The topics that subscriptions came to (True) or went from since the last call."""
        if self._unbound:
            self._bind_again()
        changes = [(topic, False) for topic in self._lost]
        self._lost.clear()
        for _ in range(SUBSCRIPTIONS_READ):
            try:
                note = self._socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            kind, topic = note.bytes[:1], note.bytes[1:]
            if kind == b"\1" and self._take(note, topic):
                changes.append((topic, True))
            elif kind == b"\0" and self._forget(topic):
                changes.append((topic, False))
            elif kind not in (b"\0", b"\1"):
                self._counters.add("flowd_malformed_messages_total", lane="live", reason="subscription")
        return changes

    def close(self, linger_s: float) -> None:
        """Closes the socket, with so much time for what was published."""
        self._socket.disable_monitor()
        self._socket.close(linger=int(linger_s * 1000))

    def _take(self, note: zmq.Frame, topic: bytes) -> bool:
        """Answers a subscription: the socket serves it where its key may hear the topic."""
        try:
            key = str(note.get("User-Id"))
        except zmq.ZMQError:  # no connection gets here without one; if it did, it would hear nothing
            key = ""
        topics = self._topics.get(key, set())
        if not self._may_hear(key, {topic}) or len(topics) >= TOPICS_MAX:
            self._counters.add("flowd_refused_subscriptions_total", lane="live")
            if len(self._refused) < TOPICS_MAX or topic in self._refused:
                self._refused[topic] += 1
            return False
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)
        self._topics.setdefault(key, set()).add(topic)
        self._taken[topic] += 1
        return True

    def _forget(self, topic: bytes) -> bool:
        """Takes an end of a subscription into account. It comes without its key: where a topic was refused to some and
        given to others, the refused ones count as gone first."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic)
        counted = self._refused if self._refused[topic] > 0 else self._taken
        known = counted[topic] > 0
        counted[topic] -= 1
        for counts in (self._refused, self._taken):
            if counts[topic] <= 0:
                del counts[topic]
        return known and counted is self._taken

    def _may_hear(self, key: str, topics: set[bytes]) -> bool:
        grant = self._allowed.find(key)
        if grant is None or CONSUME not in grant.roles:
            return False
        return all(topic[-1:] == b"\0" and self._is_granted(grant, topic[:-1]) for topic in topics)

    def _is_granted(self, grant: Grant, name: bytes) -> bool:
        """Whether a key is good for this name: a stream, or a view, or a view of a stream that it is good for."""
        text = name.decode("ascii", "replace")
        view = self._views.find(text)
        return is_stream_name(text) and (grant.has_stream(text) or (view is not None and grant.has_stream(view.stream)))

    def _rebind(self) -> None:
        """Drops every subscriber at once: nothing that is queued for one goes out any more."""
        log.warning("live: a key lost its right to a subscription; its endpoints are bound again")
        self._counters.add("flowd_revocations_total", lane="live")
        for poller in self._pollers:
            poller.unregister(self._socket)
        self._socket.disable_monitor()
        self._socket.close(linger=0)
        self._lost = list(self._taken.elements())
        self._topics.clear()
        self._taken.clear()
        self._refused.clear()
        self._unbound = list(self.endpoints)
        self._patient_until_s = time.monotonic() + PATIENCE_S
        self._socket = self._open_socket()
        for poller in self._pollers:
            poller.register(self._socket, zmq.POLLIN)

    def _bind_again(self) -> None:
        """ZeroMQ gives a port back some time after its socket was closed: tried until it does."""
        while self._unbound:
            allow_ipv6(self._socket, self._unbound[-1])
            try:
                self._socket.bind(self._unbound[-1])
            except zmq.ZMQError as error:
                if time.monotonic() >= self._patient_until_s:
                    self._patient_until_s = float("inf")
                    log.error("live: %s cannot be bound again: %s; still trying", self._unbound[-1], error)
                return
            self._unbound.pop()


def bind_tcp(socket: zmq.Socket[bytes], endpoint: str) -> str:
    """Binds, and returns the endpoint with its real port. Raises NotToBeHad."""
    allow_ipv6(socket, endpoint)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        hint = hint_of_address(error.errno)
        raise NotToBeHad(f"{endpoint} cannot be bound: {error}", error.errno, hint=hint) from error
    bound = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(bound, bytes)
    return bound.rstrip(b"\0").decode()
