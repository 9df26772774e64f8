"""`make demo`: a daemon with example filters, a producer, two subscribers, and whether it all adds up.

    python bench/demo.py
    python bench/demo.py --lines 1000000 --filters my-filters/

Everything is real: `flowd run` in a process of its own, sockets on this machine, lines as nodes write them. The lines
that the subscribers got are compared with what the same filters keep without a daemon, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from daemon_process import ROOT, DaemonProcess, read_memory

import flowd
from flowd.cli.table import render_table, shorten, show_bytes, show_count, show_share
from flowd.cli.talk import paint
from flowd.corpus import generate
from flowd.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO, FlowdError
from flowd.filterset import FilterSet

LINES = 120_000
SEED = 1
DNS_SHARE = 10
"""One DNS line for ten flow lines."""
SHOWN_LINES = 4
WIDTH = 112
PATTERN_WIDTH = 48
AHEAD_BYTES = 8 << 20
"""How far the producer runs ahead of the subscribers: the live lane waits for nobody, and drops what its queue of
64 batches cannot hold. A demonstration on a loaded machine should not have to show that."""
PATIENCE_S = 30.0
POLL_S = 0.1


@dataclass(slots=True)
class Chunk:
    """Lines of one stream that are sent at once, and what the filters keep of them."""

    stream: str
    lines: bytes
    kept_bytes: int


@dataclass(slots=True)
class Expected:
    """What must come out of a stream: found by the same filters without a daemon."""

    lines: int = 0
    bytes: int = 0
    kept_lines: int = 0
    kept_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Steps:
    """What is being done, said as it happens; drawn over again only on a terminal."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Work under way; nothing where nobody watches."""
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def done(self, what: str, text: str) -> None:
        """A step that is finished."""
        self.show("")
        print(f"{paint(f'{what:<10}', 'bold', stream=sys.stdout)} {text}", flush=True)


class Listener(threading.Thread):
    """A subscriber in a thread of its own: counts and hashes what it receives, and keeps some lines to be shown."""

    def __init__(self, endpoint: str, view: str) -> None:
        super().__init__(name=f"demo-{view}", daemon=True)
        self.view = view
        self.lines = 0
        self.bytes = 0
        self.batches = 0
        self.digest = hashlib.sha256()
        self.shown: list[bytes] = []
        self.arrived = threading.Condition()
        self._subscriber = flowd.Subscriber(endpoint, view)
        self._subscriber.connect(PATIENCE_S)
        self._is_ending = False

    @property
    def missed_lines(self) -> int:
        """Lines that the live lane dropped."""
        return self._subscriber.missed_lines

    def run(self) -> None:
        while not self._is_ending:
            batch = self._subscriber.poll(POLL_S)
            if batch is None:
                continue
            self.digest.update(batch.lines)
            with self.arrived:
                self.batches += 1
                self.lines += batch.lines.count(b"\n")
                self.bytes += len(batch.lines)
                self._pick(batch.lines)
                self.arrived.notify_all()

    def wait_for_bytes(self, size_bytes: int) -> bool:
        """Whether so much has arrived, at the latest when nothing came for PATIENCE_S."""
        with self.arrived:
            while self.bytes < size_bytes:
                if not self.arrived.wait(PATIENCE_S):
                    return False
        return True

    def end(self) -> None:
        """Ends the thread and disconnects."""
        self._is_ending = True
        self.join()
        self._subscriber.close()

    def _pick(self, lines: bytes) -> None:
        """Keeps the first lines of either form."""
        if len(self.shown) < SHOWN_LINES:
            of_form = [line for line in lines.splitlines() if self._is_wanted(line)]
            self.shown += of_form[: SHOWN_LINES // 2]

    def _is_wanted(self, line: bytes) -> bool:
        is_json = line.startswith(b"{")
        return sum(shown.startswith(b"{") == is_json for shown in self.shown) < SHOWN_LINES // 2


def make_chunks(lines: int) -> Iterator[tuple[str, bytes]]:
    """Flushes of JSON, text and DNS lines in turn, as a node's collectors write them: (stream, lines)."""
    json, text = generate("json", lines - lines // 2, SEED), generate("text24", lines // 2, SEED)
    dns = generate("dns", lines // DNS_SHARE, SEED)
    sources = [("flows", json), ("flows", text), ("dns", dns)]
    while sources:
        for source in list(sources):
            stream, chunks = source
            chunk = next(chunks, None)
            if chunk is None:
                sources.remove(source)
            else:
                yield stream, chunk


def prepare(sets: dict[str, FilterSet], lines: int, steps: Steps) -> tuple[list[Chunk], dict[str, Expected]]:
    """Makes the lines, and finds what the filters keep of them."""
    expected = {stream: Expected() for stream in sets}
    chunks: list[Chunk] = []
    began_s = time.monotonic()
    for stream, chunk in make_chunks(lines):
        applied = sets[stream].apply(chunk)
        chunks.append(Chunk(stream, chunk, len(applied.kept)))
        found = expected[stream]
        found.lines += applied.lines
        found.bytes += len(chunk)
        found.kept_lines += applied.kept_lines
        found.kept_bytes += len(applied.kept)
        found.digest.update(applied.kept)
        steps.show(f"making lines: {sum(each.lines for each in expected.values()):,}")
    steps.done(
        "lines",
        f"{show_count(expected['flows'].lines)} flows (half JSON, half text), {show_count(expected['dns'].lines)} DNS, "
        f"{show_bytes(sum(len(chunk.lines) for chunk in chunks))}, seed {SEED}, made in "
        f"{time.monotonic() - began_s:.1f} s",
    )
    return chunks, expected


def send(daemon: DaemonProcess, chunks: list[Chunk], listeners: dict[str, Listener], steps: Steps) -> float:
    """Sends everything and waits until the subscribers have what they should; returns the seconds that it took."""
    total = sum(len(chunk.lines) for chunk in chunks)
    sent_bytes = 0
    due = dict.fromkeys(listeners, 0)
    began_s = time.monotonic()
    with flowd.Producer(daemon.endpoint("ingest"), timeout_s=PATIENCE_S) as producer:
        for chunk in chunks:
            producer.send(chunk.lines, chunk.stream)
            due[chunk.stream] += chunk.kept_bytes
            sent_bytes += len(chunk.lines)
            steps.show(f"sending: {show_bytes(sent_bytes)} of {show_bytes(total)}")
            if not listeners[chunk.stream].wait_for_bytes(due[chunk.stream] - AHEAD_BYTES):
                break  # the comparison at the end says what is missing
        producer.flush()
        acknowledged_s = time.monotonic() - began_s
    for stream, listener in listeners.items():
        listener.wait_for_bytes(due[stream])
    took_s = time.monotonic() - began_s
    steps.done("producer", f"everything acknowledged after {acknowledged_s:.2f} s")
    return took_s


def show_received(listeners: dict[str, Listener], steps: Steps) -> None:
    """What each subscriber got, and its first lines."""
    for view, listener in listeners.items():
        steps.done(
            "subscriber",
            f"{view}: {show_count(listener.lines)} lines in {listener.batches} batches, "
            f"{show_count(listener.missed_lines)} missed; the first ones:",
        )
        for line in listener.shown:
            print(f"{'':<10} {paint(shorten(line.decode(), WIDTH), 'dim', stream=sys.stdout)}")


def describe_rules(chosen: FilterSet) -> dict[str, str]:
    """What each decider looks for, by its name: a rule's own condition, or those of its group together."""
    described: dict[str, list[str]] = {}
    for rule in chosen.rules:
        described.setdefault(rule.group or rule.name, []).append(f"{rule.field} {rule.pattern}")
    return {name: " and ".join(conditions) for name, conditions in described.items()}


def render_totals(
    streams: dict[str, Any], sets: dict[str, FilterSet], listeners: dict[str, Listener], took_s: float
) -> str:
    """The streams' table and the rules' table, from the daemon's own counters."""
    totals, rules = [], []
    for name in listeners:
        stream = streams[name]
        totals.append([
            name, show_count(stream["lines"]), show_bytes(stream["bytes"]),
            show_count(stream["kept_lines"]), show_bytes(stream["kept_bytes"]),
            show_count(stream["lines"] - stream["kept_lines"]), show_count(listeners[name].lines),
        ])  # fmt: skip
        looked_for = describe_rules(sets[name])
        rules += [
            [
                name, rule["name"], shorten(looked_for.get(rule["name"], "-"), PATTERN_WIDTH),
                "kept" if rule["name"] == "default" else "dropped",
                show_count(rule["lines"]), show_bytes(rule["bytes"]), show_share(rule["lines"], stream["lines"]),
            ]
            for rule in stream["rules"]
        ]  # fmt: skip
    lines, size = (sum(streams[name][unit] for name in listeners) for unit in ("lines", "bytes"))
    return (
        render_table(
            ("STREAM", "LINES IN", "BYTES IN", "KEPT", "KEPT BYTES", "DROPPED", "RECEIVED"), totals,
            ("LINES IN", "BYTES IN", "KEPT", "KEPT BYTES", "DROPPED", "RECEIVED"),
        )
        + "\n"
        + render_table(
            ("STREAM", "DECIDED BY", "LOOKS FOR", "LINES ARE", "LINES", "BYTES", "SHARE"), rules,
            ("LINES", "BYTES", "SHARE"),
        )
        + f"\nthroughput, producer to subscriber: {show_count(round(lines / took_s))} lines/s, "
        f"{show_bytes(size / took_s)}/s ({took_s:.2f} s)\n"
    )  # fmt: skip


def find_differences(
    streams: dict[str, Any], expected: dict[str, Expected], listeners: dict[str, Listener]
) -> list[str]:
    """What does not add up, in words."""
    differences = []
    for name, wanted in expected.items():
        counted, listener = streams.get(name, {}), listeners[name]
        pairs = (
            ("lines in by the daemon", counted.get("lines"), "lines made", wanted.lines),
            ("lines kept by the daemon", counted.get("kept_lines"), "lines kept by the filters", wanted.kept_lines),
            ("lines decided by rules", sum(rule["lines"] for rule in counted.get("rules", ())), "made", wanted.lines),
            ("lines received", listener.lines, "lines kept by the filters", wanted.kept_lines),
            ("bytes received", listener.bytes, "bytes kept by the filters", wanted.kept_bytes),
            ("lines missed", listener.missed_lines, "allowed", 0),
        )
        differences += [
            f"{name}: {found} {what}, {want} {other}" for what, found, other, want in pairs if found != want
        ]
        if listener.digest.digest() != wanted.digest.digest():
            differences.append(f"{name}: the bytes received are not the bytes kept by the filters")
    return differences


def count_rules(chosen: FilterSet) -> str:
    """`1 rule`, `4 rules`."""
    return f"{len(chosen.rules)} rule" + "s" * (len(chosen.rules) != 1)


def show_path(path: Path) -> str:
    """A path below the checkout as people write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def demonstrate(filters: Path, lines: int) -> int:
    """The whole demonstration; returns the exit code."""
    steps = Steps()
    sets = {stream: flowd.load(filters, stream=stream) for stream in ("flows", "dns")}
    numbers = " and ".join(f"{count_rules(chosen)} for {stream}" for stream, chosen in sets.items())
    steps.done("filters", f"{show_path(filters)}: {numbers}")
    chunks, expected = prepare(sets, lines, steps)
    began_s = time.monotonic()
    with DaemonProcess(filters) as daemon:
        steps.done("daemon", f"process {daemon.process_id}, ready after {time.monotonic() - began_s:.2f} s")
        listeners = {stream: Listener(daemon.endpoint("live"), stream) for stream in expected}
        for listener in listeners.values():
            listener.start()
        took_s = send(daemon, chunks, listeners, steps)
        for listener in listeners.values():
            listener.end()
        show_received(listeners, steps)
        streams = daemon.status()["streams"]
        peak_bytes = read_memory(daemon.process_id)["VmHWM"]
        print("\n" + render_totals(streams, sets, listeners, took_s))
        for warning in daemon.drain():
            steps.done("daemon", warning)
        steps.done("daemon", f"SIGTERM: drained and ended with exit code 0; peak memory {show_bytes(peak_bytes)}")
    differences = find_differences(streams, expected, listeners)
    for difference in differences:
        print(f"{paint('demo:', 'red')} {difference}", file=sys.stderr)
    if differences:
        return EXIT_NO
    steps.done("checked", "received = kept, byte for byte, and every line in was decided by exactly one rule")
    return EXIT_DONE


def main() -> int:
    parser = argparse.ArgumentParser(description="A daemon, a producer and its subscribers, and whether it adds up.")
    parser.add_argument("--lines", type=int, default=LINES, help=f"flow lines to send (default {LINES:,})")
    parser.add_argument(
        "--filters", type=Path, default=ROOT / "examples" / "filters", help="a file, or a folder with flow and dns"
    )
    chosen = parser.parse_args()
    if chosen.lines < DNS_SHARE:
        parser.error(f"--lines {chosen.lines}: at least {DNS_SHARE}, so that there is a DNS line")
    signal.signal(signal.SIGTERM, _interrupt)  # so that the daemon is ended, too
    try:
        return demonstrate(chosen.filters.resolve(), chosen.lines)
    except FlowdError as error:
        print(f"{paint('demo:', 'red')} {error.message}", file=sys.stderr)
        if error.hint:
            print(f"{paint('hint:', 'cyan')} {error.hint}", file=sys.stderr)
        return EXIT_NO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
