"""The benchmarks do their work and report it: small runs, every part, no figures asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

from measure import Row, Spread, Target, ratios, run_in_turns, speed_ratios, spread  # noqa: E402
from settings import cut_batches  # noqa: E402

# The least number of rows of each part; with all peers installed, process has more.
ROWS = {
    "core": 8,
    "core-grid": 24,
    "threads": 2,
    "json": 1,
    "rules": 6,
    "conditions": 3,
    "records": 5,
    "views": 16,
    "process": 4,
    "syslogs": 2,
    "compare": 1,
    "archives": 3,
    "relay": 4,
    "relay-grid": 8,
    "forward": 3,
    "durable": 5,
    "forward-sink": 5,
    "compile": 6,
    "startup": 3,
    "latency": 3,
    "memory": 3,
    "jetstream": 2,
    "metrics": 5,
}


pytestmark = pytest.mark.timeout(900)
"""The parts take seconds each, but on a busy machine far more."""


def run_bench(directory: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    command = [sys.executable, str(BENCH / "run.py"), "--quick", "--out", str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=800), directory / "results.json"


def test_scale_measures_a_server_in_one_command() -> None:
    command = [sys.executable, str(BENCH / "scale.py"), "--measure", "20", "40", "--repeats", "2", "--rounds", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    machine, _, head, _, *rows = ended.stdout.splitlines()
    assert "nats-server 2" in machine
    assert "2 runs in turns, 1 messages of 16 KiB a subject" in machine
    assert head == "| what | 20 subjects | 40 subjects |"
    shown = [row.strip("| ").split(" | ") for row in rows]
    assert [len(cells) for cells in shown] == [3] * 5
    documented = (BENCH.parent / "docs" / "scale.md").read_text()
    assert all(f"| {what} |" in documented for what, *_ in shown)


@pytest.mark.parametrize("part", ROWS)
def test_each_part_writes_its_rows_and_what_they_rest_on(part: str, tmp_path: Path) -> None:
    ended, results = run_bench(tmp_path, "--only", part)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(results.read_text())
    assert {row["part"] for row in found["rows"]} == {part}
    assert len(found["rows"]) >= ROWS[part]
    figures = [row["figure"] for row in found["rows"]]
    assert all(0 < figure["least"] <= figure["median"] <= figure["most"] for figure in figures)
    assert all(figure["least"] == min(figure["runs"]) for figure in figures)
    assert found["scale"]["name"] == "quick"
    assert all(len(corpus["sha256"]) == 64 and corpus["seed"] for corpus in found["corpora"])
    assert {"cpu", "cores", "kernel", "python", "simd", "engines"} <= found["machine"].keys()
    assert found["machine"].keys() >= {"compiler", "peers", "pinned_to"}
    report = (tmp_path / "report.md").read_text()
    for plot in (tmp_path / "plots").iterdir():
        assert f"(plots/{plot.name})" in report
        ElementTree.parse(plot)
    assert report.startswith("Machine: ")
    assert all(row["what"] in report and row["what"] in ended.stdout for row in found["rows"])


@pytest.mark.skipif(shutil.which("mawk") is None, reason="mawk is not installed")
def test_flowd_is_compared_with_mawk_on_the_same_lines(tmp_path: Path) -> None:
    _, results = run_bench(tmp_path, "--only", "process")
    notes = [row["note"] for row in json.loads(results.read_text())["rows"] if row["peer"].startswith("mawk")]
    assert len(notes) == 1
    assert "both keep the same lines, byte for byte" in notes[0]


def test_results_compare_with_themselves(tmp_path: Path) -> None:
    ended, results = run_bench(tmp_path, "--only", "threads")
    assert ended.returncode == 0, ended.stderr
    command = [sys.executable, str(BENCH / "compare_results.py"), str(results), str(results), "-e", "-o", "json"]
    compared = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (compared.returncode, compared.stderr) == (0, "")
    assert {row["verdict"] for row in json.loads(compared.stdout)["rows"]} <= {"same"}


def test_contestants_run_in_turns_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []
    clock = iter(range(100))

    def contestant(name: str) -> float:
        order.append(name)
        return float(next(clock))

    times = run_in_turns({name: lambda name=name: contestant(name) for name in "AB"}, rounds=2)  # type: ignore[misc]
    assert order == ["A", "B"] * 3
    assert times == {"A": [2.0, 4.0], "B": [3.0, 5.0]}


def test_ratios_are_of_runs_side_by_side() -> None:
    assert ratios([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == Spread(2.0, 1.0, 3.0, (1.0, 2.0, 3.0))
    assert speed_ratios([1.0, 2.0], [2.0, 4.0]) == Spread(2.0, 2.0, 2.0, (2.0, 2.0))


def test_a_target_is_reached_by_all_that_it_asks_for() -> None:
    def row(figure: float, ratio: float | None, target: Target | None) -> Row:
        return Row("p", "w", "u", spread([figure]), ratio=None if ratio is None else spread([ratio]), target=target)

    assert row(3.0, 0.2, Target(figure=3.0, ratio=0.2)).is_reached is True
    assert row(2.9, 0.2, Target(figure=3.0, ratio=0.2)).is_reached is False
    assert row(3.0, 0.1, Target(figure=3.0, ratio=0.2)).is_reached is False
    assert row(9.0, None, Target(ratio=0.2)).is_reached is False
    assert row(151.0, None, Target(figure=150.0, is_upper=True)).is_reached is False
    assert row(150.0, None, Target(figure=150.0, is_upper=True)).is_reached is True
    assert row(1.0, 1.0, None).is_reached is None


def test_batches_hold_whole_lines_and_lose_none() -> None:
    lines = b"".join(b"%d\n" % n for n in range(1_000))
    batches = list(cut_batches(lines, 64))
    assert b"".join(batches) == lines
    assert all(len(batch) <= 64 and batch.endswith(b"\n") for batch in batches)
