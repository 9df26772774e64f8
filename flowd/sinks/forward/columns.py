"""Text lines of 24 and 27 columns as packed records, some three times as fast as by `flowd.records` and msgspec.

What the columns mean is said there alone: here it is remembered, packed, for the values that come again and again. A
line whose values are known is a few calls, none of them in Python for each column.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem, itemgetter
from typing import Any, NamedTuple

import msgpack
import msgspec

from flowd.records import COLUMNS_24, COLUMNS_27, map_column, map_end, split_outside_brackets

REMEMBERED_VALUES = 8192
"""Of a column; then it is begun anew."""
REMEMBERED_BYTES = 256
"""A longer value is packed each time."""
ENDS = ("source", "dest")
END_PARTS = ("type", "name", "name_aggr")
END_NAMES = frozenset(f"{end}_{part}" for end in ENDS for part in END_PARTS)
"""What depends on more than one column."""

_encode = msgspec.msgpack.Encoder().encode


class KnownValues(dict[bytes, bytes]):
    """A column's values as a record has them: each with the column's name, packed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._packed_name = _encode(name)

    def __missing__(self, column: bytes) -> bytes:
        packed = self._packed_name + _pack(map_column(self._name, column.decode()))
        if len(column) <= REMEMBERED_BYTES:
            if len(self) >= REMEMBERED_VALUES:
                self.clear()
            self[column] = packed
        return packed


class KnownEnds(dict[tuple[bytes, ...], bytes]):
    """Type and names of one end by their columns, as a record has them."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self._end = end

    def __missing__(self, columns: tuple[bytes, ...]) -> bytes:
        names = [f"{self._end}_{part}" for part in END_PARTS]
        raw = {name: column.decode() for name, column in zip(names, columns, strict=False)}
        packed = b"".join(_encode(name) + _encode(value) for name, value in map_end(self._end, raw).items())
        if sum(map(len, columns)) <= REMEMBERED_BYTES:
            if len(self) >= REMEMBERED_VALUES:
                self.clear()
            self[columns] = packed
        return packed


class Layout(NamedTuple):
    """A number of columns: how a record begins; those that stand alone, chosen and known; the same of each end."""

    begin: bytes
    choose: Callable[[list[bytes]], tuple[bytes, ...]]
    known: tuple[KnownValues, ...]
    ends: tuple[tuple[Callable[[list[bytes]], tuple[bytes, ...]], KnownEnds], ...]
    places: dict[str, int]


class ColumnWriter:
    """`pack` makes the record of a line of columns. For one thread at a time."""

    def __init__(self) -> None:
        self._layouts = {len(names): _lay_out(names) for names in (COLUMNS_24, COLUMNS_27)}

    def pack(self, line: bytes, time_key: str) -> tuple[bytes, Any] | None:
        """The packed record of a line, and what it has under `time_key`; None for a line that is better asked of
        `flowd.records`: one that may be JSON, is not ASCII, or has other columns."""
        if line[:1] in b"{ \t" or line[-1:] == b"\r" or not line.isascii() or time_key in END_NAMES:
            return None
        columns = line.split(b" ")
        layout = self._layouts.get(len(columns))
        if layout is None:
            columns = [column.encode() for column in split_outside_brackets(line.decode())]
            if len(columns) != len(COLUMNS_27):
                return None
            layout = self._layouts[len(columns)]
        parts = [layout.begin, *map(getitem, layout.known, layout.choose(columns))]
        for choose, known in layout.ends:
            parts.append(known[choose(columns)])
        place = layout.places.get(time_key) if time_key else None
        return b"".join(parts), None if place is None else map_column(time_key, columns[place].decode())


def _pack(value: Any) -> bytes:
    try:
        return _encode(value)
    except OverflowError:  # a number of more than 64 bits
        return _encode(str(value))


def _lay_out(names: tuple[str, ...]) -> Layout:
    single = [name for name in names if name not in END_NAMES]
    return Layout(
        msgpack.Packer().pack_map_header(len({*names, *END_NAMES})),
        itemgetter(*map(names.index, single)),
        tuple(map(KnownValues, single)),
        tuple((_choose_end(names, end), KnownEnds(end)) for end in ENDS),
        {name: names.index(name) for name in single},
    )


def _choose_end(names: tuple[str, ...], end: str) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    return itemgetter(*(names.index(name) for part in END_PARTS if (name := f"{end}_{part}") in names))
