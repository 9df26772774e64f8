"""Lines as entries of the Forward protocol: byte for byte what plain Python makes of them, whatever the lines are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from forward_receiver import read_entries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_entries import DEPTH_MOST, read_time, write_entries

from flowd import _core
from flowd.corpus import generate
from flowd.filters.columns import COLUMNS24, COLUMNS27
from flowd.records import COLUMNS_24, COLUMNS_27, decode_lines
from flowd.sinks.forward.entries import EntryPacker

SAMPLES = sorted((Path(__file__).parent / "data/samples").iterdir())
BATCH_NS = 1_700_000_000_123_456_789
BATCH_TIME = [1_700_000_000, 123_456_789]
TEXT = b"1690000000 1690000300 wep ns a-* - net - pub - - 10.0.0.1 6 - 443 1 1 0 out 5 6 700 800 allow"
TIME_KEYS = ("", "a", "t", "start_time", "source_name", "né")
PACKERS = {key: EntryPacker(key) for key in TIME_KEYS}

thorough = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


def write(lines: bytes, time_key: str = "") -> list[Any]:
    return read_entries(EntryPacker(time_key).pack(lines, BATCH_NS).entries)


def record_of(line: bytes) -> Any:
    ((_, record),) = write(line + b"\n")
    return record


def assert_as_the_oracle(lines: bytes, time_key: str = "") -> None:
    """Twice: the second time a packer has met what it keeps between calls."""
    wanted = write_entries(lines, BATCH_NS, time_key)
    for _ in range(2):
        packed = PACKERS[time_key].pack(lines, BATCH_NS)
        assert (packed.entries, packed.plain) == wanted
        assert packed.number == lines.count(b"\n") + (lines[-1:] not in (b"", b"\n"))


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a":1,"b":-1.5,"c":[true,null,{"d":"\\u00e4"}]}', {"a": 1, "b": -1.5, "c": [True, None, {"d": "ä"}]}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b' {"a":1}\r', {"a": 1}),
        (b'{ "a" :\t[ 1 , 2 ] , "b" : { } }', {"a": [1, 2], "b": {}}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": (1 << 64) - 1, "b": -(1 << 63)}),
        (b'{"a":18446744073709551616}', {"a": "18446744073709551616"}),
        (b'{"a":[-9223372036854775809]}', {"a": ["-9223372036854775809"]}),
        (b'{"a":' + b"7" * 5000 + b"}", {"a": "7" * 5000}),
        (b'{"a":1e400,"b":-1e-400}', {"a": float("inf"), "b": -0.0}),
        (b'{"a":Infinity,"b":-Infinity}', {"a": float("inf"), "b": float("-inf")}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud800"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\x01"}', {"a": "\x01"}),
        (b'{"a":1', {"message": '{"a":1'}),
        (b'{"a":1,}', {"message": '{"a":1,}'}),
        (b'{"a":01}', {"message": '{"a":01}'}),
        (b'{"a":1} x', {"message": '{"a":1} x'}),
        (b'{"a":"\\x"}', {"message": '{"a":"\\x"}'}),
        (b'{"line":"x"}', {"line": "x"}),
        (b"[1]", {"message": "[1]"}),
        (b"1", {"message": "1"}),
        (b"", {"message": ""}),
        (b" " * 23, {"message": " " * 23}),
        (b"\xff", {"message": "\ufffd"}),
        (b"[" * 5000, {"message": "[" * 5000}),
    ],
)
def test_what_a_line_becomes(line: bytes, record: Any) -> None:
    assert record_of(line) == record


def test_a_line_of_columns_is_a_record() -> None:
    assert record_of(TEXT) == decode_lines(TEXT)[0]
    assert list(record_of(TEXT)) == [name for name in COLUMNS_27 if name != "policies"]


def test_the_core_and_records_have_the_same_columns() -> None:
    assert sorted(COLUMNS24) == sorted({*COLUMNS_24, "source_name_aggr", "dest_name_aggr"})
    assert sorted(COLUMNS27, key=lambda name: COLUMNS27[name][0]) == list(COLUMNS_27)


@pytest.mark.parametrize("form", ["json", "dns", "text24", "text24-labels", "text27"])
def test_the_corpus_is_what_the_oracle_says(form: str) -> None:
    lines = b"".join(generate(form, 300, 1, "high"))
    for time_key in ("", "start_time"):
        assert_as_the_oracle(lines, time_key)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_the_samples_are_what_the_oracle_says(sample: Path) -> None:
    lines = sample.read_bytes()
    assert_as_the_oracle(lines, "start_time")
    for line in lines.split(b"\n")[:20]:  # alone, each ends where its buffer does
        assert_as_the_oracle(line)


def test_lines_are_counted_that_are_no_records() -> None:
    packed = EntryPacker().pack(b'{"a":1}\nnothing\n\n{"a":"\xff"}\n' + TEXT, BATCH_NS)
    assert (packed.number, packed.plain) == (5, 2)
    assert EntryPacker().pack(b"", BATCH_NS) == (b"", 0, 0)


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b'{"b":"' + b"[" * 200 + b'"}' + b"}" * (depth - 1)


def test_nesting_that_receivers_do_not_take_is_a_message() -> None:
    assert record_of(nested(DEPTH_MOST)) == json.loads(nested(DEPTH_MOST))
    for depth in (DEPTH_MOST + 1, 400, 5000):
        assert record_of(nested(depth)) == {"message": nested(depth).decode()}
    odd = nested(DEPTH_MOST + 1).replace(b'"b"', b'"\xff"')
    assert record_of(odd) == {"message": odd.decode(errors="replace")}
    replaced = b'{"a":' + b"[" * 30 + b"]" * 30 + b',"a":1}'
    assert record_of(replaced) == {"message": replaced.decode()}


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 31, 32, 33, 255, 256, 257, 65535, 65536])
def test_headers_are_the_smallest(n: int) -> None:
    text, plain, escaped = b"x" * n, b'{"a":"%b"}', b'{"a":"\\n%b"}'
    lists = b'{"a":[%b]}' % b",".join([b"1"] * n)
    maps = b'{"a":{%b}}' % b",".join(b'"%d":1' % i for i in range(n))
    for line in (plain % text, escaped % text, lists, maps, maps[5:-1], text):
        assert_as_the_oracle(line + b"\n")


def test_integers_are_the_smallest() -> None:
    edges = [sign * (1 << bits) + by for bits in range(67) for by in (-1, 0, 1) for sign in (1, -1)]
    edges += [10**digits + by for digits in range(18, 25) for by in (-1, 0, 1)]
    assert_as_the_oracle(b"".join(b'{"a":%d}\n' % edge for edge in edges))


def test_of_equal_keys_the_last_value_stands_in_the_first_ones_place() -> None:
    line = b'{"a":1,"b":{"c":[1],"d":2,"c":{"e":1,"e":2},"c":3},"a":{"x":1,"x":2},"\\u0061":4,"z":5,"b":6}'
    assert record_of(line) == {"a": 4, "b": 6, "z": 5}
    assert_as_the_oracle(line)
    assert_as_the_oracle(b'{"\\ud800":1,"x":2,"\xff":3,"\\udc00":4}')
    many = b",".join(b'"k%d":%d' % (i % 5000, i) for i in range(20_000))
    assert_as_the_oracle(b"{%b}\n" % many * 2)
    assert_as_the_oracle(b'{"a":[%b]}' % b",".join([b'{"a":1,"b":2,"a":3}'] * 5000))


scalars = st.one_of(
    st.none() | st.booleans() | st.integers(-(1 << 66), 1 << 66) | st.floats(),
    st.text() | st.text(min_size=28, max_size=40),
)
keys = st.sampled_from(["", "a", "b", "t", "start_time", "né"]) | st.text(max_size=3)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=18), max_leaves=20
)


@thorough
@given(st.lists(st.dictionaries(keys, values, max_size=18), max_size=4), st.sampled_from(TIME_KEYS), st.booleans())
def test_objects_arrive_as_they_are(records: list[dict[str, Any]], time_key: str, is_ascii: bool) -> None:
    lines = "".join(json.dumps(record, ensure_ascii=is_ascii) + "\n" for record in records)
    assert_as_the_oracle(lines.encode("utf-8", "surrogatepass"), time_key)


@thorough
@given(st.lists(st.tuples(keys, values), max_size=12), st.sampled_from(TIME_KEYS))
def test_objects_with_repeated_keys(pairs: list[tuple[str, Any]], time_key: str) -> None:
    members = ",".join(f"{json.dumps(key)} : {json.dumps(value, ensure_ascii=False)}" for key, value in pairs)
    line = f'{{{members},"in":{{{members}}}}}' if members else "{}"
    assert_as_the_oracle(line.encode("utf-8", "surrogatepass"), time_key)


pieces = st.sampled_from(
    [
        *(bytes([c]) for c in b'{}[]":,\\ \t\r\n-+.eE019'),
        *(b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity", b'"a":', b'"a"', b'{"t":', b"1e5", b"-0"),
        *(b"\\u0041", b"\\ud83d", b"\\ude00", b"\\u00", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"\xe2\x82", b"\x00"),
        *(b"18446744073709551616", b"1e999", b"4.9e-324", b"a" * 31, b"b" * 300),
    ]
)


@thorough
@given(st.lists(pieces, max_size=24).map(b"".join), st.sampled_from(TIME_KEYS))
def test_pieces_of_json(lines: bytes, time_key: str) -> None:
    assert_as_the_oracle(lines, time_key)
    assert_as_the_oracle(b'{"t":' + lines.replace(b"\n", b"") + b"}", time_key)


@thorough
@given(st.binary(), st.sampled_from(TIME_KEYS))
def test_bytes(lines: bytes, time_key: str) -> None:
    assert_as_the_oracle(lines, time_key)


FORMS = ("json", "dns", "text24-labels", "text27")
good_lines = [line + b"\n" for form in FORMS for line in b"".join(generate(form, 5, 2, "high")).splitlines()]


@thorough
@given(st.sampled_from(good_lines), st.data())
def test_damaged_lines(line: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line)))
    end = data.draw(st.integers(at, min(len(line), at + 8)))
    damage = data.draw(pieces | st.binary(max_size=3))
    damaged = line[:at] + damage + line[end:]
    assert_as_the_oracle(damaged)


columns = st.lists(
    st.sampled_from(
        [
            *(
                b"-",
                b"1",
                b"0",
                b"-0",
                b"007",
                b"-5",
                b"6",
                b"17",
                b"pub",
                b"net",
                b"pvt",
                b"wep",
                b"a-*",
                b"in",
                b"out",
            ),
            *(
                b"[a,b]",
                b"[a b]",
                b"[a",
                b"b]",
                b"[]",
                b"[,]",
                b"9" * 30,
                b"x" * 33,
                b'"',
                b"\\",
                b"2023-11-14T22:13:20Z",
            ),
        ]
    )
    | st.binary(max_size=4).map(lambda raw: raw.replace(b"\n", b"").replace(b" ", b"")),
    min_size=23,
    max_size=28,
)


@thorough
@given(st.lists(columns, max_size=4), st.sampled_from(TIME_KEYS), st.sampled_from([b"\n", b"\r\n"]))
def test_lines_of_columns(lines: list[list[bytes]], time_key: str, ending: bytes) -> None:
    assert_as_the_oracle(b"".join(b" ".join(line) + ending for line in lines), time_key)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1_700_000_000, (1_700_000_000, 0)),
        (1_700_000_000.5, (1_700_000_000, 500_000_000)),
        ("2023-11-14T22:13:20Z", (1_700_000_000, 0)),
        ("2023-11-14T22:13:20.248221984Z", (1_700_000_000, 248_221_984)),
        ("2023-11-14T22:13:20.2482219849Z", (1_700_000_000, 248_221_984)),
        ("2023-11-14T23:43:20.5+01:30", (1_700_000_000, 500_000_000)),
        ("2023-11-14T20:43:20-0130", (1_700_000_000, 0)),
        ("2023-11-14 22:13:20z", (1_700_000_000, 0)),
        ("2024-02-29T00:00:00Z", (1_709_164_800, 0)),
        ("2000-02-29T00:00:00Z", (951_782_400, 0)),
        ("2100-02-29T00:00:00Z", None),
        ("2106-02-07T06:28:15Z", ((1 << 32) - 1, 0)),
        ("2106-02-07T06:28:16Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("1969-12-31T23:59:59-00:01", (59, 0)),
        ("0000-01-01T00:00:00Z", None),
        ("2023-13-14T22:13:20Z", None),
        ("2023-11-31T22:13:20Z", None),
        ("2023-11-14T24:00:00Z", None),
        ("2023-11-14T22:13:60Z", None),
        ("2023-11-14T22:13:20.Z", None),
        ("2023-11-14T22:13:20", None),
        ("2023-11-14T22:13:20Zz", None),
        ("1700000000", None),
        ("", None),
        (-1, None),
        ((1 << 32) - 1, ((1 << 32) - 1, 0)),
        (1 << 32, None),
        (1 << 70, None),
        (float("nan"), None),
        (-0.0, (0, 0)),
        (4294967295.5, None),
        (True, None),
        (None, None),
        ({}, None),
        ([7], None),
    ],
)
def test_a_fields_value_as_a_time(value: Any, time: tuple[int, int] | None) -> None:
    assert read_time(value) == time
    line = json.dumps({"s": {"t": 5}, "t": 7, "n": 1, "u": {"t": 6}}).replace("7", json.dumps(value))
    ((found, _),) = write(line.encode(), "t")
    assert found == (BATCH_TIME if time is None else list(time))


LIKE_TIMES = re.compile(
    r"(19[67]|20[0-3]|21[01])\d-[01]\d-[0-3]\d[Tt ][0-2]\d:[0-6]\d:[0-6]\d(\.\d{0,11})?(Z|z|[+-]\d\d:?\d\d|)", re.ASCII
)


@thorough
@given(st.from_regex(LIKE_TIMES, fullmatch=True))
def test_texts_that_look_like_times(text: str) -> None:
    ((found, _),) = write(json.dumps({"t": text}).encode(), "t")
    assert found == list(read_time(text) or BATCH_TIME)


def test_a_time_that_is_missing_is_the_batchs() -> None:
    found = write(b'{"t":7}\n{}\nnothing\n{"t":7,"n":18446744073709551616}\n{"t":7,"n":\n{"t":7,"t":[]}\n', "t")
    assert [time for time, _ in found] == [[7, 0], BATCH_TIME, BATCH_TIME, [7, 0], BATCH_TIME, BATCH_TIME]


@pytest.mark.parametrize(
    ("time_ns", "time"), [(-1, [0, 999_999_999]), (0, [0, 0]), ((1 << 62), [(1 << 32) - 1, (1 << 62) % 10**9])]
)
def test_the_batchs_time_is_one_that_an_entry_can_have(time_ns: int, time: list[int]) -> None:
    assert read_entries(EntryPacker().pack(b"{}", time_ns).entries) == [[time, {}]]


def test_hostile_lines_take_no_more_than_their_length() -> None:
    """Each of these is quadratic for who is not careful; a megabyte of them must be packed at once."""
    deep = b'{"a":' * 23 + b"{" + b",".join(b'"%d":1' % i for i in range(60_000)) + b"}" + b"}" * 23
    hostile = [
        b"{" + b",".join(b'"%d":1' % i for i in range(80_000)) + b"}",
        b"{" + b",".join(b'"%d":1' % (i % 40_000) for i in range(80_000)) + b"}",
        b'{"a":[' + b",".join([b"{}"] * 300_000) + b"]}",
        b'{"a":"' + b"\\" * 1_000_000 + b'"}',
        b'{"a":' + b"1" * 1_000_000 + b"}",
        b'{"a":0.' + b"1" * 1_000_000 + b"e-9}",
        b"\xff" * 1_000_000,
        deep,
    ]
    for line in hostile:
        packed = EntryPacker().pack(line, BATCH_NS)
        assert packed.number == 1
        assert len(packed.entries) <= 3 * len(line) + 64
        assert packed.entries == write_entries(line, BATCH_NS)[0] or len(line) > 900_000


def test_what_the_core_refuses() -> None:
    for column in ((b"a", 24, -1, 0), (b"a", -1, -1, 0), (b"a", 0, 23, 0), (b"a" * 32, 0, -1, 0)):
        with pytest.raises(ValueError, match=r"^a+: "):
            _core.EntryPacker(b"", [column], [])
    with pytest.raises(ValueError, match="one too many"):
        _core.EntryPacker(b"", [], [(b"a", 0, -1, 0)] * 33)
    with pytest.raises(TypeError):
        EntryPacker().pack("text", 0)  # type: ignore[arg-type]


def test_every_entry_ends_where_the_next_begins() -> None:
    lines = b"".join(good_lines)
    alone = [EntryPacker().pack(line, BATCH_NS).entries for line in good_lines]
    assert EntryPacker().pack(memoryview(lines), BATCH_NS).entries == b"".join(alone)
    assert [msgspec.msgpack.decode(one)[1] for one in alone] == decode_lines(lines)
