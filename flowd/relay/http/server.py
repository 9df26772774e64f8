"""The thread that answers over HTTP: connections and their limits. What is answered is the desk's affair.

Each connection has one request and one answer, and a time for both. There are few connections at a time: where one more
comes, the oldest goes, so that nobody who only holds connections keeps others out. No line passes here, and nothing
that carries lines waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flowd.relay.http.address import Address
from flowd.relay.http.desk import Desk
from flowd.relay.http.heads import Answer, Refused, read_head, write_head
from flowd.relay.metrics import Counters
from flowd.relay.taken import NotToBeHad, hint_of_address

CONNECTIONS_MAX = 32
"""Those who ask are a few scrapers and probes, and each is done within milliseconds."""
ACCEPTED = 16
"""Accepted in one go: so many more descriptors at most, for a moment."""
BACKLOG = 256
"""Those that wait in the system to be accepted: one that finds no room comes again after a second only."""
HEAD_BYTES = 16 << 10
HEAD_S = 5.0
"""For the whole head, not from one byte to the next."""
TALK_S = 15.0
"""For all of it: as long as Prometheus waits by default, and half more."""
PART_S = 1.0
"""How long it is waited for the other's end: to close before it has read would take the answer from it."""
PIECE_BYTES = 64 << 10
SENT_BYTES = 256 << 10
"""What the system may hold for one that does not read: by itself it takes some MiB for each."""

log = logging.getLogger(__name__)


def listen(address: Address) -> socket.socket:
    """A listening socket. Raises NotToBeHad."""
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    is_dual = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        listening = socket.create_server(tuple(address), family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        hint = hint_of_address(error.errno)
        raise NotToBeHad(f"{address.url()} cannot be bound: {reason}", error.errno, hint=hint) from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES)  # those that are accepted inherit it
    return listening


class HttpServer(threading.Thread):
    """Answers until `end`. Owns the listening socket, and closes it, also where it was never started. `counters` are
    this thread's alone. A connection may last for `talk_s`."""

    def __init__(self, listening: socket.socket, desk: Desk, counters: Counters, talk_s: float = TALK_S) -> None:
        super().__init__(name="flowd-http", daemon=True)
        self._listening = listening
        self._desk = desk
        self._counters = counters
        self._talk_s = talk_s
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def end(self) -> None:
        """Ends the thread, and waits for it: what is being answered is cut off."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self.join()
        self._loop.close()
        self._listening.close()

    def run(self) -> None:
        """The loop."""
        self._loop.set_exception_handler(_say_trouble)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("the thread that answers over HTTP failed; nobody is told metrics or health there any more")

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._greet, sock=self._listening, limit=HEAD_BYTES, backlog=ACCEPTED)
        self._listening.listen(BACKLOG)  # asyncio has one number for both
        await self._over.wait()
        server.close()
        talks = list(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the next turn

    def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._talks) >= CONNECTIONS_MAX:
            oldest = next(iter(self._talks))
            self._talks.pop(oldest).transport.abort()
            oldest.cancel()
            self._refuse("crowd")
        talk = self._loop.create_task(self._talk(reader, writer))
        self._talks[talk] = writer
        talk.add_done_callback(lambda _: self._talks.pop(talk, None))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)  # so that drained is gone
        try:
            async with asyncio.timeout(self._talk_s):
                with suppress(ConnectionError):
                    answer, is_bare = await self._hear(reader)
                    await _send(writer, answer, is_bare)
                    await _part(reader, writer)
        except TimeoutError:
            self._refuse("slow")
        except EOFError:
            pass  # it went without a word, as those do that only look whether there is somebody
        finally:
            writer.transport.abort()

    async def _hear(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        """The answer to what is asked, and whether it is to be sent without its body. Raises EOFError where nothing is
        asked."""
        is_bare = False
        try:
            request = read_head(await _read_head(reader))
            is_bare = request.method == "HEAD"
            return self._desk.answer(request), is_bare
        except Refused as refused:
            self._refuse(refused.answer.reason)
            return refused.answer, is_bare

    def _refuse(self, reason: str) -> None:
        self._counters.add("flowd_http_refused_requests_total", reason=reason)


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(HEAD_S):
            return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        text = f"the request's head is larger than {HEAD_BYTES} bytes"
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", text) from None
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise
        raise Refused(HTTPStatus.BAD_REQUEST, "malformed", "the request's head has no end") from None
    except TimeoutError:
        text = f"the request's head took longer than {HEAD_S:g} s"
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "slow", text) from None


async def _send(writer: asyncio.StreamWriter, answer: Answer, is_bare: bool) -> None:
    """In pieces, so that what a slow reader has not taken is held once, not copied for it."""
    writer.write(write_head(answer))
    body = memoryview(b"" if is_bare else answer.body)
    for start in range(0, len(body), PIECE_BYTES):
        writer.write(body[start : start + PIECE_BYTES])
        await writer.drain()
    await writer.drain()


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Waits until the other has closed, for a moment; what it says meanwhile is not read."""
    writer.write_eof()
    with suppress(TimeoutError):
        async with asyncio.timeout(PART_S):
            while await reader.read(PIECE_BYTES):
                pass


def _say_trouble(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.warning("http: %s%s", context["message"], f": {error}" if error else "")
