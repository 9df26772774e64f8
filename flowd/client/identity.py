"""Who a producer is: 16 random bytes, kept in a file where it wants to be recognised in its next life."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from flowd.errors import FlowdError
from flowd.wire.limits import ID_BYTES


class Identity:
    """A producer's id. With a file, the id is read from it (or made and written), and the file is locked: two producers
    with one id would take each other's sequences for their own. `known` is the id that is written where the file has
    none: what its spool says it had."""

    def __init__(self, id_file: str | os.PathLike[str] | None, known: bytes | None = None) -> None:
        self._fd: int | None = None
        self._known = known
        if id_file is None:
            self.id = secrets.token_bytes(ID_BYTES)
        else:
            self.id = self._claim(Path(id_file))

    def release(self) -> None:
        """Gives the file's lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _claim(self, path: Path) -> bytes:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._read_or_write(path, self._fd)
        except BlockingIOError:
            self.release()
            raise FlowdError(
                f"{path}: another producer is using this id", hint="give each producer an id_file of its own"
            ) from None
        except OSError as error:
            self.release()
            raise FlowdError(
                f"{path}: the id cannot be kept here: {error.strerror}", hint="name a file that this producer may write"
            ) from error
        except FlowdError:
            self.release()
            raise

    def _read_or_write(self, path: Path, fd: int) -> bytes:
        text = os.pread(fd, 4 * ID_BYTES, 0).strip()
        if not text:
            made = self._known or secrets.token_bytes(ID_BYTES)
            os.pwrite(fd, made.hex().encode() + b"\n", 0)
            os.fsync(fd)
            return made
        try:
            known = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            known = b""
        if len(known) != ID_BYTES:
            raise FlowdError(
                f"{path}: not a producer id (32 hexadecimal digits)", hint="remove the file to get a new id"
            )
        return known
