"""A few of a stream's recent lines, in memory: what new filters are tried on before they decide.

Of every thousand lines one replaces one that was picked at random, so that the sample reaches back over a million lines
and costs a batch next to nothing. Bounded in lines and bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from random import randrange
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowd.wire import Buffer

SAMPLE_LINES = 1024
"""A share of a thousand lines is known to some percent; that is what a warning needs."""
SAMPLE_BYTES = 1 << 20
"""A stream's sample: 64 streams hold 64 MiB at the very most, and 1 MiB as a rule."""
LINES_BETWEEN = 1000
"""Lines that pass between two that are remembered, once there are enough: small batches cost nothing then."""
FIRST_LINES = 8
"""Lines of a batch while there are few yet: a sample soon after the start."""
WINDOW_BYTES = 16384
"""What is looked at to find a whole line; longer ones are not sampled."""
NARROW_BYTES = 1024
"""What is looked at first: most lines are far shorter than the longest."""


class Sample:
    """One thread adds; `lines` may be called from elsewhere."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0
        self._pass_lines = 0

    def add_from(self, batch: Buffer, lines: int) -> None:
        """Takes one line of a batch if it is time for one; some, while there are few, each from its own part of it."""
        self._pass_lines -= lines
        if self._pass_lines > 0 or not lines:
            return
        are_few = len(self._lines) < SAMPLE_LINES // 2 and self._bytes < SAMPLE_BYTES // 2
        picks = min(FIRST_LINES, lines) if are_few else 1
        view = memoryview(batch)
        part = max(1, len(view) // picks)
        found = [_line_from(view, number * part + randrange(part)) for number in range(picks)]
        for line in found:
            if line is not None:
                self._put(line)
        self._pass_lines = 0 if are_few and any(found) else LINES_BETWEEN

    def add_written(self, lines: int, write: Callable[[], bytes]) -> None:
        """The same of a batch of records, some of which `write` gives as lines when it is time for one."""
        if self._pass_lines > lines:
            self._pass_lines -= lines
        else:
            self.add_from(write(), lines)

    def lines(self) -> list[bytes]:
        """The lines, with their newlines, in no order."""
        return self._lines.copy()

    def _put(self, line: bytes) -> None:
        if len(self._lines) < SAMPLE_LINES and self._bytes + len(line) <= SAMPLE_BYTES:
            self._lines.append(line)
        else:
            at = randrange(len(self._lines))
            self._bytes -= len(self._lines[at])
            self._lines[at] = line
        self._bytes += len(line)
        while self._bytes > SAMPLE_BYTES:
            self._bytes -= len(self._lines.pop(randrange(len(self._lines))))


def _line_from(view: memoryview, at: int) -> bytes | None:
    """The line that begins after this byte, or the batch's first where that byte is in the last one."""
    for window_bytes in (NARROW_BYTES, WINDOW_BYTES):
        window = bytes(view[at : at + window_bytes])
        begin = window.find(b"\n") + 1
        end = window.find(b"\n", begin) + 1 if begin else 0
        if end:
            return window[begin:end]
    if at + len(window) < len(view):
        return None
    first = bytes(view[:WINDOW_BYTES])
    return first[: first.find(b"\n") + 1] or None
