"""The report: what was measured, on which machine, from which lines, as JSON, as Markdown, and as a table to read.

python bench/report.py    # puts bench/results/report.md into bench/README.md
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from measure import Row, Spread, Target
from settings import BENCH, Scale, Settings

from flowd._core import engine_versions, simd
from flowd._version import __version__
from flowd.cli.table import render_table

FORMAT = 2
"""Of results.json: raised where a program that read the one before would misread it."""
HEADERS = ("WHAT", "FIGURE", "LEAST–MOST", "PEER", "PEER'S", "RATIO", "TARGET", "REACHED")
RIGHT = ("FIGURE", "LEAST–MOST", "PEER'S", "RATIO")
BEGIN, END = "<!-- report -->\n", "<!-- /report -->"


def describe_machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "flowd": __version__,
        "simd": simd()[0],
        "engines": engine_versions(),
        "load_before": os.getloadavg()[0],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def show_machine(machine: dict[str, object]) -> str:
    """The machine in one line."""
    engines = machine["engines"]
    assert isinstance(engines, dict)
    named = ", ".join(f"{name} {version}" for name, version in engines.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, "
        f"flowd {machine['flowd']} (SIMD {machine['simd']}; {named}), load before {machine['load_before']:.1f}, "
        f"{machine['date']}"
    )


def show_rows(rows: Sequence[Row], scale: Scale) -> str:
    """The rows as a table for a terminal."""
    return render_table(HEADERS, [_cells(row, scale) for row in rows], RIGHT)


def write_report(directory: Path, rows: Sequence[Row], settings: Settings, machine: dict[str, object]) -> Path:
    """Writes results.json and report.md; returns the latter's path."""
    directory.mkdir(parents=True, exist_ok=True)
    results = {
        "format": FORMAT,
        "machine": machine,
        "scale": asdict(settings.scale),
        "corpora": settings.describe_corpora(),
        "rows": [{**asdict(row), "less_is_better": row.less_is_better, "is_reached": row.is_reached} for row in rows],
    }
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    page = directory / "report.md"
    page.write_text(_render_page(rows, settings, machine))
    return page


def _render_page(rows: Sequence[Row], settings: Settings, machine: dict[str, object]) -> str:
    lines = [
        f"Machine: {show_machine(machine)}.",
        "",
        f"Scale: {settings.scale.name}; a figure is the median of {settings.scale.rounds} runs in turns with its peer, "
        "a ratio the median of the rounds' ratios; 1 GB is 10⁹ bytes.",
        "",
    ]
    for part in dict.fromkeys(row.part for row in rows):
        lines += [f"### {part}", "", _markdown_row(HEADERS), _markdown_row(["---"] * len(HEADERS))]
        chosen = [row for row in rows if row.part == part]
        lines += [_markdown_row(_cells(row, settings.scale)) for row in chosen]
        notes = [f"- {row.what}: {row.note}" for row in chosen if row.note]
        lines += ["", *notes, ""]
    lines += ["### corpora", ""]
    lines += [
        f"- `{corpus.path.name}`: {corpus.lines:,} lines, {corpus.bytes:,} bytes, seed {corpus.seed}, "
        f"sha256 `{corpus.sha256}`"
        for corpus in settings.corpora.values()
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row, scale: Scale) -> list[str]:
    reached = {True: "yes", False: "NO", None: "-"}[row.is_reached if scale.is_quotable else None]
    return [
        row.what,
        f"{_number(row.figure.median)} {row.unit}",
        f"{_number(row.figure.least)}–{_number(row.figure.most)}",
        row.peer or "-",
        f"{_number(row.peer_figure.median)} {row.unit}" if row.peer_figure else "-",
        _ratio(row.ratio),
        _target(row.target, row.unit),
        reached,
    ]


def _ratio(ratio: Spread | None) -> str:
    return f"{_number(ratio.median)} × ({_number(ratio.least)}–{_number(ratio.most)})" if ratio else "-"


def _target(target: Target | None, unit: str) -> str:
    if target is None:
        return "-"
    wanted = []
    if target.figure is not None:
        wanted.append(f"{'≤' if target.is_upper else '≥'} {_number(target.figure)} {unit}")
    if target.ratio is not None:
        wanted.append(f"≥ {_number(target.ratio)} ×")
    return " and ".join(wanted)


def _number(value: float) -> str:
    """Three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def paste_report(page: Path, report: Path) -> None:
    """Puts the report between the page's marks, in place of the one before."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + report.read_text() + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    paste_report(BENCH / "README.md", BENCH / "results" / "report.md")
