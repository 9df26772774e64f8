"""`flowd observe`: a stream or a view written as it comes, live or from the journal."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from flowd.cli.command import (
    DIALECTS,
    Command,
    compose,
    endpoint_options,
    option,
    output_option,
    runtime_option,
    stream_option,
    timeout_option,
)
from flowd.cli.observing import Writing, read_last
from flowd.cli.runtime import find_endpoint, require_stream_name
from flowd.errors import EXIT_DONE, EXIT_USAGE, FlowdError
from flowd.wire.jetstream import is_jetstream_url

if TYPE_CHECKING:
    from flowd.client import Consumer

EXAMPLES = (
    "flowd observe -n 10",
    "flowd observe flows --last 100 -o table",
)
COMMIT_S = 1.0
"""A durable consumer's cursor follows what was written at least so often."""
POLL_S = 0.5


class WrongTime(FlowdError):
    """A --since that is no time."""

    exit_code = EXIT_USAGE


@click.command(cls=Command, name="observe", examples=EXAMPLES)
@compose(
    stream_option(), runtime_option(), endpoint_options(), timeout_option(10.0), output_option("raw", "json", "table")
)
@option("--last", "last", type=click.IntRange(min=1), metavar="N", help="The last N stored lines.")
@option("--since", metavar="TIME", help="What was kept since then: 5m, 2h, or 2026-11-25T10:00:00Z.")
@option("--consumer", metavar="NAME", help="As a durable consumer: goes on where it was, and moves its cursor.")
@option("-f", "--follow", is_flag=True, help="Go on when all that is stored is written.")
@option("--filter", "text", metavar="TEXT", help="A filter of your own, on top of the daemon's.")
@option("--dialect", type=click.Choice(DIALECTS), help="The filter's dialect; recognised if not given.")
@option("-n", "--lines", "limit", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("view", required=False)
def command(
    view: str | None,
    stream: str,
    runtime_dir: str | None,
    endpoint: str | None,
    server_key: str | None,
    secret_file: str | None,
    timeout_s: float,
    output: str,
    last: int | None,
    since: str | None,
    consumer: str | None,
    follow: bool,
    text: str | None,
    dialect: str | None,
    limit: int | None,
    quiet: bool,
) -> int:
    """Write the kept lines of VIEW (a stream, --stream if not given, or a view of one).

    Bare, it follows the live view: best effort, and what a slow reader misses is said on standard error, in lines.
    With --last, --since or --consumer it reads the daemon's journal, loses nothing that is there, and ends when it has
    caught up, unless -f is given. A new consumer begins at --since or --last, else at the oldest line. Exits with 69
    where nothing is heard of the daemon within --timeout; once it was heard, waits for ever, through its restarts.
    With --endpoint nats://HOST:4222 it reads what the sinks of all nodes have put into JetStream.
    """
    view = stream if view is None else view
    require_stream_name(view, "view")
    if consumer is not None:
        require_stream_name(consumer, "consumer")
    if last is not None and since is not None:
        raise click.UsageError("give --last or --since, not both")
    keys = {"server_key": server_key, "secret_file": secret_file}
    writing = Writing(view, output, limit, is_quiet=quiet)
    is_jetstream = endpoint is not None and is_jetstream_url(endpoint)
    is_bare = last is None and since is None and consumer is None and not follow
    follow |= is_bare
    if is_bare and not is_jetstream:
        source = _Source(endpoint or find_endpoint(runtime_dir, "live"), view, text, dialect, keys)
        _follow_live(source, find_endpoint(runtime_dir, "consume"), timeout_s, writing)
        return EXIT_DONE
    since_ns = None if since is None else parse_since(since, time.time_ns())
    source = _Source(endpoint or find_endpoint(runtime_dir, "consume"), view, text, dialect, keys)
    start: str | tuple[bytes, int] = "cursor"
    if consumer is None and last is None and since is None:
        start = "newest"
    if last is not None and consumer is None:
        tail = read_last(lambda lines: source.attach("", until="newest", last_lines=lines), last, timeout_s)
        writing.begin(f"flowd: the last {tail.lines} lines of {view} in the journal")
        for batch in tail.batches:
            writing.write(batch)
        if not follow or tail.end is None or writing.is_full:
            return EXIT_DONE
        start = tail.end[0], tail.end[1] + 1
    else:
        where = "JetStream" if is_jetstream else "the journal"
        writing.begin(f"flowd: reading {view} from {where}" + (f" as {consumer}" if consumer else ""))
    with source.attach(
        consumer or "", start=start, until=None if follow else "newest", since_ns=since_ns, last_lines=last
    ) as reader:
        reader.connect(timeout_s)
        _write_all(reader, writing)
    return EXIT_DONE


class _Source(NamedTuple):
    """What is to be read, and where."""

    endpoint: str
    view: str
    text: str | None
    dialect: str | None
    keys: dict[str, str | None]

    def attach(
        self,
        name: str,
        *,
        start: str | tuple[bytes, int] = "cursor",
        until: str | None = None,
        since_ns: int | None = None,
        last_lines: int | None = None,
    ) -> Consumer:
        """A consumer of the journal, with a cursor where it has a name."""
        from flowd.client import Consumer

        return Consumer(
            self.endpoint,
            name,
            self.view,
            start=start,
            filter=self.text,
            dialect=self.dialect,
            until=until,
            since_ns=since_ns,
            last_lines=last_lines,
            server_key=self.keys["server_key"],
            secret_file=self.keys["secret_file"],
        )


def parse_since(text: str, now_ns: int) -> int:
    """Nanoseconds since 1970 of a time given as an age (`5m`) or as a date. Raises WrongTime."""
    from flowd.relay.config.units import parse_time

    try:
        return now_ns - round(parse_time(text) * 1e9)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    except ValueError:
        raise WrongTime(f"--since {text}: not a time", hint="write 30s, 5m, 2h, or 2026-11-25T10:00:00Z") from None


def _follow_live(source: _Source, consume: str, timeout_s: float, writing: Writing) -> None:
    from flowd.client import Subscriber

    with Subscriber(
        source.endpoint,
        source.view,
        filter=source.text,
        dialect=source.dialect,
        consume=None if source.text is None else consume,
        server_key=source.keys["server_key"],
        secret_file=source.keys["secret_file"],
    ) as subscriber:
        subscriber.connect(timeout_s)
        nothing_yet = "; nothing has come of it yet" if subscriber.began_empty else ""
        writing.begin(f"flowd: following {source.view}{nothing_yet}")
        while not writing.is_full:
            batch = subscriber.poll()
            if batch is not None:
                writing.write(batch)


def _write_all(reader: Consumer, writing: Writing) -> None:
    """Writes what comes; a durable consumer's cursor follows what was written whole."""
    committed_s = time.monotonic()
    while not writing.is_full:
        batch = reader.poll(POLL_S)
        if batch is not None and not writing.write(batch):
            break  # the limit cuts this batch: it comes again
        now_s = time.monotonic()
        if reader.name and (batch is None or writing.has_limit or now_s - committed_s >= COMMIT_S):
            reader.commit()
            committed_s = now_s
        if batch is None and reader.is_done:
            return
