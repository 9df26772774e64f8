"""The thread that carries lines: it owns the ingest and live sockets, and waits on nothing but them.

Receive, decide, publish, acknowledge, one batch after the other: a batch is in the cache while all of it happens, and
each producer's order is kept by itself.
"""

from __future__ import annotations

import logging
import threading
import time

import zmq

from flowd.relay.descriptors import DescriptorWatch
from flowd.relay.ingest import Ingest, Misplaced
from flowd.relay.live import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.reception import Reception
from flowd.wire import Ack
from flowd.wire.sockets import Wake

TURN_BATCHES = 16
"""Messages taken before heartbeats and subscriptions get their turn: a few milliseconds of work."""
ACKNOWLEDGED_TOGETHER = 4
"""Batches that one acknowledgement covers while more wait: half a producer's window, so that it never runs dry."""
QUIET_MS = 50
"""A draining daemon has finished what it received when nothing came for so long."""

log = logging.getLogger(__name__)


class Lanes(threading.Thread):
    """Runs until `drain`; then finishes what was received, for at most the seconds that it is given.

    Owns both sockets from `start` on, and closes them at the end with what is left of that time to flush them.
    `failure` is what ended it otherwise.
    """

    def __init__(
        self,
        router: zmq.Socket[bytes],
        publisher: zmq.Socket[bytes],
        ingest: Ingest,
        live: LiveLane,
        counters: Counters,
    ) -> None:
        super().__init__(name="flowd-lanes", daemon=True)
        self.failure: Exception | None = None
        self._router = router
        self._publisher = publisher
        self._ingest = ingest
        self._live = live
        self._reception = Reception(router, "ingest", counters)
        self._descriptors = DescriptorWatch(counters)
        self._owed: dict[bytes, Ack] = {}
        self._wake = Wake()
        self._drain_until_s: float | None = None

    @property
    def is_draining(self) -> bool:
        """Whether the end has begun."""
        return self._drain_until_s is not None

    @property
    def is_late(self) -> bool:
        """Whether the time given to the end is over."""
        return self._drain_until_s is not None and time.monotonic() >= self._drain_until_s

    def drain(self, within_s: float) -> None:
        """Begins the end; returns at once."""
        if self._drain_until_s is None:
            self._drain_until_s = time.monotonic() + within_s
        self._wake.ring()

    def run(self) -> None:
        """The loop."""
        try:
            self._carry()
            self._finish()
        except Exception as error:
            self.failure = error
            log.exception("the thread that carries lines failed")
        finally:
            self._close()

    def _carry(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._publisher, zmq.POLLIN)
        poller.register(self._wake.fd, zmq.POLLIN)
        while not self.is_draining:
            self._live.read_subscriptions()
            now_s = time.monotonic()
            self._descriptors.check(now_s)
            wait_s = self._live.beat(now_s)
            if not self._take_turn():
                poller.poll(int(wait_s * 1000) + 1)

    def _take_turn(self) -> bool:
        """Carries the batches that wait, up to a turn's worth; False where nothing waited."""
        now_s = time.monotonic()
        for taken in range(TURN_BATCHES):
            received = self._reception.receive(now_s)
            if received is None:
                self._acknowledge()
                return taken > 0
            peer, message = received
            try:
                answer = self._ingest.answer(peer, message)
            except Misplaced:
                self._reception.blame(peer, "type", now_s)
                continue
            if isinstance(answer, Ack):
                self._owed[peer] = answer
                if taken % ACKNOWLEDGED_TOGETHER == ACKNOWLEDGED_TOGETHER - 1:
                    self._acknowledge()
            elif answer is not None:
                self._acknowledge()
                self._reception.reply(peer, answer)
        self._acknowledge()
        return True

    def _acknowledge(self) -> None:
        """Sends the acknowledgements that are owed: one a producer, since each covers all before it."""
        for peer, answer in self._owed.items():
            self._reception.reply(peer, answer)
        self._owed.clear()

    def _finish(self) -> None:
        """Takes what was sent on credit given before, until none comes any more or the time is over."""
        self._ingest.drain()
        while self._take_turn() or self._router.poll(QUIET_MS):
            if self.is_late:
                log.warning("drain: time is over, and producers still had batches under way; they will send them again")
                break
        self._live.beat_all()

    def _close(self) -> None:
        left_s = 0.0 if self._drain_until_s is None else max(0.0, self._drain_until_s - time.monotonic())
        for socket in (self._router, self._publisher):
            socket.close(linger=int(left_s * 1000))
        self._wake.close()
