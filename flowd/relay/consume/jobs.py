"""What the consume lane has the journal store: attachments' generations and committed cursors."""

from __future__ import annotations

import time

from flowd.relay.journal.layout import Cursor
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.transaction import Transaction
from flowd.wire import Attach

CURSOR_BYTES = 256
"""What a cursor counts as in a group."""
CURSORS_MAX = 4096
"""Cursors kept: names that were used once are for `flowd consumers delete`."""


class CursorJob:
    """The base: a consumer's cursor in a stream is changed."""

    size_bytes = CURSOR_BYTES
    is_patient = False
    is_small = True

    def __init__(self, outbox: Outbox, consumer: str, stream: str) -> None:
        self.outbox = outbox
        self.term = 0
        self.consumer = consumer
        self.stream = stream

    def write(self, transaction: Transaction) -> None:
        """Puts the change into the transaction."""
        raise NotImplementedError


class AttachJob(CursorJob):
    """A consumer attaches: it gets the next generation, unless it attaches again and another has since it did.

    Afterwards `cursor` is what was stored, with the new generation; None where it is fenced, or there are too many.
    """

    def __init__(self, outbox: Outbox, header: Attach) -> None:
        super().__init__(outbox, header.c, header.st)
        self._owner = header.inc
        self._is_again = header.again
        self.cursor: Cursor | None = None
        self.is_fenced = False

    def write(self, transaction: Transaction) -> None:
        """Puts the generation into the transaction."""
        stored = transaction.find_cursor(self.consumer, self.stream)
        self.cursor, self.is_fenced = None, False
        if stored is None and transaction.cursors_count() >= CURSORS_MAX:
            return
        if self._is_again and stored is not None and stored.owner != self._owner:
            self.is_fenced = True
            return
        stored = stored or Cursor(0, 0, None, 0, 0)
        self.cursor = stored._replace(generation=stored.generation + 1, owner=self._owner)
        transaction.set_cursor(self.consumer, self.stream, self.cursor)


class CommitJob(CursorJob):
    """A consumer is done with everything up to `sequence`. Afterwards `is_fenced` says that another has its name.

    It waits while the journal has no room: its consumer counts on it. One that attaches asks again.
    """

    is_patient = True

    def __init__(self, outbox: Outbox, consumer: str, stream: str, generation: int, sequence: int, lines: int) -> None:
        super().__init__(outbox, consumer, stream)
        self.generation = generation
        self.sequence = sequence
        self.is_fenced = False
        self._lines = lines

    def write(self, transaction: Transaction) -> None:
        """Puts the cursor into the transaction."""
        stored = transaction.find_cursor(self.consumer, self.stream)
        self.is_fenced = stored is None or stored.generation != self.generation
        if stored is not None and not self.is_fenced:
            moved = stored._replace(sequence=self.sequence, lines=self._lines, time_ns=time.time_ns())
            transaction.set_cursor(self.consumer, self.stream, moved)


class PlaceJob(CursorJob):
    """A cursor that was never moved is placed where its consumer begins, behind `sequence`: whatever is retired before
    the first COMMIT is missed from there, and told. Nobody waits for it."""

    def __init__(self, outbox: Outbox, consumer: str, stream: str, generation: int, sequence: int, lines: int) -> None:
        super().__init__(outbox, consumer, stream)
        self._generation = generation
        self._placed = sequence, lines

    def write(self, transaction: Transaction) -> None:
        """Puts the cursor into the transaction, unless another has the name or has moved it."""
        stored = transaction.find_cursor(self.consumer, self.stream)
        if stored is not None and stored.generation == self._generation and stored.sequence is None:
            sequence, lines = self._placed
            placed = stored._replace(sequence=sequence, lines=lines)
            transaction.set_cursor(self.consumer, self.stream, placed)


class ResetJob(CursorJob):
    """An administrator moves a cursor (to behind `sequence`), or deletes it (None). `is_known`: there was one."""

    def __init__(self, outbox: Outbox, consumer: str, stream: str, moved: tuple[int, int] | None) -> None:
        super().__init__(outbox, consumer, stream)
        self._moved = moved
        self.is_known = False

    def write(self, transaction: Transaction) -> None:
        """Puts the change into the transaction. Who is attached is fenced by it."""
        stored = transaction.find_cursor(self.consumer, self.stream)
        self.is_known = stored is not None
        if self._moved is None:
            transaction.delete_cursor(self.consumer, self.stream)
        elif stored is not None:
            sequence, lines = self._moved
            moved = Cursor(stored.generation + 1, 0, sequence or None, lines, time.time_ns())
            transaction.set_cursor(self.consumer, self.stream, moved)
