"""Whatever is said to the HTTP port: the daemon goes on, its lines go on, and nothing of it piles up."""

from __future__ import annotations

import random
import resource
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from http_bed import ask, connect, hear_all, wait_for
from relay_bed import DEADLINE_S, KEPT, DaemonProcess, Peer, wait_until

from flowd.relay.deciding.deciders import Tally
from flowd.relay.http.address import Address
from flowd.relay.http.desk import Desk
from flowd.relay.http.server import ACCEPTED, CONNECTIONS_MAX, HEAD_BYTES, HttpServer, listen
from flowd.relay.measurements import Value
from flowd.relay.metrics import Counters, Series

HALF_OPEN = 500
SEED = 7


class Target:
    """A daemon with its port, and a producer whose batches have to be taken whatever else happens."""

    def __init__(self, daemon: DaemonProcess, peer: Peer) -> None:
        self.daemon = daemon
        self.url: str = daemon.status()["endpoints"]["http"][0]
        self._peer = peer
        self._sequence = 0
        peer.hello()

    def carries_on(self) -> None:
        """A batch is acknowledged, and the port answers."""
        self._sequence += 1
        assert self._peer.send(self._sequence, KEPT).s == self._sequence
        assert ask(self.url, "/healthz").status == 200

    def count_descriptors(self) -> int:
        assert self.daemon.process is not None
        return len(list(Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))

    def wait_refused(self, reason: str, number: int) -> None:
        """So many are counted as refused for this reason."""
        wait_for(self.url, "flowd_http_refused_requests_total", number, reason=reason)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    with (
        DaemonProcess(tmp_path, http__listen="127.0.0.1:0", http__rules=100_000) as daemon,
        Peer(daemon.endpoint("ingest")) as peer,
    ):
        yield Target(daemon, peer)


def say(url: str, words: bytes) -> bytes:
    """What is answered to these bytes, and the end of them."""
    with connect(url) as channel:
        try:
            channel.sendall(words)
            channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was answered, and closed, before all was said
        return hear_all(channel)


def test_noise_is_refused_and_nothing_breaks(target: Target) -> None:
    noise = random.Random(SEED)
    answers = {say(target.url, noise.randbytes(noise.randrange(1, 4000)))[:12] for _ in range(200)}
    assert answers == {b"HTTP/1.1 400"}
    target.wait_refused("malformed", 200)
    target.carries_on()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * HEAD_BYTES + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"x" * (8 << 20), b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
    ],
)
def test_what_is_too_large_or_strange_is_refused(target: Target, words: bytes, status: bytes) -> None:
    assert say(target.url, words).startswith(b"HTTP/1.1 " + status)
    target.carries_on()


def test_pipelined_requests_get_one_answer(target: Target) -> None:
    heard = say(target.url, b"GET /healthz HTTP/1.1\r\n\r\n" * 1000)
    assert (heard.count(b"HTTP/1.1 200"), heard.count(b"is_live")) == (1, 1)
    target.carries_on()


def test_half_open_connections_make_room_and_take_few_descriptors(target: Target) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    before = target.count_descriptors()
    with ExitStack() as stack:
        for number in range(HALF_OPEN):
            channel = stack.enter_context(connect(target.url))
            channel.sendall(b"GET /metr" if number % 2 else b"")
            if number % 10 == 9:
                assert target.count_descriptors() <= before + CONNECTIONS_MAX + 3 * ACCEPTED
        target.carries_on()
        target.wait_refused("crowd", HALF_OPEN - CONNECTIONS_MAX)
    wait_until(lambda: target.count_descriptors() <= before + 1, "the end of them all")
    target.carries_on()


def test_a_head_that_drips_is_given_up_on(target: Target) -> None:
    with connect(target.url) as channel:
        channel.settimeout(0.1)
        began_s = time.monotonic()
        answer = b""
        while not answer and time.monotonic() - began_s < DEADLINE_S:
            channel.sendall(b"G")  # each byte alone would be in time
            try:
                answer = channel.recv(4096)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
    target.wait_refused("slow", 1)
    target.carries_on()


def test_readers_that_do_not_read_are_left_to_themselves(tmp_path: Path) -> None:
    rules = "".join(
        f"<filter flows>\n@type grep\n<exclude>\nkey source_namespace\npattern /^n{number}$/\n</exclude>\n</filter>\n"
        for number in range(2_000)
    )
    (tmp_path / "many").write_text(rules)
    given = {"http__listen": "127.0.0.1:0", "http__rules": 100_000, "filters__path": str(tmp_path / "many")}
    with DaemonProcess(tmp_path, **given) as daemon, Peer(daemon.endpoint("ingest")) as peer, ExitStack() as stack:
        target = Target(daemon, peer)
        assert len(ask(target.url, "/metrics").body) > 200_000
        for _ in range(CONNECTIONS_MAX - 2):
            channel = stack.enter_context(connect(target.url))
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            channel.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        wait_for(target.url, "flowd_http_requests_total", CONNECTIONS_MAX, path="/metrics")
        for _ in range(50):
            target.carries_on()


class Large:
    """Whoever asks it for metrics gets a page of megabytes."""

    turned_s = 0.0

    def counted(self) -> dict[Series, int]:
        return {("flowd_oversized_answers_total", (("op", f"{number:0200}"),)): 1 for number in range(20_000)}

    def measure(self) -> Iterator[Value]:
        return iter(())

    def tallies(self) -> Iterable[tuple[str, Tally]]:
        return ()

    def health(self) -> dict[str, Any]:
        return {"state": "ok"}


def test_a_reader_that_does_not_read_is_given_up_on() -> None:
    counters = Counters()
    listening = listen(Address("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = HttpServer(listening, Desk(Large(), 0, counters), counters, talk_s=5.0)
    server.start()
    try:
        assert len(ask(url, "/metrics").body) > 4 << 20
        with connect(url) as channel:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            channel.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            wait_until(
                lambda: counters.get("flowd_http_refused_requests_total", reason="slow"), "the end of its patience"
            )
            assert ask(url, "/readyz").status == 200
    finally:
        server.end()


def test_connections_that_are_reset_leave_nothing(target: Target) -> None:
    before = target.count_descriptors()
    for _ in range(100):
        channel = connect(target.url)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        channel.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        channel.close()
    wait_until(lambda: target.count_descriptors() <= before + 1, "the end of them all")
    target.carries_on()
    code, said = target.daemon.terminate()
    assert (code, [line for line in said.splitlines() if "INFO" not in line]) == (0, [])
