"""The journal's records as bytes: keys that sort as they should, values with checksums. No LMDB here.

| database | key | value |
|---|---|---|
| (main) | `flowd.format`, `flowd.epoch`, `flowd.generation`, `flowd.before`, `flowd.continued` | see `store` |
| `streams` | name | StreamRow |
| `heads` | stream's number, sequence | Head |
| `lines` | stream's number, sequence, part's number | a part of the batch's kept lines |
| `producers` | producer's id | Mark |
| `cursors` | consumer's name, NUL, stream's name | Cursor |
| `places` | whatever the tail source wants | the same |

Each value but the lines' and those of (main) ends in its own crc32; that of a batch's lines is in its head.

Heads lie apart from the lines: a few leaf pages hold thousands of them, so that a time or a line is found, and the
lines of what is gone are counted, without touching the lines themselves.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from zlib_ng.zlib_ng import crc32

from flowd.errors import EXIT_CONFIG, FlowdError

DATA_NAME, LOCK_NAME = "data.mdb", "lock.mdb"
"""The files of an LMDB environment."""
FORMAT_KEY, EPOCH_KEY, BEFORE_KEY, CONTINUED_KEY = b"flowd.format", b"flowd.epoch", b"flowd.before", b"flowd.continued"
FORMAT, FORMAT_RECORD_TIMES = 1, 2
"""What is written here: a journal begins with the first, and has the second from its first batch with record times on,
which a flowd that does not know them would take for damage. A journal of another format is left alone."""
FORMATS = tuple(str(number).encode() for number in (FORMAT, FORMAT_RECORD_TIMES))

PART_PAGES = 65
"""A value takes pages that lie side by side. A batch of the usual 256 KiB fits into so many; a larger one is cut, since
a full ring of mixed sizes seldom has a thousand free pages in a row. Where it has not even so many, parts are of one
page, which fit wherever there is room at all."""
PAGE_HEAD_BYTES = 16
"""What LMDB takes of a value's first page."""

OTHER_HINT = "use the version that wrote it, or move the journal away to begin anew"

_KEY = struct.Struct(">IQ")
_PART_KEY = struct.Struct(">IQH")
_STREAM = struct.Struct(">IQQQQ")
_HEAD = struct.Struct(">QIQQIIIH")
_RECORD_TIMES = struct.Struct(">QQ")
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


class Continued(NamedTuple):
    """An epoch that ended although its journal goes on, and each stream's next sequence then with the lines before it:
    batches before it are the same in the next epoch, what had that one or a later one may not be."""

    epoch: str
    streams: dict[str, tuple[int, int]]


class Head(NamedTuple):
    """What is known of a batch: `lines_before` in its stream, its own `lines`, when it was decided (`time_ns`, and
    `age_ns` by the journal's own clock), by which generation, its kept lines' size and crc32, and in how many `parts`
    they are stored. `record_times_ns` are the first and the last of its records' own times, where they have any."""

    lines_before: int
    lines: int
    time_ns: int
    age_ns: int
    generation: int
    size_bytes: int
    crc: int
    parts: int
    record_times_ns: tuple[int, int] | None = None


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


class OtherFormat(FlowdError):
    """The journal was written by another version of flowd, or of LMDB: it is left alone."""

    exit_code = EXIT_CONFIG


def batch_key(stream: int, sequence: int) -> bytes:
    """The key of a batch's head."""
    return _KEY.pack(stream, sequence)


def split_batch_key(key: bytes | memoryview) -> tuple[int, int]:
    """The stream's number and the sequence in a head's key."""
    stream, sequence = _KEY.unpack(key)
    return stream, sequence


def part_key(stream: int, sequence: int, part: int) -> bytes:
    """The key of a part of a batch's lines."""
    return _PART_KEY.pack(stream, sequence, part)


def split_part_key(key: bytes | memoryview) -> tuple[int, int, int]:
    """The stream's number, the sequence and the part's number in a key of `lines`."""
    stream, sequence, part = _PART_KEY.unpack(key)
    return stream, sequence, part


def part_bytes(page_bytes: int, pages: int = PART_PAGES) -> int:
    """The largest part that takes so many pages."""
    return pages * page_bytes - PAGE_HEAD_BYTES


def seal(packed: bytes) -> bytes:
    """A record with its own checksum."""
    return packed + _CRC.pack(crc32(packed))


def unseal(value: bytes | memoryview, what: str) -> bytes:
    """The record; `what` names it in what is raised where it is not what was written: Corrupt."""
    packed = bytes(value[: -_CRC.size])
    if len(value) < _CRC.size or _CRC.pack(crc32(packed)) != bytes(value[-_CRC.size :]):
        raise Corrupt(f"{what} is damaged")
    return packed


def _unpack(fields: struct.Struct, value: bytes | memoryview, what: str) -> tuple[Any, ...]:
    packed = unseal(value, what)
    if len(packed) != fields.size:
        raise Corrupt(f"{what} has {len(packed)} bytes, not {fields.size}")
    return fields.unpack(packed)


def pack_stream(row: StreamRow) -> bytes:
    """A stream's row."""
    return seal(_STREAM.pack(*row))


def unpack_stream(value: bytes | memoryview) -> StreamRow:
    """Raises Corrupt where the row is not what was written."""
    return StreamRow(*_unpack(_STREAM, value, "a stream's row"))


def pack_head(head: Head) -> bytes:
    """A head."""
    packed = _HEAD.pack(*head[:-1])
    return seal(packed if head.record_times_ns is None else packed + _RECORD_TIMES.pack(*head.record_times_ns))


def unpack_head(value: bytes | memoryview) -> Head:
    """Raises Corrupt where the head is not what was written."""
    what = "a batch's head"
    packed = unseal(value, what)
    if len(packed) == _HEAD.size:
        return Head(*_HEAD.unpack(packed))
    if len(packed) != _HEAD.size + _RECORD_TIMES.size:
        raise Corrupt(f"{what} has {len(packed)} bytes")
    first_ns, last_ns = _RECORD_TIMES.unpack_from(packed, _HEAD.size)
    return Head(*_HEAD.unpack_from(packed))._replace(record_times_ns=(first_ns, last_ns))


def pack_mark(mark: Mark) -> bytes:
    """A producer's mark."""
    return seal(_MARK.pack(*mark))


def unpack_mark(value: bytes | memoryview) -> Mark:
    """Raises Corrupt where the mark is not what was written."""
    return Mark(*_unpack(_MARK, value, "a producer's mark"))


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
    return seal(
        _CURSOR.pack(cursor.generation, cursor.owner, is_set, cursor.sequence or 0, cursor.lines, cursor.time_ns)
    )


def unpack_cursor(value: bytes | memoryview) -> Cursor:
    """Raises Corrupt where the cursor is not what was written."""
    generation, owner, is_set, sequence, lines, time_ns = _unpack(_CURSOR, value, "a consumer's cursor")
    return Cursor(generation, owner, sequence if is_set else None, lines, time_ns)
