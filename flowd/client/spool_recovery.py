"""What a spool's segments say after its producer ended, however it ended. Pure: bytes in, state out.

Two things are kept apart. A **torn** tail is a record that the producer's end cut off: nobody was told that it was
taken, and it is dropped. **Damage** is what no end leaves: bytes that changed, a segment that is missing. Then

- what is whole is used, before and behind the damage;
- a batch is sent under its sequence as it was, by its checksum, or not at all: then its lines are lost, and counted;
- where a SEAL may be among what is damaged, its lines look as if they had not been sent. They are sent (again): better
  twice than lost. And no sequence is used that the SEAL may have given to another batch: numbers go on far above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.client.cutting import Outgoing
from flowd.client.spool_record import Ack, Begin, Damage, Lines, Seal, Tail, scan
from flowd.wire import checksum, count_lines
from flowd.wire.limits import SEQUENCE_MAX

SEQUENCE_LEAP = 1 << 32
"""How far sequences go on above the last one known where a SEAL may be lost: no spool holds so many, and there are as
many leaps."""


class Piece(NamedTuple):
    """Lines of a stream that no batch has yet, and their position."""

    stream: str
    start: int
    payload: bytes


class SegmentState(NamedTuple):
    """Where a segment's whole records end, in bytes of it, and the position there. `is_whole`: it has a BEGIN, and
    nothing but its tail is wrong with it."""

    size_bytes: int
    end: int
    is_whole: bool
    is_empty: bool


@dataclass
class Recovered:
    """Where a spool stands.

    `sealed` are batches that were given a sequence and not acknowledged; each of `runs` is lines of one stream that
    were given none, and that no other batch of the stream lies between. Both in order.
    """

    owner: bytes | None = None
    last: int = 0
    acknowledged: int = 0
    floor: int = 0
    position: int = 0
    sealed: list[Outgoing] = field(default_factory=list)
    runs: list[list[Piece]] = field(default_factory=list)
    segments: list[SegmentState] = field(default_factory=list)
    torn_bytes: int = 0
    damaged_places: int = 0
    lost_lines: int = 0
    is_seal_lost: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be delivered."""
        return not self.sealed and not self.runs


class _Gap(NamedTuple):
    """Positions of which nothing is known, and how many newlines there were in the bytes that were damaged there."""

    start: int
    end: int
    newlines: int


def recover(segments: Iterable[tuple[bytes, bytes]]) -> Recovered:
    """What is to be delivered, from all segments in order: each one's mark and bytes."""
    history = _History()
    for mark, data in segments:
        history.read(mark, data)
    return history.conclude()


class _History:
    """What was read so far."""

    def __init__(self) -> None:
        self._found = Recovered()
        self._lines: defaultdict[str, list[Lines]] = defaultdict(list)
        self._seals: dict[int, Seal] = {}
        self._gaps: list[_Gap] = []
        self._newlines = 0
        self._is_unclear = False
        self._is_first = True
        self._begins_at = 0

    def read(self, mark: bytes, data: bytes) -> None:
        """Takes the next segment."""
        found = self._found
        is_first, self._is_first = self._is_first, False
        has_begin = is_damaged = False
        records = end_bytes = 0
        for record in scan(data, mark):
            if isinstance(record, Tail):
                end_bytes = record.end_bytes
                found.torn_bytes += record.torn_bytes
                continue
            records += 1
            if isinstance(record, Damage):
                is_damaged = self._is_unclear = found.is_seal_lost = True
                found.damaged_places += 1
                self._newlines += record.newlines
            elif isinstance(record, Begin):
                has_begin = True
                self._read_begin(record, is_first)
            elif isinstance(record, Lines):
                if not record.is_whole:
                    is_damaged = True
                    found.damaged_places += 1
                self._lines[record.stream].append(record)
                self._reach(record.start, record.end)
            elif isinstance(record, Seal):
                self._seals.setdefault(record.sequence, record)
                found.last = max(found.last, record.sequence)
            else:
                self._read_ack(record)
        is_whole = has_begin and not is_damaged
        found.segments.append(SegmentState(end_bytes, found.position, is_whole, not records))

    def conclude(self) -> Recovered:
        """What follows from all segments."""
        found = self._found
        if self._begins_at > found.floor:  # what was before is gone, and was not acknowledged
            self._is_unclear = False
            self._miss()
        seals: defaultdict[str, list[Seal]] = defaultdict(list)
        for seal in self._seals.values():
            if seal.end > found.floor:
                seals[seal.stream].append(seal)
        end = max((seal.end for seal in self._seals.values()), default=0)
        if self._newlines or end > found.position:
            self._gaps.append(_Gap(found.position, max(end, found.position), self._newlines))
            found.position = max(end, found.position)
        dropped: list[Seal] = []
        for stream in self._lines.keys() | seals.keys():
            dropped += self._divide(stream, sorted(seals[stream], key=lambda seal: seal.start))
        found.sealed.sort(key=lambda batch: batch.sequence)
        found.runs.sort(key=lambda run: run[0].start)
        found.lost_lines += sum(seal.lines for seal in dropped)
        found.lost_lines += sum(gap.newlines for gap in self._gaps if self._is_lost(gap, dropped))
        if found.is_seal_lost:
            found.last = min(found.last + SEQUENCE_LEAP, SEQUENCE_MAX)
        return found

    def _read_begin(self, begin: Begin, is_first: bool) -> None:
        found = self._found
        found.owner = begin.owner
        self._read_ack(Ack(begin.acknowledged, begin.floor))
        if is_first:
            self._begins_at = found.position = begin.position
        elif found.last < begin.last < found.last + SEQUENCE_LEAP and begin.position <= found.position:
            self._miss()  # else it was a leap, and what made it necessary is acknowledged and gone
        self._reach(begin.position, begin.position)
        found.last = max(found.last, begin.last)

    def _read_ack(self, ack: Ack) -> None:
        found = self._found
        found.acknowledged = max(found.acknowledged, ack.sequence)
        found.last = max(found.last, ack.sequence)
        found.floor = max(found.floor, ack.floor)

    def _reach(self, start: int, end: int) -> None:
        """Lines from `start` to `end` are known; what lies between them and those before is not."""
        if start > self._found.position:
            self._miss()
            self._gaps.append(_Gap(self._found.position, start, self._newlines))
        self._newlines = 0
        self._is_unclear = False
        self._found.position = max(self._found.position, end)

    def _miss(self) -> None:
        """Records are missing here. Where no damaged bytes tell of them, they are gone altogether."""
        if not self._is_unclear:
            self._found.damaged_places += 1
            self._found.is_seal_lost = True

    def _divide(self, stream: str, seals: list[Seal]) -> list[Seal]:
        """Gives a stream's lines to their batches and the rest to runs; returns the batches that are not whole."""
        found = self._found
        parts: dict[int, list[memoryview]] = {}
        run: list[Piece] = []
        place = -1
        for lines, start, end, index in _cut(self._lines[stream], seals, found.floor):
            seal = seals[index] if index < len(seals) and seals[index].start <= start else None
            payload = lines.payload[start - lines.start : end - lines.start]
            if not lines.is_whole:
                if seal is None:
                    found.lost_lines += count_lines(payload)
                continue
            if seal is not None:
                if seal.sequence > found.acknowledged:
                    parts.setdefault(seal.sequence, []).append(payload)
                continue
            if index != place:
                run, place = [], index
                found.runs.append(run)
            run.append(Piece(stream, start, bytes(payload)))
        dropped = []
        for seal in seals:
            if seal.sequence > found.acknowledged:
                whole = b"".join(parts.get(seal.sequence, ()))
                if checksum(whole) != seal.crc or not whole:
                    dropped.append(seal)
                    continue
                batch = Outgoing(stream, whole, seal.lines, seal.sequence, seal.crc, seal.start, seal.end)
                found.sealed.append(batch)
        return dropped

    def _is_lost(self, gap: _Gap, dropped: list[Seal]) -> bool:
        """Whether lines of this gap are missed by nobody else: not acknowledged, and in no batch that counts them."""
        is_counted = any(seal.start < gap.end and gap.start < seal.end for seal in dropped)
        return not is_counted and (gap.end > self._found.floor or gap.start == gap.end)


def _cut(spans: list[Lines], seals: list[Seal], floor: int) -> Iterator[tuple[Lines, int, int, int]]:
    """Cuts a stream's lines where batches begin and end: (lines, start, end, index of the first seal that ends behind
    `start`). What lies before the floor is left out."""
    index = 0
    for lines in spans:
        start = max(lines.start, floor)
        while start < lines.end:
            while index < len(seals) and seals[index].end <= start:
                index += 1
            end = lines.end
            if index < len(seals):
                seal = seals[index]
                end = min(end, seal.end if seal.start <= start else seal.start)
            yield lines, start, end, index
            start = end
