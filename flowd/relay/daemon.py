"""The daemon's wiring: it makes the rooms, joins them, and ends them in order. The only place that knows them all."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from itertools import filterfalse
from pathlib import Path
from types import FrameType
from typing import Any

import zmq

from flowd.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO, FlowdError
from flowd.memory import keep_freed_memory
from flowd.relay.admin import AdminLane, Operation, read_switch
from flowd.relay.config import Config
from flowd.relay.deciding.reload import Reloader
from flowd.relay.descriptors import raise_limit
from flowd.relay.directories import RUNTIME_MODE, STATE_MODE, DirectoryLock, file_mode
from flowd.relay.health import Health
from flowd.relay.ingest.lane import Ingest
from flowd.relay.ingest.raw import RawLane
from flowd.relay.lanes import Lanes
from flowd.relay.live.lane import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.notify import Notifier, Watchdog
from flowd.relay.status import describe_daemon, describe_streams, describe_version
from flowd.relay.tcp.remote import Remote
from flowd.wire.limits import ID_BYTES
from flowd.wire.sockets import is_tcp, open_socket

FIRST_STREAM = "flows"
"""Opened at the start: its filters are compiled before anything is promised, and its view beats from the beginning."""
SOCKET_MODE = 0o660
ADMIN_MODE = 0o600

log = logging.getLogger("flowd")


class Daemon:
    """A running daemon: from the constructor, which binds and starts, to `join`, which returns the exit code.

    Raises FlowdError (a directory in use, a socket that cannot be bound) and FilterError, with nothing left behind.
    """

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        self._config = config
        self._notifier = notifier or Notifier()
        self._watchdog: Watchdog | None = None
        self._condition = Health()
        self._began_ns = time.time_ns()
        self._epoch = secrets.token_bytes(ID_BYTES)
        self._counters = Counters()
        self._admin_counters = Counters()
        self._reload_counters = Counters()
        self._reloader = Reloader(config.filters, self._reload_counters, self._condition)
        self._streams = self._reloader.streams
        self._streams.get(FIRST_STREAM)
        self._bound: list[Path] = []
        self._locks: list[DirectoryLock] = []
        self._remote: Remote | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._admin_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()  # answers until the others have ended
        try:
            self._lock_directories()
            self._build()
        except BaseException:
            self._context.destroy(linger=0)
            self._admin_context.destroy(linger=0)
            self._release_directories()
            raise
        self._admin.start()
        if self._remote is not None:
            self._remote.start()
        self._lanes.start()
        self._reloader.begin(self._lanes.between_batches, self._notifier)

    def announce(self) -> None:
        """Tells the service manager, where there is one, that the daemon is ready, and from now on that it is well."""
        log.info("ready in %s", self._config.runtime.dir)
        self._notifier.ready(self._describe())
        if self._notifier.is_heard and self._watchdog is None:
            self._watchdog = Watchdog(self._notifier, lambda: self._lanes.turned_s, self._describe)
            self._watchdog.start()

    def drain(self) -> None:
        """Begins the end: no new batches, what was received is finished. Returns at once; `join` waits."""
        self._notifier.stopping()
        self._lanes.drain(self._config.runtime.drain_s)

    def reload(self) -> None:
        """Reads the filters again, soon and aside. Safe in a signal's handler."""
        self._reloader.ask()

    def join(self) -> int:
        """Waits for the end and cleans up; returns the exit code."""
        self._lanes.join()
        self._reloader.end()
        if self._remote is not None:
            self._remote.end()
        self._context.term()
        unfinished = list(self._lanes.unfinished)
        if self._lanes.is_late:
            unfinished.append("subscribers had not taken everything published; they will see the gap")
            log.warning("drain: time is over, and %s", unfinished[-1])
        self._admin.end({"unfinished": unfinished})
        self._admin_context.term()
        if self._watchdog is not None:
            self._watchdog.end()
        self._release_directories()
        return EXIT_DONE if self._lanes.failure is None else EXIT_NO

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

    def _build(self) -> None:
        config = self._config
        router = open_socket(self._context, zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        publisher = open_socket(self._context, zmq.XPUB)
        publisher.setsockopt(zmq.XPUB_VERBOSER, 1)
        admin = open_socket(self._admin_context, zmq.ROUTER)
        admin.setsockopt(zmq.ROUTER_MANDATORY, 1)
        with file_mode(SOCKET_MODE):
            self._bind(router, config.endpoint("ingest"), *filterfalse(is_tcp, config.sources.ingest.bind))
            self._bind(publisher, config.endpoint("live"), *filterfalse(is_tcp, config.live.bind))
        self._live = LiveLane(publisher, self._epoch, self._counters)
        self._live.open_view(FIRST_STREAM)
        self._ingest = Ingest(self._streams, self._live, self._counters)
        raw = self._open_raw()
        if config.has_tcp:
            self._remote = Remote(self._context, config, self._streams, self._live, self._counters)
        with file_mode(ADMIN_MODE):
            self._bind(admin, config.endpoint("admin"))
        self._lanes = Lanes(router, publisher, self._ingest, self._live, self._counters, raw, self._remote)
        operations: dict[str, Operation] = {
            "health": self._health,
            "status": self._status,
            "version": lambda _: describe_version(),
            "drain": self._drain,
            "reload": self._reload,
            "bypass": self._bypass,
        }
        self._admin = AdminLane(admin, operations, self._admin_counters)

    def _open_raw(self) -> RawLane | None:
        """The raw lane, where one is configured: its stream's filters are compiled before anything is promised."""
        raw = self._config.sources.raw
        if not raw.bind:
            return None
        stream = self._streams.get(raw.stream)
        assert stream is not None, "the first streams are always taken"
        self._live.open_view(raw.stream)
        puller = open_socket(self._context, zmq.PULL)
        with file_mode(SOCKET_MODE):
            self._bind(puller, *raw.bind)
        return RawLane(puller, stream, self._live, self._counters)

    def _bind(self, socket: zmq.Socket[bytes], *endpoints: str) -> None:
        for endpoint in endpoints:
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                hint = "its folder must be there, and be writable"
                raise FlowdError(f"{endpoint} cannot be bound: {error}", hint=hint) from error
            self._bound.append(Path(endpoint.removeprefix("ipc://")))

    def _health(self, _: Mapping[str, Any]) -> dict[str, Any]:
        if self._remote is not None and not self._remote.is_guarded:
            self._condition.degrade("tcp", "the gate is dead: nothing goes in or out over TCP; restart the daemon")
        return self._condition.describe(is_alive=self._lanes.is_alive(), is_draining=self._lanes.is_draining)

    def _describe(self) -> str:
        """One line for the service manager."""
        health = self._health({})
        state = ": ".join([health["state"], *health.get("reasons", [])])
        lines = sum(stream.totals().lines for stream in self._streams.all())
        return f"{state}; {self._ingest.conversations} producers, {lines} lines so far".replace("\n", " ")

    def _drain(self, _: Mapping[str, Any]) -> None:
        log.info("drain: asked for on the admin socket")
        self.drain()

    def _reload(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._reloader.reload(dry=read_switch(arguments, "dry"), force=read_switch(arguments, "force"))

    def _bypass(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._reloader.bypass(read_switch(arguments, "on", is_required=True))

    def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        subscribers = self._live.subscribers()
        remote = self._remote
        return {
            **self._health({}),
            **describe_daemon(self._config, self._epoch, self._began_ns),
            "producers": self._ingest.conversations + (remote.ingest.conversations if remote is not None else 0),
            "subscribers": subscribers,
            **self._reloader.describe(),
            "streams": describe_streams(self._streams.all(), self._live.next_sequences(), subscribers),
            "counters": self._counters.snapshot()
            | self._admin_counters.snapshot()
            | self._reload_counters.snapshot()
            | (remote.counters() if remote is not None else {}),
            "endpoints": remote.endpoints if remote is not None else {},
        }


def run(config: Config) -> int:
    """Runs a daemon until SIGTERM or SIGINT, drains it, and returns the exit code. To be called from the main thread.

    A second signal ends the process at once with exit code 130: what is under way is not finished. SIGHUP reads the
    filters again.
    """
    keep_freed_memory()
    raise_limit()
    daemon = Daemon(config, Notifier.from_environment())
    signals = 0

    def end(_: int, __: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            sys.stderr.write("flowd: ended by a second signal, without draining\n")
            sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)
        daemon.drain()

    logging.basicConfig(level=logging.INFO, format="flowd: %(levelname)s: %(message)s")
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda _, __: daemon.reload())
    daemon.announce()
    try:
        return daemon.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
