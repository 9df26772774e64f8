"""Records in msgpack, by plain Python: values packed in every way that msgpack has for them, each with the JSON text
that docs/forward.md promises. Knows nothing of flowd."""

from __future__ import annotations

import base64
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import oracle_ruby

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
    return Time(
        real(seconds, False).packed, oracle_ruby.float_text(seconds), whole * 10**9 + int((seconds - whole) * 1e9)
    )


@dataclass(frozen=True)
class Entry:
    """An entry's msgpack with its list's header and without, and what it is: a line, or the problem with it."""

    packed: bytes
    bare: bytes
    line: str
    problem: str
    ns: int


def pack(value: Any) -> bytes:
    """A plain Python value, in the forms that msgpack's libraries choose."""
    import msgpack

    packed: bytes = msgpack.packb(value)
    return packed
