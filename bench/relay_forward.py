"""The Forward source: a sender of PackedForward chunks → daemon → one live subscriber.

Flow records in chunks of 1 MiB, each acknowledged, six under way; the daemon filters them by the documented namespace
filter, stores what is kept, publishes it as JSON lines, and acknowledges. Three processes share what cores there are.
Fluent Bit's figure for the same work is not measured here: it is quoted in the notes, with what it was measured on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import forward_roles as roles
from daemon_process import DaemonProcess
from measure import Row, Target, rates, run_in_turns, spread
from playing import Role, playing
from relay_live import read_cpu_s
from settings import NAMESPACE_FILTER, Settings

MB = 1e6
RING_BYTES = 256 << 20
CORPUS_BYTES = 32 << 20
CHUNKS = 512
QUICK_CHUNKS = 32
TARGET = Target(figure=300.0)
FLUENTBIT_US = 2.6
"""What a record of 1,138 bytes of JSON costs Fluent Bit 5.1.1 on the processor, from its forward input through grep to
nothing."""
NOTHING_FILTER = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^/
  </exclude>
</filter>
"""


class Way(NamedTuple):
    """What the daemon is told, and its row's target."""

    sync: str
    filters: str
    target: Target | None = None


WAYS = {
    "PackedForward → daemon → subscriber, not synced": Way("off", NAMESPACE_FILTER, TARGET),
    "PackedForward → daemon → subscriber, durable": Way("commit", NAMESPACE_FILTER),
    "PackedForward → daemon, nothing kept": Way("off", NOTHING_FILTER),
}


def run(settings: Settings) -> list[Row]:
    """A row with a journal that is not synced, as in the relay's part; one with a journal that is, as is usual; and one
    of which nothing is kept, as in Fluent Bit's figure."""
    chunks = CHUNKS if settings.scale.is_quotable else QUICK_CHUNKS
    corpus = settings.corpus_of("json", min(2 * CORPUS_BYTES, 2 * chunks * roles.CHUNK_BYTES))
    settings.say(f"forward: {chunks:,} chunks")
    cpu: dict[str, list[float]] = {what: [] for what in WAYS}
    sent: dict[str, tuple[int, int]] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-forward-")))
        works = {}
        for number, (what, way) in enumerate(WAYS.items()):
            filters = directory / f"{number}.conf"
            filters.write_text(way.filters)
            journal: dict[str, int | str] = {"sync": way.sync, "max_bytes": RING_BYTES}
            config = '[sources.forward]\nlisten = ["127.0.0.1:0"]\n'
            daemon = stack.enter_context(DaemonProcess(filters, journal, config))
            arrived = roles.Arrived(get_context("spawn"))
            stack.enter_context(playing(roles.follow_lines, daemon.endpoint("live"), arrived))
            address = daemon.status()["forward"]["endpoints"][0]
            given = (address, corpus.path, CORPUS_BYTES, way.filters, arrived)
            sender = stack.enter_context(playing(roles.send_chunks, *given))
            works[what] = _sending(sender, daemon.process_id, chunks, cpu[what], sent, what)
        times = run_in_turns(works, settings.scale.rounds)
    rows = []
    for what, taken_s in times.items():
        sent_bytes, records = sent[what]
        cost_us = spread(cpu[what][-len(taken_s) :]).median / records * 1e6
        speed = records / spread(taken_s).median / 1000
        rows.append(
            Row(
                part="forward",
                what=what,
                unit="MB/s",
                figure=rates(sent_bytes / MB, taken_s),
                target=WAYS[what].target,
                note=f"{speed:,.0f} thousand records/s of {sent_bytes / records:,.0f} B;"
                f" the daemon {cost_us:.2f} µs a record on the processor. Fluent Bit 5.1.1 from forward through grep to"
                f" nothing: {FLUENTBIT_US} µs for records of 1,138 B of JSON (these: 1,640), that is"
                f" {FLUENTBIT_US / cost_us:.1f} × as much; measured apart, on another day",
            )
        )
    return rows


def _sending(
    sender: Role, process_id: int, chunks: int, cpu: list[float], sent: dict[str, tuple[int, int]], what: str
) -> Callable[[], float]:
    def once() -> float:
        before_s = read_cpu_s(process_id)
        took_s, *sent[what] = sender.ask(chunks)  # type: ignore[misc]
        cpu.append(read_cpu_s(process_id) - before_s)
        return float(took_s)

    return once
