"""What the journal keeps of followed files, as bytes and back: where each was read to, and which globs are known.

Every file has a key of its own for life, so that a file that takes over a departed one's inode does not take its place.
What cannot be read is counted and left alone; it never ends anything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Annotated

import msgspec

KEY_BYTES = 16
"""A file's key: random, 128 bits never collide."""

log = logging.getLogger(__name__)

Size = Annotated[int, msgspec.Meta(ge=0)]
Hash = Annotated[bytes, msgspec.Meta(max_length=64)]


class FilePlace(msgspec.Struct, array_like=True, frozen=True, tag="file-1"):
    """One file of a stream: who it is, where it was last seen, how far it was read, how
    long it was then, and its fingerprint there.

    `base` is the path whose file it is or was before it was rotated away. `skip_from` is where a line began that is too
    long and is being skipped, or -1. `rested` is the size and the time of change of a file of which nothing is wanted
    any more, until they differ. `is_gone`: it was not there any more, but may come back compressed.
    """

    stream: str
    pattern: bytes
    path: bytes
    base: bytes
    device: Size
    inode: Size
    offset: Size
    size: Size
    head_hash: Hash
    tail_hash: Hash
    skip_from: int
    rested: tuple[int, int] | None
    is_rotated: bool
    is_gzip: bool
    is_gone: bool


class PatternPlace(msgspec.Struct, array_like=True, frozen=True, tag="glob-1"):
    """A glob whose files were all seen once: what appears later is new, rotated files, too."""

    stream: str
    pattern: bytes


@dataclass
class StreamPlaces:
    """What is stored of one stream. `is_doubtful`: some of what was stored could not be read, so that an unknown file
    is not surely new."""

    files: dict[bytes, FilePlace] = field(default_factory=dict)
    patterns: dict[bytes, PatternPlace] = field(default_factory=dict)
    is_doubtful: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(FilePlace | PatternPlace)


def pack_place(place: FilePlace | PatternPlace) -> bytes:
    """What is stored."""
    return _encode(place)


def pattern_key(stream: str, pattern: bytes) -> bytes:
    """The key of a glob."""
    return blake2b(stream.encode() + b"\0" + pattern, digest_size=KEY_BYTES + 1).digest()


def unpack_places(stored: Mapping[bytes, bytes], streams: list[str]) -> tuple[dict[str, StreamPlaces], int]:
    """What is stored of these streams, and how many places could not be read. Those of other streams are left alone."""
    found = {stream: StreamPlaces() for stream in streams}
    bad = 0
    for key, value in stored.items():
        try:
            place = _decoder.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            bad += 1
            log.warning("tail: a stored place (%s) cannot be read and is ignored: %s", key.hex(), error)
            continue
        if place.stream not in found:
            continue
        if isinstance(place, FilePlace):
            found[place.stream].files[key] = place
        else:
            found[place.stream].patterns[key] = place
    if bad:
        for places in found.values():
            places.is_doubtful = True
    return found, bad
