"""What the types of [sources.forward] do not say: addresses, tags, secrets, and who may reach it."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from flowd.errors import FlowdError
from flowd.relay.config.model import Forward
from flowd.relay.forward.addresses import ADDRESS_HINT, parse_address
from flowd.relay.forward.routes import parse_route
from flowd.relay.forward.security import make_tls
from flowd.wire.private import read_key, read_users

SECTION = "sources.forward"
CHUNK_LEAST_BYTES = 64 << 10
CHUNK_MOST_BYTES = 512 << 20
"""fluentd's largest chunks have 256 MiB; one is held in memory while it is received and decided."""
CONNECTIONS_MOST = 16384
REMEMBERED_MOST = 1_000_000
TIME_KEY_MAX_BYTES = 256
TRUST_HINT = (
    "give tls_cert_file and tls_key_file, and shared_key_file or tls_client_ca_file; or write allow_insecure = true"
    " where the network itself keeps others away"
)

Add = Callable[[str, str, str], None]
"""Takes note of a problem: the key, what is wrong, what to do."""


def check_forward(forward: Forward, add: Add) -> None:
    """Reports every problem of the section."""
    if not forward.listen:
        if forward != Forward():
            add(f"{SECTION}.listen", f"{SECTION}.listen is missing: nothing is listened to", ADDRESS_HINT)
        return
    _check_addresses(forward, add)
    for pattern, stream in forward.streams.items():
        key = f"{SECTION}.streams.{pattern}"
        _try(key, lambda pattern=pattern, stream=stream: parse_route(pattern, stream), add)  # type: ignore[misc]
    _check_secrets(forward, add)
    _check_limits(forward, add)


def _check_addresses(forward: Forward, add: Add) -> None:
    key = f"{SECTION}.listen"
    is_trusted = bool(forward.tls_cert_file and (forward.shared_key_file or forward.tls_client_ca_file))
    seen = set()
    for text in forward.listen:
        try:
            address = parse_address(text)
        except FlowdError as error:
            add(key, error.message, error.hint)
            continue
        if text in seen:
            add(key, f"{text} stands there twice", "leave one of them")
        seen.add(text)
        if not (address.is_local or is_trusted or forward.allow_insecure):
            add(key, f"{text}: others reach this address, and anybody could send records", TRUST_HINT)


def _check_secrets(forward: Forward, add: Add) -> None:
    if forward.shared_key_file:
        _try(f"{SECTION}.shared_key_file", lambda: read_key(forward.shared_key_file), add)
    if forward.users_file:
        if not forward.shared_key_file:
            add(f"{SECTION}.users_file", "users need a shared key as well", "give shared_key_file")
        _try(f"{SECTION}.users_file", lambda: read_users(forward.users_file), add)
    if bool(forward.tls_cert_file) != bool(forward.tls_key_file):
        add(SECTION, "TLS needs both tls_cert_file and tls_key_file", "give the other one, too")
    elif forward.tls_client_ca_file and not forward.tls_cert_file:
        add(f"{SECTION}.tls_client_ca_file", "clients' certificates are seen with TLS only", "give tls_cert_file")
    elif forward.tls_cert_file:
        _try(SECTION, lambda: make_tls(forward), add)


def _check_limits(forward: Forward, add: Add) -> None:
    if not CHUNK_LEAST_BYTES <= forward.max_chunk_bytes <= CHUNK_MOST_BYTES:
        message = f"max_chunk_bytes = {forward.max_chunk_bytes} is out of range"
        add(f"{SECTION}.max_chunk_bytes", message, "write 64KiB to 512MiB; 32MiB as a rule")
    if not 1 <= forward.max_connections <= CONNECTIONS_MOST:
        message = f"max_connections = {forward.max_connections} is out of range"
        add(f"{SECTION}.max_connections", message, f"write 1 to {CONNECTIONS_MOST}")
    if not 0 <= forward.remembered_chunks <= REMEMBERED_MOST:
        message = f"remembered_chunks = {forward.remembered_chunks} is out of range"
        add(f"{SECTION}.remembered_chunks", message, f"write 0 to {REMEMBERED_MOST}; 0 remembers none")
    if len(forward.time_key.encode()) > TIME_KEY_MAX_BYTES:
        add(f"{SECTION}.time_key", f"time_key has more than {TIME_KEY_MAX_BYTES} bytes", 'write "time"')


def _try(key: str, check: Callable[[], object], add: Add) -> None:
    try:
        check()
    except FlowdError as error:
        add(key, error.message, error.hint)
    except ssl.SSLError as error:
        add(key, f"TLS cannot be set up: {error}", "")
