"""The thread that follows files: it looks, reads and hands over, and sleeps while there is nothing to do."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from flowd.relay.journal.outbox import Bell
from flowd.relay.metrics import Counters
from flowd.relay.tail.content import Interrupted
from flowd.relay.tail.handover import Handover
from flowd.relay.tail.notice import Notice
from flowd.relay.tail.tail import NOTICED_POLL_S, Tail
from flowd.wire.sockets import Wake

END_S = 5.0
"""How long the end waits for a read that hangs, on a network file system as a rule. Nothing is lost by not waiting."""

log = logging.getLogger(__name__)


class TailSource(threading.Thread):
    """Runs from `start` to `stop` or `end`. `globs` are each stream's, `places` what the journal has stored, `bell`
    wakes the thread that carries lines; `counters` are written by this thread alone. `handover` is what that other
    thread takes from. `failure` is what ended it otherwise.
    """

    def __init__(
        self, globs: Mapping[str, Sequence[str]], places: Mapping[bytes, bytes], bell: Bell, counters: Counters
    ) -> None:
        super().__init__(name="flowd-tail", daemon=True)
        self.failure: Exception | None = None
        self._is_ending = False
        self._wake = Wake()
        self._notice = Notice()
        self.handover = Handover(bell, self._wake.ring)
        self._tail = Tail(globs, places, self.handover, counters, lambda: self._is_ending)
        if self._notice.is_there:
            self._tail.poll_s = NOTICED_POLL_S

    def stop(self) -> None:
        """Begins the end; returns at once. What was handed over and not stored is read again by the next source."""
        self._is_ending = True
        self._wake.ring()

    def end(self) -> None:
        """Ends the thread, and waits for it."""
        self.stop()
        if self.is_alive():
            self.join(END_S)
        if not self.is_alive():
            self._tail.close()
            self._notice.close()
            self._wake.close()

    def describe(self) -> dict[str, Any]:
        """What is followed and how far it is, for the status. Any thread may call it."""
        return {
            "is_alive": self.is_alive(),
            "is_noticing": self._notice.is_there,
            "waiting_chunks": len(self.handover),
            **self._tail.describe(time.monotonic()),
        }

    def run(self) -> None:
        """The loop."""
        calm, all_ears = select.poll(), select.poll()
        for poller in (calm, all_ears):
            poller.register(self._wake.fd, select.POLLIN)
        if self._notice.is_there:
            all_ears.register(self._notice.fd, select.POLLIN)
        try:
            while not self._is_ending:
                now_s = time.monotonic()
                wait_s = self._tail.turn(now_s)
                if wait_s > 0:
                    self._notice.watch(self._tail.directories(), now_s)
                    self._wait(calm if self._tail.is_hurried else all_ears, wait_s)
        except Interrupted:
            pass
        except Exception as error:
            self.failure = error
            log.exception("the thread that follows files failed; no file is read any more")

    def _wait(self, poller: select.poll, wait_s: float) -> None:
        ready = {fd for fd, _ in poller.poll(int(wait_s * 1000) + 1)}
        if self._wake.fd in ready:
            self._wake.clear()
        if self._notice.fd in ready:
            self._notice.clear()
            self._tail.hurry()
