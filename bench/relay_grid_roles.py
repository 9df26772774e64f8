"""The processes of the relay's grid: a producer of batches of any size, and a reader of many subscriptions at once.

Every subscription counts what has arrived in a place of its own, which the producer sees: it never runs more than
WINDOW batches ahead of the slowest. Nothing here computes figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import zmq
from durable_roles import Sender
from relay_roles import LIVE_HEAD, STREAM, TYPE_BYTE, WINDOW
from settings import cut_batches

from flowd.errors import FlowdError
from flowd.wire.headers import Type
from flowd.wire.keys import ClientKeys
from flowd.wire.sockets import open_socket, secure_client

GLANCE_S = 0.0002
DEADLINE_S = 60.0


def follow_many(
    endpoint: str, keys: ClientKeys | None, counters: Sequence[Any], places: Sequence[int], control: Connection
) -> None:
    """A live subscription for each of these places among the counters; is ready when each has heard something."""
    context = zmq.Context()
    poller = zmq.Poller()
    sockets: dict[zmq.Socket[bytes], int] = {}
    for place in places:
        socket = open_socket(context, zmq.SUB)
        socket.subscribe(STREAM.encode() + b"\0")
        secure_client(socket, keys, endpoint)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        sockets[socket] = place
    silent = set(places)
    while True:
        for socket, _ in poller.poll():
            frames = socket.recv_multipart(copy=False)
            if frames[LIVE_HEAD].buffer[TYPE_BYTE] == Type.LIVE:
                counters[sockets[socket]] += 1  # type: ignore[index]
            if silent:
                silent.discard(sockets[socket])
                if not silent:
                    control.send(None)


def produce_ahead(
    endpoint: str, keys: ClientKeys | None, corpus: Path, batch_bytes: int, counters: Sequence[int], control: Connection
) -> None:
    """Is asked for a number of batches; answers with seconds, until the slowest has the last one, and bytes."""
    batches = list(cut_batches(corpus.read_bytes(), batch_bytes))[:-1]  # the last one is a rest
    sender = Sender(endpoint, batches, keys)
    control.send(None)
    before = sender.sent
    while True:
        number = int(control.recv())
        until = sender.sent + number
        first = sender.sent
        deadline_s = time.perf_counter() + DEADLINE_S
        began_s = time.perf_counter()
        arrived = min(counters)
        while sender.acknowledged < until or arrived < until - before:
            while sender.sent < until and sender.sent < min(sender.acknowledged, before + arrived) + WINDOW:
                sender.send(sender.sent - first)
            if sender.acknowledged == sender.sent or not sender.hear(0):
                time.sleep(GLANCE_S)
            arrived = min(counters)
            if time.perf_counter() > deadline_s:
                raise FlowdError(f"{until - before - arrived} batches did not arrive at the slowest subscriber")
        took_s = time.perf_counter() - began_s
        control.send((took_s, sum(map(len, islice(cycle(batches), number)))))
