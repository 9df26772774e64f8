"""TCP with CURVE: who belongs is served, who does not gets nothing in and nothing out, and each is counted."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from cli_bed import flowd, started
from curve_bed import Keys, Node, plain_socket, serving
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, Peer, batch, running, wait_until

from flowd import aio
from flowd.client import Producer, request
from flowd.errors import FlowdError, NotAcknowledged, Refused, Unreachable
from flowd.relay.live.remote import CHECK_S
from flowd.wire import Ack, Attach, Attached, Batch, Commit, Committed, Credit, Err, Hello, Nak, View, encode
from flowd.wire.keys import Certificate, make_key_pair, write_certificate

LANES = ("ingest", "live", "consume")
HALF_OPEN = 500
SHORT_S = 0.5


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with serving(tmp_path) as node:
        yield node


def assert_serves(node: Node, name: str = "friend") -> None:
    """Others are unaffected: a line goes in and comes out over TCP, live and from the journal."""
    secret = node.keys.make(name)
    with node.subscriber(secret) as subscriber, node.consumer(secret, start="newest") as consumer:
        subscriber.connect(DEADLINE_S)
        consumer.connect(DEADLINE_S)
        with node.producer(secret) as producer:
            producer.send(DROPPED + KEPT)
            producer.flush()
        for reader in (subscriber, consumer):
            batch = reader.poll(DEADLINE_S)
            assert batch is not None
            assert batch.lines == KEPT
        consumer.commit()


def knock(node: Node, lane: str, secret: Path) -> None:
    """Tries to use a lane."""
    if lane == "ingest":
        with node.producer(secret) as producer:
            producer.send(KEPT)
    elif lane == "live":
        with node.subscriber(secret) as subscriber:
            subscriber.connect(DEADLINE_S)
    else:
        with node.consumer(secret) as consumer:
            consumer.connect(DEADLINE_S)


def lines_in(node: Node) -> int:
    lines: int = node.status()["streams"]["flows"]["lines"]
    return lines


def test_who_belongs_is_served(node: Node) -> None:
    assert_serves(node)
    for lane in LANES:
        wait_until(lambda lane=lane: node.count("flowd_authenticated_connections_total", lane=lane) == 1, "its count")
    assert node.count("flowd_refused_handshakes_total") == node.count("flowd_refused_keys_total") == 0


def test_ipc_and_tcp_are_one_stream(node: Node) -> None:
    secret = node.keys.make("siem", "consume")
    with node.subscriber(secret) as subscriber:
        subscriber.connect(DEADLINE_S)
        with Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
            producer.send(KEPT)
        batch = subscriber.poll(DEADLINE_S)
        assert batch is not None
        assert (batch.seq, batch.lines) == (1, KEPT)
        assert node.status()["subscribers"] == {"flows": 1}
    wait_until(lambda: node.status()["subscribers"] == {"flows": 0}, "the subscription's end")


@pytest.mark.parametrize("lane", LANES)
def test_without_a_key_nothing_goes_in_or_out(node: Node, lane: str) -> None:
    kind = zmq.SUB if lane == "live" else zmq.DEALER
    with plain_socket(kind, node.endpoint(lane)) as stranger:
        if lane == "live":
            stranger.subscribe(b"")
        else:
            stranger.send_multipart(encode(Hello([1], bytes(16), 1, None)))
            stranger.send_multipart(encode(Attach("flows", 1 << 20, 32)))
        wait_until(lambda: node.count("flowd_refused_handshakes_total", lane=lane, reason="handshake"), "a refusal")
        assert_serves(node)
        assert not stranger.poll(0)
    assert node.count("flowd_conversations_total") == 1
    wait_until(lambda: node.count("flowd_authenticated_connections_total", lane=lane) == 1, "the friend's count")


def test_an_unknown_key_is_refused_and_told(node: Node) -> None:
    secret = node.keys.make("stranger", is_allowed=False)
    for lane in LANES:
        with pytest.raises(Refused, match="does not let this key in"):
            knock(node, lane, secret)
        assert node.count("flowd_refused_keys_total", lane=lane, reason="unknown") == 1
        assert node.count("flowd_authenticated_connections_total", lane=lane) == 0
        wait_until(lambda lane=lane: node.count("flowd_refused_handshakes_total", lane=lane, reason="key"), "its count")
    assert lines_in(node) == 0
    assert_serves(node)


@pytest.mark.parametrize(
    ("lane", "roles"), [("ingest", "consume admin"), ("live", "produce admin"), ("consume", "produce admin")]
)
def test_a_key_is_good_for_its_roles_only(node: Node, lane: str, roles: str) -> None:
    secret = node.keys.make("half", roles)
    with pytest.raises(Refused, match="does not let this key in"):
        knock(node, lane, secret)
    assert node.count("flowd_refused_keys_total", lane=lane, reason="role") == 1
    assert lines_in(node) == 0
    assert_serves(node)


def test_a_wrong_server_key_lets_nothing_through(node: Node) -> None:
    secret = node.keys.make("agent")
    wrong, _ = make_key_pair()
    producer = node.producer(secret, server_key=wrong, timeout_s=SHORT_S)
    producer.send(KEPT)
    with pytest.raises((NotAcknowledged, Unreachable)):
        producer.flush()
    refused = "flowd_refused_handshakes_total"
    wait_until(lambda: node.count(refused, lane="ingest", reason="protocol"), "its count")
    producer.close()
    with node.subscriber(secret, server_key=wrong) as subscriber:
        with pytest.raises(Unreachable):
            subscriber.connect(SHORT_S)
        wait_until(lambda: node.count(refused, lane="live", reason="protocol"), "its count")
    with node.consumer(secret, server_key=wrong) as consumer:
        with pytest.raises(Unreachable):
            consumer.connect(SHORT_S)
        wait_until(lambda: node.count(refused, lane="consume", reason="protocol"), "its count")
    for lane in LANES:
        assert node.count("flowd_authenticated_connections_total", lane=lane) == 0
    assert lines_in(node) == 0
    assert_serves(node)


def test_the_asyncio_clients_take_keys(node: Node) -> None:
    secret = node.keys.make("async")
    options = {"server_key": node.keys.server, "secret_file": secret, "timeout_s": DEADLINE_S}

    async def talk() -> bytes:
        async with aio.Subscriber(node.live, **options) as subscriber:
            await subscriber.connect(DEADLINE_S)
            async with aio.Producer(node.ingest, **options) as producer:
                await producer.send(KEPT)
            async for batch in subscriber:
                return batch.lines
        raise AssertionError("nothing came")

    assert asyncio.run(talk()) == KEPT


def test_the_command_line_takes_keys(node: Node) -> None:
    write_certificate(node.keys.folder / "server.key", Certificate(node.keys.server, "", {}))
    keys = ("--server-key", node.keys.folder / "server.key", "--secret-file", node.keys.make("person"))
    with started("observe", "--endpoint", node.live, *keys, "-n", "1") as observer:
        assert observer.stdout is not None
        wait_until(lambda: node.status()["subscribers"] == {"flows": 1}, "the subscription")
        sent = flowd("send", "--endpoint", node.ingest, *keys, lines=KEPT)
        assert (sent.returncode, b"1 of 1 lines acknowledged" in sent.stderr) == (0, True)
        assert observer.stdout.read() == KEPT
        assert observer.wait(DEADLINE_S) == 0
    node.keys.revoke("person")
    for command, endpoint in (("send", node.ingest), ("observe", node.live)):
        refused = flowd(command, "--endpoint", endpoint, *keys, lines=KEPT)
        assert (refused.returncode, b"does not let this key in" in refused.stderr) == (69, True)
    without = flowd("send", "--endpoint", node.ingest, lines=KEPT)
    assert (without.returncode, b"TCP needs CURVE keys" in without.stderr) == (78, True)
    with pytest.raises(FlowdError, match="the admin lane is local"):
        request(node.ingest, "status")


def test_a_removed_key_is_refused_from_the_next_message_on(node: Node) -> None:
    with node.peer(node.keys.make("agent")) as agent, node.peer(node.keys.make("other")) as other:
        agent.hello()
        other.hello()
        assert isinstance(agent.send(1, KEPT), Ack)
        node.keys.revoke("agent")
        answer = agent.send(2, KEPT)
        assert isinstance(answer, Err)
        assert answer.code == "key"
        assert isinstance(other.send(1, KEPT), Ack)
        assert isinstance(agent.send(2, KEPT), Err)
        assert node.count("flowd_refused_messages_total", lane="ingest", reason="revoked") == 2
        assert lines_in(node) == 2
        node.keys.grant("other", "consume", "*")
        assert isinstance(other.send(2, KEPT), Err)
        assert node.count("flowd_refused_messages_total", lane="ingest", reason="role") == 1
        assert lines_in(node) == 2
    assert_serves(node)


def test_a_removed_key_hears_nothing_more(node: Node) -> None:
    revoked, stays = node.keys.make("revoked"), node.keys.make("stays", "consume")
    with (
        node.subscriber(revoked) as leaver,
        node.subscriber(stays) as listener,
        Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer,
    ):
        leaver.connect(DEADLINE_S)
        listener.connect(DEADLINE_S)
        node.keys.revoke("revoked")
        wait_until(lambda: node.count("flowd_revocations_total", lane="live") == 1, "the revocation")
        producer.send(KEPT)
        producer.flush()
        with pytest.raises(Refused, match="does not let this key in"):
            list(leaver)
        wait_until(
            lambda: listener.poll(0) is None and node.status()["subscribers"] == {"flows": 1}, "the other one's return"
        )
        producer.send(KEPT * 2)
        producer.flush()
        found = listener.poll(DEADLINE_S)
        while found is not None and found.seq < 2:
            found = listener.poll(DEADLINE_S)
        assert found is not None
        assert (found.seq, found.lines) == (2, KEPT * 2)
    assert node.count("flowd_refused_keys_total", lane="live", reason="unknown") >= 1
    assert CHECK_S <= 0.1


def test_a_key_is_good_for_its_streams_only(node: Node) -> None:
    secret = node.keys.make("flows-only", streams="flows")
    with node.peer(secret) as agent:
        agent.hello()
        refused = agent.send(1, KEPT, "dns")
        assert isinstance(refused, Nak)
        assert refused.code == "stream"
        assert isinstance(agent.send(1, KEPT), Ack)
    assert node.count("flowd_refused_batches_total", reason="stream_key") == 1
    assert "dns" not in node.status()["streams"]
    with node.subscriber(secret, "dns") as curious:
        with pytest.raises(Unreachable):
            curious.connect(SHORT_S)
        wait_until(lambda: node.count("flowd_refused_subscriptions_total", lane="live") == 1, "its count")
        assert curious.heard == 0
    assert_serves(node)


def test_a_subscription_to_everything_is_refused(node: Node) -> None:
    with node.subscriber(node.keys.make("greedy")) as greedy:
        greedy._topic = ""
        with pytest.raises(Unreachable):
            greedy.connect(SHORT_S)
        wait_until(lambda: node.count("flowd_refused_subscriptions_total", lane="live") == 1, "its count")
        assert greedy.heard == 0
    assert_serves(node)


def test_nobody_speaks_for_the_producer_of_another_key(node: Node) -> None:
    with node.peer(node.keys.make("one")) as one, node.peer(node.keys.make("two")) as two:
        two.id = one.id
        one.hello()
        one.send(1, KEPT)
        assert two.hello().last == 0
        assert isinstance(two.send(1, KEPT), Ack)
        assert isinstance(one.send(2, KEPT), Ack)
    assert node.count("flowd_duplicate_batches_total") == 0


def test_a_dead_gate_lets_nothing_in_or_out(node: Node) -> None:
    secret = node.keys.make("agent")
    with node.peer(secret) as agent, node.subscriber(secret) as listener:
        agent.hello()
        assert isinstance(agent.send(1, KEPT), Ack)
        listener.connect(DEADLINE_S)
        assert node.daemon._remote is not None
        node.daemon._remote._gate.end()
        before = listener.heard
        agent.say(batch(2, KEPT), KEPT)
        wait_until(lambda: node.count("flowd_refused_messages_total", lane="ingest", reason="gate"), "a refusal")
        late = node.producer(secret, timeout_s=SHORT_S)
        late.send(KEPT)
        with pytest.raises((NotAcknowledged, Unreachable)):
            late.flush()
        late.close()
        with Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as local:
            local.send(KEPT)
        while listener.poll(SHORT_S) is not None:
            pass
        assert listener.heard <= before + 2, "what was on its way at that moment"
        assert not agent.socket.poll(0)
    assert lines_in(node) == 2
    wait_until(lambda: node.count("flowd_authenticated_connections_total", lane="ingest") == 1, "the first one's count")
    status = node.status()
    assert (status["state"], len(status["reasons"])) == ("degraded", 1)
    assert status["reasons"][0].startswith("tcp: the gate is dead")


def test_a_removed_key_is_sent_nothing_more_from_the_journal(node: Node) -> None:
    with (
        node.peer(node.keys.make("siem", "consume"), "consume") as siem,
        node.peer(node.keys.make("other", "consume"), "consume") as other,
        Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer,
    ):
        for reader in (siem, other):
            reader.say(Attach("flows", 1 << 20, 1))
            assert isinstance(reader.hear(), Attached)
            reader.hear()
        producer.send(KEPT)
        producer.flush()
        assert isinstance(siem.hear(), Batch)
        node.keys.revoke("siem")
        siem.say(Credit(1 << 20, 5))
        assert any(isinstance(heard, Err) and heard.code == "key" for heard in _hear_all(siem))
        assert node.count("flowd_refused_messages_total", lane="consume", reason="revoked") >= 1
        while not isinstance(other.hear(), Batch):
            pass
        # Credit that is left is no right: the next batch does not go out either.
        node.keys.revoke("other")
        other.say(Credit(1 << 20, 5))
        assert any(isinstance(heard, Err) and heard.code == "key" for heard in _hear_all(other))
        producer.send(KEPT)
        producer.flush()
        wait_until(lambda: node.count("flowd_refused_messages_total", lane="consume", reason="revoked") >= 2, "it")
        assert not any(isinstance(message, Batch) for message in _hear_all(other))


def _hear_all(peer: Peer) -> list[object]:
    found = []
    while peer.socket.poll(100):
        found.append(peer.hear())
    return found


def test_credit_given_before_a_revocation_is_worth_nothing_after_it(node: Node) -> None:
    with (
        node.peer(node.keys.make("siem", "consume"), "consume") as siem,
        Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer,
    ):
        siem.say(Attach("flows", 1 << 20, 32))
        assert isinstance(siem.hear(), Attached)
        siem.hear()
        node.keys.revoke("siem")
        wait_until(lambda: _is_told(siem, producer), "the refusal")
    assert node.status()["consumers"] == []


def _is_told(peer: Peer, producer: Producer) -> bool:
    """Sends a line; whether it, or an earlier one, was answered with ERR instead of being delivered."""
    producer.send(KEPT)
    producer.flush()
    return any(isinstance(message, Err) and message.code == "key" for message in _hear_all(peer))


def test_a_consumers_name_belongs_to_its_keys_name(node: Node) -> None:
    """Nobody moves the cursor of another key; it outlives a change of keys."""
    with Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT)
    one, two = node.keys.make("one", "consume"), node.keys.make("two", "consume")
    with node.consumer(one, timeout_s=DEADLINE_S) as first, node.consumer(two, timeout_s=DEADLINE_S) as second:
        next(first)
        next(second)
        first.commit()
        found = request(node.config.endpoint("admin"), "consumers")["consumers"]
        assert [(entry["consumer"], entry["next"]) for entry in found] == [("siem@one", 2), ("siem@two", 1)]
    node.keys.revoke("one")
    one.unlink()
    with node.consumer(node.keys.make("one", "consume"), until="newest") as again:
        assert list(again) == []


def test_a_key_consumes_its_streams_and_views_only(tmp_path: Path) -> None:
    (tmp_path / "all").write_text("")
    views = {"prod": {"stream": "flows", "path": str(tmp_path / "all")}}
    with serving(tmp_path, views=views) as node:
        dns_only = node.keys.make("dns-only", "consume", "dns")
        prod_only = node.keys.make("prod-only", "consume", "prod")
        with Producer(node.config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
            producer.send(KEPT)
        for wanted in ({"stream": "flows"}, {"stream": "flows", "filter": "<filter>"}, {"stream": "prod"}):
            with node.consumer(dns_only, **wanted) as consumer, pytest.raises(Refused, match="not allowed to hear"):
                consumer.connect(DEADLINE_S)
        with node.peer(dns_only, "consume") as peer:
            peer.say(View("flows", ""))
            assert peer.hear().code == "stream"
        assert node.count("flowd_refused_attachments_total", reason="stream") == 4
        with node.consumer(prod_only, stream="flows") as consumer, pytest.raises(Refused):
            consumer.connect(DEADLINE_S)
        for wanted in ({"stream": "prod"}, {"stream": "flows", "view": "prod"}):
            with node.consumer(prod_only, until="newest", start="oldest", **wanted) as consumer:
                assert [batch.lines for batch in consumer] == [KEPT]
        with node.subscriber(prod_only, "prod") as subscriber:
            subscriber.connect(DEADLINE_S)


def test_a_filter_of_ones_own_goes_over_tcp(node: Node) -> None:
    secret = node.keys.make("siem")
    text = DROP_DEV.replace("/^dev$/", "prod")
    with node.subscriber(secret, filter=text, consume=node.consume) as subscriber, node.producer(secret) as producer:
        subscriber.connect(DEADLINE_S)
        producer.send(KEPT)
        producer.send(b'{"n":1}\n')
        producer.flush()
        batch = subscriber.poll(DEADLINE_S)
        assert batch is not None
        assert batch.lines == b'{"n":1}\n'


def test_commits_go_over_tcp(node: Node) -> None:
    secret = node.keys.make("siem")
    with node.producer(secret) as producer, node.peer(secret, "consume") as peer:
        producer.send(KEPT)
        producer.flush()
        peer.say(Attach("flows", 1 << 20, 32, c="siem"))
        gen = peer.hear().gen
        assert isinstance(peer.hear(), Batch)
        peer.hear()
        peer.say(Commit(1, gen))
        assert peer.hear() == Committed(1)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("form", ["random", "http", "zmtp"])
def test_what_is_not_zmtp_is_counted_and_dropped(node: Node, lane: str, form: str) -> None:
    sent = {
        "random": random.Random(1).randbytes(4096),
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b" " * 64,
        "zmtp": b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32) + b"\xff" * 512,
    }[form]
    with node.connect(lane) as stranger:
        stranger.sendall(sent)
        received = b""
        try:
            while piece := stranger.recv(4096):
                received += piece
        except ConnectionResetError:
            pass
        assert len(received) < 256, "no more than a greeting"
    wait_until(lambda: node.count("flowd_accepted_connections_total", lane=lane) == 1, "its count")
    assert node.count("flowd_authenticated_connections_total", lane=lane) == 0
    assert node.count("flowd_malformed_messages_total") == 0
    assert_serves(node)


@pytest.mark.parametrize("setting", ["sources__ingest__bind", "live__bind", "consume__bind"])
def test_a_port_that_is_taken_ends_the_start(tmp_path: Path, setting: str) -> None:
    keys = Keys(tmp_path)
    curve = {"curve__server_secret_file": str(keys.server_file), "curve__allowed_keys_dir": str(keys.allowed)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        binds = {setting: [f"tcp://127.0.0.1:{taken.getsockname()[1]}"]}
        with pytest.raises(FlowdError, match="cannot be bound"), running(tmp_path, **binds, **curve):
            pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["flowd.lock"]


def test_half_open_connections_are_bounded_and_others_served(node: Node) -> None:
    fds = len(os.listdir("/proc/self/fd"))
    for lane in LANES:
        strangers = [node.connect(lane) for _ in range(HALF_OPEN // len(LANES))]
        try:
            assert_serves(node, f"friend-of-{lane}")
            wait_until(
                lambda lane=lane: (
                    node.count("flowd_refused_handshakes_total", lane=lane, reason="handshake")
                    >= HALF_OPEN // len(LANES)
                ),
                "the handshakes' end",
            )
        finally:
            for stranger in strangers:
                stranger.close()
    wait_until(lambda: len(os.listdir("/proc/self/fd")) < fds + 50, "the descriptors")
    assert node.count("flowd_refused_keys_total") == 0
