"""A segment that is being written: records are appended whole, or not at all.

Written means given to the system: that survives the end of this process, but no loss of power.
"""

from __future__ import annotations

import os
from contextlib import suppress

from flowd.client.spool_folder import FILE_MODE, SegmentFile, told
from flowd.wire import Buffer


class Segment:
    """An open segment of `size_bytes`; what the file has beyond them is cut off. Raises SpoolError and SpoolFull."""

    def __init__(self, file: SegmentFile, size_bytes: int = 0) -> None:
        self.file = file
        self.size_bytes = size_bytes
        self._is_torn = False
        with told(file.path, "written"):
            self._fd = os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
            try:
                os.ftruncate(self._fd, size_bytes)
            except OSError:
                os.close(self._fd)
                raise

    def append(self, *parts: Buffer) -> None:
        """Appends one record in one write. Where that fails, nothing of it stays."""
        before_bytes = self.size_bytes
        with told(self.file.path, "written"):
            if self._is_torn:
                self._cut_at(before_bytes)
            self._is_torn = True
            try:
                self.size_bytes += self._write(parts)
                self._is_torn = False
            except BaseException:  # Ctrl-C, too, must not leave half a record
                with suppress(OSError):
                    self._cut_at(before_bytes)
                raise

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._fd)

    def _write(self, parts: tuple[Buffer, ...]) -> int:
        written = os.writev(self._fd, parts)
        size_bytes = sum(map(len, parts))
        if written < size_bytes:  # more than the system takes at once, or than there is room for: the next write tells
            for part in parts:
                rest = memoryview(part)[written:]
                written = max(0, written - len(part))
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
        return size_bytes

    def _cut_at(self, size_bytes: int) -> None:
        """Cuts off what a failed write has left."""
        self.size_bytes = size_bytes
        os.ftruncate(self._fd, size_bytes)
        self._is_torn = False
