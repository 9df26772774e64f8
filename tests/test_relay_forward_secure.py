"""Who is let in to the Forward source: TLS, certificates of clients, the shared key, users, and the time for it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from forward_source_bed import (
    KEPT,
    KEPT_LINE,
    ForwardSender,
    count,
    forward_status,
    forwarding,
    pack,
    packed_forward,
    stored_lines,
    wait_for_count,
)
from relay_bed import running, wait_until

from flowd.errors import ConfigError, FlowdError
from flowd.relay.config import load_config
from flowd.relay.forward import connection
from flowd.wire.forward import password_digest, shared_key_digest
from flowd.wire.private import read_key, read_users

KEY = b"the key"
REFUSED = "flowd_forward_refused_handshakes_total"


def write_secret(path: Path, text: bytes, mode: int = 0o600) -> str:
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA with a server's and a client's certificate, and a stranger's that signed itself, by openssl."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    for name in ("ca", "stranger"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", f"{name}.pem",
        )  # fmt: skip
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    return folder


def tls_settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {"tls_cert_file": str(folder / "server.pem"), "tls_key_file": str(folder / "server.key"), **more}


def trusting(folder: Path, client: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    return context


def shake_hands(
    sender: ForwardSender, key: bytes = KEY, user: bytes = b"", password: bytes = b"", hostname: bytes = b"client"
) -> list[Any]:
    """Answers the daemon's HELO; returns its PONG, whose own digest is checked where it lets in."""
    word, options = sender.hear()
    assert word == "HELO"
    assert options["keepalive"] is True
    nonce, auth = options["nonce"], options["auth"]
    salt = b"salt"
    ping = ["PING", hostname, salt, shared_key_digest(salt, hostname, nonce, key), user]
    sender.send(pack(*ping, password_digest(auth, user, password) if auth else ""))
    pong: list[Any] = sender.hear()
    assert pong[0] == "PONG"
    if pong[1]:
        assert pong[4] == shared_key_digest(salt, pong[3].encode(), nonce, key)
    return pong


def test_tls_carries_large_chunks_and_their_acknowledgements(tmp_path: Path, certificates: Path) -> None:
    records = [{**KEPT, "pad": "x" * 1000}] * 5000
    with forwarding(tmp_path, settings=tls_settings(certificates)) as (_, config, [endpoint]):
        with ForwardSender(endpoint, trusting(certificates)) as sender:
            for number in range(3):
                sender.send(packed_forward(records, chunk=f"{number}"))
            assert sender.hear_acks(3) == ["0", "1", "2"]
        assert stored_lines(config).count(b"\n") == 15_000


def test_who_speaks_no_tls_is_refused(tmp_path: Path, certificates: Path) -> None:
    with forwarding(tmp_path, settings=tls_settings(certificates)) as (_, config, [endpoint]):
        with ForwardSender(endpoint) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            heard = sender.socket.recv(100)
            assert b"ack" not in heard
        wait_for_count(config, f'{REFUSED}{{reason="tls"}}', 1)
        assert stored_lines(config) == b""


def test_handshakes_that_fail_take_nobodys_place(tmp_path: Path, certificates: Path) -> None:
    settings = tls_settings(certificates, max_connections=2)
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]):
        for number in range(1, 6):
            with ForwardSender(endpoint) as plain:
                plain.send(b"GET / HTTP/1.1\r\n\r\n")
                assert plain.is_closed()
            wait_until(lambda n=number: count(config, f'{REFUSED}{{reason="tls"}}') == n, "the refusal")  # type: ignore[misc]
        assert forward_status(config)["connections"] == 0
        with ForwardSender(endpoint, trusting(certificates)) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            assert sender.hear_acks(1) == ["c"]


@pytest.mark.parametrize("client", ["client", "", "stranger"])
def test_clients_certificates_are_asked_for_where_there_is_a_ca(
    tmp_path: Path, certificates: Path, client: str
) -> None:
    settings = tls_settings(certificates, tls_client_ca_file=str(certificates / "ca.pem"))
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]):
        try:
            with ForwardSender(endpoint, trusting(certificates, client)) as sender:
                sender.send(packed_forward([KEPT], chunk="c"))
                heard = sender.hear_acks(1)
        except (OSError, AssertionError):
            heard = []
        assert heard == (["c"] if client == "client" else [])
        refused = 0 if client == "client" else 1
        wait_until(lambda: count(config, f'{REFUSED}{{reason="tls"}}') == refused, "the count")


@pytest.mark.parametrize("has_tls", [False, True])
def test_who_knows_the_shared_key_is_let_in(tmp_path: Path, certificates: Path, has_tls: bool) -> None:
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY + b"\n"), "self_hostname": "node7"}
    tls = None
    if has_tls:
        settings |= tls_settings(certificates)
        tls = trusting(certificates)
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint, tls) as sender:
        assert shake_hands(sender)[:4] == ["PONG", True, "", "node7"]
        sender.send(packed_forward([KEPT], chunk="c"))
        assert sender.hear_acks(1) == ["c"]
        assert stored_lines(config) == KEPT_LINE


def test_a_wrong_key_is_refused_with_the_reason(tmp_path: Path) -> None:
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY)}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        assert shake_hands(sender, b"another") == ["PONG", False, "shared_key mismatch", "", ""]
        assert sender.is_closed()
        assert count(config, f'{REFUSED}{{reason="shared_key"}}') == 1


def test_the_daemons_name_differs_from_the_hosts(tmp_path: Path) -> None:
    """fluentd takes no answer from a server that has its own name."""
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY)}
    with forwarding(tmp_path, settings=settings) as (_, _, [endpoint]), ForwardSender(endpoint) as sender:
        assert shake_hands(sender, hostname=socket.gethostname().encode())[3] == f"flowd-{socket.gethostname()}"


@pytest.mark.parametrize(
    ("user", "password", "is_let_in"),
    [(b"ann", b"a:b c", True), (b"ann", b"b", False), (b"eve", b"a:b c", False), (b"", b"", False)],
)
def test_users_have_passwords(tmp_path: Path, user: bytes, password: bytes, is_let_in: bool) -> None:
    settings = {
        "shared_key_file": write_secret(tmp_path / "key", KEY),
        "users_file": write_secret(tmp_path / "users", b"# who\nann:a:b c\n\nbob:y\n"),
    }
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        pong = shake_hands(sender, KEY, user, password)
        assert pong[1:3] == [is_let_in, "" if is_let_in else "username/password mismatch"]
        assert count(config, f'{REFUSED}{{reason="user"}}') == (0 if is_let_in else 1)


@pytest.mark.parametrize(
    "said",
    [
        packed_forward([KEPT], chunk="c"),
        pack("PING", "a", "b", "c", "d"),
        pack("PONG", "a", "b", "c", "d", "e"),
        pack("PING", 1, "b", "c", "d", "e"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xdd\xff\xff\xff\xff",
        b"\x96" + b"\xda\x3f\xff" + bytes(20_000),
    ],
    ids=range(7),
)
def test_nothing_but_a_ping_is_listened_to_first(tmp_path: Path, said: bytes) -> None:
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY)}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]):
        with ForwardSender(endpoint) as sender:
            assert sender.hear()[0] == "HELO"
            sender.send(said)
            assert sender.is_closed()
        wait_for_count(config, f'{REFUSED}{{reason="malformed"}}', 1)
        with ForwardSender(endpoint) as sender:
            assert shake_hands(sender)[1] is True
        assert stored_lines(config) == b""


def test_the_handshake_has_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HANDSHAKE_S", 3.0)
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY)}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]):
        with ForwardSender(endpoint) as slow, ForwardSender(endpoint) as quick:
            assert shake_hands(quick)[1] is True
            slow.send(b"\x96")
            assert slow.hear()[0] == "HELO"
            assert slow.is_closed()
            quick.send(packed_forward([KEPT], chunk="c"))  # who was let in may be silent for as long as it likes
            assert quick.hear_acks(1) == ["c"]
        assert count(config, f'{REFUSED}{{reason="timeout"}}') == 1


def test_a_unix_socket_asks_for_nothing(tmp_path: Path, certificates: Path) -> None:
    settings = {"shared_key_file": write_secret(tmp_path / "key", KEY), **tls_settings(certificates)}
    listen = ["127.0.0.1:0", f"unix://{tmp_path}/forward.sock"]
    with forwarding(tmp_path, listen, settings) as (_, _, endpoints), ForwardSender(endpoints[1]) as sender:
        sender.send(packed_forward([KEPT], chunk="c"))
        assert sender.hear_acks(1) == ["c"]


# The configuration


def problems(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    try:
        load_config(None, {"sources.forward": dict(settings)}, {})
    except ConfigError as error:
        return [(problem.code, problem.message) for problem in error.problems]
    return []


def test_what_others_reach_needs_tls_and_a_key(tmp_path: Path, certificates: Path) -> None:
    key = {"shared_key_file": write_secret(tmp_path / "key", KEY)}
    open_ = {"listen": ["0.0.0.0:24224"]}
    tls = tls_settings(certificates)
    for refused in ({}, key, tls):
        [(where, message)] = problems({**open_, **refused})
        assert (where, "others reach this address" in message) == ("sources.forward.listen", True)
    ca = {"tls_client_ca_file": str(certificates / "ca.pem")}
    for allowed in ({**tls, **key}, {**tls, **ca}, {"allow_insecure": True}):
        assert problems({**open_, **allowed}) == []
    assert problems({"listen": ["127.0.0.5:1", "[::1]:2", "unix:///x"]}) == []


@pytest.mark.parametrize(
    "address",
    ["localhost:1", "127.0.0.1", "127.0.0.1:65536", "::1:5", "[::1]", "unix://", "unix:///x/", "tcp://127.0.0.1:1",
     "1.2.3:4", "300.0.0.1:5", "unix:///" + "x" * 200],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    [(where, message)] = problems({"listen": [address]})
    assert (where, message.startswith(address)) == ("sources.forward.listen", True)


def test_everything_that_is_wrong_is_told(tmp_path: Path) -> None:
    readable = write_secret(tmp_path / "readable", KEY, 0o644)
    found = problems(
        {
            "listen": ["127.0.0.1:1", "127.0.0.1:1"],
            "streams": {"a": "no/name", "": "flows", "{{{{{": "flows"},
            "shared_key_file": readable,
            "users_file": str(tmp_path / "missing"),
            "tls_cert_file": readable,
            "max_chunk_bytes": 1,
            "max_connections": 0,
            "remembered_chunks": -1,
            "time_key": "x" * 300,
        }
    )
    said = [message for _, message in found]
    assert len(said) == 11
    assert any("stands there twice" in message for message in said)
    assert any("mode 0644 lets others at a secret" in message for message in said)
    assert sum(message.startswith("TLS needs both") for message in said) == 1
    assert problems({"time_key": "t"})[0][0] == "sources.forward.listen"
    assert problems({"listen": ["127.0.0.1:1"], "users_file": readable})[0][0] == "sources.forward.users_file"


def test_tls_files_that_are_none_are_told(tmp_path: Path, certificates: Path) -> None:
    other = {"tls_cert_file": str(certificates / "server.pem"), "tls_key_file": str(certificates / "client.key")}
    junk = write_secret(tmp_path / "junk", b"junk")
    for settings in (other, tls_settings(certificates, tls_client_ca_file=junk)):
        [(where, message)] = problems({"listen": ["127.0.0.1:1"], **settings})
        assert (where, "no certificate with its key" in message or "no CA" in message) == ("sources.forward", True)


def test_private_files_are_read_only_where_they_are_private(tmp_path: Path) -> None:
    assert read_key(write_secret(tmp_path / "a", b" key \r\n")) == b" key "
    assert read_users(write_secret(tmp_path / "b", b"a:b\r\n#c:d\n")) == {b"a": b"b"}
    for text in (b"", b"\n", b"two\nlines\n"):
        with pytest.raises(FlowdError):
            read_key(write_secret(tmp_path / "c", text))
    for text in (b"", b"a\n", b":b\n", b"a:\n", b"a:b\na:c\n"):
        with pytest.raises(FlowdError) as caught:
            read_users(write_secret(tmp_path / "d", text))
        assert "c" not in caught.value.message.rpartition(":")[2] or b"a:c" not in text
    with pytest.raises(FlowdError, match="mode 0640"):
        read_key(write_secret(tmp_path / "e", b"key", 0o640))
    with pytest.raises(FlowdError):
        read_key(tmp_path)


# What is bound


def test_an_address_in_use_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    with forwarding(tmp_path) as (_, _, [endpoint]):
        other = tmp_path / "other"
        other.mkdir()
        listen = [f"unix://{path}", endpoint]
        with (
            pytest.raises(FlowdError, match="cannot listen there: Address already in use"),
            running(other, sources__forward={"listen": listen}),
        ):
            pass
        assert not path.exists()
        assert not list((other / "run").glob("*.sock"))


def test_a_killed_daemons_socket_is_taken_over_and_anothers_is_not(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(path))
    stale.close()
    listen = [f"unix://{path}"]
    with forwarding(tmp_path, listen) as (_, _, [endpoint]):
        with ForwardSender(endpoint) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            assert sender.hear_acks(1) == ["c"]
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(FlowdError, match="another process listens there"):
            running(other, sources__forward={"listen": listen}).__enter__()
    path.write_text("mine")
    third = tmp_path / "third"
    third.mkdir()
    with pytest.raises(FlowdError, match="there is a file of this name"):
        running(third, sources__forward={"listen": listen}).__enter__()
    assert path.read_text() == "mine"
