#!/usr/bin/env python3
"""Writes the tables of docs/metrics.md anew from flowd/relay/catalogue.py. What stands around them stays.

Usage: tools/metrics_page.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from flowd.relay.catalogue import SECTIONS, Metric  # noqa: E402

PAGE = ROOT / "docs" / "metrics.md"
HEAD = ["| metric | what it tells | values of its labels |", "|---|---|---|"]


def describe(metric: Metric) -> str:
    """A metric's row."""
    labels = "{" + ",".join(metric.labels) + "}" if metric.labels else ""
    values = [", ".join(f"`{value}`" for value in known) for known in metric.labels.values() if known]
    return f"| `{metric.name}{labels}` | {metric.text} | {'; '.join(values)} |".replace("  ", " ")


def write_page(page: str) -> str:
    """The page with its tables as the catalogue has them. Raises ValueError where a section has no heading."""
    for section, metrics in SECTIONS.items():
        head, heading, rest = page.partition(f"\n## {section}\n")
        if not heading:
            raise ValueError(f"docs/metrics.md has no heading `## {section}`: write it where its table belongs")
        lines = rest.split("\n")
        tables = [at for at, line in enumerate(lines) if line.startswith("|")]
        ends = [at for at, line in enumerate(lines) if line.startswith("## ")]
        first = tables[0] if tables and (not ends or tables[0] < ends[0]) else 1
        last = first
        while last < len(lines) and lines[last].startswith("|"):
            last += 1
        rows = [*HEAD, *map(describe, metrics)]
        if last == first:
            rows.append("")
        lines[first:last] = rows
        page = head + heading + "\n".join(lines)
    return page


if __name__ == "__main__":
    PAGE.write_text(write_page(PAGE.read_text()))
