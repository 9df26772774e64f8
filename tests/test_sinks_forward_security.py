"""The Forward sink and its servers prove themselves to each other, by TLS, the shared key, users; who fails is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from forward_bed import (
    Receiver,
    counted,
    feed,
    forwarding,
    make_ca,
    make_certificate,
    numbered,
    numbers,
    wait_for_delivery,
    write_secret,
)
from relay_bed import settings, wait_until

from flowd.errors import ConfigError
from flowd.relay.config import load_config
from flowd.sinks.forward.security import Credentials, Handshake, NotAdmitted
from flowd.wire.forward import shared_key_digest

SECRET = "a secret of the cluster"


def deliver(directory: Path, receiver: Receiver, **section: Any) -> None:
    """A line gets there."""
    with forwarding(directory, receiver, **section) as daemon:
        feed(daemon, *numbered(0, 3))
        wait_for_delivery(daemon, 3)
        assert set(numbers(receiver)) == {0, 1, 2}


def refuse(directory: Path, receiver: Receiver, reason: str, story: str, **section: Any) -> None:
    """None gets there, and why is told. The daemon starts without a server: whether it is well is asked here."""
    daemon = forwarding(directory, receiver, **section)
    daemon.process = daemon.spawn()
    try:
        wait_until((daemon.run_dir / "admin.sock").exists, "the daemon's start")
        wait_until(lambda: daemon.status()["state"] == "degraded", "the sink's being down")
        assert daemon.status()["reasons"] == [f"sink out: {receiver.address}: {story}"]
        assert counted(daemon, "sink_connection_failures", reason=reason) >= 1
    finally:
        daemon.kill()
    assert receiver.chunks() == []


def test_tls_with_certificates_on_both_sides(tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    server = make_certificate(tmp_path, "server", "DNS:aggregator,IP:127.0.0.1", ca)
    client = make_certificate(tmp_path, "client", "DNS:node", ca)
    told = {"certificate": str(server[0]), "key": str(server[1]), "client_ca": str(ca[0])}
    own = {"sink__tls_cert_file": str(client[0]), "sink__tls_key_file": str(client[1])}
    section = {"sink__tls": True, "sink__tls_ca_file": str(ca[0]), **own}
    with Receiver(tmp_path, **told) as receiver:
        deliver(tmp_path, receiver, **section)


def test_a_server_is_judged_by_the_name_that_is_configured(tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    certificate, key = make_certificate(tmp_path, "server", "DNS:aggregator.logging", ca)
    section = {"sink__tls": True, "sink__tls_ca_file": str(ca[0])}
    with Receiver(tmp_path, certificate=str(certificate), key=str(key)) as receiver:
        story = "no TLS: its certificate is not trusted: IP address mismatch, certificate is not valid for '127.0.0.1'"
        refuse(tmp_path, receiver, "tls", story, **section)
        deliver(tmp_path, receiver, **section, sink__tls_server_name="aggregator.logging")


def test_a_server_of_another_ca_is_refused(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    own, other = make_ca(tmp_path / "own"), make_ca(tmp_path / "other")
    certificate, key = make_certificate(tmp_path, "server", "IP:127.0.0.1", other)
    with Receiver(tmp_path, certificate=str(certificate), key=str(key)) as receiver:
        story = "no TLS: its certificate is not trusted: unable to get local issuer certificate"
        refuse(tmp_path, receiver, "tls", story, sink__tls=True, sink__tls_ca_file=str(own[0]))


def test_a_shared_key_and_a_user(tmp_path: Path) -> None:
    section = {
        "sink__shared_key_file": str(write_secret(tmp_path / "key", SECRET)),
        "sink__username": "node",
        "sink__password_file": str(write_secret(tmp_path / "password", "word")),
    }
    with Receiver(tmp_path, shared_key=SECRET, users={"node": "word"}) as receiver:
        deliver(tmp_path, receiver, **section)
    write_secret(tmp_path / "password", "another")
    with Receiver(tmp_path, "second", shared_key=SECRET, users={"node": "word"}) as receiver:
        refuse(tmp_path, receiver, "refused", "it refuses: username/password mismatch", **section)


def test_a_server_that_ends_each_connection_after_a_chunk(tmp_path: Path) -> None:
    key = write_secret(tmp_path / "key", SECRET)
    with (
        Receiver(tmp_path, shared_key=SECRET, keepalive=False) as receiver,
        forwarding(tmp_path, receiver, sink__shared_key_file=str(key)) as daemon,
    ):
        feed(daemon, *numbered(0, 20))
        wait_for_delivery(daemon, 20)
        assert numbers(receiver) == list(range(20))
        assert counted(daemon, "sink_repeated_chunks") == 0


@pytest.mark.parametrize(
    ("told", "has_key", "story"),
    [
        ({"shared_key": "another"}, True, "it refuses: shared_key mismatch"),
        ({"shared_key": SECRET, "answer_key": "another"}, True, "it does not know the shared key"),
        (
            {"shared_key": SECRET, "users": {"node": "word"}},
            True,
            "it refuses: username/password mismatch",
        ),
        (
            {"shared_key": "another", "is_mute": True},
            True,
            "it closed the connection at the handshake: has it the same key?",
        ),
        ({"shared_key": SECRET}, False, "it asks for a shared key: give shared_key_file"),
    ],
)
def test_why_a_handshake_failed_is_told(tmp_path: Path, told: dict[str, Any], has_key: bool, story: str) -> None:
    key = write_secret(tmp_path / "key", SECRET)
    section = {"sink__shared_key_file": str(key)} if has_key else {}
    with Receiver(tmp_path, **told) as receiver:
        refuse(tmp_path, receiver, "refused", story, **section)


def test_a_key_is_read_anew_for_each_connection(tmp_path: Path) -> None:
    key = write_secret(tmp_path / "key", "an old key")
    with (
        Receiver(tmp_path, shared_key="an old key") as receiver,
        forwarding(tmp_path, receiver, sink__shared_key_file=str(key)) as daemon,
    ):
        feed(daemon, *numbered(0, 1))
        wait_for_delivery(daemon, 1)
        receiver.kill()
        write_secret(key, "a new key")
        receiver.told["shared_key"] = "a new key"
        receiver.start()
        feed(daemon, *numbered(1, 2))
        wait_for_delivery(daemon, 2)


def test_a_server_cannot_show_the_digest_that_it_was_sent() -> None:
    own = Credentials(b"node", b"key")
    handshake = Handshake(own)
    ping = handshake.answer_helo([b"HELO", {b"nonce": b"n", b"auth": b""}])
    with pytest.raises(NotAdmitted, match="this node's own name, node"):
        handshake.judge_pong([b"PONG", True, b"", b"node", ping[3].encode()])
    good = shared_key_digest(ping[2].encode(), b"other", b"n", b"key").encode()
    handshake.judge_pong([b"PONG", True, b"", b"other", good])


@pytest.mark.parametrize("helo", [None, [], [b"HELO"], [b"HELO", []], [b"PONG", {}], [b"HELO", {b"nonce": 1}], {}])
def test_what_is_no_helo_is_refused(helo: Any) -> None:
    with pytest.raises(NotAdmitted):
        Handshake(Credentials(b"node", b"key")).answer_helo(helo)


@pytest.mark.parametrize(
    "pong",
    [
        None,
        [b"PONG", True],
        [b"PING", True, b"", b"a", b"b"],
        [b"PONG", True, b"", 1, b""],
        [b"PONG", 1, b"", b"", b""],
    ],
)
def test_what_is_no_pong_is_refused(pong: Any) -> None:
    handshake = Handshake(Credentials(b"node", b"key"))
    handshake.answer_helo([b"HELO", {b"nonce": b"n"}])
    with pytest.raises(NotAdmitted):
        handshake.judge_pong(pong)


def problems_of(directory: Path, **section: Any) -> list[str]:
    sinks = {"out": {"type": "forward", "servers": ["10.0.0.5:24224"], **section}}
    try:
        load_config(None, settings(directory, sinks=sinks), {})
    except ConfigError as error:
        return [f"{problem.code}: {problem.message}" for problem in error.problems]
    return []


def test_a_section_is_checked(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == []
    spare = {"address": "[fd00::5]", "standby": True, "weight": 3}
    assert problems_of(tmp_path, servers=["aggregator", "unix:///run/f.sock", spare]) == []
    found = problems_of(
        tmp_path,
        servers=["10.0.0.5:24224", "10.0.0.5:24224", "10.0.0.5:99999", {"address": "a", "weight": 0}],
        tag="{stream}.{host}",
        chunk_bytes="1KiB",
        window=0,
        ack_timeout_s=0,
        tls_ca_file="ca.pem",
        username="node",
    )
    assert sorted(found) == [
        "sinks.out.ack_timeout_s: ack_timeout_s = 0 is too short",
        "sinks.out.chunk_bytes: chunk_bytes = 1024 is out of range",
        "sinks.out.servers: 10.0.0.5:24224 stands there twice",
        "sinks.out.servers: 10.0.0.5:99999: not an address",
        "sinks.out.servers: a: weight = 0 is out of range",
        "sinks.out.tag: {host} stands for nothing in a tag",
        "sinks.out.tls_ca_file: tls_ca_file is for TLS, which is off",
        "sinks.out.username: a user needs a shared key, too: the protocol has it so",
        "sinks.out.window: window = 0 is out of range",
        "sinks.out: a user needs both username and password_file",
    ]
    assert problems_of(tmp_path, servers=[]) == [
        "sinks.out.servers: sinks.out.servers is missing: there is no server to send to"
    ]
    assert problems_of(tmp_path, servers=[spare]) == ["sinks.out.servers: all servers are standby"]
    unix = problems_of(tmp_path, tls=True, servers=["unix:///run/f.sock"])
    assert unix == ["sinks.out.servers: unix:///run/f.sock: a unix socket has no TLS"]
    assert "weigth" in problems_of(tmp_path, servers=[{"address": "a", "weigth": 2}])[0]


def test_secrets_and_certificates_are_checked(tmp_path: Path) -> None:
    key = write_secret(tmp_path / "key", SECRET)
    key.chmod(0o640)
    missing = str(tmp_path / "missing")
    assert problems_of(tmp_path, shared_key_file=str(key)) == [
        f"sinks.out.shared_key_file: {key}: mode 0640 lets others at a secret"
    ]
    assert problems_of(tmp_path, tls=True, tls_ca_file=missing) == [
        f"sinks.out: {missing}: no CA certificates: No such file or directory"
    ]
    assert problems_of(tmp_path, tls=True, tls_cert_file=missing) == [
        "sinks.out: a certificate needs both tls_cert_file and tls_key_file"
    ]
