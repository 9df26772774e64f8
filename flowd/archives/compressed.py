"""Compressed input, opened as it is read: gzip and zstd, recognised by their first bytes, not by names.

Bounded: a piece of an archive opens to a bounded size however it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flowd.errors import EXIT_IO, FlowdError

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPABLE = tuple(bytes((kind, 0x2A, 0x4D, 0x18)) for kind in range(0x50, 0x60))

ARCHIVE_MARK_BYTES = 4
"""So many first bytes tell what a file is."""
PIECE_BYTES = {"gzip": 1 << 16, "zstd": 1 << 12}
"""How much of an archive is opened at a time: to 128 MiB at most. A byte of gzip opens to 1,032 at most, a zstd block
of 4 bytes to 128 KiB. Larger pieces are opened no faster."""
ZSTD_WINDOW_BYTES = 128 << 20
"""What `zstd --long` makes by default; an archive that asks for more is refused before memory is taken."""


class BadArchive(FlowdError):
    """An archive that is damaged, cut off, or holds what cannot be seen as lines."""

    exit_code = EXIT_IO


class Opener(Protocol):
    """What zlib-ng and zstandard call a decompression object: one gzip member, one zstd frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, piece: bytes, /) -> bytes: ...


def find_archive(first: bytes) -> str:
    """`gzip` or `zstd` by the first bytes of a file; empty for plain lines, which cannot begin like this."""
    if first.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if first.startswith((ZSTD_MAGIC, *ZSTD_SKIPPABLE)) else ""


class Archive:
    """An archive's content as a run of bytes. `read` gives the next bytes of the file, b"" at its end."""

    def __init__(self, kind: str, name: str, first: bytes, read: Callable[[], bytes]) -> None:
        self._kind = kind
        self._name = name
        self._raw = memoryview(first)
        self._read = read
        self._piece_bytes = PIECE_BYTES[kind]
        self._new_opener, self._errors = _opener_maker(kind)
        self._opener: Opener | None = self._new_opener()
        self._opened = memoryview(b"")
        self._failure: BadArchive | None = None

    def readinto(self, room: memoryview) -> int:
        """Fills the room as far as what is there opens to, and at the end gives 0.

        Waits for more of the archive only where that is nothing. Raises BadArchive when all before was given out.
        """
        filled = 0
        while filled < len(room):
            if not self._opened:
                if filled and not self._raw:
                    break
                self._open_more()
                if not self._opened:
                    break
            size = min(len(room) - filled, len(self._opened))
            room[filled : filled + size] = self._opened[:size]
            self._opened = self._opened[size:]
            filled += size
        if not filled and self._failure is not None:
            raise self._failure
        return filled

    def _open_more(self) -> None:
        """Opens pieces until something comes of them; nothing does at the end and after a failure."""
        while not self._opened and self._failure is None:
            if not self._raw:
                self._raw = memoryview(self._read())
                if not self._raw:
                    if self._opener is not None:
                        self._fail("it ends in the middle")
                    return
            if self._opener is None:
                if self._skip_padding():
                    continue
                self._opener = self._new_opener()
            piece, before = bytes(self._raw[: self._piece_bytes]), self._raw
            self._raw = before[len(piece) :]
            try:
                self._opened = memoryview(self._opener.decompress(piece))
            except self._errors as error:
                self._fail(str(error))
                return
            if self._opener.eof:
                self._raw = before[len(piece) - len(self._opener.unused_data) :]  # the piece's rest, and all behind it
                self._opener = None

    def _skip_padding(self) -> bool:
        """Drops zeros between archives, as tapes have them; whether nothing else is left."""
        if self._raw[0]:
            return False
        rest = bytes(self._raw).lstrip(b"\0")
        self._raw = memoryview(rest)
        return not rest

    def _fail(self, why: str) -> None:
        self._failure = BadArchive(
            f"{self._name}: a damaged {self._kind} archive: {why}", hint="the lines before the damage were taken"
        )


def _opener_maker(kind: str) -> tuple[Callable[[], Opener], tuple[type[Exception], ...]]:
    if kind == "gzip":
        from zlib_ng import zlib_ng

        return lambda: zlib_ng.decompressobj(wbits=31), (zlib_ng.error,)  # type: ignore[return-value]
    import zstandard

    return (
        zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj,
        (zstandard.ZstdError,),
    )
