"""The live relay's figures: producer, daemon and subscriber over ipc, beside a bare forwarder of the same batches.

The daemon and the forwarder are processes of their own; both stay up and take turns, round by round. A round ends when
its last batch has reached the subscriber.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter

import zmq

from flowd.cli.measuring.core import DOCUMENTED_FILTERS, make_batches
from flowd.cli.measuring.figures import Figure, run_rounds
from flowd.client import Producer, Subscriber
from flowd.errors import EXIT_IO, FlowdError
from flowd.filterset import compile
from flowd.relay.config import lane_endpoint

BATCH_BYTES = 256 << 10
CORPUS_BYTES = 16 << 20
FORM = "json"
START_S = 20.0
ROUND_S = 30.0
"""A round that takes longer has lost a batch: the live lane may."""
UNDER_WAY = 8
"""Batches that the bare forwarder is given before one has arrived: the window that a producer has by its credit."""

FORWARDER = """
import sys, zmq
context = zmq.Context()
pull, publish = context.socket(zmq.PULL), context.socket(zmq.PUB)
pull.bind(sys.argv[1])
publish.bind(sys.argv[2])
while True:
    publish.send(pull.recv(copy=False), copy=False)
"""


class BenchFailed(FlowdError):
    """A part of the bench did not come up, or lost what it was given."""

    exit_code = EXIT_IO


def measure_relay(seconds: float, seed: int) -> list[Figure]:
    """Measures the daemon against the bare forwarder."""
    batches = make_batches(FORM, seed, CORPUS_BYTES, BATCH_BYTES)
    size = sum(map(len, batches))
    lines = sum(batch.count(b"\n") for batch in batches)
    bare = Figure("relay bare forwarder", lines, size)
    relayed = Figure("relay daemon", lines, size, base=bare.name)
    with (
        tempfile.TemporaryDirectory(prefix="flowd-bench-") as folder,
        _forwarder(Path(folder), batches) as forward,
        _daemon(Path(folder), batches) as relay,
    ):
        run_rounds([(bare, forward), (relayed, relay)], seconds)
    return [bare, relayed]


@contextmanager
def _process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child that ends with the block."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.terminate()


@contextmanager
def _forwarder(folder: Path, batches: list[bytes]) -> Iterator[Callable[[], float]]:
    """PUSH → PULL, PUB → SUB: one round's measure."""
    into, out = f"ipc://{folder}/into.sock", f"ipc://{folder}/out.sock"
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with (
        _process(sys.executable, "-c", FORWARDER, into, out),
        context.socket(zmq.PUSH) as push,
        context.socket(zmq.SUB) as subscribe,
    ):
        push.linger = 0
        push.connect(into)
        subscribe.connect(out)
        subscribe.subscribe(b"")
        _await_echo(push, subscribe)

        def measure() -> float:
            began_s = perf_counter()
            arrived = 0
            for sent, batch in enumerate(batches, start=1):
                push.send(batch, copy=False)
                if sent - arrived >= UNDER_WAY:
                    _receive(subscribe)
                    arrived += 1
            for _ in range(len(batches) - arrived):
                _receive(subscribe)
            return perf_counter() - began_s

        yield measure


def _await_echo(push: zmq.Socket[bytes], subscribe: zmq.Socket[bytes]) -> None:
    """Sends probes until one comes back, then takes in those that are still under way."""
    deadline_s = monotonic() + START_S
    probes = 0
    while True:
        push.send(b"%d" % probes)
        probes += 1
        if subscribe.poll(50):
            break
        if monotonic() > deadline_s:
            raise BenchFailed("the bare forwarder does not answer", hint="is /tmp writable for sockets?")
    while int(subscribe.recv()) < probes - 1:
        pass


def _receive(subscribe: zmq.Socket[bytes]) -> None:
    if not subscribe.poll(int(ROUND_S * 1000)):
        raise BenchFailed("the bare forwarder lost a batch", hint="run it again on a quieter machine")
    subscribe.recv(copy=False)


@contextmanager
def running_daemon(folder: Path, sync: str) -> Iterator[Path]:
    """`flowd run` with the documented filters, in this folder, its journal synced like this; yields its runtime
    directory when it answers."""
    filters_path, config_path = folder / "filters.conf", folder / "flowd.toml"
    filters_path.write_text(DOCUMENTED_FILTERS)
    config_path.write_text(f'[journal]\nsync = "{sync}"\n')
    runtime = folder / "run"
    options = ("-c", str(config_path), "-f", str(filters_path), "--runtime-dir", str(runtime))
    command = ("-m", "flowd", "run", *options)
    with _process(sys.executable, *command, "--state-dir", str(folder / "state"), "--log-level", "error") as child:
        with Subscriber(lane_endpoint(runtime, "live")) as probe:
            _connect(probe, child)
        yield runtime


@contextmanager
def _daemon(folder: Path, batches: list[bytes]) -> Iterator[Callable[[], float]]:
    """Producer → daemon → subscriber: one round's measure. The journal is not synced: the forwarder has no disk."""
    filters = compile(DOCUMENTED_FILTERS)
    kept_bytes = sum(len(filters.filter(batch)) for batch in batches)
    with running_daemon(folder, "off") as runtime:
        producer = Producer(lane_endpoint(runtime, "ingest"), timeout_s=START_S)
        with producer, Subscriber(lane_endpoint(runtime, "live")) as subscriber:
            subscriber.connect(START_S)

            def measure() -> float:
                received = threading.Thread(target=_receive_kept, args=(subscriber, kept_bytes, failures))
                began_s = perf_counter()
                received.start()
                for batch in batches:
                    producer.send(batch)
                producer.flush(ROUND_S)
                received.join()
                if failures:
                    raise failures[0]
                return perf_counter() - began_s

            failures: list[BenchFailed] = []
            yield measure


def _connect(subscriber: Subscriber, child: subprocess.Popen[bytes]) -> None:
    deadline_s = monotonic() + START_S
    while True:
        try:
            return subscriber.connect(0.5)
        except FlowdError:
            if child.poll() is not None:
                said = child.stderr.read().decode(errors="replace") if child.stderr else ""
                raise BenchFailed(f"the daemon ended at once: {said.strip()}") from None
            if monotonic() > deadline_s:
                raise


def _receive_kept(subscriber: Subscriber, kept_bytes: int, failures: list[BenchFailed]) -> None:
    left = kept_bytes
    deadline_s = monotonic() + ROUND_S
    while left > 0:
        batch = subscriber.poll(max(0.0, deadline_s - monotonic()))
        if batch is None or batch.missed:
            failures.append(BenchFailed("the live lane lost a batch", hint="run it again on a quieter machine"))
            return
        left -= len(batch.lines)
