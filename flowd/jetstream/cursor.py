"""A consumer's cursor in a JetStream stream whose batches are yielded in another order than they stand. Plain data."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from flowd.errors import WireError
from flowd.jetstream.order import Mark

MARKS_MAX = 128
"""Epochs that a cursor remembers: with more nodes, what was lost while the consumer was away has no line count."""
AHEAD_MAX = 4096


class Cursor(NamedTuple):
    """Everything up to `sequence` was yielded and committed, and the messages `ahead` behind it. `incarnation` is the
    consumer's that stored it; `marks` say how far each node's epoch was."""

    sequence: int = 0
    ahead: tuple[int, ...] = ()
    incarnation: str = ""
    marks: dict[bytes, Mark] = {}  # noqa: RUF012 # never changed

    def pack(self) -> bytes:
        """As stored."""
        marks = {epoch.hex(): list(mark) for epoch, mark in self.marks.items()}
        value = {"sequence": self.sequence, "ahead": self.ahead, "incarnation": self.incarnation, "marks": marks}
        return json.dumps(value, separators=(",", ":")).encode()

    @staticmethod
    def unpack(value: bytes | None) -> Cursor:
        """Raises WireError `cursor` where this is none."""
        try:
            found: dict[str, Any] = json.loads(value or b"")
            marks = {bytes.fromhex(epoch): Mark(int(seq), int(lines)) for epoch, (seq, lines) in found["marks"].items()}
            ahead = tuple(int(sequence) for sequence in found["ahead"])
            return Cursor(int(found["sequence"]), ahead, str(found["incarnation"]), marks)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WireError("cursor", f"the stored cursor is none: {error!r}") from error


class Yielded:
    """Which messages were received, which yielded: so the cursor behind each batch is known."""

    def __init__(self, cursor: Cursor) -> None:
        self._ahead = set(cursor.ahead)
        self._highest = cursor.sequence
        self._waiting: set[int] = set()

    def is_known(self, sequence: int) -> bool:
        """Whether this message was committed before."""
        return sequence in self._ahead

    def receive(self, sequence: int) -> None:
        """A message has come."""
        self._highest = max(self._highest, sequence)
        self._waiting.add(sequence)

    def take(self, sequences: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """A batch is yielded; returns what the cursor is behind it: the sequence, and what is ahead of that."""
        self._waiting.difference_update(sequences)
        self._ahead.update(sequences)
        reached = min(self._waiting) - 1 if self._waiting else self._highest
        self._ahead = {sequence for sequence in self._ahead if sequence > reached}
        return reached, tuple(sorted(self._ahead)[:AHEAD_MAX])
