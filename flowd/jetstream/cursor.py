"""A consumer's cursor in a JetStream stream whose batches are yielded in another order than they stand. Plain data."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from flowd.errors import WireError
from flowd.jetstream.order import Mark

MARKS_MAX = 128
"""Epochs that a cursor remembers: with more nodes, what was lost while the consumer was away has no line count."""
MISSING_MAX = 4096
"""Messages that a cursor names one by one. With more of them it stands before the others, which come again."""


class Cursor(NamedTuple):
    """Everything up to `sequence` was yielded and committed, but for the messages `missing`, in order. `incarnation` is
    the consumer's that stored it; `marks` say how far each node's epoch was; `created` tells the JetStream stream from
    another of its name (empty: not known)."""

    sequence: int = 0
    missing: tuple[int, ...] = ()
    incarnation: str = ""
    marks: dict[bytes, Mark] = {}  # noqa: RUF012 # never changed
    created: str = ""

    @property
    def next(self) -> int:
        """The first message to be read."""
        return self.missing[0] if self.missing else self.sequence + 1

    def between(self, first: int, last: int) -> Cursor:
        """In a stream that has no messages but from `first` to `last`."""
        missing = tuple(sequence for sequence in self.missing if first <= sequence <= last)
        return self._replace(sequence=min(max(self.sequence, first - 1), last), missing=missing)

    def pack(self) -> bytes:
        """As stored."""
        value = {**self._asdict(), "marks": {epoch.hex(): list(mark) for epoch, mark in self.marks.items()}}
        return json.dumps(value, separators=(",", ":")).encode()

    @staticmethod
    def unpack(value: bytes | None) -> Cursor:
        """Raises WireError `cursor` where this is none."""
        try:
            found: dict[str, Any] = json.loads(value or b"")
            marks = {bytes.fromhex(epoch): Mark(int(seq), int(lines)) for epoch, (seq, lines) in found["marks"].items()}
            missing = tuple(sorted(int(sequence) for sequence in found["missing"]))
            return Cursor(int(found["sequence"]), missing, str(found["incarnation"]), marks, str(found["created"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WireError("cursor", f"the stored cursor is none: {error!r}") from error


def merge_marks(into: dict[bytes, Mark], newer: dict[bytes, Mark]) -> None:
    """The latest are at the end; a batch that came late sets no mark back."""
    for epoch, mark in newer.items():
        known = into.pop(epoch, mark)
        into[epoch] = max(known, mark)


class Yielded:
    """Which messages were received, which yielded: so the cursor behind each batch is known."""

    def __init__(self, cursor: Cursor) -> None:
        self._committed = cursor.sequence
        self._unread = list(reversed(cursor.missing))
        self._highest = cursor.sequence
        self._waiting = set(cursor.missing)

    def is_known(self, sequence: int) -> bool:
        """Whether this message was committed before; to be asked before it is received."""
        return sequence <= self._committed and sequence not in self._waiting

    def receive(self, sequence: int) -> None:
        """A message has come; they come in order."""
        while self._unread and self._unread[-1] <= sequence:
            passed = self._unread.pop()
            if passed < sequence:
                self._waiting.discard(passed)  # the stream does not have it any more
        if not self.is_known(sequence):
            self._highest = max(self._highest, sequence)
            self._waiting.add(sequence)

    def take(self, sequences: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """A batch is yielded; returns what the cursor is behind it: the sequence, and what is missing up to that."""
        self._waiting.difference_update(sequences)
        missing = sorted(self._waiting)
        if len(missing) > MISSING_MAX:
            return missing[MISSING_MAX] - 1, tuple(missing[:MISSING_MAX])
        return self._highest, tuple(missing)
