"""What the daemon is told, as typed, checked data: one struct a section of flowd.toml, with its defaults."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowd.relay.config.defaults import lane_endpoint
from flowd.wire.jetstream import JETSTREAM, SUBJECT
from flowd.wire.sockets import is_tcp

Sync = Literal["commit", "interval", "off"]
Dialect = Literal["fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd"]


class Runtime(msgspec.Struct, frozen=True):
    """Where the daemon lives: its sockets in `dir`, its lasting state in `state_dir`; `drain_s` bounds its ending.

    So many `workers` decide batches; with 0 the thread that receives them does.
    """

    dir: str
    state_dir: str
    drain_s: float = 30.0
    workers: int = 0


class Filters(msgspec.Struct, frozen=True):
    """Which filters decide; without a `path` everything is kept. `dialect` None recognises it by the text.

    With `watch` they are read again when their files change. `flowd reload` refuses filters that would drop more than
    `reload_max_extra_drop` of the recent lines in addition to those that are dropped already.
    """

    path: str | None = None
    dialect: Dialect | None = None
    skip_unsupported: bool = False
    watch: bool = True
    reload_max_extra_drop: float = 0.2


class View(msgspec.Struct, frozen=True):
    """A stream filtered further, under the name of its section: the filters in `path` decide what the node's kept."""

    stream: str = "flows"
    path: str = ""
    dialect: Dialect | None = None


class Lane(msgspec.Struct, frozen=True):
    """A lane's endpoints beside its socket in the runtime directory."""

    bind: tuple[str, ...] = ()


class Raw(msgspec.Struct, frozen=True):
    """Endpoints for senders that know nothing of FLW, and the stream that their lines belong to."""

    bind: tuple[str, ...] = ()
    stream: str = "flows"


class Curve(msgspec.Struct, frozen=True):
    """Keys for TCP: the server's own, and the folder of those that are let in."""

    server_secret_file: str = ""
    allowed_keys_dir: str = ""


class Journal(msgspec.Struct, frozen=True):
    """How kept lines are stored, and for how long.

    `sync` says what an acknowledgement is worth: with `commit` an acknowledged batch survives a loss of power, with
    `interval` all but the last `interval_ms` do, with `off` none need to; a killed daemon loses nothing in any of them.
    The oldest batches make room for new ones at `max_bytes`, and go at the age of `max_age` seconds, read or not.
    """

    sync: Sync = "commit"
    interval_ms: int = 500
    max_bytes: int = 4 << 30
    max_age: float = 86400.0


class Forward(msgspec.Struct, frozen=True):
    """Where records of the Fluent Forward protocol come in: `listen` has addresses, and paths of unix sockets.

    `streams` has the stream of a tag, or of a pattern of tags; others' tags are their streams' names. With a `time_key`
    each line has its time under it. Of `tls_cert_file` and `tls_key_file` TLS is made, `tls_client_ca_file` judges the
    clients' certificates; who knows the key in `shared_key_file` is let in, or with `users_file` one of its users.
    An address that others reach asks for both, unless `allow_insecure`.
    """

    listen: tuple[str, ...] = ()
    streams: dict[str, str] = {}
    time_key: str = ""
    self_hostname: str = ""
    shared_key_file: str = ""
    users_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    allow_insecure: bool = False
    max_chunk_bytes: int = 32 << 20
    max_connections: int = 1024
    remembered_chunks: int = 10_000


class Http(msgspec.Struct, frozen=True):
    """Where metrics and health are told over HTTP; nowhere where `listen` is empty. So many `rules` have series of
    their own, over all streams."""

    listen: str = ""
    rules: int = 1000


class Sources(msgspec.Struct, frozen=True):
    """Where lines come from. `tail` has the files that are followed: a stream's globs by its name."""

    ingest: Lane = Lane()
    raw: Raw = Raw()
    tail: dict[str, tuple[str, ...]] = {}
    forward: Forward = Forward()

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are known before any line has come."""
        mapped = self.forward.streams.values() if self.forward.listen else ()
        return (*((self.raw.stream,) if self.raw.bind else ()), *self.tail, *mapped)


class Sink(msgspec.Struct, frozen=True, kw_only=True):
    """What all sinks have in common: the streams that they carry, or a view of one. The kinds stand in SINK_KINDS."""

    type: str
    stream: str | tuple[str, ...] = "flows"
    view: str | None = None

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, one or many."""
        return (self.stream,) if isinstance(self.stream, str) else self.stream


def sink_consumer(name: str) -> str:
    """The name under which a sink consumes: its cursor's, and that of its lag among the consumers."""
    return f"sink.{name}"


class ForwardServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server with its share of the chunks; one that is `standby` gets them while no other serves."""

    address: str
    weight: int = 1
    standby: bool = False


class ForwardSink(Sink, frozen=True, kw_only=True):
    """Servers of the Fluent Forward protocol, for `flowd.sinks.forward`, whose settings and security say what the keys
    mean."""

    servers: tuple[str | ForwardServer, ...] = ()
    tag: str = "{stream}"
    compress: Literal["none", "gzip"] = "none"
    time_key: str = ""
    chunk_bytes: int = 1 << 20
    window: int = 8
    ack_timeout_s: float = 60.0
    tls: bool = False
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_server_name: str = ""
    shared_key_file: str = ""
    username: str = ""
    password_file: str = ""


class NatsSink(Sink, frozen=True, kw_only=True):
    """A sink into NATS JetStream. Without a `node` the machine's name is taken. With `provision` the JetStream stream
    is made where it is missing, as the keys from `replicas` to `discard` say; one that exists is never changed."""

    servers: tuple[str, ...] = ()
    subject: str = SUBJECT
    node: str = ""
    jetstream: str = JETSTREAM
    provision: bool = True
    replicas: int = 1
    max_bytes: int = 10 << 30
    max_age: float = 86400.0
    duplicate_window_s: float = 120.0
    storage: Literal["file", "memory"] = "file"
    discard: Literal["old", "new"] = "old"
    window: int = 64
    window_bytes: int = 8 << 20
    ack_timeout_s: float = 5.0
    creds_file: str = ""
    nkey_file: str = ""
    token_file: str = ""
    user: str = ""
    password_file: str = ""
    tls_ca_file: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""


SINK_KINDS: dict[str, type[Sink]] = {"forward": ForwardSink, "nats": NatsSink}
"""A section's keys by its `type`."""
SINK_KINDS_RESERVED = ("kafka",)
"""Types that are spoken for, and that no version has served yet."""


class Config(msgspec.Struct, frozen=True):
    """A checked configuration. `endpoint` gives the address of a lane's socket."""

    runtime: Runtime
    filters: Filters = Filters()
    views: dict[str, View] = {}
    sources: Sources = Sources()
    journal: Journal = Journal()
    live: Lane = Lane()
    consume: Lane = Lane()
    curve: Curve = Curve()
    sinks: dict[str, Sink] = {}
    http: Http = Http()

    @property
    def has_tcp(self) -> bool:
        """Whether there is a TCP endpoint."""
        return any(map(is_tcp, (*self.sources.ingest.bind, *self.live.bind, *self.consume.bind)))

    def endpoint(self, lane: str) -> str:
        """`ipc://…/LANE.sock` in the runtime directory; lanes are `ingest`, `live`, `consume` and `admin`."""
        return lane_endpoint(self.runtime.dir, lane)
