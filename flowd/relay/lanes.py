"""The thread that carries lines: it owns the ingest, raw and live sockets, and waits on nothing but them.

Receive, decide, publish, acknowledge, one batch after the other: a batch is in the cache while all of it happens, and
each producer's order is kept by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import zmq

from flowd.errors import FlowdError
from flowd.relay.descriptors import DescriptorWatch
from flowd.relay.ingest.front import Front
from flowd.relay.ingest.lane import Ingest
from flowd.relay.ingest.raw import RawLane
from flowd.relay.live.lane import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.reception import Reception
from flowd.relay.tcp.remote import Remote
from flowd.wire.sockets import Wake

RAW_DRAIN_S = 1.0
"""How long a draining daemon takes what raw senders go on sending: nothing tells them to stop."""
TASK_WAIT_S = 1.0
"""How often who waits for a task looks whether this thread still lives."""
QUIET_MS = 50
"""A draining daemon has finished what it received when nothing came for so long."""

log = logging.getLogger(__name__)


class Lanes(threading.Thread):
    """Runs until `drain`; then finishes what was received, for at most the seconds that it is given.

    Owns its sockets from `start` on, and closes them at the end with what is left of that time to flush them.
    `failure` is what ended it otherwise, `unfinished` what there was no time for.
    """

    def __init__(
        self,
        router: zmq.Socket[bytes],
        publisher: zmq.Socket[bytes],
        ingest: Ingest,
        live: LiveLane,
        counters: Counters,
        raw: RawLane | None = None,
        remote: Remote | None = None,
    ) -> None:
        super().__init__(name="flowd-lanes", daemon=True)
        self.failure: Exception | None = None
        self.unfinished: list[str] = []
        self._router = router
        self._publisher = publisher
        self._ingest = ingest
        self._live = live
        self._raw = raw
        self._remote = remote
        self._front = Front(Reception(router, "ingest", counters), ingest)
        self._descriptors = DescriptorWatch(counters)
        self._wake = Wake()
        self._tasks: deque[tuple[Callable[[], int], Future[int]]] = deque()
        self._drain_until_s: float | None = None

    @property
    def turned_s(self) -> float:
        """When the loop last moved on, by the steady clock: at least once a second, even where nothing comes."""
        if self._remote is None:
            return self._front.moved_s
        return max(self._front.moved_s, self._remote.front.moved_s)

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

    def between_batches(self, task: Callable[[], int]) -> int:
        """Has a task done by this thread between two batches, and returns what it returned. Called by other threads.

        Raises what the task raises, and FlowdError where the thread has ended.
        """
        done: Future[int] = Future()
        self._tasks.append((task, done))
        self._wake.ring()
        while True:
            try:
                return done.result(TASK_WAIT_S)
            except TimeoutError:
                if not self.is_alive() and not done.done():
                    raise FlowdError("the daemon has ended", hint="start it again") from None

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
        if self._raw is not None:
            poller.register(self._raw.socket, zmq.POLLIN)
        if self._remote is not None:
            self._remote.register(poller)
        while not self.is_draining:
            if self._tasks:
                self._do_tasks()
            now_s = time.monotonic()
            self._live.read_subscriptions()
            self._descriptors.check(now_s)
            wait_s = self._live.beat(now_s)
            is_busy = self._take_turn()
            if self._raw is not None:
                is_busy |= self._raw.take_turn(now_s)
                wait_s = min(wait_s, self._raw.wait_s(now_s))
            if not is_busy:
                poller.poll(int(wait_s * 1000) + 1)

    def _take_turn(self) -> bool:
        """Carries the batches that wait, up to a turn's worth at each front; False where nothing waited."""
        now_s = time.monotonic()
        is_busy = self._front.take_turn(now_s)
        if self._remote is not None:
            is_busy |= self._remote.front.take_turn(now_s)
        return is_busy

    def _do_tasks(self) -> None:
        self._wake.clear()
        while self._tasks:
            task, done = self._tasks.popleft()
            try:
                done.set_result(task())
            except Exception as error:  # for who asked, not for the lines
                done.set_exception(error)

    def _finish(self) -> None:
        """Takes what was sent on credit given before, until none comes any more or the time is over.

        Raw senders have no credit that could end: they are given a second, or less where they are silent.
        """
        self._ingest.drain()
        if self._remote is not None:
            self._remote.ingest.drain()
        raw = self._raw
        raw_until_s = time.monotonic() + RAW_DRAIN_S
        receiving = zmq.Poller()
        receiving.register(self._router, zmq.POLLIN)
        if self._remote is not None:
            self._remote.register_ingest(receiving)
        if raw is not None:
            receiving.register(raw.socket, zmq.POLLIN)
        while self._take_turn() or receiving.poll(QUIET_MS):
            now_s = time.monotonic()
            if self.is_late:
                self._give_up("producers still had batches under way; they will send them again")
                break
            if raw is not None and raw.socket in receiving:
                raw.take_turn(now_s)
                if now_s >= raw_until_s:
                    receiving.unregister(raw.socket)
        if raw is not None:
            raw.flush()
            if raw.socket.poll(0):
                self._give_up("raw senders were still sending; what they had sent is lost")
        self._live.beat_all()

    def _give_up(self, what: str) -> None:
        self.unfinished.append(what)
        log.warning("drain: %s", what)

    def _close(self) -> None:
        left_s = 0.0 if self._drain_until_s is None else max(0.0, self._drain_until_s - time.monotonic())
        for socket in (self._router, self._publisher):
            socket.close(linger=int(left_s * 1000))
        if self._raw is not None:
            self._raw.socket.close()
        if self._remote is not None:
            self._remote.close(left_s)
        self._wake.close()
