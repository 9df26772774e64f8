"""A file that has its name only when it is whole, and of which nothing is left where it never is.

Where the filesystem can, it has no name at all until then (O_TMPFILE), so that whatever ends the process leaves nothing
behind. Elsewhere it is a part beside the file, `FILE.16HEX.part`: a failure removes it, and so do SIGTERM, SIGHUP and
SIGINT. What kill -9 leaves is removed by whoever writes that file next: a part is locked as long as it is written.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import IO

MODE = 0o666
"""What the umask leaves of it, as with any file."""
UNABLE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""What filesystems and kernels say that have no files without names. A folder that is missing says the last, too."""
ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process without a word. SIGINT raises KeyboardInterrupt, which is a failure like others."""

_PART = re.compile(r"\.[0-9a-f]{16}\.part")


class NewFile:
    """A file under way: written through `file`, then either `finish` or `abandon`."""

    file: IO[bytes]

    def finish(self) -> None:
        """Gives the file its name; an older one is replaced. Raises OSError."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Leaves nothing, where the file has no name yet. May be called after `finish`, and twice."""
        raise NotImplementedError


def open_new(path: str) -> NewFile:
    """Begins the file that is to have this path. Raises OSError."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    remove_leftovers(path)
    try:
        return _Unnamed(path)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
    return _Part(path)


def remove_leftovers(path: str) -> None:
    """Removes parts of this file that nobody writes any more."""
    folder, name = os.path.split(path)
    with suppress(OSError):  # they are in nobody's way
        for entry in os.listdir(folder or "."):
            if entry.startswith(name) and _PART.fullmatch(entry, len(name)):
                _remove_unlocked(os.path.join(folder, entry))


def _remove_unlocked(part: str) -> None:
    with suppress(OSError):  # somebody else's, locked, or gone
        fd = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(part)
        finally:
            os.close(fd)


def _name_part(path: str) -> str:
    return f"{path}.{secrets.token_hex(8)}.part"


class _Unnamed(NewFile):
    """Without a name, until it is linked to one."""

    def __init__(self, path: str) -> None:
        self._path = path
        folder = os.path.dirname(path) or "."
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, MODE)
        self._link = f"/proc/self/fd/{fd}"
        if not os.path.exists(self._link):  # without /proc nobody could give it a name
            os.close(fd)
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), path)
        self.file = os.fdopen(fd, "wb")

    def finish(self) -> None:
        self.file.flush()
        try:
            self._name(self._path)
        except FileExistsError:  # a link replaces nothing, a rename does
            part = _name_part(self._path)
            self._name(part)
            try:
                os.replace(part, self._path)
            except BaseException:
                os.unlink(part)
                raise
        self.file.close()

    def abandon(self) -> None:
        with suppress(OSError):
            self.file.close()

    def _name(self, path: str) -> None:
        fd = self.file.fileno()  # any: with one Python asks for linkat, which alone follows the link of /proc
        os.link(self._link, path, src_dir_fd=fd, follow_symlinks=True)


class _Part(NewFile):
    """Under a name of its own beside the file, locked; then renamed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._part = ""
        self._before: dict[int, signal.Handlers] = {}
        while not self._part:
            part = _name_part(path)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
            with suppress(OSError):  # some network filesystems have no locks: then leftovers are not removed either
                fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                self._part = part
            else:  # somebody took it for a leftover before it was locked
                os.close(fd)
        self.file = os.fdopen(fd, "wb")
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.SIG_DFL
                    signal.signal(number, self._end)

    def finish(self) -> None:
        self.file.flush()
        os.replace(self._part, self._path)
        self._part = ""
        self.abandon()

    def abandon(self) -> None:
        if self._part:
            with suppress(OSError):
                os.unlink(self._part)
            self._part = ""
        with suppress(OSError):
            self.file.close()
        while self._before:
            signal.signal(*self._before.popitem())

    def _end(self, number: int, _: FrameType | None) -> None:
        """Ends the process by the signal, as without this handler."""
        with suppress(OSError):
            os.unlink(self._part)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
