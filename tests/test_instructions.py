"""The count of instructions: what is read from Callgrind, what is told of it, and a real count of few lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
sys.path.insert(0, str(BENCH))

import instructions  # noqa: E402
from instructions import CountFailed, Job, Verdict, judge, read_expected, read_totals  # noqa: E402
from settings import NAMESPACE_FILTER  # noqa: E402

DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 12995
cmd:  python job.py
part: 1

desc: I1 cache:
desc: Timerange: Basic block 0 - 191432
desc: Trigger: Client Request: text24 x2000

positions: line
events: Ir
summary: 1290849

fn=(1) walk
0 6

totals: 1290849
"""


PATIENTLY = pytest.mark.timeout(900)
"""Valgrind takes fifty times as long as the machine itself, and that may be busy."""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCH / "instructions.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400)


def test_a_dump_is_read_by_the_name_of_its_request(tmp_path: Path) -> None:
    (tmp_path / "counts.1").write_text(DUMP)
    (tmp_path / "counts.2").write_text(DUMP.replace("x2000", "x4000").replace("1290849", "2416812"))
    (tmp_path / "counts").write_text("the last one, at the end of the program, counts nothing")
    assert read_totals(tmp_path) == {"text24 x2000": 1_290_849, "text24 x4000": 2_416_812}


@pytest.mark.parametrize("missing", ["desc: Trigger: Client Request: text24 x2000\n", "events: Ir\n"])
def test_another_dump_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "counts.1").write_text(DUMP.replace(missing, ""))
    with pytest.raises(CountFailed, match=r"counts\.1 is no dump"):
        read_totals(tmp_path)


def test_more_than_the_tolerance_is_more_or_better() -> None:
    expected = {"same": 100.0, "more": 100.0, "better": 100.0}
    counted = {"same": 102.0, "more": 104.0, "better": 96.0, "new": 7.0}
    assert judge(expected, counted, 0.03) == [
        Verdict("same", 100.0, 102.0, pytest.approx(0.02), "same"),
        Verdict("more", 100.0, 104.0, pytest.approx(0.04), "MORE"),
        Verdict("better", 100.0, 96.0, pytest.approx(-0.04), "better"),
        Verdict("new", None, 7.0, 0.0, "new"),
    ]


@PATIENTLY
def test_a_line_costs_what_it_costs_more_lines() -> None:
    few, many = (Job("text24", NAMESPACE_FILTER, 500, more) for more in (1_500, 2_500))
    counted = instructions.count({"few": few, "many": many})
    assert counted["few"] == pytest.approx(counted["many"], rel=0.3)
    assert 50 < counted["many"] < 5_000


@PATIENTLY
def test_more_instructions_fail_and_fewer_are_to_be_written(tmp_path: Path) -> None:
    written = tmp_path / "written.json"
    both = ("--only", "dns", "--only", "json")
    assert run(*both, "--write", written).returncode == 0
    found = json.loads(written.read_text())
    assert found["compiler"].startswith(("GCC: ", "clang version "))
    assert found["engines"].keys() >= {"oniguruma"}
    counted = found["instructions_per_line"]
    expected = {"dns": counted["dns"] / 2, "json": counted["json"] * 2}
    written.write_text(json.dumps({**found, "compiler": "GCC: 1.0", "instructions_per_line": expected}))
    ended = run(*both, "--against", written)
    assert ended.returncode == 1
    assert [line.split()[::4] for line in ended.stdout.splitlines()[1:]] == [["json", "better"], ["dns", "MORE"]]
    assert "another compiler: GCC: 1.0 is expected" in ended.stderr
    assert "the tolerance is 10%" in ended.stderr
    assert "more than 10% more: the core became slower" in ended.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("{", "no expectations: Expecting property name"),
        ("[]", "no expectations: list indices"),
        ('{"instructions_per_line": {"dns": "many"}}', "no expectations: could not convert"),
        ('{"instructions_per_line": {}}', "no expectations: 'simd'"),
    ],
)
def test_bad_expectations_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "expected.json"
    if text is not None:
        path.write_text(text)
    ended = run("--against", path)
    assert ended.returncode == 74
    assert ended.stderr.startswith(f"flowd: {path}: {message}")


def test_fewer_instructions_are_to_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.tell([Verdict("dns", 100.0, 90.0, -0.1, "better")], [], 0.03) == 0
    assert "write the new numbers with --write" in capsys.readouterr().err


def test_every_job_is_expected() -> None:
    assert read_expected(instructions.EXPECTED)["instructions_per_line"].keys() == instructions.JOBS.keys()
