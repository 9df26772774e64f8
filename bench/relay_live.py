"""The relay: producer → daemon → one subscriber over ipc, against a bare PUSH → PULL → PUB forwarder.

Each way has its three processes, all run in turns over the same batches of 256 KiB, from the first batch sent to the
last one arrived. The forwarder is libzmq's own proxy: it looks at nothing, and nobody is told that anything arrived.
The daemon checks each batch, filters it by the documented namespace filter, stores what is kept in its journal (which
is not synced here: the forwarder has no disk), publishes it, and acknowledges.
Not bound to cores: three processes share what there is, on either way.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import relay_roles as roles
from core_filter import GB
from daemon_process import DaemonProcess, read_memory
from measure import Row, Target, rates, run_in_turns, speed_ratios, spread
from settings import NAMESPACE_FILTER, Corpus, Settings

from flowd.errors import FlowdError
from flowd.wire.limits import BATCH_BYTES

FORMS = ("text24", "json")
CORPUS_BYTES = 128 << 20
"""What a producer holds and sends again and again: more than the caches, so that batches come from memory."""
RING_BYTES = 512 << 20
"""The journal's size: it is full after the first, unmeasured round, so that its pages are in memory already."""
TARGET = Target(ratio=0.8)
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
ANSWER_S = 120.0


@dataclass(slots=True)
class Way:
    """One way from a producer to a subscriber: `relay_id` is the process in the middle."""

    relay_id: int
    control: Connection
    producer: BaseProcess
    sent_bytes: int = 0
    cpu_s: float = 0.0

    def run(self, batches: int) -> float:
        """Sends batches through; returns the seconds until the last one arrived."""
        before_s = read_cpu_s(self.relay_id)
        self.control.send(batches)
        took_s, self.sent_bytes = self.hear()
        self.cpu_s = read_cpu_s(self.relay_id) - before_s
        return float(took_s)

    def hear(self) -> Any:
        """The producer's next answer. Raises FlowdError where it ends (it has said why) or says nothing."""
        if self.control not in wait((self.control, self.producer.sentinel), ANSWER_S):
            raise FlowdError("a producer ended, or said nothing for too long", hint="its own words stand above")
        return self.control.recv()


def run(settings: Settings) -> list[Row]:
    """Two rows for each form: with flowd's own clients, and with bare sockets at both ends."""
    return [row for form in FORMS for row in _run_form(settings, form)]


def read_cpu_s(process_id: int) -> float:
    """The seconds that a process has had on the processor, all its threads together."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _run_form(settings: Settings, form: str) -> list[Row]:
    corpus = settings.corpus_of(form, min(CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES))
    batches = settings.scale.relay_batches
    settings.say(f"relay: {batches:,} batches of {form}")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-relay-")))
        filters = directory / "namespace.conf"
        filters.write_text(NAMESPACE_FILTER)
        ways = {
            "forwarder": stack.enter_context(_forwarder_way(directory, corpus)),
            "clients": stack.enter_context(
                _daemon_way(filters, corpus, roles.follow_subscriber, roles.produce_public)
            ),
            "bare": stack.enter_context(_daemon_way(filters, corpus, roles.follow_live, roles.produce_raw)),
        }  # fmt: skip
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        times = run_in_turns(
            {name: contest(way, batches, cpu[name]) for name, way in ways.items()}, settings.scale.rounds
        )
        memory = read_memory(ways["clients"].relay_id)
        sent_bytes = {way.sent_bytes for way in ways.values()}
    if len(sent_bytes) != 1:
        raise FlowdError(f"not everyone sent the same batches: {sorted(sent_bytes)} bytes")
    amount = sent_bytes.pop() / GB
    shown = {"clients": "Producer → daemon → Subscriber", "bare": "bare sockets → daemon → bare socket"}
    costs = {name: f"{spread(taken_s).median / amount:.2f} s" for name, taken_s in cpu.items()}
    return [
        Row(
            part="relay",
            what=f"{shown[name]}, {form}",
            unit="GB/s",
            figure=rates(amount, times[name]),
            peer="PUSH → PULL → PUB",
            peer_figure=rates(amount, times["forwarder"]),
            ratio=speed_ratios(times[name], times["forwarder"]),
            target=TARGET,
            note=f"on the processor for 1 GB: daemon {costs[name]}, forwarder {costs['forwarder']}"
            + (f"; the daemon's peak memory {memory['VmHWM'] / 2**20:.0f} MiB, its own now "
               f"{memory['RssAnon'] / 2**20:.0f} MiB" if name == "clients" else ""),
        )
        for name in shown
    ]  # fmt: skip


def contest(way: Way, batches: int, cpu: list[float]) -> Callable[[], float]:
    """Sends so many batches through, and notes what the relay needed on the processor."""

    def once() -> float:
        took_s = way.run(batches)
        cpu.append(way.cpu_s)
        return took_s

    return once


@contextmanager
def _forwarder_way(directory: Path, corpus: Corpus) -> Iterator[Way]:
    pull, publish = f"ipc://{directory}/pull.sock", f"ipc://{directory}/publish.sock"
    with ExitStack() as stack:
        relay = stack.enter_context(_running(roles.forward, pull, publish))
        assert relay.pid is not None
        yield stack.enter_context(between(relay.pid, pull, publish, corpus, roles.follow_forwarder, roles.produce_push))


@contextmanager
def _daemon_way(
    filters: Path, corpus: Corpus, follow: Callable[..., None], produce: Callable[..., None]
) -> Iterator[Way]:
    with DaemonProcess(filters, journal={"sync": "off", "max_bytes": RING_BYTES}) as daemon:
        lanes = (daemon.endpoint("ingest"), daemon.endpoint("live"))
        with between(daemon.process_id, *lanes, corpus, follow, produce) as way:
            yield way


@contextmanager
def between(
    relay_id: int, into: str, out: str, corpus: Corpus, follow: Callable[..., None], produce: Callable[..., None]
) -> Iterator[Way]:
    """A subscriber and a producer at the two ends of a relay; yields when the producer is ready to send."""
    context = get_context("spawn")
    tally = roles.Tally(context)
    ours, theirs = context.Pipe()
    with _running(follow, out, tally), _running(produce, into, corpus.path, CORPUS_BYTES, tally, theirs) as producer:
        way = Way(relay_id, ours, producer)
        way.hear()
        yield way


@contextmanager
def _running(role: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """A role in a process of its own, ended with the block."""
    process = get_context("spawn").Process(target=role, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()
