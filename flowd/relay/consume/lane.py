"""The thread that serves consumers: one of its own, so that one that reads a day's batches, or none, costs others
nothing.

A batch goes out only while its consumer's credit lasts. Those who follow and those who catch up go the same way; who
reads up to an end (a replay) gets a quarter of the time as long as others want some.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import zmq

from flowd.relay.consume.attachment import Attachment
from flowd.relay.consume.consumers import Consumers
from flowd.relay.consume.dispatch import BLOCKED_S, Dispatch
from flowd.relay.consume.door import Door
from flowd.relay.tasks import Tasks
from flowd.wire.sockets import Wake

TURN_MESSAGES = 64
"""Messages read before batches are sent: most of them are credit."""
BURST_BATCHES = 4
"""Batches that one consumer is sent before the next one's turn."""
IDLE_S = 1.0
REPLAY_SHARE = 3
"""Those who follow get so many parts of the time, replays one, while both want some."""

log = logging.getLogger(__name__)


class ConsumeLane(threading.Thread):
    """Serves those who come in at these doors until `end`. Owns the doors' sockets from `start` on, and closes them.

    `wake` ends its waiting: the journal rings it after each commit, and when its own jobs are done. `keep_up` is called
    about once a second. `is_failed` says that nobody is served any more, which should never be.
    """

    def __init__(
        self,
        doors: Sequence[Door],
        sockets: Sequence[zmq.Socket[bytes]],
        consumers: Consumers,
        dispatch: Dispatch,
        wake: Wake,
        keep_up: Callable[[float], None],
    ) -> None:
        super().__init__(name="flowd-consume", daemon=True)
        self.is_failed = False
        self.tasks = Tasks(wake, self.is_alive)
        self.consumers = consumers
        self._doors = doors
        self._sockets = sockets
        self._dispatch = dispatch
        self._wake = wake
        self._keep_up = keep_up
        self._due_s = 0.0
        self._is_ending = False
        self._owed_s = 0.0

    def hear_commit(self) -> None:
        """The journal has stored something. Called by the thread that writes: nobody is woken for nobody."""
        if self.consumers.is_any_attached:
            self._wake.ring()

    def end(self) -> None:
        """Ends the thread and waits for it: what was sent is with the consumers, or comes again from their cursors."""
        self._is_ending = True
        self._wake.ring()
        if self.is_alive():
            self.join()

    def close(self, linger_s: float) -> None:
        """Closes the sockets, with so much time for what they hold."""
        self.consumers.close()
        for socket in self._sockets:
            socket.close(linger=int(linger_s * 1000))
        self._wake.close()

    def run(self) -> None:
        """The loop."""
        poller = zmq.Poller()
        poller.register(self._wake.fd, zmq.POLLIN)
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._is_ending:
                now_s = time.monotonic()
                self._see_to_all(now_s)
                is_busy = self._listen(now_s)
                is_busy |= self.consumers.settle()
                is_busy |= self._deliver(now_s)
                if not is_busy:
                    wait_s = BLOCKED_S if self.consumers.is_any_blocked(now_s) else IDLE_S
                    if self._wake.fd in dict(poller.poll(int(wait_s * 1000) + 1)):
                        self._wake.clear()
        except Exception:
            self.is_failed = True
            log.exception("the thread that serves consumers failed")

    def _see_to_all(self, now_s: float) -> None:
        self.tasks.do_all()
        if now_s >= self._due_s:
            self._due_s = now_s + IDLE_S
            self._keep_up(now_s)

    def _listen(self, now_s: float) -> bool:
        is_busy = False
        for door in self._doors:
            for _ in range(TURN_MESSAGES):
                received = door.receive(now_s)
                if received is None:
                    break
                is_busy = True
                self.consumers.hear(door, *received, now_s)
        return is_busy

    def _deliver(self, now_s: float) -> bool:
        """Sends what may be sent, a few batches to each in turn; False where nothing went."""
        followers, replays = self.consumers.ready()
        began_s = time.perf_counter()
        is_busy = self._send(followers, BURST_BATCHES, now_s)
        if not replays:
            return is_busy
        if not is_busy:
            self._owed_s = 0.0
            return self._send(replays, BURST_BATCHES, now_s)
        self._owed_s += (time.perf_counter() - began_s) / REPLAY_SHARE
        for attachment in replays:
            if self._owed_s <= 0:
                break
            began_s = time.perf_counter()
            self._dispatch.send_burst(attachment, 1, now_s)
            self._owed_s -= time.perf_counter() - began_s
        return True

    def _send(self, attachments: list[Attachment], most: int, now_s: float) -> bool:
        is_busy = False
        for attachment in attachments:
            is_busy |= self._dispatch.send_burst(attachment, most, now_s)
        return is_busy
