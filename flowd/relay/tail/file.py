"""One followed file: who it is, how far it was read and stored, and whether there is more to read.

A file is a generation of content: one that was truncated and written anew is another file from then on. Nothing here
touches the file system.
"""

from __future__ import annotations

import os
import secrets
from typing import NamedTuple

from flowd.relay.tail.identity import FileId, Fingerprint
from flowd.relay.tail.places import KEY_BYTES, FilePlace
from flowd.relay.tail.reader import LineReader

LINGER_S = 5.0
"""A file that was rotated away is watched for so long after its last change: its writer may still have it open. Then
what stands after its last newline is a line, too."""
GROWTH_MAX = 16
"""Marks of when a file grew: the lag is told from them."""


class Stamp(NamedTuple):
    """A file's size and time of change: where they are the same, its content is, too."""

    size: int
    time_ns: int


class Sighting(NamedTuple):
    """A regular file as it was found: by which glob, as whose (`base`), and in what state."""

    path: str
    base: str
    pattern: str
    is_rotated: bool
    is_gzip: bool
    number: int
    id: FileId
    stamp: Stamp
    has_twin: bool = False
    """Beside it lies what it was compressed from."""

    @property
    def order(self) -> tuple[int, int, str]:
        """Sorts the oldest first: by the time of change, then by number in the chain, then by name."""
        return self.stamp.time_ns, -self.number, self.path


class TailFile:
    """See the module. `durable` is how far it is stored; the lane's thread writes it, all else is the source's.

    `is_missing`: it is where nobody looks for it, and read to its end all the same. `is_gone`: it is not there any
    more; `is_mourned`: what was lost with it was said. `is_blocked`: it is not read before the next look. `is_seen`:
    this process has seen it. `stalled` is the state in which no whole line was left in it, `checked` the one in
    which its content was compared with the fingerprint, `rested` the one in which nothing is wanted of it.
    """

    def __init__(
        self, id: FileId, path: str, base: str, pattern: str, *, is_rotated: bool = False, is_gzip: bool = False
    ) -> None:
        self.key = secrets.token_bytes(KEY_BYTES)
        self.id = id
        self.path = path
        self.base = base
        self.pattern = pattern
        self.is_rotated = is_rotated
        self.is_gzip = is_gzip
        self.is_missing = False
        self.is_gone = False
        self.is_blocked = False
        self.is_seen = False
        self.is_mourned = False
        self.fingerprint = Fingerprint()
        self.reader = LineReader()
        self.durable = 0
        self.number = 0
        self.stamp = Stamp(0, 0)
        self.stalled: Stamp | None = None
        self.rested: Stamp | None = None
        self.checked: Stamp | None = None
        self.changed_s = 0.0
        self.gone_s: float | None = None
        self.expanded_bytes = 0
        self.growth: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of_sighting(cls, seen: Sighting, now_s: float) -> TailFile:
        """A file that nobody knew."""
        file = cls(seen.id, seen.path, seen.base, seen.pattern, is_rotated=seen.is_rotated, is_gzip=seen.is_gzip)
        file.see(seen, now_s)
        return file

    @classmethod
    def of_place(cls, key: bytes, place: FilePlace) -> TailFile:
        """A file as it was stored."""
        path, base, pattern = (os.fsdecode(name) for name in (place.path, place.base, place.pattern))
        id = FileId(place.device, place.inode)
        file = cls(id, path, base, pattern, is_rotated=place.is_rotated, is_gzip=place.is_gzip)
        file.key = key
        file.is_gone = place.is_gone
        file.fingerprint = Fingerprint(place.offset, place.head_hash, place.tail_hash)
        file.reader = LineReader(place.skip_from)
        file.durable = place.offset
        file.rested = None if place.rested is None else Stamp(*place.rested)
        file.stamp = file.rested or Stamp(place.size, 0)
        return file

    def place(self, stream: str) -> FilePlace:
        """What is stored of it."""
        head_hash, tail_hash = self.fingerprint.hashes()
        return FilePlace(
            stream=stream,
            pattern=os.fsencode(self.pattern),
            path=os.fsencode(self.path),
            base=os.fsencode(self.base),
            device=self.id.device,
            inode=self.id.inode,
            offset=self.offset,
            size=self.stamp.size,
            head_hash=head_hash,
            tail_hash=tail_hash,
            skip_from=self.reader.skip_from,
            rested=self.rested,
            is_rotated=self.is_rotated,
            is_gzip=self.is_gzip,
            is_gone=self.is_gone,
        )

    @property
    def offset(self) -> int:
        """How far it was read."""
        return self.fingerprint.offset

    @property
    def size_bytes(self) -> int:
        """How long its content is, as far as is known."""
        return max(self.offset, self.expanded_bytes) if self.is_gzip else self.stamp.size

    @property
    def order(self) -> tuple[int, int, str]:
        """As a sighting's."""
        return self.stamp.time_ns, -self.number, self.path

    @property
    def _is_resting(self) -> bool:
        return self.rested is not None and self.rested == self.stamp

    def see(self, seen: Sighting, now_s: float) -> bool:
        """Takes over where and in what state it was found. True where that changes what is to be stored."""
        before = self.id, self.path, self.base, self.pattern, self.is_rotated
        self.id, self.path, self.base, self.pattern = seen.id, seen.path, seen.base, seen.pattern
        if seen.is_rotated and not self.is_rotated:
            self.changed_s = now_s
        self.is_rotated = seen.is_rotated
        self.number = seen.number
        self.is_missing = False
        self.take_state(seen.stamp, now_s)
        return before != (self.id, self.path, self.base, self.pattern, self.is_rotated)

    def take_state(self, stamp: Stamp, now_s: float) -> None:
        """Its size and time of change, as they are now."""
        if not self.is_seen or stamp != self.stamp:
            self.changed_s = now_s
        if stamp.size < self.reader.reached:
            self.reader.restart()
        self.is_seen = True
        self.is_blocked = False
        self.stamp = stamp
        self.note_growth(now_s)

    def note_growth(self, now_s: float) -> None:
        """Remembers when it grew."""
        durable, size = self.durable, self.size_bytes
        growth = tuple(mark for mark in self.growth if mark[0] > durable)
        if size > max(durable, growth[-1][0] if growth else 0):
            if len(growth) >= GROWTH_MAX:
                growth = (*growth[:-1], (size, growth[-1][1]))
            else:
                growth = (*growth, (size, now_s))
        self.growth = growth

    def become(self, seen: Sighting, now_s: float) -> None:
        """Goes on in another file that holds the same: a copy, or what it was compressed to."""
        self.is_gone = self.is_mourned = False
        if (self.rested, self.is_gzip) != (seen.stamp, seen.is_gzip):
            self.rested = None
        self.is_gzip = seen.is_gzip
        self.checked = self.stalled = None
        self.changed_s = now_s
        self.see(seen, now_s)

    def is_quiet(self, now_s: float) -> bool:
        """Whether it was rotated away, or went, and has not changed for a while: what is in it is all."""
        return (self.is_rotated or self.is_missing) and now_s - self.changed_s >= LINGER_S

    def has_more(self, now_s: float) -> bool:
        """Whether there may be something to carry."""
        if self.is_blocked or self._is_resting:
            return False
        if self.is_gzip:
            return True
        return self.stamp.size > self.offset and (self.stamp != self.stalled or self.is_quiet(now_s))

    def unread_bytes(self) -> int:
        """What of it was not read yet."""
        return 0 if self._is_resting else max(0, self.size_bytes - self.offset)

    def lag_bytes(self) -> int:
        """What of it is not stored yet."""
        return 0 if self._is_resting else max(0, self.size_bytes - self.durable)

    def lag_s(self, now_s: float) -> float:
        """How long, about, the oldest byte that is not stored has waited since it was noticed."""
        durable = self.durable
        if not self.lag_bytes():
            return 0.0
        return next((max(0.0, now_s - noticed_s) for end, noticed_s in self.growth if end > durable), 0.0)
