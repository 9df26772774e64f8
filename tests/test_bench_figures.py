"""The README's figures are those of the report in bench/README.md: same numbers, every row found, old ones named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_bed import ROOT

BENCH = ROOT / "bench"
sys.path.insert(0, str(BENCH))

from figures import BEGIN, END, FIGURES, find_row, read_rows, split_cells, write_figures  # noqa: E402
from report import main  # noqa: E402

PAGE = (BENCH / "README.md").read_text()
README = (ROOT / "README.md").read_text()

REPORT = """\
Machine: AMD EPYC, 2 cores, Linux 6.18, load before 1.8, 2026-11-28 19:48 UTC.

### core

| WHAT | FIGURE | LEAST–MOST | PEER | PEER'S | RATIO | TARGET | REACHED |
| --- | --- | --- | --- | --- | --- | --- | --- |
| FilterSet.filter, text24-labels | 9.00 GB/s | 8–9 | newline scan (memchr) | 9 GB/s | 0.9 × (0.8–1) | - | - |
| FilterSet.filter, text24 | 5.02 GB/s | 4.98–5.03 | newline scan (memchr) | 11.9 GB/s | 0.42 × (0.42–0.42) | - | - |
"""


def test_the_readme_has_the_reports_figures() -> None:
    assert write_figures(README, PAGE) == README


def test_each_figure_of_a_part_that_was_measured_is_found() -> None:
    parts = {part for part, _ in read_rows(PAGE)}
    assert [figure.words for figure in FIGURES if figure.part in parts and find_row(figure, PAGE) is None] == []


def test_a_row_that_was_not_measured_stays_and_is_said_to_be_old() -> None:
    old = "| two threads, text | 9.71 GB/s | one: 4.95 GB/s | 1.97 |"
    written = write_figures(f"before\n{BEGIN}| head |\n{old}\n{END}\nafter\n", REPORT)
    words = FIGURES[0].words
    new = f"| {words} | 5.02 GB/s | newline scan by `memchr`: 11.9 GB/s | 0.42 |"
    assert [line for line in written.splitlines() if line.startswith("| ")][1:] == [new, old]
    assert "on the AMD EPYC with 2 cores, on 2026-11-28" in written
    assert "Of an earlier run: two threads, text.\n" in written
    assert (written.partition("\n")[0], written.splitlines()[-1]) == ("before", "after")


def test_a_bar_in_a_cell_is_no_end_of_it() -> None:
    assert split_cells(r"| grep '^a\|b' | 1 |") == [r"grep '^a\|b'", "1"]


def test_a_quick_report_is_not_pasted(tmp_path: Path) -> None:
    for name in ("README.md", "bench/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bench" / "results").mkdir()
    (tmp_path / "bench" / "results" / "report.md").write_text("Machine: one.\n\nScale: quick; a figure is\n")
    with pytest.raises(SystemExit) as caught:
        main(tmp_path / "bench")
    assert "is of a quick run" in str(caught.value)
    assert (tmp_path / "README.md").read_text() == README
