"""The thread that carries lines: it owns the ingest, raw and live sockets, and waits on them and on the journal.

Receive, decide, hand to the journal; when the journal has stored, publish and acknowledge. A batch is in the cache
while it is received and decided, and each producer's order is kept by itself.
"""

from __future__ import annotations

import logging
import threading
import time

import zmq

from flowd.errors import FlowdError
from flowd.relay.carrier import Carrier
from flowd.relay.descriptors import DescriptorWatch
from flowd.relay.forward.lane import ForwardLane
from flowd.relay.ingest.front import Front
from flowd.relay.ingest.raw import RawLane
from flowd.relay.live.lane import LiveLane
from flowd.relay.tail.lane import TailLane
from flowd.relay.tasks import Tasks
from flowd.relay.tcp.remote import Remote
from flowd.wire.sockets import Wake

RAW_DRAIN_S = 1.0
"""How long a draining daemon takes what raw senders go on sending: nothing tells them to stop."""
LOOK_S = 0.002
"""How often, while there is so much to carry that nothing is waited for, it is looked who has subscribed and whether a
heartbeat is due: each look costs a twentieth of what a batch does."""
QUIET_MS = 50
"""A draining daemon has finished what it received when nothing came for so long."""

log = logging.getLogger(__name__)


class Lanes(threading.Thread):
    """Runs until `drain`; then finishes what was received, for at most the seconds that it is given.

    Owns its sockets from `start` on, and closes them at the end with what is left of that time to flush them.
    `failure` is what ended it otherwise, `unfinished` what there was no time for. `wake` ends its waiting: the
    journal's outbox rings it. `tasks` are done between two batches.
    """

    def __init__(
        self,
        router: zmq.Socket[bytes],
        publisher: zmq.Socket[bytes],
        front: Front,
        live: LiveLane,
        carrier: Carrier,
        wake: Wake,
        descriptors: DescriptorWatch,
        raw: RawLane | None = None,
        remote: Remote | None = None,
        tail: TailLane | None = None,
        forward: ForwardLane | None = None,
    ) -> None:
        super().__init__(name="flowd-lanes", daemon=True)
        self.failure: Exception | None = None
        self.unfinished: list[str] = []
        self._router = router
        self._publisher = publisher
        self._live = live
        self._carrier = carrier
        self._raw = raw
        self._remote = remote
        self._tail = tail
        self._forward = forward
        self._fronts = [front] if remote is None else [front, remote.front]
        self._descriptors = descriptors
        self.tasks = Tasks(wake, self.is_alive)
        self._wake = wake
        self._is_called = True
        self._drain_until_s: float | None = None

    @property
    def turned_s(self) -> float:
        """When the loop, and deciding, last moved on, by the steady clock: at least once a second, even where nothing
        comes."""
        return min(max(front.moved_s for front in self._fronts), self._carrier.moved_s)

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
            self._carrier.start()
            self._carry()
            self._finish()
        except FlowdError as error:  # said where it was met
            self.failure = error
        except Exception as error:
            self.failure = error
            log.exception("the thread that carries lines failed")
        finally:
            self._close()

    def _carry(self) -> None:
        calm, all_ears = self._make_pollers()
        beat_s = looked_s = 0.0
        while not self.is_draining:
            if self.tasks:
                self._carrier.finish_deciding()
                self.tasks.do_all()
            now_s = time.monotonic()
            is_busy = self._take_turn(now_s)
            if self._is_called or now_s >= beat_s or (is_busy and now_s - looked_s >= LOOK_S):
                self._is_called = self._remote is not None  # its publisher may have to be looked at after each batch
                looked_s = now_s
                beat_s = now_s + self._look_around(now_s)
            wait_s = beat_s - now_s
            if self._raw is not None:
                is_busy |= self._raw.take_turn(now_s)
                wait_s = min(wait_s, self._raw.wait_s(now_s))
                all_ears.register(self._raw.socket, zmq.POLLIN if self._raw.is_listening else 0)
            if self._tail is not None:
                is_busy |= self._tail.take_turn(now_s)
                wait_s = min(wait_s, self._tail.wait_s(now_s))
            if self._forward is not None:
                is_busy |= self._forward.take_turn(now_s)
                wait_s = min(wait_s, self._forward.wait_s())
            if not is_busy:
                self._wait(all_ears if self._carrier.has_room else calm, wait_s)

    def _look_around(self, now_s: float) -> float:
        """Does what is to be done beside carrying; returns the seconds until the next heartbeat."""
        self._live.read_subscriptions()
        self._descriptors.check(now_s)
        return self._live.beat(now_s)

    def _make_pollers(self) -> tuple[zmq.Poller, zmq.Poller]:
        """One that hears the journal and subscriptions, for while there is no room for batches; and one for all."""
        calm, all_ears = zmq.Poller(), zmq.Poller()
        for poller in (calm, all_ears):
            poller.register(self._wake.fd, zmq.POLLIN)
            poller.register(self._publisher, zmq.POLLIN)
        all_ears.register(self._router, zmq.POLLIN)
        if self._remote is not None:
            self._remote.register_live(calm)
            self._remote.register_live(all_ears)
            self._remote.register_ingest(all_ears)
        return calm, all_ears

    def _wait(self, poller: zmq.Poller, wait_s: float) -> None:
        """Waits until something comes. Where it is neither batches nor the journal, there is something to look at."""
        ready = dict(poller.poll(int(wait_s * 1000) + 1))
        is_rung = ready.pop(self._wake.fd, 0)
        if is_rung:
            self._wake.clear()
        ready.pop(self._router, 0)
        self._is_called |= bool(ready)

    def _take_turn(self, now_s: float) -> bool:
        """Publishes and acknowledges what was stored, and takes the batches that wait, up to a turn's worth at each
        front; False where there was nothing to do."""
        is_busy = self._carrier.settle()
        for front in self._fronts:
            front.settle()
        for front in self._fronts:
            is_busy |= front.take_turn(now_s)
        return is_busy

    def _finish(self) -> None:
        """Takes what was sent on credit given before, until none comes any more and all is stored, or the time is over.

        Raw senders have no credit that could end: they are given a second, or less where they are silent. Of followed
        files no more is taken: the next daemon goes on where this one's journal ends. Senders of Forward are not read
        any more, and what came whole of them is taken.
        """
        for front in self._fronts:
            front.ingest.drain()
        raw, forward = self._raw, self._forward
        raw_until_s = time.monotonic() + RAW_DRAIN_S
        ears = zmq.Poller()
        ears.register(self._wake.fd, zmq.POLLIN)
        ears.register(self._router, zmq.POLLIN)
        if self._remote is not None:
            self._remote.register_ingest(ears)
        while True:
            now_s = time.monotonic()
            is_busy = self._take_turn(now_s)
            if raw is not None:
                is_listening = now_s < raw_until_s and raw.is_listening
                if is_listening:
                    is_busy |= raw.take_turn(now_s)
                ears.register(raw.socket, zmq.POLLIN if is_listening else 0)
            if forward is not None:
                is_busy |= forward.take_turn(now_s)
            if self.is_late:
                self._give_up("producers still had batches under way; they will send them again")
                break
            if is_busy or self._hear(ears) or self._carrier.under_way_bytes:
                continue
            if forward is None or forward.is_finished:
                break
        if raw is not None:
            self._finish_raw(raw)
        self._live.beat_all()

    def _hear(self, ears: zmq.Poller) -> bool:
        """Whether anything came before it was quiet for a while."""
        ready = dict(ears.poll(QUIET_MS))
        if self._wake.fd in ready:
            self._wake.clear()
        return bool(ready)

    def _finish_raw(self, raw: RawLane) -> None:
        raw.flush()
        while self._carrier.under_way_bytes and not self.is_late:
            self._carrier.settle()
            if self._carrier.under_way_bytes:
                zmq.select([self._wake.fd], [], [], QUIET_MS / 1000)
                self._wake.clear()
        if raw.refused_lines:
            self._give_up(f"{raw.refused_lines} lines of raw senders found no room in the journal and are lost")
        if raw.socket.poll(0):
            self._give_up("raw senders were still sending; what they had sent is lost")

    def _give_up(self, what: str) -> None:
        self.unfinished.append(what)
        log.warning("drain: %s", what)

    def _close(self) -> None:
        self._carrier.end()
        left_s = 0.0 if self._drain_until_s is None else max(0.0, self._drain_until_s - time.monotonic())
        for socket in (self._router, self._publisher):
            socket.close(linger=int(left_s * 1000))
        if self._raw is not None:
            self._raw.socket.close()
        if self._remote is not None:
            self._remote.close(left_s)
        self._live.close()
