"""Input: files, standard input and archives, as batches of whole lines in buffers that are used again.

Files are read, not mapped: a mapped log that is truncated under its reader ends the process with SIGBUS, and one that
is written anew may change between the decision on a line and its writing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from flowd.archives.compressed import ARCHIVE_MARK_BYTES, Archive, BadArchive, find_archive
from flowd.archives.pipes import widen_pipe

if TYPE_CHECKING:
    from flowd.archives.parquet import ParquetRows

BATCH_BYTES = 1 << 19
"""What is read at once: enough that a batch costs little beside its lines, and small enough for the cache."""
RAW_BYTES = 1 << 18
STDIN = "-"
STDIN_NAME = "standard input"


PARQUET_MAGIC = b"PAR1"
PARQUET_SUFFIX = ".parquet"


class Opened(Protocol):
    """What is no plain file: its content as a run of bytes."""

    def readinto(self, room: memoryview, /) -> int: ...


class Input:
    """One FILE argument, opened; `-` is standard input. Use as a context manager.

    `line_column` is the column of a Parquet file that holds lines, where it is to be said.
    """

    def __init__(self, name: str, line_column: str | None = None) -> None:
        self.name = STDIN_NAME if name == STDIN else name
        self.read_bytes = 0
        """How far the file itself has been read: of an archive, its compressed bytes."""
        self.fd = 0 if name == STDIN else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        self._is_ours = name != STDIN
        self._line_column = line_column
        self._archive: Opened | None = None
        self._first: bytes | None = None
        mode = self._look().st_mode
        self.is_regular = stat.S_ISREG(mode)
        widen_pipe(self.fd)
        if self.is_regular:
            with suppress(OSError):
                os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def readinto(self, room: memoryview) -> int:
        """Fills room with what is there, as soon as anything is; 0 at the end. Raises OSError and BadArchive."""
        self.is_archive()
        if self._archive is not None:
            return self._archive.readinto(room)
        if not self._first:
            return self._read_raw(room)
        size = min(len(room), len(self._first))
        room[:size] = self._first[:size]
        self._first = self._first[size:]
        return size

    def is_archive(self) -> bool:
        """Whether it is compressed, or Parquet: waits for a pipe's first bytes. Raises OSError and BadArchive."""
        if self._first is None:
            if self.is_parquet():
                from flowd.archives.parquet import ParquetLines

                self._first = b""
                self._archive = ParquetLines(self.rows(), self._line_column, self._note_read)
                return True
            self._first = self._read_some()
            kind = find_archive(self._first[:ARCHIVE_MARK_BYTES])
            if kind:
                self._archive = Archive(kind, self.name, self._first, self._read_some)
            elif self._first.startswith(PARQUET_MAGIC):
                raise BadArchive(
                    f"{self.name}: Parquet is read from files only, as its index lies at the end",
                    hint="give the file's name, or `< FILE`",
                )
        return self._archive is not None

    def is_parquet(self) -> bool:
        """Whether it is a Parquet file, by its first bytes or by its name."""
        return self.is_regular and (self.name.endswith(PARQUET_SUFFIX) or self._peek() == PARQUET_MAGIC)

    def rows(self) -> ParquetRows:
        """The rows of a Parquet file. Raises BadArchive, and NeedsPyarrow where that is missing."""
        from flowd.archives.parquet import ParquetRows

        return ParquetRows(self.fd, self.name)

    def find_plain_start(self) -> int | None:
        """Where the lines of a plain file begin, if it is one that can be read at any place; None of all else.

        A file of no size may be one that the system makes as it is read.
        """
        if not self.is_regular or self._look().st_size == 0 or self.is_parquet():
            return None
        first = self._peek()
        if not first or find_archive(first):
            return None  # where nothing can be read there, reading it in order says why
        return os.lseek(self.fd, 0, os.SEEK_CUR)

    def skip_to(self, place: int) -> None:
        """Notes that everything before this offset has been read, by whom ever: so the next process finds it, too."""
        self.read_bytes = place
        os.lseek(self.fd, place, os.SEEK_SET)

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._is_ours:
            os.close(self.fd)

    def __enter__(self) -> Input:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _peek(self) -> bytes:
        """The first bytes to come of a file that can be read at any place; nothing where that fails."""
        try:
            return os.pread(self.fd, ARCHIVE_MARK_BYTES, os.lseek(self.fd, 0, os.SEEK_CUR))
        except OSError:
            return b""

    def _note_read(self, read_bytes: int) -> None:
        self.read_bytes = read_bytes

    def _look(self) -> os.stat_result:
        try:
            return os.fstat(self.fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from None

    def _read_raw(self, room: memoryview) -> int:
        try:
            size = os.readv(self.fd, (room,))
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from None
        self.read_bytes += size
        return size

    def _read_some(self) -> bytes:
        try:
            some = os.read(self.fd, RAW_BYTES)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from None
        self.read_bytes += len(some)
        return some


class Batch:
    """Whole lines in a borrowed buffer: valid until `release`. The last line of an input may lack its newline.

    `is_last_for_now` says that the source had no more when this was read: whoever waits for more should first finish
    this.
    """

    __slots__ = ("_buffer", "_pool", "is_last_for_now", "lines")

    def __init__(self, buffer: bytearray, size: int, pool: SimpleQueue[bytearray], is_last_for_now: bool) -> None:
        self.lines = memoryview(buffer)[:size]
        self.is_last_for_now = is_last_for_now
        self._buffer = buffer
        self._pool = pool

    def release(self) -> None:
        """Gives the buffer back for another batch."""
        self.lines.release()
        self._pool.put(self._buffer)


def read_batches(source: Input, under_way: int = 1, size: int = BATCH_BYTES) -> Iterator[Batch]:
    """The source's lines in batches of about `size` bytes, as soon as whole lines have come.

    With more than `under_way` batches unreleased it waits for one. A line longer than a buffer grows it.
    """
    pool: SimpleQueue[bytearray] = SimpleQueue()
    for _ in range(under_way + 1):
        pool.put(bytearray(size))
    buffer, filled = pool.get(), 0
    while True:
        if filled == len(buffer):
            buffer = buffer + bytes(len(buffer))
        room = len(buffer) - filled
        with memoryview(buffer) as whole, whole[filled:] as free:
            read = source.readinto(free)
        if not read:
            break
        end = buffer.rfind(b"\n", filled, filled + read) + 1
        filled += read
        if not end:
            continue
        following, rest = pool.get(), filled - end
        if rest >= len(following):
            following.extend(bytes(rest + size - len(following)))
        following[:rest] = buffer[end:filled]
        yield Batch(buffer, end, pool, not source.is_regular and read < room)
        buffer, filled = following, rest
    if filled:
        yield Batch(buffer, filled, pool, True)


def known_size(names: Sequence[str]) -> int | None:
    """The bytes of all these files; None where one is standard input, no regular file or cannot be looked at."""
    total = 0
    for name in names:
        try:
            found = os.fstat(0) if name == STDIN else os.stat(name)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        total += found.st_size
    return total
