"""flowd.records: lines as dicts, compared with the plain oracle of the text form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_json import Integer, Malformed
from oracle_text import ALIASES, map_record

from flowd.records import decode_line, decode_lines

COLUMNS = ("-", "", "wep", "pub", "net", "a*", "[]", "[a,b]", "[a", "b]", "6", "007", "-0", "in")
SAMPLES = Path(__file__).parent / "data" / "samples"
LINE = "1 2 wep prod a-* [k=v,x=] pub - - - 10.0.0.1 - 6 80 - 1 1 0 out 7 11 1745 7041 allow"


def plain(value: Any) -> Any:
    """An oracle's value as Python's own."""
    if isinstance(value, Integer):
        return int(value.digits)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def expected(line: bytes) -> dict[str, Any]:
    try:
        record = map_record(line)
    except Malformed:
        return {"line": line.decode(errors="replace")}
    return {name: value for name, value in plain(record).items() if name not in ALIASES}


def test_text_line_has_the_json_names_and_values() -> None:
    assert decode_line(LINE.encode()) == {
        "start_time": 1,
        "end_time": 2,
        "source_type": "wep",
        "source_namespace": "prod",
        "source_name": "-",
        "source_name_aggr": "a-*",
        "source_labels": {"labels": ["k=v", "x="]},
        "dest_type": "net",
        "dest_namespace": "-",
        "dest_name": "-",
        "dest_name_aggr": "pub",
        "dest_labels": None,
        "source_ip": "10.0.0.1",
        "dest_ip": None,
        "proto": "tcp",
        "source_port": 80,
        "dest_port": None,
        "num_flows": 1,
        "num_flows_started": 1,
        "num_flows_completed": 0,
        "reporter": "src",
        "packets_in": 7,
        "packets_out": 11,
        "bytes_in": 1745,
        "bytes_out": 7041,
        "action": "allow",
    }


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*text*")), ids=lambda path: path.name)
def test_sample_decodes_as_the_oracle_does(sample: Path) -> None:
    for line in sample.read_bytes().splitlines()[:200]:
        if not line.lstrip().startswith(b"{"):
            assert decode_line(line) == expected(line)


@settings(deadline=None)
@given(st.lists(st.sampled_from(COLUMNS)))
def test_any_columns_decode_as_the_oracle_does(columns: list[str]) -> None:
    for count in (24, 27):
        line = " ".join((columns * count + ["-"] * count)[:count]).encode()
        if line.lstrip(b" "):
            assert decode_line(line) == expected(line)


@settings(deadline=None)
@given(st.binary())
def test_no_line_raises(line: bytes) -> None:
    assert isinstance(decode_line(line), dict)


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a":1,"a":{"b":null}}', {"a": {"b": None}}),
        (b'  {"a":"\xff"}\r', {"a": "\ufffd"}),
        (b'{"a":"x\ty"}', {"a": "x\ty"}),
        (b'{"a":', {"line": '{"a":'}),
        (b'{"a":' * 10_000, {"line": '{"a":' * 10_000}),
        (b'{"a":' + b"1" * 10_000 + b"}", None),
        (b"", {"line": ""}),
        (b"[1]", {"line": "[1]"}),
    ],
)
def test_json_line(line: bytes, record: dict[str, Any] | None) -> None:
    assert record is None or decode_line(line) == record
    assert isinstance(decode_line(line), dict)


def test_lines_decode_one_by_one() -> None:
    assert decode_lines(b'{"a":1}\n\n{"a":2}') == [{"a": 1}, {"line": ""}, {"a": 2}]
    assert decode_lines(b"") == []
