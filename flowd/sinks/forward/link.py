"""One server of a Forward sink: connected to again for ever, and the chunks that are under way on it.

A server that keeps chunks without acknowledging them, or ends twice with some under way, is *in doubt* until it
acknowledges one: it is then given one chunk at a time, and where another is well, only copies of what that one gets.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any, Protocol

from flowd.sinks.forward.chunks import Chunk
from flowd.sinks.forward.security import Security
from flowd.sinks.forward.servers import Server
from flowd.sinks.forward.session import CLOSED, Session, SessionError, open_session

PAUSE_S = 0.25
"""The pause before a server is connected to again, doubled with each failure up to the next one; of each, a random part
of the second half is left out, so that the nodes of a cluster do not come back at once."""
PAUSE_MAX_S = 30.0
LOOK_S = 0.5
"""How often it is looked whether an acknowledgement is overdue, at least."""
CALM_S = 5.0
"""A connection that was idle for so long may be closed by the server: that is no failure."""
OVERDUE = "ack_timeout"
"""The reason of a connection that this side ends, since the server does not acknowledge."""

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Whom a link tells."""

    def changed(self) -> None:
        """The link can carry more, or less."""

    def acknowledged(self, chunk: Chunk) -> None:
        """The server has it."""

    def give_back(self, chunks: list[Chunk]) -> None:
        """These were under way when the connection ended."""

    def failed(self, reason: str) -> None:
        """A connection was not made, or broke."""


class Link:
    """`run` keeps the connection, `send` uses it while `has_room`.

    `state` is `starting` until the first attempt has ended, then `up` or `down`; a standby server is `standby` while it
    is not needed. `reason` is why it is down, or in doubt.
    """

    def __init__(self, server: Server, security: Security, node: str, window: int, ack_timeout_s: float, owner: Owner):
        self.server = server
        self.weight = server.weight
        self.turn = 0
        self.state = "standby" if server.is_standby else "starting"
        self.reason = ""
        self.is_doubted = False
        self._security = security
        self._node = node
        self._window = window
        self._ack_timeout_s = ack_timeout_s
        self._owner = owner
        self._session: Session | None = None
        self._under_way: dict[bytes, tuple[Chunk, float]] = {}  # with when it was sent
        self._failures = 0
        self._has_acked = False
        self._began_s = 0.0
        self._needed = asyncio.Event()
        if not server.is_standby:
            self._needed.set()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._session is not None

    @property
    def is_well(self) -> bool:
        """Whether it is connected, and known to acknowledge or not known not to."""
        return self._session is not None and not self.is_doubted

    def is_preferred(self) -> bool:
        """Whether it is well, and not standby."""
        return self.is_well and not self.server.is_standby

    def is_spare(self) -> bool:
        """Whether it is well, and standby."""
        return self.is_well and self.server.is_standby

    @property
    def has_room(self) -> bool:
        """Whether it may be given a chunk."""
        if self._session is None:
            return False
        one = self.is_doubted or self._session.carries_one
        return len(self._under_way) < (1 if one else self._window)

    def need(self, is_needed: bool) -> None:
        """Whether a standby server is to be connected to. One that is needed no more is left as it is while chunks are
        under way."""
        if is_needed:
            self._needed.set()
        else:
            self._needed.clear()

    def holds(self, chunk: Chunk) -> bool:
        """Whether this chunk is under way here."""
        return chunk.id in self._under_way

    def send(self, chunk: Chunk) -> None:
        """Sends a chunk; there must be room."""
        assert self._session is not None
        self._under_way[chunk.id] = chunk, asyncio.get_running_loop().time()
        chunk.holders += 1
        chunk.sends += 1
        self._session.send(chunk.message)

    def describe(self) -> dict[str, Any]:
        """How it is, for the status."""
        return {
            "server": self.server.text,
            "state": "doubted" if self._session is not None and self.is_doubted else self.state,
            "reason": self.reason,
            "weight": self.weight,
            "standby": self.server.is_standby,
            "under_way_chunks": len(self._under_way),
        }

    async def run(self) -> None:
        """Connects, serves the connection, and begins again; until it is cancelled."""
        while True:
            await self._needed.wait()
            pause_s = 0.0
            try:
                self._begin_session(await open_session(self.server, self._security, self._node))
                await self._serve()
            except SessionError as error:
                if not self._is_quiet_end(error):
                    pause_s = self._fail(error)
            finally:
                self._end_session()
            if not self._needed.is_set():
                self.state = "standby"
            self._owner.changed()
            await asyncio.sleep(pause_s)

    def _begin_session(self, session: Session) -> None:
        self._session = session
        self._has_acked = False
        self._began_s = asyncio.get_running_loop().time()
        self.state = "up"
        if not self.is_doubted:
            self.reason = ""
        self._owner.changed()

    async def _serve(self) -> None:
        """Reads acknowledgements. Returns where the connection has done what it was for; SessionError ends it, too."""
        session = self._session
        assert session is not None
        loop = asyncio.get_running_loop()
        look_s = min(LOOK_S, self._ack_timeout_s / 4)
        while True:
            acks: list[bytes] = []
            with suppress(TimeoutError):
                async with asyncio.timeout(look_s):
                    acks = await session.read_acks()
            for id in acks:
                self._take_ack(id)
            if not self._under_way:
                if (acks and session.carries_one) or not self._needed.is_set():
                    return
                continue
            _, oldest_s = next(iter(self._under_way.values()))
            if loop.time() - oldest_s >= self._ack_timeout_s:
                raise SessionError(OVERDUE, f"no acknowledgement within {self._ack_timeout_s:g} s")

    def _take_ack(self, id: bytes) -> None:
        chunk, _ = self._under_way.pop(id, (None, 0.0))
        if chunk is None:
            return  # it was acknowledged before, or is none of ours
        chunk.holders -= 1
        was_doubted = self.is_doubted
        self._failures, self._has_acked, self.is_doubted, self.reason = 0, True, False, ""
        self._owner.acknowledged(chunk)
        if was_doubted:
            self._owner.changed()

    def _is_quiet_end(self, error: SessionError) -> bool:
        """Whether a server merely closed a connection that nothing was under way on."""
        if self._session is None or self._under_way or error.reason != CLOSED:
            return False
        return self._has_acked or asyncio.get_running_loop().time() - self._began_s >= CALM_S

    def _fail(self, error: SessionError) -> float:
        """Notes a failure; returns the seconds to wait."""
        self._failures += 1
        if self._under_way and (error.reason == OVERDUE or self._failures > 1):
            self.is_doubted = True
        self.state, self.reason = "down", str(error)
        log.info("forward: %s: %s", self.server.text, error)
        self._owner.failed(error.reason)
        pause_s: float = min(PAUSE_S * 2 ** min(self._failures, 16), PAUSE_MAX_S)
        return pause_s * random.uniform(0.5, 1.0)

    def _end_session(self) -> None:
        """Closes what is open, and gives back what was under way."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
        chunks = [chunk for chunk, _ in self._under_way.values()]
        self._under_way.clear()
        for chunk in chunks:
            chunk.holders -= 1
        self._owner.give_back(chunks)
