"""Two results.json: what counts as moved, what is told beside, and files that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "compare_results.py"

MACHINE = {"cpu": "a cpu", "cores": 2, "simd": "avx2"}
CORPUS = {"path": "text24-low-1-1000.log", "sha256": "ab" * 32}


def figure(*runs: float) -> dict[str, Any]:
    return {"median": sorted(runs)[len(runs) // 2], "least": min(runs), "most": max(runs), "runs": list(runs)}


def row(what: str, *runs: float, ratio: tuple[float, ...] = (), **more: Any) -> dict[str, Any]:
    known = {"part": "core", "what": what, "unit": "GB/s", "figure": figure(*runs), "less_is_better": False}
    return {**known, "peer": "memchr" if ratio else "", "ratio": figure(*ratio) if ratio else None, **more}


def write(path: Path, *rows: dict[str, Any], **more: Any) -> Path:
    known = {"format": 2, "machine": MACHINE, "scale": {"name": "full"}, "corpora": [CORPUS], "rows": list(rows)}
    path.write_text(json.dumps({**known, **more}))
    return path


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def verdicts(tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, str]:
    ended = compare(write(tmp_path / "old.json", *old), write(tmp_path / "new.json", *new), "-o", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    return {row["what"]: row["verdict"] for row in json.loads(ended.stdout)["rows"]}


def test_a_figure_moves_where_its_median_does_and_the_runs_do_not_overlap(tmp_path: Path) -> None:
    old = [row(name, 9.9, 10.0, 10.1) for name in ("as it was", "little", "overlap", "faster", "slower", "gone")]
    new = [
        row("as it was", 9.9, 10.0, 10.1),
        row("little", 10.2, 10.25, 10.3),
        row("overlap", 10.0, 11.0, 12.0),
        row("faster", 10.4, 10.5, 10.6),
        row("slower", 9.0, 9.5, 9.8),
        row("new", 1.0, 1.0, 1.0),
    ]
    assert verdicts(tmp_path, old, new) == {
        "as it was": "same",
        "little": "same",
        "overlap": "same",
        "faster": "faster",
        "slower": "slower",
        "new": "new",
        "gone": "gone",
    }


def test_of_seconds_and_mebibytes_less_is_better(tmp_path: Path) -> None:
    old = [row("time", 10.0, 10.1, 10.2, unit="ms", less_is_better=True)]
    new = [row("time", 12.0, 12.1, 12.2, unit="ms", less_is_better=True)]
    assert verdicts(tmp_path, old, new) == {"time": "slower"}
    assert verdicts(tmp_path, new, old) == {"time": "faster"}


def test_a_single_run_must_move_further(tmp_path: Path) -> None:
    old = [row("little", 100.0), row("far", 100.0)]
    assert verdicts(tmp_path, old, [row("little", 108.0), row("far", 111.0)]) == {"little": "same", "far": "faster"}


def test_what_moves_with_its_peer_is_the_machine(tmp_path: Path) -> None:
    old = [row(name, 10.0, 10.1, 10.2, ratio=(0.50, 0.51, 0.52)) for name in ("machine", "flowd")]
    old.append(row("itself", 10.0, 10.1, 10.2, ratio=(1.0, 1.0, 1.0), is_own_peer=True))
    new = [
        row("machine", 8.0, 8.1, 8.2, ratio=(0.50, 0.51, 0.52)),
        row("flowd", 8.0, 8.1, 8.2, ratio=(0.40, 0.41, 0.42)),
        row("itself", 8.0, 8.1, 8.2, ratio=(1.0, 1.0, 1.0), is_own_peer=True),
    ]
    assert verdicts(tmp_path, old, new) == {"machine": "with its peer", "flowd": "slower", "itself": "slower"}


def test_the_exit_code_says_slower_only_where_it_is_asked_to(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json", row("it", 10.0, 10.1, 10.2))
    new = write(tmp_path / "new.json", row("it", 8.0, 8.1, 8.2))
    assert compare(old, new).returncode == 0
    ended = compare(old, new, "-e")
    assert ended.returncode == 1
    assert "core  it    10.1 GB/s  8.1 GB/s  -19.8%      -  SLOWER\n" in ended.stdout
    assert ended.stdout.endswith("\n1 SLOWER, 0 faster, 0 same, 0 with its peer, 0 new, 0 gone\n")
    assert compare(new, old, "-e").returncode == 0


def test_another_machine_scale_or_corpus_is_said(tmp_path: Path) -> None:
    old = write(tmp_path / "old.json")
    new = write(
        tmp_path / "new.json",
        machine={**MACHINE, "simd": "avx512", "load_before": 3.0},
        scale={"name": "quick"},
        corpora=[{**CORPUS, "sha256": "cd" * 32}],
    )
    ended = compare(old, new)
    assert ended.stderr.splitlines() == [
        "NOT THE SAME: the machine's simd: avx2, now avx512",
        "NOT THE SAME: the scale's name: full, now quick",
        f"NOT THE SAME: the corpus text24-low-1-1000.log: sha256 {'ab' * 32}, now {'cd' * 32}",
        "hint: figures of different machines, corpora or scales say little about flowd",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("{", "not JSON: Input data was truncated"),
        ("[]", "no format, but format 2 is read here"),
        ('{"format": 1}', "format 1, but format 2 is read here"),
        ('{"format": 2}', "Object missing required field `machine`"),
        ('{"format": 2, "machine": {}, "scale": {}, "corpora": [], "rows": [{"part": 1}]}',
         "Expected `str`, got `int` - at `$.rows[0].part`"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    ended = compare(bad, write(tmp_path / "new.json"))
    assert (ended.returncode, ended.stdout) == (74, "")
    assert ended.stderr.splitlines()[0] == f"flowd: {bad}: {message}"
    assert ended.stderr.splitlines()[1].startswith("hint: ")


def test_rows_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = write(tmp_path / "twice.json", row("it", 1.0), row("it", 2.0))
    ended = compare(twice, twice)
    assert (ended.returncode, ended.stderr) == (74, f"flowd: {twice}: the row core, it stands there twice\n")
