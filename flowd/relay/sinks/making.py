"""From a sink's section to its runner. A kind's own module is loaded only where it is configured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flowd.errors import FlowdError
from flowd.relay.config.model import Config, ForwardSink, NatsSink, Sink, sink_consumer
from flowd.relay.consume.inside import Inside
from flowd.relay.health import Health
from flowd.relay.sinks.feed import JournalFeed
from flowd.relay.sinks.runner import SinkRunner
from flowd.sinks.sink import Sink as WorkingSink


def make_runners(config: Config, inside: Inside, condition: Health) -> dict[str, SinkRunner]:
    """A runner for each sink, by its name, none started; their feeds come in at `inside`."""
    return {
        name: SinkRunner(
            name,
            section.type,
            make_sink(name, section),
            partial(_open_feeds, inside, name, section),
            condition,
        )
        for name, section in config.sinks.items()
    }


def make_sink(name: str, section: Sink) -> WorkingSink:
    """The sink that a section describes; it may be run many times."""
    if isinstance(section, ForwardSink):
        from flowd.relay.sinks.forward import make_forward

        return make_forward(name, section)
    if isinstance(section, NatsSink):
        from flowd.relay.sinks.nats import make_nats

        return make_nats(section)
    raise FlowdError(f"sink {name}: no sinks of type {section.type!r}")


def _open_feeds(inside: Inside, name: str, section: Sink) -> Sequence[JournalFeed]:
    return [
        JournalFeed(inside.link("the journal"), sink_consumer(name), stream, section.view) for stream in section.streams
    ]
