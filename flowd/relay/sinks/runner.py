"""A sink at work: its thread, its event loop and its feeds; run again when it fails; its state and counters."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from flowd.errors import FlowdError
from flowd.relay.health import Health
from flowd.relay.metrics import Counters
from flowd.relay.sinks.feed import JournalFeed
from flowd.sinks.sink import Describing, Sink

AGAIN_S = 1.0
"""The pause before a sink that failed is run again, doubled up to the next one."""
AGAIN_MAX_S = 30.0
FINISH_S = 5.0
"""What a sink may take at the daemon's end for what is under way: the rest is delivered by the next daemon."""

log = logging.getLogger(__name__)


class SinkRunner(threading.Thread):
    """Runs one sink until `end`. `open_feeds` makes its feeds, one a stream, anew for each attempt, in its loop.

    It consumes as `sink.NAME`: its lag stands among the consumers. A sink that is down degrades the daemon's health.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        sink: Sink,
        open_feeds: Callable[[], Sequence[JournalFeed]],
        condition: Health,
    ) -> None:
        super().__init__(name=f"flowd-sink-{name}", daemon=True)
        self.counters = Counters()
        self._title = name
        self._kind = kind
        self._sink = sink
        self._open_feeds = open_feeds
        self._condition = condition
        self._state = "starting"
        self._reason = ""
        self._peer = ""
        self._lock = threading.Lock()
        self._feeds: Sequence[JournalFeed] = ()
        self._ended = threading.Event()
        self._finish_by_s = float("inf")

    def describe(self) -> dict[str, Any]:
        """How the sink is: `state` is `starting`, `up`, `down` (with its `reason`) or `ended`; and more."""
        more = self._sink.describe() if isinstance(self._sink, Describing) else {}
        return {"type": self._kind, "state": self._state, "peer": self._peer, "reason": self._reason, **more}

    def up(self, peer: str) -> None:
        """See flowd.sinks.sink.Report."""
        if self._state != "up" or self._peer != peer:
            log.info("sink %s: delivers to %s", self._title, peer)
        self._state, self._peer, self._reason = "up", peer, ""
        self._condition.restore(self._concern)

    def down(self, reason: str) -> None:
        """See flowd.sinks.sink.Report."""
        if self._reason != reason:
            log.warning("sink %s: %s", self._title, reason)
        self._state, self._reason = "down", reason
        self._condition.degrade(self._concern, reason)

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """See flowd.sinks.sink.Report."""
        self.counters.add(name, amount, sink=self._title, **labels)

    def end(self, within_s: float = FINISH_S) -> None:
        """The sink finishes what is under way, for so long at most. Returns at once; `join` waits."""
        self._finish_by_s = time.monotonic() + within_s
        self._ended.set()
        with self._lock:
            for feed in self._feeds:
                feed.end()

    def run(self) -> None:
        """The thread: attempts, until the end."""
        pause_s = AGAIN_S
        while not self._ended.is_set():
            began_s = time.monotonic()
            try:
                asyncio.run(self._serve())
            except Exception as error:
                is_known = isinstance(error, FlowdError)
                if not is_known:
                    log.exception("sink %s failed", self._title)
                self.down(error.message if isinstance(error, FlowdError) else f"{type(error).__name__}: {error}")
                self.count("flowd_sink_failures_total", reason="refused" if is_known else "failed")
                pause_s = AGAIN_S if time.monotonic() - began_s > AGAIN_MAX_S else min(2 * pause_s, AGAIN_MAX_S)
                self._ended.wait(pause_s)
        self._state = "ended"

    @property
    def _concern(self) -> str:
        return f"sink {self._title}"

    async def _serve(self) -> None:
        """One attempt: the sink with feeds of its own."""
        feeds = self._open_feeds()
        with self._lock:
            self._feeds = feeds
        for feed in feeds:
            feed.start()
            if self._ended.is_set():
                feed.end()
        attempt = asyncio.ensure_future(self._sink.run(feeds, self))
        try:
            while not attempt.done():
                await asyncio.wait([attempt], timeout=0.1 if self._ended.is_set() else 1.0)
                if time.monotonic() >= self._finish_by_s:
                    attempt.cancel()
                    break
            await asyncio.gather(attempt, return_exceptions=self._ended.is_set())
        finally:
            for feed in feeds:
                feed.end()
            for feed in feeds:
                await feed.finish()
