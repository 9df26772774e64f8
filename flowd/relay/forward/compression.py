"""Compressed entries, opened within a bound: gzip and zstd, in one piece or in several that follow each other, as
collectors make them when they put compressed chunks together."""

from __future__ import annotations

from zlib_ng import zlib_ng

from flowd.wire.forward import GZIP, ZSTD

PIECES_MAX = 65536
"""Of a chunk: fluentd adds one for each emit. Millions of empty ones would keep the daemon busy for nothing."""
STEP_BYTES = 64 << 10
"""Given to gzip's opener at once: what it does not need of a piece's end is copied."""
READ_BYTES = 1 << 20
GZIP_WINDOW = 31
"""zlib's word for a gzip header with any window."""
ZSTD_WINDOW_BYTES = 32 << 20
"""What zstd's higher levels take; a frame that wants more is refused, before it is allocated."""
LAST_BYTE = b"\xc1"
"""What stands in no msgpack. A frame of it behind all others shows that these were whole: zstd's reader ends a broken
one without a word. The frame ends in a checksum, so that what takes it in as its own does not end in this byte."""
LAST_FRAME = bytes.fromhex("28b52ffd2401090000c13a2f4294")


class CannotOpen(ValueError):
    """What cannot be opened: `args` has the reason, as it is counted: `compression` or `too_large`."""


def open_entries(compressed: str, packed: memoryview, most_bytes: int) -> bytes:
    """The entries, `most_bytes` at most, of what is `compressed` by this word. Raises CannotOpen."""
    if compressed == GZIP:
        return _open_gzip(packed, most_bytes)
    if compressed == ZSTD:
        return _open_zstd(packed, most_bytes)
    raise CannotOpen("compression")


def _open_gzip(packed: memoryview, most_bytes: int) -> bytes:
    opened: list[bytes] = []
    left = most_bytes
    pieces = 1
    piece = zlib_ng.decompressobj(GZIP_WINDOW)
    given = b""
    at = 0
    try:
        while at < len(packed) or given:
            if not given:
                given = bytes(packed[at : at + STEP_BYTES])
                at += len(given)
            if piece.eof:
                pieces += 1
                if pieces > PIECES_MAX:
                    raise CannotOpen("too_large")
                piece = zlib_ng.decompressobj(GZIP_WINDOW)
            found = piece.decompress(given, left + 1)
            left -= len(found)
            if left < 0:
                raise CannotOpen("too_large")
            opened.append(found)
            given = piece.unused_data if piece.eof else piece.unconsumed_tail
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub says no more than that it is there
        raise CannotOpen("compression") from error
    if not piece.eof:
        raise CannotOpen("compression")
    return opened[0] if len(opened) == 1 else b"".join(opened)


def _open_zstd(packed: memoryview, most_bytes: int) -> bytes:
    import zstandard

    opened: list[bytes] = []
    left = most_bytes + len(LAST_BYTE)
    opener = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    try:
        with opener.stream_reader(bytes(packed) + LAST_FRAME, read_across_frames=True) as reader:
            while found := reader.read(min(left + 1, READ_BYTES)):
                left -= len(found)
                if left < 0:
                    raise CannotOpen("too_large")
                opened.append(found)
    except zstandard.ZstdError as error:
        raise CannotOpen("compression") from error
    entries = b"".join(opened)
    if not entries.endswith(LAST_BYTE):
        raise CannotOpen("compression")
    return entries[: -len(LAST_BYTE)]
