"""A spool's folder: made, locked, and what lies in it. What segments say is not known here.

Beside the segments there are `lock`, `reserve` and, where it has no place of its own, `producer.id`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from flowd.client.spool_record import MARK_BYTES
from flowd.errors import EXIT_IO, FlowdError

RESERVE_BYTES = 256 << 10
"""Room that is given up when the disk is full, so that what was spooled can still be delivered: that takes a SEAL a
batch and an ACK now and then, some 70 bytes each, until a whole segment is acknowledged and goes."""
ID_NAME, LOCK_NAME, RESERVE_NAME = "producer.id", "lock", "reserve"
FOLDER_MODE, FILE_MODE = 0o700, 0o600

_SEGMENT_NAME = re.compile(rf"([0-9]{{12,20}})-([0-9a-f]{{{2 * MARK_BYTES}}})\.segment")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger(__name__)


class SpoolError(FlowdError):
    """The spool cannot be used."""

    exit_code = EXIT_IO


class SpoolFull(SpoolError):
    """There is no room for more in the spool's file system."""


@contextmanager
def told(path: Path, doing: str) -> Iterator[None]:
    """Says what the system refuses as a SpoolError, or as SpoolFull."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _FULL:
            hint = "make room on its disk, or wait until more of the spool is acknowledged"
            raise SpoolFull(f"{path}: the spool cannot be {doing}: {reason}", hint=hint) from error
        hint = "give a folder that this producer may write to; the one above it must exist"
        raise SpoolError(f"{path}: the spool cannot be {doing}: {reason}", hint=hint) from error


def _fill(fd: int) -> None:
    """Random bytes: a file system that packs or leaves out what is all zeros would keep no room for them."""
    try:
        rest = memoryview(os.urandom(RESERVE_BYTES))
        os.ftruncate(fd, 0)
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        os.ftruncate(fd, 0)
        raise


class SegmentFile(NamedTuple):
    """Where a segment lies; `number` and `mark` are in its name."""

    number: int
    mark: bytes
    path: Path


class Folder:
    """One producer's folder, for as long as it is open. Raises SpoolError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._has_reserve = False
        with told(path, "opened"):
            with suppress(FileExistsError):
                path.mkdir(FOLDER_MODE)
            self._lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise SpoolError(
                f"{path}: another producer is using this spool", hint="give each producer a spool_dir of its own"
            ) from None

    def close(self) -> None:
        """Gives the lock back. May be called twice."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def find_segments(self) -> list[SegmentFile]:
        """All segments, oldest first. What else lies here is left alone, and said."""
        found = []
        with told(self.path, "read"):
            for entry in sorted(self.path.iterdir()):
                name = _SEGMENT_NAME.fullmatch(entry.name)
                if name is not None and entry.is_file():
                    found.append(SegmentFile(int(name[1]), bytes.fromhex(name[2]), entry))
                elif entry.name not in (ID_NAME, LOCK_NAME, RESERVE_NAME):
                    log.warning("producer: %s is no part of the spool, and is left alone", entry)
        return sorted(found)

    def name_segment(self, number: int) -> SegmentFile:
        """A new segment's name, with a mark of its own."""
        mark = secrets.token_bytes(MARK_BYTES)
        return SegmentFile(number, mark, self.path / f"{number:012d}-{mark.hex()}.segment")

    def keep_reserve(self) -> None:
        """Sees to it that the reserve is there. Raises SpoolFull where there is no room for it."""
        if self._has_reserve:
            return
        path = self.path / RESERVE_NAME
        with told(path, "written"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                if os.fstat(fd).st_size != RESERVE_BYTES:
                    _fill(fd)
            finally:
                os.close(fd)
        self._has_reserve = True

    def give_reserve(self) -> None:
        """Gives the reserve's room up for what has to be written now."""
        self._has_reserve = False
        with suppress(OSError):
            os.truncate(self.path / RESERVE_NAME, 0)

    def remove(self, segment: SegmentFile) -> bool:
        """Removes a segment; False where the system does not let us, and says so."""
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("producer: %s: the segment cannot be removed: %s", segment.path, error.strerror)
            return False
        return True
