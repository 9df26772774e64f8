"""Whose keys are let in: a folder of public certificates, one a file, each with its roles and streams.

The folder is the truth at every moment: a key whose file is gone or changed is judged anew when it is next asked for.
What cannot be read wholly allows nothing. An AllowedKeys belongs to one thread.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

from flowd.errors import FlowdError
from flowd.wire.keys import PUBLIC_SUFFIX, Certificate, read_public
from flowd.wire.limits import is_stream_name

PRODUCE, CONSUME, ADMIN = "produce", "consume", "admin"
ROLES = (PRODUCE, CONSUME, ADMIN)
ANY_STREAM = "*"
KEYS_MAX = 4096
"""Certificates read from one folder: whoever needs more has another way to tell clients apart."""
FRESH_S = 0.1
"""How long a key that was not there is taken to be still not there, unless files came or went."""

log = logging.getLogger(__name__)


class Grant(NamedTuple):
    """What the holder of a key may do. `streams` None are all streams."""

    name: str
    key: str
    roles: frozenset[str]
    streams: frozenset[str] | None

    def has_stream(self, stream: str) -> bool:
        """Whether the key is good for this stream (or view)."""
        return self.streams is None or stream in self.streams


Signature = tuple[int, int, int, int]
"""What changes when a file does: device, inode, size, time of change."""


def read_grant(path: Path) -> Grant:
    """The grant in a certificate's file. Raises FlowdError, with a hint, for one that does not say what is allowed."""
    return parse_grant(path, read_public(path))


def parse_grant(path: Path, certificate: Certificate) -> Grant:
    """The grant that a certificate's metadata gives."""
    roles = certificate.metadata.get("roles", "").split()
    streams = certificate.metadata.get("streams", "").split()
    for role in roles:
        if role not in ROLES:
            raise FlowdError(f"{path}: unknown role {role!r}", hint=f"roles are {', '.join(ROLES)}")
    if not roles:
        raise FlowdError(f"{path}: has no roles, and allows nothing", hint='write roles = "consume" below metadata')
    if not streams or (ANY_STREAM in streams and len(streams) > 1):
        raise FlowdError(f"{path}: does not say which streams", hint='write streams = "flows dns", or "*" for all')
    for stream in streams:
        if stream != ANY_STREAM and not is_stream_name(stream):
            raise FlowdError(f"{path}: stream {stream!r} is no legal name", hint="use A-Z a-z 0-9 . _ -")
    named = None if streams == [ANY_STREAM] else frozenset(streams)
    return Grant(path.name.removesuffix(PUBLIC_SUFFIX), certificate.public, frozenset(roles), named)


def check_folder(directory: str | os.PathLike[str]) -> None:
    """Raises FlowdError where this is no folder of allowed keys: it must be there, and only its owner's to write (or
    nobody's, as a Secret's mount is)."""
    try:
        mode = os.stat(directory).st_mode
        is_read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
        os.scandir(directory).close()
    except OSError as error:
        raise FlowdError(
            f"{directory}: {error.strerror}", hint="make a folder for the public keys of clients"
        ) from error
    if mode & 0o022 and not is_read_only:
        raise FlowdError(f"{directory}: others than its owner may write there", hint=f"chmod go-w {directory}")


class AllowedKeys:
    """The folder, read when it is asked. `find` costs one look at one file while nothing changes."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        self._grants: dict[str, tuple[Path, Signature, Grant]] = {}
        self._files: dict[Path, tuple[Signature, Grant | None]] = {}
        self._read_s = float("-inf")
        self._changed_ns = 0

    def find(self, key: str) -> Grant | None:
        """What this key is allowed now; None where it is not let in."""
        known = self._grants.get(key)
        if known is not None and _sign(known[0]) == known[1]:
            return known[2]
        if known is None and self._is_fresh():
            return None
        self._read_folder()
        known = self._grants.get(key)
        return None if known is None else known[2]

    def _is_fresh(self) -> bool:
        """Whether the folder was read just now: who asks again and again for a key that is not there must not cost a
        reading each time. Times of change are coarse, so a folder that changed just now is always read."""
        if time.monotonic() - self._read_s >= FRESH_S:
            return False
        try:
            changed_ns = os.stat(self._directory).st_mtime_ns
        except OSError:
            return False
        return changed_ns == self._changed_ns and time.time_ns() - changed_ns >= FRESH_S * 1e9

    def _read_folder(self) -> None:
        """Reads what is new or changed. Where two files hold one key, the first by name counts."""
        before, self._files, self._grants = self._files, {}, {}
        self._read_s = time.monotonic()
        try:
            self._changed_ns = os.stat(self._directory).st_mtime_ns
            names = sorted(name for name in os.listdir(self._directory) if name.endswith(PUBLIC_SUFFIX))
        except OSError as error:
            log.error("%s: %s: no key is let in", self._directory, error.strerror)
            return
        if len(names) > KEYS_MAX:
            log.error("%s: more than %d keys: the last ones are not let in", self._directory, KEYS_MAX)
        for name in names[:KEYS_MAX]:
            path = self._directory / name
            signature = _sign(path)
            if signature is None:
                continue
            seen = before.get(path)
            grant = seen[1] if seen is not None and seen[0] == signature else _try_grant(path)
            self._files[path] = (signature, grant)
            if grant is not None:
                self._grants.setdefault(grant.key, (path, signature, grant))


def _sign(path: Path) -> Signature | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns


def _try_grant(path: Path) -> Grant | None:
    try:
        return read_grant(path)
    except FlowdError as error:
        log.error("%s; this key is not let in", error.message)
        return None
