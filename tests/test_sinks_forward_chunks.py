"""flowd.sinks.forward: chunks cut and named, cursors behind them, servers' addresses, turns by weight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.client import Batch
from flowd.errors import FlowdError
from flowd.sinks.forward.chunks import Track, cut_lines, name_chunk, pack_message
from flowd.sinks.forward.entries import PackedLines
from flowd.sinks.forward.servers import Server, next_turn, parse_server
from flowd.sinks.sink import Outgoing


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
    message = msgpack.unpackb(pack_message("flows", PackedLines(b"entries", 2, 0), b"id", False))
    assert message == ["flows", b"entries", {"chunk": "id", "size": 2}]


@pytest.mark.parametrize("size", [0, 255, 256, 65_535, 65_536, 1 << 20])
def test_a_message_is_written_as_msgpack_would(size: int) -> None:
    entries = b"e" * size
    wanted = msgpack.packb(["flows", entries, {"chunk": "id", "size": 2}], use_bin_type=True)
    assert pack_message("flows", PackedLines(entries, 2, 0), b"id", False) == wanted


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.5:24224", Server("10.0.0.5:24224", "10.0.0.5", 24224)),
        ("aggregator.logging", Server("aggregator.logging", "aggregator.logging", 24224)),
        ("[fd00::5]:1", Server("[fd00::5]:1", "fd00::5", 1)),
        ("unix:///run/f.sock", Server("unix:///run/f.sock", path="/run/f.sock")),
        ("unix://f.sock", Server("unix://f.sock", path="f.sock")),
    ],
)
def test_addresses(text: str, server: Server) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text", ["", ":1", "a:0", "a:65536", "fd00::5", "a b:1", "tcp://a:1", "unix://", "unix://x/", "unix://" + "x" * 108]
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
