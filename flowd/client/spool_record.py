"""A spool's records as bytes: packed, and found again in a segment whatever has become of it. No files here.

A segment is a preamble (`flowd spool 1`, a newline) and records. A record is a head of 64 bytes, a name, and with LINES
the lines. The head has its own checksum: a record that the producer's end cut off is told from one that was damaged,
and what follows a damaged one is found again. It begins with 8 random bytes that only this segment has, so that no
line that was logged can pass for a record.

| kind | name | says |
|---|---|---|
| BEGIN | the producer's id | where the spool stood when this segment was begun; the first record |
| LINES | stream | whole lines that were handed over, and their position |
| SEAL | stream | a batch has this sequence: the stream's lines between two positions, with their checksum |
| ACK | | everything up to this sequence is acknowledged, and everything before a position (`floor`) |

A position counts the bytes of lines of all streams since the spool was made. It never goes back.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from flowd.wire import Buffer, checksum
from flowd.wire.limits import ID_BYTES

FORMAT = 1
"""Mixed into every head's checksum, so that no record of another format is taken for one of this."""
MARK_BYTES = 8
"""What a segment's records begin with: as many random bytes do not occur in lines by chance."""

_TITLE = b"flowd spool "
PREAMBLE = _TITLE + b"%d\n" % FORMAT
_TITLE_MAX_BYTES = len(_TITLE) + 8
_HEAD = struct.Struct(">8sBBxxIIQQQQQ")
_HEAD_CRC = struct.Struct(">I")
HEAD_BYTES = _HEAD.size + _HEAD_CRC.size
BEGIN_BYTES = len(PREAMBLE) + HEAD_BYTES + ID_BYTES
"""A segment in which nothing has been written yet."""


class _Kind(IntEnum):
    BEGIN = 1
    LINES = 2
    SEAL = 3
    ACK = 4


class Begin(NamedTuple):
    """Whose spool it is, and where it stood: the `last` sequence that was used, the one `acknowledged`, the positions
    before which everything is acknowledged (`floor`) and where the next lines go."""

    owner: bytes
    last: int
    acknowledged: int
    floor: int
    position: int


class Lines(NamedTuple):
    """The lines of one `send`, from position `start` to `end`; not `is_whole` where they are damaged."""

    stream: str
    start: int
    end: int
    payload: memoryview
    is_whole: bool


class Seal(NamedTuple):
    """A batch: the stream's lines from position `start` to `end`, which is never any other under this `sequence`."""

    stream: str
    sequence: int
    start: int
    end: int
    lines: int
    crc: int


class Ack(NamedTuple):
    """Everything up to `sequence` is acknowledged, and everything before the position `floor`."""

    sequence: int
    floor: int


class Damage(NamedTuple):
    """Bytes in which no record could be recognised; `newlines` is how many lines there may have been."""

    size_bytes: int
    newlines: int


class Tail(NamedTuple):
    """The place behind the last whole record, and how many bytes of one that was cut off follow there."""

    end_bytes: int
    torn_bytes: int


Found = Begin | Lines | Seal | Ack | Damage | Tail


def pack_begin(mark: bytes, begin: Begin) -> bytes:
    """A segment's first bytes: its preamble and its BEGIN."""
    numbers = (begin.last, begin.acknowledged, begin.floor, begin.position)
    return PREAMBLE + _pack(mark, _Kind.BEGIN, begin.owner, numbers)


def pack_lines(mark: bytes, stream: str, position: int, payload: Buffer) -> bytes:
    """What stands before the lines of a LINES."""
    numbers = (position, 0, 0, 0)
    return _pack(mark, _Kind.LINES, stream.encode(), numbers, checksum(payload), len(payload))


def pack_seal(mark: bytes, seal: Seal) -> bytes:
    """A SEAL."""
    return _pack(mark, _Kind.SEAL, seal.stream.encode(), (seal.sequence, seal.start, seal.end, seal.lines), seal.crc)


def pack_ack(mark: bytes, ack: Ack) -> bytes:
    """An ACK."""
    return _pack(mark, _Kind.ACK, b"", (ack.sequence, ack.floor, 0, 0))


def _pack(
    mark: bytes, kind: _Kind, name: bytes, numbers: tuple[int, int, int, int], crc: int = 0, body_bytes: int = 0
) -> bytes:
    head = _HEAD.pack(mark, kind, len(name), crc, checksum(name), body_bytes, *numbers)
    return head + _HEAD_CRC.pack(checksum(head) ^ FORMAT) + name


class _Head(NamedTuple):
    kind: _Kind
    name_bytes: int
    crc: int
    name_crc: int
    body_bytes: int
    numbers: tuple[int, int, int, int]


def _unpack_head(data: memoryview, place: int, mark: bytes) -> _Head | None:
    """The head at this place; None where there is none, or it is damaged."""
    if len(data) - place < HEAD_BYTES or data[place : place + MARK_BYTES] != mark:
        return None
    head = data[place : place + _HEAD.size]
    (crc,) = _HEAD_CRC.unpack_from(data, place + _HEAD.size)
    if checksum(head) ^ FORMAT != crc:
        return None
    _, kind, name_bytes, body_crc, name_crc, body_bytes, *numbers = _HEAD.unpack(head)
    if kind not in _Kind.__members__.values():
        return None
    return _Head(_Kind(kind), name_bytes, body_crc, name_crc, body_bytes, tuple(numbers))


def _read(data: memoryview, place: int, head: _Head) -> Found:
    """The record with this head, which ends within the data."""
    body = place + HEAD_BYTES + head.name_bytes
    end = body + head.body_bytes
    name = bytes(data[place + HEAD_BYTES : body])
    if checksum(name) != head.name_crc:
        return _damage(data, place, end)
    one, two, three, four = head.numbers
    if head.kind == _Kind.BEGIN:
        return Begin(name, one, two, three, four)
    if head.kind == _Kind.ACK:
        return Ack(one, two)
    stream = name.decode("ascii", "replace")
    if head.kind == _Kind.SEAL:
        return Seal(stream, one, two, three, four, head.crc)
    payload = data[body:end]
    return Lines(stream, one, one + head.body_bytes, payload, checksum(payload) == head.crc)


def _damage(data: memoryview, place: int, end: int) -> Damage:
    """Damaged bytes. They begin with what was a record's head, in which there are no lines."""
    return Damage(end - place, bytes(data[place + HEAD_BYTES : end]).count(b"\n"))


def scan(segment: bytes, mark: bytes) -> Iterator[Found]:
    """Everything in a segment, in order; a Tail at the end. Never raises."""
    data = memoryview(segment)
    place = 0
    if segment.startswith(PREAMBLE):
        place = len(PREAMBLE)
    elif PREAMBLE.startswith(segment):
        yield Tail(0, len(segment))
        return
    while place < len(data):
        head = _unpack_head(data, place, mark)
        if head is None:
            left = segment[place : place + HEAD_BYTES]
            if len(left) < HEAD_BYTES and left[:MARK_BYTES] == mark[: len(left)]:
                break
            after = _find_head(segment, data, place + 1, mark)
            yield _damage(data, place, after)
            place = after
            continue
        end = place + HEAD_BYTES + head.name_bytes + head.body_bytes
        if end > len(data):
            break
        yield _read(data, place, head)
        place = end
    yield Tail(place, len(data) - place)


def _find_head(segment: bytes, data: memoryview, place: int, mark: bytes) -> int:
    """Where the next whole head is from here on; the end where there is none."""
    while (place := segment.find(mark, place)) >= 0:
        if _unpack_head(data, place, mark) is not None:
            return place
        place += 1
    return len(segment)


def find_other_format(segment: bytes, mark: bytes) -> str | None:
    """The format of a segment that another version has written; None for one of this, however damaged."""
    title, newline, _ = segment[:_TITLE_MAX_BYTES].partition(b"\n")
    if not newline or not title.startswith(_TITLE) or segment.startswith(PREAMBLE):
        return None
    if any(isinstance(found, Begin | Lines | Seal | Ack) for found in scan(segment, mark)):
        return None
    return title.removeprefix(_TITLE).decode("ascii", "replace")
