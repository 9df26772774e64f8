"""What the daemon has at its TCP endpoints: the gate and the watch at their doors, the lanes behind.

Producers here have marks of their own, told apart by their keys: nothing that comes over TCP can speak for a producer
on this node.
"""

from __future__ import annotations

from functools import partial

import zmq

from flowd.relay.carrier import Carrier
from flowd.relay.config import Config
from flowd.relay.deciding.streams import Streams
from flowd.relay.ingest.front import Front
from flowd.relay.ingest.lane import Ingest
from flowd.relay.journal.store import Store
from flowd.relay.live.lane import LiveLane
from flowd.relay.live.remote import RemotePublisher, bind_tcp
from flowd.relay.metrics import Counters
from flowd.relay.tcp.allowed import AllowedKeys
from flowd.relay.tcp.gate import DOMAIN_PREFIX, Gate
from flowd.relay.tcp.guarded import GuardedReception
from flowd.relay.tcp.watch import Watch
from flowd.wire.keys import read_secret
from flowd.wire.sockets import is_tcp, open_socket, secure_server, shape_consume_socket


class Remote:
    """The lanes over TCP. `front` and `ingest` take batches; `live` was given a publisher where it has an endpoint;
    `consume` is a reception with its socket, for the thread that serves consumers, where there is an endpoint."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: Config,
        streams: Streams,
        carrier: Carrier,
        store: Store,
        live: LiveLane,
        counters: Counters,
        consume_counters: Counters,
    ) -> None:
        directory = config.curve.allowed_keys_dir
        self._context = context
        self._secret_key = read_secret(config.curve.server_secret_file).secret
        self._gate_counters, self._watch_counters = Counters(), Counters()
        self._gate = Gate(context, directory, self._gate_counters)
        self._watch = Watch(context, self._watch_counters)
        self._router = self._open_socket(zmq.ROUTER, "ingest")
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._publisher: RemotePublisher | None = None
        self.endpoints = {"ingest": [bind_tcp(self._router, one) for one in config.sources.ingest.bind if is_tcp(one)]}
        allowed = AllowedKeys(directory)
        self.ingest = Ingest(streams, carrier, store, counters)
        self.front = Front(GuardedReception(self._router, "ingest", allowed, self._gate, counters), self.ingest)
        binds = [one for one in config.live.bind if is_tcp(one)]
        if binds:
            open_publisher = partial(self._open_socket, zmq.XPUB, "live")
            self._publisher = RemotePublisher(open_publisher, binds, allowed, self._gate, streams.views, counters)
            live.attach(self._publisher)
        self.endpoints["live"] = self._publisher.endpoints if self._publisher is not None else []
        self.consume: tuple[GuardedReception, zmq.Socket[bytes]] | None = None
        binds = [one for one in config.consume.bind if is_tcp(one)]
        self.endpoints["consume"] = []
        if binds:
            router = self._open_socket(zmq.ROUTER, "consume")
            shape_consume_socket(router)
            self.endpoints["consume"] = [bind_tcp(router, one) for one in binds]
            own = AllowedKeys(directory)
            self.consume = GuardedReception(router, "consume", own, self._gate, consume_counters), router

    @property
    def is_guarded(self) -> bool:
        """Whether the gate lives: without it nothing goes in or out here."""
        return self._gate.is_alive()

    def start(self) -> None:
        """Opens the gate."""
        self._watch.start()
        self._gate.start()

    @property
    def door_counters(self) -> tuple[Counters, ...]:
        """What is counted at the doors."""
        return self._gate_counters, self._watch_counters

    def register_live(self, poller: zmq.Poller) -> None:
        """Has a poller of the thread that carries lines wake for subscriptions."""
        if self._publisher is not None:
            self._publisher.register(poller)

    def register_ingest(self, poller: zmq.Poller) -> None:
        """The same for what producers send."""
        poller.register(self._router, zmq.POLLIN)

    def close(self, linger_s: float) -> None:
        """Closes the lanes' sockets, with so much time for what they still hold."""
        self._router.disable_monitor()
        self._router.close(linger=int(linger_s * 1000))
        if self._publisher is not None:
            self._publisher.close(linger_s)

    def end(self) -> None:
        """Ends the gate and the watch, when the lanes' sockets are closed."""
        self._gate.end()
        self._watch.end()

    def _open_socket(self, kind: int, lane: str) -> zmq.Socket[bytes]:
        socket = open_socket(self._context, kind)
        if kind == zmq.XPUB:
            socket.setsockopt(zmq.XPUB_MANUAL, 1)
        secure_server(socket, self._secret_key, DOMAIN_PREFIX + lane)
        self._watch.add(lane, socket)
        return socket
