"""flowd.sinks.forward: lines as entries, chunks cut and named, turns by weight."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgpack
import pytest
from forward_receiver import read_entries
from hypothesis import given
from hypothesis import strategies as st

from flowd.client import Batch
from flowd.corpus import generate
from flowd.errors import FlowdError
from flowd.records import decode_lines
from flowd.sinks.forward.chunks import Track, cut_lines, name_chunk, pack_message
from flowd.sinks.forward.entries import EntryWriter, make_packable, read_time
from flowd.sinks.forward.servers import Server, next_turn, parse_server
from flowd.sinks.sink import Outgoing

BATCH_NS = 1_700_000_000_123_456_789
TEXT = b"1690000000 1690000300 wep ns a-* - net - pub - - 10.0.0.1 6 - 443 1 1 0 out 5 6 700 800 allow"


def write(lines: bytes, time_key: str = "") -> list[Any]:
    entries = bytearray()
    EntryWriter(time_key).write(lines, BATCH_NS, entries)
    return read_entries(bytes(entries))


def record_of(line: bytes) -> Any:
    ((_, record),) = write(line + b"\n")
    return record


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a":1,"b":-1.5,"c":[true,null,{"d":"\\u00e4"}]}', {"a": 1, "b": -1.5, "c": [True, None, {"d": "ä"}]}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b' {"a":1}\r', {"a": 1}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": (1 << 64) - 1, "b": -(1 << 63)}),
        (b'{"a":18446744073709551616}', {"a": "18446744073709551616"}),
        (b'{"a":[-9223372036854775809]}', {"a": ["-9223372036854775809"]}),
        (b'{"a":1e400}', {"a": float("inf")}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":"\\ud800"}', {"a": "\ufffd"}),
        (b'{"a":"\x01"}', {"a": "\x01"}),
        (b'{"a":1', {"message": '{"a":1'}),
        (b'{"line":"x"}', {"line": "x"}),
        (b"[1]", {"message": "[1]"}),
        (b"1", {"message": "1"}),
        (b"", {"message": ""}),
        (b"\xff", {"message": "\ufffd"}),
        (b"[" * 5000, {"message": "[" * 5000}),
    ],
)
def test_what_a_line_becomes(line: bytes, record: Any) -> None:
    assert record_of(line) == record


def test_a_line_of_columns_is_a_record() -> None:
    assert record_of(TEXT) == decode_lines(TEXT)[0]


@pytest.mark.parametrize("form", ["json", "dns", "text24", "text24-labels", "text27"])
def test_the_corpus_is_what_records_says(form: str) -> None:
    lines = b"".join(generate(form, 300, 1, "high"))
    writer, entries = EntryWriter(), bytearray()
    writer.write(lines, BATCH_NS, entries)
    assert [record for _, record in read_entries(bytes(entries))] == decode_lines(lines)
    assert writer.plain == 0


def test_lines_are_counted_that_are_no_records() -> None:
    writer = EntryWriter()
    writer.write(b'{"a":1}\nnothing\n\n{"a":"\xff"}\n' + TEXT, BATCH_NS, bytearray())
    assert writer.plain == 2


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b'{"b":"' + b"[" * 200 + b'"}' + b"}" * (depth - 1)


def test_nesting_that_receivers_do_not_take_is_a_message() -> None:
    assert record_of(nested(24)) == json.loads(nested(24))
    for depth in (25, 400, 5000):
        assert record_of(nested(depth)) == {"message": nested(depth).decode()}
    odd = nested(25).replace(b'"b"', b'"\xff"')
    assert record_of(odd) == {"message": odd.decode(errors="replace")}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=4))
def test_objects_arrive_as_they_are(records: list[dict[str, Any]]) -> None:
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    found = write(lines)
    assert [record for _, record in found] == [json.loads(json.dumps(record)) for record in records]
    assert [time for time, _ in found] == [[1_700_000_000, 123_456_789]] * len(records)


@given(st.binary().map(lambda raw: raw.replace(b"\n", b"")))
def test_any_line_is_one_entry(line: bytes) -> None:
    assert len(write(line + b"\n" + line)) == 1 + bool(line)


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1_700_000_000, (1_700_000_000, 0)),
        (1_700_000_000.5, (1_700_000_000, 500_000_000)),
        ("2023-11-14T22:13:20Z", (1_700_000_000, 0)),
        ("2023-11-14T22:13:20.248221984Z", (1_700_000_000, 248_221_984)),
        ("2023-11-14T23:43:20.5+01:30", (1_700_000_000, 500_000_000)),
        ("2023-11-14 22:13:20z", (1_700_000_000, 0)),
        ("2023-13-14T22:13:20Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2023-11-14T22:13:20", None),
        ("1700000000", None),
        (-1, None),
        (1 << 32, None),
        (float("nan"), None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_a_fields_value_as_a_time(value: Any, time: tuple[int, int] | None) -> None:
    assert read_time(value) == time


def test_a_time_that_is_missing_is_the_batchs() -> None:
    found = write(b'{"t":7}\n{}\nnothing\n{"t":7,"n":18446744073709551616}\n', "t")
    batch = [1_700_000_000, 123_456_789]
    assert [time for time, _ in found] == [[7, 0], batch, batch, [7, 0]]


@given(st.lists(st.binary(max_size=9).map(lambda raw: raw.replace(b"\n", b""))), st.integers(1, 12), st.booleans())
def test_pieces_are_whole_lines_and_lose_none(lines: list[bytes], most_bytes: int, is_open: bool) -> None:
    whole = b"".join(line + b"\n" for line in lines) + (b"open" if is_open else b"")
    pieces = [whole[begin:end] for begin, end in cut_lines(whole, most_bytes)]
    assert b"".join(pieces) == whole
    assert all(piece.endswith(b"\n") for piece in pieces[:-1])
    assert all(len(piece) <= most_bytes or b"\n" not in piece[:-1] for piece in pieces)


def test_a_chunks_name_is_that_of_its_place_and_lines() -> None:
    def name(sink: str = "s", epoch: bytes = b"e", seq: int = 1, begin: int = 0, lines: bytes = b"x\n") -> bytes:
        return name_chunk(sink, "flows", Batch("flows", epoch, seq, lines), begin, lines)

    others = [name("t"), name(epoch=b"f"), name(seq=2), name(begin=1), name(lines=b"y\n")]
    assert name() == name()
    assert len({name(), *others}) == 6
    assert all(len(one) == 24 for one in others)


class Cursor:
    """A feed that notes what is committed."""

    stream = "flows"

    def __init__(self) -> None:
        self.committed: list[int] = []

    async def next(self) -> None:
        return None

    def commit(self, batch: Outgoing) -> None:
        self.committed.append(batch.seq)


@given(st.permutations(range(6)))
def test_the_cursor_stands_behind_what_is_delivered_without_a_gap(order: list[int]) -> None:
    cursor = Cursor()
    track = Track(cursor)
    pending = [track.begin(Batch("flows", b"e", seq, b"x\n"), 1) for seq in range(6)]
    done: set[int] = set()
    for seq in order:
        pending[seq].left = 0
        done.add(seq)
        track.advance()
        wanted = next(n for n in range(7) if n not in done) - 1
        assert (cursor.committed or [-1])[-1] == wanted
    assert track.batches == 0


def test_a_message_is_packed_forward() -> None:
    message = msgpack.unpackb(pack_message("flows", bytearray(b"entries"), 2, b"id", False))
    assert message == ["flows", b"entries", {"chunk": "id", "size": 2}]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.5:24224", Server("10.0.0.5:24224", "10.0.0.5", 24224)),
        ("aggregator.logging", Server("aggregator.logging", "aggregator.logging", 24224)),
        ("[fd00::5]:1", Server("[fd00::5]:1", "fd00::5", 1)),
        ("unix:///run/f.sock", Server("unix:///run/f.sock", path="/run/f.sock")),
    ],
)
def test_addresses(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text", ["", ":1", "a:0", "a:65536", "fd00::5", "a b:1", "tcp://a:1", "unix://x", "unix:///" + "x" * 108]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(FlowdError):
        parse_server(text)


@dataclass
class Taker:
    name: int
    weight: int
    turn: int = 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4))
def test_turns_are_shared_by_weight(weights: list[int], rounds: int) -> None:
    takers = [Taker(name, weight) for name, weight in enumerate(weights)]
    taken = Counter(taker.name for _ in range(sum(weights) * rounds) if (taker := next_turn(takers)) is not None)
    assert [taken[name] for name in range(len(weights))] == [weight * rounds for weight in weights]
    assert next_turn([]) is None


columns = st.lists(
    st.sampled_from(
        [
            b"-",
            b"1",
            b"0",
            b"007",
            b"-5",
            b"6",
            b"17",
            b"pub",
            b"net",
            b"pvt",
            b"a-*",
            b"[a,b]",
            b"[a b]",
            b"[a",
            b"b]",
            b"[]",
            b"9" * 30,
        ]
    )
    | st.binary(max_size=4).map(lambda raw: raw.replace(b"\n", b"").replace(b" ", b"")),
    min_size=24,
    max_size=27,
)


@given(st.lists(columns, max_size=4), st.sampled_from(["", "start_time", "source_name", "bytes_in", "missing"]))
def test_lines_of_columns_are_what_records_says(lines: list[list[bytes]], time_key: str) -> None:
    whole = b"".join(b" ".join(line) + b"\n" for line in lines)
    wanted = [{"message": record["line"]} if record.keys() == {"line"} else record for record in decode_lines(whole)]
    found = write(whole + whole, time_key)
    assert [record for _, record in found] == make_packable(wanted) * 2
    for time, record in found:
        known = read_time(record.get(time_key))
        assert time == (list(known) if known is not None else [1_700_000_000, 123_456_789])
