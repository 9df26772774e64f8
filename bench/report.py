"""The report: what was measured, on which machine, from which lines: JSON, Markdown with pictures, a table to read.

python bench/report.py    # puts bench/results/report.md into bench/README.md, its pictures into bench/plots/, and its
                          # figures into the README
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from figures import paste_figures
from machine import show_machine
from measure import Row, Spread, Target
from plots import draw_plots
from settings import BENCH, FULL, SEED, Scale, Settings

from flowd.cli.table import render_table

FORMAT = 2
"""Of results.json: raised where a program that read the one before would misread it."""
HEADERS = ("WHAT", "FIGURE", "LEAST–MOST", "PEER", "PEER'S", "RATIO", "TARGET", "REACHED")
RIGHT = ("FIGURE", "LEAST–MOST", "PEER'S", "RATIO")
PLOTS = "plots"
BEGIN, END = "<!-- report -->\n", "<!-- /report -->"


def show_rows(rows: Sequence[Row], scale: Scale) -> str:
    """The rows as a table for a terminal."""
    return render_table(HEADERS, [_cells(row, scale) for row in rows], RIGHT)


def write_report(directory: Path, rows: Sequence[Row], settings: Settings, machine: dict[str, object]) -> Path:
    """Writes results.json, report.md and its pictures; returns the page's path."""
    (directory / PLOTS).mkdir(parents=True, exist_ok=True)
    plots = draw_plots(rows)
    for name, picture in plots.items():
        (directory / PLOTS / name).write_text(picture)
    results = {
        "format": FORMAT,
        "machine": machine,
        "scale": asdict(settings.scale),
        "corpora": settings.describe_corpora(),
        "rows": [{**asdict(row), "less_is_better": row.less_is_better, "is_reached": row.is_reached} for row in rows],
    }
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    page = directory / "report.md"
    page.write_text(_render_page(rows, settings, machine, list(plots)))
    return page


def _render_page(rows: Sequence[Row], settings: Settings, machine: dict[str, object], plots: Sequence[str]) -> str:
    lines = [
        f"Machine: {show_machine(machine)}.",
        "",
        f"Scale: {settings.scale.name}; a figure is the median of {settings.scale.rounds} runs in turns with its peer, "
        "a ratio the median of the rounds' ratios; 1 GB is 10⁹ bytes. "
        f"Corpora are of seed {SEED}; their SHA-256 stand at the end.",
        "",
    ]
    for plot in plots:
        lines += [f"![{plot.removesuffix('.svg')}]({PLOTS}/{plot})", ""]
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


def paste_report(page: Path, report: Path) -> None:
    """Puts the report between the page's marks, and its pictures beside the page, in place of those before."""
    shutil.rmtree(page.parent / PLOTS, ignore_errors=True)
    shutil.copytree(report.parent / PLOTS, page.parent / PLOTS)
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + BEGIN + "\n" + report.read_text() + "\n" + END + rest.partition(END)[2])


def main(folder: Path) -> None:
    """Pastes the last report and its figures; ends where that is none to quote."""
    report = folder / "results" / "report.md"
    if f"\nScale: {FULL.name};" not in report.read_text():
        sys.exit(f"{report} is of a quick run: its figures are none to quote")
    paste_report(folder / "README.md", report)
    paste_figures(folder.parent / "README.md", folder / "README.md")


if __name__ == "__main__":
    main(BENCH)
