"""The option of a Forward message: what its sender says of it beside tag and records."""

from __future__ import annotations

from typing import NamedTuple

import msgpack

from flowd.wire.forward import ACK, CHUNK, CHUNK_ID_BYTES, COMPRESSED, TEXT

OPTION_MAX_BYTES = 64 << 10
"""An option has a few short values; what is larger is hostile or broken."""
SIGNAL = b"fluent_signal"
"""What Fluent Bit says of its chunks: 0 for logs, 1 for metrics, 2 for traces."""
LOGS = 0


class BadOption(ValueError):
    """An option that cannot be followed: `args` has the reason, as it is counted."""


class Option(NamedTuple):
    """The message's `chunk` (None: it is not to be acknowledged) and how its entries are compressed (empty: not)."""

    chunk: bytes | None = None
    compressed: str = ""


NO_OPTION = Option()


def read_option(packed: bytes) -> Option:
    """What an option says; no bytes and nil say nothing. Unknown keys are passed over. Raises BadOption."""
    if not packed or packed == b"\xc0":
        return NO_OPTION
    if len(packed) > OPTION_MAX_BYTES:
        raise BadOption("option")
    try:
        found = msgpack.unpackb(packed, raw=True, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:  # TypeError: a map as a key
        raise BadOption("option") from error
    if not isinstance(found, dict):
        raise BadOption("option")
    if found.get(SIGNAL, LOGS) != LOGS:
        raise BadOption("signal")
    chunk = found.get(CHUNK.encode())
    if chunk is not None and not (isinstance(chunk, bytes) and 0 < len(chunk) <= CHUNK_ID_BYTES):
        raise BadOption("chunk")
    compressed = found.get(COMPRESSED.encode())
    if compressed is None:
        return Option(chunk)
    if not isinstance(compressed, bytes):
        raise BadOption("compression")
    word = compressed.decode("ascii", "replace")
    return Option(chunk, "" if word == TEXT else word)


def pack_ack(chunk: bytes) -> bytes:
    """The acknowledgement of a chunk: its id comes back as text, where it is text."""
    try:
        answer: str | bytes = chunk.decode()
    except UnicodeDecodeError:
        answer = chunk
    packed: bytes = msgpack.packb({ACK: answer})
    return packed
