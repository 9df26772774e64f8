"""The processes of the durable lanes' benchmark: a bare LMDB loop, producers with a fixed window, and readers.

Each is told by a pipe what to do and answers with what it took. Nothing here computes figures.
"""

from __future__ import annotations

import time
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path

import lmdb
import zmq
from settings import cut_batches

from flowd.wire import Ack, Attach, Attached, Batch, Credit, Data, Hello, Welcome, checksum, encode, parse
from flowd.wire.headers import Type
from flowd.wire.keys import ClientKeys
from flowd.wire.limits import BATCH_BYTES, ID_BYTES, VERSION
from flowd.wire.sockets import open_socket, secure_client

STREAM = "flows"
WINDOW = 8
"""Batches under way: what the figure asks for."""
HEAD_BYTES = 48
"""What the journal stores beside each batch; the bare loop stores as much."""
READ_WINDOW_BYTES, READ_WINDOW = 4 << 20, 64
TYPE_BYTE = 4


def load_batches(corpus: Path, size_bytes: int) -> list[bytes]:
    """The corpus's first bytes as batches; the rest of a batch at the end is left out."""
    with corpus.open("rb") as lines:
        found = lines.read(size_bytes)
    return list(cut_batches(found[: found.rindex(b"\n") + 1], BATCH_BYTES))[:-1]


def write_bare(directory: Path, ring_bytes: int, corpus: Path, size_bytes: int, control: Connection) -> None:
    """The least that a durable store must do: LMDB as a ring, one synced transaction a group, no sockets, no filters.

    Is asked for (batches, batches in a group); answers with seconds and bytes.
    """
    environment = lmdb.open(str(directory), map_size=ring_bytes + (64 << 20), max_dbs=2, meminit=False)
    lines, heads = (environment.open_db(name) for name in (b"lines", b"heads"))
    batches = load_batches(corpus, size_bytes)
    sequence = oldest = used_bytes = 0
    sizes: dict[int, int] = {}
    control.send(None)
    while True:
        number, group = control.recv()
        sent_bytes = done = 0
        began_s = time.perf_counter()
        while done < number:
            with environment.begin(write=True) as transaction:
                for _ in range(min(group, number - done)):
                    batch = batches[done % len(batches)]
                    key = sequence.to_bytes(12, "big")
                    transaction.put(key, bytes(HEAD_BYTES), db=heads)
                    transaction.put(key, batch, db=lines)
                    sizes[sequence] = len(batch)
                    used_bytes += len(batch)
                    sent_bytes += len(batch)
                    sequence += 1
                    done += 1
                while used_bytes > ring_bytes:
                    key = oldest.to_bytes(12, "big")
                    transaction.delete(key, db=heads)
                    transaction.delete(key, db=lines)
                    used_bytes -= sizes.pop(oldest)
                    oldest += 1
        control.send((time.perf_counter() - began_s, sent_bytes))


class Sender:
    """A producer of bare wire messages with a window; counting and checksums were done before."""

    def __init__(self, endpoint: str, batches: list[bytes], keys: ClientKeys | None = None) -> None:
        self._known = [(batch, batch.count(b"\n"), checksum(batch)) for batch in batches]
        self._socket = open_socket(zmq.Context(), zmq.DEALER)
        secure_client(self._socket, keys, endpoint)
        self._socket.connect(endpoint)
        self._socket.send_multipart(encode(Hello([VERSION], bytes(ID_BYTES - 1) + b"\2", time.time_ns(), None)))
        welcome = parse(self._socket.recv_multipart()).header
        assert isinstance(welcome, Welcome)
        self.sent = self.acknowledged = welcome.last

    def send(self, number: int) -> int:
        """The batch of this number; returns its size."""
        batch, lines, crc = self._known[number % len(self._known)]
        self.sent += 1
        data = Data(self.sent, STREAM, lines, crc, time.time_ns())
        self._socket.send_multipart(encode(data, batch), copy=False)
        return len(batch)

    def hear(self, wait_ms: int | None = None) -> int:
        """Waits for an acknowledgement; returns how many batches it covers, 0 where none came in time."""
        if wait_ms is not None and not self._socket.poll(wait_ms):
            return 0
        answer = parse(self._socket.recv_multipart()).header
        if not isinstance(answer, Ack):
            raise AssertionError(f"the daemon answered {answer.type.name}")
        covered, self.acknowledged = answer.s - self.acknowledged, answer.s
        return covered


def produce_window(endpoint: str, corpus: Path, size_bytes: int, control: Connection) -> None:
    """Sends as many batches as it is asked for, WINDOW of them under way; answers with seconds and bytes."""
    sender = Sender(endpoint, load_batches(corpus, size_bytes))
    control.send(None)
    while True:
        number = int(control.recv())
        first = sender.sent
        until = first + number
        sent_bytes = 0
        began_s = time.perf_counter()
        while sender.acknowledged < until:
            while sender.sent < until and sender.sent - sender.acknowledged < WINDOW:
                sent_bytes += sender.send(sender.sent - first)
            sender.hear()
        control.send((time.perf_counter() - began_s, sent_bytes))


def produce_paced(endpoint: str, corpus: Path, size_bytes: int, control: Connection) -> None:
    """Sends batches at a fixed rate, whatever the answers; is asked for (batches, bytes a second), answers with each
    one's seconds from when it was due to its acknowledgement."""
    sender = Sender(endpoint, load_batches(corpus, size_bytes))
    control.send(None)
    while True:
        number, rate = control.recv()
        due: list[float] = []
        delays: list[float] = []
        next_s = time.perf_counter()
        until = sender.sent + number
        while sender.acknowledged < until:
            now_s = time.perf_counter()
            if sender.sent < until and now_s >= next_s:
                due.append(next_s)
                next_s += sender.send(sender.sent) / rate
                continue
            wait_ms = max(0, int((next_s - now_s) * 1000)) if sender.sent < until else None
            covered = sender.hear(wait_ms)
            now_s = time.perf_counter()
            delays += [now_s - due_s for due_s in islice(due, len(delays), len(delays) + covered)]
        control.send(delays)


def read_durable(endpoint: str, keys: ClientKeys | None, control: Connection) -> None:
    """A consumer of bare wire messages: is told (epoch, first sequence, last one) and reads them, giving credit back as
    it goes; answers with bytes when the last one has come."""
    context = zmq.Context()
    control.send(None)
    while True:
        epoch, first, last = control.recv()
        socket = open_socket(context, zmq.DEALER)
        secure_client(socket, keys, endpoint)
        socket.connect(endpoint)
        socket.send_multipart(encode(Attach(STREAM, READ_WINDOW_BYTES, READ_WINDOW, start=(epoch, first))))
        assert isinstance(parse(socket.recv_multipart()).header, Attached)
        got_bytes = owed_bytes = owed = 0
        sequence = first - 1
        while sequence < last:
            frames = socket.recv_multipart(copy=False)
            if frames[0].buffer[TYPE_BYTE] != Type.BATCH:
                continue
            header = parse([frame.buffer for frame in frames]).header
            assert isinstance(header, Batch)
            sequence = header.q
            size_bytes = len(frames[2]) if len(frames) == 3 else 0
            got_bytes += size_bytes
            owed_bytes += size_bytes
            owed += 1
            if owed_bytes * 4 >= READ_WINDOW_BYTES:
                socket.send_multipart(encode(Credit(owed_bytes, owed)))
                owed_bytes = owed = 0
        control.send(got_bytes)
        socket.close()


def read_live(endpoint: str, control: Connection) -> None:
    """A SUB that counts what a bare PUB sends: is told how many batches, answers with bytes."""
    socket = open_socket(zmq.Context(), zmq.SUB)
    socket.subscribe(b"")
    socket.connect(endpoint)
    while len(socket.recv()) > 1:
        pass
    control.send(None)
    while True:
        number = int(control.recv())
        got_bytes = 0
        while number:
            batch = socket.recv(copy=False)
            if len(batch) > 1:
                got_bytes += len(batch)
                number -= 1
        control.send(got_bytes)


def publish_bare(endpoint: str, corpus: Path, size_bytes: int, control: Connection) -> None:
    """A bare PUB whose queues are long enough for a run: nothing is lost, and nobody is waited for. Is asked for a
    number of batches, 0 for a probe."""
    socket = zmq.Context().socket(zmq.PUB)
    socket.sndhwm = 0
    socket.bind(endpoint)
    batches = load_batches(corpus, size_bytes)
    control.send(None)
    while True:
        number = int(control.recv())
        if not number:
            socket.send(b"?")
            continue
        for batch in islice(cycle(batches), number):
            socket.send(batch, copy=False)
