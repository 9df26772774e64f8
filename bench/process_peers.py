"""`flowd filter` as a whole process, start-up included, against the tools that people use for this.

Wall time on one core (and once on all), output to /dev/null, files in the page cache. rg does less: it looks for three
letters anywhere in a line. mawk, and GNU grep with a regular expression for either column, do the same as flowd, so
that their lines must be flowd's, which is checked. jq reads JSON in full and writes it anew; jq and grep are given
fewer lines, and compared by lines a second.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from daemon_process import child_environment
from measure import WARM_UP_ROUNDS, Row, Target, one_core, rates, ratios, run_in_turns, run_process, spread
from settings import NAMESPACE_FILTER, Corpus, Settings

from flowd.errors import FlowdError

MILLION = 1e6
MAWK = ("mawk", "$4!~/dev/&&$8!~/dev/")
GREPS = {"grep -E", "grep -P"}
GREP_PART = 10
"""grep is slow at this: it is given this part of the lines, and its time scaled."""
GREP_OUTPUT = Path("/dev/zero")
"""Takes everything as /dev/null does; where grep sees that its output is /dev/null, it ends at the first line."""
GREP_E = ("grep", "-Ev", "^([^ ]* ){3}[^ ]*dev|^([^ ]* ){7}[^ ]*dev")
GREP_P = ("grep", "-Pv", r"^(?:\S+ ){3}\S*dev|^(?:\S+ ){7}\S*dev")
RG = ("rg", "-v", "dev")
JQ = ("jq", "-c", 'select((.source_namespace|test("dev")|not) and (.dest_namespace|test("dev")|not))')
READ_BYTES = 1 << 20

Environment = dict[str, str]


def run(settings: Settings) -> list[Row]:
    """Rows for text against rg and mawk, for JSON against jq, and for flowd's start-up."""
    environment = child_environment()
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        filters = Path(directory) / "namespace.conf"
        filters.write_text(NAMESPACE_FILTER)
        flowd = (sys.executable, "-m", "flowd", "filter", "--quiet", "-f", str(filters))
        with one_core():
            rows = [
                *_run_text(settings, environment, flowd),
                *_run_json(settings, environment, flowd, Path(directory)),
                _run_start(settings, environment, flowd, Path(directory)),
            ]
        return [*rows, *_run_free(settings, environment, flowd)]


def _run_text(settings: Settings, environment: Environment, flowd: Sequence[str]) -> list[Row]:
    corpus = settings.corpus("text24", settings.scale.text_lines)
    known = {"rg": RG, "mawk": MAWK, "grep -E": GREP_E, "grep -P": GREP_P}
    peers = {name: command for name, command in known.items() if shutil.which(command[0])}
    settings.say("process: comparing the lines that flowd and its peers keep")
    few = settings.corpus("text24", settings.scale.text_lines // GREP_PART)
    given = {name: few if name in GREPS else corpus for name in ("flowd", *peers)}
    notes = {"rg": _RG_NOTE} | {
        name: _compare((*flowd, str(given[name].path)), (*peers[name], str(given[name].path)), environment)
        + (f"; {name} was given {few.lines:,} lines, its time scaled by {GREP_PART}" if name in GREPS else "")
        for name in peers
        if name != "rg"
    }
    settings.say(f"process: {settings.scale.text_lines:,} lines of text24")
    commands = {"flowd": flowd, **peers}
    times, cpu = _time_all(settings, environment, {name: (*c, str(given[name].path)) for name, c in commands.items()})
    for name in GREPS & times.keys():
        times[name] = [run_s * GREP_PART for run_s in times[name]]
        cpu[name] = [run_s * GREP_PART for run_s in cpu[name]]
    targets = {"rg": Target(ratio=1.3), "mawk": Target(ratio=8.0)}
    return [
        _row(corpus, times, cpu, peer, shlex.join(peers[peer]), targets.get(peer), notes[peer])
        if peer in peers
        else _row_alone(corpus, times, cpu, f"{peer} is not installed here")
        for peer in known
    ]


_RG_NOTE = "rg keeps other lines: it drops a line for the three letters wherever they stand"


def _run_json(settings: Settings, environment: Environment, flowd: Sequence[str], directory: Path) -> list[Row]:
    corpus = settings.corpus("json", settings.scale.json_lines)
    if shutil.which("jq") is None:
        settings.say(f"process: {corpus.lines:,} lines of JSON")
        times, cpu = _time_all(settings, environment, {"flowd": (*flowd, str(corpus.path))})
        return [_row_alone(corpus, times, cpu, "jq is not installed here")]
    few = directory / "few.log"
    lines = _copy_lines(corpus.path, few, settings.scale.slow_lines)
    settings.say(f"process: comparing how many of {lines:,} lines flowd and jq keep")
    note = _compare_counts((*flowd, str(few)), (*JQ, str(few)), environment)
    settings.say(f"process: {corpus.lines:,} lines of JSON, {lines:,} for jq")
    times, cpu = _time_all(settings, environment, {"flowd": (*flowd, str(corpus.path)), "jq": (*JQ, str(few))})
    scaled = corpus.lines / lines
    times["jq"] = [run_s * scaled for run_s in times["jq"]]
    cpu["jq"] = [run_s * scaled for run_s in cpu["jq"]]
    note = f"jq was given {lines:,} lines, its time scaled by {scaled:g}; {note}"
    return [_row(corpus, times, cpu, "jq", "jq -c 'select(…)'", Target(ratio=50.0), note)]


def _run_start(settings: Settings, environment: Environment, flowd: Sequence[str], directory: Path) -> Row:
    """What of the above is start-up: the same command on an empty file."""
    empty = directory / "empty.log"
    empty.touch()
    settings.say("process: start-up")
    times, _ = _time_all(settings, environment, {"flowd": (*flowd, str(empty))})
    milliseconds = [run_s * 1_000 for run_s in times["flowd"]]
    return Row("process", "flowd filter, an empty file", "ms", spread(milliseconds), note="start-up alone")


def _run_free(settings: Settings, environment: Environment, flowd: Sequence[str]) -> list[Row]:
    """Text against rg once more, both as they come: not bound to a core. flowd then filters in several threads."""
    if shutil.which("rg") is None:
        return []
    corpus = settings.corpus("text24", settings.scale.text_lines)
    settings.say("process: text24 on all cores")
    commands = {"flowd": (*flowd, str(corpus.path)), "rg": (*RG, str(corpus.path))}
    times, cpu = _time_all(settings, environment, commands)
    row = _row(corpus, times, cpu, "rg", shlex.join(RG), Target(ratio=2.0), _RG_NOTE)
    return [replace(row, what=row.what + ", all cores")]


def _time_all(
    settings: Settings, environment: Environment, commands: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Each command's wall seconds, and its seconds on the processor, the warm-up left out of both."""
    cpu: dict[str, list[float]] = {name: [] for name in commands}

    def contestant(name: str) -> Callable[[], float]:
        def once() -> float:
            output = GREP_OUTPUT if commands[name][0] == "grep" else Path(os.devnull)
            ended = run_process(commands[name], environment, output)
            if ended.code:
                raise FlowdError(f"{' '.join(commands[name])} ended with exit code {ended.code}")
            cpu[name].append(ended.cpu_s)
            return ended.wall_s

        return once

    wall = run_in_turns({name: contestant(name) for name in commands}, settings.scale.rounds)
    return wall, {name: taken_s[WARM_UP_ROUNDS:] for name, taken_s in cpu.items()}


def _row(
    corpus: Corpus,
    times: dict[str, list[float]],
    cpu: dict[str, list[float]],
    peer: str,
    shown: str,
    target: Target | None,
    note: str,
) -> Row:
    return Row(
        part="process",
        what=f"flowd filter, {corpus.lines:,} lines of {corpus.form}",
        unit="M lines/s",
        figure=rates(corpus.lines / MILLION, times["flowd"]),
        peer=shown,
        peer_figure=rates(corpus.lines / MILLION, times[peer]),
        ratio=ratios(times[peer], times["flowd"]),
        target=target,
        note=f"{_cost(corpus, times, cpu, 'flowd')}; {_cost(corpus, times, cpu, peer)}; {note}",
    )


def _row_alone(corpus: Corpus, times: dict[str, list[float]], cpu: dict[str, list[float]], note: str) -> Row:
    return Row(
        part="process",
        what=f"flowd filter, {corpus.lines:,} lines of {corpus.form}",
        unit="M lines/s",
        figure=rates(corpus.lines / MILLION, times["flowd"]),
        note=f"{_cost(corpus, times, cpu, 'flowd')}; {note}",
    )


def _cost(corpus: Corpus, times: dict[str, list[float]], cpu: dict[str, list[float]], name: str) -> str:
    wall_s, cpu_s = spread(times[name]).median, spread(cpu[name]).median
    return f"{name} {wall_s:.2f} s, {cpu_s:.2f} s on the processor, {corpus.bytes / wall_s / 1e9:.2f} GB/s"


def _compare(command: Sequence[str], peer: Sequence[str], environment: Environment) -> str:
    """Says that both wrote the same lines. Raises FlowdError where they did not: their times would mean nothing."""
    ours, theirs = (_hash_output(each, environment) for each in (command, peer))
    if ours != theirs:
        raise FlowdError(f"flowd and {peer[0]} keep different lines: {ours} and {theirs}")
    return f"both keep the same lines, byte for byte (sha256 {ours[:16]}…)"


def _compare_counts(command: Sequence[str], peer: Sequence[str], environment: Environment) -> str:
    """Says that both kept as many lines; a peer that writes JSON anew cannot be compared by bytes."""
    ours, theirs = (
        subprocess.run(each, env=environment, stdout=subprocess.PIPE, check=True).stdout.count(b"\n")
        for each in (command, peer)
    )
    if ours != theirs:
        raise FlowdError(f"flowd keeps {ours} lines, {peer[0]} {theirs}")
    return f"both keep {ours:,} of them"


def _hash_output(command: Sequence[str], environment: Environment) -> str:
    digest = hashlib.sha256()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(READ_BYTES):
            digest.update(chunk)
    if process.returncode:
        raise FlowdError(f"{' '.join(command)} ended with exit code {process.returncode}")
    return digest.hexdigest()


def _copy_lines(source: Path, target: Path, lines: int) -> int:
    """Copies the first lines; returns how many there were."""
    copied = 0
    with source.open("rb") as read, target.open("wb") as written:
        for line in islice(read, lines):
            written.write(line)
            copied += 1
    return copied
