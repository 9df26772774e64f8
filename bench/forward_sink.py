"""The Forward sink: lines of the journal as chunks to a server that only acknowledges, beside a bare sender.

Both servers hold still while the journal is filled, then read; a run is from that moment to the last acknowledgement.
The bare sender has the same chunks, packed before, and the same window. What the sink costs is the daemon's time on the
processor, with reading the journal.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import durable_roles
import forward_sink_roles as roles
from core_filter import over
from daemon_process import DaemonProcess
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios, spread, timed
from playing import playing
from relay_live import read_cpu_s
from settings import Settings

from flowd.errors import FlowdError
from flowd.sinks.forward.entries import EntryPacker
from flowd.wire.limits import BATCH_BYTES

FORMS = (("json", "none"), ("json", "gzip"), ("text24", "none"))
CORPUS_BYTES = 32 << 20
MB = 1e6
PACKED = {"json": Target(figure=500), "text24": Target(figure=300)}
SETTLE_S = 60.0


def run(settings: Settings) -> list[Row]:
    """A row for each form of lines, and for the packer alone."""
    rows = [_measure(settings, form, compress) for form, compress in FORMS]
    return [*rows, *(_measure_packer(settings, form) for form in PACKED)]


def _measure_packer(settings: Settings, form: str) -> Row:
    corpus = settings.corpus_of(form, min(CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES))
    batches = durable_roles.load_batches(corpus.path, CORPUS_BYTES)
    packer = EntryPacker()
    work = over(batches, lambda lines: packer.pack(lines, 0))
    with one_core():
        times = run_in_turns({"packer": timed(work)}, settings.scale.rounds)
    size = sum(map(len, batches))
    packed = sum(len(packer.pack(lines, 0).entries) for lines in batches)
    return Row(
        part="forward-sink",
        what=f"{form} as entries, the packer alone",
        unit="MB/s",
        figure=rates(size / MB, times["packer"]),
        target=PACKED[form],
        note=f"one core, {packed / size:.2f} bytes of entries a byte; {size / MB:.0f} MB a run",
    )


def _measure(settings: Settings, form: str, compress: str) -> Row:
    corpus = settings.corpus_of(form, min(CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES))
    batches = settings.scale.relay_batches // 16
    settings.say(f"forward-sink: {batches:,} batches of {form}, compress {compress}")
    cpu: list[float] = []
    sizes: set[int] = set()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-forward-")))
        sockets = [directory / "sink.sock", directory / "bare.sock"]
        ours, theirs = (stack.enter_context(playing(roles.acknowledge, str(socket))) for socket in sockets)
        sink = f'[sinks.out]\ntype = "forward"\nservers = ["unix://{sockets[0]}"]\ncompress = "{compress}"\n'
        daemon = stack.enter_context(DaemonProcess(None, journal={"sync": "off"}, config=sink))
        producer = stack.enter_context(
            playing(durable_roles.produce_window, daemon.endpoint("ingest"), corpus.path, CORPUS_BYTES)
        )
        bare = stack.enter_context(
            playing(roles.send_bare, str(sockets[1]), corpus.path, CORPUS_BYTES, compress == "gzip")
        )

        def deliver() -> float:
            before = _delivered(daemon)
            _, sent_bytes = producer.ask(batches)
            sizes.add(sent_bytes)
            before_s = read_cpu_s(daemon.process_id)
            took_s = float(ours.ask(batches))
            _wait_until_delivered(daemon, before + batches)
            cpu.append(read_cpu_s(daemon.process_id) - before_s)
            return took_s

        def send() -> float:
            bare.tell(batches)
            took_s = float(theirs.ask(batches))
            sizes.add(bare.hear())
            return took_s

        times = run_in_turns({"sink": deliver, "bare": send}, settings.scale.rounds)
    if len(sizes) != 1:
        raise FlowdError(f"not everyone sent the same lines: {sorted(sizes)} bytes")
    amount = sizes.pop() / MB
    cost = spread([1000 * cpu_s / amount for cpu_s in cpu[1:]])
    return Row(
        part="forward-sink",
        what=f"Forward sink, {form}{', gzip' if compress == 'gzip' else ''}, lines out",
        unit="MB/s",
        figure=rates(amount, times["sink"]),
        peer="a bare sender of the same chunks, packed before",
        peer_figure=rates(amount, times["bare"]),
        ratio=speed_ratios(times["sink"], times["bare"]),
        note=f"the daemon's time on the processor: {cost.median:.1f} s a GB; chunks of a batch each, window "
        f"{roles.WINDOW}, a unix socket; {amount:.0f} MB a run",
    )


def _delivered(daemon: DaemonProcess) -> int:
    return int(daemon.status()["counters"].get('flowd_sink_batches_total{sink="out"}', 0))


def _wait_until_delivered(daemon: DaemonProcess, batches: int) -> None:
    deadline_s = time.monotonic() + SETTLE_S
    while _delivered(daemon) < batches:
        if time.monotonic() > deadline_s:
            raise FlowdError("the sink did not deliver what its server acknowledged")
        time.sleep(0.01)
