"""The journal's records as bytes: keys that sort as they should, values with checksums. No LMDB here.

| database | key | value |
|---|---|---|
| (main) | `flowd.format`, `flowd.epoch`, `flowd.generation` | see `store` |
| `streams` | name | StreamRow |
| `heads` | stream's number, sequence | Head |
| `lines` | stream's number, sequence, chunk's number | a part of the batch's kept lines |
| `producers` | producer's id | Mark |
| `cursors` | consumer's name, NUL, stream's name | Cursor |
| `places` | whatever the tail source wants | the same |

Heads lie apart from the lines: a few leaf pages hold thousands of them, so that a time or a line is found, and the
lines of what is gone are counted, without touching the lines themselves.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from zlib_ng.zlib_ng import crc32

FORMAT = 1
"""What is written here. A journal of another format is left alone."""

CHUNK_PAGES = 65
"""A value takes pages that lie side by side. A batch of the usual 256 KiB fits into so many; a larger one is cut, since
a full ring of mixed sizes seldom has a thousand free pages in a row."""
PAGE_HEAD_BYTES = 16
"""What LMDB takes of a value's first page."""

_KEY = struct.Struct(">IQ")
_CHUNK_KEY = struct.Struct(">IQB")
_STREAM = struct.Struct(">IQQQQ")
_HEAD = struct.Struct(">QIQQIII")
_CRC = struct.Struct(">I")
_MARK = struct.Struct(">QQQ")
_CURSOR = struct.Struct(">QQBQQQ")

DATABASES = ("streams", "heads", "lines", "producers", "cursors", "places")


class StreamRow(NamedTuple):
    """Where a stream stands: its number in keys, the `next` sequence and the kept lines before it, the `oldest`
    sequence whose lines are stored, and the oldest whose head is."""

    number: int
    next: int = 1
    lines: int = 0
    oldest: int = 1
    oldest_head: int = 1


class Head(NamedTuple):
    """What is known of a batch: `lines_before` in its stream, its own `lines`, when it was decided (`time_ns`, and
    `age_ns` by the journal's own clock), by which generation, and its kept lines' size and crc32."""

    lines_before: int
    lines: int
    time_ns: int
    age_ns: int
    generation: int
    size_bytes: int
    crc: int


class Mark(NamedTuple):
    """A producer's mark: its incarnation, the last sequence that was decided, and when."""

    incarnation: int
    last: int
    time_ns: int


class Cursor(NamedTuple):
    """A consumer's place in a stream: its newest attachment's generation and the incarnation that attached, the last
    sequence it has committed (None: none yet) with the stream's lines up to there, and when."""

    generation: int
    owner: int
    sequence: int | None
    lines: int
    time_ns: int


class Corrupt(ValueError):
    """A stored record is not what was written."""


def batch_key(stream: int, sequence: int) -> bytes:
    """The key of a batch's head."""
    return _KEY.pack(stream, sequence)


def split_batch_key(key: bytes | memoryview) -> tuple[int, int]:
    """The stream's number and the sequence in a head's key."""
    stream, sequence = _KEY.unpack(key)
    return stream, sequence


def chunk_key(stream: int, sequence: int, chunk: int) -> bytes:
    """The key of a part of a batch's lines."""
    return _CHUNK_KEY.pack(stream, sequence, chunk)


def chunk_bytes(page_bytes: int) -> int:
    """The largest part, for pages of this size."""
    return CHUNK_PAGES * page_bytes - PAGE_HEAD_BYTES


def pack_stream(row: StreamRow) -> bytes:
    """A stream's row."""
    return _STREAM.pack(*row)


def unpack_stream(value: bytes | memoryview) -> StreamRow:
    """Raises struct.error for anything else."""
    return StreamRow(*_STREAM.unpack(value))


def pack_head(head: Head) -> bytes:
    """A head with its own checksum."""
    packed = _HEAD.pack(*head)
    return packed + _CRC.pack(crc32(packed))


def unpack_head(value: bytes | memoryview) -> Head:
    """Raises Corrupt where the head is not what was written."""
    packed = bytes(value)
    if len(packed) != _HEAD.size + _CRC.size or _CRC.pack(crc32(packed[: _HEAD.size])) != packed[_HEAD.size :]:
        raise Corrupt("a batch's head is damaged")
    return Head(*_HEAD.unpack_from(packed))


def pack_mark(mark: Mark) -> bytes:
    """A producer's mark."""
    return _MARK.pack(*mark)


def unpack_mark(value: bytes | memoryview) -> Mark:
    """Raises struct.error for anything else."""
    return Mark(*_MARK.unpack(value))


def cursor_key(consumer: str, stream: str) -> bytes:
    """The key of a consumer's cursor."""
    return consumer.encode() + b"\0" + stream.encode()


def split_cursor_key(key: bytes | memoryview) -> tuple[str, str]:
    """The consumer's and the stream's name."""
    consumer, _, stream = bytes(key).partition(b"\0")
    return consumer.decode(), stream.decode()


def pack_cursor(cursor: Cursor) -> bytes:
    """A consumer's cursor."""
    is_set = cursor.sequence is not None
    return _CURSOR.pack(cursor.generation, cursor.owner, is_set, cursor.sequence or 0, cursor.lines, cursor.time_ns)


def unpack_cursor(value: bytes | memoryview) -> Cursor:
    """Raises struct.error for anything else."""
    generation, owner, is_set, sequence, lines, time_ns = _CURSOR.unpack(value)
    return Cursor(generation, owner, sequence if is_set else None, lines, time_ns)
