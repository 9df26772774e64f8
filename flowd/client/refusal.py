"""A key that the daemon does not let in: how a client's socket tells, and the error that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zmq

from flowd.errors import Refused

_REFUSED = 400
"""The status of a gate that says no; others are its own troubles, and worth another try."""


def is_key_refused(event: Mapping[str, Any]) -> bool:
    """Whether this event of a socket's monitor is a refusal. ZeroMQ does not try again on that socket after one."""
    return (event["event"], event["value"]) == (zmq.EVENT_HANDSHAKE_FAILED_AUTH, _REFUSED)


def key_refused(endpoint: str) -> Refused:
    """The error of it."""
    return Refused(
        "key",
        f"{endpoint} does not let this key in",
        hint="the daemon's allowed keys must have it, with the role for this endpoint: `flowd keys list` shows them",
    )
