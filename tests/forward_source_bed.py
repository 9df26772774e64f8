"""What the Forward source's tests stand on: daemons that listen for it, senders made of bare sockets, and messages."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgpack
from relay_bed import DEADLINE_S, counters, running, wait_until

from flowd.client import Consumer, request
from flowd.relay.config import Config
from flowd.relay.daemon import Daemon

KEPT = {"source_namespace": "prod"}
DROPPED = {"source_namespace": "dev"}
KEPT_LINE = b'{"source_namespace":"prod"}\n'
SECOND_NS = 10**9
LISTEN = ("127.0.0.1:0",)


def event_time(seconds: int, nanoseconds: int = 0) -> msgpack.ExtType:
    """The protocol's own time."""
    return msgpack.ExtType(0, seconds.to_bytes(4, "big") + nanoseconds.to_bytes(4, "big"))


def entry(record: Any, time: Any = 1) -> bytes:
    """A record with its time, packed."""
    packed: bytes = msgpack.packb([time, record])
    return packed


def pack(*parts: Any) -> bytes:
    """A message of these parts."""
    packed: bytes = msgpack.packb(list(parts))
    return packed


def packed_forward(records: Sequence[Any], tag: str = "flows", time: Any = 1, **option: Any) -> bytes:
    """PackedForward: the records' entries in a bin."""
    return pack(tag, b"".join(entry(record, time) for record in records), option)


class ForwardSender:
    """A bare socket at the Forward source, closed with the block."""

    def __init__(self, endpoint: str, tls: ssl.SSLContext | None = None) -> None:
        if endpoint.startswith("unix://"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(endpoint.removeprefix("unix://"))
        else:
            host, _, port = endpoint.rpartition(":")
            self.socket = socket.create_connection((host.strip("[]"), int(port)))
        self.socket.settimeout(DEADLINE_S)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._unpacker = msgpack.Unpacker()

    def send(self, *messages: bytes) -> None:
        """Sends these bytes."""
        self.socket.sendall(b"".join(messages))

    def hear(self) -> Any:
        """The next thing that the daemon says."""
        while True:
            try:
                return self._unpacker.unpack()
            except msgpack.OutOfData:
                heard = self.socket.recv(65536)
                assert heard, "the daemon has closed the connection"
                self._unpacker.feed(heard)

    def hear_acks(self, number: int) -> list[str]:
        """The chunks of the next acknowledgements."""
        return [self.hear()["ack"] for _ in range(number)]

    def is_closed(self) -> bool:
        """Whether the daemon ends the connection, waited for, without a word."""
        try:
            return self.socket.recv(65536) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def __enter__(self) -> ForwardSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


@contextmanager
def forwarding(
    directory: Path, listen: Sequence[str] = LISTEN, settings: Mapping[str, Any] | None = None, **overrides: Any
) -> Iterator[tuple[Daemon, Config, list[str]]]:
    """A daemon in this process that listens for Forward, and where."""
    section = {"listen": list(listen), **(settings or {})}
    with running(directory, sources__forward=section, **overrides) as (daemon, config):
        yield daemon, config, forward_status(config)["endpoints"]


def forward_status(config: Config) -> dict[str, Any]:
    """The status's part about the Forward source."""
    found: dict[str, Any] = request(config.endpoint("admin"), "status", DEADLINE_S)["forward"]
    return found


def count(config: Config, name: str) -> int:
    """A counter's value, 0 where nothing was counted."""
    return counters(config).get(name, 0)


def wait_for_count(config: Config, name: str, value: int) -> None:
    """Returns when a counter has this value."""
    wait_until(lambda: count(config, name) >= value, f"{name} to be {value}, of {counters(config)}")
    assert count(config, name) == value


def stored_lines(config: Config, stream: str = "flows") -> bytes:
    """Every line that is stored in a stream."""
    return b"".join(batch.lines for batch in stored_batches(config, stream))


def stored_batches(config: Config, stream: str = "flows") -> list[Any]:
    """Every batch of which anything is kept."""
    with Consumer(
        config.endpoint("consume"), stream=stream, start="oldest", until="newest", timeout_s=DEADLINE_S
    ) as consumer:
        return [batch for batch in consumer if batch.lines]
