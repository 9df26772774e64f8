"""The processes of the Forward benchmark: a sender of packed records, and a subscriber that counts the lines it gets.

The sender has WINDOW chunks under way, as collectors with several flush threads have, and is never further ahead of
the subscriber. A run ends when its last chunk is acknowledged and its last kept line has arrived. Nothing here computes
figures.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterator
from ctypes import c_uint64
from itertools import cycle, islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import zmq
from relay_roles import LIVE_HEAD, STREAM, TYPE_BYTE

import flowd
from flowd.errors import FlowdError
from flowd.wire import Live, parse
from flowd.wire.headers import Type
from flowd.wire.sockets import open_socket

CHUNK_BYTES = 1 << 20
WINDOW = 6
"""Some 30 batches: with more under way, a publisher may drop some for a subscriber that is not that quick."""
DEADLINE_S = 120.0
GLANCE_S = 0.0002


class Chunk(NamedTuple):
    """A message without its option: its first bytes, its entries, and how many records it has and the filters keep."""

    head: bytes
    entries: bytes
    records: int
    kept: int


class Arrived:
    """The lines that the subscriber has got, seen by the sender."""

    def __init__(self, context: SpawnContext) -> None:
        self._lines = context.RawValue(c_uint64, 0)

    @property
    def lines(self) -> int:
        """So many; only the subscriber writes it."""
        return int(self._lines.value)

    @lines.setter
    def lines(self, number: int) -> None:
        self._lines.value = number


def follow_lines(endpoint: str, arrived: Arrived, control: Connection) -> None:
    """Counts the lines that a daemon publishes; is ready when it has heard something."""
    subscriber = open_socket(zmq.Context(), zmq.SUB)
    subscriber.subscribe(STREAM.encode() + b"\0")
    subscriber.connect(endpoint)
    is_ready = False
    while True:
        frames = subscriber.recv_multipart(copy=False)
        if frames[LIVE_HEAD].buffer[TYPE_BYTE] == Type.LIVE:
            header = parse([frame.buffer for frame in frames[LIVE_HEAD:]]).header
            assert isinstance(header, Live)
            arrived.lines += header.n
        if not is_ready:
            is_ready = True
            control.send(None)


def send_chunks(
    address: str, corpus: Path, size_bytes: int, filters: str, arrived: Arrived, control: Connection
) -> None:
    """Is asked for a number of chunks; answers with seconds, bytes of messages, and records. `filters` are the
    daemon's."""
    chunks = list(make_chunks(corpus, size_bytes, filters))
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(DEADLINE_S)
        control.send(None)
        while True:
            number = int(control.recv())
            control.send(_send(connection, list(islice(cycle(chunks), number)), arrived))


def make_chunks(corpus: Path, size_bytes: int, text: str) -> Iterator[Chunk]:
    """The corpus's records as PackedForward messages of a chunk's size; the rest of one at the end is left out."""
    filters = flowd.compile(text)
    packer = msgpack.Packer()
    entries: list[bytes] = []
    entries_bytes = 0
    with corpus.open("rb") as lines:
        for number, line in enumerate(lines):
            moment = msgpack.Timestamp(1_700_000_000 + number // 1000, number % 1000 * 1_000_000)
            event_time = msgpack.ExtType(0, moment.seconds.to_bytes(4, "big") + moment.nanoseconds.to_bytes(4, "big"))
            entries.append(packer.pack([event_time, json.loads(line)]))
            entries_bytes += len(entries[-1])
            if entries_bytes >= CHUNK_BYTES:
                packed = b"".join(entries)
                head = b"\x93" + packer.pack(STREAM) + b"\xc6" + len(packed).to_bytes(4, "big")
                yield Chunk(head, packed, len(entries), filters.apply_records(packed).kept_records)
                size_bytes -= entries_bytes
                entries, entries_bytes = [], 0
                if size_bytes <= 0:
                    return


def _send(connection: socket.socket, chunks: list[Chunk], arrived: Arrived) -> tuple[float, int, int]:
    unpacker = msgpack.Unpacker()
    under_way: set[str] = set()
    awaited: deque[int] = deque(maxlen=WINDOW)
    lines = arrived.lines
    sent_bytes = 0
    began_s = time.perf_counter()
    for chunk in chunks:
        while len(under_way) >= WINDOW:
            _hear(connection, unpacker, under_way)
        if len(awaited) == WINDOW:
            _wait_for(arrived, awaited[0])
        name = secrets.token_hex(16)
        option = msgpack.packb({"size": chunk.records, "chunk": name})
        for part in (chunk.head, chunk.entries, option):
            connection.sendall(part)
            sent_bytes += len(part)
        under_way.add(name)
        lines += chunk.kept
        awaited.append(lines)
    while under_way:
        _hear(connection, unpacker, under_way)
    _wait_for(arrived, lines)
    return time.perf_counter() - began_s, sent_bytes, sum(chunk.records for chunk in chunks)


def _wait_for(arrived: Arrived, lines: int) -> None:
    """Returns when the subscriber has so many lines."""
    until_s = time.perf_counter() + DEADLINE_S
    while arrived.lines < lines:
        if time.perf_counter() > until_s:
            raise FlowdError(f"{lines - arrived.lines} lines did not arrive")
        time.sleep(GLANCE_S)


def _hear(connection: socket.socket, unpacker: Any, under_way: set[str]) -> None:
    """Waits for acknowledgements."""
    heard = connection.recv(65536)
    if not heard:
        raise FlowdError("the daemon has closed the connection")
    unpacker.feed(heard)
    for answer in unpacker:
        under_way.remove(answer["ack"])
