"""`flowd send`: files or standard input into the daemon, and how much of it was acknowledged."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import STDIN, Input, known_size, read_batches
from flowd.cli.command import (
    Command,
    NumberRange,
    compose,
    endpoint_options,
    option,
    runtime_option,
    stream_option,
    timeout_option,
)
from flowd.cli.outcome import say_os_error
from flowd.cli.progress import Progress
from flowd.cli.runtime import find_endpoint, require_stream_name
from flowd.cli.table import show_bytes, show_count
from flowd.cli.talk import say, say_failure
from flowd.errors import EXIT_DONE, EXIT_IO, LineTooLong

if TYPE_CHECKING:
    from flowd.client import Producer

EXAMPLES = (
    "flowd send flows.log",
    "head -n 100 flows.log | flowd send --rate 1000",
)
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
PACES_A_SECOND = 20
"""With a rate, lines go out in runs of a twentieth of a second's: smooth enough, and cheap."""


@click.command(cls=Command, name="send", examples=EXAMPLES)
@compose(stream_option(), runtime_option(), endpoint_options(), timeout_option(10.0))
@option("--spool-dir", metavar="DIR", help="Keep lines there until they are acknowledged: they outlive a kill.")
@option(
    "--rate",
    is_shared=False,
    type=NumberRange(min=0, min_open=True),
    metavar="LINES/S",
    help="Send no faster than this.",
)
@option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
def command(
    files: tuple[str, ...],
    stream: str,
    runtime_dir: str | None,
    endpoint: str | None,
    server_key: str | None,
    secret_file: str | None,
    timeout_s: float,
    spool_dir: str | None,
    rate: float | None,
    quiet: bool,
) -> int:
    """Send the lines of each FILE, or of standard input, into the daemon, and wait until all are acknowledged.

    Exits with 69 where no daemon answers within --timeout, or stops acknowledging for so long. What is compressed
    with gzip or zstd is opened.
    """
    require_stream_name(stream, "stream")
    from flowd.client import Producer

    names = files or (STDIN,)
    began_s = time.monotonic()
    progress = Progress(known_size(names), is_shown=not quiet)
    producer = Producer(
        endpoint or find_endpoint(runtime_dir, "ingest"),
        spool_dir=spool_dir,
        timeout_s=timeout_s,
        server_key=server_key,
        secret_file=secret_file,
    )
    sending = _Sending(producer, stream, _Pace(rate) if rate else None, progress)
    try:
        for name in names:
            sending.send_file(name)
        producer.flush()
    finally:
        progress.clear()
        if sending.lines and not quiet:
            acknowledged = max(0, sending.lines - producer.unacknowledged_lines)
            took_s = time.monotonic() - began_s
            say(
                f"flowd: {show_count(acknowledged)} of {show_count(sending.lines)} lines acknowledged "
                f"({show_bytes(sending.bytes)} in {took_s:.2f} s)"
            )
        producer.close()
    return EXIT_IO if sending.has_failed else EXIT_DONE


class _Sending:
    """Hands files to a producer. An unreadable file is said and passed over; a refused line ends all."""

    def __init__(self, producer: Producer, stream: str, pace: _Pace | None, progress: Progress) -> None:
        self.lines = 0
        self.bytes = 0
        self.has_failed = False
        self._producer = producer
        self._stream = stream
        self._pace = pace
        self._progress = progress
        self._read_bytes = 0

    def send_file(self, name: str) -> None:
        try:
            with Input(name) as source:
                self._send(source)
                self._read_bytes += source.read_bytes
        except BadArchive as error:
            self.has_failed = True
            say_failure(error)
        except OSError as error:
            self.has_failed = True
            say_os_error(error)

    def _send(self, source: Input) -> None:
        lines_before = self.lines
        for batch in read_batches(source):
            lines = bytes(batch.lines)
            batch.release()
            try:
                for run in [lines] if self._pace is None else self._pace.spread(lines):
                    self._producer.send(run, self._stream)
                    self.lines += run.count(b"\n") + (not run.endswith(b"\n"))
                    self.bytes += len(run)
            except LineTooLong as error:
                after = self.lines - lines_before
                raise LineTooLong(f"{source.name}: after line {after}: {error.message}", hint=error.hint) from None
            self._progress.show(self._read_bytes + source.read_bytes)


class _Pace:
    """Cuts lines into runs, and waits between them so that no more than `rate` lines go out in a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._run_lines = max(1, int(rate / PACES_A_SECOND))
        self._next_s = time.monotonic()

    def spread(self, lines: bytes) -> Iterator[bytes]:
        parts = _LINE.findall(lines)
        for start in range(0, len(parts), self._run_lines):
            run = parts[start : start + self._run_lines]
            now_s = time.monotonic()
            if now_s < self._next_s:
                time.sleep(self._next_s - now_s)
            self._next_s = max(now_s, self._next_s) + len(run) / self._rate
            yield b"".join(run)
