"""From the section of a Forward sink to the sink."""

from __future__ import annotations

from flowd.relay.config.defaults import node_name
from flowd.relay.config.model import ForwardSink as Section
from flowd.sinks.forward.security import Security
from flowd.sinks.forward.servers import Server, parse_server
from flowd.sinks.forward.settings import ForwardSettings
from flowd.sinks.forward.sink import ForwardSink


def make_forward(name: str, section: Section) -> ForwardSink:
    """The sink that a checked section describes."""
    return ForwardSink(
        ForwardSettings(
            name=name,
            servers=tuple(map(_make_server, section.servers)),
            node=node_name(),
            tag=section.tag,
            is_compressed=section.compress == "gzip",
            time_key=section.time_key,
            chunk_bytes=section.chunk_bytes,
            window=section.window,
            ack_timeout_s=section.ack_timeout_s,
            security=Security(**{key: getattr(section, key) for key in Security._fields}),
        )
    )


def _make_server(written: object) -> Server:
    if isinstance(written, str):
        return parse_server(written)
    return parse_server(written.address, written.weight, written.standby)  # type: ignore[attr-defined]
