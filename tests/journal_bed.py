"""What the journal's tests stand on: open stores, a clock that stands still, jobs that append, and what is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relay_bed import DEADLINE_S

from flowd.relay.config import Journal
from flowd.relay.health import Health
from flowd.relay.journal.layout import Mark
from flowd.relay.journal.outbox import Outbox, Settled
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import NewBatch, Placed, Retired, Transaction
from flowd.relay.journal.writer import Writer
from flowd.relay.metrics import Counters

MAX_BYTES = 64 << 20
FOR_EVER_NS = 1 << 62


class SetClock:
    """A journal's clock that tests set."""

    def __init__(self, now_ns: int = 0) -> None:
        self.time_ns = now_ns

    def now_ns(self) -> int:
        return self.time_ns


@contextmanager
def stored(directory: Path, max_bytes: int = MAX_BYTES) -> Iterator[Store]:
    """An open store; made where there is none."""
    store = Store(directory / "journal", max_bytes=max_bytes, is_synced=False)
    try:
        yield store
    finally:
        store.close()


def set_clock(store: Store, now_ns: int = 0) -> SetClock:
    """Gives a store a clock that stands still until it is set."""
    clock = SetClock(now_ns)
    store.clock = clock  # type: ignore[assignment]
    return clock


def new_batch(kept: bytes, stream: str = "flows", time_ns: int | None = None, generation: int = 1) -> NewBatch:
    return NewBatch(stream, kept, kept.count(b"\n"), time.time_ns() if time_ns is None else time_ns, generation)


def append(store: Store, *kept: bytes, stream: str = "flows") -> list[Placed]:
    """One transaction with these batches."""
    with store.write() as transaction:
        return [transaction.append(new_batch(lines, stream)) for lines in kept]


def retire(store: Store, max_bytes: int = 1 << 62, max_age_ns: int = FOR_EVER_NS) -> Retired:
    """One transaction that does nothing else."""
    with store.write() as transaction:
        return transaction.retire(max_bytes, max_age_ns)


def read_batch(store: Store, stream: str, sequence: int) -> bytes:
    row = store.stream(stream)
    assert row is not None
    with store.read() as reading:
        head = reading.head(row, sequence)
        assert head is not None
        return bytes(reading.lines(row, sequence, head))


def read_stream(store: Store, stream: str = "flows") -> list[bytes]:
    """The lines of all batches that are stored."""
    row = store.stream(stream)
    return [] if row is None else [read_batch(store, stream, n) for n in range(row.oldest, row.next)]


class Bell:
    """What an outbox rings in tests."""

    def __init__(self) -> None:
        self.rings = threading.Semaphore(0)

    def ring(self) -> None:
        self.rings.release()


class AppendJob:
    """A producer's batch: its mark moves with it. A patient one moves a cursor's place only."""

    def __init__(
        self,
        outbox: Outbox,
        kept: bytes = b"",
        stream: str = "flows",
        *,
        producer: bytes = b"",
        sequence: int = 0,
        is_patient: bool = False,
    ) -> None:
        self.outbox = outbox
        self.kept = kept
        self.stream = stream
        self.producer = producer
        self.sequence = sequence
        self.is_patient = is_patient
        self.is_small = False
        self.size_bytes = len(kept)
        self.term = 0
        self.writes = 0
        self.placed: Placed | None = None

    def write(self, transaction: Transaction) -> None:
        self.writes += 1
        if self.is_patient:
            transaction.set_place(b"%d" % self.sequence, b"")
            return
        self.placed = transaction.append(new_batch(self.kept, self.stream))
        if self.producer:
            transaction.set_mark(self.producer, Mark(1, self.sequence, 1))


class WriterBed:
    """A writer with everything it needs; `outbox` is its only owner's unless tests make more."""

    def __init__(self, store: Any, state_dir: Path, start: bool = True, **given: Any) -> None:
        self.settings = Journal(**{"sync": "off", "max_bytes": MAX_BYTES, **given})
        self.counters = Counters()
        self.health = Health()
        self.alarms = 0
        self.bell = Bell()
        self.outbox = Outbox(self.bell)
        self.store = store
        self.writer = Writer(store, self.settings, state_dir, self.counters, self.health, self._alarm)
        if start:
            self.writer.start()

    def _alarm(self) -> None:
        self.alarms += 1

    def submit(self, *kept: bytes, **given: Any) -> list[AppendJob]:
        jobs = [AppendJob(self.outbox, lines, **given) for lines in kept]
        for job in jobs:
            self.writer.submit(job)
        return jobs

    def settled(self, count: int) -> list[Settled]:
        """The next so many jobs that are done, in their order."""
        found: list[Settled] = []
        deadline_s = time.monotonic() + DEADLINE_S
        while len(found) < count:
            settled = self.outbox.take()
            if settled is not None:
                found.append(settled)
            else:
                left_s = deadline_s - time.monotonic()
                assert self.bell.rings.acquire(timeout=max(0.0, left_s)), "the journal does not answer"
        return found

    def __enter__(self) -> WriterBed:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.end()


def refusals(settled: Sequence[Settled]) -> list[str]:
    return [one.refusal for one in settled]
