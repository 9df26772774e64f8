"""The producer's spool: a folder in which lines wait until they are acknowledged, whatever becomes of their producer.

An append-only log in segments. `send`'s lines are in it before anything else is done with them; a batch's sequence and
what it consists of, before it is sent the first time; what was acknowledged, afterwards. Writes go to the system and
are not forced to the disk: the producer's end is survived, a loss of power is not.

Knows nothing of sockets, and does not wait. Its owner guards it with a lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from flowd.client.cutting import Outgoing
from flowd.client.spool_folder import ID_NAME, Folder, SegmentFile, SpoolError, SpoolFull, told
from flowd.client.spool_record import (
    BEGIN_BYTES,
    FORMAT,
    Ack,
    Begin,
    Seal,
    find_other_format,
    pack_ack,
    pack_begin,
    pack_lines,
    pack_seal,
)
from flowd.client.spool_recovery import Recovered, recover
from flowd.client.spool_segment import Segment
from flowd.errors import EXIT_CONFIG
from flowd.wire import checksum

SEGMENT_BYTES = 8 << 20
"""Where the next segment is begun: some thirty batches. What is acknowledged goes by whole segments."""
IDLE_BYTES = 1 << 20
"""A segment of more than this is exchanged for a new one when everything is acknowledged: who has nothing to deliver
holds next to nothing on the disk, and who delivers at once does not exchange with every batch."""

log = logging.getLogger(__name__)


class OtherFormat(SpoolError):
    """The spool was written by another version of flowd."""

    exit_code = EXIT_CONFIG


class _Done(NamedTuple):
    """A segment that is not written to any more, and the position where its lines end."""

    file: SegmentFile
    end: int


class _Unsealed:
    """Lines of a stream that no batch has yet: none lies before `start`."""

    __slots__ = ("size_bytes", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.size_bytes = 0


class Spool:
    """One producer's spool in `directory`, which is made where it is missing. Locks it and reads it: `recovered` is
    what is left to be delivered. `begin` makes it ready to be written.

    Raises SpoolError, with a hint, for a folder that cannot be used or is in use, and OtherFormat.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = Folder(directory)
        self._segment_bytes = segment_bytes
        self._segment: Segment | None = None
        self._done: deque[_Done] = deque()
        self._sealed: deque[tuple[int, int]] = deque()
        self._unsealed: dict[str, _Unsealed] = {}
        self._noted_floor = 0
        self._is_ack_refused = False
        try:
            self._files = self._folder.find_segments()
            self.recovered = self._recover()
        except BaseException:
            self._folder.close()
            raise
        self._owner = b""
        self._last = self.recovered.last
        self._acknowledged = self.recovered.acknowledged
        self._position = self.recovered.position

    @property
    def id_file(self) -> Path:
        """Where the producer's id is kept, unless it has a file of its own."""
        return self._folder.path / ID_NAME

    @property
    def is_acknowledged(self) -> bool:
        """Whether everything in here is acknowledged."""
        return not self._sealed and not self._unsealed

    def begin(self, owner: bytes) -> Recovered:
        """Makes the spool ready for lines of this producer, and hands over what is left to be delivered."""
        found = self.recovered
        if found.owner not in (None, owner) and not found.is_empty:
            assert found.owner is not None
            raise SpoolError(
                f"{self._folder.path}: the spool holds lines of producer {found.owner.hex()}, not of {owner.hex()}",
                hint="give it the id_file that it was written with, or another spool_dir",
            )
        self._say_what_was_found(found)
        self._owner = owner
        self._sealed.extend((batch.sequence, batch.start) for batch in found.sealed)
        for run in found.runs:
            for piece in run:
                self._unsealed.setdefault(piece.stream, _Unsealed(piece.start)).size_bytes += len(piece.payload)
        self._noted_floor = found.floor
        self._open_segment(found)
        with suppress(SpoolFull):  # what is here can be delivered without that; it is tried again
            if self._done and self._done[0].end <= self._floor:
                self._note_acknowledged()
            self._folder.keep_reserve()
        self.recovered = Recovered()
        return found

    def append(self, stream: str, lines: bytes) -> int:
        """Takes one call's lines, all or none, and returns their position. Raises SpoolFull and SpoolError."""
        try:
            return self._append(stream, lines)
        except SpoolFull:
            if not self._is_spent:
                raise
        self._begin_segment()  # all that takes the room is acknowledged: it goes
        return self._append(stream, lines)

    def seal(self, batch: Outgoing) -> None:
        """A batch of spooled lines has got its sequence. It may be sent when this returns, not where it raises."""
        batch.crc = checksum(batch.payload)
        seal = Seal(batch.stream, batch.sequence, batch.start, batch.end, batch.lines, batch.crc)
        self._note(lambda mark: pack_seal(mark, seal))
        self._last = batch.sequence
        self._sealed.append((batch.sequence, batch.start))
        unsealed = self._unsealed[batch.stream]
        unsealed.start = batch.end
        unsealed.size_bytes -= len(batch.payload)
        if not unsealed.size_bytes:
            del self._unsealed[batch.stream]

    def acknowledge(self, sequence: int) -> None:
        """Everything up to this sequence is acknowledged: segments of which nothing else is left are removed.

        Does not raise. What cannot be noted now is noted with the next acknowledgement; after an end in between,
        batches are sent again that the daemon knows to be duplicates.
        """
        if sequence <= self._acknowledged:
            return
        self._acknowledged = sequence
        self._last = max(self._last, sequence)
        while self._sealed and self._sealed[0][0] <= sequence:
            self._sealed.popleft()
        try:
            if self.is_acknowledged and self._current.size_bytes > IDLE_BYTES:
                self._begin_segment()
            else:
                self._note_acknowledged()
        except SpoolError as error:
            if not self._is_ack_refused:
                log.warning("producer: acknowledgements are not noted: %s", error)
            self._is_ack_refused = True
        else:
            self._is_ack_refused = False

    def close(self) -> None:
        """Gives the folder back. No lines stay in it where all are acknowledged. May be called twice."""
        if self._segment is not None:
            if self._is_spent:
                with suppress(SpoolError):
                    self._begin_segment()
            self._segment.close()
            self._segment = None
        self._folder.close()

    @property
    def _is_spent(self) -> bool:
        """Whether the segment has something in it, and nothing that is still wanted."""
        return self.is_acknowledged and self._current.size_bytes > BEGIN_BYTES

    @property
    def _current(self) -> Segment:
        assert self._segment is not None, "the spool is not open"
        return self._segment

    @property
    def _floor(self) -> int:
        """The position before which everything is acknowledged."""
        starts = [start for _, start in self._sealed]
        starts += [unsealed.start for unsealed in self._unsealed.values()]
        return min(starts, default=self._position)

    def _recover(self) -> Recovered:
        segments = []
        for file in self._files:
            with told(file.path, "read"):
                data = file.path.read_bytes()
            other = find_other_format(data, file.mark)
            if other is not None:
                raise OtherFormat(
                    f"{file.path}: the spool has format {other}, this flowd reads {FORMAT}",
                    hint="deliver it with the flowd that wrote it, or use another spool_dir",
                )
            segments.append((file.mark, data))
        return recover(segments)

    def _say_what_was_found(self, found: Recovered) -> None:
        path = self._folder.path
        if found.torn_bytes:
            log.warning("producer: %s: the last write was cut off after %d bytes: dropped", path, found.torn_bytes)
        if found.damaged_places:
            log.error(
                "producer: %s: damaged in %d places: %d lines are lost%s",
                path,
                found.damaged_places,
                found.lost_lines,
                "; others may be delivered twice" if found.is_seal_lost and found.runs else "",
            )

    def _open_segment(self, found: Recovered) -> None:
        """Goes on in the last segment, or begins a new one where that is full, damaged, or another producer's."""
        states = list(zip(self._files, found.segments, strict=True))
        while states and states[-1][1].is_empty:  # cut off while it was begun
            self._folder.remove(states.pop()[0])
        self._done.extend(_Done(file, state.end) for file, state in states)
        self._files = [file for file, _ in states]
        if states and found.owner == self._owner:
            file, state = states[-1]
            if state.is_whole and state.size_bytes < self._segment_bytes:
                self._done.pop()
                self._segment = Segment(file, state.size_bytes)
                return
        self._begin_segment()

    def _append(self, stream: str, lines: bytes) -> int:
        self._folder.keep_reserve()
        if self._current.size_bytes >= self._segment_bytes:
            self._begin_segment()
        position = self._position
        head = pack_lines(self._current.file.mark, stream, position, lines)
        is_first = stream not in self._unsealed
        unsealed = self._unsealed.setdefault(stream, _Unsealed(position))
        self._position += len(lines)  # before the write: no position is given twice, whatever interrupts us
        unsealed.size_bytes += len(lines)
        try:
            self._current.append(head, lines)
        except BaseException:
            self._position = position
            unsealed.size_bytes -= len(lines)
            if is_first:
                del self._unsealed[stream]
            raise
        return position

    def _note_acknowledged(self) -> None:
        ack = Ack(self._acknowledged, self._floor)
        self._note(lambda mark: pack_ack(mark, ack))
        self._noted_floor = ack.floor
        self._remove_done()

    def _note(self, pack: Callable[[bytes], bytes]) -> None:
        """Writes a small record; when the disk is full, with the reserve's room, and in a new segment at last."""
        try:
            self._current.append(pack(self._current.file.mark))
            return
        except SpoolFull:
            self._folder.give_reserve()
        try:
            self._current.append(pack(self._current.file.mark))
            return
        except SpoolFull:
            self._begin_segment()
        self._current.append(pack(self._current.file.mark))

    def _begin_segment(self) -> None:
        """Begins the next segment, and removes those of which everything is acknowledged."""
        number = max((file.number for file in self._files), default=0) + 1
        file = self._folder.name_segment(number)
        floor = self._floor
        begin = pack_begin(file.mark, Begin(self._owner, self._last, self._acknowledged, floor, self._position))
        try:
            segment = self._write_begin(file, begin)
        except SpoolFull:
            self._folder.give_reserve()
            segment = self._write_begin(file, begin)
        if self._segment is not None:
            self._done.append(_Done(self._segment.file, self._position))
            self._segment.close()
        self._files.append(file)
        self._segment = segment
        self._noted_floor = floor
        self._remove_done()

    def _write_begin(self, file: SegmentFile, begin: bytes) -> Segment:
        segment = Segment(file)
        try:
            segment.append(begin)
        except BaseException:
            segment.close()
            self._folder.remove(file)
            raise
        return segment

    def _remove_done(self) -> None:
        """Removes what is noted as acknowledged, oldest first: a segment says what became of the lines before it."""
        while self._done and self._done[0].end <= self._noted_floor and self._folder.remove(self._done[0].file):
            self._files.remove(self._done.popleft().file)
