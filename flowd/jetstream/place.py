"""Where a consumer finds its batches: a nats:// URL taken apart."""

from __future__ import annotations

import os
import ssl
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from flowd.errors import FlowdError
from flowd.wire.jetstream import JETSTREAM, SUBJECT, SubjectTemplate

HINT = "write nats://HOST:4222/FLOWD?node=NODE, all but the host as needed; several hosts with commas between them"
TLS_KEYS = ("tls_ca_file", "tls_cert_file", "tls_key_file")
KEYS = ("subject", "node", *TLS_KEYS)


class Place(NamedTuple):
    """Servers, the JetStream stream, the subjects in it, the one node whose batches are wanted (None: of all), who is
    reading (`user:password`, or a token), and the files for TLS. `title` is the URL without secrets."""

    servers: tuple[str, ...]
    jetstream: str
    template: SubjectTemplate
    node: str | None
    title: str
    user: str
    tls_files: dict[str, str]

    def login(self, creds_file: str | os.PathLike[str] | None) -> dict[str, Any]:
        """How a consumer makes itself known, for nats.connect. Raises FlowdError where a file cannot be used."""
        options: dict[str, Any] = {}
        user, colon, password = self.user.partition(":")
        if colon:
            options["user"], options["password"] = unquote(user), unquote(password)
        elif user:
            options["token"] = unquote(user)
        if creds_file is not None:
            path = os.fspath(creds_file)
            if not os.access(path, os.R_OK):
                raise FlowdError(f"{path} cannot be read", hint="secret_file is the NATS credentials file")
            options["user_credentials"] = path
        if self.tls_files or any(server.startswith("tls:") for server in self.servers):
            options["tls"] = self._tls()
        return options

    def _tls(self) -> ssl.SSLContext:
        authority, certificate, key = (self.tls_files.get(name) for name in TLS_KEYS)
        try:
            context = ssl.create_default_context(cafile=authority)
            if certificate is not None:
                context.load_cert_chain(certificate, key)
        except OSError as error:
            hint = f"look at {', '.join(TLS_KEYS)}"
            raise FlowdError(f"{self.title}: TLS cannot be set up: {error}", hint=hint) from error
        return context


def parse_place(endpoint: str) -> Place:
    """Of `nats://user:password@one:4222,two:4222/STREAM?node=…&subject=…`, or `tls://…`. Raises FlowdError for anything
    else."""
    try:
        url = urlsplit(endpoint)
        asked = parse_qs(url.query, strict_parsing=True) if url.query else {}
    except ValueError as error:
        raise FlowdError(f"the URL of a JetStream stream: {error}", hint=HINT) from error
    user, _, hosts = url.netloc.rpartition("@")
    servers = tuple(_server(url.scheme, host) for host in hosts.split(",") if host)
    title = f"{url.scheme}://{hosts}{url.path}"
    unknown = sorted(asked.keys() - set(KEYS))
    if unknown:
        raise FlowdError(f"{title}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(KEYS)}")
    if not servers or len(url.path.split("/")) > 2:
        raise FlowdError(f"{title}: {'there is no host' if not servers else 'the path has several parts'}", hint=HINT)
    template = SubjectTemplate.parse(asked.get("subject", [SUBJECT])[0])
    node = asked.get("node", [None])[0]
    tls_files = {key: asked[key][0] for key in TLS_KEYS if key in asked}
    if "tls_key_file" in tls_files and "tls_cert_file" not in tls_files:
        raise FlowdError(f"{title}: tls_cert_file is missing", hint="a key goes with its certificate")
    return Place(servers, url.path.strip("/") or JETSTREAM, template, node, title, user, tls_files)


def _server(scheme: str, host: str) -> str:
    server = f"{scheme}://{host}"
    try:
        has_address = urlsplit(server).hostname and urlsplit(server).port != 0
    except ValueError as error:
        raise FlowdError(f"{host}: {error}", hint=HINT) from error
    if not has_address:
        raise FlowdError(f"{host!r} is no address of a server", hint=HINT)
    return server
