"""What a Forward sink shows to its servers and asks of them: TLS, the shared key, a user's password.

Files are read anew for each connection, so that a renewed certificate or key is used without a restart.
"""

from __future__ import annotations

import hmac
import secrets
import ssl
from typing import Any, NamedTuple

from flowd.errors import FlowdError
from flowd.wire.forward import AUTH, HELO, KEEPALIVE, NONCE, PING, PONG, SALT_BYTES, password_digest, shared_key_digest
from flowd.wire.private import read_key, read_private

KEY_HINT = "give shared_key_file"


class Security(NamedTuple):
    """Files and names; empty where one is not used. With `tls`, servers are judged by the CAs in `tls_ca_file` or the
    system's, and by `tls_server_name`, or the host that is connected to."""

    tls: bool = False
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_server_name: str = ""
    shared_key_file: str = ""
    username: str = ""
    password_file: str = ""


class Credentials(NamedTuple):
    """What a handshake proves; `hostname` is what this side says of itself."""

    hostname: bytes
    shared_key: bytes
    username: bytes = b""
    password: bytes = b""


class NotAdmitted(ValueError):
    """A handshake that failed: why."""


def make_tls(security: Security) -> ssl.SSLContext:
    """The context of a connection. Raises FlowdError, which names the file. TLS 1.2 is the oldest version."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if security.tls_ca_file:
            context.load_verify_locations(security.tls_ca_file)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as error:
        raise FlowdError(f"{security.tls_ca_file}: no CA certificates: {_why(error)}", hint="a PEM file") from error
    if security.tls_cert_file:
        read_private(security.tls_key_file)  # refused where others may read it
        try:
            context.load_cert_chain(security.tls_cert_file, security.tls_key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            message = f"{security.tls_cert_file}, {security.tls_key_file}: no certificate with its key: {_why(error)}"
            raise FlowdError(message, hint="both are PEM files; the key has no passphrase") from error
    return context


def read_credentials(security: Security, hostname: str) -> Credentials | None:
    """What the handshake proves; None where there is no handshake. Raises FlowdError."""
    if not security.shared_key_file:
        return None
    password = read_key(security.password_file) if security.password_file else b""
    return Credentials(hostname.encode(), read_key(security.shared_key_file), security.username.encode(), password)


class Handshake:
    """The client's side: `answer_helo` gives the PING, `judge_pong` returns where the server is one that knows the key.

    `is_kept_alive` is whether the server lets a connection carry more than one chunk.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.is_kept_alive = True
        self._own = credentials
        self._salt = secrets.token_hex(SALT_BYTES)  # a text: Fluent Bit takes no bytes here
        self._nonce = b""

    def answer_helo(self, helo: Any) -> list[Any]:
        """PING. Raises NotAdmitted where this is no HELO."""
        options = helo[1] if isinstance(helo, list) and len(helo) > 1 else None
        if not isinstance(options, dict) or helo[0] != HELO.encode():
            raise NotAdmitted("what it says first is no HELO")
        nonce, auth = options.get(NONCE.encode(), b""), options.get(AUTH.encode(), b"")
        if not isinstance(nonce, bytes) or not isinstance(auth, bytes):
            raise NotAdmitted("its HELO has no nonce")
        own = self._own
        self._nonce = nonce
        self.is_kept_alive = options.get(KEEPALIVE.encode(), True) is not False
        digest = shared_key_digest(self._salt.encode(), own.hostname, nonce, own.shared_key)
        # Fluent Bit sends `auth` also where it knows no users: whoever has none says so, and is judged by the server.
        is_user = bool(auth and own.username)
        password = password_digest(auth, own.username, own.password) if is_user else ""
        return [PING, own.hostname.decode(), self._salt, digest, own.username.decode() if is_user else "", password]

    def judge_pong(self, pong: Any) -> None:
        """Raises NotAdmitted where the server refuses, or does not know the key itself.

        A server that has this side's own name is refused: its digest could be the one that it was sent.
        """
        if not isinstance(pong, list) or len(pong) < 5 or pong[0] != PONG.encode():
            raise NotAdmitted("its answer to PING is no PONG")
        _, is_admitted, reason, hostname, digest = pong[:5]
        if is_admitted is not True:
            shown = reason.decode(errors="replace") if isinstance(reason, bytes) else ""
            raise NotAdmitted(f"it refuses: {shown or 'it says no reason'}")
        if not isinstance(hostname, bytes) or not isinstance(digest, bytes):
            raise NotAdmitted("its PONG is malformed")
        own = self._own
        if hostname == own.hostname:
            raise NotAdmitted(f"it has this node's own name, {hostname.decode(errors='replace')}")
        wanted = shared_key_digest(self._salt.encode(), hostname, self._nonce, own.shared_key)
        if not hmac.compare_digest(wanted.encode(), digest):
            raise NotAdmitted("it does not know the shared key")


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")  # else OpenSSL would ask the terminal


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
