"""The one place where ZeroMQ sockets are made: the options that every lane shares, and which endpoints there may be.

A socket made here belongs to one thread. Nothing here sends or receives.
"""

from __future__ import annotations

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
