"""What the types of a NATS sink's section do not say."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from urllib.parse import urlsplit

from flowd.errors import FlowdError
from flowd.relay.config.defaults import node_name
from flowd.relay.config.model import NatsSink
from flowd.wire.jetstream import SubjectTemplate
from flowd.wire.limits import is_stream_name

SCHEMES = ("nats", "tls", "ws", "wss")
REPLICAS = (1, 2, 3, 4, 5)
"""What JetStream takes; even numbers gain nothing over the odd one below."""
INSTALL_HINT = "pip install 'flowd[nats]'"
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,255}")

Add = Callable[[str, str, str], None]


def check_nats(key: str, sink: NatsSink, add: Add) -> None:
    """Reports every problem of the section that is written under `key`."""
    _check_libraries(key, sink, add)
    if not sink.servers:
        add(key, f"{key}.servers is missing", 'write ["nats://nats:4222"]')
    for server in sink.servers:
        problem = _server_problem(server)
        if problem:
            add(f"{key}.servers", f"{server}: {problem}", "write nats://HOST:4222")
    try:
        SubjectTemplate.parse(sink.subject)
    except FlowdError as error:
        add(f"{key}.subject", error.message, error.hint)
    node = sink.node or node_name()
    if not is_stream_name(node):
        add(f"{key}.node", f"node {node!r} is no legal name", "1 to 128 of the characters A-Z a-z 0-9 . _ -")
    if not _STREAM.fullmatch(sink.jetstream):
        add(f"{key}.jetstream", f"jetstream {sink.jetstream!r} is no name of a stream", "write FLOWD, or the like")
    if sink.replicas not in REPLICAS:
        add(f"{key}.replicas", f"replicas = {sink.replicas} is out of range", "write 1, 3 or 5")
    for name in ("max_bytes", "max_age", "duplicate_window_s", "window", "window_bytes", "ack_timeout_s"):
        value = getattr(sink, name)
        if not 0 < value < float("inf"):
            add(f"{key}.{name}", f"{name} = {value:g} is too small", "write a number above 0")
    _check_login(key, sink, add)


def _check_libraries(key: str, sink: NatsSink, add: Add) -> None:
    """Whether the extra is installed, without loading it."""
    if find_spec("nats") is None:
        add(f"{key}.type", f"{key}: nats-py, which sinks of type 'nats' need, is not installed", INSTALL_HINT)
        return
    signed = next((name for name in ("creds_file", "nkey_file") if getattr(sink, name)), "")
    if signed and find_spec("nkeys") is None:
        add(f"{key}.{signed}", f"{key}: nkeys, which signs for {signed}, is not installed", INSTALL_HINT)


def _server_problem(server: str) -> str:
    try:
        address = urlsplit(server)
        port = address.port
    except ValueError as error:
        return str(error)
    if address.scheme not in SCHEMES:
        return f"{address.scheme or 'nothing'} is no scheme of NATS"
    if address.password or address.username:
        return "the address has a secret in it; use user and password_file, or token_file"
    return "" if address.hostname and port != 0 else "it has no host"


def _check_login(key: str, sink: NatsSink, add: Add) -> None:
    ways = [name for name in ("creds_file", "nkey_file", "token_file", "user") if getattr(sink, name)]
    if len(ways) > 1:
        add(key, f"{key} has several ways to log in: {', '.join(ways)}", "keep one of them")
    if bool(sink.user) != bool(sink.password_file):
        missing = "password_file" if sink.user else "user"
        add(key, f"{key}.{missing} is missing", "user and password_file go together")
    if sink.tls_key_file and not sink.tls_cert_file:
        add(key, f"{key}.tls_cert_file is missing", "a key goes with its certificate")
    for name in (
        "creds_file",
        "nkey_file",
        "token_file",
        "password_file",
        "tls_ca_file",
        "tls_cert_file",
        "tls_key_file",
    ):
        path = getattr(sink, name)
        if path and not os.access(path, os.R_OK):
            add(f"{key}.{name}", f"{path} cannot be read", "give a file that the daemon's user can read")
