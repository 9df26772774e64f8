"""Forward messages: which kind one is and where its parts lie, whatever pieces it comes in."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgpack import ExtType, Unpacker
from oracle_records import pack

from flowd.messages import MalformedMessage, Message, MessageWalk

BOUND = 1 << 20
RECORD = {"a": "x", "b": [1, {"c": None}]}
ENTRIES = pack([1700000000, RECORD]) + pack([ExtType(0, bytes(8)), {}])
NOW = ExtType(0, struct.pack(">II", 1700000000, 5))

MESSAGES: list[tuple[Any, str, bytes, bytes, int]] = [
    # message, kind, its entries, its option, the entries' number
    (["tag", 1700000000, RECORD], "message", pack(1700000000) + pack(RECORD), b"", 1),
    (["tag", NOW, RECORD, {"chunk": "x"}], "message", pack(NOW) + pack(RECORD), pack({"chunk": "x"}), 1),
    (["tag", 1.5, {}, None], "message", pack(1.5) + b"\x80", b"\xc0", 1),
    (["tag", None, {}], "message", b"\xc0\x80", b"", 1),
    (["tag", [[1, RECORD], [NOW, {}]]], "forward", pack([1, RECORD]) + pack([NOW, {}]), b"", 2),
    (["tag", [[1, RECORD]] * 1000, {"size": 1000}], "forward", pack([1, RECORD]) * 1000, pack({"size": 1000}), 1000),
    (["tag", []], "forward", b"", b"", 0),
    (["tag", ENTRIES], "packed", ENTRIES, b"", 0),
    (["tag", ENTRIES, {"chunk": "x", "size": 2}], "packed", ENTRIES, pack({"chunk": "x", "size": 2}), 0),
    (["tag", b"", None], "packed", b"", b"\xc0", 0),
    (["tag", ENTRIES, {"compressed": "text"}], "packed", ENTRIES, pack({"compressed": "text"}), 0),
    (["tag", ENTRIES, {"compressed": "gzip", "n": [1]}], "compressed", ENTRIES,
     pack({"compressed": "gzip", "n": [1]}), 0),
    (["tag", ENTRIES, {"compressed": b"zstd"}], "compressed", ENTRIES, pack({"compressed": b"zstd"}), 0),
    (["tag", ENTRIES, {"compressed": None}], "packed", ENTRIES, pack({"compressed": None}), 0),
    (["tag", ENTRIES.decode("latin-1").replace("\x80", "a")], "packed",
     ENTRIES.decode("latin-1").replace("\x80", "a").encode(), b"", 0),
    (["", ENTRIES * 2000], "packed", ENTRIES * 2000, b"", 0),
]  # fmt: skip
OTHERS: list[Any] = [
    None, 5, "x", {}, {"a": [1]}, [], ["tag"], ["HELO", {"nonce": b"x", "keepalive": True}],
    ["PING", "host", b"salt", "digest", "user", "password"], ["PONG", True, "", "host", "digest"], ["tag", 1],
    ["tag", True, {}], [1, [[1, {}]]], ["tag", {"a": 1}, {}], ["tag", [[1, {}]], {}, 1], ["tag", b"", {}, 1],
    [None, 1, {}], ["a", "b", "c", "d", "e"],
]  # fmt: skip


def parts(buffer: bytes, message: Message) -> tuple[bytes, bytes, bytes]:
    first, second, third = (buffer[begin:end] for begin, end in (message.tag, message.entries, message.option))
    return first, second, third


@pytest.mark.parametrize(("message", "kind", "entries", "option", "count"), MESSAGES)
def test_the_parts_of_a_message(message: Any, kind: str, entries: bytes, option: bytes, count: int) -> None:
    packed = pack(message)
    buffer = b"before" + packed + b"\xc1behind"
    found = MessageWalk(BOUND).find(buffer, 6)
    assert isinstance(found, Message)
    assert (found.kind, found.end, found.entry_count) == (kind, 6 + len(packed), count)
    assert parts(buffer, found) == (message[0].encode(), entries, option)
    assert found.is_bare == (kind == "message")


@pytest.mark.parametrize("message", OTHERS)
def test_what_is_no_message_of_records_has_an_end(message: Any) -> None:
    packed = pack(message)
    found = MessageWalk(BOUND).find(packed + b"\x00")
    assert isinstance(found, Message)
    assert (found.kind, found.end) == ("other", len(packed))


@pytest.mark.parametrize("message", [*[message for message, *_ in MESSAGES], *OTHERS])
def test_pieces_change_nothing(message: Any) -> None:
    packed = pack(message)
    whole = MessageWalk(BOUND).find(packed)
    walk = MessageWalk(BOUND)
    for have in range(max(0, min(len(packed), 40))):
        missing = walk.find(packed[:have])
        assert isinstance(missing, int)
        assert 1 <= missing <= len(packed) - have
    assert walk.find(packed) == whole
    # Asked for what is missing, and no more, it soon has all of what it need not look into.
    have, asked = 0, 0
    while isinstance(found := walk.find(b"xy" + packed[:have], 2), int):
        have += found
        asked += 1
    assert have == len(packed) and found.end == whole.end + 2 if isinstance(whole, Message) else False
    if found.kind == "packed":
        assert asked < 12


@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_stream_in_any_pieces_gives_its_messages(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from([*[message for message, *_ in MESSAGES], *OTHERS]), max_size=6))
    stream = b"".join(map(pack, chosen))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    walk, at, found = MessageWalk(BOUND), 0, []
    for have in [*cuts, len(stream)]:
        while at < len(stream) and isinstance(message := walk.find(memoryview(stream)[:have], at), Message):
            found.append(stream[at : message.end])
            at = message.end
    assert found == [pack(message) for message in chosen]


def test_a_message_in_thousands_of_pieces_is_walked_once() -> None:
    entries = pack([1700000000, RECORD]) * 200_000
    packed = b"\x92\xa3tag\xdd" + struct.pack(">I", 200_000) + entries
    begin = time.thread_time()
    MessageWalk(1 << 30).find(packed)
    once_s = time.thread_time() - begin
    walk = MessageWalk(1 << 30)
    begin = time.thread_time()
    for have in range(0, len(packed), len(packed) // 5000):
        assert isinstance(walk.find(memoryview(packed)[:have]), int)
    assert isinstance(walk.find(packed), Message)
    # Walked from its beginning each time it would take some 2,500 times as long.
    assert time.thread_time() - begin < 100 * once_s + 0.5


@pytest.mark.parametrize(
    ("packed", "bound", "reason"),
    [
        (b"\xc1", BOUND, "invalid"),
        (b"\x92\xa1t\x91\x92\x01\xc1", BOUND, "invalid"),
        (b"\x93\xa1t\x01\xc1", BOUND, "invalid"),
        (b"\x92\xdb\xff\xff\xff\xff", BOUND, "too_large"),
        (b"\x92\xa1t\xc6\xff\xff\xff\xff", BOUND, "too_large"),
        (b"\x92\xa1t\xdd\xff\xff\xff\xff", BOUND, "too_large"),
        (b"\x92\xa1t\xdd\x00\x10\x00\x00", BOUND, "too_large"),
        (b"\x92\xa1t\x91\x92\x01\xdf\xff\xff\xff\xff", BOUND, "too_large"),
        (b"\xdf\xff\xff\xff\xff", BOUND, "too_large"),
        (b"\x92\xa1t\xc4\x05", 8, "too_large"),
        (b"\x93\xa1t\xc4\x02ab\x81", 8, "too_large"),
        (b"\x92\xa1t" + b"\xdd\x00\x00\xff\xff" * 1000, BOUND, "too_large"),
    ],
)
def test_what_cannot_be_a_message_is_refused_at_once(packed: bytes, bound: int, reason: str) -> None:
    walk = MessageWalk(bound)
    with pytest.raises(MalformedMessage) as refused:
        walk.find(packed)
    assert refused.value.args[0] == reason
    assert refused.value.args[1] >= 0
    assert isinstance(walk.find(pack(["t", b"x"])), Message)  # it begins anew


@pytest.mark.parametrize("size", [100, 1000])
def test_a_message_of_just_the_bound_is_taken(size: int) -> None:
    packed = pack(["t", b"x" * size])
    assert isinstance(MessageWalk(len(packed)).find(packed), Message)
    with pytest.raises(MalformedMessage):
        MessageWalk(len(packed) - 1).find(packed)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_walked_to_an_end(noise: bytes, cut: int) -> None:
    def walk_to_end(walk: MessageWalk) -> Message | int | str:
        try:
            return walk.find(noise)
        except MalformedMessage as refused:
            return str(refused.args[0])

    in_pieces = MessageWalk(BOUND)
    try:
        early = in_pieces.find(noise[:cut])
    except MalformedMessage:
        return
    if isinstance(early, Message):
        assert early.end <= cut
        return
    found = walk_to_end(MessageWalk(BOUND))
    assert walk_to_end(in_pieces) == found
    if isinstance(found, Message):
        unpacker = Unpacker(strict_map_key=False, raw=True)
        unpacker.feed(noise)
        unpacker.skip()
        assert unpacker.tell() == found.end


def test_what_is_asked_wrongly_is_said() -> None:
    walk = MessageWalk(BOUND)
    with pytest.raises(ValueError, match=r"start is 4, behind the buffer's 3 bytes"):
        walk.find(b"abc", 4)
    with pytest.raises(ValueError, match=r"most_bytes is 0"):
        MessageWalk(0)
    assert walk.find(b"\x92") == 1
    walk.reset()
    assert isinstance(walk.find(b"\xc0"), Message)
