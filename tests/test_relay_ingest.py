"""flowd.relay.ingest.lane over a real socket: what producers say, and that nothing they send disturbs another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from relay_bed import DEADLINE_S, DROPPED, KEPT, Listener, Peer, batch, counters, running, wait_until

from flowd.client import request
from flowd.relay.config import Config
from flowd.relay.deciding.streams import STREAMS_MAX
from flowd.wire import FLAG_ZSTD, Ack, Bye, Data, Err, Hello, Live, Nak, Welcome, checksum, encode
from flowd.wire.limits import (
    CREDIT_BYTES,
    CREDIT_MESSAGES,
    FRAME_MAX_BYTES,
    HEADER_MAX_BYTES,
    HEARTBEAT_MS,
    PAYLOAD_MAX_BYTES,
    SEQUENCE_MAX,
)

MALFORMED = 'flowd_malformed_messages_total{{lane="ingest",reason="{}"}}'
REFUSED = 'flowd_refused_batches_total{{reason="{}"}}'


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with running(tmp_path) as (_, config):
        yield config


@pytest.fixture
def peer(config: Config) -> Iterator[Peer]:
    with Peer(config.endpoint("ingest")) as peer:
        yield peer


def ack(sequence: int) -> Ack:
    return Ack(sequence, CREDIT_BYTES, CREDIT_MESSAGES)


def streams(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = request(config.endpoint("admin"), "status", DEADLINE_S)["streams"]
    return found


def test_welcome_says_all_that_a_producer_needs(peer: Peer) -> None:
    welcome = peer.hello()
    assert welcome == Welcome(
        v=1,
        epoch=welcome.epoch,
        last=0,
        cb=CREDIT_BYTES,
        cm=CREDIT_MESSAGES,
        max=PAYLOAD_MAX_BYTES,
        hb=HEARTBEAT_MS,
    )


def test_batch_is_filtered_published_and_acknowledged(config: Config, peer: Peer) -> None:
    with Listener(config.endpoint("live")) as listener:
        epoch = peer.hello().epoch
        assert peer.send(1, KEPT + DROPPED + KEPT) == ack(1)
        assert peer.send(2, DROPPED) == ack(2)
        assert peer.send(3, b"") == ack(3)
        assert peer.send(4, KEPT) == ack(4)
        heard = [listener.hear_live() for _ in range(4)]
    assert [(live.e, live.q, live.n, live.k, live.g, bytes(lines)) for live, _, lines in heard] == [
        (epoch, 1, 2, 0, 1, KEPT + KEPT),
        (epoch, 2, 0, 2, 1, b""),
        (epoch, 3, 0, 2, 1, b""),
        (epoch, 4, 1, 2, 1, KEPT),
    ]


def test_compressed_batch_is_opened(config: Config, peer: Peer) -> None:
    packed = zstandard.ZstdCompressor().compress(KEPT * 100)
    with Listener(config.endpoint("live")) as listener:
        peer.hello()
        peer.say(Data(1, "flows", 100, checksum(packed)), packed, FLAG_ZSTD)
        assert peer.hear() == ack(1)
        assert bytes(listener.hear_live().payload) == KEPT * 100


def test_duplicate_is_acknowledged_and_not_published_again(config: Config, peer: Peer) -> None:
    peer.hello()
    assert [peer.send(1, KEPT), peer.send(2, KEPT), peer.send(1, KEPT), peer.send(0, KEPT)] == [
        ack(1),
        ack(2),
        ack(2),
        ack(2),
    ]
    assert streams(config)["flows"]["batches"] == 2
    assert counters(config)["flowd_duplicate_batches_total"] == 2


def test_gap_names_what_is_wanted(config: Config, peer: Peer) -> None:
    peer.hello()
    assert peer.send(2, KEPT) == Nak(2, "gap", 1)
    assert peer.send(SEQUENCE_MAX, KEPT) == Nak(SEQUENCE_MAX, "gap", 1)
    assert peer.send(1, KEPT) == ack(1)
    assert counters(config)[REFUSED.format("gap")] == 2


def test_sequence_may_reach_its_end(peer: Peer) -> None:
    assert peer.hello(first=SEQUENCE_MAX).last == SEQUENCE_MAX - 1
    assert peer.send(SEQUENCE_MAX, KEPT) == ack(SEQUENCE_MAX)
    assert peer.send(SEQUENCE_MAX, KEPT) == ack(SEQUENCE_MAX)
    assert peer.hello().last == SEQUENCE_MAX


def test_wrong_crc_changes_nothing(config: Config, peer: Peer) -> None:
    peer.hello()
    assert peer.send(1, KEPT, crc=7) == Nak(1, "bad")
    assert peer.send(1, KEPT, crc=SEQUENCE_MAX) == Nak(1, "bad")
    assert peer.send(1, KEPT) == ack(1)
    assert streams(config)["flows"]["batches"] == 1
    assert counters(config)[REFUSED.format("crc")] == 2


def test_broken_compression_is_bad(config: Config, peer: Peer) -> None:
    peer.hello()
    assert peer.send(1, KEPT, flags=FLAG_ZSTD) == Nak(1, "bad")
    assert counters(config)[REFUSED.format("zstd")] == 1


def test_line_without_its_end_is_bad(config: Config, peer: Peer) -> None:
    peer.hello()
    assert peer.send(1, KEPT + b"{") == Nak(1, "bad")
    assert counters(config)[REFUSED.format("partial_line")] == 1


def test_batch_over_the_limit_is_too_big(config: Config, peer: Peer) -> None:
    peer.hello()
    lines = b"x" * PAYLOAD_MAX_BYTES + b"\n"
    data = encode(batch(1, lines))
    peer.socket.send_multipart([*data, lines])
    assert peer.hear() == Nak(1, "too_big")
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    assert peer.send(1, bomb, flags=FLAG_ZSTD) == Nak(1, "too_big")
    assert peer.send(1, b"x" * (PAYLOAD_MAX_BYTES - 1) + b"\n") == ack(1)
    assert counters(config)[REFUSED.format("too_big")] == 1


def test_frame_over_the_sockets_limit_ends_only_its_connection(config: Config, peer: Peer) -> None:
    with Peer(config.endpoint("ingest")) as other:
        other.hello()
        peer.hello()
        other.socket.send_multipart([*encode(batch(1, b"")), bytes(FRAME_MAX_BYTES + 1)])
        assert peer.send(1, KEPT) == ack(1)
        assert not other.socket.poll(100)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "../x", "a\0b"])
def test_illegal_stream_name_is_refused(config: Config, peer: Peer, name: str) -> None:
    peer.hello()
    assert peer.send(1, KEPT, stream=name) == Nak(1, "stream")
    assert peer.send(1, KEPT) == ack(1)
    assert counters(config)[REFUSED.format("stream_name")] == 1


def test_number_of_streams_is_bounded(config: Config, peer: Peer) -> None:
    peer.hello()
    for sequence in range(1, STREAMS_MAX):
        assert peer.send(sequence, KEPT, stream=f"s{sequence}") == ack(sequence)
    assert peer.send(STREAMS_MAX, KEPT, stream="more") == Nak(STREAMS_MAX, "stream")
    assert peer.send(STREAMS_MAX, KEPT, stream="s1") == ack(STREAMS_MAX)
    assert len(streams(config)) == STREAMS_MAX


def test_each_stream_has_its_own_filters_and_sequence(config: Config, peer: Peer) -> None:
    with (
        Listener(config.endpoint("live"), b"dns\0") as dns,
        Listener(config.endpoint("live")) as flows,
    ):
        peer.hello()
        assert peer.send(1, DROPPED, stream="dns") == ack(1)
        assert peer.send(2, DROPPED + KEPT, stream="flows") == ack(2)
        assert [dns.hear_live().header.q, flows.hear_live().header.q] == [1, 1]
    found = streams(config)
    assert (found["dns"]["kept_lines"], found["flows"]["kept_lines"], found["flows"]["lines"]) == (1, 1, 2)


def test_data_before_hello_ends_the_conversation(config: Config, peer: Peer) -> None:
    assert peer.send(1, KEPT) == Err("hello", "say HELLO first")
    peer.hello()
    assert peer.send(1, KEPT) == ack(1)
    assert counters(config)['flowd_refused_conversations_total{reason="no_hello"}'] == 1


def test_hello_twice_goes_on_where_it_was(config: Config, peer: Peer) -> None:
    first = peer.hello()
    peer.send(1, KEPT)
    again = peer.hello()
    assert (first.last, again.last, again.epoch) == (0, 1, first.epoch)
    assert peer.send(2, KEPT) == ack(2)
    assert counters(config)['flowd_conversations_total{kind="again"}'] == 1


def test_hello_of_another_version_is_refused(config: Config, peer: Peer) -> None:
    peer.say(Hello([2, 3], peer.id, 1))
    assert peer.hear() == Err("version", "this daemon speaks version 1 only")
    peer.say(Hello([], peer.id, 1))
    assert peer.hear().code == "version"
    assert counters(config)['flowd_refused_conversations_total{reason="version"}'] == 2


def test_first_moves_an_unknown_producers_mark(peer: Peer) -> None:
    assert peer.hello(first=41).last == 40
    assert peer.send(41, KEPT) == ack(41)
    assert peer.hello(first=30).last == 41
    assert peer.hello(first=42).last == 41


def test_producer_goes_on_over_connections(config: Config, peer: Peer) -> None:
    peer.hello()
    peer.send(1, KEPT)
    peer.say(Bye())
    with Peer(config.endpoint("ingest")) as later:
        later.id = peer.id
        assert later.hello().last == 1
        assert later.send(2, KEPT) == ack(2)


def test_older_conversation_of_a_producer_is_fenced(config: Config, peer: Peer) -> None:
    peer.hello()
    with Peer(config.endpoint("ingest")) as newer:
        newer.id = peer.id
        newer.hello()
        assert peer.send(1, KEPT).code == "fenced"
        assert newer.send(1, KEPT) == ack(1)
    assert counters(config)['flowd_refused_conversations_total{reason="fenced"}'] == 1


def test_bye_ends_the_conversation(config: Config, peer: Peer) -> None:
    peer.hello()
    peer.say(Bye())
    assert peer.send(1, KEPT).code == "hello"
    assert request(config.endpoint("admin"), "status")["producers"] == 0


HEAD = b"FLW\1\3\0\0\0"
HEADER = encode(batch(1, KEPT))[1]
BAD = [
    ([b"x"], "frames"),
    ([b""] * 4, "frames"),
    ([b"y"] * 1000, "frames"),
    ([b"FLX\1\3\0\0\0", HEADER, KEPT], "magic"),
    ([b"POST /logs HTTP/1.1\r\n", b"Host: node\r\n"], "magic"),
    ([os.urandom(8), os.urandom(64), os.urandom(64)], "magic"),
    ([b"FLW\2\3\0\0\0", HEADER, KEPT], "version"),
    ([b"FLW\1\x63\0\0\0", HEADER, KEPT], "type"),
    ([b"FLW\1\3\x80\0\0", HEADER, KEPT], "flags"),
    ([HEAD, b"\x93\1\2\3", KEPT], "header"),
    ([HEAD, b"\xdf\xff\xff\xff\xff", KEPT], "header"),
    ([HEAD, b"\x81\xa1x" + b"\x91" * 4000, KEPT], "header"),
    ([HEAD, msgpack.packb({"s": -1, "st": 5}), KEPT], "header"),
    ([HEAD, bytes(HEADER_MAX_BYTES + 1), KEPT], "header_size"),
    ([b"FLW\1\7\0\0\0", b"\x80", b"payload"], "payload"),
    (encode(Live(bytes(16), 1, 0, 0, 0, 1)), "type"),
    (encode(Ack(1, 1, 1)), "type"),
]


@pytest.mark.parametrize(("frames", "reason"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_malformed_message_is_counted_while_others_go_on(
    config: Config, peer: Peer, frames: list[bytes], reason: str
) -> None:
    with Peer(config.endpoint("ingest")) as stranger:
        peer.hello()
        stranger.socket.send_multipart(frames)
        wait_until(lambda: counters(config).get(MALFORMED.format(reason)) == 1, "the malformed message's count")
        assert peer.send(1, KEPT) == ack(1)
        assert stranger.hello().last == 0, "one offence is forgiven"


def test_empty_message_is_counted(config: Config, peer: Peer) -> None:
    peer.socket.send(b"")
    wait_until(lambda: counters(config).get(MALFORMED.format("frames")) == 1, "the empty message's count")
    assert peer.hello().last == 0


def test_peer_that_offends_ten_times_is_ignored(config: Config, peer: Peer) -> None:
    with Peer(config.endpoint("ingest")) as stranger:
        for _ in range(12):
            stranger.socket.send(b"x")
        stranger.say(Hello([1], stranger.id, 1))
        ignored = 'flowd_ignored_messages_total{lane="ingest"}'
        wait_until(lambda: counters(config).get(ignored) == 3, "the ignored messages' count")
        assert not stranger.socket.poll(0)
        assert peer.hello().last == 0
    assert counters(config)[MALFORMED.format("frames")] == 10


def test_answers_to_a_peer_that_is_gone_are_counted(config: Config, peer: Peer) -> None:
    with Peer(config.endpoint("ingest")) as leaving:
        leaving.hello()
        for sequence in range(1, 200):
            leaving.say(batch(sequence, KEPT), KEPT)
    peer.hello()
    assert peer.send(1, KEPT) == ack(1)


def test_batch_with_a_wrong_line_count_is_taken_and_counted(config: Config, peer: Peer) -> None:
    peer.hello()
    peer.say(Data(1, "flows", 77, checksum(KEPT)), KEPT)
    assert peer.hear() == ack(1)
    assert counters(config)["flowd_miscounted_batches_total"] == 1
    assert streams(config)["flows"]["lines"] == 1


def test_malformed_lines_are_kept_and_counted(config: Config, peer: Peer) -> None:
    peer.hello()
    assert peer.send(1, b"\n{\nGET / HTTP/1.1\n\xff\xfe\n" + KEPT + DROPPED) == ack(1)
    found = streams(config)["flows"]
    assert (found["lines"], found["kept_lines"], found["malformed_lines"]) == (6, 5, 4)
