"""What a producer has under way: batches waiting, batches sent and not acknowledged, and the credit between them.

Go-back-n: batches are numbered when they are first sent, kept until acknowledged, and sent again from where the daemon
says. Pure state without sockets and threads; its owner guards it with a lock.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from flowd.client.cutting import Outgoing
from flowd.wire.limits import SEQUENCE_MAX


class Window:
    """Invariants:

    1. `_sent` holds consecutive sequences and ends with `_last`; `_waiting` holds batches without one.
    2. The first `_under_way` batches of `_sent` were transmitted in this conversation; the others are to be sent again.
    3. A batch leaves only when the daemon has acknowledged it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Outgoing] = deque()
        self._sent: deque[Outgoing] = deque()
        self._last = 0
        self._under_way = 0
        self._under_way_bytes = 0
        self._credit_bytes = 0
        self._credit_batches = 0
        self.waiting_bytes = 0
        self.lines = 0
        """Lines handed over and not acknowledged."""
        self.added = 0
        """Batches handed over so far."""
        self.acknowledged = 0
        """Those of them, the oldest, that the daemon has acknowledged."""

    @property
    def is_empty(self) -> bool:
        """Whether everything handed over is acknowledged."""
        return not self._waiting and not self._sent

    @property
    def first_unacknowledged(self) -> int | None:
        """The oldest sequence that the daemon has not acknowledged: what HELLO says as `first`."""
        return self._sent[0].sequence if self._sent else None

    def add(self, batch: Outgoing) -> None:
        """Takes a batch to be sent."""
        self._waiting.append(batch)
        self.added += 1
        self.waiting_bytes += len(batch.payload)
        self.lines += batch.lines

    def welcome(self, last: int, credit_bytes: int, credit_batches: int) -> None:
        """A conversation begins: the daemon has everything up to `last`, and nothing else is under way."""
        self._under_way = 0
        self._under_way_bytes = 0
        self._forget_until(last)
        if not self._sent:
            self._last = last
        self._credit_bytes, self._credit_batches = credit_bytes, credit_batches

    def acknowledge(self, sequence: int, credit_bytes: int, credit_batches: int) -> None:
        """Everything up to `sequence` is decided; the credit is new."""
        self._forget_until(min(sequence, self._last))
        self._credit_bytes, self._credit_batches = credit_bytes, credit_batches

    def rewind(self, sequence: int) -> bool:
        """Makes `sequence` the next to be sent, if it was sent before; False where it is not here any more."""
        if not self._sent or not self._sent[0].sequence <= sequence <= self._last:
            return False
        under_way = sequence - self._sent[0].sequence
        if under_way < self._under_way:
            self._under_way_bytes -= sum(len(b.payload) for b in islice(self._sent, under_way, self._under_way))
            self._under_way = under_way
        return True

    def take(self) -> Outgoing | None:
        """The next batch to send, numbered, or None where there is none or the credit is used up.

        A batch larger than the credit goes alone, as long as there is any.
        """
        again = self._under_way < len(self._sent)
        if not again and (not self._waiting or self._last == SEQUENCE_MAX):
            return None
        batch = self._sent[self._under_way] if again else self._waiting[0]
        if not self._has_credit(len(batch.payload)):
            return None
        if not again:
            self._waiting.popleft()
            self.waiting_bytes -= len(batch.payload)
            self._last += 1
            batch.sequence = self._last
            self._sent.append(batch)
        self._under_way += 1
        self._under_way_bytes += len(batch.payload)
        return batch

    def _has_credit(self, size_bytes: int) -> bool:
        if self._under_way == 0:
            return self._credit_batches > 0 and self._credit_bytes > 0
        return self._under_way < self._credit_batches and self._under_way_bytes + size_bytes <= self._credit_bytes

    def _forget_until(self, sequence: int) -> None:
        while self._sent and self._sent[0].sequence <= sequence:
            batch = self._sent.popleft()
            self.lines -= batch.lines
            self.acknowledged += 1
            if self._under_way:
                self._under_way -= 1
                self._under_way_bytes -= len(batch.payload)
