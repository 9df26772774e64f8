"""Looks at a daemon: its status and consumers at one moment, once or again and again in a thread of its own."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from queue import SimpleQueue

from flowd.cli.watching.rates import Look
from flowd.errors import FlowdError


def look(endpoint: str, timeout_s: float) -> Look:
    """One look. Of consumers at most 2,000 are told. Raises what `flowd.client.request` raises."""
    from flowd.client import request

    deadline_s = time.monotonic() + timeout_s
    consumers = request(endpoint, "consumers", timeout_s, do="list")["consumers"]
    status = request(endpoint, "status", max(0.0, deadline_s - time.monotonic()))
    return Look(time.monotonic(), status, consumers)


class Watch(threading.Thread):
    """Looks every `interval_s`, the first time after one, whether the daemon answers or not. `fd` can be read when
    there is something to `take`."""

    def __init__(self, endpoint: str, interval_s: float, timeout_s: float) -> None:
        super().__init__(name="flowd-top", daemon=True)
        self._endpoint = endpoint
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._found: SimpleQueue[Look | Exception] = SimpleQueue()
        self._is_over = threading.Event()
        self.fd, self._rings = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._rings, False)

    def run(self) -> None:
        """The loop."""
        next_s = time.monotonic() + self._interval_s
        while not self._is_over.wait(max(0.0, next_s - time.monotonic())):
            try:
                self._found.put(look(self._endpoint, self._timeout_s))
            except Exception as error:  # for whoever takes it: this thread goes on looking
                self._found.put(error)
            self.ring()
            next_s = max(next_s + self._interval_s, time.monotonic())

    def ring(self) -> None:
        """Makes `fd` readable: for whoever waits there. Safe in a signal's handler."""
        with suppress(BlockingIOError):  # then it is readable already
            os.write(self._rings, b"!")

    def take(self) -> list[Look | FlowdError]:
        """What was found since the last time: looks, or why there is none. Raises what no daemon could have done."""
        with suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass
        taken: list[Look | FlowdError] = []
        while not self._found.empty():  # nobody else takes
            found = self._found.get()
            if isinstance(found, Exception) and not isinstance(found, FlowdError):
                raise found
            taken.append(found)
        return taken

    def end(self) -> None:
        """No more looks. One that is under way is left to itself: it ends within its timeout, and nobody waits."""
        self._is_over.set()
