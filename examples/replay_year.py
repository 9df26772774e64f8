"""Replays a year of stored logs against new filters, on all cores or on a cluster, and says by month what would change.

    python examples/make_year.py year/
    python examples/replay_year.py filters/ new/ year/
    python examples/replay_year.py filters/ new/ year/ --scheduler tcp://10.0.0.1:8786 -o json

Files are plain, gzip, zstd or Parquet; a file's month is read in its path (2025-03-14, 2025/03). Needs
`pip install 'flowd[parquet,dask]'`. Progress is told on standard error.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

import flowd
from flowd.archives import Replayed, replay

MONTH = re.compile(r"(20\d\d)[-_/.]?(0[1-9]|1[0-2])(?!\d)")


def month_of(path: str) -> str:
    """The month that a path names last, `2025-03`; `-` where it names none."""
    found = MONTH.findall(path)
    return "-".join(found[-1]) if found else "-"


def replay_year(paths: list[str], old: flowd.FilterSet, new: flowd.FilterSet, client: Client) -> dict[str, Replayed]:
    """What came of each month."""
    months: dict[str, Replayed] = {}
    began_s, done_bytes = time.monotonic(), 0
    for done, (path, replayed) in enumerate(replay(paths, old, new, client=client), 1):
        month = month_of(path)
        months[month] = months.get(month, Replayed()).plus(replayed)
        done_bytes += replayed.bytes
        rate = done_bytes / (time.monotonic() - began_s) / 1e6
        show(f"{done} of {len(paths)} files, {done_bytes / 1e9:.2f} GB of lines, {rate:.0f} MB/s", done == len(paths))
    return dict(sorted(months.items()))


def show(text: str, is_last: bool) -> None:
    """Progress: one line that is written again and again on a terminal, else the last one only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="\n" if is_last else "", file=sys.stderr, flush=True)
    elif is_last:
        print(text, file=sys.stderr)


def describe(replayed: Replayed) -> dict[str, Any]:
    """A month as plain data."""
    return {
        "lines": replayed.lines,
        "bytes": replayed.bytes,
        "old_dropped": replayed.old_dropped._asdict(),
        "new_dropped": replayed.new_dropped._asdict(),
        "changes": [
            {"change": change.direction, "old_rule": change.old_rule, "new_rule": change.new_rule,
             "lines": change.lines, "bytes": change.bytes}
            for change in replayed.changes
        ],
        "failures": list(replayed.failures),
    }  # fmt: skip


def render(months: dict[str, Replayed]) -> str:
    """A table of months, and of each month's changes by their rules."""
    text = f"{'MONTH':8}{'LINES':>14}{'OLD DROPS':>14}{'NEW DROPS':>14}\n"
    for month, found in months.items():
        text += f"{month:8}{found.lines:14,}{found.old_dropped.lines:14,}{found.new_dropped.lines:14,}\n"
    text += f"\n{'MONTH':8}{'CHANGE':15}{'OLD RULE':20}{'NEW RULE':20}{'LINES':>12}{'BYTES':>16}\n"
    for month, found in months.items():
        for change in found.changes:
            text += f"{month:8}{change.direction:15}{change.old_rule:20}{change.new_rule:20}"
            text += f"{change.lines:12,}{change.bytes:16,}\n"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="Replays stored logs against new filters, by month.")
    parser.add_argument("old", help="the filters of today: a file, a folder, a ConfigMap")
    parser.add_argument("new", help="the filters to be")
    parser.add_argument("folder", type=Path, help="the logs, in files anywhere below")
    parser.add_argument("--stream", default="flows")
    parser.add_argument("--workers", type=int, help="processes on this machine; by default one a core")
    parser.add_argument("--scheduler", help="a Dask scheduler elsewhere, whose workers see the same folder")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    chosen = parser.parse_args()
    old, new = (flowd.load(path, stream=chosen.stream) for path in (chosen.old, chosen.new))
    paths = sorted(str(path) for path in chosen.folder.rglob("*") if path.is_file())
    if chosen.scheduler:
        with Client(chosen.scheduler) as client:
            months = replay_year(paths, old, new, client)
    else:
        with (
            LocalCluster(n_workers=chosen.workers, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            months = replay_year(paths, old, new, client)
    if chosen.output == "json":
        print(json.dumps({month: describe(found) for month, found in months.items()}))
    else:
        print(render(months), end="")
    failures = [failure for found in months.values() for failure in found.failures]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 74 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
