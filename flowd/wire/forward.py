"""The words of the Fluent Forward protocol, version 1, that its two sides share: the digests of the handshake, the
names in options, and the limits.

Nothing here reads or writes messages. Source: the Forward Protocol Specification v1
(https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1).
"""

from __future__ import annotations

import hashlib
from typing import Final

HELO: Final = "HELO"
PING: Final = "PING"
PONG: Final = "PONG"

NONCE: Final = "nonce"
AUTH: Final = "auth"
KEEPALIVE: Final = "keepalive"
"""The keys of HELO's options."""

SIZE: Final = "size"
CHUNK: Final = "chunk"
COMPRESSED: Final = "compressed"
"""The keys of a message's options."""
ACK: Final = "ack"
"""The one key of the answer to a message that has a `chunk`."""

GZIP: Final = "gzip"
ZSTD: Final = "zstd"
TEXT: Final = "text"
"""What `compressed` may say; `text` is the same as nothing."""

DEFAULT_PORT: Final = 24224
SALT_BYTES: Final = 16
"""Length of a nonce and of a salt: what fluentd uses."""
CHUNK_ID_BYTES: Final = 1024
"""The longest `chunk` that is accepted; fluentd and Fluent Bit send 24 to 44 bytes of base64."""


def shared_key_digest(salt: bytes, hostname: bytes, nonce: bytes, shared_key: bytes) -> str:
    """What proves that a side knows the shared key, as lower-case hexadecimal SHA-512.

    `salt` is PING's, in both directions; `hostname` is that of the side that proves it; `nonce` is HELO's.
    """
    return hashlib.sha512(salt + hostname + nonce + shared_key).hexdigest()


def password_digest(auth_salt: bytes, username: bytes, password: bytes) -> str:
    """What proves that a client knows its user's password, as lower-case hexadecimal SHA-512; the salt is HELO's
    `auth`."""
    return hashlib.sha512(auth_salt + username + password).hexdigest()
