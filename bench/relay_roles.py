"""The processes of the relay's benchmark: a bare forwarder, producers and subscribers, each in a process of its own.

A producer never runs more than WINDOW batches ahead of what the subscriber has counted. So nothing is lost at any
socket's high-water mark, on either way, and a run ends when its last batch has arrived. Nothing here computes figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ctypes import c_uint64
from itertools import cycle, islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path

import zmq
from settings import cut_batches

from flowd.client import Producer, Subscriber
from flowd.errors import FlowdError
from flowd.wire import Ack, Data, Hello, Welcome, checksum, encode, parse
from flowd.wire.headers import Type
from flowd.wire.limits import BATCH_BYTES, ID_BYTES, VERSION
from flowd.wire.sockets import open_socket

WINDOW = 30
"""Enough to keep every process busy. ZeroMQ hears of a reader's progress every half high-water mark only, so that a
publisher may drop from 33 batches under way on."""
GLANCE_S = 0.0002
PROBE = b"?"
PROBE_S = 0.01
DEADLINE_S = 60.0
STREAM = "flows"
LIVE_HEAD = 1
"""The head's place among the frames of the live lane, after the topic."""
TYPE_BYTE = 4


class Tally:
    """What a subscriber has counted, seen by its producer."""

    def __init__(self, context: SpawnContext) -> None:
        self._batches = context.RawValue(c_uint64, 0)
        self.ready = context.Event()

    @property
    def batches(self) -> int:
        """Batches that have arrived; only the subscriber writes it."""
        return int(self._batches.value)

    @batches.setter
    def batches(self, number: int) -> None:
        self._batches.value = number

    def wait_for(self, batches: int) -> None:
        """Returns when so many have arrived."""
        if self.batches >= batches:
            return
        deadline_s = time.monotonic() + DEADLINE_S
        while self.batches < batches:
            if time.monotonic() > deadline_s:
                raise FlowdError(f"{batches - self.batches} of {batches} batches did not arrive")
            time.sleep(GLANCE_S)


def forward(pull: str, publish: str) -> None:
    """The bare forwarder: libzmq's own proxy from PULL to PUB, no Python on the way."""
    context = zmq.Context()
    receiving, sending = open_socket(context, zmq.PULL), open_socket(context, zmq.PUB)
    receiving.bind(pull)
    sending.bind(publish)
    zmq.proxy(receiving, sending)


def follow_forwarder(endpoint: str, tally: Tally) -> None:
    """Counts what the forwarder publishes."""
    socket = open_socket(zmq.Context(), zmq.SUB)
    socket.subscribe(b"")
    socket.connect(endpoint)
    while True:
        batch = socket.recv(copy=False)
        if len(batch) > len(PROBE):
            tally.batches += 1
        else:
            tally.ready.set()


def follow_live(endpoint: str, tally: Tally) -> None:
    """Counts what a daemon publishes, with a bare socket as the forwarder's subscriber has."""
    socket = open_socket(zmq.Context(), zmq.SUB)
    socket.subscribe(STREAM.encode() + b"\0")
    socket.connect(endpoint)
    while True:
        frames = socket.recv_multipart(copy=False)
        tally.ready.set()
        if frames[LIVE_HEAD].buffer[TYPE_BYTE] == Type.LIVE:
            tally.batches += 1


def follow_subscriber(endpoint: str, tally: Tally) -> None:
    """Counts with flowd.Subscriber, as people use it."""
    with Subscriber(endpoint, STREAM) as subscriber:
        subscriber.connect(DEADLINE_S)
        tally.ready.set()
        for _ in subscriber:
            tally.batches += 1


def _load(corpus: Path, size_bytes: int) -> list[bytes]:
    """The corpus's first bytes as batches; the rest of a batch at the end is left out."""
    with corpus.open("rb") as lines:
        found = lines.read(size_bytes)
    return list(cut_batches(found[: found.rindex(b"\n") + 1], BATCH_BYTES))[:-1]


def _serve(control: Connection, tally: Tally, batches: list[bytes], send: Callable[[Iterator[bytes]], None]) -> None:
    """Sends as many batches as it is asked for; answers with seconds, from the first sent to the last arrived, and
    bytes."""
    control.send(None)
    while True:
        number = int(control.recv())
        until = tally.batches + number
        began_s = time.perf_counter()
        send(islice(cycle(batches), number))
        tally.wait_for(until)
        took_s = time.perf_counter() - began_s
        control.send((took_s, sum(map(len, islice(cycle(batches), number)))))


def produce_push(endpoint: str, corpus: Path, size_bytes: int, tally: Tally, control: Connection) -> None:
    """The forwarder's producer: PUSH, nothing else."""
    socket = open_socket(zmq.Context(), zmq.PUSH)
    socket.connect(endpoint)
    deadline_s = time.monotonic() + DEADLINE_S
    while not tally.ready.wait(PROBE_S):  # a PUB drops what comes before its subscriber does
        if time.monotonic() > deadline_s:
            raise FlowdError("the forwarder's subscriber heard nothing")
        socket.send(PROBE)
    sent = 0

    def send(batches: Iterator[bytes]) -> None:
        nonlocal sent
        for batch in batches:
            tally.wait_for(sent - WINDOW)
            socket.send(batch, copy=False)
            sent += 1

    _serve(control, tally, _load(corpus, size_bytes), send)


def produce_raw(endpoint: str, corpus: Path, size_bytes: int, tally: Tally, control: Connection) -> None:
    """A producer of bare wire messages, in one thread: DATA as long as there is credit, then ACKs.

    It has counted lines and made checksums before, so that what is measured is the daemon and not who sends to it.
    """
    batches = _load(corpus, size_bytes)
    known = {id(batch): (batch.count(b"\n"), checksum(batch)) for batch in batches}
    socket = open_socket(zmq.Context(), zmq.DEALER)
    socket.connect(endpoint)
    socket.send_multipart(encode(Hello([VERSION], bytes(ID_BYTES - 1) + b"\1", time.time_ns(), None)))
    welcome = parse(socket.recv_multipart()).header
    assert isinstance(welcome, Welcome)
    credit_bytes, credit_batches = welcome.cb, welcome.cm
    sent = acknowledged = welcome.last
    sizes: dict[int, int] = {}
    arrived_before = tally.batches - sent

    def hear() -> None:
        nonlocal acknowledged
        answer = parse(socket.recv_multipart()).header
        if not isinstance(answer, Ack):
            raise FlowdError(f"the daemon answered {answer.type.name}")
        while acknowledged < answer.s:
            acknowledged += 1
            del sizes[acknowledged]

    def send(wanted: Iterator[bytes]) -> None:
        nonlocal sent
        for batch in wanted:
            tally.wait_for(arrived_before + sent - WINDOW)
            while len(sizes) >= credit_batches or sum(sizes.values()) + len(batch) > credit_bytes:
                hear()
            sent += 1
            sizes[sent] = len(batch)
            lines, crc = known[id(batch)]
            data = Data(sent, STREAM, lines, crc, time.time_ns())
            socket.send_multipart(encode(data, batch), copy=False)
        while sizes:
            hear()

    tally.ready.wait(DEADLINE_S)
    _serve(control, tally, batches, send)


def produce_public(endpoint: str, corpus: Path, size_bytes: int, tally: Tally, control: Connection) -> None:
    """flowd.Producer, as people use it."""
    tally.ready.wait(DEADLINE_S)
    producer = Producer(endpoint, timeout_s=DEADLINE_S)
    sent = 0

    def send(batches: Iterator[bytes]) -> None:
        nonlocal sent
        for batch in batches:
            tally.wait_for(sent - WINDOW)
            producer.send(batch, STREAM)
            sent += 1
        producer.flush()

    _serve(control, tally, _load(corpus, size_bytes), send)
