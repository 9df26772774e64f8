"""Instructions that the native core needs for a line, counted by Callgrind: a slower core is noticed on any machine.

    python bench/instructions.py            # compares with instructions.json, and fails where it is more than 3 % more
    python bench/instructions.py --write    # writes instructions.json anew: after what was meant to change it

A count does not depend on the load or the clock of the machine; from run to run it differs by less than 1 %, since hash
tables are seeded anew. Each job is run twice, with fewer and with more lines, and the difference taken: what a call or
a filter set costs once does not count. It says nothing about caches and pipelines, and valgrind knows no AVX-512: the
level is AVX2 (NEON on ARM). What another compiler or another engine makes of the same source differs: then the
tolerance is wider, and the counts of both versions of flowd are best taken on the one machine (`--write FILE` on the
old, `--against FILE` on the new).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from core_rules import FIELDS, write_rules
from daemon_process import child_environment
from machine import read_compiler
from settings import BENCH, NAMES_FILTER, NAMESPACE_FILTER, POD_FILTER, SEED

from flowd import _core
from flowd.cli.table import render_table
from flowd.cli.talk import paint, say, say_failure
from flowd.corpus import Cardinality, generate
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO, FlowdError

EXPECTED = BENCH / "instructions.json"
TOLERANCE = 0.03
"""Of the same compiler and engines: what a change of a few lines elsewhere in the file may move by inlining."""
OTHER_TOLERANCE = 0.10
"""Where the compiler or an engine is another."""
RULES = 1_000
LEVELS = {"x86_64": "avx2", "aarch64": "neon"}
HEADERS = ("JOB", "EXPECTED", "COUNTED", "CHANGE", "VERDICT")
BETTER, SAME, MORE, NEW = "better", "same", "MORE", "new"

REQUESTS = """
#include <valgrind/callgrind.h>
extern "C" void begin() { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
extern "C" void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""
"""Callgrind's client requests are macros: these make functions of them."""


class CountFailed(FlowdError):
    """Nothing could be counted, or the expectations could not be read."""

    exit_code = EXIT_IO


class Job(NamedTuple):
    """Lines and the filters that they are put through; counted over `more` lines less `fewer` lines."""

    form: str
    filters: str
    fewer: int
    more: int
    cardinality: Cardinality = "low"
    stream: str = "flows"


JOBS = {
    "text24": Job("text24", NAMESPACE_FILTER, 20_000, 60_000),
    "text27": Job("text27", NAMESPACE_FILTER, 10_000, 30_000),
    "json": Job("json", NAMESPACE_FILTER, 4_000, 12_000),
    "dns": Job("dns", NAMES_FILTER, 4_000, 12_000, stream="dns"),
    "text24, level 0, pod names": Job("text24", POD_FILTER, 10_000, 30_000, "high"),
    f"text24, {RULES:,} rules": Job("text24", write_rules(RULES, FIELDS["low"]), 10_000, 30_000),
}


class Verdict(NamedTuple):
    """A job's count beside what was expected; `change` is a share of it."""

    job: str
    expected: float | None
    counted: float
    change: float
    word: str


def count(jobs: Mapping[str, Job]) -> dict[str, float]:
    """Instructions a line, of each job. Raises CountFailed without valgrind or a compiler."""
    with tempfile.TemporaryDirectory(prefix="flowd-instructions-") as name:
        directory = Path(name)
        described = [
            {"name": f"{job_name} x{lines}", "filters": job.filters, "stream": job.stream, "lines": str(path)}
            for number, (job_name, job) in enumerate(jobs.items())
            for lines, path in _write_lines(job, directory / f"job-{number}")
        ]
        listed = directory / "jobs.json"
        listed.write_text(json.dumps({"library": str(_build_requests(directory)), "jobs": described}))
        options = ("--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory / 'counts'}")
        environment = {**child_environment(), "FLOWD_SIMD": LEVELS[platform.machine()], "PYTHONHASHSEED": "0"}
        command = (_find("valgrind"), *options, sys.executable, str(BENCH / "instructions_job.py"), str(listed))
        _run(command, environment)
        totals = read_totals(directory)
    return {
        name: (totals[f"{name} x{job.more}"] - totals[f"{name} x{job.fewer}"]) / (job.more - job.fewer)
        for name, job in jobs.items()
    }


def read_totals(directory: Path) -> dict[str, int]:
    """The instructions of each dump that a client request asked for, by the request's name."""
    found = {}
    for path in sorted(directory.glob("counts.*")):
        text = path.read_text(errors="replace")
        named = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        events = re.search(r"^events: (.+)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if named is None or total is None or events is None or events[1].split()[0] != "Ir":
            raise CountFailed(f"{path.name} is no dump of Callgrind's with instructions in it")
        found[named[1]] = int(total[1])
    return found


def describe_build() -> dict[str, Any]:
    """What a count depends on besides flowd's source: the level, the compiler that built the core, the engines."""
    return {
        "simd": LEVELS.get(platform.machine(), platform.machine()),
        "compiler": read_compiler(),
        "engines": _core.engine_versions(),
    }


def judge(expected: Mapping[str, float], counted: Mapping[str, float], tolerance: float) -> list[Verdict]:
    """What became of each job."""
    verdicts = []
    for job, number in counted.items():
        before = expected.get(job)
        if before is None:
            verdicts.append(Verdict(job, None, number, 0.0, NEW))
            continue
        change = number / before - 1
        word = MORE if change > tolerance else BETTER if change < -tolerance else SAME
        verdicts.append(Verdict(job, before, number, change, word))
    return verdicts


def read_expected(path: Path) -> dict[str, Any]:
    """The expectations. Raises CountFailed where the file is none."""
    try:
        found = json.loads(path.read_text())
        jobs = {str(job): float(number) for job, number in found["instructions_per_line"].items()}
        return {**{key: found[key] for key in ("simd", "compiler", "engines")}, "instructions_per_line": jobs}
    except OSError as error:
        raise CountFailed(f"{path}: {error.strerror}", hint="--write makes it") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CountFailed(f"{path}: no expectations: {error}", hint="--write makes the file anew") from None


def write_expected(path: Path, counted: Mapping[str, float]) -> None:
    """Writes what was counted as what is expected from now on."""
    counts = {job: round(number, 1) for job, number in counted.items()}
    path.write_text(json.dumps({**describe_build(), "instructions_per_line": counts}, indent=2) + "\n")


def _write_lines(job: Job, stem: Path) -> list[tuple[int, Path]]:
    lines = b"".join(generate(job.form, job.more, SEED, job.cardinality)).splitlines(keepends=True)
    written = []
    for number in (job.fewer, job.more):
        path = stem.with_suffix(f".{number}")
        path.write_bytes(b"".join(lines[:number]))
        written.append((number, path))
    return written


def _build_requests(directory: Path) -> Path:
    library = directory / "requests.so"
    command = [_find("g++"), "-O1", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(library)]
    ended = subprocess.run(command, input=REQUESTS, capture_output=True, text=True)
    if ended.returncode:
        raise CountFailed("the library with Callgrind's requests did not compile", hint=ended.stderr.strip()[:400])
    return library


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise CountFailed(f"{program} is not installed", hint="`make instructions` installs what this needs")
    return found


def _run(command: tuple[str, ...], environment: dict[str, str]) -> None:
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise CountFailed(f"valgrind ended with exit code {ended.returncode}", hint=ended.stderr.strip()[-800:])


def _render(verdicts: list[Verdict]) -> str:
    rows = [
        (
            verdict.job,
            "-" if verdict.expected is None else f"{verdict.expected:,.1f}",
            f"{verdict.counted:,.1f}",
            "-" if verdict.expected is None else f"{verdict.change:+.1%}",
            verdict.word,
        )
        for verdict in verdicts
    ]
    return render_table(HEADERS, rows, HEADERS[1:4])


def tell(verdicts: list[Verdict], others: list[str], tolerance: float) -> int:
    """Prints the table, says what follows from it, and returns the exit code."""
    print(_render(verdicts), end="")
    for other in others:
        say(f"instructions: another {other}; the tolerance is {tolerance:.0%}")
    words = {verdict.word for verdict in verdicts}
    if MORE in words:
        say(paint(f"instructions: more than {tolerance:.0%} more: the core became slower", "red"))
        say("hint: where it is meant to be, --write writes the new numbers, and the commit says why")
        return EXIT_NO
    if words & {BETTER, NEW}:
        say("instructions: better, or new: write the new numbers with --write, so that they are kept")
    return EXIT_DONE


def main() -> int:
    parser = argparse.ArgumentParser(description="Counts the core's instructions for a line, beside what is expected.")
    parser.add_argument("--write", nargs="?", type=Path, const=EXPECTED, metavar="FILE", help="write the counts anew")
    parser.add_argument("--against", type=Path, default=EXPECTED, metavar="FILE", help="what is expected")
    parser.add_argument("--only", action="append", choices=JOBS, metavar="JOB", help=f"of {'; '.join(JOBS)}")
    chosen = parser.parse_args()
    try:
        if platform.machine() not in LEVELS:
            raise CountFailed(f"no level for {platform.machine()}", hint="LEVELS in bench/instructions.py names them")
        expected = None if chosen.write else read_expected(chosen.against)
        counted = count({name: job for name, job in JOBS.items() if name in (chosen.only or JOBS)})
    except CountFailed as error:
        say_failure(error)
        return error.exit_code
    if expected is None:
        write_expected(chosen.write, counted)
        say(f"written: {os.path.relpath(chosen.write)}")
        return EXIT_DONE
    build = describe_build()
    if build["simd"] != expected["simd"]:
        say(f"instructions: {expected['simd']} is expected, {build['simd']} is here: nothing to compare with")
        return EXIT_DONE
    others = [f"{key}: {expected[key]} is expected, {build[key]} is here" for key in ("compiler", "engines")
              if build[key] != expected[key]]  # fmt: skip
    tolerance = OTHER_TOLERANCE if others else TOLERANCE
    return tell(judge(expected["instructions_per_line"], counted, tolerance), others, tolerance)


if __name__ == "__main__":
    sys.exit(main())
