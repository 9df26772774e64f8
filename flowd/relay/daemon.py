"""The daemon's wiring: it makes the rooms, joins them, and ends them in order. The only place that knows them all."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import zmq

from flowd.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO, FlowdError
from flowd.memory import keep_freed_memory
from flowd.relay.admin import AdminLane
from flowd.relay.config import Config
from flowd.relay.directories import RUNTIME_MODE, STATE_MODE, DirectoryLock, file_mode
from flowd.relay.ingest import Ingest
from flowd.relay.lanes import Lanes
from flowd.relay.live import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.raw import RawLane
from flowd.relay.status import describe_daemon, describe_streams, describe_version
from flowd.relay.streams import Streams
from flowd.wire.limits import ID_BYTES
from flowd.wire.sockets import open_socket

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

FIRST_STREAM = "flows"
"""Opened at the start: its filters are compiled before anything is promised, and its view beats from the beginning."""
SOCKET_MODE = 0o660
ADMIN_MODE = 0o600

log = logging.getLogger("flowd")


class Daemon:
    """A running daemon: from the constructor, which binds and starts, to `join`, which returns the exit code.

    Raises FlowdError (a directory in use, a socket that cannot be bound) and FilterError, with nothing left behind.
    """

    def __init__(self, config: Config, compile_filters: Callable[[str], FilterSet]) -> None:
        self._config = config
        self._began_ns = time.time_ns()
        self._epoch = secrets.token_bytes(ID_BYTES)
        self._counters = Counters()
        self._admin_counters = Counters()
        self._streams = Streams(compile_filters)
        self._streams.get(FIRST_STREAM)
        self._bound: list[Path] = []
        self._locks: list[DirectoryLock] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._lock_directories()
            self._build()
        except BaseException:
            self._context.destroy(linger=0)
            self._release_directories()
            raise
        self._admin.start()
        self._lanes.start()

    def drain(self) -> None:
        """Begins the end: no new batches, what was received is finished. Returns at once; `join` waits."""
        self._lanes.drain(self._config.runtime.drain_s)

    def join(self) -> int:
        """Waits for the end and cleans up; returns the exit code."""
        self._lanes.join()
        self._admin.end()
        self._context.term()
        if self._lanes.is_late:
            log.warning(
                "drain: time is over, and subscribers had not taken everything published; they will see the gap"
            )
        self._release_directories()
        return EXIT_DONE if self._lanes.failure is None else EXIT_NO

    def _lock_directories(self) -> None:
        runtime, state = Path(self._config.runtime.dir), Path(self._config.runtime.state_dir)
        self._locks.append(DirectoryLock(runtime, RUNTIME_MODE))
        if state.resolve() != runtime.resolve():
            self._locks.append(DirectoryLock(state, STATE_MODE))

    def _release_directories(self) -> None:
        while self._bound:
            self._bound.pop().unlink(missing_ok=True)  # ZeroMQ leaves its sockets' files behind
        while self._locks:
            self._locks.pop().release()

    def _build(self) -> None:
        config = self._config
        router = open_socket(self._context, zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        publisher = open_socket(self._context, zmq.XPUB)
        publisher.setsockopt(zmq.XPUB_VERBOSER, 1)
        admin = open_socket(self._context, zmq.ROUTER)
        admin.setsockopt(zmq.ROUTER_MANDATORY, 1)
        with file_mode(SOCKET_MODE):
            self._bind(router, config.endpoint("ingest"), *config.sources.ingest.bind)
            self._bind(publisher, config.endpoint("live"), *config.live.bind)
        with file_mode(ADMIN_MODE):
            self._bind(admin, config.endpoint("admin"))
        self._live = LiveLane(publisher, self._epoch, self._counters)
        self._live.open_view(FIRST_STREAM)
        self._ingest = Ingest(self._streams, self._live, self._counters)
        raw = self._open_raw()
        self._lanes = Lanes(router, publisher, self._ingest, self._live, self._counters, raw)
        operations = {"health": self._health, "status": self._status, "version": lambda _: describe_version()}
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

    def _state(self) -> str:
        if not self._lanes.is_alive():
            return "ended"
        return "draining" if self._lanes.is_draining else "ok"

    def _health(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"state": self._state()}

    def _status(self, _: Mapping[str, Any]) -> dict[str, Any]:
        subscribers = self._live.subscribers()
        return {
            "state": self._state(),
            **describe_daemon(self._config, self._epoch, self._began_ns),
            "producers": self._ingest.conversations,
            "subscribers": subscribers,
            "streams": describe_streams(self._streams.all(), self._live.next_sequences(), subscribers),
            "counters": self._counters.snapshot() | self._admin_counters.snapshot(),
        }


def filter_compiler(config: Config) -> Callable[[str], FilterSet]:
    """What makes a stream's filter set from the configured filters; without any, one that keeps everything."""
    from flowd import filterset

    chosen = config.filters

    def compile_filters(stream: str) -> FilterSet:
        if chosen.path is None:
            return filterset.compile("", stream=stream)
        return filterset.load(
            chosen.path, stream=stream, dialect=chosen.dialect, skip_unsupported=chosen.skip_unsupported
        )

    return compile_filters


def run(config: Config) -> int:
    """Runs a daemon until SIGTERM or SIGINT, drains it, and returns the exit code. To be called from the main thread.

    A second signal ends the process at once with exit code 130: what is under way is not finished.
    """
    keep_freed_memory()
    daemon = Daemon(config, filter_compiler(config))
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
    log.info("ready in %s", config.runtime.dir)
    try:
        return daemon.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
