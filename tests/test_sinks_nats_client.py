"""flowd.sinks.nats.client: what goes to the connection is what the NATS library itself would send, byte by byte."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from flowd.sinks.nats.client import PieceClient, encode_headers
from flowd.wire.jetstream import Acknowledged, Head

NUMBERS = st.integers(0, (1 << 64) - 1)
NAMES = st.text("abcXYZ019._-", min_size=1, max_size=20)


@st.composite
def heads(draw: st.DrawFn) -> Head:
    parts = draw(st.integers(1, 3))
    numbers = [draw(NUMBERS) for _ in range(9)]
    return Head(
        epoch=draw(st.binary(min_size=16, max_size=16)),
        stream=draw(NAMES),
        node=draw(NAMES),
        seq=numbers[0],
        part=draw(st.integers(1, parts)),
        parts=parts,
        lines=numbers[1],
        before=numbers[2],
        previous=draw(st.none() | NUMBERS),
        acknowledged=Acknowledged(*numbers[3:6]),
        time_ns=numbers[6],
        generation=numbers[7],
        missed=numbers[8],
        gap=draw(st.sampled_from(["", "retention", "epoch", "corrupt"])),
    )


def sent(client: Client, payload: bytes, headers: dict[str, str] | None) -> list[bytes]:
    """What a client keeps for its connection, after one message."""
    asyncio.run(client._send_publish("flowd.flows.n1", "_INBOX.a.1", payload, len(payload), headers))
    assert client.stats["out_msgs"] == 1
    assert client.stats["out_bytes"] == len(payload)
    assert client.pending_data_size == sum(map(len, client._pending))
    return client._pending


@given(heads(), st.binary(max_size=64))
def test_a_batch_is_sent_as_the_library_would_with_its_payload_as_it_is(head: Head, payload: bytes) -> None:
    ours = sent(PieceClient(), payload, head.as_headers())
    assert b"".join(ours) == b"".join(sent(Client(), payload, head.as_headers()))
    assert ours[1] is payload


@pytest.mark.parametrize("headers", [None, {}, {"Flowd-Node": "a\r\nb"}, {"Flowd-Node": "a\nb"}])
def test_what_is_not_plain_goes_the_librarys_way(headers: dict[str, str] | None) -> None:
    assert sent(PieceClient(), b"payload", headers) == sent(Client(), b"payload", headers)


def test_a_library_that_keeps_what_is_to_be_sent_otherwise_goes_its_own_way() -> None:
    """One that has a buffer, say: what it does is its own affair, and nothing of ours is put between."""

    class Buffering(Client):
        async def _send_publish(self, *message: object) -> None:
            self.taken = message

    class Ours(PieceClient, Buffering):
        pass

    client = Ours()
    client._pending = bytearray()
    asyncio.run(client._send_publish("a", "b", b"payload", 7, {"Flowd-Seq": "1"}))
    assert client.taken == ("a", "b", b"payload", 7, {"Flowd-Seq": "1"})
    assert client._pending == b""


def test_headers_with_line_breaks_are_not_ours_to_write() -> None:
    assert encode_headers({"A": "1", "B": "2"}) == b"NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n"
    for value in ("a\n", "a\r", "a\r\nC: 3"):
        assert encode_headers({"A": value}) is None
