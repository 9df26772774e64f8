"""`flowd compare` against `flowd filter`: what a second filter set, and telling what differs, cost.

Both from the command line to their end, start-up included, on a file of JSON lines in the page cache, output to
/dev/null, with as many threads as they choose. `flowd compare` runs two filter sets over the lines, `flowd filter` the
newer of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from daemon_process import child_environment
from measure import WARM_UP_ROUNDS, Row, Target, rates, run_in_turns, run_process, speed_ratios, spread
from settings import NAMESPACE_FILTER, Settings

from flowd.errors import FlowdError

MILLION = 1e6
NEW_FILTER = NAMESPACE_FILTER.replace("pattern dev", "pattern /^dev$/")
"""What the documented filter is as a rule replaced by: names that only begin with dev are kept."""


def run(settings: Settings) -> list[Row]:
    """One row: lines a second of `flowd compare`, and of `flowd filter` beside it."""
    corpus = settings.corpus("json", settings.scale.json_lines)
    environment = child_environment()
    flowd = (sys.executable, "-m", "flowd")
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        old, new = Path(directory) / "old.conf", Path(directory) / "new.conf"
        old.write_text(NAMESPACE_FILTER)
        new.write_text(NEW_FILTER)
        compare = (*flowd, "compare", "--quiet", str(old), str(new), str(corpus.path))
        commands = {"compare": compare, "filter": (*flowd, "filter", "--quiet", "-f", str(new), str(corpus.path))}
        settings.say("compare: looking at what differs")
        told = subprocess.run((*compare, "-o", "json"), env=environment, stdout=subprocess.PIPE, check=True).stdout
        differs = sum(change["lines"] for change in json.loads(told)["changes"])
        settings.say(f"compare: {corpus.lines:,} lines of JSON")
        cpu: dict[str, list[float]] = {name: [] for name in commands}

        def contestant(name: str) -> Callable[[], float]:
            return lambda: _run_once(commands[name], environment, cpu[name])

        times = run_in_turns({name: contestant(name) for name in commands}, settings.scale.rounds)
    costs = [
        f"{name} {spread(times[name]).median:.2f} s, {spread(cpu[name][WARM_UP_ROUNDS:]).median:.2f} s on the processor"
        for name in commands
    ]
    return [
        Row(
            part="compare",
            what=f"flowd compare, {corpus.lines:,} lines of JSON",
            unit="M lines/s",
            figure=rates(corpus.lines / MILLION, times["compare"]),
            peer="flowd filter, one of both sets",
            peer_figure=rates(corpus.lines / MILLION, times["filter"]),
            ratio=speed_ratios(times["compare"], times["filter"]),
            target=Target(ratio=0.7),
            is_own_peer=True,
            note=f"{differs:,} lines are decided otherwise; {'; '.join(costs)}",
        )
    ]


def _run_once(command: Sequence[str], environment: dict[str, str], cpu: list[float]) -> float:
    """Runs a command to its end; returns the wall's seconds, and notes those on the processor."""
    ended = run_process(command, environment)
    if ended.code:
        raise FlowdError(f"{' '.join(command)} ended with exit code {ended.code}")
    cpu.append(ended.cpu_s)
    return ended.wall_s
