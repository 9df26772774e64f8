"""A tap on a stream: some of the batches that go by, held until somebody asks for lines of them.

The thread that carries lines only puts batches here, as they are and without a copy; nothing is decided again, and no
line is looked at, before the asker's thread takes them. Without a tap a batch costs one look whether there is any.
"""

from __future__ import annotations

import heapq
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from flowd.filterset import Borrowed, FilterSet
    from flowd.wire import Buffer

Which = Literal["dropped", "kept"]

HELD_BYTES = 4 << 20
"""Batches held between two questions: they are decided once more, in some milliseconds, and one may be as large."""
FORGOTTEN_S = 10.0
"""Who does not ask for so long is gone: nothing is held for it any more."""


class Held(NamedTuple):
    """A batch as it came in, what has decided it, and when."""

    lines: Buffer
    filter_set: FilterSet
    is_bypassed: bool
    time_ns: int


class Caught(NamedTuple):
    """What went by since the last time: the lines of batches with any that are wanted, and some of these batches, each
    of them with the same chance, in the order in which they were decided."""

    passed_lines: int
    held: list[Held]


class Tap:
    """One thread offers, another takes."""

    def __init__(self, which: Which, *, is_view: bool, random: Random | None = None) -> None:
        """Of a view every batch may be wanted of which the stream keeps lines: these are what the view decides."""
        self.which = which
        self.is_view = is_view
        self._wants_kept = is_view or which == "kept"
        self._random = random or Random()
        self._lock = threading.Lock()
        self._held: list[tuple[float, int, Held]] = []
        self._held_bytes = 0
        self._passed_lines = 0
        self._number = 0
        self._asked_s = time.monotonic()

    def is_forgotten(self, now_s: float) -> bool:
        """Whether nobody has asked for long."""
        return now_s - self._asked_s > FORGOTTEN_S

    def offer(self, lines: Buffer, applied: Borrowed, filter_set: FilterSet, is_bypassed: bool, now_ns: int) -> None:
        """A batch that was just decided; its buffer does not change any more."""
        wanted = applied.kept_lines if self._wants_kept else applied.lines - applied.kept_lines
        if not wanted:
            return
        is_forgotten = self.is_forgotten(time.monotonic())
        with self._lock:
            if is_forgotten:
                self._empty()
                return
            self._passed_lines += wanted
            self._number += 1
            # Those with the largest random keys stay, whatever their sizes: each batch has the same chance.
            item = (self._random.random(), self._number, Held(lines, filter_set, is_bypassed, now_ns))
            self._held_bytes += len(lines)
            heapq.heappush(self._held, item)
            while self._held_bytes > HELD_BYTES and len(self._held) > 1:
                self._held_bytes -= len(heapq.heappop(self._held)[2].lines)

    def take(self) -> Caught:
        """What went by since the last time."""
        with self._lock:
            caught = Caught(self._passed_lines, [held for _, _, held in sorted(self._held, key=lambda item: item[1])])
            self._empty()
            self._asked_s = time.monotonic()
        return caught

    def touch(self) -> None:
        """Somebody has asked, and gets nothing this time."""
        self._asked_s = time.monotonic()

    def _empty(self) -> None:
        """To be called with the lock."""
        self._held.clear()
        self._held_bytes = self._passed_lines = 0
