"""The one place where ZeroMQ sockets are made: the options that every lane shares, and which endpoints there may be.

TCP is for sockets with CURVE keys only: `secure_server` and `secure_client` put them on.

A socket made here belongs to one thread; `Wake` is how other threads reach that one. Nothing here speaks the protocol.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import zmq

from flowd.errors import FlowdError
from flowd.wire.keys import ClientKeys
from flowd.wire.limits import FRAME_MAX_BYTES, HIGH_WATER_MARK

IPC_PATH_MAX_BYTES = 107
"""What `sockaddr_un` holds on Linux beside its NUL."""

RECONNECT_MS = 100
RECONNECT_MAX_MS = 5000
HANDSHAKE_MS = 3000
KEEPALIVE_IDLE_S = 4
KEEPALIVE_INTERVAL_S = 2
KEEPALIVE_COUNT = 2
UNACKNOWLEDGED_MS = 60_000
"""How long a TCP connection may take nothing of what it is sent before it is given up."""

CONSUME_HIGH_WATER_MARK = 16
"""Messages queued for one consumer: 4 MiB as a rule, which bounds what a stalled one can hold."""
CONSUME_AFFINITY = 2
"""The second I/O thread: what is sent to consumers does not wait behind producers, nor they behind it."""

_OPTIONS = {
    zmq.MAXMSGSIZE: FRAME_MAX_BYTES,
    zmq.SNDHWM: HIGH_WATER_MARK,
    zmq.RCVHWM: HIGH_WATER_MARK,
    zmq.LINGER: 0,
    zmq.HANDSHAKE_IVL: HANDSHAKE_MS,
    # libzmq (4.3.5 at least) ends the whole process when its heartbeat meets a connection that broke while the socket's
    # queue was full: a reader who is slow when a daemon ends would go with it. The kernel tells of dead peers instead:
    # at once on a unix socket, by keepalive on TCP.
    zmq.HEARTBEAT_IVL: 0,
    zmq.RECONNECT_IVL: RECONNECT_MS,
    zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
}
_TCP_OPTIONS = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_IDLE_S,
    zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_INTERVAL_S,
    zmq.TCP_KEEPALIVE_CNT: KEEPALIVE_COUNT,
    zmq.TCP_MAXRT: UNACKNOWLEDGED_MS,
}
DO_NOT_WAIT = int(zmq.NOBLOCK)
"""As a plain number: pyzmq's own are members of an enum, and to join two of them costs as much as to send a frame."""
_MORE_COME = int(zmq.SNDMORE)
_EVENTS, _READABLE = int(zmq.EVENTS), int(zmq.POLLIN)
_TCP = re.compile(r"tcp://(?P<host>[^\s/\[\]:;]+|\[[0-9A-Fa-f:.%a-z]+\]):(?P<port>[0-9]{1,5}|\*)")


def check_endpoint(endpoint: str) -> None:
    """Raises FlowdError, with a hint, for an endpoint that flowd does not bind or connect to. Whether TCP has its keys
    is for those to see who have them."""
    scheme, _, path = endpoint.partition("://")
    if scheme == "tcp":
        found = _TCP.fullmatch(endpoint)
        if found is None or (found["port"] != "*" and int(found["port"]) > 65535):
            raise FlowdError(f"{endpoint}: not an endpoint", hint="write tcp://ADDRESS:PORT")
        return
    if scheme != "ipc" or not path:
        raise FlowdError(f"{endpoint}: not an endpoint", hint="write ipc:///run/flowd/NAME.sock, or tcp://ADDRESS:PORT")
    size = len(os.fsencode(path))
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


def bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Binds, also to a path that is not UTF-8. Raises zmq.ZMQError."""
    socket.bind(_spell(endpoint))


def connect(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Connects, also to a path that is not UTF-8."""
    socket.connect(_spell(endpoint))


def _spell(endpoint: str) -> str:
    """The endpoint as pyzmq takes it: that is text only where it is UTF-8, else bytes, which its types do not tell."""
    return endpoint if endpoint.isascii() else cast(str, os.fsencode(endpoint))


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message waits to be received. An answer of no costs a third of a receive that finds nothing."""
    return bool(int(socket.getsockopt(_EVENTS)) & _READABLE)


def send_frames(
    socket: zmq.Socket[bytes], frames: Sequence[bytes | bytearray | memoryview | zmq.Frame], flags: int = 0
) -> None:
    """Sends a message of several frames. All are copied but those that are ZeroMQ's own. Raises ZMQError."""
    for frame in frames[:-1]:
        socket.send(frame, flags | _MORE_COME)
    socket.send(frames[-1], flags)


def shape_consume_socket(socket: zmq.Socket[bytes]) -> None:
    """What a ROUTER for consumers has beside the shared options: an I/O thread of its own, where the context has two,
    and shorter queues, since what is to be sent is in the journal anyway."""
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, CONSUME_HIGH_WATER_MARK)
    socket.setsockopt(zmq.AFFINITY, CONSUME_AFFINITY)


def is_tcp(endpoint: str) -> bool:
    """Whether this endpoint needs CURVE."""
    return endpoint.startswith("tcp://")


def secure_server(socket: zmq.Socket[bytes], secret_key: str, domain: str) -> None:
    """Makes what is bound from here on a CURVE server whose clients a ZAP handler judges: without one, none gets in."""
    _set_tcp_options(socket)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key.encode())
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def allow_ipv6(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Lets what is bound or connected next be an IPv6 address where it is one, so that IPv4 ones stay themselves."""
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))


def secure_client(socket: zmq.Socket[bytes], keys: ClientKeys | None, endpoint: str) -> None:
    """Makes what is connected to this endpoint next a CURVE client; None leaves the socket as it is."""
    if keys is None:
        return
    _set_tcp_options(socket)
    allow_ipv6(socket, endpoint)
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())


def _set_tcp_options(socket: zmq.Socket[bytes]) -> None:
    for option, value in _TCP_OPTIONS.items():
        socket.setsockopt(option, value)


class Wake:
    """Lets one thread end another's poll: register `fd` in the poller, call `ring` from anywhere, `clear` when awake.

    `ring` is one non-blocking write, safe in a signal's handler; rings that were not cleared yet count as one.
    """

    fd = -1
    """The descriptor that becomes readable; -1 once it is given back."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def ring(self) -> None:
        """Makes the poll return, where anybody polls still."""
        with suppress(OSError, ValueError):  # ValueError: it was closed
            os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        """Forgets the rings so far."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Gives the descriptor back, once."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()
