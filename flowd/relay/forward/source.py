"""The thread that speaks Forward: it listens, has connections, and passes on what becomes of their messages."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowd.relay.forward.addresses import bind_address, describe_bound, parse_address
from flowd.relay.forward.connection import HANDSHAKE_S, Connection
from flowd.relay.forward.desk import Desk
from flowd.relay.forward.handover import Handover
from flowd.relay.forward.repeats import Repeats
from flowd.relay.forward.room import Room
from flowd.relay.forward.routes import Routes
from flowd.relay.forward.security import make_tls, read_secrets
from flowd.relay.journal.outbox import Bell
from flowd.relay.metrics import Counters

if TYPE_CHECKING:
    from flowd.relay.config.model import Forward

SOCKET_MODE = 0o660
ACCEPTED_AT_ONCE = 64
"""Connections taken in one go: a flood of them must not keep the others waiting."""
TICK_S = 1.0
"""How often it is looked whether anything is in the way."""
REST_S = 1.0
"""How long nobody is let in after the process had no descriptor left."""
LINGER_S = 1.0
"""How long the last acknowledgements may take to leave, and senders to end."""
END_S = 5.0
"""How long the end waits for the thread."""
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class ForwardSource(threading.Thread):
    """Runs from `start` to `end`; `stop` has it take nothing more. `bell` wakes the thread that carries lines, which
    takes from `handover`; `counters` are written by this thread alone. `failure` is what ended it otherwise.

    Making one binds its addresses. Raises FlowdError, with nothing bound.
    """

    def __init__(self, settings: Forward, bell: Bell, counters: Counters) -> None:
        super().__init__(name="flowd-forward", daemon=True)
        self.failure: Exception | None = None
        self.handover = Handover(bell, self._call_done)
        self._bell = bell
        self._counters = counters
        self._tls = make_tls(settings)
        self._room = Room(settings.max_chunk_bytes)
        self._repeats = Repeats(settings.remembered_chunks)
        self._desk = Desk(
            Routes(settings.streams),
            self._repeats,
            self._room,
            self.handover,
            counters,
            settings.max_chunk_bytes,
            read_secrets(settings),
        )
        self._most_connections = settings.max_connections
        self._connections: dict[Connection, None] = {}
        self._greeted = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event
        self._began = threading.Event()
        self._is_silent = False
        self._listeners: list[socket.socket] = []
        try:
            for text in settings.listen:
                self._listeners.append(bind_address(parse_address(text), SOCKET_MODE))
        except BaseException:
            self.close()
            raise
        self.endpoints = [describe_bound(listener) for listener in self._listeners]

    @property
    def is_silent(self) -> bool:
        """Whether nothing more will be handed over."""
        return self._is_silent or not self.is_alive()

    def stop(self) -> None:
        """Begins the end: nobody is let in any more, and nothing is read. Returns at once."""
        self._call(self._fall_silent)

    def end(self) -> None:
        """Passes on what is stored, ends the connections, and waits for the thread."""
        if self.is_alive():
            self._call(self._end)
            self.join(END_S)
        self.close()

    def close(self) -> None:
        """Gives back what is bound, of a source that does not run."""
        for listener in self._listeners:
            if listener.family == socket.AF_UNIX:
                with suppress(OSError):
                    os.unlink(listener.getsockname())
            listener.close()
        self._listeners.clear()

    def describe(self) -> dict[str, Any]:
        """How it is, for the status. Any thread may call it."""
        return {
            "is_alive": self.is_alive(),
            "endpoints": self.endpoints,
            "connections": len(self._connections),
            "paused_connections": self._room.paused,
            "waiting_bytes": self._room.waiting_bytes,
            "unfinished_bytes": self._room.partial_bytes,
            "remembered_chunks": len(self._repeats),
        }

    def run(self) -> None:
        """The loop."""
        try:
            asyncio.run(self._serve())
        except Exception as error:
            self.failure = error
            log.exception("the thread that speaks Forward failed; no records come in any more")
            self.close()  # so that senders hear of it
        finally:
            self._loop = None
            self._began.set()
            self._bell.ring()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._fail)
        self._ended = asyncio.Event()
        for listener in self._listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener, self._accept, listener)
        self._began.set()
        ticking = asyncio.create_task(self._tick())
        await self._ended.wait()
        ticking.cancel()
        await self._end_connections()
        if self.failure is not None:
            raise self.failure

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something that was called by the loop has raised: that is a mistake here, and not the sender's."""
        error = context.get("exception")
        if self.failure is None and isinstance(error, Exception):
            self.failure = error
        log.error("forward: %s", context.get("message"), exc_info=error)
        self._ended.set()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._room.clear([*self._connections], asyncio.get_running_loop().time())

    # Connections

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._counters.add("flowd_forward_refused_connections_total", reason="descriptors")
                loop.remove_reader(listener)
                loop.call_later(REST_S, self._listen_again, listener)
                return
            if len(self._connections) + self._greeted >= self._most_connections:
                self._counters.add("flowd_forward_refused_connections_total", reason="limit")
                accepted.close()
                continue
            self._counters.add("flowd_forward_connections_total")
            accepted.setblocking(False)
            self._greeted += 1
            task = loop.create_task(self._greet(accepted, address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _listen_again(self, listener: socket.socket) -> None:
        if listener in self._listeners and not self._is_silent:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def _greet(self, accepted: socket.socket, address: Any) -> None:
        """Makes a connection, with TLS where it is to have that. A unix socket has neither that nor secrets: its file's
        mode says who may use it."""
        is_tcp = accepted.family != socket.AF_UNIX
        sender = address[0] if is_tcp else "unix"
        if is_tcp:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        is_secure = is_tcp and self._tls is not None
        connection = Connection(self._desk, sender.encode(), self._enter, self._forget, is_asked=is_tcp)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls if is_secure else None,
                ssl_handshake_timeout=HANDSHAKE_S if is_secure else None,
            )
        except (OSError, ssl.SSLError) as error:
            is_late = isinstance(error, ConnectionAbortedError)
            reason = "timeout" if is_late else "tls"
            self._counters.add("flowd_forward_refused_handshakes_total", reason=reason)
            log.warning("forward: %s was not let in: TLS: %s", sender, error)
            accepted.close()
        finally:
            if not connection.has_begun:
                self._greeted -= 1

    def _enter(self, connection: Connection) -> None:
        """A connection that was greeted begins; one that does so too late ends."""
        self._greeted -= 1
        self._connections[connection] = None
        if self._is_silent:
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        if self._room.paused:
            self._room.wake()

    # From other threads

    def _call(self, what: Any) -> None:
        """Has the loop do something; nothing, where it has ended."""
        self._began.wait(END_S)
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it was closed meanwhile
                loop.call_soon_threadsafe(what)

    def _call_done(self) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._take_done)

    def _take_done(self) -> None:
        """Passes on what became of messages: acknowledgements, and room."""
        heard: dict[Any, None] = {}
        for delivery in self.handover.take_done():
            self._repeats.end(delivery)
            self._room.waiting_bytes -= delivery.size_bytes
            delivery.owner.give_room(delivery.size_bytes)
            heard[delivery.owner] = None
            if delivery.is_stored:
                for waiter, ack in delivery.waiters:
                    waiter.acknowledge(ack)
                    heard[waiter] = None
        for sender in heard:
            sender.flush()
        if self._room.paused:
            self._room.wake()

    # The end

    def _fall_silent(self) -> None:
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
        for connection in [*self._connections]:
            connection.stop()
        self._is_silent = True
        self._bell.ring()

    def _end(self) -> None:
        if not self._is_silent:
            self._fall_silent()
        self._take_done()
        self._ended.set()

    async def _end_connections(self) -> None:
        for task in self._tasks:
            task.cancel()
        for connection in [*self._connections]:
            connection.finish()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + LINGER_S
        while self._connections and loop.time() < until_s:
            await asyncio.sleep(0.01)
        for connection in [*self._connections]:
            connection.abort()
        await asyncio.sleep(0)
