"""What the running daemon says of itself: how it is, what it does, what it has counted. Asked by the admin socket, the
watchdog, and whoever else tells people; it changes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowd.relay.status import add_rules, describe_daemon, describe_journal, describe_streams, describe_views

if TYPE_CHECKING:
    from flowd.relay.config import Config
    from flowd.relay.consume.lane import ConsumeLane
    from flowd.relay.deciding.reload import Reloader
    from flowd.relay.deciding.streams import Streams
    from flowd.relay.forward.source import ForwardSource
    from flowd.relay.health import Health
    from flowd.relay.ingest.lane import Ingest
    from flowd.relay.journal.store import Store
    from flowd.relay.journal.writer import Writer
    from flowd.relay.lanes import Lanes
    from flowd.relay.live.lane import LiveLane
    from flowd.relay.metrics import Counters
    from flowd.relay.tail.source import TailSource
    from flowd.relay.tcp.remote import Remote


class Overview:
    """Sees all rooms of a daemon. Any thread may ask; nothing here waits."""

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
        self._counters = counters
        self._began_ns = time.time_ns()

    def health(self) -> dict[str, Any]:
        """The answer to `health`: the state, with its reasons where something is not served as it should be."""
        if self._remote is not None and not self._remote.is_guarded:
            self._condition.degrade("tcp", "the gate is dead: nothing goes in or out over TCP; restart the daemon")
        if self._consume.is_failed:
            self._condition.degrade("consumers", "nobody is served any more, see the log; restart the daemon")
        if self._tail is not None and self._tail.failure is not None:
            self._condition.degrade("tail", "no file is followed any more, see the log; restart the daemon")
        if self._forward is not None and self._forward.failure is not None:
            self._condition.degrade("forward", "no records come in any more, see the log; restart the daemon")
        return self._condition.describe(is_alive=self._lanes.is_alive(), is_draining=self._lanes.is_draining)

    def line(self) -> str:
        """One line for the service manager."""
        health = self.health()
        state = ": ".join([health["state"], *health.get("reasons", [])])
        lines = sum(stream.totals().lines for stream in self._streams.all())
        return f"{state}; {self._ingest.conversations} producers, {lines} lines so far".replace("\n", " ")

    def counters(self) -> dict[str, int]:
        """Every counter of the daemon, by its name with its labels."""
        counted: dict[str, int] = {}
        for counters in self._counters:
            counted |= counters.snapshot()
        return counted | (self._remote.counters() if self._remote is not None else {})

    def status(self) -> dict[str, Any]:
        """The answer to `status`."""
        subscribers = self._live.subscribers()
        remote = self._remote
        streams = self._streams.all()
        status = {
            **self.health(),
            **describe_daemon(self._config, self._store.epoch, self._began_ns),
            "producers": self._ingest.conversations + (remote.ingest.conversations if remote is not None else 0),
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
            "counters": self.counters(),
            "endpoints": remote.endpoints if remote is not None else {},
        }
        add_rules(status, {stream.name: stream.tally() for stream in streams})
        return status
