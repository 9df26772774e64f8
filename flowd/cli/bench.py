"""`flowd bench`: what this machine carries, on a seeded corpus: the core, the live relay, the durable lanes."""

from __future__ import annotations

import json

import click

from flowd.cli.bench_figures import describe_machine, render_figures
from flowd.cli.command import Command, option, output_option
from flowd.cli.output import write_text
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE

PARTS = ("core", "relay", "durable")
EXAMPLES = (
    "flowd bench core --seconds 1",
    "flowd bench relay --seconds 1 -o json",
)


@click.command(cls=Command, name="bench", examples=EXAMPLES)
@option("--seconds", type=click.FloatRange(0.1, 600), default=2.0, help="How long each figure is measured.")
@option("--seed", type=int, default=1, help="The corpus's seed.")
@output_option("text", "json")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[core|relay|durable]...")
def command(parts: tuple[str, ...], seconds: float, seed: int, output: str) -> int:
    """Measure throughput on this machine: the core alone, the live relay, the durable lanes, or all.

    core: one thread filters batches of each form of line with the documented filters, beside a filter set without
    rules, which keeps everything. relay: a producer, a daemon and a subscriber over ipc, beside a bare PUSH, PULL and
    PUB forwarder of the same batches. durable: lines acknowledged when they are stored, and read back by a
    consumer, beside the same bytes written to a file. All take turns. Figures are medians of rounds with their spread.
    """
    figures = []
    for part in parts or PARTS:
        say(f"flowd: measuring {part}")
        if part == "core":
            from flowd.cli.bench_core import measure_core

            figures += measure_core(seconds, seed)
        elif part == "durable":
            from flowd.cli.bench_durable import measure_durable

            figures += measure_durable(seconds, seed)
        else:
            from flowd.cli.bench_relay import measure_relay

            figures += measure_relay(seconds, seed)
    machine = describe_machine()
    if output == "json":
        described = {"machine": machine, "seed": seed, "figures": [figure.describe() for figure in figures]}
        write_text(json.dumps(described) + "\n")
    else:
        write_text(render_figures(figures) + f"\nseed {seed} · {machine}\n")
    return EXIT_DONE
