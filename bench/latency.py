"""How long a line is on its way: an open-loop producer at fixed rates, a real daemon over ipc, a live subscriber.

Every line has a time when it is due, by the rate alone; what is late is sent late and counts from when it was due, so
that a pause of anyone shows in all the lines that it held up (no coordinated omission). flowd.Producer puts lines into
batches of 256 KiB, and lets none wait longer than 50 ms for others: that interval is in the figures, and in the target.
The daemon has 100 rules, none of which matches, so that every line is kept and can be told by its number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import latency_roles as roles
from core_rules import FIELDS, write_rules
from daemon_process import DaemonProcess
from measure import Row, Target, spread
from playing import Role, playing
from settings import Settings

from flowd.errors import FlowdError
from flowd.wire.limits import BATCH_BYTES, BATCH_DELAY_S

RATES = (10_000, 100_000, 500_000)
TARGET_RATE = 100_000
ABOVE_INTERVAL_MS = 5.0
RUN_S, QUICK_RUN_S = 5.0, 0.5
LINES = 50_000
RULES = 100
RING_BYTES = 512 << 20
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def run(settings: Settings) -> list[Row]:
    """A row for each rate."""
    corpus = settings.corpus("text24", LINES)
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        filters = Path(directory) / "rules.conf"
        filters.write_text(write_rules(RULES, FIELDS["low"]))
        with (
            DaemonProcess(filters, journal={"sync": "off", "max_bytes": RING_BYTES}) as daemon,
            playing(roles.note_arrivals, daemon.endpoint("live")) as subscriber,
            playing(roles.produce_at_rate, daemon.endpoint("ingest"), corpus.path) as producer,
        ):
            mean_bytes = corpus.bytes / corpus.lines
            return [_measure(settings, rate, mean_bytes, producer, subscriber) for rate in RATES]


def find_delays(first_s: float, each: int, arrived: Sequence[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Seconds from when lines were due to their arrival, with how many lines had them.

    `each` lines were due a tick, the first tick at `first_s`; `arrived` says when how many came, in order.
    """
    line = 0
    for now_s, count in arrived:
        end = line + count
        while line < end:
            tick = line // each
            until = min(end, (tick + 1) * each)
            yield now_s - (first_s + tick * roles.TICK_S), until - line
            line = until


def find_shares(delays: Iterator[tuple[float, int]]) -> dict[str, float]:
    """The percentiles of weighted delays, in the delays' unit."""
    ordered = sorted(delays)
    total = sum(count for _, count in ordered)
    found: dict[str, float] = {}
    passed = 0
    wanted = list(SHARES.items())
    for delay, count in ordered:
        passed += count
        while wanted and passed >= wanted[0][1] * total:
            found[wanted.pop(0)[0]] = delay
    return found


def _measure(settings: Settings, rate: int, mean_bytes: float, producer: Role, subscriber: Role) -> Row:
    settings.say(f"latency: {rate:,} lines a second")
    each = round(rate * roles.TICK_S)
    ticks = int((RUN_S if settings.scale.is_quotable else QUICK_RUN_S) / roles.TICK_S)
    rounds: dict[str, list[float]] = {name: [] for name in SHARES}
    for number in range(1 + settings.scale.rounds):
        subscriber.ask(each * ticks)
        first_s = producer.ask((rate, ticks))
        arrived = subscriber.hear()
        if sum(count for _, count in arrived) != each * ticks:
            raise FlowdError("not as many lines arrived as were sent: batches of another run came between")
        if number:  # the first one warms up
            for name, delay_s in find_shares(find_delays(first_s, each, arrived)).items():
                rounds[name].append(delay_s * 1000)
    interval_ms = min(BATCH_DELAY_S, BATCH_BYTES / mean_bytes / rate) * 1000
    others = ", ".join(f"{name} {spread(rounds[name]).median:.1f}" for name in SHARES if name != "p99")
    return Row(
        part="latency",
        what=f"p99 from due to arrived, {rate:,} lines/s, text24",
        unit="ms",
        figure=spread(rounds["p99"]),
        target=Target(figure=interval_ms + ABOVE_INTERVAL_MS, is_upper=True) if rate == TARGET_RATE else None,
        note=f"a batch spans {interval_ms:.1f} ms at this rate; {others} ms; {each * ticks:,} lines a run",
    )
