"""Where a consumer finds its batches: a nats:// URL taken apart."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from flowd.errors import FlowdError
from flowd.wire.jetstream import JETSTREAM, SUBJECT, SubjectTemplate

HINT = "write nats://HOST:4222/FLOWD?node=NODE, all but the host as needed; several hosts with commas between them"
KEYS = ("subject", "node")


class Place(NamedTuple):
    """Servers, the JetStream stream, the subjects in it, and the one node whose batches are wanted (None: of all)."""

    servers: tuple[str, ...]
    jetstream: str
    template: SubjectTemplate
    node: str | None


def parse_place(endpoint: str) -> Place:
    """`nats://one:4222,two:4222/STREAM?node=…&subject=…`. Raises FlowdError for anything else."""
    try:
        url = urlsplit(endpoint)
        asked = parse_qs(url.query, strict_parsing=True) if url.query else {}
    except ValueError as error:
        raise FlowdError(f"{endpoint}: {error}", hint=HINT) from error
    unknown = sorted(asked.keys() - set(KEYS))
    if unknown:
        raise FlowdError(f"{endpoint}: unknown key {unknown[0]!r}", hint=HINT)
    hosts = [host for host in url.netloc.split(",") if host]
    if not hosts or len(url.path.split("/")) > 2:
        raise FlowdError(f"{endpoint}: {'there is no host' if not hosts else 'the path has several parts'}", hint=HINT)
    login, at, first = hosts[0].rpartition("@")
    servers = tuple(f"nats://{login}{at}{host.rpartition('@')[2]}" for host in (first, *hosts[1:]))
    template = SubjectTemplate.parse(asked.get("subject", [SUBJECT])[0])
    node = asked.get("node", [None])[0]
    return Place(servers, url.path.strip("/") or JETSTREAM, template, node)
