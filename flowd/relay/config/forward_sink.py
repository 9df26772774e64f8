"""What the types of a Forward sink's section do not say: its servers, files, limits, and what goes together."""

from __future__ import annotations

import re
from collections.abc import Callable

from flowd.errors import FlowdError
from flowd.relay.config.model import ForwardServer, ForwardSink

CHUNK_LEAST_BYTES = 4 << 10
CHUNK_MOST_BYTES = 4 << 20
"""What a batch has at most: a chunk is never more than one."""
WINDOW_MOST = 256
WEIGHT_MOST = 1000
ACK_LEAST_S = 0.1
TAG_WORDS = ("{stream}", "{node}")
SERVERS_HINT = (
    'write servers = ["10.0.0.5:24224"], or { address = "10.0.0.5:24224", weight = 60, standby = true } in it'
)

Add = Callable[[str, str, str], None]
"""Takes note of a problem: the key, what is wrong, what to do."""


def check_forward_sink(key: str, sink: ForwardSink, add: Add) -> None:
    """Reports every problem of the section under `key`. Its files are read, and nothing of them is kept."""
    _check_servers(f"{key}.servers", sink, add)
    _check_tag(f"{key}.tag", sink.tag, add)
    if not CHUNK_LEAST_BYTES <= sink.chunk_bytes <= CHUNK_MOST_BYTES:
        add(f"{key}.chunk_bytes", f"chunk_bytes = {sink.chunk_bytes} is out of range", "write 4KiB to 4MiB")
    if not 1 <= sink.window <= WINDOW_MOST:
        add(f"{key}.window", f"window = {sink.window} is out of range", f"write 1 to {WINDOW_MOST}")
    if not ACK_LEAST_S <= sink.ack_timeout_s < float("inf"):
        add(f"{key}.ack_timeout_s", f"ack_timeout_s = {sink.ack_timeout_s:g} is too short", "write 60s")
    _check_security(key, sink, add)


def _check_servers(key: str, sink: ForwardSink, add: Add) -> None:
    from flowd.sinks.forward.servers import parse_server

    servers = [one if isinstance(one, ForwardServer) else ForwardServer(address=one) for one in sink.servers]
    if not servers:
        add(key, f"{key} is missing: there is no server to send to", SERVERS_HINT)
    elif all(server.standby for server in servers):
        add(key, "all servers are standby", "leave at least one without standby")
    seen: set[str] = set()
    for server in servers:
        try:
            parsed = parse_server(server.address)
        except FlowdError as error:
            add(key, error.message, error.hint)
            continue
        if server.address in seen:
            add(key, f"{server.address} stands there twice", "give it more weight")
        seen.add(server.address)
        if not 1 <= server.weight <= WEIGHT_MOST:
            add(key, f"{server.address}: weight = {server.weight} is out of range", f"write 1 to {WEIGHT_MOST}")
        if parsed.path and sink.tls:
            add(key, f"{server.address}: a unix socket has no TLS", "name it in a sink of its own, without tls")


def _check_tag(key: str, tag: str, add: Add) -> None:
    if not tag:
        add(key, "the tag is empty", 'write "{stream}"')
    for word in re.findall(r"\{[^{}]*\}", tag):
        if word not in TAG_WORDS:
            add(key, f"{word} stands for nothing in a tag", f"known: {', '.join(TAG_WORDS)}")


def _check_security(key: str, sink: ForwardSink, add: Add) -> None:
    from flowd.sinks.forward.security import Security, make_tls, read_credentials

    security = Security(**{name: getattr(sink, name) for name in Security._fields})
    if not sink.tls:
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name"):
            if getattr(sink, name):
                add(f"{key}.{name}", f"{name} is for TLS, which is off", "write tls = true")
    elif bool(sink.tls_cert_file) != bool(sink.tls_key_file):
        add(key, "a certificate needs both tls_cert_file and tls_key_file", "give the other one, too")
    else:
        _try(key, lambda: make_tls(security), add)
    if bool(sink.username) != bool(sink.password_file):
        add(key, "a user needs both username and password_file", "give the other one, too")
    if not sink.shared_key_file:
        if sink.username:
            add(f"{key}.username", "a user needs a shared key, too: the protocol has it so", "give shared_key_file")
        return
    _try(f"{key}.shared_key_file", lambda: read_credentials(security, ""), add)


def _try(key: str, check: Callable[[], object], add: Add) -> None:
    try:
        check()
    except FlowdError as error:
        add(key, error.message, error.hint)
