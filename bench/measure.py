"""The timing harness: contestants run in turns, figures with their spread, ratios of neighbours in time.

    times = run_in_turns({"flowd": filter_all, "memchr": scan_all}, rounds=7)

Turns (A B A B …) after a warm-up, so that whatever slows the machine for a while slows everyone; a ratio is the median
of the rounds' own ratios, each of two runs side by side. Nothing here knows what is measured.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

WARM_UP_ROUNDS = 1


LESS_IS_BETTER = frozenset({"s", "ms", "MiB"})
"""Units of which little is good; of rates, much is."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure: the median of its runs, the least and the most, and what each run gave."""

    median: float
    least: float
    most: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What a row is to reach: a least (or, of memory, a most) figure, a least ratio to its peer, or both."""

    figure: float | None = None
    ratio: float | None = None
    is_upper: bool = False

    def is_reached(self, figure: float, ratio: float | None) -> bool:
        """Whether these reach it."""
        if self.figure is not None and (figure > self.figure if self.is_upper else figure < self.figure):
            return False
        return self.ratio is None or (ratio is not None and ratio >= self.ratio)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report. Without a `target` it informs only; `note` says what a reader must know to judge it.

    `is_own_peer` says that the peer is flowd itself, so that what makes flowd slower makes it slower, too. `point` is
    the row's place in the plot of its part: the line's name, and a number of what `axis` says.
    """

    part: str
    what: str
    unit: str
    figure: Spread
    peer: str = ""
    peer_figure: Spread | None = None
    ratio: Spread | None = None
    target: Target | None = None
    note: str = ""
    is_own_peer: bool = False
    point: tuple[str, int] | None = None
    axis: str = "rules"

    @property
    def less_is_better(self) -> bool:
        """Whether a smaller figure is the better one."""
        return self.unit in LESS_IS_BETTER

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        return self.target.is_reached(self.figure.median, self.ratio.median if self.ratio else None)


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most of some runs, and the runs."""
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def rates(amount: float, seconds: Sequence[float]) -> Spread:
    """How much a second, of runs that each did `amount`."""
    return spread([amount / run_s for run_s in seconds])


def ratios(of: Sequence[float], to: Sequence[float]) -> Spread:
    """The paired ratios of two contestants' rates, or of whatever else each round gave."""
    return spread([one / other for one, other in zip(of, to, strict=True)])


def speed_ratios(seconds: Sequence[float], peer_seconds: Sequence[float]) -> Spread:
    """How many times as fast as the peer: the paired ratios of seconds for the same work, the peer's first."""
    return ratios(peer_seconds, seconds)


def run_in_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Runs each contestant once a round, in turns; returns each one's seconds, the warm-up left out.

    A contestant does its work and returns the seconds that it took, so that it can leave its own preparations out.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for done in range(WARM_UP_ROUNDS + rounds):
        for name, run in contestants.items():
            took_s = run()
            if done >= WARM_UP_ROUNDS:
                times[name].append(took_s)
    return times


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A contestant made of plain work: all of it counts."""

    def run() -> float:
        began_s = time.perf_counter()
        work()
        return time.perf_counter() - began_s

    return run


@contextmanager
def one_core() -> Iterator[int]:
    """Keeps this process, and those that it starts, on one core; yields its number."""
    before = os.sched_getaffinity(0)
    core = max(before)  # the first core serves most interrupts
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


class Ended(NamedTuple):
    """A process that has ended: the wall's seconds from start to end, and its own on the processor."""

    wall_s: float
    cpu_s: float
    code: int


def run_process(command: Sequence[str], environment: Mapping[str, str], output: Path = Path(os.devnull)) -> Ended:
    """Runs a command to its end, its standard output into a file."""
    with output.open("wb") as sink:
        began_s = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, env=dict(environment))
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(wall_s, usage.ru_utime + usage.ru_stime, process.returncode)
