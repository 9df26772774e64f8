"""The records of one or more messages on their way into the journal: decided at once, stored as batches.

Records become lines in the core, about a batch's usual size of them at a time. A batch ends where enough of them are
kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from flowd.filterset import Borrowed
from flowd.messages import AppliedRecords, RecordsRead, write_records
from flowd.relay.carrier import ENTRY_BYTES, Entry, Load, Origin, Part
from flowd.relay.deciding.streams import Stream
from flowd.relay.forward.handover import Delivery
from flowd.wire import Buffer
from flowd.wire.limits import BATCH_BYTES, PAYLOAD_MAX_BYTES

SAMPLED_BYTES = 16 << 10
"""Of a batch's entries, what is written as lines where the sample wants some."""
LINE_SIZE = "line_size"
"""Why a record is dropped whose line no payload holds."""
ENOUGH_BYTES = BATCH_BYTES // 2
"""A batch ends with this much kept: to fill it up would mean to copy all of it together."""


class Run(NamedTuple):
    """Entries that were decided in one go: their records, and how many of these are not kept."""

    entries: Buffer
    records: int
    dropped: int


class RecordsEntry(Entry):
    """A batch of kept records. `runs` are what it was made of, until it was sampled."""

    __slots__ = ("load", "runs")

    def __init__(self, origin: Origin, load: RecordsLoad, runs: Sequence[Run]) -> None:
        super().__init__(origin)
        self.load = load
        self.runs = runs


class RecordsLoad(Load):
    """The entries of `deliveries`. `problems` has the entries that gave no line, by their reason; `unread_bytes` are
    those behind what could not be read, `markers` Fluent Bit's marks of groups. `left` is how many of its batches are
    not stored."""

    __slots__ = ("_origin", "_runs", "_time_key", "deliveries", "left", "markers", "problems", "unread_bytes")

    def __init__(self, origin: Origin, stream: Stream, deliveries: Sequence[Delivery], time_key: str | None) -> None:
        """Takes the deliveries' entries: they have none afterwards."""
        super().__init__(stream, ENTRY_BYTES + sum(len(each.entries) for each in deliveries))
        self.deliveries = deliveries
        self.problems: Counter[str] = Counter()
        self.unread_bytes = 0
        self.markers = 0
        self.left = 0
        self._origin = origin
        self._runs = join_runs(deliveries)
        self._time_key = time_key

    def decide(self) -> None:
        """Decides all entries. There is always a batch, if only one of which nothing is kept: what is acknowledged by
        it has its place in the stream."""
        parts = _Parts(self)
        for run in self._runs:
            at = 0
            while at < len(run):
                rest = memoryview(run)[at:]
                applied = self.filter_set.apply_records(rest, time_key=self._time_key, most_bytes=BATCH_BYTES)
                read = applied.read
                at = len(run) - read.unread_bytes
                self.problems.update(read.problems)
                self.markers += read.markers
                parts.add(applied, rest[: len(rest) - read.unread_bytes])
                if read.is_lost:
                    self.unread_bytes += read.unread_bytes
                    break
        self.parts = parts.finish()
        self.left = len(self.parts)
        self._runs = ()

    def add_to_samples(self, part: Part, now_ns: int) -> None:
        """Writes some of a batch's records as lines, where they are wanted: run by run, as the lines of batches are."""
        entry = part.entry
        assert isinstance(entry, RecordsEntry)
        runs, entry.runs = entry.runs, ()
        for run in runs:
            self.stream.sample.add_written(run.records, partial(self._write_some, run.entries))
            self.stream.dropped.add_written(run.dropped, now_ns, partial(self._write_dropped, run.entries))
            if self.stream.taps:
                self._offer(run, now_ns)

    def make_entry(self, runs: Sequence[Run]) -> RecordsEntry:
        """The entry of a batch that is made of these."""
        return RecordsEntry(self._origin, self, runs)

    def _offer(self, run: Run, now_ns: int) -> None:
        """Writes a run as lines, for those who tap the stream."""
        lines = write_records(run.entries, time_key=self._time_key)[0]
        counted = Borrowed(b"", run.records, run.records - run.dropped, 0, 0)
        for tap in self.stream.taps:
            tap.offer(lines, counted, self.filter_set, self.filter_set is not self.stream.loaded, now_ns)

    def _write_some(self, entries: Buffer) -> bytes:
        return write_records(memoryview(entries)[:SAMPLED_BYTES], time_key=self._time_key)[0]

    def _write_dropped(self, entries: Buffer) -> bytes:
        # A twin that goes away again, as for lines.
        return self.filter_set.twin().apply_records(entries, time_key=self._time_key, invert=True).kept


class _Parts:
    """Batches that are made of what was decided, one run of entries after the other."""

    def __init__(self, load: RecordsLoad) -> None:
        self._load = load
        self._parts: list[Part] = []
        self._begin()

    def add(self, applied: AppliedRecords, entries: Buffer) -> None:
        """The next entries, and what came of them."""
        if self._kept_bytes + len(applied.kept) > PAYLOAD_MAX_BYTES:
            self._end()
        read = applied.read
        self._lines += read.records
        self._errors += applied.errors
        self._received_bytes += len(entries)
        self._runs.append(Run(entries, read.records, read.records - applied.kept_records))
        if read.records:
            self._reads.append(read)
        if len(applied.kept) > PAYLOAD_MAX_BYTES:
            self._load.problems[LINE_SIZE] += 1  # one line: more than one are no more than a batch
        elif applied.kept:
            self._kept.append(applied.kept)
            self._kept_bytes += len(applied.kept)
            self._kept_lines += applied.kept_records
        if self._kept_bytes >= ENOUGH_BYTES:
            self._end()

    def finish(self) -> list[Part]:
        """All of them, one at least."""
        if self._runs or not self._parts:
            self._end()
        return self._parts

    def _begin(self) -> None:
        self._kept: list[bytes] = []
        self._kept_bytes = self._kept_lines = self._lines = self._errors = self._received_bytes = 0
        self._runs: list[Run] = []
        self._reads: list[RecordsRead] = []

    def _end(self) -> None:
        kept = self._kept[0] if len(self._kept) == 1 else b"".join(self._kept)
        applied = Borrowed(kept, self._lines, self._kept_lines, 0, self._errors)
        entry = self._load.make_entry(self._runs)
        times = _find_times(self._reads) if kept else None
        self._parts.append(Part(entry, self._received_bytes, applied, None, times))
        self._begin()


def join_runs(deliveries: Sequence[Delivery]) -> Sequence[Buffer]:
    """The deliveries' entries, as few runs as may be: what is broken in one must not cost the others theirs."""
    runs: list[Buffer] = []
    sound: list[Buffer] = []
    for each in deliveries:
        entries, each.entries = each.entries, b""
        if each.is_sound:
            sound.append(entries)
            continue
        if sound:
            runs.append(sound[0] if len(sound) == 1 else b"".join(sound))
            sound = []
        runs.append(entries)
    if sound:
        runs.append(sound[0] if len(sound) == 1 else b"".join(sound))
    return runs


def _find_times(reads: Sequence[RecordsRead]) -> tuple[int, int] | None:
    """The earliest and the latest of the records' times; one before 1970 is told as that."""
    if not reads:
        return None
    return max(0, min(read.first_ns for read in reads)), max(0, max(read.last_ns for read in reads))
