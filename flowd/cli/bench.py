"""`flowd bench`: what this machine carries, on a seeded corpus: the core, the live relay, the durable lanes, delays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowd.cli.command import Command, NumberRange, option, output_option
from flowd.cli.measuring.figures import describe_machine, render_figures
from flowd.cli.output import write_json, write_text
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE

if TYPE_CHECKING:
    from flowd.cli.measuring.figures import Figure
    from flowd.cli.measuring.latency import Latency

PARTS = ("core", "relay", "durable", "latency")
EXAMPLES = (
    "flowd bench core --seconds 1",
    "flowd bench latency --seconds 1 -o json",
)


@click.command(cls=Command, name="bench", examples=EXAMPLES)
@option("--seconds", type=NumberRange(0.1, 600), default=2.0, help="How long each figure is measured.")
@option("--seed", type=int, default=1, help="The corpus's seed.")
@output_option("text", "json")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[core|relay|durable|latency]...")
def command(parts: tuple[str, ...], seconds: float, seed: int, output: str) -> int:
    """Measure this machine: the core alone, the live relay, the durable lanes, how long lines take, or all.

    core: one thread filters batches of each form of line with the documented filters, beside a filter set without
    rules, which keeps everything. relay: a producer, a daemon and a subscriber over ipc, beside a bare PUSH, PULL and
    PUB forwarder of the same batches. durable: lines acknowledged when they are stored, and read back by a
    consumer, beside the same bytes written to a file. All take turns. Figures are medians of rounds with their spread.

    latency: lines that fall due at a fixed rate, from then until a live subscriber has them, through a daemon over
    ipc. A late line counts from when it was due. A producer's batches fill, or wait for 50 ms: BATCH says how long.
    """
    figures: list[Figure] = []
    latencies: list[Latency] = []
    for part in parts or PARTS:
        say(f"flowd: measuring {part}")
        if part == "core":
            from flowd.cli.measuring.core import measure_core

            figures += measure_core(seconds, seed)
        elif part == "durable":
            from flowd.cli.measuring.durable import measure_durable

            figures += measure_durable(seconds, seed)
        elif part == "latency":
            from flowd.cli.measuring.latency import measure_latency

            latencies += measure_latency(seconds, seed)
        else:
            from flowd.cli.measuring.relay import measure_relay

            figures += measure_relay(seconds, seed)
    machine = describe_machine()
    if output == "json":
        described = {
            "machine": machine,
            "seed": seed,
            "figures": [figure.describe() for figure in figures],
            "latency": [latency.describe() for latency in latencies],
        }
        write_json(described)
    else:
        tables = [render_figures(figures)] if figures else []
        if latencies:
            from flowd.cli.measuring.latency import render_latencies

            tables.append(render_latencies(latencies))
        write_text("\n".join([*tables, f"seed {seed} · {machine}\n"]))
    return EXIT_DONE
