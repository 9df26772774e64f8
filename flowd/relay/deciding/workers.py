"""Threads that decide batches beside the one that carries lines, and give them back in the order in which they came.

One order for all sources: what came first is given back first, however long it takes, so that everything behind this
sees batches as if they had been decided where they were received. Nothing here knows what becomes of them.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from queue import Empty, SimpleQueue

from flowd.relay.journal.outbox import Bell


class Work(ABC):
    """A batch that is to be decided. What it is made of may not change meanwhile."""

    __slots__ = ("error", "is_back", "number")

    def __init__(self) -> None:
        self.number = 0
        self.is_back = False
        self.error: Exception | None = None

    @abstractmethod
    def decide(self) -> None:
        """Decides it, in any thread, and keeps what came of it."""


class Workers:
    """So many threads, from `start` to `end`. All methods are for one other thread, which has `bell` in its poller: it
    rings when the oldest batch is decided. How much may be handed over is for that thread to bound.

    Invariants:
    1. `_under_way` has what was handed over and not taken, oldest first; only the owner touches it.
    2. A worker puts its batch into `_back` before it looks whether that is the awaited one, and the owner counts
       `_awaited` up before it looks into `_back`: so one of the two sees the other, and no ring is missing.
    """

    def __init__(self, number: int, bell: Bell) -> None:
        self._bell = bell
        self._threads = [
            threading.Thread(target=self._run, name=f"flowd-decide-{n}", daemon=True) for n in range(1, number + 1)
        ]
        self._waiting: SimpleQueue[Work | None] = SimpleQueue()
        self._back: SimpleQueue[Work] = SimpleQueue()
        self._under_way: deque[Work] = deque()
        self._handed_over = 0
        self._awaited = 1
        self._moved_s = 0.0
        self._is_ending = False

    @property
    def moved_s(self) -> float:
        """When they were last seen to move on, by the steady clock; now, where they have nothing to do. Any thread may
        ask."""
        return self._moved_s if self._under_way else time.monotonic()

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        """Hands a batch over."""
        if not self._under_way:
            self._moved_s = time.monotonic()
        self._handed_over += 1
        work.number = self._handed_over
        self._under_way.append(work)
        self._waiting.put(work)

    def take(self, *, is_patient: bool = False) -> Work | None:
        """The oldest batch, where it is decided, or waited for where `is_patient`; else None, as where there is none.
        To be called until it gives None. Raises what deciding the batch has raised."""
        while self._under_way:
            oldest = self._under_way[0]
            if oldest.is_back:
                self._under_way.popleft()
                self._awaited += 1
                if oldest.error is not None:
                    raise oldest.error
                return oldest
            try:
                self._back.get(is_patient).is_back = True
            except Empty:
                return None
            self._moved_s = time.monotonic()
        return None

    def end(self) -> None:
        """Ends the threads, each behind the batch that it is deciding; those that wait are left undecided."""
        self._is_ending = True
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self) -> None:
        while self._decide_next():
            pass

    def _decide_next(self) -> bool:
        """A step of a thread; a function of its own, so that no batch is held while the next one is waited for."""
        work = self._waiting.get()
        if work is None or self._is_ending:
            return False
        try:
            work.decide()
        except Exception as error:  # for the thread that takes it, which ends by it
            work.error = error
        self._back.put(work)
        if work.number == self._awaited:
            self._bell.ring()
        return True
