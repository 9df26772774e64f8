"""flowd.Consumer over JetStream against what goes wrong between it and the server: nothing skipped, nothing held up."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig
from nats_bed import NatsServer, free_ports, make_certificate
from relay_bed import DEADLINE_S, wait_until
from test_jetstream import ONE, TWO, head, make_stream, open_consumer, put, take

import flowd
from flowd.errors import FlowdError, Unreachable
from flowd.jetstream.place import parse_place
from flowd.wire.jetstream import MESSAGE_ID, Acknowledged


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", free_ports(1)[0]) as server:
        asyncio.run(make_stream(server.url))
        yield server


async def _do(url: str, work: Any) -> None:
    client = await nats.connect(url)
    try:
        await work(client.jetstream())
    finally:
        await client.close()


def do(server: NatsServer, work: Any) -> None:
    """Has it done with a JetStream context."""
    asyncio.run(_do(server.url, work))


class LossyProxy(threading.Thread):
    """Hands on what a server says; `lose` has what comes next swallowed, and the connection ended behind that."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.lost = 0
        self._loses = threading.Event()

    def lose(self) -> None:
        self._loses.set()

    def run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_server: bool) -> None:
        with suppress(OSError):
            while said := source.recv(1 << 16):
                if is_server and self._loses.is_set() and b"Flowd-Seq" in said:
                    self.lost += said.count(b"Flowd-Seq")
                    self._loses.clear()
                    break
                sink.sendall(said)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> LossyProxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()


def test_what_a_broken_connection_loses_comes_again(server: NatsServer) -> None:
    """The server's passing consumer has sent it, and is there still when the connection is made again."""
    with LossyProxy(server.port) as proxy, flowd.Consumer(f"nats://127.0.0.1:{proxy.port}", "siem") as consumer:
        for round_number in range(3):
            first = round_number * 10 + 1
            put(server, head(first))
            batch = consumer.poll(DEADLINE_S)
            assert batch is not None
            assert batch.seq == first
            proxy.lose()
            put(server, *(head(seq) for seq in range(first + 1, first + 10)))
            found = [consumer.poll(DEADLINE_S) for _ in range(9)]
            assert [None if batch is None else batch.seq for batch in found] == list(range(first + 1, first + 10))
            consumer.commit(DEADLINE_S)
        assert proxy.lost >= 3


def test_foreign_and_hostile_messages_are_passed_over(server: NatsServer) -> None:
    anonymous = {key: value for key, value in head(2).as_headers().items() if key != MESSAGE_ID}
    huge = {"Flowd-Seq": "9" * 4000, "Flowd-Gap": "x" * 60_000}
    negative = {**anonymous, "Flowd-Seq": "-2"}
    no_parts = {**anonymous, "Flowd-Part": "0/0"}

    async def hostile(jetstream: Any) -> None:
        await jetstream.publish("flowd.flows.a", b"no headers")
        for headers in (huge, negative, no_parts, {**anonymous, **huge}, {"Flowd-Epoch": "zz"}):
            await jetstream.publish("flowd.flows.a", b"hostile\n", headers=headers)

    do(server, hostile)
    put(server, head(1))
    do(server, hostile)
    with open_consumer(server, until="newest") as consumer:
        assert [batch.seq for batch in consumer] == [1]
        consumer.commit()
        assert consumer.malformed == 12
    with open_consumer(server, "", start=(ONE, 1), until="newest") as consumer:
        assert [batch.seq for batch in consumer] == [1]
    with open_consumer(server, until="newest") as consumer:
        assert [batch.seq for batch in consumer] == []


def test_parts_that_never_become_whole_hold_up_no_cursor(server: NatsServer) -> None:
    put(server, head(1), head(2, part=1, parts=2), head(3, before=1, previous=1, acknowledged=Acknowledged(2, 2, 2)))
    with open_consumer(server) as consumer:
        assert take(consumer, 2) == [1, 3]
        consumer.commit()
    with open_consumer(server, until="newest") as consumer:
        assert list(consumer) == []


def test_until_newest_ends_where_the_last_message_is_anothers(server: NatsServer) -> None:
    put(server, head(1), head(2), head(1, stream="dns"), head(1, epoch=TWO, node="b"))
    with open_consumer(server, until="newest") as consumer:
        assert [(batch.epoch, batch.seq) for batch in consumer] == [(ONE, 1), (ONE, 2), (TWO, 1)]
    with flowd.Consumer(f"{server.url}/FLOWD?node=a", until="newest", timeout_s=DEADLINE_S) as consumer:
        assert [batch.seq for batch in consumer] == [1, 2]
        assert consumer.is_done


def test_until_newest_gives_what_waits_for_others(server: NatsServer) -> None:
    put(server, head(1), head(3), head(4))
    with open_consumer(server, until="newest") as consumer:
        assert [(batch.seq, batch.missed) for batch in consumer] == [(1, 0), (3, 1), (4, 0)]


def test_until_a_batch_of_one_of_several_nodes(server: NatsServer) -> None:
    put(server, head(1), head(1, epoch=TWO, node="b"), head(2), head(2, epoch=TWO, node="b"), head(3))
    with open_consumer(server, "", until=(TWO, 2)) as consumer:
        assert [batch.seq for batch in consumer] == [1, 1, 2, 2]


def test_little_credit_is_enough(server: NatsServer) -> None:
    put(server, *(head(seq) for seq in range(1, 40)))
    with open_consumer(server, credit_bytes=1, credit_batches=1, until="newest") as consumer:
        assert [batch.seq for batch in consumer] == list(range(1, 40))


def test_a_stream_that_is_made_anew_is_read_from_its_beginning(server: NatsServer) -> None:
    """Also where it has grown longer than it was: the cursor knows the stream that it is of."""

    async def anew(jetstream: Any) -> None:
        await jetstream.delete_stream("FLOWD")
        await jetstream.add_stream(StreamConfig(name="FLOWD", subjects=["flowd.*.*"]))

    put(server, head(1), head(2))
    with open_consumer(server) as living, open_consumer(server, "other") as other:
        assert take(living, 2) == [1, 2]
        assert take(other, 2) == [1, 2]
        living.commit()
        other.commit()
        other.close()
        do(server, anew)
        put(server, *(head(seq, acknowledged=Acknowledged(0, 2, 2)) for seq in range(3, 8)))
        assert take(living, 5) == [3, 4, 5, 6, 7]
        living.commit()
    with open_consumer(server, "other", until="newest") as other:
        found = [(batch.seq, batch.gap) for batch in other]
        assert found == [(3, "epoch"), (4, None), (5, None), (6, None), (7, None)]
    with open_consumer(server, until="newest") as living:
        assert list(living) == []


def test_a_purged_stream_goes_on(server: NatsServer) -> None:
    async def purge(jetstream: Any) -> None:
        await jetstream.purge_stream("FLOWD")

    put(server, head(1), head(2))
    with open_consumer(server) as consumer:
        assert take(consumer, 1) == [1]
        consumer.commit()
        consumer.close()
        do(server, purge)
        put(server, head(3, acknowledged=Acknowledged(2, 2, 2)))
    with open_consumer(server) as consumer:
        batch = next(consumer)
        assert (batch.seq, batch.missed, batch.gap) == (3, 1, "retention")


def test_a_bucket_or_a_cursor_that_was_deleted_is_made_anew(server: NatsServer) -> None:
    async def delete_cursors(jetstream: Any) -> None:
        bucket = await jetstream.key_value("FLOWD_CURSORS")
        for key in await bucket.keys():
            await bucket.delete(key)

    async def delete_bucket(jetstream: Any) -> None:
        await jetstream.delete_key_value("FLOWD_CURSORS")

    put(server, head(1), head(2), head(3), head(4))
    with open_consumer(server) as consumer:
        for work in (delete_cursors, delete_bucket, delete_cursors):
            take(consumer, 1)
            consumer.commit(DEADLINE_S)
            do(server, work)
        take(consumer, 1)
        consumer.commit(DEADLINE_S)
        do(server, delete_cursors)
    with open_consumer(server, until="newest") as consumer:
        assert [batch.seq for batch in consumer] == [1, 2, 3, 4]


def test_a_consumer_killed_before_its_first_commit_is_told_what_it_missed(server: NatsServer) -> None:
    async def purge(jetstream: Any) -> None:
        await jetstream.purge_stream("FLOWD", seq=3)

    put(server, head(1), head(2), head(3))
    with open_consumer(server) as consumer:
        take(consumer, 1)
    do(server, purge)
    with open_consumer(server) as consumer:
        batch = next(consumer)
        assert (batch.seq, batch.gap) == (3, "retention")


def test_a_commit_of_an_earlier_batch_does_not_move_back(server: NatsServer) -> None:
    put(server, head(1), head(2), head(3))
    with open_consumer(server) as consumer:
        first, second = next(consumer), next(consumer)
        assert not consumer.commit_soon(second)
        consumer.commit(batch=first)
        consumer.commit()
    with open_consumer(server) as consumer:
        assert take(consumer, 1) == [3]


def test_an_unterminated_line_is_what_it_is(server: NatsServer) -> None:
    async def publish(jetstream: Any) -> None:
        await jetstream.publish("flowd.flows.a", b'{"n":1}\n{"n":2}', headers=head(1).as_headers())

    do(server, publish)
    with open_consumer(server) as consumer:
        assert next(consumer).records() == [{"n": 1}, {"n": 2}]


def test_users_passwords_and_tls(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    more = (
        f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
        'authorization { user: "me", password: "se@cret", timeout: 5 }'
    )

    async def fill(url: str) -> None:
        context = ssl.create_default_context(cafile=certificate)
        client = await nats.connect(url, user="me", password="se@cret", tls=context)
        await client.jetstream().add_stream(StreamConfig(name="FLOWD", subjects=["flowd.*.*"]))
        await client.jetstream().publish("flowd.flows.a", b"1\n", headers=head(1).as_headers())
        await client.close()

    with NatsServer(tmp_path / "n", free_ports(1)[0], more=more) as server:
        asyncio.run(fill(server.url))
        address = f"127.0.0.1:{server.port}/FLOWD"
        for scheme in ("nats", "tls"):
            url = f"{scheme}://me:se%40cret@{address}?tls_ca_file={certificate}"
            with flowd.Consumer(url, "siem", timeout_s=DEADLINE_S, start="oldest") as consumer:
                assert next(consumer).seq == 1
        for query, words in ((f"?tls_ca_file={certificate}", "authorization"), ("", "certificate")):
            said = what_is_said(f"nats://me:wr-ng@{address}{query}", words)
            assert "wr-ng" not in said


def what_is_said(url: str, words: str) -> str:
    """Why nothing is read, as soon as these words are in it."""
    with flowd.Consumer(url) as consumer:
        assert consumer.poll(0.0) is None
        wait_until(lambda: words in str(consumer.unreachable(0)).lower(), words)
        return str(consumer.unreachable(0))


def test_a_stream_that_is_not_there_is_said(server: NatsServer) -> None:
    with flowd.Consumer(f"{server.url}/OTHER", timeout_s=0.5) as consumer, pytest.raises(Unreachable) as caught:
        next(consumer)
    assert "there is no stream OTHER" in caught.value.message


def test_a_wrong_url_is_refused_at_once(tmp_path: Path) -> None:
    for url in ("nats://", "nats://host:port", "nats://h/a/b", "nats://h?x=1", "nats://h?tls_key_file=k", "nats://h?q"):
        with pytest.raises(FlowdError):
            flowd.Consumer(url)
    with pytest.raises(FlowdError, match="cannot be read"):
        flowd.Consumer("nats://h", secret_file=tmp_path / "none")
    with pytest.raises(FlowdError, match="TLS cannot be set up"):
        flowd.Consumer(f"tls://h?tls_ca_file={tmp_path / 'none'}")
    place = parse_place("tls://me:pw@a:1,b/S?node=n")
    assert place.servers == ("tls://a:1", "tls://b")
    assert place.title == "tls://a:1,b/S"
