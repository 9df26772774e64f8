"""The server's side of the Forward protocol's handshake: HELO, PING, PONG.

The server sends HELO with a nonce; the client's PING proves that it knows the shared key, and where users are asked for
its user's password; the server's PONG proves the same of the key, or says why the client is not let in. Nothing here
reads or writes a socket.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import msgpack

from flowd.wire.forward import (
    AUTH,
    HELO,
    KEEPALIVE,
    NONCE,
    PING,
    PONG,
    SALT_BYTES,
    password_digest,
    shared_key_digest,
)

PING_MAX_BYTES = 16 << 10
"""Six short texts; digests have 128 characters."""
PING_ITEMS = 6


class Secrets(NamedTuple):
    """What clients must know: the shared key, and where there are `users`, a name with its password. `hostname` is what
    the server says of itself."""

    hostname: bytes
    shared_key: bytes
    users: Mapping[bytes, bytes]


class Verdict(NamedTuple):
    """What came of a PING: the PONG to send, why the client is refused (empty: it is not), and its host name."""

    pong: bytes
    refusal: str
    hostname: bytes


class BadPing(ValueError):
    """What came is no PING."""


class Handshake:
    """One connection's handshake. `helo` is what is sent first; `read` takes what comes then."""

    def __init__(self, known: Secrets) -> None:
        self._known = known
        self._nonce = secrets.token_bytes(SALT_BYTES)
        self._auth = secrets.token_bytes(SALT_BYTES) if known.users else b""
        self.helo: bytes = msgpack.packb([HELO, {NONCE: self._nonce, AUTH: self._auth, KEEPALIVE: True}])

    def read(self, received: bytes) -> tuple[Verdict, int] | None:
        """The verdict on the PING at the beginning of what was received so far, and its length; None where it is not
        whole yet. Raises BadPing."""
        unpacker = msgpack.Unpacker(
            raw=True, max_buffer_size=PING_MAX_BYTES, max_array_len=PING_ITEMS, max_map_len=0, max_ext_len=0
        )
        try:
            unpacker.feed(received[:PING_MAX_BYTES])
            ping = unpacker.unpack()
        except msgpack.OutOfData:
            if len(received) >= PING_MAX_BYTES:
                raise BadPing(f"a PING has less than {PING_MAX_BYTES} bytes") from None
            return None
        except (ValueError, msgpack.UnpackException) as error:
            raise BadPing(str(error)) from error
        if not isinstance(ping, list) or len(ping) != PING_ITEMS or not all(isinstance(item, bytes) for item in ping):
            raise BadPing("a PING has six texts")
        if ping[0] != PING.encode():
            raise BadPing("not a PING")
        return self._judge(*ping[1:]), unpacker.tell()

    def _judge(self, hostname: bytes, salt: bytes, digest: bytes, user: bytes, password: bytes) -> Verdict:
        known = self._known
        wanted = shared_key_digest(salt, hostname, self._nonce, known.shared_key)
        if not hmac.compare_digest(wanted.encode(), digest):
            return Verdict(_pong("shared_key mismatch"), "shared_key", hostname)
        if known.users:
            # A name that is not known takes as long as one that is.
            expected = password_digest(self._auth, user, known.users.get(user, secrets.token_bytes(SALT_BYTES)))
            if not hmac.compare_digest(expected.encode(), password):
                return Verdict(_pong("username/password mismatch"), "user", hostname)
        own = shared_key_digest(salt, known.hostname, self._nonce, known.shared_key)
        return Verdict(_pong("", known.hostname, own), "", hostname)


def _pong(refusal: str, hostname: bytes = b"", digest: str = "") -> bytes:
    pong: bytes = msgpack.packb([PONG, not refusal, refusal, hostname.decode(errors="replace"), digest])
    return pong
