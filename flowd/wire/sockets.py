"""The one place where ZeroMQ sockets are made: the options that every lane shares, and which endpoints there may be.

A socket made here belongs to one thread; `Wake` is how other threads reach that one. Nothing here speaks the protocol.
"""

from __future__ import annotations

from contextlib import suppress
from socket import socketpair

import zmq

from flowd.errors import FlowdError
from flowd.wire.limits import FRAME_MAX_BYTES, HIGH_WATER_MARK

IPC_PATH_MAX_BYTES = 107
"""What `sockaddr_un` holds on Linux beside its NUL."""

RECONNECT_MS = 100
RECONNECT_MAX_MS = 5000
HANDSHAKE_MS = 3000
HEARTBEAT_MS = 2000
HEARTBEAT_TIMEOUT_MS = 6000

_OPTIONS = {
    zmq.MAXMSGSIZE: FRAME_MAX_BYTES,
    zmq.SNDHWM: HIGH_WATER_MARK,
    zmq.RCVHWM: HIGH_WATER_MARK,
    zmq.LINGER: 0,
    zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
    zmq.HEARTBEAT_IVL: HEARTBEAT_MS,
    zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
    zmq.HEARTBEAT_TTL: HEARTBEAT_TIMEOUT_MS,
    zmq.RECONNECT_IVL: RECONNECT_MS,
    zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
}


def check_endpoint(endpoint: str) -> None:
    """Raises FlowdError, with a hint, for an endpoint that flowd does not bind or connect to."""
    scheme, found, path = endpoint.partition("://")
    if scheme == "tcp" and found:
        raise FlowdError(
            f"{endpoint}: TCP needs CURVE keys, which this version does not have",
            hint="use an ipc:// endpoint on this node",
        )
    if scheme != "ipc" or not path:
        raise FlowdError(f"{endpoint}: not an endpoint", hint="write ipc:///path/to/ingest.sock")
    size = len(path.encode())
    if size > IPC_PATH_MAX_BYTES:
        raise FlowdError(
            f"{endpoint}: the socket's path has {size} bytes, the system's limit is {IPC_PATH_MAX_BYTES}",
            hint="choose a shorter runtime directory",
        )


def open_socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    """A socket of this kind with the shared options set, neither bound nor connected."""
    socket = context.socket(kind)
    for option, value in _OPTIONS.items():
        socket.setsockopt(option, value)
    return socket


class Wake:
    """Lets one thread end another's poll: register `fd` in the poller, call `ring` from anywhere, `clear` when awake.

    `ring` is one non-blocking write, safe in a signal's handler; rings that were not cleared yet count as one.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    @property
    def fd(self) -> int:
        """The descriptor that becomes readable."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Makes the poll return. A full buffer means that it will anyway; a closed one that nobody polls any more."""
        with suppress(OSError):
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forgets the rings so far."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        """Gives both descriptors back."""
        self._reader.close()
        self._writer.close()
