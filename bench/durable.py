"""The durable lanes: acknowledged ingest beside a bare LMDB loop, latency at a fixed rate, many consumers beside PUB,
and a restart with a large journal.

The bare loop stores the same batches with as many in a transaction as the daemon had, synced alike, in a ring of the
same size; it has no sockets, no filters, no checksums and no producers' marks. All run in turns, on the same disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

import durable_roles as roles
from core_filter import GB
from daemon_process import DaemonProcess
from measure import Row, Target, rates, run_in_turns, speed_ratios, spread
from playing import Role, playing
from settings import Corpus, Settings

from flowd.errors import FlowdError
from flowd.wire.limits import BATCH_BYTES

CORPUS_BYTES = 128 << 20
RING_BYTES = 512 << 20
"""The size of the journal, and of the bare loop's ring: both are full after the first, unmeasured round."""
READERS = 16
PACE_BYTES_S = 200_000_000
PACED_S = 10.0
RESTART_BYTES = 10 * 10**9
INGEST_TARGET, PACE_TARGET = Target(ratio=0.8), Target(figure=20.0, is_upper=True)
READERS_TARGET, RESTART_TARGET = Target(ratio=0.6), Target(figure=1.0, is_upper=True)


def run(settings: Settings) -> list[Row]:
    """The rows of this part."""
    corpus = settings.corpus_of("text24", min(CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES))
    return [
        _measure_ingest(settings, corpus),
        _measure_pace(settings, corpus),
        *_measure_readers(settings, corpus),
        _measure_restart(settings, corpus),
    ]


def _measure_ingest(settings: Settings, corpus: Corpus) -> Row:
    batches = settings.scale.relay_batches // 2
    settings.say(f"durable: {batches:,} batches into the journal, beside a bare LMDB loop")
    groups: list[float] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-bare-")))
        daemon = stack.enter_context(DaemonProcess(None, journal={"max_bytes": RING_BYTES}))
        producer = stack.enter_context(
            playing(roles.produce_window, daemon.endpoint("ingest"), corpus.path, CORPUS_BYTES)
        )
        bare = stack.enter_context(playing(roles.write_bare, directory, RING_BYTES, corpus.path, CORPUS_BYTES))
        sent: set[int] = set()

        def ingest() -> float:
            before = daemon.status()["journal"]["commits"]
            took_s, sent_bytes = producer.ask(batches)
            groups.append(batches / max(1, daemon.status()["journal"]["commits"] - before))
            sent.add(sent_bytes)
            return float(took_s)

        def write() -> float:
            took_s, sent_bytes = bare.ask((batches, max(1, round(groups[-1]))))
            sent.add(sent_bytes)
            return float(took_s)

        times = run_in_turns({"daemon": ingest, "bare": write}, settings.scale.rounds)
    if len(sent) != 1:
        raise FlowdError(f"not everyone stored the same batches: {sorted(sent)} bytes")
    amount = sent.pop() / GB
    return Row(
        part="durable",
        what=f"acknowledged ingest, sync commit, window {roles.WINDOW}, text24",
        unit="GB/s",
        figure=rates(amount, times["daemon"]),
        peer="bare LMDB loop, as many in a transaction",
        peer_figure=rates(amount, times["bare"]),
        ratio=speed_ratios(times["daemon"], times["bare"]),
        target=INGEST_TARGET,
        note=f"{spread(groups).median:.1f} batches of 256 KiB in a transaction; a ring of {RING_BYTES >> 20} MiB each; "
        "the producer is a bare socket in a process of its own",
    )


def _measure_pace(settings: Settings, corpus: Corpus) -> Row:
    seconds = PACED_S if settings.scale.is_quotable else 0.5
    batches = int(PACE_BYTES_S * seconds / BATCH_BYTES)
    settings.say(f"durable: acknowledgements at {PACE_BYTES_S // 10**6} MB/s")
    worst: list[float] = []
    typical: list[float] = []
    with (
        DaemonProcess(None, journal={"max_bytes": RING_BYTES}) as daemon,
        playing(roles.produce_paced, daemon.endpoint("ingest"), corpus.path, CORPUS_BYTES) as producer,
    ):
        for _ in range(settings.scale.rounds):
            delays = sorted(producer.ask((batches, PACE_BYTES_S)))
            worst.append(delays[int(len(delays) * 0.99)] * 1000)
            typical.append(delays[len(delays) // 2] * 1000)
    return Row(
        part="durable",
        what=f"acknowledgement p99 at {PACE_BYTES_S // 10**6} MB/s, sync commit",
        unit="ms",
        figure=spread(worst),
        target=PACE_TARGET,
        note=f"open loop: from when a batch was due; p50 {spread(typical).median:.1f} ms; {batches:,} batches a run",
    )


def _measure_readers(settings: Settings, corpus: Corpus) -> list[Row]:
    batches = settings.scale.relay_batches // 8
    settings.say(f"durable: {READERS} consumers of {batches:,} batches, beside {READERS} subscribers of a bare PUB")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-pub-")))
        daemon = stack.enter_context(DaemonProcess(None, journal={"sync": "off"}))
        producer = stack.enter_context(
            playing(roles.produce_window, daemon.endpoint("ingest"), corpus.path, CORPUS_BYTES)
        )
        producer.ask(batches)
        epoch = bytes.fromhex(daemon.status()["epoch"])
        consume = daemon.endpoint("consume")
        consumers = [stack.enter_context(playing(roles.read_durable, consume, None)) for _ in range(READERS)]
        endpoint = f"ipc://{directory}/pub.sock"
        publisher = stack.enter_context(playing(roles.publish_bare, endpoint, corpus.path, CORPUS_BYTES))
        subscribers = _subscribe(stack, endpoint, publisher)
        got: set[int] = set()

        def consume_by(readers: int) -> Callable[[], float]:
            def once() -> float:
                began_s = time.perf_counter()
                for reader in consumers[:readers]:
                    reader.tell((epoch, 1, batches))
                got.update(reader.hear() for reader in consumers[:readers])
                return time.perf_counter() - began_s

            return once

        def publish() -> float:
            began_s = time.perf_counter()
            for subscriber in subscribers:
                subscriber.tell(batches)
            publisher.tell(batches)
            got.update(subscriber.hear() for subscriber in subscribers)
            return time.perf_counter() - began_s

        contestants = {"many": consume_by(READERS), "one": consume_by(1), "pub": publish}
        times = run_in_turns(contestants, settings.scale.rounds)
    if len(got) != 1:
        raise FlowdError(f"not everyone got the same: {sorted(got)} bytes")
    amount = got.pop() / GB
    many = rates(amount * READERS, times["many"])
    return [
        Row(
            part="durable",
            what=f"{READERS} durable consumers, delivered in all",
            unit="GB/s",
            figure=many,
            peer=f"{READERS} SUB of a bare PUB",
            peer_figure=rates(amount * READERS, times["pub"]),
            ratio=speed_ratios(times["many"], times["pub"]),
            target=READERS_TARGET,
            note="bare sockets on either side, each reader a process of its own; consumers read the journal by credit",
        ),
        Row(
            part="durable",
            what="one durable consumer",
            unit="GB/s",
            figure=rates(amount, times["one"]),
            peer=f"{READERS} of them, in all",
            peer_figure=many,
            is_own_peer=True,
        ),
    ]


def _subscribe(stack: ExitStack, endpoint: str, publisher: Role) -> list[Role]:
    """Subscribers of the bare PUB, each of which has heard a probe: from here on it gets everything."""
    context = get_context("spawn")
    found = []
    for _ in range(READERS):
        ours, theirs = context.Pipe()
        process = context.Process(target=roles.read_live, args=(endpoint, theirs), daemon=True)
        process.start()
        stack.callback(process.terminate)
        while not ours.poll(0.02):
            publisher.tell(0)
            if not process.is_alive():
                raise FlowdError("a subscriber of the benchmark ended", hint="its own words stand above")
        found.append(Role(process, ours))
    return found


def _measure_restart(settings: Settings, corpus: Corpus) -> Row:
    """From the process's start to its first answer, over a journal that was left by kill -9."""
    stored = RESTART_BYTES if settings.scale.is_quotable else 10**9 // 4
    settings.say(f"durable: a restart with {stored / GB:.1f} GB of journal")
    batches = int(stored // BATCH_BYTES)
    with DaemonProcess(None, journal={"max_bytes": stored * 2, "sync": "off"}) as daemon:
        with playing(roles.produce_window, daemon.endpoint("ingest"), corpus.path, CORPUS_BYTES) as producer:
            producer.ask(batches)
        used_bytes = daemon.status()["journal"]["used_bytes"]
        took: list[float] = []
        for _ in range(settings.scale.rounds):
            daemon.kill()
            began_s = time.perf_counter()
            daemon.start()
            took.append(time.perf_counter() - began_s)
    return Row(
        part="durable",
        what=f"kill -9 to serving again, {used_bytes / GB:.1f} GB of journal",
        unit="s",
        figure=spread(took),
        target=RESTART_TARGET,
        note="from the process's start to its first answer, Python's start-up included",
    )
