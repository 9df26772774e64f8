"""A few of the lines that a stream's filters have dropped lately, each with the same chance: what tells how much other
filters would keep of lines that nobody has any more.

A batch that is not looked at costs a sum and a comparison. One that is looked at and has a picked line is filtered once
more, without the GIL. Such batches get rarer the more has passed: some hundred in the first second at full speed, a
dozen in each that follows. Bounded in lines and bytes.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.wire import Buffer

SPAN_S = 3600
"""How long lines are picked into one reservoir: the hour that people ask for is always covered."""
SPANS = 2
"""The reservoir that is filled, and the one before it."""
SPAN_LINES = 512
"""Known to some percent is what an estimate needs."""
SPAN_BYTES = 400 << 10
"""All spans together fit into one answer of the admin lane, which is 1 MiB at most."""
LINE_BYTES = 16 << 10
"""Of longer lines only that they were picked is remembered: a few would fill a span."""

PICKS_A_BATCH = 8
"""Lines picked of a batch that is looked at, on average, once there are many: more cost less, and are more alike."""
LINES_A_PICK = 8
"""Of small batches one line is picked of so many: more would be the same ones again."""

Entry = tuple[int, bytes]
"""When a line was dropped (ns since 1970), and the line with its newline; without a byte where it is too long."""
ALMOST_ONE = 1 - 2**-53


class Reservoir:
    """A uniform sample of everything that was passed to it, by algorithm L: it knows beforehand how many lines go by
    until the next one that is picked. Bounded in lines and in bytes; where bytes are short it holds fewer lines, which
    are as uniform."""

    def __init__(self, random: Random, lines_max: int = SPAN_LINES, bytes_max: int = SPAN_BYTES) -> None:
        self.seen = 0
        """Lines so far, picked or not, each as often as it counts."""
        self.entries: list[Entry] = []
        self.is_full = False
        """Whether lines go for those that come."""
        self._random = random
        self._room = lines_max
        self._bytes_max = bytes_max
        self._bytes = 0
        # Algorithm L gives each line a random key and holds those with the smallest: this is the largest of them.
        self._largest_key = 1.0
        self._next = 1

    def is_due(self, lines: int) -> bool:
        """Whether one of the next so many lines is picked."""
        return self.seen + lines >= self._next

    def pass_over(self, lines: int) -> None:
        """So many lines have passed, of which none is due."""
        self.seen += lines

    def add(self, time_ns: int, lines: Sequence[bytes], times: int = 1) -> None:
        """Picks from the next lines, which count as if all of them came so many times over."""
        before = self.seen
        self.seen += len(lines) * times
        while self._next <= self.seen:
            line = lines[(self._next - before - 1) % len(lines)]
            self._pick((time_ns, line if len(line) <= LINE_BYTES else b""))

    def _pick(self, entry: Entry) -> None:
        if self.is_full:
            at = self._random.randrange(len(self.entries))
            self._bytes -= len(self.entries[at][1])
            self.entries[at] = entry
        else:
            self.entries.append(entry)
        self._bytes += len(entry[1])
        self.is_full = self.is_full or len(self.entries) == self._room or self._bytes > self._bytes_max
        if self.is_full:
            self._lower_key()
        while self._bytes > self._bytes_max:
            # Any of them may be the one with the largest key; the others' keys are as random as before.
            self._bytes -= len(self.entries.pop(self._random.randrange(len(self.entries)))[1])
            self._lower_key()
        self._next += 1
        if self.is_full:
            self._next += int(math.log(self._draw()) / math.log1p(-self._largest_key))

    def _lower_key(self) -> None:
        """The largest key becomes the largest of as many random ones below it as there are entries."""
        self._largest_key = min(self._largest_key * self._draw() ** (1 / len(self.entries)), ALMOST_ONE)

    def _draw(self) -> float:
        """A random number between 0 and 1, neither of them included."""
        return self._random.random() or 0.5


class _Span:
    """One stretch of time: what was dropped in it, and which of its batches are looked at.

    Of each group of `stride` batches one is looked at, chosen beforehand, and its lines count for those of the whole
    group. So every line still has the same chance, whatever the stride, which grows with the number of batches.
    """

    def __init__(self, random: Random, since_ns: int) -> None:
        self.since_ns = since_ns
        self.dropped_lines = 0
        self.reservoir = Reservoir(random)
        self.stride = 1
        self._random = random
        self._batches = 0
        self._left = 0
        self._chosen = 0

    def pass_batch(self, dropped_lines: int) -> bool:
        """Takes note of a batch; whether one of its lines is picked."""
        self.dropped_lines += dropped_lines
        self._batches += 1
        if not self._left:
            if self.reservoir.is_full:
                picks = min(PICKS_A_BATCH, self.dropped_lines / self._batches / LINES_A_PICK)
                self.stride = max(1, int(picks * self._batches / len(self.reservoir.entries)))
            self._left = self.stride
            self._chosen = self._random.randrange(self.stride)
        self._left -= 1
        if self._left != self._chosen:
            return False
        if self.reservoir.is_due(dropped_lines * self.stride):
            return True
        self.reservoir.pass_over(dropped_lines * self.stride)
        return False


class DroppedSample:
    """The lines that one stream's filters dropped lately. One thread adds; `describe` may be called from elsewhere."""

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or Random()
        self._spans: deque[_Span] = deque(maxlen=SPANS)
        self._lock = threading.Lock()

    def add_from(self, batch: Buffer, dropped_lines: int, filters: FilterSet, now_ns: int) -> None:
        """Takes note of a batch of which `filters` have just dropped so many lines, and picks of these where it is
        time to. Their counters stay as they are."""
        # A twin that goes away again: one that stayed would hold tables of some MiB for a glance now and then.
        self.add_written(dropped_lines, now_ns, lambda: filters.twin().apply(batch, invert=True).kept)

    def add_written(self, dropped_lines: int, now_ns: int, write: Callable[[], bytes]) -> None:
        """The same of a batch whose dropped lines `write` gives, when they are wanted."""
        if not dropped_lines:
            return
        if not self._spans or now_ns - self._spans[-1].since_ns >= SPAN_S * 1_000_000_000:
            with self._lock:
                self._spans.append(_Span(self._random, now_ns))
        span = self._spans[-1]
        if not span.pass_batch(dropped_lines):
            return
        dropped = write().split(b"\n")
        if len(dropped) < 2:
            return
        with self._lock:
            span.reservoir.add(now_ns, [line + b"\n" for line in dropped[:-1]], span.stride)

    def describe(self) -> list[dict[str, Any]]:
        """The spans, oldest first: since when (ns since 1970), how many lines were dropped, how many of them were
        picked, and those of these that are not too long, with their times."""
        with self._lock:
            spans = [(span.since_ns, span.dropped_lines, span.reservoir.entries.copy()) for span in self._spans]
        return [
            {
                "since_ns": since_ns,
                "dropped_lines": dropped_lines,
                "picked_lines": len(entries),
                "lines": [line for _, line in entries if line],
                "times_ns": [time_ns for time_ns, line in entries if line],
            }
            for since_ns, dropped_lines, entries in spans
        ]
