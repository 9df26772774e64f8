"""Where a command finds the daemon: the runtime directory by flag, environment or default."""

from __future__ import annotations

import os

import click

from flowd.errors import Unreachable


def find_endpoint(runtime_dir: str | None, lane: str) -> str:
    """The address of a lane's socket."""
    from flowd.relay.config import default_runtime_dir, lane_endpoint

    return lane_endpoint(runtime_dir or default_runtime_dir(), lane)


def require_stream_name(name: str, what: str) -> None:
    """Raises a usage error for a name that no stream or view can have."""
    from flowd.wire.limits import is_stream_name

    if not is_stream_name(name):
        raise click.UsageError(f"{what} {name!r} is no legal name: 1 to 128 of the characters A-Z a-z 0-9 . _ -")


def require_socket(endpoint: str) -> None:
    """Raises Unreachable at once where there is not even a socket: nobody could answer. Raises FlowdError for a path
    that no socket can have."""
    from flowd.wire.sockets import check_endpoint

    check_endpoint(endpoint)
    path = endpoint.removeprefix("ipc://")
    if not os.path.exists(path):
        raise Unreachable(f"{path}: no daemon has made this socket", hint="start one with `flowd run`")
