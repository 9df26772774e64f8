"""The Forward source's rooms by themselves: options, compression, tags, addresses, repeats, room, loads."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress

import msgpack
import pytest
import zstandard
from forward_source_bed import KEPT, KEPT_LINE, SECOND_NS, entry, event_time
from hypothesis import given
from hypothesis import strategies as st
from relay_bed import DROP_DEV

import flowd
from flowd.errors import FlowdError
from flowd.relay.carrier import Entry
from flowd.relay.deciding.streams import Stream
from flowd.relay.forward import compression
from flowd.relay.forward.addresses import Address, parse_address
from flowd.relay.forward.compression import CannotOpen, open_entries
from flowd.relay.forward.handover import Delivery, Handover
from flowd.relay.forward.load import RecordsLoad, join_runs
from flowd.relay.forward.options import BadOption, Option, pack_ack, read_option
from flowd.relay.forward.repeats import Repeats, make_key
from flowd.relay.forward.room import Room
from flowd.relay.forward.routes import Routes
from flowd.wire.limits import BATCH_BYTES, PAYLOAD_MAX_BYTES


class Nobody:
    """Whoever is told something, and what that was."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.partial_bytes = 0
        self.heard_s = 0.0

    def acknowledge(self, ack: bytes) -> None:
        self.heard.append(ack)

    def give_room(self, size_bytes: int) -> None:
        self.heard.append(size_bytes)

    def flush(self) -> None:
        pass

    def ring(self) -> None:
        pass

    def go_on(self) -> None:
        self.heard.append("go on")

    def give_up(self, reason: str) -> None:
        self.heard.append(reason)
        self.partial_bytes = 0

    def stored(self, entry: Entry) -> None:
        pass

    def refused(self, entry: Entry) -> None:
        pass


def delivery(entries: bytes, *, is_sound: bool = True) -> Delivery:
    return Delivery("flows", entries, Nobody(), is_sound=is_sound)


# Options


@given(st.binary(min_size=1, max_size=40))
def test_a_chunks_id_comes_back_as_it_came(chunk: bytes) -> None:
    assert read_option(msgpack.packb({"chunk": chunk})) == Option(chunk)
    answer = msgpack.unpackb(pack_ack(chunk))["ack"]
    assert (answer if isinstance(answer, bytes) else answer.encode()) == chunk


@given(st.binary(max_size=60))
def test_any_bytes_are_an_option_or_none(packed: bytes) -> None:
    with suppress(BadOption):
        assert isinstance(read_option(packed), Option)


# Compression

WORDS = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("word", WORDS)
@given(pieces=st.lists(st.binary(max_size=300), min_size=1, max_size=6), slack=st.integers(-2, 2))
def test_pieces_are_opened_up_to_the_bound(word: str, pieces: list[bytes], slack: int) -> None:
    packed = memoryview(b"".join(map(WORDS[word], pieces)))
    whole = b"".join(pieces)
    most = max(0, len(whole) + slack)
    if len(whole) <= most:
        assert open_entries(word, packed, most) == whole
    else:
        with pytest.raises(CannotOpen, match="too_large"):
            open_entries(word, packed, most)


@pytest.mark.parametrize("word", WORDS)
@given(content=st.binary(max_size=2000), places=st.data())
def test_what_is_cut_off_is_not_opened(word: str, content: bytes, places: st.DataObject) -> None:
    packed = WORDS[word](content)
    cut = packed[: places.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(CannotOpen, match="compression"):
        open_entries(word, memoryview(cut), 1 << 20)


def test_too_many_pieces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "PIECES_MAX", 100)
    assert open_entries("gzip", memoryview(gzip.compress(b"x") * 100), 1000) == b"x" * 100
    with pytest.raises(CannotOpen, match="too_large"):
        open_entries("gzip", memoryview(gzip.compress(b"x") * 101), 1000)


def test_a_window_that_is_too_large_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(bytes(1 << 20)) + compressor.flush()
    with pytest.raises(CannotOpen, match="compression"):
        open_entries("zstd", memoryview(packed), 4 << 20)


# Tags and addresses


def test_the_first_route_that_fits_decides() -> None:
    routes = Routes({"a.b": "one", "a.*": "two", "**": "rest"})
    assert [routes.find(tag) for tag in (b"a.b", b"a.c", b"a.b.c", b"\xff", b"x" * 1025)] == [
        "one",
        "two",
        "rest",
        None,
        None,
    ]
    assert routes.find(b"a.b") == "one"


def test_tags_are_forgotten_before_they_are_many() -> None:
    routes = Routes({})
    for number in range(20_000):
        assert routes.find(b"tag%d" % number) == f"tag{number}"
    assert len(routes._known) <= 4096


@pytest.mark.parametrize(("pattern", "stream"), [("", "flows"), ("a", "no name"), ("/(/", "flows"), ("/a", "flows")])
def test_a_route_that_cannot_be_is_refused(pattern: str, stream: str) -> None:
    with pytest.raises(FlowdError):
        Routes({pattern: stream})


def test_addresses_say_who_reaches_them() -> None:
    assert parse_address("127.0.0.1:5") == Address("127.0.0.1:5", "127.0.0.1", 5)
    local, others = ("127.9.9.9:1", "[::1]:1", "unix://x"), ("10.0.0.1:1", "[::]:1", "0.0.0.0:1")
    assert [text for text in (*local, *others) if parse_address(text).is_local] == [*local]


# Repeats, room, and what is between the threads


def test_chunks_are_told_apart_by_sender_tag_and_id() -> None:
    parts = ((b"a", b"b", b"c"), (b"ab", b"", b"c"), (b"a", b"bc", b""), (b"", b"ab", b"c"))
    assert len({make_key(*names) for names in parts}) == 4


def test_the_oldest_chunks_are_forgotten() -> None:
    repeats = Repeats(2)
    for name in (b"a", b"b", b"c"):
        one = delivery(b"")
        repeats.begin(name, one)
        assert repeats.find_under_way(name) is one
        one.is_stored = True
        repeats.end(one)
    assert [repeats.is_stored(name) for name in (b"a", b"b", b"c")] == [False, True, True]
    dropped = delivery(b"")
    repeats.begin(b"d", dropped)
    repeats.end(dropped)
    assert not repeats.is_stored(b"d")  # it may come again
    assert repeats.find_under_way(b"d") is None


def test_unfinished_messages_go_where_they_take_all_room() -> None:
    room = Room(0)
    idle, stalled, busy = Nobody(), Nobody(), Nobody()
    stalled.partial_bytes = busy.partial_bytes = 40 << 20
    busy.heard_s = 9.0
    room.partial_bytes = 80 << 20
    room.waiting_bytes = 1
    room.clear([idle, stalled, busy], 10.0)
    assert stalled.heard == []  # what waits will be stored, and make room
    room.waiting_bytes = 0
    room.clear([idle, stalled, busy], 10.0)
    assert (idle.heard, stalled.heard, busy.heard) == ([], ["memory"], [])
    room.clear([idle, stalled, busy], 10.0)
    assert busy.heard == ["memory"]  # nobody else could go


def test_the_source_is_called_once_until_it_takes() -> None:
    calls: list[None] = []
    handover = Handover(Nobody(), lambda: calls.append(None))
    first, second, third = (delivery(b"x") for _ in range(3))
    handover.put([first, second, third])
    assert [handover.take(), handover.take(), handover.take(), handover.take()] == [first, second, third, None]
    handover.give_back([first], is_stored=True)
    handover.give_back([second], is_stored=False)
    assert len(calls) == 1
    assert handover.take_done() == [first, second]
    handover.give_back([third], is_stored=True)
    assert (len(calls), handover.take_done(), second.is_stored) == (2, [third], False)


# Loads


def make_load(*deliveries: Delivery, time_key: str | None = None) -> RecordsLoad:
    stream = Stream("flows", flowd.compile(DROP_DEV), 1, None)
    load = RecordsLoad(Nobody(), stream, deliveries, time_key)
    load.decide()
    return load


def test_sound_entries_are_joined_and_others_stand_alone() -> None:
    runs = join_runs(
        [delivery(b"a"), delivery(b"b"), delivery(b"c", is_sound=False), delivery(b"d"), delivery(b"e", is_sound=False)]
    )
    assert [bytes(run) for run in runs] == [b"ab", b"c", b"d", b"e"]


def test_a_load_of_nothing_is_a_batch_of_nothing() -> None:
    [part] = make_load(delivery(b"")).parts
    assert (bytes(part.applied.kept), part.applied.lines, part.record_times_ns) == (b"", 0, None)


@given(st.lists(st.integers(0, 400_000), max_size=12), st.integers(1, 4))
def test_batches_hold_all_kept_lines_in_order_within_their_bounds(sizes: list[int], messages: int) -> None:
    packed = [
        msgpack.packb([event_time(number), {"n": number, "source_namespace": "dev" if number % 3 == 0 else "prod",
                                            "pad": "x" * size}])
        for number, size in enumerate(sizes, 1)
    ]  # fmt: skip
    load = make_load(*(delivery(b"".join(packed[n::messages]), is_sound=n % 2 == 0) for n in range(messages)))
    order = [number for n in range(messages) for number in range(1, len(sizes) + 1)[n::messages]]
    lines = b"".join(bytes(part.applied.kept) for part in load.parts)
    assert [json.loads(line)["n"] for line in lines.splitlines()] == [number for number in order if number % 3]
    assert sum(part.applied.lines for part in load.parts) == len(sizes)
    assert sum(part.received_bytes for part in load.parts) == sum(map(len, packed))
    assert all(len(part.applied.kept) <= 2 * BATCH_BYTES + 500_000 <= PAYLOAD_MAX_BYTES for part in load.parts)
    for part in load.parts:
        if part.record_times_ns is not None:
            first_ns, last_ns = part.record_times_ns
            times = [json.loads(line)["n"] * SECOND_NS for line in bytes(part.applied.kept).splitlines()]
            assert first_ns <= min(times) <= max(times) <= last_ns
    assert not load.problems


def test_what_cannot_be_read_ends_its_own_message_alone() -> None:
    broken = entry(KEPT) + b"\xc1" + entry(KEPT)
    load = make_load(delivery(broken, is_sound=False), delivery(entry(KEPT)))
    assert b"".join(bytes(part.applied.kept) for part in load.parts) == KEPT_LINE * 2
    assert (dict(load.problems), load.unread_bytes) == ({"invalid": 1}, 1 + len(entry(KEPT)))
