"""Batches that have lines, in order, and the cursor behind them: what a Consumer and a sink's feed have in common.

Nothing here waits. For one thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from flowd.errors import FlowdError

if TYPE_CHECKING:
    from flowd.client.batch import Batch
    from flowd.client.pull import Pull
    from flowd.jetstream.pull import JetStreamPull

PASSED_BATCHES = 1000
PASSED_S = 10.0
"""When a cursor is moved over batches of which the view keeps nothing, though nobody commits."""


class Place(Protocol):
    """Whatever names a batch, as a Batch does."""

    @property
    def epoch(self) -> bytes: ...
    @property
    def seq(self) -> int: ...


class Reader:
    """`name` is the consumer's, under which its cursor is kept; without one there is none."""

    def __init__(self, pull: Pull | JetStreamPull, name: str) -> None:
        self._pull = pull
        self._name = name
        self._yielded: tuple[bytes, int] | None = None
        self._committed: tuple[bytes, int] | None = None
        self._passed = 0
        self._passed_s = time.monotonic()

    def take(self) -> Batch | None:
        """The next batch with lines that has come; None where none has."""
        while (batch := self._pull.take()) is not None:
            if batch.lines:
                self._yielded = batch.epoch, batch.seq
                return batch
            self._pass_over(batch)
        return None

    def place_of(self, batch: Place | None) -> tuple[bytes, int] | None:
        """Where the cursor is to stand for a batch that was taken, None being the last one; None where none was.

        Raises FlowdError where there is no cursor.
        """
        if not self._name:
            raise FlowdError("a consumer without a name has no cursor", hint="give it a name")
        if self._yielded is None:
            return None
        if batch is None or (batch.epoch, batch.seq) == self._yielded:
            return self._pull.position  # behind those without lines that came after it
        return batch.epoch, batch.seq

    def is_committed(self, place: tuple[bytes, int] | None) -> bool:
        """Whether there is nothing to be moved: the cursor was asked to stand there, and does."""
        return place is None or self._committed == place

    def move_cursor(self, place: tuple[bytes, int]) -> bool:
        """Has the cursor moved behind this place; whether it stands there now. To be called until it does."""
        if not self._pull.is_committed(place):
            self._pull.ask_commit(place)
            return False
        self._committed = place
        self._passed = 0
        return True

    def _owes_commit(self) -> bool:
        """Whether something yielded is not committed yet."""
        yielded, committed = self._yielded, self._committed
        if yielded is None or committed is None:
            return yielded is not None
        return committed[0] != yielded[0] or committed[1] < yielded[1]

    def _pass_over(self, batch: Batch) -> None:
        """A batch without lines for this consumer: its cursor follows now and then, so that it does not fall behind
        what is kept. Not where something yielded is not committed yet: that is for `move_cursor`."""
        self._passed += 1
        if not self._name or self._owes_commit():
            return
        now_s = time.monotonic()
        if self._passed >= PASSED_BATCHES or now_s - self._passed_s >= PASSED_S:
            self._passed = 0
            self._passed_s = now_s
            place = batch.epoch, batch.seq
            self._pull.ask_commit(place)
            if self._yielded is not None:
                self._yielded = self._committed = place
