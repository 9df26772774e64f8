"""Records in msgpack, by plain Python: values as trees, packed in every way that msgpack has for them, and written as the
JSON lines that docs/forward.md promises. Knows nothing of flowd."""

from __future__ import annotations

import base64
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import oracle_ruby
from hypothesis import strategies as st
from strategies import JSON_KEYS, STRINGS

EVENT_TIME = 0


@dataclass(frozen=True)
class Packed:
    """A value's msgpack, and its JSON text: None where it cannot be a key."""

    packed: bytes
    text: str
    key: str | None


def quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def nil() -> Packed:
    return Packed(b"\xc0", "null", '"null"')


def boolean(value: bool) -> Packed:
    word = "true" if value else "false"
    return Packed(b"\xc3" if value else b"\xc2", word, f'"{word}"')


def integer(value: int, width: int) -> Packed:
    """In the narrowest form of at least so many bytes that can hold it; 0 bytes are the one byte of a small number."""
    forms = [(0, b"", "B"), (1, b"\xcc", ">B"), (2, b"\xcd", ">H"), (4, b"\xce", ">I"), (8, b"\xcf", ">Q")]
    signed = [(0, b"", "b"), (1, b"\xd0", ">b"), (2, b"\xd1", ">h"), (4, b"\xd2", ">i"), (8, b"\xd3", ">q")]
    for least, first, form in signed if value < 0 else forms:
        if least < width or (least == 0 and not -32 <= value < 128):
            continue
        try:
            return Packed(first + struct.pack(form, value), str(value), f'"{value}"')
        except struct.error:
            continue
    raise AssertionError(f"{value} does not fit")


def real(value: float, is_single: bool) -> Packed:
    if is_single:
        packed = b"\xca" + struct.pack(">f", value)
        value = struct.unpack(">f", packed[1:])[0]
    else:
        packed = b"\xcb" + struct.pack(">d", value)
    text = "NaN" if math.isnan(value) else oracle_ruby.float_text(value)
    return Packed(packed, text if math.isfinite(value) else f'"{text}"', f'"{text}"')


def text(value: bytes, width: int, is_binary: bool) -> Packed:
    n = len(value)
    if is_binary:
        heads = [(1, b"\xc4", ">B", 255), (2, b"\xc5", ">H", 65535), (4, b"\xc6", ">I", 2**32 - 1)]
    else:
        heads = [(1, b"\xd9", ">B", 255), (2, b"\xda", ">H", 65535), (4, b"\xdb", ">I", 2**32 - 1)]
    written = quote(oracle_ruby.scrub(value).decode())
    if not is_binary and width == 0 and n < 32:
        return Packed(bytes([0xA0 | n]) + value, written, written)
    first, form = next((first, form) for least, first, form, most in heads if least >= width and n <= most)
    return Packed(first + struct.pack(form, n) + value, written, written)


def extension(kind: int, data: bytes, is_fixed: bool) -> Packed:
    fixed = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}
    head = fixed[len(data)] if is_fixed and len(data) in fixed else b"\xc7" + bytes([len(data)])
    packed = head + struct.pack("b", kind) + data
    if kind == EVENT_TIME and len(data) == 8:
        seconds = struct.unpack(">I", data[:4])[0]
        return Packed(packed, str(seconds), f'"{seconds}"')
    return Packed(packed, f'{{"type":{kind},"data":"{base64.b64encode(data).decode()}"}}', None)


def array(parts: list[Packed], width: int = 0) -> Packed:
    head = bytes([0x90 | len(parts)]) if width == 0 and len(parts) < 16 else _long_head(b"\xdc\xdd", len(parts), width)
    return Packed(head + b"".join(part.packed for part in parts), f"[{','.join(part.text for part in parts)}]", None)


def mapping(pairs: list[tuple[Packed, Packed]], width: int = 0) -> Packed:
    """Its text is wrong where a key has none: `has_bad_key` says so."""
    head = bytes([0x80 | len(pairs)]) if width == 0 and len(pairs) < 16 else _long_head(b"\xde\xdf", len(pairs), width)
    packed = head + b"".join(key.packed + value.packed for key, value in pairs)
    return Packed(packed, "{" + ",".join(f"{key.key}:{value.text}" for key, value in pairs) + "}", None)


def _long_head(firsts: bytes, n: int, width: int) -> bytes:
    return firsts[:1] + struct.pack(">H", n) if width <= 1 else firsts[1:] + struct.pack(">I", n)


def add_time(record: str, keys: list[str], time_key: str | None, time: str) -> str:
    """The record's text with its time under this key, unless it is there already."""
    if time_key is None or quote(time_key) in keys:
        return record
    member = f"{quote(time_key)}:{time}"
    return record[:-1] + ("," if len(record) > 2 else "") + member + "}"


integers = st.one_of(
    st.sampled_from([0, 1, 80, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32, 2**63, 2**64 - 1, -1, -32, -33, -(2**63)]),
    st.integers(-(2**63), 2**64 - 1),
)
widths = st.sampled_from([0, 0, 0, 1, 2, 4, 8])
floats = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 80.0, 1e15, 1e16, 1e20, 1e-4, 1e-5, 5e-324, 1.7e308, 0.1, math.inf, -math.inf, math.nan]),
    st.floats(),
)
ODD_TEXTS = [
    b"\xff", b"dev\xe3\x81", b"\xf0\x9f\x98dev", b"\xed\xa0\x80", b"\xc3\xa9\xff", b"\x00\x1f\x7f", b'"\\/', b"\xc0\x80",
    b"a" * 15 + b'"', b"a" * 16 + b"\xff", b"a" * 17 + b"\n" + b"b" * 40, "é".encode() * 20, b"\x1f" * 40, b"x" * 300,
]  # fmt: skip
raw_texts = st.one_of(
    st.sampled_from([value.encode() for value in STRINGS]), st.sampled_from(ODD_TEXTS), st.binary(max_size=40)
)
texts = st.builds(text, raw_texts, st.sampled_from([0, 0, 0, 1, 2, 4]), st.sampled_from([False, False, False, True]))
extensions = st.builds(
    extension,
    st.sampled_from([EVENT_TIME, 1, -1, 127, -128]),
    st.one_of(st.binary(max_size=20), st.binary(min_size=8, max_size=8)),
    st.booleans(),
)
singles = st.floats(width=32)
scalars = st.one_of(
    texts,
    texts,
    st.builds(integer, integers, widths),
    st.builds(real, floats, st.just(False)),
    st.builds(real, singles, st.just(True)),
    st.builds(boolean, st.booleans()),
    st.builds(nil),
    extensions,
)
keys = st.one_of(
    st.builds(text, st.sampled_from([key.encode() for key in [*JSON_KEYS, "c", "time"]]), st.just(0), st.just(False)),
    st.builds(text, st.sampled_from([key.encode() for key in [*JSON_KEYS, "c", "time"]]), st.just(0), st.just(False)),
    scalars.filter(lambda value: value.key is not None),
)
containers = st.sampled_from([0, 0, 0, 1, 2])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(array, st.lists(inner, max_size=4), containers),
        st.builds(mapping, st.lists(st.tuples(keys, inner), max_size=4), containers),
    ),
    max_leaves=8,
)
record_pairs = st.lists(st.tuples(keys, values), max_size=6)


@dataclass(frozen=True)
class Time:
    """An entry's time: its msgpack, what is written of it, its nanoseconds."""

    packed: bytes
    text: str
    ns: int


def event_time(seconds: int, ns: int, is_fixed: bool) -> Time:
    packed = extension(EVENT_TIME, struct.pack(">II", seconds, ns), is_fixed).packed
    fraction = f"{ns:09}".rstrip("0") or "0"
    return Time(packed, f"{seconds}.{fraction}", seconds * 10**9 + ns)


def whole_time(seconds: int, width: int) -> Time:
    return Time(integer(seconds, width).packed, f"{seconds}.0", seconds * 10**9)


def float_time(seconds: float) -> Time:
    whole = math.floor(seconds)
    return Time(real(seconds, False).packed, oracle_ruby.float_text(seconds), whole * 10**9 + int((seconds - whole) * 1e9))


times = st.one_of(
    st.builds(event_time, st.integers(1, 2**32 - 3), st.integers(0, 10**9 - 1), st.booleans()),
    st.builds(event_time, st.sampled_from([1, 1700000000]), st.sampled_from([0, 1, 500000000, 999999999]), st.booleans()),
    st.builds(whole_time, st.one_of(st.integers(1, 2**33), st.integers(-(2**31), -3)), widths),
    st.builds(float_time, st.floats(1, 4e9)),
)


@dataclass(frozen=True)
class Entry:
    """An entry's msgpack with its list's header and without, and what it is: a line, or the problem with it."""

    packed: bytes
    bare: bytes
    line: str
    problem: str
    ns: int


@st.composite
def entries(draw: st.DrawFn, time_key: str | None) -> Entry:
    """An entry of a record, in fluentd's form or in Fluent Bit's newer one."""
    time = draw(times)
    pairs = draw(record_pairs)
    record = mapping(pairs, draw(containers))
    head = time.packed
    if draw(st.integers(0, 3)) == 0:
        metadata = draw(st.one_of(st.just(b"\x80"), values.map(lambda value: value.packed)))
        head = b"\x92" + time.packed + metadata
    keys_text = [str(key.key) for key, _ in pairs]
    line = add_time(record.text, keys_text, time_key, time.text) + "\n"
    bare = head + record.packed
    return Entry(draw(st.sampled_from([b"\x92", b"\x92", b"\xdc\x00\x02", b"\xdd\0\0\0\x02"])) + bare, bare, line, "", time.ns)


def broken(packed: bytes, problem: str) -> Entry:
    return Entry(packed, packed, "", problem, 0)


A_TIME = whole_time(1700000000, 0).packed
A_KEY = text(b"a", 0, False).packed
BROKEN = [
    broken(b"\x01", "shape"),
    broken(b"\xc0", "shape"),
    broken(b"\x90", "shape"),
    broken(b"\x91" + A_TIME, "shape"),
    broken(b"\x93" + A_TIME + b"\x80\x80", "shape"),
    broken(b"\x82\x01\x02\x03\x04", "shape"),
    broken(b"\xa3abc", "shape"),
    broken(b"\x92\x91" + A_TIME + b"\x80", "shape"),
    broken(b"\x92\xa1x\x80", "time"),
    broken(b"\x92\xc3\x80", "time"),
    broken(b"\x92\x80\x80", "time"),
    broken(b"\x92" + real(math.nan, False).packed + b"\x80", "time"),
    broken(b"\x92" + real(-math.inf, False).packed + b"\x80", "time"),
    broken(b"\x92" + real(1e19, False).packed + b"\x80", "time"),
    broken(b"\x92" + integer(2**63, 8).packed + b"\x80", "time"),
    broken(b"\x92" + extension(1, bytes(8), True).packed + b"\x80", "time"),
    broken(b"\x92" + extension(0, bytes(4), True).packed + b"\x80", "time"),
    broken(b"\x92" + extension(0, struct.pack(">II", 5, 10**9), True).packed + b"\x80", "time"),
    broken(b"\x92" + A_TIME + b"\xc0", "record"),
    broken(b"\x92" + A_TIME + b"\x90", "record"),
    broken(b"\x92" + A_TIME + b"\xa2{}", "record"),
    broken(b"\x92\x92" + A_TIME + b"\x80\x01", "record"),
    broken(b"\x92" + A_TIME + b"\x81\x90\x01", "key"),
    broken(b"\x92" + A_TIME + b"\x81\x81\x01\x02\x01", "key"),
    broken(b"\x92" + A_TIME + b"\x81\xd4\x05\x00\x01", "key"),
    broken(b"\x92" + A_TIME + b"\x81" + A_KEY + b"\x92\x01\x81\x90\x01", "key"),
    broken(b"\x92" + A_TIME + b"\x81" + A_KEY + b"\x91" * 127 + b"\x90", "depth"),
    broken(b"\x92" + A_TIME + (b"\x81" + A_KEY) * 128 + b"\x80", "depth"),
]
MARKERS = [
    b"\x92\x92\xff\x80\x80",
    b"\x92\x92\xfe\x80\x81" + A_KEY + b"\x01",
    b"\x92\x92" + extension(0, struct.pack(">II", 2**32 - 1, 0), True).packed + b"\x80\x80",
    b"\x92\x92" + extension(0, struct.pack(">II", 2**32 - 2, 0), False).packed + b"\x81" + A_KEY + b"\x01\x80",
]


def pack(value: Any) -> bytes:
    """A plain Python value, in the forms that msgpack's libraries choose."""
    import msgpack

    packed: bytes = msgpack.packb(value)
    return packed
