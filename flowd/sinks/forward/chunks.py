"""Chunks: what is sent as one message and acknowledged as one; and the batches that they are parts of.

A chunk's id is the same whenever these lines are sent from this journal: a server that remembers ids knows a repeated
chunk. A batch is delivered when its chunks are, and committed when all before it are delivered, too.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgpack
from zlib_ng import zlib_ng

from flowd.sinks.forward.entries import PackedLines
from flowd.sinks.sink import Feed, Outgoing
from flowd.wire.forward import CHUNK, COMPRESSED, GZIP, SIZE

ID_BYTES = 16
GZIP_LEVEL = 1
"""A ninth of the size at a third of the time that the records themselves take; level 6 makes a thirteenth, thrice as
slowly."""
GZIP_WBITS = 31
"""zlib's word for a gzip header, and its largest window."""

ARRAY_OF_3 = b"\x93"
BIN8, BIN16, BIN32 = 0xC4, 0xC5, 0xC6
"""msgpack's words."""


class Pending:
    """A batch on its way: so many chunks of it are not acknowledged yet."""

    __slots__ = ("batch", "left", "lines", "track")

    def __init__(self, track: Track, batch: Outgoing, left: int) -> None:
        self.track = track
        self.batch = batch
        self.left = left
        self.lines = batch.line_count


class Track:
    """One feed's batches in order, committed behind the longest delivered run."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._pending: deque[Pending] = deque()

    @property
    def batches(self) -> int:
        """Batches taken and not committed."""
        return len(self._pending)

    def begin(self, batch: Outgoing, chunks: int) -> Pending:
        """A batch was taken, and is cut into so many chunks."""
        pending = Pending(self, batch, chunks)
        self._pending.append(pending)
        return pending

    def advance(self) -> list[Pending]:
        """Commits what is delivered from the beginning on, and returns it."""
        done = []
        while self._pending and self._pending[0].left == 0:
            done.append(self._pending.popleft())
        if done:
            self.feed.commit(done[-1].batch)
        return done


class Chunk:
    """A message, whole. `sends` is how often it was sent, `holders` how many links have it under way now."""

    __slots__ = ("holders", "id", "is_acked", "message", "pending", "sends")

    def __init__(self, pending: Pending, id: bytes, message: bytes) -> None:
        self.pending = pending
        self.id = id
        self.message = message
        self.sends = 0
        self.holders = 0
        self.is_acked = False


def cut_lines(lines: bytes, most_bytes: int) -> Iterator[tuple[int, int]]:
    """Where pieces of whole lines begin and end, each of at most so many bytes; a longer line is a piece of its own."""
    begin, size = 0, len(lines)
    while begin < size:
        end = size
        if size - begin > most_bytes:
            end = lines.rfind(b"\n", begin, begin + most_bytes) + 1 or lines.find(b"\n", begin) + 1 or size
        yield begin, end
        begin = end


def name_chunk(sink: str, stream: str, batch: Outgoing, begin: int, lines: bytes) -> bytes:
    """The id of the chunk with these lines, which begin at this byte of the batch, in base64.

    The lines are part of it: under a view's new filters the same batch has others, and must not pass for the old one.
    SHA-256 is what processors have instructions for: it takes half of the time that BLAKE2b does.
    """
    place = f"{sink}\0{stream}\0{batch.seq}\0{begin}\0".encode()
    digest = hashlib.sha256(hashlib.sha256(batch.epoch + b"\0" + place).digest())
    digest.update(lines)
    return base64.b64encode(digest.digest()[:ID_BYTES])


def pack_message(tag: str, lines: PackedLines, id: bytes, is_compressed: bool) -> bytes:
    """A message in PackedForward mode: tag, entries, option with the chunk's id."""
    option: dict[str, Any] = {CHUNK: id.decode(), SIZE: lines.number}
    body = lines.entries
    if is_compressed:
        option[COMPRESSED] = GZIP
        body = zlib_ng.compress(body, GZIP_LEVEL, GZIP_WBITS)
    return b"".join((ARRAY_OF_3, msgpack.packb(tag), _bin_header(len(body)), body, msgpack.packb(option)))


def _bin_header(size: int) -> bytes:
    """What stands before bytes in msgpack: `packb` of the whole would copy them twice."""
    if size < 1 << 8:
        return struct.pack(">BB", BIN8, size)
    if size < 1 << 16:
        return struct.pack(">BH", BIN16, size)
    return struct.pack(">BI", BIN32, size)
