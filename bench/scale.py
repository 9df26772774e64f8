"""What many nodes need of a JetStream cluster: the arithmetic, and what one server here does with as many subjects.

    python bench/scale.py                          # the table for 10, 1,000 and 10,000 nodes
    python bench/scale.py --measure                # the table of docs/scale.md: one nats-server here, and its clients
    python bench/scale.py --measure 5000           # with so many subjects

The table is arithmetic, from the assumptions that it prints. What is measured is one server on loopback, with messages
of one batch each from simulated nodes; it is a bound for no network. Each figure is the median of some runs in turns,
with the least and the most; a run of 10,000 subjects takes half a minute and needs 1 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from daemon_process import read_memory
from jetstream import server_process
from machine import describe_machine
from measure import spread

from flowd.cli.table import render_table
from flowd.errors import EXIT_DONE, FlowdError
from flowd.wire.jetstream import Acknowledged, Head, SubjectTemplate
from flowd.wire.limits import BATCH_BYTES

NODES = (10, 1_000, 10_000)
STREAMS = 2
"""flows and dns."""
KEPT = 0.82
"""The share of the lines that the documented namespace filter keeps."""
REPLICAS = 3
KEEP_S = 24 * 3600
SHARD_MB_S = 100.0
"""What one JetStream stream with three replicas is planned for: a quarter of what one server here stores."""
MEASURED_SUBJECTS = (1_000, 10_000)
CONNECTIONS = 1_000
"""Connections of the measurement: each node has one, and a file descriptor limit is soon reached in one process."""


class Load(NamedTuple):
    """A node's lines of all streams: how many a second, in the mean, and how long one is."""

    name: str
    lines_s: float
    line_bytes: int


LOADS = (
    Load("ordinary: 2,400 lines a flush of 300 s", 8, 1640),
    Load("large: 15,000 lines a flush of 300 s", 50, 1640),
    Load("busy: 1,000 lines/s, aggregation off", 1000, 1640),
)


class Need(NamedTuple):
    """What a number of nodes of a load needs. MB are 10^6 bytes."""

    nodes: int
    subjects: int
    in_mb_s: float
    messages_s: float
    written_mb_s: float
    stored_tb: float
    shards: int


def count_need(nodes: int, load: Load) -> Need:
    """The arithmetic."""
    bytes_s = nodes * load.lines_s * load.line_bytes * KEPT
    return Need(
        nodes,
        nodes * STREAMS,
        bytes_s / 1e6,
        max(bytes_s / BATCH_BYTES, nodes * STREAMS / 300),
        bytes_s * REPLICAS / 1e6,
        bytes_s * REPLICAS * KEEP_S / 1e12,
        max(1, -(-int(bytes_s / 1e6) // int(SHARD_MB_S))),
    )


def show_needs() -> str:
    """The tables, one for each load."""
    said = [
        f"{STREAMS} streams a node, {KEPT:.0%} of the lines kept, {REPLICAS} replicas, kept for {KEEP_S // 3600} h, "
        f"messages of {BATCH_BYTES >> 10} KiB, {SHARD_MB_S:.0f} MB/s a JetStream stream"
    ]
    head = ("NODES", "SUBJECTS", "IN MB/S", "MESSAGES/S", "WRITTEN MB/S", "STORED TB", "JETSTREAM STREAMS")
    for load in LOADS:
        rows = [
            (f"{n.nodes:,}", f"{n.subjects:,}", f"{n.in_mb_s:,.1f}", f"{n.messages_s:,.1f}", f"{n.written_mb_s:,.1f}",
             f"{n.stored_tb:,.2f}", f"{n.shards:,}")
            for n in (count_need(nodes, load) for nodes in NODES)
        ]  # fmt: skip
        said += ["", load.name, render_table(head, rows, right=head).rstrip()]
    return "\n".join(said)


class Measured(NamedTuple):
    """One server with so many subjects, each with `rounds` messages of `message_bytes`."""

    publish_messages_s: float
    server_mib: float
    connection_kb: float
    look_up_ms: float
    consume_messages_s: float


WORDS = {
    "publish_messages_s": ("messages taken, each waited for", "/s"),
    "server_mib": ("the server's own memory", " MiB"),
    "connection_kb": ("memory a connection", " KB"),
    "look_up_ms": ("a sink's look-up at its start", " ms"),
    "consume_messages_s": ("batches read by one `flowd.Consumer` of all nodes", "/s"),
}
"""What each figure is, and its unit."""


def show_measured(runs: dict[int, list[Measured]], message_bytes: int, rounds: int, load: float) -> str:
    """The machine, and a table with a column for each number of subjects: medians, the least and the most."""
    machine = describe_machine()
    said = [
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, "
        f"flowd {machine['flowd']}, {_server_version()}, load before {load:.1f}, {machine['date']}; "
        f"{len(next(iter(runs.values())))} runs in turns, {rounds} messages of {message_bytes >> 10} KiB a subject, "
        f"{min(CONNECTIONS, max(runs)):,} connections at most",
        "",
        "| what | " + " | ".join(f"{subjects:,} subjects" for subjects in runs) + " |",
        "|---" * (1 + len(runs)) + "|",
    ]
    for name, (words, unit) in WORDS.items():
        found = [spread([getattr(run, name) for run in each]) for each in runs.values()]
        cells = [f"{each.median:,.0f}{unit} ({each.least:,.0f} to {each.most:,.0f})" for each in found]
        said.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(said)


def measure_in_turns(counts: Sequence[int], message_bytes: int, rounds: int, repeats: int) -> dict[int, list[Measured]]:
    """So many runs of each number of subjects, one after the other: what else the machine does meets all of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # the server, a child, has the same
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * CONNECTIONS:
        hint = "`ulimit -Hn` shows the limit, which root may raise"
        raise FlowdError(f"{2 * CONNECTIONS} file descriptors are needed, {hard} allowed (now {soft})", hint=hint)
    runs: dict[int, list[Measured]] = {subjects: [] for subjects in counts}
    for number in range(repeats):
        for subjects, found in runs.items():
            print(f"run {number + 1} of {repeats}, {subjects:,} subjects", file=sys.stderr)
            found.append(asyncio.run(measure(subjects, message_bytes, rounds)))
    return runs


def _server_version() -> str:
    said = subprocess.run(["nats-server", "--version"], capture_output=True, text=True, check=True).stdout
    return said.strip().replace(": v", " ")


async def measure(subjects: int, message_bytes: int, rounds: int) -> Measured:
    """Publishes from simulated nodes, looks one of them up as a starting sink does, and reads everything once."""
    import nats
    from nats.js.api import StreamConfig

    from flowd.sinks.nats.look import find_last

    with tempfile.TemporaryDirectory(prefix="flowd-scale-") as directory, server_process(Path(directory)) as (url, pid):
        before = read_memory(pid)["RssAnon"]
        connections = [await nats.connect(url) for _ in range(min(CONNECTIONS, subjects))]
        connected = read_memory(pid)["RssAnon"]
        jetstream = [client.jetstream(publish_async_max_pending=4) for client in connections]
        await jetstream[0].add_stream(StreamConfig(name="FLOWD", subjects=["flowd.*.*"], max_bytes=8 << 30))
        template = SubjectTemplate.parse("flowd.{stream}.{node}")
        payload = b"x" * message_bytes

        async def publish(number: int) -> None:
            for node in range(number, subjects, len(connections)):
                epoch = node.to_bytes(16, "big")
                for seq in range(1, rounds + 1):
                    head = Head(epoch, "flows", f"node-{node}", seq, 1, 1, 1, seq - 1, None, Acknowledged(), 0, 1)
                    subject = template.subject("flows", head.node)
                    await jetstream[number].publish(subject, payload, headers=head.as_headers(), timeout=60)

        began_s = time.perf_counter()
        await asyncio.gather(*(publish(number) for number in range(len(connections))))
        published_s = time.perf_counter() - began_s
        stored = read_memory(pid)["RssAnon"]
        began_s = time.perf_counter()
        await find_last(jetstream[0], "FLOWD", template.subject("flows", f"node-{subjects // 2}"))
        looked_s = time.perf_counter() - began_s
        began_s = time.perf_counter()
        read = await asyncio.to_thread(_read_all, url, subjects * rounds)
        read_s = time.perf_counter() - began_s
        for client in connections:
            await client.close()
    return Measured(
        subjects * rounds / published_s,
        stored / 2**20,
        (connected - before) / len(connections) / 1e3,
        looked_s * 1000,
        read / read_s,
    )


def _read_all(url: str, messages: int) -> int:
    """What a consumer of all nodes does; returns the number of batches."""
    from flowd.client import Consumer

    with Consumer(url, "", until="newest", timeout_s=60, credit_bytes=32 << 20, credit_batches=1024) as consumer:
        read = sum(1 for _ in consumer)
    if read != messages:
        raise FlowdError(f"{read} of {messages} batches were read")
    return read


def main() -> int:
    parser = argparse.ArgumentParser(description="What many nodes need of a JetStream cluster.")
    parser.add_argument(
        "--measure", type=int, nargs="*", metavar="SUBJECTS", help="measure one server here (with 1,000, and 10,000)"
    )
    parser.add_argument("--message-bytes", type=int, default=16384, metavar="BYTES", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="messages of each subject (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each number (%(default)s)")
    chosen = parser.parse_args()
    if chosen.measure is None:
        print(show_needs())
        return EXIT_DONE
    load = os.getloadavg()[0]
    counts = chosen.measure or MEASURED_SUBJECTS
    runs = measure_in_turns(counts, chosen.message_bytes, chosen.rounds, chosen.repeats)
    print(show_measured(runs, chosen.message_bytes, chosen.rounds, load))
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
