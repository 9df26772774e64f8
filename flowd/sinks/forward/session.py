"""One connection to a Forward server: made, secured, admitted; messages go out, acknowledgements come in."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from typing import Any

import msgpack

from flowd.errors import FlowdError
from flowd.sinks.forward.security import KEY_HINT, Handshake, NotAdmitted, Security, make_tls, read_credentials
from flowd.sinks.forward.servers import Server
from flowd.wire.forward import ACK, CHUNK_ID_BYTES, HELO

CONNECT_S = 10.0
"""How long a connection may take, TLS included, and then the handshake again as long."""
READ_BYTES = 64 << 10
CLOSED = "closed"
"""The reason of a connection that the server has ended."""
ANSWER_MAX_BYTES = 64 << 10
"""Acknowledgements and handshakes are short: what is longer is no such thing."""
HAPPY_EYEBALLS_S = 0.25
KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""After a minute of silence it is known that a peer is gone."""


class SessionError(Exception):
    """A connection that could not be made, or cannot go on: `reason` in one word, and the whole story."""

    def __init__(self, reason: str, story: str) -> None:
        super().__init__(story)
        self.reason = reason


class Session:
    """An open connection; `open_session` makes it. `carries_one` says that the server ends it after one chunk."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carries_one = False
        self._reader = reader
        self._writer = writer
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            max_buffer_size=ANSWER_MAX_BYTES + READ_BYTES,
            max_str_len=ANSWER_MAX_BYTES,
            max_bin_len=ANSWER_MAX_BYTES,
            max_array_len=16,
            max_map_len=16,
            max_ext_len=0,
        )

    def send(self, message: bytes) -> None:
        """Has a message sent, soon. What cannot be sent shows where answers are read."""
        self._writer.write(message)

    async def read_acks(self) -> list[bytes]:
        """The ids of the chunks that are acknowledged next; may be cancelled. Raises SessionError at the end."""
        while True:
            acks = list(map(_read_ack, self._take()))
            if acks:
                return acks
            await self._receive()

    async def admit(self, handshake: Handshake) -> None:
        """HELO, PING, PONG. Raises SessionError."""
        try:
            async with asyncio.timeout(CONNECT_S):
                ping = handshake.answer_helo(await self._read_one())
                self.send(msgpack.packb(ping, use_bin_type=True))
                handshake.judge_pong(await self._read_one())
        except NotAdmitted as error:
            raise SessionError("refused", str(error)) from error
        except SessionError as error:
            if error.reason != CLOSED:
                raise
            raise SessionError("refused", "it closed the connection at the handshake: has it the same key?") from error
        except TimeoutError as error:
            story = f"no handshake within {CONNECT_S:g} s: does it ask for a shared key?"
            raise SessionError("refused", story) from error
        self.carries_one = not handshake.is_kept_alive

    def close(self) -> None:
        """Ends the connection at once."""
        self._writer.transport.abort()

    async def _read_one(self) -> Any:
        while True:
            for message in self._take(1):
                return message
            await self._receive()

    def _take(self, most: int = 1 << 30) -> list[Any]:
        """The next whole answers of what was received."""
        taken: list[Any] = []
        try:
            for message in self._unpacker:
                taken.append(message)
                if len(taken) == most:
                    break
        except (ValueError, msgpack.UnpackException) as error:
            raise SessionError("protocol", f"its answer is no msgpack of this protocol: {error}") from error
        return taken

    async def _receive(self) -> None:
        try:
            received = await self._reader.read(READ_BYTES)
        except OSError as error:  # of which ssl.SSLError is one
            kind = "tls" if isinstance(error, ssl.SSLError) else CLOSED
            raise SessionError(kind, f"the connection broke: {_why(error)}") from error
        if not received:
            raise SessionError(CLOSED, "it closed the connection")
        try:
            self._unpacker.feed(received)
        except msgpack.BufferFull as error:
            raise SessionError("protocol", "its answer does not end") from error


async def open_session(server: Server, security: Security, hostname: str) -> Session:
    """A connection to a server that has let us in. Raises SessionError."""
    try:
        credentials = read_credentials(security, hostname)
        async with asyncio.timeout(CONNECT_S):
            session = Session(*await _connect(server, security))
    except FlowdError as error:
        raise SessionError("files", error.message) from error
    except ssl.SSLError as error:
        raise SessionError("tls", f"no TLS: {_why_tls(error)}") from error
    except TimeoutError as error:
        raise SessionError("connect", f"no connection within {CONNECT_S:g} s") from error
    except OSError as error:
        raise SessionError("connect", f"no connection: {_why(error)}") from error
    if credentials is not None:
        try:
            await session.admit(Handshake(credentials))
        except BaseException:
            session.close()
            raise
    return session


async def _connect(server: Server, security: Security) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if server.path:
        return await asyncio.open_unix_connection(server.path)
    tls = make_tls(security) if security.tls else None
    name = (security.tls_server_name or server.host) if tls is not None else None
    reader, writer = await asyncio.open_connection(
        server.host, server.port, ssl=tls, server_hostname=name, happy_eyeballs_delay=HAPPY_EYEBALLS_S
    )
    raw = writer.get_extra_info("socket")
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
    return reader, writer


def _read_ack(answer: Any) -> bytes:
    """The id that an answer acknowledges."""
    id = answer.get(ACK.encode()) if isinstance(answer, dict) else None
    if isinstance(id, bytes) and len(id) <= CHUNK_ID_BYTES:
        return id
    if isinstance(answer, list) and answer[:1] == [HELO.encode()]:
        raise SessionError("refused", f"it asks for a shared key: {KEY_HINT}")
    raise SessionError("protocol", f"its answer is no acknowledgement: {answer!r:.100}")


def _why(error: OSError) -> str:
    """The system's words: asyncio puts others in their place."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__


def _why_tls(error: ssl.SSLError) -> str:
    """OpenSSL's words without its source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    return (error.reason or str(error)).replace("_", " ").lower()
