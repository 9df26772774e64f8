"""What a thread gives to the journal, its jobs, and where it finds what became of them.

Refusals keep the order: a job that was handed over before its owner knew of an earlier one's refusal is refused, too.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

from flowd.relay.journal.committing import Writable


class Bell(Protocol):
    """What wakes a thread."""

    def ring(self) -> None:
        """Wakes it."""


class Job(Writable, Protocol):
    """Something to be stored. `is_patient` jobs wait while there is no room, the others are refused; `is_small` ones,
    for which it does not matter what comes before them, are tried even so. `term` is set by `submit`."""

    outbox: Outbox
    is_patient: bool
    is_small: bool
    term: int


class Settled(NamedTuple):
    """A job that is done: committed where `refusal` is empty; else nothing of it was stored."""

    job: Job
    refusal: str


class Outbox:
    """Filled by the thread that writes, emptied by the one that owns it, with `wake` in its poller."""

    def __init__(self, wake: Bell) -> None:
        self.wake = wake
        self.refused = 0
        """Jobs refused so far; written by the thread that writes."""
        self.known_refusals = 0
        """How many of them the owner has taken."""
        self._settled: deque[Settled] = deque()

    def put(self, job: Job, refusal: str = "") -> None:
        """Adds one; who adds rings `wake` afterwards, once for many."""
        if refusal:
            self.refused += 1
        self._settled.append(Settled(job, refusal))

    def take(self) -> Settled | None:
        """The oldest, or None."""
        try:
            settled = self._settled.popleft()
        except IndexError:
            return None
        if settled.refusal:
            self.known_refusals += 1
        return settled

    def __len__(self) -> int:
        return len(self._settled)
