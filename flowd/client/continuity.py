"""What a subscriber missed: told from the sequences and line counts of the batches and heartbeats that it got.

Pure state, no sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from flowd.wire import EpochEnd, Heartbeat, Live


class Gap(NamedTuple):
    """Batches that were lost: of an epoch, from `first` to `last`, with so many of the stream's lines."""

    epoch: bytes
    first: int
    last: int
    lines: int

    @property
    def batches(self) -> int:
        """How many batches that is."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Continuity:
    """Where a view's subscriber stands: the epoch, the sequence it awaits, and the stream's lines before that.

    `lost_lines` and `lost_batches` count everything that was lost so far. What came before the first batch or
    heartbeat is not lost: nobody was listening. Of a new epoch everything is wanted from its start.
    """

    epoch: bytes | None = None
    next: int = 0
    lines: int = 0
    lost_lines: int = 0
    lost_batches: int = 0
    began_empty: bool = False
    """Whether the stream had no batch yet when it was first heard."""

    def follow(self, live: Live) -> Gap | None:
        """Takes a batch into account; returns what was lost before it."""
        gap = self._move_to(live.e, live.b, live.q, live.k)
        self.next, self.lines = live.q + 1, live.k + (live.n if live.m is None else live.m)
        return gap

    def hear(self, heartbeat: Heartbeat) -> Gap | None:
        """Takes a heartbeat into account; returns what was lost before it."""
        gap = self._move_to(heartbeat.e, heartbeat.b, heartbeat.next, heartbeat.k)
        self.next, self.lines = heartbeat.next, heartbeat.k
        return gap

    def _move_to(self, epoch: bytes, before: EpochEnd | None, sequence: int, lines: int) -> Gap | None:
        if self.epoch is None:
            self.epoch, self.began_empty = epoch, sequence == 1
            return None
        if epoch != self.epoch:
            # What had these sequences in the epoch before may be lost: others have them now.
            _, first, lines_before = before if before is not None and before[0] == self.epoch else (b"", 1, 0)
            self.epoch, self.next, self.lines = epoch, min(self.next, first), min(self.lines, lines_before)
        lost_batches, lost_lines = max(0, sequence - self.next), max(0, lines - self.lines)
        self.lost_batches += lost_batches
        self.lost_lines += lost_lines
        return Gap(epoch, self.next, sequence - 1, lost_lines) if lost_batches else None
