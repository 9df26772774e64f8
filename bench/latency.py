"""How long a line is on its way: an open-loop producer at fixed rates, a real daemon over ipc, a live subscriber.

Every line has a time when it is due, by the rate alone; what is late is sent late and counts from when it was due, so
that a pause of anyone shows in all the lines that it held up (no coordinated omission). flowd.Producer puts lines into
batches of 256 KiB, and lets none wait longer than 50 ms for others: that interval is in the figures, and in the target.
The daemon has 100 rules, none of which matches, so that every line is kept and can be told by its number.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import latency_roles as roles
from core_rules import FIELDS, write_rules
from daemon_process import DaemonProcess
from measure import Row, Target, spread
from playing import Role, playing
from settings import Settings

from flowd.cli.measuring.latency import RATES, SHARES, TICK_S, find_batch_ms, find_delays, find_shares, lines_a_tick
from flowd.errors import FlowdError

TARGET_RATE = 100_000
ABOVE_INTERVAL_MS = 5.0
RUN_S, QUICK_RUN_S = 5.0, 0.2
LINES = 50_000
RULES = 100
RING_BYTES = 512 << 20


def run(settings: Settings) -> list[Row]:
    """A row for each rate."""
    corpus = settings.corpus("text24", LINES)
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        filters = Path(directory) / "rules.conf"
        filters.write_text(write_rules(RULES, FIELDS["low"]))
        with (
            DaemonProcess(filters, journal={"sync": "off", "max_bytes": RING_BYTES}) as daemon,
            playing(roles.receive_lines, daemon.endpoint("live")) as subscriber,
            playing(roles.produce_at_rate, daemon.endpoint("ingest"), corpus.path) as producer,
        ):
            mean_bytes = corpus.bytes / corpus.lines
            return [_measure(settings, rate, mean_bytes, producer, subscriber) for rate in RATES]


def _measure(settings: Settings, rate: int, mean_bytes: float, producer: Role, subscriber: Role) -> Row:
    settings.say(f"latency: {rate:,} lines a second")
    each = lines_a_tick(rate)
    ticks = int((RUN_S if settings.scale.is_quotable else QUICK_RUN_S) / TICK_S)
    rounds: dict[str, list[float]] = {name: [] for name in SHARES}
    for number in range(1 + settings.scale.rounds):
        subscriber.ask(each * ticks)
        first_s = producer.ask((rate, ticks))
        arrived = subscriber.hear()
        if sum(count for _, count in arrived) != each * ticks:
            raise FlowdError("not as many lines arrived as were sent: batches of another run came between")
        if number:  # the first one warms up
            for name, delay_s in find_shares(find_delays(first_s, rate, arrived)).items():
                rounds[name].append(delay_s * 1000)
    interval_ms = find_batch_ms(rate, mean_bytes)
    others = ", ".join(f"{name} {spread(rounds[name]).median:.1f}" for name in SHARES if name != "p99")
    return Row(
        part="latency",
        what=f"p99 from due to arrived, {rate:,} lines/s, text24",
        unit="ms",
        figure=spread(rounds["p99"]),
        target=Target(figure=interval_ms + ABOVE_INTERVAL_MS, is_upper=True) if rate == TARGET_RATE else None,
        note=f"a batch spans {interval_ms:.1f} ms at this rate; {others} ms; {each * ticks:,} lines a run",
        point=("p99", rate),
        axis="lines/s",
    )
