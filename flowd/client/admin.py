"""One question to a daemon's admin socket, and its answer."""

from __future__ import annotations

import secrets
import time
from typing import Any

import zmq

from flowd.errors import FlowdError, Refused, Unreachable
from flowd.wire import Reply, Request, encode, parse
from flowd.wire.sockets import check_endpoint, connect, is_tcp, open_socket


def request(endpoint: str, op: str, timeout_s: float = 10.0, **args: Any) -> dict[str, Any]:
    """Asks the daemon for the operation `op` and returns the answer's body.

    Raises Unreachable when no answer came within `timeout_s`, Refused when the daemon says no, and WireError when what
    came is no message.
    """
    check_endpoint(endpoint)
    if is_tcp(endpoint):
        raise FlowdError(f"{endpoint}: the admin lane is local", hint="use the ipc:// endpoint on the daemon's node")
    asked = secrets.randbits(63)
    deadline_s = time.monotonic() + timeout_s
    with open_socket(zmq.Context.instance(), zmq.DEALER) as socket:
        connect(socket, endpoint)
        socket.send_multipart(encode(Request(asked, op, args)))
        while socket.poll(max(0, int((deadline_s - time.monotonic()) * 1000))):
            reply = parse(socket.recv_multipart()).header
            if not isinstance(reply, Reply) or reply.id != asked:
                continue
            if not reply.ok:
                raise Refused(
                    str(reply.body.get("code", "failed")),
                    f"{op}: {reply.body.get('text', 'the daemon refused')}",
                    hint=str(reply.body.get("hint", "")),
                )
            return reply.body
    raise Unreachable(f"{endpoint}: no daemon answered within {timeout_s:g} s", hint="is the daemon running?")
