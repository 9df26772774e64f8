"""The daemon's directories: made where missing, and locked so that there is one daemon in each.

The lock matters: ZeroMQ takes an ipc path over from whoever has it, so a second daemon would steal the first one's
producers without either noticing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowd.errors import EXIT_CONFIG, FlowdError
from flowd.relay.taken import NotToBeHad

RUNTIME_MODE = 0o2750
"""Sockets inherit the directory's group: who is in it may connect."""
STATE_MODE = 0o750
LOCK_NAME = "flowd.lock"


class AlreadyRunning(FlowdError):
    """Another daemon has the directory: it was given to both."""

    exit_code = EXIT_CONFIG


class DirectoryLock:
    """A directory that is ours while this object lives (and the process: the system gives the lock back at its end)."""

    def __init__(self, directory: Path, mode: int) -> None:
        self.directory = directory
        _make_directory(directory, mode)
        path = directory / LOCK_NAME
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "give a directory that you may write, with --runtime-dir, --state-dir"
            raise NotToBeHad(f"{path}: {error.strerror}", error.errno, hint=hint) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise AlreadyRunning(
                f"{directory}: another flowd is running here" + (f" (process {owner})" if owner else ""),
                hint="stop it first, or give this one directories of its own",
            ) from None
        with suppress(OSError):  # a full disk: the lock holds without saying whose it is
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Gives the directory back. The file stays: removing it would let two daemons lock two files of one name."""
        os.close(self._fd)


@contextmanager
def file_mode(mode: int) -> Iterator[None]:
    """Files (and sockets) made inside have this mode. Changes the whole process's umask: only before threads start."""
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _make_directory(directory: Path, mode: int) -> None:
    if directory.is_dir():
        return
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(mode)
    except OSError as error:
        hint = "make it, or name another with --runtime-dir, --state-dir"
        raise NotToBeHad(f"{directory}: cannot be made: {error.strerror}", error.errno, hint=hint) from error
