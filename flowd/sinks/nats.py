"""A sink into NATS JetStream: the connection, the stream that takes the batches, and a lane for each feed.

Batches are stored once each: the server recognises what it has by its id, and what was sent before a break longer than
the server remembers is looked up before it is sent again.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowd.errors import FlowdError
from flowd.sinks.nats_lane import Lane, Place, Window
from flowd.sinks.sink import Feed, Report
from flowd.wire.jetstream import SubjectTemplate

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


@dataclass(frozen=True)
class StreamPlan:
    """The JetStream stream as it is made where it is missing and `is_provisioned`. What exists is never changed."""

    name: str
    is_provisioned: bool = True
    replicas: int = 1
    max_bytes: int = 10 << 30
    max_age_s: float = 86400.0
    duplicate_window_s: float = 120.0
    storage: str = "file"
    discard: str = "old"


@dataclass(frozen=True)
class NatsSink:
    """See the module. It may be run many times."""

    servers: tuple[str, ...]
    template: SubjectTemplate
    node: str
    plan: StreamPlan
    window: Window = field(default_factory=Window)
    login: Login = field(default_factory=Login)

    async def run(self, feeds: Sequence[Feed], report: Report) -> None:
        """See flowd.sinks.sink.Sink."""
        link = await self._connect(report)
        try:
            stream = link.jetstream()
            memory_s = await self._find_stream(link, stream, report)
            place = Place(self.plan.name, self.template, self.node, memory_s)
            lanes = [Lane(link, stream, place, feed, self.window, report) for feed in feeds]
            link.on_reconnected(lambda: _tell(lanes))
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.run())
        except* FlowdError as errors:
            raise errors.exceptions[0] from None
        finally:
            await link.close()

    async def _connect(self, report: Report) -> Link:
        link = Link(report)
        await link.connect(self.servers, self.login)
        return link

    async def _find_stream(self, link: Link, jetstream: JetStreamContext, report: Report) -> float:
        """Makes the stream where it is missing; returns how long it remembers ids. Tries until a server answers."""
        from nats.errors import Error as NatsError
        from nats.js.errors import NotFoundError, ServiceUnavailableError

        while True:
            try:
                try:
                    info = await jetstream.stream_info(self.plan.name)
                except NotFoundError:
                    if not self.plan.is_provisioned:
                        raise FlowdError(
                            f"there is no JetStream stream {self.plan.name!r}",
                            hint=f"make it, with the subject {self.template.pattern()!r}, or write provision = true",
                        ) from None
                    info = await jetstream.add_stream(self._wanted_stream())
                    log.info("nats: made the stream %s for %s", self.plan.name, self.template.pattern())
                self._compare(info.config)
                return float(info.config.duplicate_window or 0)
            except ServiceUnavailableError:
                report.down("the server has no JetStream, or its cluster has no leader yet")
            except (TimeoutError, NatsError) as error:
                told = link.trouble if DENIED in link.trouble.lower() else describe_error(error)
                report.down(f"stream {self.plan.name}: {told}")
                if link.is_closed:
                    raise FlowdError(
                        f"the server has ended the connection: {link.trouble}", hint="see its log"
                    ) from error
            await asyncio.sleep(AGAIN_S)

    def _wanted_stream(self) -> Any:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig

        plan = self.plan
        return StreamConfig(
            name=plan.name,
            subjects=[self.template.pattern()],
            storage=StorageType(plan.storage),
            num_replicas=plan.replicas,
            max_bytes=plan.max_bytes,
            max_age=plan.max_age_s,
            duplicate_window=min(plan.duplicate_window_s, plan.max_age_s),
            discard=DiscardPolicy(plan.discard),
        )

    def _compare(self, found: Any) -> None:
        """Says what an existing stream has otherwise. Raises FlowdError where it would not take the batches."""
        pattern = self.template.pattern()
        if not any(_covers(subject, pattern) for subject in found.subjects or ()):
            raise FlowdError(
                f"the JetStream stream {self.plan.name!r} does not take {pattern!r}, but {found.subjects}",
                hint="add the subject to the stream, or give the sink another subject or stream",
            )
        wanted = self._wanted_stream()
        for key in ("num_replicas", "max_bytes", "max_age", "duplicate_window", "storage", "discard"):
            has, wants = getattr(found, key), getattr(wanted, key)
            if has != wants and self.plan.is_provisioned:
                log.warning(
                    "nats: the stream %s has %s = %s, and not %s; it is left as it is", self.plan.name, key, has, wants
                )


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
        from nats.aio.client import Client

        self._client = Client()

        async def on_error(error: Exception) -> None:
            self.trouble = describe_error(error)
            if not self.client.is_connected or DENIED in self.trouble.lower():
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


def _tell(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        lane.reconnected()


def _covers(subject: str, pattern: str) -> bool:
    """Whether a stream's subject takes everything that the other takes."""
    has, wants = subject.split("."), pattern.split(".")
    for number, token in enumerate(has):
        if token == ">":
            return number < len(wants)
        if number >= len(wants) or (token != "*" and token != wants[number]):
            return False
    return len(has) == len(wants)


def _read_secret(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FlowdError(f"{path} cannot be read: {error}", hint="it holds the secret, and nothing else") from error
