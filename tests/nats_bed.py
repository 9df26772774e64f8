"""Real nats-servers for the tests: one, or a cluster of three on loopback, that can be killed and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from relay_bed import wait_until

R = TypeVar("R")
LAME_DUCK = 'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"'
"""The shortest that a server takes: the first client is sent away after the second, and all within half a minute."""


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now: a server that finds one taken after all is started on others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """The files of a key and its certificate for 127.0.0.1."""
    key, certificate = directory / "key.pem", directory / "cert.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


class NatsServer:
    """A nats-server with JetStream, its files under `directory`. `more` is added to its configuration; `monitor` is the
    port at which that has it tell of itself."""

    def __init__(
        self,
        directory: Path,
        port: int,
        more: str = "",
        name: str = "one",
        max_file: str = "4G",
        monitor: int = 0,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = port
        self.name = name
        self.monitor = monitor
        self.config = directory / "nats.conf"
        self.config.write_text(
            f'port: {port}\nhost: "127.0.0.1"\nserver_name: "{name}"\n'
            f'jetstream {{ store_dir: "{directory / "store"}", max_mem: 1G, max_file: {max_file} }}\n{more}\n'
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> NatsServer:
        """Starts it, and returns when it takes connections."""
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(["nats-server", "-c", str(self.config)], stdout=log, stderr=log)
        wait_until(self._is_listening, f"nats-server {self.name}")
        return self

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def lame_duck(self) -> None:
        """Has it hand over what it leads, send its clients away, and end: `has_ended` says when it has. Returns when it
        has begun to."""
        assert self.process is not None
        command = ["nats-server", "--signal", f"ldm={self.process.pid}"]
        subprocess.run(command, check=True, capture_output=True)
        wait_until(lambda: "lame duck mode" in (self.directory / "log").read_text(), f"a lame duck of {self.name}")

    def has_ended(self) -> bool:
        """Whether there is no process of it any more."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
        return self.process is None

    def reached(self, stream: str) -> int:
        """The last sequence that its own copy of a stream has; 0 where there is none."""
        url = f"http://127.0.0.1:{self.monitor}/jsz?accounts=1&streams=1"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as page:
            accounts = json.load(page).get("account_details") or []
            found = [each for account in accounts for each in account.get("stream_detail") or []]
            return sum(each["state"]["last_seq"] for each in found if each["name"] == stream)
        return 0

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def _is_listening(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as peer:
                return peer.recv(4) == b"INFO"
        except OSError:
            return False

    def __enter__(self) -> NatsServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def cluster(directory: Path) -> Iterator[list[NatsServer]]:
    """Three servers that know each other, when JetStream has a leader."""
    ports, routes, monitors = free_ports(3), free_ports(3), free_ports(3)
    known = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
    servers = [
        NatsServer(
            directory / f"n{number}",
            port,
            f'cluster {{ name: C, listen: "127.0.0.1:{route}", routes: [{known}] }}\n'
            f'http: "127.0.0.1:{monitor}"\n{LAME_DUCK}',
            f"n{number}",
            monitor=monitor,
        )
        for number, (port, route, monitor) in enumerate(zip(ports, routes, monitors, strict=True))
    ]
    try:
        for server in servers:
            server.start()
        wait_until(lambda: run_quickly(_has_leader([server.url for server in servers])), "a leader of JetStream")
        yield servers
    finally:
        for server in servers:
            server.kill()


async def _has_leader(urls: list[str]) -> bool:
    import nats

    client = await nats.connect(urls, max_reconnect_attempts=1, allow_reconnect=False)
    try:
        await client.jetstream(timeout=1).account_info()
    except (TimeoutError, nats.errors.Error):
        return False
    finally:
        await client.close()
    return True


def run_quickly(work: Coroutine[Any, Any, R]) -> R:
    """Runs it in a loop of its own."""
    return asyncio.run(work)
