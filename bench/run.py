"""`make bench`: measures flowd beside its peers, all in one run, and writes the report.

    python bench/run.py
    python bench/run.py --quick --only core --only rules

Writes results.json, report.md and its plots into bench/results/. A target that is not reached is shown as such; the
exit code says only whether everything could be measured.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from machine import describe_machine, show_machine
from measure import Row
from report import show_rows, write_report
from settings import BENCH, FULL, QUICK, Settings

from flowd.cli.talk import paint, say, say_failure
from flowd.errors import EXIT_DONE, EXIT_NO, FlowdError

PARTS = {
    "core": "core_filter",
    "core-grid": "core_grid",
    "threads": "core_threads",
    "rules": "core_rules",
    "json": "json_peer",
    "conditions": "core_conditions",
    "records": "core_records",
    "compile": "compiling",
    "startup": "startup",
    "views": "core_views",
    "process": "process_peers",
    "syslogs": "syslogs",
    "compare": "compare",
    "archives": "archives",
    "relay": "relay_live",
    "relay-grid": "relay_grid",
    "forward": "relay_forward",
    "durable": "durable",
    "forward-sink": "forward_sink",
    "latency": "latency",
    "memory": "memory",
    "jetstream": "jetstream",
    "metrics": "metrics",
}
"""Each part's module: its `run` takes the settings and returns rows."""
ON_REQUEST = ("relay-grid",)
"""Parts that run only where `--only` names them."""


def measure(settings: Settings, parts: list[str]) -> list[Row]:
    """Runs the parts, one after the other."""
    rows: list[Row] = []
    for part in parts:
        found: list[Row] = importlib.import_module(PARTS[part]).run(settings)
        rows += found
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures flowd beside its peers and writes the report.")
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works; not for figures")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=BENCH / "results", metavar="DIR", help="where the report goes")
    chosen = parser.parse_args()
    machine = describe_machine()
    settings = Settings(QUICK if chosen.quick else FULL, say=lambda text: say(paint(text, "dim")))
    try:
        rows = measure(settings, chosen.only or [part for part in PARTS if part not in ON_REQUEST])
    except FlowdError as error:
        say_failure(error)
        return EXIT_NO
    page = write_report(chosen.out, rows, settings, machine)
    print(show_machine(machine))
    print(show_rows(rows, settings.scale), end="")
    say(f"written: {page} and results.json beside it")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
