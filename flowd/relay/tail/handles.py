"""The open files: a bounded number, those that were used last.

A file stays open as long as there is room, so that its rest is read although it was deleted or renamed to where nobody
looks. Closing one loses nothing as long as its path can be found again.
"""

from __future__ import annotations

from collections.abc import Callable

from flowd.relay.tail.content import Content, GzipContent, PlainContent, open_file
from flowd.relay.tail.file import TailFile

OPEN_MAX = 256
"""Descriptors at most: a node's streams, each with a file being read and some that were rotated away, take dozens;
pods' logs come in thousands, of which few are written at a time."""


class Handles:
    """Opens files when they are used; belongs to the source's thread. `is_ending` interrupts what takes long."""

    def __init__(self, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending
        self._open: dict[TailFile, Content] = {}  # the one used last is last

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether another file can be opened without closing one."""
        return len(self._open) < OPEN_MAX

    def is_open(self, file: TailFile) -> bool:
        """Whether the file can be read without its path."""
        return file in self._open

    def use(self, file: TailFile) -> Content:
        """The file's content, opened where it is not. Raises OSError."""
        content = self._open.pop(file, None)
        if content is None:
            fd = open_file(file.path, file.id)
            content = GzipContent(fd, self._is_ending) if file.is_gzip else PlainContent(fd)
            while len(self._open) >= OPEN_MAX:
                self.close(next(iter(self._open)))
        self._open[file] = content
        return content

    def close(self, file: TailFile) -> None:
        """Closes it, where it is open."""
        content = self._open.pop(file, None)
        if content is not None:
            content.close()

    def close_all(self) -> None:
        """Closes every file."""
        while self._open:
            self._open.popitem()[1].close()
