"""The processes of the Forward sink's benchmark: a server that only acknowledges, and a sender of chunks packed before.

Each is told by a pipe what to do and answers with what it took. Nothing here computes figures.
"""

from __future__ import annotations

import socket
import time
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgpack
from durable_roles import load_batches

from flowd.sinks.forward.chunks import pack_message
from flowd.sinks.forward.entries import EntryPacker
from flowd.wire.forward import ACK, CHUNK

WINDOW = 8
READ_BYTES = 1 << 20
MESSAGE_MAX_BYTES = 64 << 20


def acknowledge(path: str, control: Connection) -> None:
    """A server that reads while it is asked for a number of chunks, and acknowledges them; answers with seconds."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    control.send(None)
    taken, _ = listener.accept()
    unpacker = msgpack.Unpacker(max_buffer_size=MESSAGE_MAX_BYTES)
    while True:
        left = int(control.recv())
        began_s = time.perf_counter()
        while left:
            for _, _, option in unpacker:
                taken.sendall(msgpack.packb({ACK: option[CHUNK]}))
                left -= 1
            if left:
                unpacker.feed(taken.recv(READ_BYTES))
        control.send(time.perf_counter() - began_s)


def send_bare(path: str, corpus: Path, size_bytes: int, is_compressed: bool, control: Connection) -> None:
    """A sender with a window whose chunks are packed already: is asked for a number of them, answers with the bytes of
    their lines."""
    packer = EntryPacker()
    chunks: list[tuple[int, bytes]] = []
    for number, lines in enumerate(load_batches(corpus, size_bytes)):
        packed = packer.pack(lines, 0)
        chunks.append((len(lines), pack_message("flows", packed, b"%d" % number, is_compressed)))
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    unpacker = msgpack.Unpacker()
    control.send(None)
    while True:
        under_way = sent_bytes = 0
        for size, message in islice(cycle(chunks), int(control.recv())):
            while under_way >= WINDOW:
                under_way -= _count_acks(server, unpacker)
            server.sendall(message)
            sent_bytes += size
            under_way += 1
        while under_way:
            under_way -= _count_acks(server, unpacker)
        control.send(sent_bytes)


def _count_acks(server: socket.socket, unpacker: Any) -> int:
    unpacker.feed(server.recv(READ_BYTES))
    return sum(1 for _ in unpacker)
