"""Files that hold a secret: read only where their mode keeps it from everybody but their owner, and never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from flowd.errors import FlowdError

FILE_MAX_BYTES = 64 << 10
"""Keys and lists of users are short; what is larger is something else."""


def read_private(path: str | os.PathLike[str]) -> bytes:
    """What is in a file that nobody but its owner may open. Raises FlowdError, with a hint.

    A named pipe or a device is refused, and not waited for.
    """
    where = Path(path)
    try:
        fd = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FlowdError(f"{where}: {error.strerror}", hint="name a file that the daemon may read") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_MAX_BYTES:
            raise FlowdError(f"{where}: no file of at most {FILE_MAX_BYTES >> 10} KiB")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise FlowdError(f"{where}: mode {mode:04o} lets others at a secret", hint=f"chmod 600 {where}")
        return os.read(fd, FILE_MAX_BYTES)
    finally:
        os.close(fd)


def read_key(path: str | os.PathLike[str]) -> bytes:
    """A key that is all of a private file but the newline at its end. Raises FlowdError."""
    key = read_private(path).removesuffix(b"\n").removesuffix(b"\r")
    if not key:
        raise FlowdError(f"{path}: holds no key", hint="write the key into it, in one line")
    if b"\n" in key:
        raise FlowdError(f"{path}: holds more than one line", hint="write the key into it, in one line")
    return key


def read_users(path: str | os.PathLike[str]) -> dict[bytes, bytes]:
    """Passwords by users' names: a private file with `NAME:PASSWORD` a line; empty lines and those that begin with `#`
    say nothing. Raises FlowdError, which names a line by its number alone."""
    users: dict[bytes, bytes] = {}
    for number, line in enumerate(read_private(path).splitlines(), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, password = line.partition(b":")
        if not (name and colon and password):
            raise FlowdError(f"{path}:{number}: no name and password", hint="write NAME:PASSWORD")
        if name in users:
            raise FlowdError(f"{path}:{number}: this user has a line already", hint="leave one of them")
        users[name] = password
    if not users:
        raise FlowdError(f"{path}: holds no users", hint="write NAME:PASSWORD, one a line")
    return users
