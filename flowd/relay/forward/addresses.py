"""Where the Forward source listens: addresses as they are configured, and the sockets that are bound to them."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from flowd.errors import FlowdError
from flowd.relay.taken import NotToBeHad, hint_of_address, hint_of_path
from flowd.wire.sockets import IPC_PATH_MAX_BYTES

UNIX = "unix://"
BACKLOG = 512
"""Connections that wait to be accepted: all collectors of a node that come back at the same moment."""
ADDRESS_HINT = 'write "127.0.0.1:24224", "[::1]:24224" or "unix:///run/flowd/forward.sock"'

_TCP = re.compile(r"(?:(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\]):(?P<port>[0-9]{1,5})", re.ASCII)


class Address(NamedTuple):
    """A TCP `host` and `port`, or the `path` of a unix socket."""

    text: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_local(self) -> bool:
        """Whether only this machine's processes reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback


def parse_address(text: str) -> Address:
    """The address that a text says. Raises FlowdError, with a hint, where it says none."""
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path or path.endswith("/"):
            raise FlowdError(f"{text}: not an address", hint=ADDRESS_HINT)
        size = len(os.fsencode(path))
        if size > IPC_PATH_MAX_BYTES:
            raise FlowdError(
                f"{text}: the socket's path has {size} bytes, the system's limit is {IPC_PATH_MAX_BYTES}",
                hint="choose a shorter path",
            )
        return Address(text, path=path)
    found = _TCP.fullmatch(text)
    host = found and (found["v4"] or found["v6"])
    if found is None or not host or int(found["port"]) > 65535:
        raise FlowdError(f"{text}: not an address", hint=ADDRESS_HINT)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise FlowdError(f"{text}: {host} is no IP address", hint=ADDRESS_HINT) from None
    return Address(text, host, int(found["port"]))


def bind_address(address: Address, mode: int) -> socket.socket:
    """A socket that listens there; that of a unix socket's path has this file mode. Raises NotToBeHad."""
    try:
        return _bind_unix(address.path, mode) if address.path else _bind_tcp(address)
    except OSError as error:
        hint = hint_of_path(error.errno) if address.path else hint_of_address(error.errno)
        reason = error.strerror or str(error)
        raise NotToBeHad(f"{address.text}: cannot listen there: {reason}", error.errno, hint=hint) from error


def describe_bound(bound: socket.socket) -> str:
    """The address that a socket is bound to, as it is configured: with the port that it was given."""
    name = bound.getsockname()
    if bound.family == socket.AF_UNIX:
        return f"{UNIX}{name}"
    return f"[{name[0]}]:{name[1]}" if bound.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _bind_tcp(address: Address) -> socket.socket:
    is_v6 = ":" in address.host
    bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address.host, address.port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: str, mode: int) -> socket.socket:
    _remove_stale(Path(path))
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(path)
        os.chmod(path, mode)  # nobody can connect before it listens
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(path: Path) -> None:
    """Removes a socket's file that a killed daemon has left. One where somebody listens stays, and so does what is no
    socket."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "there is a file of this name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise OSError(errno.EADDRINUSE, "another process listens there")
