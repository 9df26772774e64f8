"""Arrow's rows as plain Python says them, and generated tables: what the tests of tables and Parquet stand on."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXTS = ["dev", "my-dev", "web", "", '"', "\\", "a\nb", "\x00\x1f\x7f", "é", "日本", "😀", "1", "null", "/", "\r\t"]
BYTES = [text.encode() for text in TEXTS] + [b"\xff", b"dev\xff", b"\xed\xa0\x80"]
NAMES = ["a", "b", "a.b", "c d", "é", '"', "\\", "x\ny", ""]


class Duration(int):
    """A duration's number of units."""


def plain(value: Any, kind: pa.DataType) -> Any:
    """A value as the JSON value that it means: written from docs/archives.md, one value at a time."""
    types = pa.types
    if value is None:
        return None
    if types.is_dictionary(kind):
        return plain(value, kind.value_type)
    if types.is_struct(kind):
        return {field.name: plain(value[field.name], field.type) for field in kind.fields}
    if types.is_map(kind):
        return {
            key if isinstance(key, str) else json.dumps(plain(key, kind.key_type)).replace('"', ""): plain(
                held, kind.item_type
            )
            for key, held in value
        }
    if isinstance(value, list):
        return [plain(item, kind.value_type) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, float):
        return _plain_float(value, kind) if math.isfinite(value) else None
    if isinstance(value, datetime):
        text = value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
        text = text.removesuffix("+00:00")
        whole, _, fraction = text.partition(".")
        digits = {"s": 0, "ms": 3, "us": 6}[kind.unit]
        fraction = fraction.ljust(6, "0")[:digits]
        return whole + ("." + fraction if digits else "") + ("Z" if kind.tz else "")
    if isinstance(value, time):
        return value.strftime("%H:%M:%S") + ("." + f"{value.microsecond:06}" if kind.unit == "us" else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(milliseconds=1)
    return value


def _plain_float(value: float, kind: pa.DataType) -> float:
    """A float as its shortest decimal digits say it in its own width."""
    if pa.types.is_float64(kind):
        return value
    for digits in range(1, 10):
        shown = float(f"{value:.{digits}g}")
        if struct.pack("f", shown) == struct.pack("f", value):
            return shown
    raise AssertionError(value)


def plain_row(row: dict[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A row as the record that it means."""
    return {field.name: plain(row[field.name], field.type) for field in schema}


def plain_line(row: dict[str, Any], schema: pa.Schema) -> bytes:
    """A row as Python writes it in JSON."""
    text = json.dumps(plain_row(row, schema), ensure_ascii=False, default=_write_decimal)
    return text.encode("utf-8", "surrogateescape") + b"\n"


def _write_decimal(value: Decimal) -> float:
    return float(value)


DAYS = (datetime(1970, 1, 2), datetime(2100, 1, 1))
SIMPLE: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.sampled_from(TEXTS)),
    (pa.string(), st.sampled_from(TEXTS)),
    (pa.large_string(), st.sampled_from(TEXTS)),
    (pa.string_view(), st.sampled_from(TEXTS)),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(TEXTS)),
    (pa.binary(), st.sampled_from(BYTES)),
    (pa.binary_view(), st.sampled_from(BYTES)),
    (pa.binary(3), st.sampled_from([b"dev", b"a\n\xff"])),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.sampled_from([0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)])),
    (pa.uint64(), st.sampled_from([0, 80, 2**64 - 1])),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.decimal128(9, 2), st.decimals(-9999, 9999, places=2)),
    (pa.timestamp("us"), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))),
    (pa.timestamp("s"), st.datetimes(*DAYS).map(lambda t: t.replace(microsecond=0))),
    (pa.timestamp("us", "Europe/Berlin"), st.datetimes(*DAYS, timezones=st.just(UTC))),
    (pa.date32(), st.dates()),
    (pa.time32("s"), st.times().map(lambda t: t.replace(microsecond=0))),
    (pa.time64("us"), st.times()),
    (pa.duration("ms"), st.integers(-10_000, 10_000).map(lambda ms: timedelta(milliseconds=ms))),
    (pa.null(), st.none()),
]  # fmt: skip


@st.composite
def kinds(draw: st.DrawFn, depth: int = 2) -> tuple[pa.DataType, st.SearchStrategy[Any]]:
    """A type, and its values (null among them)."""
    shape = draw(st.integers(0, 9)) if depth else 0
    if shape < 6:
        kind, values = draw(st.sampled_from(SIMPLE))
        return kind, st.none() | values
    inner, items = draw(kinds(depth - 1))
    if shape == 6:
        make = draw(st.sampled_from([pa.list_, pa.large_list, pa.list_view, lambda of: pa.list_(of, 2)]))
        kind = make(inner)
        size = {"min_size": 2, "max_size": 2} if pa.types.is_fixed_size_list(kind) else {"max_size": 3}
        return kind, st.none() | st.lists(items, **size)
    if shape == 7:
        key, keys = draw(st.sampled_from([(pa.string(), st.sampled_from(TEXTS)), (pa.int8(), st.integers(-9, 9))]))
        return pa.map_(key, inner), st.none() | st.lists(st.tuples(keys, items), max_size=3)
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    held = [(inner, items), *(draw(kinds(depth - 1)) for _ in names[1:])][: len(names)]
    kind = pa.struct([pa.field(name, of) for name, (of, _) in zip(names, held, strict=True)])
    record = st.fixed_dictionaries({name: of for name, (_, of) in zip(names, held, strict=True)})
    return kind, st.none() | record


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Rows of a generated schema, as they lie behind others in memory."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    rows = draw(st.integers(0, 6))
    columns = []
    for _ in names:
        kind, values = draw(kinds())
        columns.append(pa.array([draw(values) for _ in range(rows + 1)], kind))
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, names=names).slice(1)
