"""`flowd observe`: the live view of a stream, written as it comes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from flowd.cli.command import Command, compose, endpoint_options, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_bytes, write_text
from flowd.cli.runtime import find_endpoint, require_stream_name
from flowd.cli.table import render_row, shorten
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE

if TYPE_CHECKING:
    from flowd.client import Batch

EXAMPLES = (
    "flowd observe -n 10",
    "flowd observe flows -o json -n 3",
)
COLUMNS = (
    ("TIME", 19), ("FROM", 36), ("TO", 36), ("PROTO", 5), ("PORT", 5), ("REP", 3), ("ACTION", 6), ("BYTES", 12),
)  # fmt: skip
_WIDTHS = [width for _, width in COLUMNS]
_RIGHT = [name in ("PORT", "BYTES") for name, _ in COLUMNS]


@click.command(cls=Command, name="observe", examples=EXAMPLES)
@compose(runtime_option(), endpoint_options(), timeout_option(10.0), output_option("raw", "json", "table"))
@option("-n", "--lines", "limit", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("view", default="flows")
def command(
    view: str,
    runtime_dir: str | None,
    endpoint: str | None,
    server_key: str | None,
    secret_file: str | None,
    timeout_s: float,
    output: str,
    limit: int | None,
    quiet: bool,
) -> int:
    """Follow the kept lines of VIEW (a stream, `flows` if not given) as the daemon publishes them.

    Live is best effort: what a slow reader misses is said on standard error, in lines. Exits with 69 where nothing is
    heard of the view within --timeout; once it was heard, waits for ever, through restarts of the daemon.
    """
    require_stream_name(view, "view")
    from flowd.client import Subscriber

    endpoint = endpoint or find_endpoint(runtime_dir, "live")
    with Subscriber(endpoint, view, server_key=server_key, secret_file=secret_file) as subscriber:
        subscriber.connect(timeout_s)
        if not quiet:
            say(f"flowd: following {view}")
        if output == "table":
            write_text(render_row([name for name, _ in COLUMNS], _WIDTHS, _RIGHT))
        left = limit
        missed = 0
        while left is None or left > 0:
            batch = subscriber.poll()
            if batch is None:
                continue
            if batch.missed and not quiet:
                missed += batch.missed
                say(f"flowd: missed {batch.missed} lines before batch {batch.seq} ({missed} in all)")
            left = _write(batch, output, left)
    return EXIT_DONE


def _write(batch: Batch, output: str, limit: int | None) -> int | None:
    """Writes a batch's lines, `limit` at most; returns how many may still come."""
    if limit is not None:
        ends = batch.lines.count(b"\n")
        if ends > limit:
            batch.lines = b"".join(batch.lines.splitlines(keepends=True)[:limit])
        limit -= min(ends, limit)
    if output == "raw":
        write_bytes(batch.lines)
    elif output == "json":
        import msgspec

        write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in batch.records()))
    else:
        write_text("".join(render_row(_row(record), _WIDTHS, _RIGHT) for record in batch.records()))
    return limit


def _row(record: dict[str, Any]) -> list[str]:
    """A flow, or a DNS look-up, in the table's columns; `-` for what the record does not have."""
    if "qname" in record:
        cells = [
            _time(record.get("start_time")), _end(record, "client"), str(record.get("qname")),
            "dns", "-", "-", str(record.get("rcode", "-")), "-",
        ]  # fmt: skip
    elif "line" in record and len(record) == 1:
        cells = ["-", str(record["line"]), "-", "-", "-", "-", "-", "-"]
    else:
        port = record.get("dest_port")
        sizes = [n for n in (record.get("bytes_in"), record.get("bytes_out")) if isinstance(n, int)]
        cells = [
            _time(record.get("start_time")), _end(record, "source"), _end(record, "dest"),
            str(record.get("proto", "-")),
            "-" if port is None else str(port), str(record.get("reporter", "-")), str(record.get("action", "-")),
            str(sum(sizes)) if sizes else "-",
        ]  # fmt: skip
    return [shorten(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]


def _end(record: dict[str, Any], end: str) -> str:
    namespace, name = record.get(f"{end}_namespace"), record.get(f"{end}_name")
    if name in (None, "-", ""):
        name = record.get(f"{end}_name_aggr", "-")
    return str(name) if namespace in (None, "-", "") else f"{namespace}/{name}"


def _time(value: object) -> str:
    if isinstance(value, int):
        try:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        except (ValueError, OverflowError, OSError):
            return str(value)
    return str(value)[:19] if value else "-"
