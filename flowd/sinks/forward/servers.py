"""The servers of a Forward sink: their addresses, and whose turn it is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from flowd.errors import FlowdError
from flowd.wire.forward import DEFAULT_PORT
from flowd.wire.sockets import IPC_PATH_MAX_BYTES

UNIX = "unix://"
ADDRESS_HINT = 'write "10.0.0.5:24224", "aggregator.logging:24224", "[fd00::5]:24224" or "unix:///run/fluent.sock"'

_TCP = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


class Server(NamedTuple):
    """A TCP `host` and `port`, or the `path` of a unix socket; `text` is what it was configured as.

    Of the chunks it gets its `weight`'s share; one that is standby gets them while no other serves.
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    weight: int = 1
    is_standby: bool = False


def parse_server(text: str, weight: int = 1, is_standby: bool = False) -> Server:
    """The server at an address. Raises FlowdError, with a hint, where a text is no address."""
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
        return Server(text, path=path, weight=weight, is_standby=is_standby)
    found = _TCP.fullmatch(text)
    port = int(found["port"] or DEFAULT_PORT) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise FlowdError(f"{text}: not an address", hint=ADDRESS_HINT)
    return Server(text, found["name"] or found["v6"], port, weight=weight, is_standby=is_standby)


class Weighted(Protocol):
    """Who takes part in turns: `turn` is for `next_turn` alone, 0 in the beginning."""

    turn: int

    @property
    def weight(self) -> int: ...


T = TypeVar("T", bound=Weighted)


def next_turn(candidates: Iterable[T]) -> T | None:
    """Whose turn it is: each gets its weight's share, spread evenly; None where there is nobody.

    Smooth weighted round robin, as nginx has it: of any run of turns among the same candidates, everyone's share is
    exact but for less than one turn.
    """
    best: T | None = None
    total = 0
    for one in candidates:
        one.turn += one.weight
        total += one.weight
        if best is None or one.turn > best.turn:
            best = one
    if best is not None:
        best.turn -= total
    return best
