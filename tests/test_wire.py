"""flowd.wire: what is a message, and that nothing else is taken for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from flowd.errors import FlowdError, WireError
from flowd.wire import (
    FLAG_ZSTD,
    Ack,
    Data,
    Hello,
    Live,
    Reply,
    Request,
    Type,
    checksum,
    encode,
    open_payload,
    parse,
)
from flowd.wire.headers import HEADERS
from flowd.wire.limits import HEADER_MAX_BYTES, PAYLOAD_MAX_BYTES, SEQUENCE_MAX, is_stream_name
from flowd.wire.sockets import DO_NOT_WAIT, Wake, check_endpoint, has_message, send_frames

VECTORS = json.loads((Path(__file__).parent / "data" / "wire-vectors.json").read_text())["vectors"]
ID = bytes(range(16))
NAMES = ("v", "pid", "inc", "first", "s", "st", "n", "crc", "t", "e", "q", "k", "g", "id", "op", "ok", "cb", "cm")
PACKED = zstandard.ZstdCompressor().compress(b"a line\n" * 1000)
HELLO = {"v": [1], "pid": ID, "inc": 1}


def head(type_: int, version: int = 1, flags: int = 0, reserved: bytes = b"\0\0") -> bytes:
    return b"FLW" + bytes([version, type_, flags]) + reserved


def reason_of(frames: list[Any]) -> str:
    with pytest.raises(WireError) as caught:
        parse(frames)
    return caught.value.reason


def unhex(value: Any) -> Any:
    """A vector's header: `{"hex": …}` stands for bytes."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else {k: unhex(v) for k, v in value.items()}
    return [unhex(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vector_reads_and_writes_as_published(vector: dict[str, Any]) -> None:
    frames = [bytes.fromhex(frame) for frame in vector["frames"]]
    message = parse(frames)
    assert message.header.type.name == vector["type"]
    assert msgpack.unpackb(frames[1]) == unhex(vector["header"])
    payload = frames[2] if len(frames) == 3 else None
    assert encode(message.header, payload, flags=message.flags) == frames
    if vector.get("lines") is not None:
        assert bytes(open_payload(message.flags, message.payload)) == vector["lines"].encode()


def test_vectors_cover_every_type() -> None:
    assert {vector["type"] for vector in VECTORS} == {type_.name for type_ in HEADERS}


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "frames"),
        ([b""], "frames"),
        ([b"x"] * 4, "frames"),
        ([b"x"] * 1000, "frames"),
        ([b"", b""], "magic"),
        ([b"FLX\1\1\0\0\0", b"\x80"], "magic"),
        ([b"FLW\1\1\0\0", b"\x80"], "magic"),
        ([b"FLW\1\1\0\0\0\0", b"\x80"], "magic"),
        ([b"GET / HTTP/1.1\r\n", b"\r\n"], "magic"),
        ([head(1, version=2), b"\x80"], "version"),
        ([head(0), b"\x80"], "type"),
        ([head(31), b"\x80"], "type"),
        ([head(44), b"\x80"], "type"),
        ([head(255), b"\x80"], "type"),
        ([head(3, flags=2), b"\x80"], "flags"),
        ([head(1, flags=1), b"\x80"], "flags"),
        ([head(1, reserved=b"\0\1"), b"\x80"], "flags"),
        ([head(7), b"\x80", b""], "payload"),
        ([head(7), b"\x80" + bytes(HEADER_MAX_BYTES)], "header_size"),
        ([head(1), b""], "header"),
        ([head(1), b"\x80"], "header"),
        ([head(1), b"\x93\1\2\3"], "header"),
        ([head(1), b"\xc1"], "header"),
        ([head(7), b"\x81\1\1"], "header"),
        ([head(7), b"\x80\x80"], "header"),
        ([head(7), b"\xdf\xff\xff\xff\xff"], "header"),
        ([head(7), b"\x81\xa1x\xdd\xff\xff\xff\xff"], "header"),
        ([head(1), b"\x81\xa1x" + b"\x91" * 4000], "header"),
        ([head(64), b"\x81\xa1x" + b"\x91" * 500_000], "header"),
        ([head(64), b"\x93\1\2\3"], "header"),
        ([head(64), b"\xdf\xff\xff\xff\xff"], "header"),
        ([head(64), msgpack.packb({"id": 1, "op": "x", 5: 6})], "header"),
        ([head(64), msgpack.packb({"id": 1, "op": "x", "y": msgpack.ExtType(5, b"z")})], "header"),
        ([head(64), msgpack.packb({"id": [1], "op": "x"})], "header"),
        ([head(64), msgpack.packb({"op": "x"})], "header"),
        ([head(1), msgpack.packb({**HELLO, "pid": b"short"})], "header"),
        ([head(1), msgpack.packb({**HELLO, "pid": "0123456789abcdef"})], "header"),
        ([head(1), msgpack.packb({**HELLO, "v": 1})], "header"),
        ([head(1), msgpack.packb({**HELLO, "first": -1})], "header"),
        ([head(1), msgpack.packb({**HELLO, "first": 1.0})], "header"),
        ([head(3), msgpack.packb({"s": "1", "st": "flows", "n": 1, "crc": 0}), b""], "header"),
        ([head(3), msgpack.packb({"s": 1, "st": b"flows", "n": 1, "crc": 0}), b""], "header"),
    ],
)
def test_what_is_no_message_has_a_reason(frames: list[bytes], reason: str) -> None:
    assert reason_of(frames) == reason


@settings(deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=5))
def test_random_frames_raise_nothing_but_wire_errors(frames: list[bytes]) -> None:
    assert reason_of(frames)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(HEADERS)),
    st.one_of(
        st.binary(max_size=64),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=3)
            ),
        ).map(msgpack.packb),
        st.dictionaries(
            st.sampled_from(
                [
                    "v",
                    "pid",
                    "inc",
                    "first",
                    "s",
                    "st",
                    "n",
                    "crc",
                    "t",
                    "e",
                    "q",
                    "k",
                    "g",
                    "id",
                    "op",
                    "ok",
                    "cb",
                    "cm",
                ]
            ),
            st.integers(-5, 2**64 - 1) | st.binary(max_size=17) | st.text(max_size=3) | st.lists(st.integers(0, 3)),
        ).map(msgpack.packb),
    ),
    st.none() | st.binary(max_size=8),
)
def test_random_headers_parse_or_raise_wire_errors(type_: Type, packed: bytes, payload: bytes | None) -> None:
    frames = [head(type_), packed] + ([] if payload is None else [payload])
    try:
        message = parse(frames)
    except WireError:
        return
    assert parse(encode(message.header, payload)) == message


def test_unknown_keys_are_ignored() -> None:
    known = Hello([1, 7], ID, 3, 9)
    packed = msgpack.packb({"v": [1, 7], "pid": ID, "inc": 3, "first": 9, "later": {"x": [1, None, {"y": 2.5}]}})
    assert parse([head(1), packed]).header == known


def test_integers_reach_to_the_last_bit() -> None:
    header = Ack(SEQUENCE_MAX, SEQUENCE_MAX, SEQUENCE_MAX)
    assert parse(encode(header)).header == header


def test_request_and_reply_carry_any_arguments() -> None:
    for header in (Request(7, "explain", {"line": b"x", "more": [1, {"a": None}]}), Reply("a", True, {"state": "ok"})):
        assert parse(encode(header)).header == header


def test_large_header_is_for_administration_only() -> None:
    big = {"text": "x" * 100_000}
    assert parse(encode(Request(1, "filters", big))).header == Request(1, "filters", big)
    with pytest.raises(WireError, match="over 1048576"):
        encode(Reply(1, True, {"text": "x" * (1 << 20)}))
    with pytest.raises(WireError, match="over 4096"):
        encode(Data(1, "x" * 5000, 0, 0))


def test_header_alone_is_a_batch_of_nothing() -> None:
    live = Live(ID, 1, 0, 0, 0, 1)
    assert parse(encode(live)) == (live, 0, b"")
    assert len(encode(live)) == 2


def test_checksum_is_zlibs_crc32() -> None:
    assert checksum(b"123456789") == zlib.crc32(b"123456789") == 0xCBF43926


@pytest.mark.parametrize("sizes_named", [True, False])
def test_compressed_payload_opens(sizes_named: bool) -> None:
    lines = b"a line\n" * 1000
    packed = zstandard.ZstdCompressor(write_content_size=sizes_named).compress(lines)
    assert bytes(open_payload(FLAG_ZSTD, packed)) == lines


@pytest.mark.parametrize("sizes_named", [True, False])
def test_compressed_bomb_is_bounded(sizes_named: bool) -> None:
    packed = zstandard.ZstdCompressor(write_content_size=sizes_named).compress(bytes(64 << 20))
    with pytest.raises(WireError) as caught:
        open_payload(FLAG_ZSTD, packed)
    assert caught.value.reason in ("payload_size", "zstd")


@pytest.mark.parametrize(
    "damage", [lambda p: p[:-3], lambda p: p + b"more", lambda p: p + p, lambda _: b"", lambda _: b"x"]
)
def test_broken_compression_is_told(damage: Any) -> None:
    packed = zstandard.ZstdCompressor().compress(b"a line\n" * 1000)
    with pytest.raises(WireError) as caught:
        open_payload(FLAG_ZSTD, damage(packed))
    assert caught.value.reason == "zstd"


def test_oversized_payload_is_told() -> None:
    with pytest.raises(WireError, match="payload of"):
        open_payload(0, bytes(PAYLOAD_MAX_BYTES + 1))
    with pytest.raises(WireError, match="payload of"):
        encode(Data(1, "flows", 0, 0), bytes(PAYLOAD_MAX_BYTES + 1))


@pytest.mark.parametrize("name", ["flows", "audit.tsee", "A-b_c.9", "x" * 128])
def test_legal_stream_name(name: str) -> None:
    assert is_stream_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a\0", "a\n", "flöws", "a/b", "x" * 129])
def test_illegal_stream_name(name: str) -> None:
    assert not is_stream_name(name)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5755", "tcp://*:*", "tcp://[::1]:1", "tcp://node.example:65535"])
def test_tcp_endpoint_is_one(endpoint: str) -> None:
    check_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "ipc://",
        "/run/x.sock",
        "inproc://x",
        "nats://x",
        "tcp://",
        "tcp://x",
        "tcp://:1",
        "tcp://x:70000",
        "tcp://::1:5",
    ],
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(FlowdError):
        check_endpoint(endpoint)


def test_what_is_jetstreams_is_said_to_be_for_consumers() -> None:
    with pytest.raises(FlowdError) as caught:
        check_endpoint("nats://127.0.0.1:4222")
    assert (caught.value.message, caught.value.hint) == (
        "nats://127.0.0.1:4222: not an endpoint",
        "JetStream is read by a consumer, and written by a daemon's sink",
    )


def test_ipc_path_over_the_systems_limit_is_refused() -> None:
    check_endpoint("ipc:///" + "x" * 106)
    with pytest.raises(FlowdError, match="108 bytes"):
        check_endpoint("ipc:///" + "x" * 107)


def test_nesting_is_bounded_whatever_the_interpreters_limit() -> None:
    script = """
import sys
sys.setrecursionlimit(10**9)
from flowd.errors import WireError
from flowd.wire import parse
for type_, nested in ((7, 4000), (64, 500_000), (65, 1_000_000)):
    for opening in (b"\\x91", b"\\x81\\xa1a"):
        body = b"\\x81\\xa1x" + opening * (nested // len(opening))
        try:
            parse([b"FLW\\1" + bytes([type_, 0, 0, 0]), body])
        except WireError as error:
            assert error.reason == "header", error
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


def test_a_wake_counts_its_rings_as_one_and_survives_its_end() -> None:
    wake = Wake()
    poller = zmq.Poller()
    poller.register(wake.fd, zmq.POLLIN)
    assert not poller.poll(0)
    for _ in range(3):
        wake.ring()
    assert poller.poll(0)
    wake.clear()
    assert not poller.poll(0)
    wake.clear()
    wake.close()
    wake.close()
    wake.ring()
    assert wake.fd == -1


def test_frames_are_sent_as_one_message_and_seen_before_they_are_received() -> None:
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        one.bind("inproc://frames")
        other.connect("inproc://frames")
        assert not has_message(other)
        send_frames(one, [b"head", bytearray(b"header"), zmq.Frame(b"lines")])
        assert has_message(other)
        assert other.recv_multipart(DO_NOT_WAIT) == [b"head", b"header", b"lines"]
        assert not has_message(other)
        send_frames(one, [b"alone"], DO_NOT_WAIT)
        assert other.recv_multipart() == [b"alone"]
