"""Whole lines from an offset: cut into batches by searching newlines, never by looking at lines.

A line longer than a batch is taken alone. One that no batch can hold is passed over, piece by piece: it is never in
memory. Nothing here moves an offset: who takes what was cut does.
"""

from __future__ import annotations

from typing import NamedTuple

from flowd.relay.tail.content import Content
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES


class Cut(NamedTuple):
    """`consumed` are the file's bytes; `lines` is what is carried of them: nothing of a line that is skipped, and with
    a newline where the file's last line has none."""

    consumed: bytes
    lines: bytes


class LineReader:
    """Cuts one file. `skip_from` is where the line began that is being skipped, -1 where none is; `reached` is how far
    the file was seen the last time."""

    __slots__ = ("_searched", "reached", "skip_from")

    def __init__(self, skip_from: int = -1) -> None:
        self.skip_from = skip_from
        self.reached = 0
        self._searched = 0

    def restart(self) -> None:
        """What was seen beyond the offset is not there any more."""
        self._searched = 0

    def read(self, content: Content, offset: int, limit: int = BATCH_BYTES, *, is_last: bool = False) -> Cut | None:
        """The next run of whole lines, or part of a line that is skipped; None where there is no whole line.

        `is_last` takes what stands after the last newline, too. A line that is longer than the limit is taken where
        that is a batch's size, and left where less was asked for. Raises OSError.
        """
        while True:
            if self.skip_from >= 0:
                return self._skip(content, offset)
            if self._searched:
                cut = self._read_long(content, offset, is_last)
                if cut is None and self.skip_from >= 0:
                    continue
                return cut
            piece = content.read_at(offset, limit)
            self.reached = offset + len(piece)
            end = piece.rfind(b"\n") + 1
            if end:
                lines = piece if end == len(piece) else piece[:end]
                return Cut(lines, lines)
            if len(piece) == BATCH_BYTES:
                self._searched = BATCH_BYTES
            elif len(piece) < limit and is_last and piece:
                return Cut(piece, piece + b"\n")
            else:
                return None

    def _read_long(self, content: Content, offset: int, is_last: bool) -> Cut | None:
        """A line that is longer than a batch; None where its end is not there yet, or where it is to be skipped."""
        while True:
            piece = content.read_at(offset + self._searched, BATCH_BYTES, keep_from=offset)
            end = piece.find(b"\n")
            line_bytes = self._searched + (end if end >= 0 else len(piece))
            if line_bytes > LINE_MAX_BYTES:
                self.skip_from = offset
                self._searched = 0
                return None
            if end >= 0:
                return self._take_long(content, offset, line_bytes + 1, b"")
            self._searched = line_bytes
            self.reached = offset + line_bytes
            if len(piece) < BATCH_BYTES:
                return self._take_long(content, offset, line_bytes, b"\n") if is_last else None

    def _take_long(self, content: Content, offset: int, size: int, newline: bytes) -> Cut | None:
        self._searched = 0
        line = content.read_at(offset, size)
        self.reached = offset + len(line)
        if len(line) < size:
            return None  # truncated meanwhile
        return Cut(line, line + newline if newline else line)

    def _skip(self, content: Content, offset: int) -> Cut | None:
        piece = content.read_at(offset, BATCH_BYTES)
        self.reached = offset + len(piece)
        if not piece:
            return None
        end = piece.find(b"\n") + 1
        if end:
            self.skip_from = -1
            piece = piece[:end]
        return Cut(piece, b"")
