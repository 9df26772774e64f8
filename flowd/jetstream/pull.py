"""A Consumer's side of JetStream: the same headway, batches and commits as from a daemon, for flowd.client.Consumer.

A thread with an event loop reads ahead, bounded, from a passing consumer of the server, which is made again behind what
was read whenever it is lost. The cursor lives in a key-value bucket, so that order and commits are ours to keep.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from flowd.client.batch import Batch
from flowd.client.failing import FORKED_HINT, LOOK_S, failed, start_thread
from flowd.client.pull import Wanted
from flowd.errors import ClientFailed, FlowdError
from flowd.jetstream.cursor import Cursor
from flowd.jetstream.order import Ready
from flowd.jetstream.place import parse_place
from flowd.jetstream.reading import Reading
from flowd.jetstream.uncommitted import Named, Uncommitted

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

CLOSE_S = 2.0
"""How long the end of a connection may take."""

log = logging.getLogger(__name__)


class JetStreamPull:
    """See flowd.client.pull.Pull, whose names these are. For one thread; the loop's thread is its own."""

    def __init__(self, endpoint: str, wanted: Wanted, creds_file: str | os.PathLike[str] | None) -> None:
        if wanted.last_lines is not None:
            raise FlowdError("the last lines of a JetStream stream are not known", hint="give since, or start=oldest")
        place = parse_place(endpoint)
        self.position: Named | None = None
        self.missed_lines = 0
        self.missed_batches = 0
        self.taken_batches = 0
        self.title = place.title
        self._wanted = wanted
        self._incarnation = secrets.token_hex(8)
        self._filter = _compile(wanted)
        self._news = threading.Condition()
        self._told = 0
        self._heard = 0
        self._arrived: deque[tuple[Ready, Cursor]] = deque()
        self._arrived_bytes = 0
        self._failure: FlowdError | None = None
        self._reading = Reading(place, wanted, creds_file, self._incarnation, self)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._uncommitted = Uncommitted()

    @property
    def is_attached(self) -> bool:
        """Whether the stream is being read."""
        return self._reading.is_attached or self._reading.has_ended

    @property
    def began_at_oldest(self) -> bool:
        """Whether the first batch is the oldest there is."""
        return self._reading.began_at_oldest

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come."""
        return self._reading.has_ended and not self._arrived

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was stored lately has been taken."""
        return self._reading.is_caught_up and not self._arrived

    @property
    def malformed(self) -> int:
        """Messages on the subjects that are no batches, and were passed over."""
        return self._reading.malformed

    def absence(self, timeout_s: float | None) -> tuple[str, str]:
        """What to say where nothing was read for so long, and a hint."""
        trouble = self._reading.trouble or "no server answered"
        return f"{self.title}: not reached within {timeout_s} s: {trouble}", "is the URL right, and the stream there?"

    def take(self) -> Batch | None:
        """The next batch that has come, which may have no lines; None where none has."""
        while True:
            with self._news:
                if not self._arrived:
                    return None
                ready, cursor = self._arrived.popleft()
                self._arrived_bytes -= len(ready.lines)
            self._reading.make_room()
            if not ready.is_passed_over:
                return self._yield(ready, cursor)
            if self.position is not None:
                self._uncommitted.pass_over(self.position, cursor)

    def _yield(self, ready: Ready, cursor: Cursor) -> Batch:
        head = ready.head
        self.position = head.epoch, head.seq
        self.taken_batches += 1
        self.missed_lines += ready.missed
        if self._wanted.name:
            self._uncommitted.add(self.position, cursor)
        lines = ready.lines if self._filter is None else bytes(self._filter.filter(ready.lines))
        return Batch(
            self._wanted.view or self._wanted.stream,
            head.epoch,
            head.seq,
            lines,
            time_ns=head.time_ns,
            generation=head.generation,
            missed=ready.missed,
            gap=ready.gap or None,
        )

    def step(self, deadline_s: float | None) -> bool:
        """Waits for news; False where the deadline passed. Raises what ended the reading."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="flowd-jetstream", daemon=True)
            start_thread(thread, f"{self.title}: the consumer")
            self._thread = thread
        thread = self._thread
        with self._news:
            while not self._arrived and self._failure is None and self._heard == self._told:
                left_s = LOOK_S if deadline_s is None else min(LOOK_S, deadline_s - time.monotonic())
                if left_s <= 0:
                    break
                if not self._news.wait(left_s) and not thread.is_alive() and not self.is_done:
                    self._failure = self._failure or ClientFailed(
                        f"{self.title}: the consumer's thread is gone", hint=FORKED_HINT
                    )
            self._heard = self._told
            if self._failure is not None and not self._arrived:
                raise self._failure
        return deadline_s is None or time.monotonic() < deadline_s

    def ask_commit(self, place: Named) -> None:
        """Has the cursor stored that stands behind this batch, or behind the last one before it of which that is known,
        soon; where a later one is asked for, that."""
        end = self._uncommitted.end_of(place)
        if end is None or self._uncommitted.is_asked(end) or self._loop is None:
            return
        self._uncommitted.asked = end
        cursor = self._uncommitted.cursor_behind(end, self._reading.begun)
        self._reading.commit(end, cursor._replace(incarnation=self._incarnation))

    def is_committed(self, place: Named) -> bool:
        """Whether the cursor stands behind this batch, or as far as it can be moved for it."""
        stored = self._reading.committed
        if stored is not None:
            self._uncommitted.forget(stored)
        return self._uncommitted.end_of(place) is None

    def close(self) -> None:
        """Ends the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._reading.end()
            thread.join(CLOSE_S)

    def put(self, ready: Ready, cursor: Cursor) -> None:
        """For the loop: a batch in its turn, and the cursor behind it."""
        with self._news:
            self._arrived.append((ready, cursor))
            self._arrived_bytes += len(ready.lines)
            self._told += 1
            self._news.notify_all()

    def tell(self) -> None:
        """For the loop: something else has changed."""
        with self._news:
            self._told += 1
            self._news.notify_all()

    @property
    def has_room(self) -> bool:
        """Whether more may be read ahead."""
        return self._arrived_bytes < self._wanted.credit_bytes and len(self._arrived) < self._wanted.credit_batches

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except FlowdError as error:
            self._failure = error
        except BaseException as error:  # whatever it is, who waits must hear of it, and before the log does
            self._failure = failed(f"{self.title}: the consumer's thread failed", error)
            self.tell()
            log.exception("reading from JetStream failed")
        self.tell()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        with suppress(asyncio.CancelledError):
            await self._reading.run()


def _compile(wanted: Wanted) -> FilterSet | None:
    """A filter of the consumer's own runs here: a JetStream server has none."""
    if wanted.filter is None:
        return None
    import flowd

    return flowd.compile(wanted.filter, stream=wanted.stream, dialect=wanted.dialect)
