"""The daemon's wiring: it makes the rooms, joins them, and ends them in order. The only place that knows them all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import filterfalse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from flowd.errors import EXIT_DONE, EXIT_NO, FlowdError
from flowd.relay.admin import AdminLane, Operation, read_switch
from flowd.relay.carrier import Carrier
from flowd.relay.config import Config
from flowd.relay.consume.administration import Administration
from flowd.relay.consume.compiling import Compiler
from flowd.relay.consume.consumers import Consumers
from flowd.relay.consume.dispatch import Dispatch
from flowd.relay.consume.door import Door
from flowd.relay.consume.inside import Inside
from flowd.relay.consume.lane import ConsumeLane
from flowd.relay.consume.starts import Starts
from flowd.relay.deciding.inquiry import Inquiry
from flowd.relay.deciding.reload import Reloader
from flowd.relay.deciding.streams import FIRST_STREAM
from flowd.relay.deciding.tapping import Tapping
from flowd.relay.deciding.workers import Workers
from flowd.relay.descriptors import DescriptorWatch
from flowd.relay.directories import RUNTIME_MODE, STATE_MODE, DirectoryLock, file_mode
from flowd.relay.forward.lane import ForwardLane
from flowd.relay.forward.source import ForwardSource
from flowd.relay.health import Health
from flowd.relay.http.opening import open_http
from flowd.relay.ingest.front import Front
from flowd.relay.ingest.lane import Ingest
from flowd.relay.ingest.raw import RawLane
from flowd.relay.journal.opening import Opened, open_journal
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.writer import Writer
from flowd.relay.lanes import Lanes
from flowd.relay.live.lane import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.notify import Notifier, Watchdog
from flowd.relay.overview import Overview
from flowd.relay.reception import Reception
from flowd.relay.sinks.making import make_runners
from flowd.relay.status import describe_version
from flowd.relay.tail.lane import TailLane
from flowd.relay.tail.source import TailSource
from flowd.relay.taken import NotToBeHad, hint_of_path
from flowd.relay.tcp.remote import Remote
from flowd.wire.sockets import Wake, bind, is_tcp, open_socket, shape_consume_socket

if TYPE_CHECKING:
    from flowd.relay.http.server import HttpServer

SOCKET_MODE = 0o660
ADMIN_MODE = 0o600
IO_THREADS = 2
"""One for consumers, one for all others."""
CONSUMERS_LINGER_S = 1.0
"""How long what was sent to consumers may take to leave: what does not comes again from their cursors."""

log = logging.getLogger("flowd")


class Daemon:
    """A running daemon: from the constructor, which binds and starts, to `join`, which returns the exit code.

    Raises FlowdError (a directory in use, a socket that cannot be bound, a journal that cannot be opened) and
    FilterError, with nothing left behind.
    """

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        self._config = config
        self._notifier = notifier or Notifier()
        self._watchdog: Watchdog | None = None
        self._condition = Health()
        self._counters = Counters()
        self._admin_counters = Counters()
        self._reload_counters = Counters()
        self._journal_counters = Counters()
        self._consume_counters = Counters()
        threads = config.runtime.workers + 1  # whoever asks to have a line explained is one more
        self._reloader = Reloader(config.filters, self._reload_counters, self._condition, config.views, threads)
        self._streams = self._reloader.streams
        self._streams.get(FIRST_STREAM)
        self._bound: list[Path] = []
        self._locks: list[DirectoryLock] = []
        self._remote: Remote | None = None
        self._tail: TailSource | None = None
        self._tail_counters = Counters()
        self._http: HttpServer | None = None
        self._http_counters = Counters()
        self._forward: ForwardSource | None = None
        self._forward_counters = Counters()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(IO_THREADS)
        self._admin_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()  # answers until the others have ended
        opened: Opened | None = None
        try:
            self._lock_directories()
            opened = open_journal(config.runtime.state_dir, config.journal)
            self._build(opened)
        except BaseException:
            self._context.destroy(linger=0)
            self._admin_context.destroy(linger=0)
            if self._http is not None:
                self._http.end()
            if self._forward is not None:
                self._forward.close()
            if opened is not None:
                opened.store.close()
            self._release_directories()
            raise
        if self._remote is not None:
            self._remote.start()  # before anybody can ask whether its gate is alive: a dead one stays reported
        self._admin.start()
        self._writer.start()
        self._lanes.start()
        self._consume.start()
        for sink in self._sinks.values():
            sink.start()
        if self._tail is not None:
            self._tail.start()
        if self._http is not None:
            self._http.start()
        if self._forward is not None:
            self._forward.start()
        self._reloader.begin(self._lanes.tasks.run, self._notifier)

    def announce(self) -> None:
        """Tells the service manager, where there is one, that the daemon is ready, and from now on that it is well."""
        log.info("ready in %s", self._config.runtime.dir)
        self._notifier.ready(self._overview.line())
        if self._notifier.is_heard and self._watchdog is None:
            self._watchdog = Watchdog(self._notifier, self._overview)
            self._watchdog.start()

    def drain(self) -> None:
        """Begins the end: no new batches, what was received is finished. Returns at once; `join` waits."""
        self._notifier.stopping()
        if self._tail is not None:
            self._tail.stop()
        if self._forward is not None:
            self._forward.stop()
        self._lanes.drain(self._config.runtime.drain_s)

    def reload(self) -> None:
        """Reads the filters again, soon and aside. Safe in a signal's handler."""
        self._reloader.ask()

    def join(self) -> int:
        """Waits for the end and cleans up; returns the exit code."""
        self._lanes.join()
        if self._tail is not None:
            self._tail.end()
        if self._forward is not None:
            self._forward.end()
        self._reloader.end()
        for sink in self._sinks.values():
            sink.end()
        for sink in self._sinks.values():
            sink.join()
        self._consume.end()
        self._writer.end()
        self._consume.close(CONSUMERS_LINGER_S)
        self._compiler.close()
        if self._remote is not None:
            self._remote.end()
        self._context.term()
        unfinished = list(self._lanes.unfinished)
        if self._lanes.is_late:
            unfinished.append("subscribers had not taken everything published; they will see the gap")
            log.warning("drain: time is over, and %s", unfinished[-1])
        if self._http is not None:
            self._http.end()
        self._admin.end({"unfinished": unfinished})
        self._admin_context.term()
        if self._watchdog is not None:
            self._watchdog.end()
        self._store.close()
        self._wake.close()
        self._release_directories()
        failure = self._lanes.failure or self._writer.failure
        if failure is None:
            return EXIT_DONE
        return failure.exit_code if isinstance(failure, FlowdError) else EXIT_NO

    def _lock_directories(self) -> None:
        runtime, state = Path(self._config.runtime.dir), Path(self._config.runtime.state_dir)
        self._locks.append(DirectoryLock(runtime, RUNTIME_MODE))
        if state.resolve() != runtime.resolve():
            self._locks.append(DirectoryLock(state, STATE_MODE))

    def _release_directories(self) -> None:
        for path in self._bound:  # the admin socket last: who waits for the end waits for that
            path.unlink(missing_ok=True)  # ZeroMQ leaves its sockets' files behind
        self._bound.clear()
        while self._locks:
            self._locks.pop().release()

    def _build(self, opened: Opened) -> None:
        config = self._config
        self._store = opened.store
        if opened.loss is not None:
            self._journal_counters.add("flowd_lost_journals_total", reason=opened.loss.reason)
        if opened.missing.batches:
            self._journal_counters.add("flowd_missing_batches_total", opened.missing.batches)
            self._journal_counters.add("flowd_missing_lines_total", opened.missing.lines)
        self._streams.begin_at(self._store.generation + 1)
        self._wake = Wake()
        self._writer = Writer(
            self._store,
            config.journal,
            config.runtime.state_dir,
            self._journal_counters,
            self._condition,
            self._wake.ring,
        )
        self._build_lanes()
        self._build_consume(opened)
        admin = open_socket(self._admin_context, zmq.ROUTER)
        admin.setsockopt(zmq.ROUTER_MANDATORY, 1)
        with file_mode(ADMIN_MODE):
            self._bind(admin, config.endpoint("admin"))
        self._sinks = make_runners(config, self.inside, self._condition)
        self._overview = Overview(
            config,
            self._condition,
            self._store,
            self._streams,
            self._reloader,
            self._writer,
            self._lanes,
            self._live,
            self._ingest,
            self._consume,
            self._tail,
            self._forward,
            self._remote,
            self._sinks,
            (
                self._counters,
                self._admin_counters,
                self._reload_counters,
                self._journal_counters,
                self._consume_counters,
                self._tail_counters,
                *(sink.counters for sink in self._sinks.values()),
                self._http_counters,
                self._forward_counters,
            ),
        )
        self._http = open_http(config.http, self._overview, self._http_counters)
        administration = Administration(self._store, self._writer, self._consume)
        inquiry = Inquiry(self._streams)
        operations: dict[str, Operation] = {
            "health": lambda _: self._overview.health(),
            "status": lambda _: self._overview.status(),
            "version": lambda _: describe_version(),
            "drain": self._drain,
            "reload": self._reload,
            "bypass": self._bypass,
            "filters": inquiry.filters,
            "decided": inquiry.decided,
            "explain": inquiry.explain,
            "dropped": inquiry.dropped,
            "tap": Tapping(self._streams).tap,
            "consumers": administration.consumers,
            "journal": administration.journal,
        }
        self._admin = AdminLane(admin, operations, self._admin_counters)

    def _build_lanes(self) -> None:
        """What carries lines in, and publishes them."""
        config = self._config
        router = open_socket(self._context, zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        publisher = open_socket(self._context, zmq.XPUB)
        publisher.setsockopt(zmq.XPUB_VERBOSER, 1)
        for socket in (router, publisher):
            socket.setsockopt(zmq.AFFINITY, 1)
        with file_mode(SOCKET_MODE):
            self._bind(router, config.endpoint("ingest"), *filterfalse(is_tcp, config.sources.ingest.bind))
            self._bind(publisher, config.endpoint("live"), *filterfalse(is_tcp, config.live.bind))
        self._live = LiveLane(publisher, self._store, self._streams.views, self._counters)
        self._live.open_topic(FIRST_STREAM)
        workers = Workers(config.runtime.workers, self._wake) if config.runtime.workers else None
        carrier = Carrier(self._live, self._writer, Outbox(self._wake), workers)
        self._ingest = Ingest(self._streams, carrier, self._store, self._counters)
        raw = self._open_raw(carrier)
        if config.has_tcp:
            self._remote = Remote(
                self._context,
                config,
                self._streams,
                carrier,
                self._store,
                self._live,
                self._counters,
                self._consume_counters,
            )
        front = Front(Reception(router, "ingest", self._counters), self._ingest)
        descriptors = DescriptorWatch(self._counters)
        tail, forward = self._open_tail(carrier), self._open_forward(carrier)
        self._lanes = Lanes(
            router, publisher, front, self._live, carrier, self._wake, descriptors, raw, self._remote, tail, forward
        )

    def _build_consume(self, opened: Opened) -> None:
        """What serves durable consumers."""
        config = self._config
        router = open_socket(self._context, zmq.ROUTER)
        shape_consume_socket(router)
        with file_mode(SOCKET_MODE):
            self._bind(router, config.endpoint("consume"), *filterfalse(is_tcp, config.consume.bind))
        wake = Wake()
        self.inside = Inside(wake.ring, self._consume_counters)
        doors: list[Door] = [Reception(router, "consume", self._consume_counters), self.inside]
        sockets = [router]
        if self._remote is not None and self._remote.consume is not None:
            doors.append(self._remote.consume[0])
            sockets.append(self._remote.consume[1])
        views = self._streams.views
        self._compiler = Compiler(views, lambda: self._streams.generation, wake)
        consumers = Consumers(
            self._store,
            self._writer,
            Outbox(wake),
            views,
            self._compiler,
            Starts(self._store, opened.before),
            self._consume_counters,
        )
        dispatch = Dispatch(self._store, self._consume_counters, consumers.detach)
        self._consume = ConsumeLane(
            doors, sockets, consumers, dispatch, wake, lambda now_s: views.sweep(now_s, self._live.subscribers())
        )
        self._writer.heard.append(self._consume.hear_commit)

    def _open_raw(self, carrier: Carrier) -> RawLane | None:
        """The raw lane, where one is configured: its stream's filters are compiled before anything is promised."""
        raw = self._config.sources.raw
        if not raw.bind:
            return None
        stream = self._streams.get(raw.stream)
        assert stream is not None, "the first streams are always taken"
        self._live.open_topic(raw.stream)
        puller = open_socket(self._context, zmq.PULL)
        with file_mode(SOCKET_MODE):
            self._bind(puller, *raw.bind)
        return RawLane(puller, stream, carrier, self._counters)

    def _open_tail(self, carrier: Carrier) -> TailLane | None:
        """What carries the lines of followed files, where any are: their filters are compiled first, as the raw
        lane's."""
        globs = self._config.sources.tail
        if not globs:
            return None
        for name in globs:
            self._streams.get(name)
            self._live.open_topic(name)
        with self._store.read() as reading:
            places = reading.places()
        self._tail = TailSource(globs, places, self._wake, self._tail_counters)
        return TailLane(self._tail.handover, self._streams, carrier, self._writer, self._wake, self._counters)

    def _open_forward(self, carrier: Carrier) -> ForwardLane | None:
        """What carries the records of Forward's senders, where any are listened to: the filters of streams that tags
        are mapped to are compiled first, as the raw lane's."""
        settings = self._config.sources.forward
        if not settings.listen:
            return None
        for name in settings.streams.values():
            self._streams.get(name)
            self._live.open_topic(name)
        self._forward = ForwardSource(settings, self._wake, self._forward_counters)
        return ForwardLane(self._forward, self._streams, carrier, self._counters, settings.time_key)

    def _bind(self, socket: zmq.Socket[bytes], *endpoints: str) -> None:
        for endpoint in endpoints:
            try:
                bind(socket, endpoint)
            except zmq.ZMQError as error:
                hint = hint_of_path(error.errno)
                raise NotToBeHad(f"{endpoint} cannot be bound: {error}", error.errno, hint=hint) from error
            self._bound.append(Path(endpoint.removeprefix("ipc://")))

    def _drain(self, _: Mapping[str, Any]) -> None:
        log.info("drain: asked for on the admin socket")
        self.drain()

    def _reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._reloader.reload(dry=read_switch(arguments, "dry"), force=read_switch(arguments, "force"))

    def _bypass(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._reloader.bypass(read_switch(arguments, "on", is_required=True))
