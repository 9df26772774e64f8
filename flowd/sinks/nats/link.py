"""The sink's connection to NATS servers: made again for ever, with the present secrets; it says what breaks it."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowd.errors import FlowdError
from flowd.sinks.sink import Report

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

CONNECT_S = 2
AGAIN_S = 1
"""How long an attempt to connect may take, and the pause before the next one."""
PENDING_BYTES = 1 << 20
"""What may wait in the client before publishing waits for the socket."""
FLUSH_S = 10
"""A socket that takes nothing for so long: what was to be sent is sent again when it is not acknowledged."""
PING_S = 5
PINGS_MAX = 2
"""A server that does not answer is given up after ten seconds."""

DENIED = "permissions violation"
"""What a server says that does not let this user do something; the connection stays."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Login:
    """How the sink makes itself known. Secrets stand in files, which are read at each attempt."""

    creds_file: str = ""
    nkey_file: str = ""
    token_file: str = ""
    user: str = ""
    password_file: str = ""
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""

    def options(self) -> dict[str, Any]:
        """For nats.connect. Raises FlowdError where a file cannot be read."""
        options: dict[str, Any] = {}
        if self.creds_file:
            options["user_credentials"] = self.creds_file
        if self.nkey_file:
            options["nkeys_seed"] = self.nkey_file
        if self.token_file:
            options["token"] = _read_secret(self.token_file)
        if self.user:
            options["user"] = self.user
            options["password"] = _read_secret(self.password_file)
        if self.tls_ca_file or self.tls_cert_file:
            options["tls"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.tls_ca_file or None)
            if self.tls_cert_file:
                context.load_cert_chain(self.tls_cert_file, self.tls_key_file or None)
        except OSError as error:
            hint = "look at tls_ca_file, tls_cert_file and tls_key_file"
            raise FlowdError(f"TLS cannot be set up: {error}", hint=hint) from error
        return context


class Link:
    """A connection that is made again for ever, unless a server says that it is over, and tells when it is not there.

    `trouble` is what was said last.
    """

    def __init__(self, report: Report) -> None:
        self.trouble = ""
        self._report = report
        self._on_reconnected: Any = lambda: None
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client of the NATS library."""
        assert self._client is not None, "connect comes first"
        return self._client

    @property
    def is_up(self) -> bool:
        """Whether there is a connection now."""
        return self.client.is_connected

    @property
    def is_closed(self) -> bool:
        """Whether it is over: the server has refused to go on."""
        return self.client.is_closed

    @property
    def peer(self) -> str:
        """The server that this is connected to."""
        url = self.client.connected_url
        return url.netloc.rpartition("@")[2] if url is not None else ""

    def jetstream(self) -> JetStreamContext:
        """Requests to JetStream."""
        return self.client.jetstream(timeout=5)

    def on_reconnected(self, call: Any) -> None:
        """Has something called after each reconnection."""
        self._on_reconnected = call

    async def connect(self, servers: Sequence[str], login: Login) -> None:
        """Returns when there is a connection. Raises FlowdError where the library is missing, or a secret."""
        from flowd.sinks.nats.client import PieceClient

        self._client = PieceClient()
        names = ", ".join(servers)  # they hold no secrets: the configuration refuses those

        async def on_error(error: Exception) -> None:
            self.trouble = describe_error(error)
            if not self.client.is_connected:
                self._report.down(f"{names}: {self.trouble}")
            elif DENIED in self.trouble.lower():
                self._report.down(self.trouble)
            log.info("nats: %s", self.trouble)

        async def on_disconnected() -> None:
            if not self.client.is_closed:
                self._report.down("the connection broke")
                self._report.count("flowd_sink_disconnects_total")

        async def on_reconnected() -> None:
            self._on_reconnected()

        await self._client.connect(
            list(servers),
            name="flowd",
            error_cb=on_error,
            disconnected_cb=on_disconnected,
            reconnected_cb=on_reconnected,
            connect_timeout=CONNECT_S,
            reconnect_time_wait=AGAIN_S,
            max_reconnect_attempts=-1,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS_MAX,
            pending_size=PENDING_BYTES,
            flush_timeout=FLUSH_S,
            **login.options(),
        )

    async def close(self) -> None:
        """Ends the connection."""
        await self.client.close()


def describe_error(error: BaseException) -> str:
    """An error of the library in words; some have none."""
    return str(error) or type(error).__name__


def _read_secret(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FlowdError(f"{path} cannot be read: {error}", hint="it holds the secret, and nothing else") from error
