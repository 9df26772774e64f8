"""Which file is this: its device and inode, and a fingerprint of what was read of it.

Device and inode find a file again after it was renamed. They are not enough: an inode is used again, and a file can be
truncated and written anew. The fingerprint tells: it is taken of bytes before the offset only, which an appending
writer never changes. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

HEAD_BYTES = 1024
"""Bytes from the beginning: a line with its time, as a rule, and so different in each file."""
TAIL_BYTES = 256
"""Bytes before the offset: they tell files with the same banner apart, and a file that was written anew."""
HASH_BYTES = 16
"""128 bits: not to be met by chance."""

ReadAt = Callable[[int, int], bytes]
"""Bytes of a file: from an offset, at most so many."""


class FileId(NamedTuple):
    """A file's place in its file system."""

    device: int
    inode: int


class Fingerprint:
    """What a file holds before `offset`: a hash of its first and of its last bytes there.

    One that was stored has the hashes only; `matches` makes the bytes known, and only then it can `advance`.
    """

    __slots__ = ("_head", "_head_hash", "_tail", "_tail_hash", "offset")

    def __init__(self, offset: int = 0, head_hash: bytes = b"", tail_hash: bytes = b"") -> None:
        self.offset = offset
        self._head_hash = head_hash
        self._tail_hash = tail_hash
        self._head: bytes | None = None if offset else b""
        self._tail: bytes | None = None if offset else b""

    @classmethod
    def take(cls, read_at: ReadAt, offset: int) -> Fingerprint:
        """The fingerprint of a file up to an offset that it reaches."""
        taken = cls()
        taken._head, taken._tail = _read_ends(read_at, offset)
        taken.offset = offset
        return taken

    @property
    def is_known(self) -> bool:
        """Whether the bytes are known, and not their hashes only."""
        return self._head is not None

    def matches(self, read_at: ReadAt) -> bool:
        """Whether a file holds, before the offset, what this was taken of. Without an offset everything does."""
        if not self.offset:
            return True
        head, tail = _read_ends(read_at, self.offset)
        if len(head) != min(HEAD_BYTES, self.offset) or len(tail) != min(TAIL_BYTES, self.offset):
            return False
        if self.is_known:
            return (head, tail) == (self._head, self._tail)
        if (_hash(head), _hash(tail)) != (self._head_hash, self._tail_hash):
            return False
        self._head, self._tail = head, tail
        return True

    def has_head(self, head: bytes) -> bool:
        """Whether a file that begins with these (up to HEAD_BYTES) can hold what this was taken of."""
        size = min(HEAD_BYTES, self.offset)
        if not size or len(head) < size:
            return False
        return head[:size] == self._head if self._head is not None else _hash(head[:size]) == self._head_hash

    def advance(self, data: bytes) -> None:
        """Moves the offset over these bytes, which follow it."""
        head, tail = self._head, self._tail
        assert head is not None, "the bytes are to be known"
        assert tail is not None
        if len(head) < HEAD_BYTES:
            self._head = head + data[: HEAD_BYTES - len(head)]
            self._head_hash = b""
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (tail + data)[-TAIL_BYTES:]
        self._tail_hash = b""
        self.offset += len(data)

    def hashes(self) -> tuple[bytes, bytes]:
        """Of the first, and of the last bytes: what is stored."""
        if self.offset and self._head is not None and self._tail is not None:
            self._head_hash = self._head_hash or _hash(self._head)
            self._tail_hash = self._tail_hash or _hash(self._tail)
        return self._head_hash, self._tail_hash


def _read_ends(read_at: ReadAt, offset: int) -> tuple[bytes, bytes]:
    size = min(TAIL_BYTES, offset)
    head = read_at(0, min(HEAD_BYTES, offset))  # first: what is compressed can only be read forward
    return head, read_at(offset - size, size)


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=HASH_BYTES).digest()
