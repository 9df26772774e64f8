"""The bytes of an open file, plain or compressed with gzip, read from any offset.

Reading backwards in a compressed file begins at its start again; its readers go forward. Nothing here knows of lines.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable
from typing import Protocol

from flowd.relay.tail.identity import FileId

STEP_BYTES = 256 << 10
"""What is decompressed at once."""
FEED_BYTES = 64 << 10
"""What is read at once of a compressed file."""
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW_BITS = 31
"""zlib's word for a gzip header and trailer."""


class Interrupted(Exception):
    """The source ends: what was begun is not finished."""


class Content(Protocol):
    """An open file."""

    fd: int

    def read_at(self, offset: int, size: int, keep_from: int | None = None) -> bytes:
        """At most so many bytes from an offset; less only at the end of what there is. What lies from `keep_from` on
        will be asked for again. Raises OSError."""

    def close(self) -> None:
        """Gives the descriptor back."""


def open_file(path: str, id: FileId) -> int:
    """A descriptor of the regular file that has this path and identity. Raises OSError; FileNotFoundError where another
    file is there by now."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or FileId(found.st_dev, found.st_ino) != id:
            raise FileNotFoundError(f"{path}: another file is there")
    except BaseException:
        os.close(fd)
        raise
    return fd


class PlainContent:
    """A file as it is."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read_at(self, offset: int, size: int, keep_from: int | None = None) -> bytes:  # noqa: ARG002
        """See Content."""
        data = os.pread(self.fd, size, offset)
        while 0 < len(data) < size:  # a signal, or a file system that gives less
            more = os.pread(self.fd, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """See Content."""
        os.close(self.fd)


class GzipContent:
    """What a gzip file holds: one member, or several.

    `is_ended` says that its end was met. `is_broken`: by damage, and not by its own word. Memory is bounded by what is
    read at once, and what is kept.
    """

    def __init__(self, fd: int, is_ending: Callable[[], bool]) -> None:
        self.fd = fd
        self._is_ending = is_ending
        self._rewind()

    def _rewind(self) -> None:
        self.is_ended = False
        self.is_broken = False
        self._start = 0
        self._window = bytearray()
        self._input = b""
        self._read_bytes = 0
        self._members = 0
        self._decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
        self._is_between = True

    def read_at(self, offset: int, size: int, keep_from: int | None = None) -> bytes:
        """See Content. Raises Interrupted."""
        if offset < self._start:
            self._rewind()
        keep = offset if keep_from is None else min(offset, keep_from)
        while self._start + len(self._window) < offset + size:
            self._drop(keep)
            if not self._decompress():
                break
        self._drop(keep)
        begin = offset - self._start
        with memoryview(self._window) as window:
            return bytes(window[begin : begin + size]) if begin >= 0 else b""

    def expanded_bytes(self) -> int:
        """How long the content is, by the file's own word: modulo 4 GiB, of its last member."""
        size = os.fstat(self.fd).st_size
        return int.from_bytes(os.pread(self.fd, 4, max(0, size - 4)), "little")

    def measure(self) -> int:
        """How long the content is, by reading all of it; `is_ended` says afterwards whether it is whole."""
        while not self.is_ended:
            self._drop(self._start + len(self._window))
            if not self._decompress():
                break
        return self._start + len(self._window)

    def close(self) -> None:
        """See Content."""
        os.close(self.fd)

    def _drop(self, before: int) -> None:
        surplus = min(before - self._start, len(self._window))
        if surplus > 0:
            del self._window[:surplus]
            self._start += surplus

    def _decompress(self) -> bool:
        """Makes the window longer; False where there is nothing more, or not yet."""
        if self._is_ending():
            raise Interrupted
        if self.is_ended:
            return False
        if self._is_between:
            return self._begin_member()
        if not self._input:
            self._input = self._feed()
            if not self._input:
                return False
        try:
            self._window += self._decompressor.decompress(self._input, STEP_BYTES)
        except zlib.error:
            self.is_ended = self.is_broken = True
            return False
        self._is_between = self._decompressor.eof
        self._input = self._decompressor.unused_data if self._is_between else self._decompressor.unconsumed_tail
        return True

    def _begin_member(self) -> bool:
        if len(self._input) < len(GZIP_MAGIC):
            self._input += self._feed()
        if self._input.startswith(GZIP_MAGIC):
            self._decompressor = zlib.decompressobj(GZIP_WINDOW_BITS)
            self._members += 1
            self._is_between = False
            return True
        if self._members:  # padding, or nothing more
            self.is_ended = True
        elif self._input:
            self.is_ended = self.is_broken = True
        return False

    def _feed(self) -> bytes:
        data = os.pread(self.fd, FEED_BYTES, self._read_bytes)
        self._read_bytes += len(data)
        return data
