"""What the tests of TCP stand on: keys in files, a daemon with its lanes on loopback, and strangers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from relay_bed import DEADLINE_S, Peer, running

from flowd.client import Consumer, Producer, Subscriber, request
from flowd.relay.config import Config
from flowd.relay.daemon import Daemon
from flowd.wire.keys import Certificate, ClientKeys, make_key_pair, read_secret, write_certificate
from flowd.wire.sockets import secure_client

ANY_PORT = "tcp://127.0.0.1:*"


@dataclass
class Keys:
    """A folder with a server's key, an allowed folder, and clients' keys."""

    folder: Path
    server: str = field(init=False)

    def __post_init__(self) -> None:
        self.allowed.mkdir()
        self.server, secret = make_key_pair()
        write_certificate(self.server_file, Certificate(self.server, secret, {}))

    @property
    def allowed(self) -> Path:
        return self.folder / "allowed"

    @property
    def server_file(self) -> Path:
        return self.folder / "server.key_secret"

    def make(self, name: str, roles: str = "produce consume", streams: str = "*", *, is_allowed: bool = True) -> Path:
        """A client's key pair; returns its secret file."""
        public, secret = make_key_pair()
        path = self.folder / f"{name}.key_secret"
        write_certificate(path, Certificate(public, secret, {}))
        if is_allowed:
            self.grant(name, roles, streams)
        return path

    def grant(self, name: str, roles: str, streams: str) -> None:
        """Puts a client's public key into the allowed folder, or another grant in its place."""
        public = read_secret(self.folder / f"{name}.key_secret").public
        new = self.allowed / f"{name}.new"
        write_certificate(new, Certificate(public, "", {"roles": roles, "streams": streams}))
        new.rename(self.allowed / f"{name}.key")

    def revoke(self, name: str) -> None:
        (self.allowed / f"{name}.key").unlink()


class Node:
    """A daemon with TCP endpoints, and what its clients need."""

    def __init__(self, daemon: Daemon, config: Config, keys: Keys) -> None:
        self.daemon = daemon
        self.config = config
        self.keys = keys
        endpoints = self.status()["endpoints"]
        (self.ingest,) = endpoints["ingest"]
        (self.live,) = endpoints["live"]
        (self.consume,) = endpoints["consume"]

    def status(self) -> dict[str, Any]:
        return request(self.config.endpoint("admin"), "status", DEADLINE_S)

    def count(self, name: str, **labels: str) -> int:
        """A counter's value, 0 where it does not exist yet."""
        counters: dict[str, int] = self.status()["counters"]
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        return sum(
            value
            for full, value in counters.items()
            if full.partition("{")[0] == name and wanted <= set(full.partition("{")[2].rstrip("}").split(","))
        )

    def producer(self, secret_file: Path, **options: Any) -> Producer:
        options = {"timeout_s": DEADLINE_S, "server_key": self.keys.server, **options}
        return Producer(self.ingest, secret_file=secret_file, **options)

    def subscriber(self, secret_file: Path, view: str = "flows", **options: Any) -> Subscriber:
        options = {"server_key": self.keys.server, **options}
        return Subscriber(self.live, view, secret_file=secret_file, **options)

    def consumer(self, secret_file: Path, name: str = "siem", stream: str = "flows", **options: Any) -> Consumer:
        options = {"server_key": self.keys.server, **options}
        return Consumer(self.consume, name, stream, secret_file=secret_file, **options)

    def peer(self, secret_file: Path, lane: str = "ingest") -> Peer:
        """A bare DEALER at a lane, with keys."""
        peer = Peer("inproc://unused")
        peer.socket.disconnect("inproc://unused")
        own = read_secret(secret_file)
        secure_client(peer.socket, ClientKeys(self.keys.server, own.public, own.secret), self.endpoint(lane))
        peer.socket.connect(self.endpoint(lane))
        return peer

    def endpoint(self, lane: str) -> str:
        return {"ingest": self.ingest, "live": self.live, "consume": self.consume}[lane]

    def connect(self, lane: str) -> socket.socket:
        """A plain TCP connection."""
        host, _, port = self.endpoint(lane).removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)), DEADLINE_S)


@contextmanager
def serving(folder: Path, **more: Any) -> Iterator[Node]:
    """A daemon in this process with its lanes on TCP ports that the system chose; drained at the end."""
    keys = Keys(folder)
    curve = {"curve__server_secret_file": str(keys.server_file), "curve__allowed_keys_dir": str(keys.allowed)}
    binds = {"sources__ingest__bind": [ANY_PORT], "live__bind": [ANY_PORT], "consume__bind": [ANY_PORT]}
    with running(folder, **binds, **curve, **more) as (daemon, config):
        yield Node(daemon, config, keys)


def plain_socket(kind: int, endpoint: str) -> zmq.Socket[bytes]:
    """A ZeroMQ socket without keys."""
    opened = zmq.Context.instance().socket(kind)
    opened.linger = 0
    opened.connect(endpoint)
    return opened
