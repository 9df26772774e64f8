"""JSON lines against simdjson: flowd's core beside the On-Demand parser, stopped at the same two keys of each line.

The peer is a small C++ program (simdjson_peer.cpp) that is compiled here and now with `g++ -O3 -march=native`; simdjson
chooses AVX-512 by itself where the machine has it. It reads two strings of each line, looks for `dev` in them, counts;
it copies no lines, flowd does. Both walk over the same lines in memory, in turns on one core, and must keep as many.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core_filter import GB, over
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios, spread, timed
from settings import BENCH, NAMESPACE_FILTER, Corpus, Settings, cut_batches

import flowd
from flowd.errors import FlowdError

SOURCE = BENCH / "simdjson_peer.cpp"
TARGET = Target(ratio=1.1)
WAYS = {"lines": "each line by itself", "many": "iterate_many"}


def run(settings: Settings) -> list[Row]:
    """One row, beside the faster of simdjson's two ways; without simdjson's header, flowd alone."""
    corpus = settings.corpus_of("json", settings.scale.core_bytes)
    settings.say("json: beside simdjson")
    batches = list(cut_batches(corpus.path.read_bytes()))
    filters = flowd.compile(NAMESPACE_FILTER)
    kept = sum(filters.filter(batch).count(b"\n") for batch in batches)
    works: dict[str, Callable[[], float]] = {"flowd": timed(over(batches, filters.filter))}
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory, one_core():
        program = _build(Path(directory), settings)
        if program is None:
            times = run_in_turns(works, settings.scale.rounds)
            return [_row(corpus, times["flowd"], "simdjson is not installed here")]
        with _running(program, corpus, kept) as (version, walk):
            for way in WAYS:
                works[way] = lambda way=way: walk(way)  # type: ignore[misc]
            times = run_in_turns(works, settings.scale.rounds)
    fastest = min(WAYS, key=lambda way: spread(times[way]).median)
    others = ", ".join(
        f"{WAYS[way]} {rates(corpus.bytes / GB, times[way]).median:.2f} GB/s" for way in WAYS if way != fastest
    )
    note = f"both keep {kept:,} of {corpus.lines:,} lines; simdjson {version}, {WAYS[fastest]}; its other way: {others}"
    return [_row(corpus, times["flowd"], note, "simdjson On-Demand", times[fastest])]


def _row(corpus: Corpus, ours: list[float], note: str, peer: str = "", theirs: list[float] | None = None) -> Row:
    return Row(
        part="json",
        what="FilterSet.filter, json",
        unit="GB/s",
        figure=rates(corpus.bytes / GB, ours),
        peer=peer,
        peer_figure=rates(corpus.bytes / GB, theirs) if theirs else None,
        ratio=speed_ratios(ours, theirs) if theirs else None,
        target=TARGET,
        note=note,
    )


def _build(directory: Path, settings: Settings) -> Path | None:
    """Compiles the peer; None where there is no compiler, or no simdjson."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    program = directory / "simdjson_peer"
    options = ("-O3", "-march=native", "-std=c++17")
    ended = subprocess.run([compiler, *options, str(SOURCE), "-lsimdjson", "-o", str(program)], capture_output=True)
    if ended.returncode:
        told = ended.stderr.decode(errors="replace").strip().splitlines()
        settings.say(f"json: the peer was not built: {told[0] if told else 'the compiler failed'}")
        return None
    return program


@contextmanager
def _running(program: Path, corpus: Corpus, kept: int) -> Iterator[tuple[str, Callable[[str], float]]]:
    """The peer with the corpus in memory; yields its version, and a walk that returns its seconds."""
    with subprocess.Popen(
        [str(program), str(corpus.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answered = process.stdin, process.stdout
        version = answered.readline().strip()

        def walk(way: str) -> float:
            asked.write(way + "\n")
            answer = answered.readline().split()
            if len(answer) != 2:
                raise FlowdError("simdjson's program ended", hint="its own words stand above")
            if int(answer[1]) != kept:
                raise FlowdError(f"flowd keeps {kept} lines, simdjson {answer[1]}")
            return float(answer[0])

        yield version, walk
        asked.close()
