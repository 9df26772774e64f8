"""What the spool's tests stand on: spools written without a producer, what is left in them, disks that fail."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flowd.client.cutting import Outgoing
from flowd.client.spool import Spool
from flowd.client.spool_recovery import Recovered

OWNER = bytes(range(16))


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def abandon(spool: Spool) -> None:
    """What the end of a process does: the descriptors are gone, and nothing else has happened."""
    if spool._segment is not None:
        os.close(spool._segment._fd)
    os.close(spool._folder._lock)


class Life:
    """A spool as a producer uses it, batch by batch."""

    def __init__(self, folder: Path, segment_bytes: int = 1 << 20) -> None:
        self.spool = Spool(folder, segment_bytes=segment_bytes)
        self.found = self.spool.begin(OWNER)
        self.last = self.found.last

    def append(self, *texts: bytes, stream: str = "flows") -> list[Outgoing]:
        """Each text as a call, and a batch to be sealed."""
        batches = []
        for text in texts:
            start = self.spool.append(stream, text)
            batches.append(Outgoing(stream, text, text.count(b"\n"), start=start, end=start + len(text)))
        return batches

    def seal(self, *batches: Outgoing) -> None:
        for batch in batches:
            self.last += 1
            batch.sequence = self.last
            self.spool.seal(batch)


def recover(folder: Path) -> Recovered:
    """What the next life will find. Leaves the folder as it is."""
    spool = Spool(folder)
    spool.close()
    return spool.recovered


def run_lines(found: Recovered) -> dict[str, bytes]:
    """The lines that have no batch yet, by stream."""
    lines: defaultdict[str, bytes] = defaultdict(bytes)
    for run in found.runs:
        for piece in run:
            lines[piece.stream] += piece.payload
    return dict(lines)


def sealed(found: Recovered) -> list[tuple[int, str, bytes, int]]:
    return [(batch.sequence, batch.stream, bytes(batch.payload), batch.lines) for batch in found.sealed]


def build(folder: Path, *, seal: int = 3, texts: int = 4) -> Path:
    """A spool of one segment with batches 1, 2, … sealed and the rest not, nothing acknowledged."""
    life = Life(folder)
    batches = life.append(*(b"".join(b"batch %d line %d\n" % (n, line) for line in range(10)) for n in range(texts)))
    life.seal(*batches[:seal])
    abandon(life.spool)
    (segment,) = segments(folder)
    return segment


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def place_of(path: Path, text: bytes) -> int:
    place = path.read_bytes().find(text)
    assert place >= 0
    return place


def recover_copy(folder: Path) -> Recovered:
    """What would be found if the process ended now."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(folder, Path(name) / "spool")
        return recover(Path(name) / "spool")


class Killed(BaseException):
    """The process ends here: nothing that follows reaches the disk."""


class Disk:
    """Stands for `os` in the spool's modules, and kills the process at its n-th change of the disk, in its midst."""

    def __init__(self, calls: int, part: float) -> None:
        self.left = calls
        self.part = part
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def step(self) -> bool:
        """Counts a change; True where the process dies in it."""
        if self.is_dead:
            raise Killed
        self.left -= 1
        self.is_dead = self.left < 0
        return self.is_dead

    def open(self, *args: Any) -> int:
        if self.step():
            if self.part > 0.5:
                os.close(os.open(*args))
            raise Killed
        return os.open(*args)

    def ftruncate(self, fd: int, size: int) -> None:
        if self.step():
            raise Killed
        os.ftruncate(fd, size)

    def writev(self, fd: int, parts: tuple[bytes, ...]) -> int:
        if self.step():
            whole = b"".join(parts)
            os.write(fd, whole[: round(self.part * len(whole))])
            raise Killed
        return os.writev(fd, parts)


@contextmanager
def dying(calls: int, part: float) -> Iterator[None]:
    disk = Disk(calls, part)
    unlink = Path.unlink

    def die_or_unlink(path: Path, missing_ok: bool = False) -> None:
        if disk.step():
            raise Killed
        unlink(path, missing_ok)

    with ExitStack() as stack:
        stack.enter_context(patch("flowd.client.spool_segment.os", disk))
        stack.enter_context(patch.object(Path, "unlink", die_or_unlink))
        yield


class FullDisk:
    """Stands for `os`: a disk on which nothing can be written while it `is_full`."""

    is_full = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def writev(self, fd: int, parts: tuple[bytes, ...]) -> int:
        if self.is_full:
            os.write(fd, b"".join(parts)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.writev(fd, parts)
