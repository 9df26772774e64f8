"""Batches written to standard output, in the form and up to the number of lines that are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from flowd.cli.output import write_bytes, write_text
from flowd.cli.record_table import render_head, render_record
from flowd.cli.talk import say

if TYPE_CHECKING:
    from flowd.client import Batch, Consumer

LAST_FACTOR = 16
"""A view keeps a part of its stream's lines: so many times more of them are looked at each time there were too few."""


class Writing:
    """Writes batches, flushed one by one, and says what was missed. `is_full` when enough lines are written."""

    def __init__(self, view: str, output: str, limit: int | None, *, is_quiet: bool) -> None:
        self._view = view
        self._output = output
        self._left = limit
        self._is_quiet = is_quiet
        self._missed = 0

    @property
    def is_full(self) -> bool:
        """Whether as many lines were written as were wanted."""
        return self._left is not None and self._left <= 0

    @property
    def has_limit(self) -> bool:
        """Whether only so many lines are wanted."""
        return self._left is not None

    def begin(self, words: str) -> None:
        """Says what is going to be written."""
        if not self._is_quiet:
            say(words)
        if self._output == "table":
            write_text(render_head())

    def write(self, batch: Batch) -> bool:
        """Writes a batch's lines, or as many of them as are still wanted: then False."""
        if batch.missed or batch.gap:
            self._say_missed(batch)
        lines = batch.lines
        if self._left is not None:
            count = lines.count(b"\n")
            if count > self._left:
                batch.lines = b"".join(lines.splitlines(keepends=True)[: self._left])
            self._left -= count
        self._write_lines(batch)
        return self._left is None or self._left >= 0

    def _write_lines(self, batch: Batch) -> None:
        if self._output == "raw":
            write_bytes(batch.lines)
        elif self._output == "json":
            import msgspec

            write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in batch.records()))
        else:
            write_text("".join(render_record(record) for record in batch.records()))

    def _say_missed(self, batch: Batch) -> None:
        self._missed += batch.missed
        if not self._is_quiet:
            why = f" ({batch.gap})" if batch.gap else ""
            say(f"flowd: missed {batch.missed} lines before batch {batch.seq}{why} ({self._missed} in all)")


class Tail(NamedTuple):
    """The last lines of a view: the batches that hold them, how many they are, and where they ended."""

    batches: list[Batch]
    lines: int
    end: tuple[bytes, int] | None


def read_last(attach: Callable[[int], Consumer], lines: int, timeout_s: float) -> Tail:
    """The last stored lines of a view, in memory.

    How far back they reach is not known for a view of a stream: more of the stream is looked at until there are enough.
    """
    looked_at = lines
    while True:
        with attach(looked_at) as reader:
            reader.connect(timeout_s)
            tail = _collect(reader, lines)
            if tail.lines >= lines or reader.began_at_oldest:
                return tail
        looked_at *= LAST_FACTOR


def _collect(reader: Consumer, lines: int) -> Tail:
    held: deque[tuple[Batch, int]] = deque()
    total = 0
    for batch in reader:
        count = batch.lines.count(b"\n")
        held.append((batch, count))
        total += count
        while total - held[0][1] >= lines:
            total -= held.popleft()[1]
    if held and total > lines:
        first, _ = held[0]
        first.lines = b"".join(first.lines.splitlines(keepends=True)[total - lines :])
    return Tail([batch for batch, _ in held], min(total, lines), reader.position)
