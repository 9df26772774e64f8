"""A measured figure: rounds, their median and spread, and how it is shown with the machine it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

from flowd._version import __version__
from flowd.cli.table import render_table

ROUNDS_MIN = 3


@dataclass(slots=True)
class Figure:
    """One thing that was measured, in rounds of `bytes` and `lines` each that took `seconds`.

    `base` is the name of the figure that it is compared with, measured in the same run.
    """

    name: str
    lines: int
    bytes: int
    base: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def bytes_a_second(self) -> float:
        """The median round's."""
        return self.bytes / median(self.seconds)

    @property
    def lines_a_second(self) -> float:
        """The median round's."""
        return self.lines / median(self.seconds)

    @property
    def spread(self) -> float:
        """How far the fastest and the slowest round are apart, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / median(self.seconds)

    def describe(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "bytes_per_second": round(self.bytes_a_second),
            "lines_per_second": round(self.lines_a_second),
            "spread": round(self.spread, 4),
            "rounds": len(self.seconds),
            "compared_with": self.base,
        }


def run_rounds(figures: Sequence[tuple[Figure, Callable[[], float]]], seconds: float) -> None:
    """Measures figures in turns, so that what disturbs the machine disturbs them alike, for `seconds` each.

    Each callable does one round and returns how long it took. The first round of each warms caches and is not counted.
    """
    for _, measure in figures:
        measure()
    end_s = perf_counter() + seconds * len(figures)
    while perf_counter() < end_s or len(figures[0][0].seconds) < ROUNDS_MIN:
        for figure, measure in figures:
            figure.seconds.append(measure())


def render_figures(figures: Sequence[Figure]) -> str:
    """The figures as a table; what is compared shows its ratio."""
    by_name = {figure.name: figure for figure in figures}
    rows = []
    for figure in figures:
        base = by_name.get(figure.base)
        ratio = f"{figure.bytes_a_second / base.bytes_a_second:.2f} of {base.name}" if base else "-"
        rows.append(
            (
                figure.name,
                f"{figure.bytes_a_second / 1e9:.2f}",
                f"{figure.lines_a_second / 1e6:.2f}",
                f"{figure.spread:.0%}",
                str(len(figure.seconds)),
                ratio,
            )
        )
    headers = ("FIGURE", "GB/S", "M LINES/S", "SPREAD", "ROUNDS", "RATIO")
    return render_table(headers, rows, ("GB/S", "M LINES/S", "SPREAD", "ROUNDS"))


def describe_machine() -> str:
    """Processor, how many of it, SIMD level, system, Python and flowd in one line."""
    from flowd import _core

    level, _ = _core.simd()
    cpus = len(os.sched_getaffinity(0))
    return (
        f"{_processor_name()} · {cpus} CPUs · {level} · {platform.system()} {platform.release()} · "
        f"Python {platform.python_version()} · flowd {__version__}"
    )


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
