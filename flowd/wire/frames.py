"""Messages as ZeroMQ frames: head, header, payload; made by `encode`, read by `parse`.

`parse` is given whatever a stranger sends, and raises WireError for all that is no message, never anything else. It
looks at sizes before it decodes, and does not look into the payload: `open_payload` does, when its reader wants it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from zlib_ng.zlib_ng import crc32

from flowd._core import scan_newlines
from flowd.errors import WireError
from flowd.wire.headers import HEADERS, Header, Type
from flowd.wire.limits import HEAD_BYTES, PAYLOAD_MAX_BYTES, VERSION
from flowd.wire.packing import pack_header, unpack_header

MAGIC = b"FLW"
FLAG_ZSTD = 1
ZSTD_WINDOW_BYTES = 8 << 20
"""The usual window of zstd's ordinary levels; what asks for more would make its reader allocate more."""

Buffer: TypeAlias = bytes | bytearray | memoryview
H = TypeVar("H", bound=Header, covariant=True)

_PREFIX = MAGIC + bytes([VERSION])
_HEADS = {(type_, flags): _PREFIX + bytes([type_, flags, 0, 0]) for type_ in HEADERS for flags in (0, FLAG_ZSTD)}
_KNOWN_HEADS = {head: key for key, head in _HEADS.items()}


class Message(NamedTuple, Generic[H]):
    """A message that was understood: its header, its flags, and its payload as sent (b"" where it has none)."""

    header: H
    flags: int
    payload: Buffer


def encode(header: Header, payload: Buffer | None = None, *, flags: int = 0) -> list[Buffer]:
    """The frames of a message. A payload of None makes no payload frame.

    Raises WireError where a header or payload is over the bounds that its reader will enforce.
    """
    packed = pack_header(header)
    if len(packed) > header.max_bytes:
        raise WireError("header_size", f"a {header.type.name} header of {len(packed)} bytes is over {header.max_bytes}")
    head = _HEADS[header.type, flags]
    if payload is None:
        return [head, packed]
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise WireError("payload_size", f"a payload of {len(payload)} bytes is over {PAYLOAD_MAX_BYTES}")
    return [head, packed, payload]


def parse(frames: Sequence[Buffer]) -> Message[Header]:
    """The message that these frames are (without routing id and topic), or WireError with the reason why they are none.

    A payload over the bound is not an error here: whoever reads it answers that it is too big.
    """
    if not 2 <= len(frames) <= 3:
        raise WireError("frames", f"a message has 2 or 3 frames, this one {len(frames)}")
    type_, flags = _parse_head(frames[0])
    shape = HEADERS[type_]
    packed = frames[1]
    if len(packed) > shape.max_bytes:
        raise WireError("header_size", f"a {type_.name} header of {len(packed)} bytes is over {shape.max_bytes}")
    if not shape.has_payload and len(frames) == 3:
        raise WireError("payload", f"{type_.name} has no payload")
    try:
        header = unpack_header(type_, bytes(packed))
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise WireError("header", f"bad {type_.name} header: {error}") from error
    return Message(header, flags, frames[2] if len(frames) == 3 else b"")


def _parse_head(head: Buffer) -> tuple[Type, int]:
    known = _KNOWN_HEADS.get(bytes(head)) if len(head) == HEAD_BYTES else None
    if known is None or (known[1] and not HEADERS[known[0]].has_payload):
        raise _explain_head(bytes(head[: HEAD_BYTES + 1]))
    return known


def _explain_head(head: bytes) -> WireError:
    if len(head) != HEAD_BYTES or not head.startswith(MAGIC):
        return WireError("magic", "the first frame is not FLW's 8-byte head")
    version, type_, flags = head[3], head[4], head[5]
    if version != VERSION:
        return WireError("version", f"version {version} is not spoken here", hint=f"this side speaks {VERSION}")
    if type_ not in HEADERS:
        return WireError("type", f"message type {type_} is unknown")
    return WireError("flags", f"flags {flags:#x} with reserved bytes {head[6:].hex()} are unknown for type {type_}")


def checksum(payload: Buffer) -> int:
    """The crc32 (as zlib's) of a payload as sent. Summed at both ends of every batch: zlib-ng is ten times as fast."""
    return crc32(payload)


def count_lines(lines: Buffer) -> int:
    """How many lines there are; the last one may lack its newline. Python's own `count` is fifteen times slower."""
    return scan_newlines(lines)


def open_payload(flags: int, payload: Buffer) -> Buffer:
    """The lines in a payload: itself, or what it decompresses to, bounded while it is opened.

    Raises WireError `payload_size` for what is or becomes larger than a payload may be, `zstd` for broken compression.
    """
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise WireError("payload_size", f"a payload of {len(payload)} bytes is over {PAYLOAD_MAX_BYTES}")
    if not flags & FLAG_ZSTD:
        return payload
    import zstandard

    try:
        # A frame that names its size is opened to that size whatever max_output_size says: look at it first.
        if zstandard.frame_content_size(payload) > PAYLOAD_MAX_BYTES:
            raise WireError("payload_size", f"the payload opens to more than {PAYLOAD_MAX_BYTES} bytes")
        opener = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
        return opener.decompress(payload, max_output_size=PAYLOAD_MAX_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError("zstd", f"the payload is no single zstd frame of at most {PAYLOAD_MAX_BYTES} bytes") from error
