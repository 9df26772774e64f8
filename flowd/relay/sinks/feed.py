"""A stream of the journal for a sink: a durable consumer in the sink's own event loop, let in through no socket."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from flowd.client import Batch
from flowd.client.pull import Pull, Wanted
from flowd.client.reader import Reader
from flowd.relay.consume.inside import InsideLink
from flowd.sinks.sink import Outgoing

AHEAD_BYTES = 4 << 20
AHEAD_BATCHES = 256
"""What is read ahead of the sink, beside what it has under way."""
TICK_S = 0.25
"""How often it is looked whether the daemon owes an answer for too long."""
COMMIT_APART_S = 0.02
"""How far apart commits are: each wakes three threads and is a transaction, and a far end that acknowledges every batch
would have one for each. After a kill so much more comes again of what was acknowledged just before."""
COMMIT_S = 2.0
"""How long the last commit may take at the end. What it would have covered is delivered again."""

log = logging.getLogger(__name__)


class JournalFeed:
    """Reads ahead, bounded, and moves the cursor behind what the sink has committed: at once where that is seldom, else
    now and then.

    Made and used in the running loop; `end` may be called by any thread. `failure` is why no more can come: as a rule
    the daemon refused the consumer.
    """

    def __init__(self, link: InsideLink, name: str, stream: str, view: str | None = None) -> None:
        self.failure: Exception | None = None
        self.stream = view or stream
        """The stream's name, or the view's."""
        wanted = Wanted(name, stream, "cursor", view, None, None, None, None, None, AHEAD_BYTES, AHEAD_BATCHES)
        self._name = name
        self._pull = Pull(link, wanted)
        self._reader = Reader(self._pull, name)
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._tick: asyncio.TimerHandle | None = None
        self._wanted: Outgoing | None = None
        self._moving: asyncio.TimerHandle | None = None
        self._moved_s = 0.0
        self._is_waiting = False
        self._is_ending = False
        self._is_over = False
        link.on_arrival = self._call

    def start(self) -> None:
        """Attaches, soon."""
        self._tick = self._loop.call_later(TICK_S, self.start)
        self._wake()

    async def next(self) -> Outgoing | None:
        """The next batch; None at the end. Raises what no more can come for."""
        while not self._is_ending:
            batch = self._reader.take() or self._look()
            if batch is not None:
                return batch
            if self.failure is not None:
                raise self.failure
            await self._arrived.wait()
        return None

    def commit(self, batch: Outgoing) -> None:
        """The cursor follows to behind this batch, soon."""
        self._wanted = batch
        if self._moving is None:
            self._moving = self._loop.call_at(self._moved_s + COMMIT_APART_S, self._move_cursor)

    def end(self) -> None:
        """No more batches. Returns at once."""
        self._is_ending = True
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def finish(self) -> None:
        """After the sink has returned: stores the last commit and takes leave."""
        try:
            async with asyncio.timeout(COMMIT_S):
                while self._wanted is not None and self.failure is None:
                    await asyncio.sleep(COMMIT_APART_S)
        except TimeoutError:
            log.warning("sink %s: its last commit was not stored within %g s", self._name, COMMIT_S)
        self._is_over = True  # what is still to be called must not begin anew
        if self._tick is not None:
            self._tick.cancel()
        self._pull.close()

    def _call(self) -> None:
        """Something has come. Called by the thread that serves consumers: a loop with enough to do is left to it."""
        if self._is_waiting:
            self._is_waiting = False
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._turn()
        self._arrived.set()

    def _look(self) -> Batch | None:
        """A batch that has come meanwhile; where none has, the next one will set `_arrived`."""
        self._arrived.clear()
        self._is_waiting = True  # before looking: what comes between that and the wait must not be slept over
        self._turn()
        batch = self._reader.take()
        self._is_waiting = batch is None
        return batch

    def _turn(self) -> None:
        """Takes in all that has come."""
        if self.failure is None and not self._is_over:
            try:
                self._pull.turn()
            except Exception as error:  # whatever it is, the sink must hear of it
                self.failure = error

    def _move_cursor(self) -> None:
        """Asks for it, and again until the cursor stands behind what was committed last."""
        self._moving = None
        if self._wanted is None or self.failure is not None or self._is_over:
            return
        self._turn()  # the answer to what was asked before
        self._moved_s = self._loop.time()
        place = self._reader.place_of(self._wanted)
        if place is None or self._reader.move_cursor(place):
            self._wanted = None
        else:
            self._moving = self._loop.call_at(self._moved_s + COMMIT_APART_S, self._move_cursor)
