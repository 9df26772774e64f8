"""Generated records and entries in msgpack, and the broken ones by name."""

from __future__ import annotations

import math
import struct

from hypothesis import strategies as st
from oracle_records import (
    EVENT_TIME,
    Entry,
    add_time,
    array,
    boolean,
    event_time,
    extension,
    float_time,
    integer,
    mapping,
    nil,
    real,
    text,
    whole_time,
)
from strategies import JSON_KEYS, STRINGS

integers = st.one_of(
    st.sampled_from(
        [0, 1, 80, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32, 2**63, 2**64 - 1, -1, -32, -33, -(2**63)]
    ),
    st.integers(-(2**63), 2**64 - 1),
)
widths = st.sampled_from([0, 0, 0, 1, 2, 4, 8])
floats = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, 80.0, 1e15, 1e16, 1e20, 1e-4, 1e-5, 5e-324, 1.7e308, 0.1, math.inf, -math.inf, math.nan]
    ),
    st.floats(),
)
ODD_TEXTS = [
    b"\xff", b"dev\xe3\x81", b"\xf0\x9f\x98dev", b"\xed\xa0\x80", b"\xc3\xa9\xff", b"\x00\x1f\x7f", b'"\\/',
    b"\xc0\x80",
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


times = st.one_of(
    st.builds(event_time, st.integers(1, 2**32 - 3), st.integers(0, 10**9 - 1), st.booleans()),
    st.builds(
        event_time, st.sampled_from([1, 1700000000]), st.sampled_from([0, 1, 500000000, 999999999]), st.booleans()
    ),
    st.builds(whole_time, st.one_of(st.integers(1, 2**33), st.integers(-(2**31), -3)), widths),
    st.builds(float_time, st.floats(1, 4e9)),
)


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
    return Entry(
        draw(st.sampled_from([b"\x92", b"\x92", b"\xdc\x00\x02", b"\xdd\0\0\0\x02"])) + bare, bare, line, "", time.ns
    )


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
