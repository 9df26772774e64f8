"""What the running daemon says of itself: how it is, what it does, what it has counted. Asked by the admin socket, the
watchdog, and whoever else tells people; it changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowd.relay.health import is_live
from flowd.relay.measurements import (
    Value,
    measure_consumers,
    measure_filters,
    measure_journal,
    measure_sinks,
    measure_state,
    measure_streams,
    measure_tail,
)
from flowd.relay.metrics import Counters, Series, render_name, sum_up
from flowd.relay.status import add_rules, describe_daemon, describe_journal, describe_streams, describe_views

if TYPE_CHECKING:
    from flowd.relay.config import Config
    from flowd.relay.consume.lane import ConsumeLane
    from flowd.relay.deciding.deciders import Tally
    from flowd.relay.deciding.reload import Reloader
    from flowd.relay.deciding.streams import Streams
    from flowd.relay.forward.source import ForwardSource
    from flowd.relay.health import Health
    from flowd.relay.ingest.lane import Ingest
    from flowd.relay.journal.store import Store
    from flowd.relay.journal.writer import Writer
    from flowd.relay.lanes import Lanes
    from flowd.relay.live.lane import LiveLane
    from flowd.relay.sinks.runner import SinkRunner
    from flowd.relay.tail.source import TailSource
    from flowd.relay.tcp.remote import Remote


class Overview:
    """Sees all rooms of a daemon. Any thread may ask; nothing here waits. `endpoints` are the addresses that were bound
    beside the runtime directory's sockets, by what is served there."""

    def __init__(
        self,
        config: Config,
        condition: Health,
        store: Store,
        streams: Streams,
        reloader: Reloader,
        writer: Writer,
        lanes: Lanes,
        live: LiveLane,
        ingest: Ingest,
        consume: ConsumeLane,
        tail: TailSource | None,
        forward: ForwardSource | None,
        remote: Remote | None,
        sinks: Mapping[str, SinkRunner],
        counters: Sequence[Counters],
    ) -> None:
        self._config = config
        self._condition = condition
        self._store = store
        self._streams = streams
        self._reloader = reloader
        self._writer = writer
        self._lanes = lanes
        self._live = live
        self._ingest = ingest
        self._consume = consume
        self._tail = tail
        self._forward = forward
        self._remote = remote
        self._sinks = sinks
        self._counters = counters
        self._began_ns = time.time_ns()
        self.endpoints: dict[str, list[str]] = {} if remote is None else dict(remote.endpoints)

    def health(self) -> dict[str, Any]:
        """The answer to `health`: the state, with its reasons where something is not served as it should be."""
        if self._remote is not None and not self._remote.is_guarded:
            self._condition.fail("tcp", "the gate is dead: nothing goes in or out over TCP")
        if self._consume.is_failed:
            self._condition.fail("consumers", "nobody is served any more, see the log")
        if self._tail is not None and self._tail.failure is not None:
            self._condition.fail("tail", "no file is followed any more, see the log")
        if self._forward is not None and self._forward.failure is not None:
            self._condition.fail("forward", "no records come in any more, see the log")
        described = self._condition.describe(is_alive=self._lanes.is_alive(), is_draining=self._lanes.is_draining)
        return described | {"turned_ago_s": round(time.monotonic() - self.turned_s(), 3)}

    def turned_s(self) -> float:
        """When the loop that carries lines last moved on, by the steady clock."""
        return self._lanes.turned_s

    def is_live(self) -> bool:
        """Whether a restart would not help."""
        return is_live(self.health())

    def line(self) -> str:
        """One line for the service manager."""
        health = self.health()
        state = ": ".join([health["state"], *health.get("reasons", [])])
        lines = sum(stream.totals().lines for stream in self._streams.all())
        return f"{state}; {self._ingest.conversations} producers, {lines} lines so far".replace("\n", " ")

    def counters(self) -> dict[str, int]:
        """Every counter of the daemon, by its name with its labels."""
        return {render_name(*series): value for series, value in self.counted().items()}

    def counted(self) -> dict[Series, int]:
        """The same by its name and its labels."""
        return sum_up((*self._counters, *(self._remote.door_counters if self._remote is not None else ())))

    def measure(self) -> Iterator[Value]:
        """Everything else that is measured, but for the rules."""
        subscribers = self._live.subscribers()
        health = self.health()
        yield from measure_state(health, self._condition.concerns(), self._count_producers())
        yield from measure_filters(self._reloader.describe())
        yield from measure_streams(self._streams.all(), self._streams.views.all(), subscribers)
        if self._tail is not None:
            yield from measure_tail(self._tail.describe())
        max_bytes, writer = self._config.journal.max_bytes, self._writer
        yield from measure_journal(self._store, max_bytes, commits=writer.commits, is_full=writer.is_full)
        yield from measure_sinks(self._describe_sinks())
        yield from measure_consumers(self._store, self._consume.consumers.names())

    def tallies(self) -> Iterator[tuple[str, Tally]]:
        """What the rules of each stream have decided."""
        for stream in self._streams.all():
            yield stream.name, stream.tally()

    def _describe_sinks(self) -> dict[str, dict[str, Any]]:
        return {name: sink.describe() for name, sink in self._sinks.items()}

    def _count_producers(self) -> int:
        remote = self._remote
        return self._ingest.conversations + (remote.ingest.conversations if remote is not None else 0)

    def status(self) -> dict[str, Any]:
        """The answer to `status`."""
        subscribers = self._live.subscribers()
        streams = self._streams.all()
        status = {
            **self.health(),
            **describe_daemon(self._config, self._store.epoch, self._began_ns),
            "producers": self._count_producers(),
            "subscribers": subscribers,
            **self._reloader.describe(),
            "streams": describe_streams(streams, self._store.streams(), subscribers),
            "views": describe_views(self._streams.views, subscribers),
            "journal": describe_journal(
                self._store, self._config.journal, commits=self._writer.commits, is_full=self._writer.is_full
            ),
            "consumers": self._consume.consumers.describe(),
            **({"tail": self._tail.describe()} if self._tail is not None else {}),
            **({"forward": self._forward.describe()} if self._forward is not None else {}),
            "sinks": self._describe_sinks(),
            "counters": self.counters(),
            "endpoints": self.endpoints,
        }
        add_rules(status, {stream.name: stream.tally() for stream in streams})
        return status
