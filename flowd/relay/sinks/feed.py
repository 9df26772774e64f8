"""A stream of the journal for a sink: a durable consumer in a thread, with its batches in the sink's event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from contextlib import suppress

from flowd.client import Batch, Consumer
from flowd.errors import FlowdError
from flowd.sinks.sink import Outgoing

AHEAD_BYTES = 8 << 20
"""What is read ahead of the sink: two windows of what is under way as a rule."""
POLL_S = 0.25
"""How soon a commit is asked for, and the end is noticed, while no batch comes."""
COMMIT_S = 2.0
"""How long the last commit may take at the end. What it would have covered is delivered again."""

log = logging.getLogger(__name__)


class JournalFeed(threading.Thread):
    """Reads ahead, bounded, and moves the cursor behind what the sink has committed.

    `next` and `commit` belong to the loop, which must run when the thread is started; `end` may be called by anybody.
    `failure` is why no more can come: as a rule the daemon refused the consumer.
    """

    def __init__(self, consumer: Consumer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name=f"flowd-feed-{consumer.name}", daemon=True)
        self.failure: Exception | None = None
        self._consumer = consumer
        self._loop = loop
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()
        self._has_room = threading.Event()
        self._ahead: deque[Batch] = deque()
        self._ahead_bytes = 0
        self._wanted: Outgoing | None = None
        self._is_ending = False

    @property
    def stream(self) -> str:
        """The stream's name, or the view's."""
        return self._consumer.view

    async def next(self) -> Outgoing | None:
        """The next batch; None at the end. Raises what ended the thread."""
        while True:
            with self._lock:
                batch = self._ahead.popleft() if self._ahead and not self._is_ending else None
                if batch is not None:
                    self._ahead_bytes -= len(batch.lines)
                    if self._ahead_bytes < AHEAD_BYTES:  # else the thread would look for room without a pause
                        self._has_room.set()
                    return batch
                self._arrived.clear()
            if self.failure is not None:
                raise self.failure
            if self._is_ending:
                return None
            await self._arrived.wait()

    def commit(self, batch: Outgoing) -> None:
        """The cursor follows to behind this batch, soon."""
        self._wanted = batch

    def end(self) -> None:
        """No more batches. Returns at once."""
        self._is_ending = True
        self._has_room.set()
        self._tell()

    def run(self) -> None:
        """The thread."""
        try:
            while not self._is_ending:
                self._commit_soon()
                if self._ahead_bytes >= AHEAD_BYTES:
                    self._has_room.wait(POLL_S)
                    continue
                batch = self._consumer.poll(POLL_S)
                if batch is not None:
                    self._add(batch)
        except Exception as error:  # whatever it is, the sink must hear of it
            self.failure = error
            self._tell()

    def finish(self) -> None:
        """After the sink has returned: stores the last commit and gives the socket back. Not for the loop."""
        self.join()
        wanted = self._wanted
        try:
            if wanted is not None and self.failure is None:
                self._consumer.commit(COMMIT_S, batch=wanted)
        except FlowdError as error:
            log.warning("sink %s: its last commit was not stored: %s", self._consumer.name, error.message)
        self._consumer.close()

    def _commit_soon(self) -> None:
        wanted = self._wanted
        if wanted is not None and self._consumer.commit_soon(wanted):
            with self._lock:
                if self._wanted is wanted:
                    self._wanted = None

    def _add(self, batch: Batch) -> None:
        with self._lock:
            self._ahead.append(batch)
            self._ahead_bytes += len(batch.lines)
            if self._ahead_bytes >= AHEAD_BYTES:
                self._has_room.clear()
            is_first = len(self._ahead) == 1
        if is_first:
            self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._arrived.set)
