"""How long a command needs before it does anything: flowd's version, an empty file, its import, beside bare Python.

Whole processes from their start to their end, in turns on one core, files in the page cache. Everything is given in
milliseconds; what Python itself needs is in all of them, and is the peer.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from daemon_process import child_environment
from measure import Row, Target, one_core, run_in_turns, run_process, speed_ratios, spread
from settings import NAMESPACE_FILTER, Settings

from flowd.errors import FlowdError

ROUNDS_EACH = 4
"""So short a thing is done more often than a round of other parts."""
TARGET = Target(figure=60.0, is_upper=True)
BARE = "python -c pass"


def run(settings: Settings) -> list[Row]:
    """A row for each command."""
    settings.say("startup")
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        filters, empty = Path(directory) / "namespace.conf", Path(directory) / "empty.log"
        filters.write_text(NAMESPACE_FILTER)
        empty.touch()
        commands: dict[str, tuple[str, ...]] = {
            "flowd --version": ("-m", "flowd", "--version"),
            "flowd filter, an empty file": ("-m", "flowd", "filter", "--quiet", "-f", str(filters), str(empty)),
            "python -c 'import flowd'": ("-c", "import flowd"),
            BARE: ("-c", "pass"),
        }
        cpu: dict[str, list[float]] = {name: [] for name in commands}
        with one_core():
            times = run_in_turns(
                {name: _contestant((sys.executable, *command), cpu[name]) for name, command in commands.items()},
                settings.scale.rounds * ROUNDS_EACH,
            )
    return [
        Row(
            part="startup",
            what=name,
            unit="ms",
            figure=spread([run_s * 1000 for run_s in times[name]]),
            peer=BARE,
            peer_figure=spread([run_s * 1000 for run_s in times[BARE]]),
            ratio=speed_ratios(times[name], times[BARE]),
            target=None if name.startswith("python") else TARGET,
            note=f"{spread(cpu[name]).median * 1000:.1f} ms on the processor",
        )
        for name in commands
        if name != BARE
    ]


def _contestant(command: Sequence[str], cpu: list[float]) -> Callable[[], float]:
    environment = child_environment()

    def once() -> float:
        ended = run_process(command, environment)
        if ended.code:
            raise FlowdError(f"{' '.join(command)} ended with exit code {ended.code}")
        cpu.append(ended.cpu_s)
        return ended.wall_s

    return once
