"""The NATS JetStream sink of a real daemon, with real nats-servers: every batch once, whatever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError
from nats_bed import NatsServer, free_ports, make_certificate
from nats_kills import attack
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, counters, settings, wait_until

from flowd.client import Consumer, Producer, request
from flowd.errors import ConfigError
from flowd.relay.config import load_config
from flowd.wire.jetstream import Head


def sink(url: str | list[str], **more: Any) -> dict[str, Any]:
    servers = [url] if isinstance(url, str) else url
    return {
        "sinks.cluster": {
            "type": "nats",
            "servers": servers,
            "node": "node-a.example",
            "max_bytes": "512MiB",
            **more,
        }
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", free_ports(1)[0]) as server:
        yield server


async def _read_all(url: str, stream: str) -> list[tuple[str, Head, bytes]]:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        info = await jetstream.stream_info(stream)
        found = []
        for seq in range(info.state.first_seq, info.state.last_seq + 1):
            try:
                message = await jetstream.get_msg(stream, seq, direct=False)
            except NotFoundError:
                continue  # deleted
            found.append((message.subject, Head.parse(message.headers), message.data))
        return found
    finally:
        await client.close()


def read_all(url: str, stream: str = "FLOWD") -> list[tuple[str, Head, bytes]]:
    return asyncio.run(_read_all(url, stream))


def numbered(begin: int, end: int, padding: int = 0) -> bytes:
    return b"".join(b'{"n":%d,"p":"%s"}\n' % (n, b"x" * padding) for n in range(begin, end))


def feed(daemon: DaemonProcess, *batches: bytes, stream: str = "flows") -> None:
    with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines, stream)
            producer.flush()


def is_drained(daemon: DaemonProcess) -> bool:
    """Whether the sink's cursor stands behind everything stored."""
    consumers = request(daemon.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]
    return any(found["consumer"] == "sink.cluster" and found["lag_batches"] == 0 for found in consumers)


def test_batches_are_messages_with_their_names_in_the_headers(tmp_path: Path, server: NatsServer) -> None:
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon:
        feed(daemon, KEPT + DROPPED + KEPT, DROPPED, KEPT)
        wait_until(lambda: counters(daemon).get('flowd_sink_batches_total{sink="cluster"}') == 2, "both batches")
        epoch = bytes.fromhex(daemon.status()["epoch"])
        assert daemon.status()["sinks"]["cluster"]["state"] == "up"
    (one, two) = read_all(server.url)
    assert [one[0], two[0]] == ["flowd.flows.node-a~example"] * 2
    assert [one[2], two[2]] == [2 * KEPT, KEPT]
    assert one[1].message_id == f"{epoch.hex()}/flows/1"
    assert (one[1].epoch, one[1].stream, one[1].node, one[1].seq) == (epoch, "flows", "node-a.example", 1)
    assert (one[1].lines, one[1].before, one[1].previous) == (2, 0, None)
    assert (two[1].seq, two[1].lines, two[1].before, two[1].previous) == (3, 1, 2, 1)


@pytest.mark.parametrize(
    ("hows", "daemons"), [(["kill"], 1), (["lame"], 1), (["kill", "lame"], 2)], ids=["killed", "lame", "with daemons"]
)
def test_one_of_three_servers_ends_under_load_and_nothing_is_lost_or_doubled(
    tmp_path: Path, hows: list[str], daemons: int
) -> None:
    """By kill -9, as a lame duck, and while one of two daemons and the consumer are killed, too."""
    outcome = attack(tmp_path, 2, seed=1, daemons=daemons, hows=hows, is_short=True)
    assert (outcome.lost, outcome.duplicates) == (0, 0)
    assert outcome.stored == outcome.sent > 0
    assert (outcome.read.lost, outcome.read.again) == (0, 0)


def test_a_killed_daemon_goes_on_where_the_stream_ends(tmp_path: Path, server: NatsServer) -> None:
    with DaemonProcess(tmp_path, **sink(server.url, window=4)) as daemon:
        for round_number in range(3):
            begin = round_number * 40
            feed(daemon, *(numbered(n, n + 1, 50_000) for n in range(begin, begin + 40)))
            wait_until(lambda: counters(daemon).get('flowd_sink_batches_total{sink="cluster"}', 0) > 3, "some batches")
            daemon.kill()
            daemon.start()
        wait_until(lambda: is_drained(daemon), "the rest")
    found = read_all(server.url)
    assert b"".join(payload for _, _, payload in found) == numbered(0, 120, 50_000)
    assert [head.before for _, head, _ in found] == list(range(120))


def test_what_the_server_has_forgotten_is_looked_up_in_the_stream(tmp_path: Path, server: NatsServer) -> None:
    """The cursor is set back, as a daemon leaves it that is killed before it is stored; and the ids are forgotten."""
    with DaemonProcess(tmp_path, **sink(server.url, duplicate_window_s="100ms")) as daemon:
        feed(daemon, KEPT, 2 * KEPT, 3 * KEPT)
        wait_until(lambda: is_drained(daemon), "three batches")
        daemon.terminate()
        asyncio.run(_forget_ids(server.url))
        without_sink = DaemonProcess(tmp_path)
        without_sink.start()
        reset = {"do": "reset", "consumer": "sink.cluster", "stream": "flows", "to": "oldest"}
        request(without_sink.endpoint("admin"), "consumers", DEADLINE_S, **reset)
        without_sink.terminate()
        daemon.start()
        feed(daemon, 4 * KEPT)
        wait_until(lambda: is_drained(daemon), "the fourth batch")
    assert [payload for _, _, payload in read_all(server.url)] == [KEPT, 2 * KEPT, 3 * KEPT, 4 * KEPT]


async def _forget_ids(url: str) -> None:
    """Waits until the server takes an id a second time."""
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        (_, head, _) = (await _read_all(url, "FLOWD"))[-1]
        headers = {"Nats-Msg-Id": head.message_id}
        # With the window: else an id that is remembered just now would be so for the server's usual two minutes.
        changed = StreamConfig(name="FLOWD", subjects=["flowd.*.*", "probe"], duplicate_window=0.1)
        for number in range(10_000):
            await jetstream.update_stream(changed)
            answer = await jetstream.publish("probe", b"", headers=headers)
            if not answer.duplicate:
                await jetstream.delete_msg("FLOWD", answer.seq)
                return
            assert number < 9_999
    finally:
        await client.close()


def test_batches_over_the_servers_bound_go_in_parts(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0], more="max_payload: 65536") as server,
        DaemonProcess(tmp_path, **sink(server.url)) as daemon,
    ):
        long = b'{"p":"' + b"y" * 200_000 + b'"}\n'
        lines = numbered(0, 900, 100) + long + numbered(900, 1000, 100)
        feed(daemon, lines)
        wait_until(lambda: is_drained(daemon), "the batch")
        found = read_all(server.url)
        assert len(found) > 4
        assert all(len(payload) <= 65536 for _, _, payload in found)
        with Consumer(server.url, timeout_s=DEADLINE_S) as consumer:
            taken = b""
            while len(taken) < len(lines):
                taken += next(consumer).lines
        assert taken == lines


def test_a_server_that_is_not_there_yet_degrades_and_is_waited_for(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", free_ports(1)[0])
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon:
        feed(daemon, KEPT)
        reasons = wait_until(lambda: daemon.status().get("reasons"), "a degraded daemon")
        assert reasons[0].startswith(f"sink cluster: {server.url}: ")
        with server:
            wait_until(lambda: is_drained(daemon), "the batch")
            wait_until(lambda: daemon.status()["state"] == "ok", "a daemon that is well")
            assert [payload for _, _, payload in read_all(server.url)] == [KEPT]


def test_a_full_stream_refuses_and_nothing_is_lost(tmp_path: Path, server: NatsServer) -> None:
    with DaemonProcess(tmp_path, **sink(server.url, max_bytes="300KB", discard="new")) as daemon:
        feed(daemon, numbered(0, 1, 200_000), numbered(1, 2, 200_000))
        refused = 'flowd_sink_refused_messages_total{sink="cluster",reason="limit"}'
        wait_until(lambda: counters(daemon).get(refused), "a refusal")
        assert "maximum bytes exceeded" in daemon.status()["sinks"]["cluster"]["reason"]

        async def make_room() -> None:
            client = await nats.connect(server.url)
            await client.jetstream().purge_stream("FLOWD")
            await client.close()

        asyncio.run(make_room())
        wait_until(lambda: is_drained(daemon), "the second batch")
        assert [payload for _, _, payload in read_all(server.url)] == [numbered(1, 2, 200_000)]


def test_a_stream_that_is_there_is_used_as_it_is(tmp_path: Path, server: NatsServer) -> None:
    async def make() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(StreamConfig(name="MINE", subjects=["flowd.>"], max_msgs=7))
        await client.jetstream().add_stream(StreamConfig(name="OTHER", subjects=["other"]))
        await client.close()

    asyncio.run(make())
    with DaemonProcess(tmp_path, **sink(server.url, jetstream="MINE", provision=False)) as daemon:
        feed(daemon, KEPT)
        wait_until(lambda: is_drained(daemon), "the batch")
        assert [payload for _, _, payload in read_all(server.url, "MINE")] == [KEPT]


@pytest.mark.parametrize(("name", "words"), [("OTHER", "does not take 'flowd.*.*'"), ("NONE", "there is no JetStream")])
def test_a_stream_that_does_not_take_the_batches_is_told(
    tmp_path: Path, server: NatsServer, name: str, words: str
) -> None:
    async def make() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(StreamConfig(name="OTHER", subjects=["other"]))
        await client.close()

    asyncio.run(make())
    with DaemonProcess(tmp_path, **sink(server.url, jetstream=name, provision=False)) as daemon:
        reason = wait_until(lambda: daemon.status()["sinks"]["cluster"]["reason"], "the reason")
        assert words in reason


def test_users_and_tls(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    password = tmp_path / "password"
    password.write_text("secret\n")
    more = (
        f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
        'authorization { user: "flowd", password: "secret", timeout: 5 }'
    )
    login = {"user": "flowd", "password_file": str(password), "tls_ca_file": str(certificate)}
    with NatsServer(tmp_path / "nats", free_ports(1)[0], more=more) as server:
        with DaemonProcess(tmp_path, **sink(server.url, **login)) as daemon:
            feed(daemon, KEPT)
            wait_until(lambda: is_drained(daemon), "the batch")
        password.write_text("wrong\n")
        with DaemonProcess(tmp_path, **sink(server.url, **login)) as daemon:
            # A server that refuses closes the connection, and that may be heard first.
            wait_until(lambda: "authorization" in daemon.status()["sinks"]["cluster"]["reason"].lower(), "the reason")


def test_every_problem_of_a_section_is_told(tmp_path: Path) -> None:
    wrong = {"subject": "flowd.{stream}", "node": "a b", "jetstream": "A.B", "replicas": 9, "window": 0, "user": "me"}
    given = settings(tmp_path, **sink("http://nats:4222", tls_ca_file=str(tmp_path / "none"), **wrong))
    with pytest.raises(ConfigError) as caught:
        load_config(None, given, {})
    assert {problem.message for problem in caught.value.problems} == {
        "http://nats:4222: http is no scheme of NATS",
        "subject 'flowd.{stream}' names {node} 0 times",
        "node 'a b' is no legal name",
        "jetstream 'A.B' is no name of a stream",
        "replicas = 9 is out of range",
        "window = 0 is too small",
        "sinks.cluster.password_file is missing",
        f"{tmp_path / 'none'} cannot be read",
    }


def test_a_drained_daemon_has_delivered_what_it_stored(tmp_path: Path, server: NatsServer) -> None:
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon:
        wait_until(lambda: daemon.status()["sinks"]["cluster"]["state"] == "up", "the sink")
        feed(daemon, *[KEPT] * 30)
        daemon.terminate()
        daemon.start()
        wait_until(lambda: is_drained(daemon), "the rest")
    assert [head.seq for _, head, _ in read_all(server.url)] == list(range(1, 31))


def test_what_a_cursor_was_moved_over_is_counted_in_the_next_heads(tmp_path: Path, server: NatsServer) -> None:
    """The last message says what was acknowledged when it was sent; the cursor has gone on since."""
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon:
        feed(daemon, *(numbered(n, n + 1) for n in range(20)))
        wait_until(lambda: is_drained(daemon), "twenty batches")
        daemon.kill()
        daemon.start()
        feed(daemon, numbered(20, 21))
        wait_until(lambda: is_drained(daemon), "one more")
    heads = [head for _, head, _ in read_all(server.url)]
    assert [head.before for head in heads] == list(range(21))
    assert [head.previous for head in heads] == [None, *range(1, 21)]
