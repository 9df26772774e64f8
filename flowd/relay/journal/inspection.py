"""Before a journal is opened: is its file whole, and is it the one that was there? LMDB itself looks at neither.

A file that is missing, shorter than its last page, or damaged cannot be used: a new epoch begins.
"""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from flowd.relay.journal.known import Known, read_boot_id
from flowd.relay.journal.layout import DATA_NAME, LOCK_NAME, OTHER_HINT, OtherFormat
from flowd.relay.journal.verify import DAMAGED, WHOLE

DAMAGED_NAME = "damaged.mdb"
"""What could not be used, for whoever wants to look at it; the last one only."""
VERIFY_S = 120.0
VERIFY_BYTES_S = 10e6
"""What reading a journal may take: more than any disk needs for so many bytes a second."""

# LMDB's file, version 1: two pages with a head of 16 bytes and a meta record each, of which the newer counts.
_META = struct.Struct("=IIQQ48s48sQQ")
_META_OFFSET = 16
_MAGIC = 0xBEEFC0DE
_VERSION = 1
_PAGE_SIZE = struct.Struct("=I")


class Loss(NamedTuple):
    """A journal that cannot be used, or is not there: why, and what was known of it."""

    reason: str
    known: Known


def examine(directory: Path, known: Known | None) -> Loss | None:
    """Looks whether the journal's file can be used; None where it can, or where there never was one. Raises OSError,
    and OtherFormat for a file of another version of LMDB."""
    data = directory / DATA_NAME
    expected = known or Known()
    if not data.exists():
        return Loss("missing", expected) if expected.epoch else None
    if not data.stat().st_size:  # made, and never written to; or cut to nothing
        return Loss("truncated", expected) if expected.epoch else None
    reason, full_bytes = _measure(data)
    if reason == "damaged":
        return Loss(reason, expected)
    if reason == "truncated" or is_in_doubt(known) or expected.is_doubtful:
        # The last pages may never have been written, because they were free: only reading shows.
        if not verify(directory):
            return Loss(reason or "damaged", expected)
        os.truncate(data, max(full_bytes, data.stat().st_size))
    return None


def set_aside(directory: Path) -> None:
    """Takes the file out of the way, under another name. Raises OSError."""
    data = directory / DATA_NAME
    if data.exists():
        data.replace(directory / DAMAGED_NAME)
    (directory / LOCK_NAME).unlink(missing_ok=True)


def verify(directory: Path) -> bool:
    """Whether all of a journal can be read: in a process of its own, since LMDB may end one that reads a damaged file.
    A batch whose lines or head are damaged is no reason to say no: that one is told when it is read.

    Raises OSError where it cannot be found out: then nothing is to be thrown away."""
    data = directory / DATA_NAME
    _forget_cached(data)
    command = [sys.executable, "-P", "-m", "flowd.relay.journal.verify", str(directory)]
    within_s = VERIFY_S + data.stat().st_size / VERIFY_BYTES_S
    try:
        done = subprocess.run(command, env=_environment(), stdin=subprocess.DEVNULL, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(errno.ETIMEDOUT, "the journal could not be read in time", str(data)) from error
    if done.returncode in WHOLE:
        return True
    if done.returncode == DAMAGED or done.returncode < 0:
        return False
    raise OSError(errno.ECANCELED, f"the journal could not be verified, exit code {done.returncode}", str(data))


def _forget_cached(data: Path) -> None:
    """Has the file read from the disk: after a failed write, what is in memory may not be what is there."""
    fd = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _environment() -> Mapping[str, str]:
    """This process's, with its own way to find flowd."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def is_in_doubt(known: Known | None) -> bool:
    """Whether a loss of power may have taken commits, or parts of them: they were not synced, and the system was
    started anew since then; or nothing is known."""
    if known is None:
        return True
    return not known.is_safe and (not known.boot_id or known.boot_id != read_boot_id())


def _measure(data: Path) -> tuple[str, int]:
    """Why this is perhaps no whole LMDB file ("" where it is one), and how long it should be."""
    with data.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        first = _read_meta(file.read(_META_OFFSET + _META.size))
        if first is None:
            return "damaged", 0
        if first.version != _VERSION:
            raise OtherFormat(f"{data}: LMDB's format {first.version}, this flowd reads {_VERSION}", hint=OTHER_HINT)
        file.seek(first.page_bytes)
        second = _read_meta(file.read(_META_OFFSET + _META.size))
    if second is None or second.version != _VERSION:
        return "damaged", 0
    newer = max(first, second, key=lambda meta: meta.transaction)
    full_bytes = (newer.last_page + 1) * newer.page_bytes
    return "truncated" if size_bytes < full_bytes else "", full_bytes


class _Meta(NamedTuple):
    version: int
    page_bytes: int
    last_page: int
    transaction: int


def _read_meta(page: bytes) -> _Meta | None:
    if len(page) < _META_OFFSET + _META.size:
        return None
    magic, version, _, _, free, _, last_page, transaction = _META.unpack_from(page, _META_OFFSET)
    (page_bytes,) = _PAGE_SIZE.unpack_from(free)
    if magic != _MAGIC or (version == _VERSION and not 512 <= page_bytes <= 1 << 16):
        return None
    return _Meta(version, page_bytes, last_page, transaction)


def describe_loss(loss: Loss) -> str:
    """The loss in words, for the log."""
    words = {
        "missing": "is not there any more",
        "truncated": "is shorter than it was when it was written",
        "damaged": "cannot be read",
    }
    streams = json.dumps({name: {"next": place[0], "lines": place[1]} for name, place in loss.known.streams.items()})
    return f"the journal {words[loss.reason]}; it was last known to hold {streams}"
