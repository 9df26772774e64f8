"""A plain file in stretches that several threads read by themselves: no line is lost, seen twice or cut.

A stretch owns the lines that begin in it, so that no thread waits for another to know where lines begin.
"""

from __future__ import annotations

import os
from typing import NamedTuple

STRETCH_BYTES = 4 << 20
MORE_BYTES = 64 << 10
"""Read behind a stretch at first, and again as often as needed: for the end of its last line."""


class Stretch(NamedTuple):
    """Lines that begin at `at` or behind it, and before `at` + `size`; `begin` and `end` are those of the whole."""

    at: int
    size: int
    begin: int
    end: int


def cut_stretches(begin: int, end: int, size: int = STRETCH_BYTES) -> list[Stretch]:
    """A file from one offset to another, in stretches of this size."""
    return [Stretch(at, min(size, end - at), begin, end) for at in range(begin, end, size)]


def read_stretch(fd: int, stretch: Stretch, room: bytearray, more: int = MORE_BYTES) -> memoryview:
    """The stretch's lines, which stay in `room` (it grows where a line wants it) until the next call. Raises OSError.

    Where the file was cut off meanwhile, what is there.
    """
    at, size, begin, end = stretch
    first = max(begin, at - 1)  # the byte before says whether a line begins with the stretch
    behind = at + size - first
    n = _read(fd, room, first, 0, min(behind + more, end - first))
    from_ = 0
    if at > begin:
        from_ = room.find(b"\n", 0, min(n, behind)) + 1
        if from_ == 0 or from_ >= min(n, behind):  # no line begins here
            return memoryview(room)[:0]
    to = n
    if at + size < end:
        found = room.find(b"\n", behind - 1, n)
        while found < 0 and n < end - first:
            read = _read(fd, room, first, n, min(n + more, end - first))
            if read == n:
                break
            found, n = room.find(b"\n", n, read), read
            more *= 2
        to = n if found < 0 else found + 1
    return memoryview(room)[from_:to]


def _read(fd: int, room: bytearray, first: int, done: int, wanted: int) -> int:
    """Fills the room from `done` to `wanted` bytes from where they lie behind `first`; how many it then has."""
    if len(room) < wanted:
        room.extend(bytes(wanted - len(room)))
    with memoryview(room) as view:
        while done < wanted:
            n = os.preadv(fd, [view[done:wanted]], first + done)
            if n == 0:
                break
            done += n
    return done
