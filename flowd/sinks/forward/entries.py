"""Lines as entries of the Forward protocol, `[time, record]` in msgpack: the core's packer, told what columns are.

What a line becomes stands in docs/forward-sink.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from flowd import _core
from flowd.filters.columns import COLUMNS24, COLUMNS27, Column

if TYPE_CHECKING:
    from typing_extensions import Buffer


class PackedLines(NamedTuple):
    """Entries one after the other, their number, and how many of them are messages: their lines were no records."""

    entries: bytes
    number: int
    plain: int


class EntryPacker:
    """Packs lines as entries. With a `time_key` an entry's time is what its record has there: seconds since 1970 as a
    number, or RFC 3339. Where that is missing or neither, and without a key, it is that of the call.

    Not for two threads at once.
    """

    __slots__ = ("_packer",)

    def __init__(self, time_key: str = "") -> None:
        self._packer = _core.EntryPacker(time_key.encode(), _lay_out(COLUMNS24), _lay_out(COLUMNS27))

    def pack(self, lines: Buffer, time_ns: int) -> PackedLines:
        """An entry for each line, without the GIL. `lines` has less than a GiB."""
        return PackedLines(*self._packer.pack(lines, time_ns))


def _lay_out(columns: dict[str, Column]) -> list[tuple[bytes, int, int, int]]:
    """The fields of a form's records, both forms' in the same order."""
    return [(name.encode(), *columns[name]) for name in COLUMNS27 if name in columns]
