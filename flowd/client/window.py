"""What a producer has under way: batches waiting, batches sent and not acknowledged, and the credit between them.

Go-back-n: batches are numbered when they are first sent, kept until acknowledged, and sent again from where the daemon
says. Pure state without sockets and threads; its owner guards it with a lock. What keeps it over lives is told what
happens, and not known here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from flowd.client.cutting import Outgoing
from flowd.wire.limits import SEQUENCE_MAX


def _ignore(_: object) -> None:
    """What a window tells where nobody keeps it."""


class Window:
    """`on_seal` is called with a batch that has got its sequence, before it is sent: where it raises, the batch has not
    got it. `on_acknowledged` is called with the last sequence that the daemon has.

    Invariants:

    1. Sequences rise in `_sent`, up to `_last` at most, which never goes back; `_waiting` holds batches without one.
    2. The first `_under_way` batches of `_sent` were transmitted in this conversation; the others are to be sent again.
    3. A batch leaves only when the daemon has acknowledged it.
    4. A batch is under way only behind all those before it: where sequences are left out, which is what a damaged spool
       does, what is behind the gap waits until the daemon has been told in a HELLO that nothing comes in it.
    """

    def __init__(
        self, on_seal: Callable[[Outgoing], None] = _ignore, on_acknowledged: Callable[[int], None] = _ignore
    ) -> None:
        self._on_seal = on_seal
        self._on_acknowledged = on_acknowledged
        self._waiting: deque[Outgoing] = deque()
        self._sent: deque[Outgoing] = deque()
        self._last = 0
        self._mark = 0
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
    def waiting_batches(self) -> int:
        """Batches that were never sent."""
        return len(self._waiting)

    @property
    def first(self) -> int | None:
        """The lowest sequence that may still be sent, which is what HELLO says as `first`: that of the oldest batch
        that is not acknowledged, or the next one. None before the first batch of all."""
        if self._sent:
            return self._sent[0].sequence
        return self._last + 1 if 0 < self._last < SEQUENCE_MAX else None

    @property
    def must_greet(self) -> bool:
        """Whether what is to be sent next lies behind a gap in the sequences, of which only HELLO tells the daemon."""
        return self._under_way == 0 and self._mark + 1 < (self._sent[0].sequence if self._sent else self._last + 1)

    def restore(self, last: int, sealed: Iterable[Outgoing]) -> None:
        """Goes on from an earlier life: the last sequence it has used, and the batches that were not acknowledged."""
        self._last = last
        for batch in sealed:
            self._sent.append(batch)
            self.added += 1
            self.lines += batch.lines

    def add(self, batch: Outgoing) -> None:
        """Takes a batch to be sent."""
        self._waiting.append(batch)
        self.added += 1
        self.waiting_bytes += len(batch.payload)
        self.lines += batch.lines

    def welcome(self, last: int, credit_bytes: int, credit_batches: int) -> None:
        """A conversation begins: the daemon has everything up to `last`, awaits `first`, and nothing is under way."""
        self._under_way = 0
        self._under_way_bytes = 0
        self._mark = max(last, (self.first or 1) - 1)
        self._last = max(self._last, last)
        self._forget_until(last)
        self._credit_bytes, self._credit_batches = credit_bytes, credit_batches

    def acknowledge(self, sequence: int, credit_bytes: int, credit_batches: int) -> None:
        """Everything up to `sequence` is decided; the credit is new."""
        self._forget_until(min(sequence, self._last))
        self._credit_bytes, self._credit_batches = credit_bytes, credit_batches

    def rewind(self, sequence: int) -> bool:
        """Makes `sequence` the next to be sent, if it was sent before; False where it is not here any more."""
        under_way = next((i for i, batch in enumerate(self._sent) if batch.sequence == sequence), None)
        if under_way is None:
            return False
        if under_way < self._under_way:
            self._under_way_bytes -= sum(len(b.payload) for b in islice(self._sent, under_way, self._under_way))
            self._under_way = under_way
        return True

    def take(self) -> Outgoing | None:
        """The next batch to send, numbered, or None where there is none, the credit is used up, or a gap comes first.

        A batch larger than the credit goes alone, as long as there is any. Raises what `on_seal` raises.
        """
        again = self._under_way < len(self._sent)
        if not again and (not self._waiting or self._last == SEQUENCE_MAX):
            return None
        batch = self._sent[self._under_way] if again else self._waiting[0]
        sequence = batch.sequence if again else self._last + 1
        before = self._sent[self._under_way - 1].sequence if self._under_way else self._mark
        if sequence != before + 1 or not self._has_credit(len(batch.payload)):
            return None
        if not again:
            batch.sequence = sequence
            self._on_seal(batch)
            self._last = sequence
            self._waiting.popleft()
            self.waiting_bytes -= len(batch.payload)
            self._sent.append(batch)
        self._under_way += 1
        self._under_way_bytes += len(batch.payload)
        return batch

    def _has_credit(self, size_bytes: int) -> bool:
        if self._under_way == 0:
            return self._credit_batches > 0 and self._credit_bytes > 0
        return self._under_way < self._credit_batches and self._under_way_bytes + size_bytes <= self._credit_bytes

    def _forget_until(self, sequence: int) -> None:
        self._mark = max(self._mark, sequence)
        while self._sent and self._sent[0].sequence <= sequence:
            batch = self._sent.popleft()
            self.lines -= batch.lines
            self.acknowledged += 1
            if self._under_way:
                self._under_way -= 1
                self._under_way_bytes -= len(batch.payload)
        self._on_acknowledged(sequence)
