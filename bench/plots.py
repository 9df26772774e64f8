"""The report's pictures: ratios to peers and what the daemon carries as bars, figures against a number as lines.

`draw_plots(rows)` gives SVG texts by file name. What there are no rows of is not drawn. Nothing here measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from measure import Row, Spread
from svg import FAINT, GRID, INK, Picture

WIDTH = 960.0
FASTER, SLOWER, TARGET_COLOUR, PEER_COLOUR = "#2f6fb3", "#c2703d", "#1b7f4d", "#a3acb9"
SERIES_COLOURS = ("#2f6fb3", "#c2703d", "#1b7f4d", "#8a4fa3", "#b3303f", "#5b6770", "#a68a1b", "#1f8a94")
LABELS, BAR, ROW, HEAD, FOOT = 470.0, 12.0, 34.0, 64.0, 30.0
PLOT_HEIGHT, LEGEND = 380.0, 250.0
LABEL_LETTERS, PEER_LETTERS = 66, 86
LEGEND_LETTERS = 34
PART = 24.0
LEAST_LOG_RANGE = 20
"""Times that differ by less are told apart on a linear axis, which begins at 0."""
DAEMON_PARTS = ("relay", "forward", "durable", "forward-sink", "jetstream")
TO_MB = {"MB/s": 1.0, "GB/s": 1000.0}

Series = Mapping[str, Sequence[tuple[float, Spread]]]


def draw_plots(rows: Sequence[Row]) -> dict[str, str]:
    """The pictures of these rows."""
    plots = {}
    against = [row for row in rows if row.ratio and not row.is_own_peer]
    if against:
        plots["ratios.svg"] = draw_ratios("flowd against its peers: how many times as fast", against)
    carried = [row for row in rows if row.part in DAEMON_PARTS and row.unit in TO_MB]
    if carried:
        plots["carried.svg"] = draw_carried("what goes through the daemon, by its ways in and out", carried)
    for part in dict.fromkeys(row.part for row in rows if row.point):
        chosen = [row for row in rows if row.part == part and row.point]
        series: dict[str, list[tuple[float, Spread]]] = {}
        for row in chosen:
            assert row.point is not None
            series.setdefault(row.point[0], []).append((row.point[1], row.figure))
        unit, axis = chosen[0].unit, chosen[0].axis
        title = f"{part}: {unit} against {axis}"
        values = [row.figure.median for row in chosen]
        is_log = chosen[0].less_is_better and max(values) >= LEAST_LOG_RANGE * min(values)
        plots[f"{part}.svg"] = draw_lines(title, unit, series, axis=axis, is_log=is_log)
    return plots


def draw_ratios(title: str, rows: Sequence[Row]) -> str:
    """Bars from 1 on a logarithmic scale, to the right where flowd is the faster one; whiskers are least and most."""
    tops, height = _place_rows(rows)
    picture = Picture(WIDTH, height, title)
    picture.text(16, 26, title, size=16, bold=True)
    picture.text(16, 44, "bars: median ratio; whiskers: least and most; green: the target", size=11, colour=FAINT)
    found = [value for row in rows if row.ratio for value in (row.ratio.least, row.ratio.most)]
    found += [row.target.ratio for row in rows if row.target and row.target.ratio]
    axis = _LogAxis(min(0.5, *found), max(2.0, *found), LABELS, WIDTH - 70)
    for tick in axis.ticks():
        x = axis.place(tick)
        picture.line(x, HEAD - 4, x, height - FOOT + 4, INK if tick == 1 else GRID)
        picture.text(x, height - FOOT + 18, f"{tick:g} ×", size=11, colour=FAINT, anchor="middle")
    _name_rows(picture, rows, tops)
    for row, top in zip(rows, tops, strict=True):
        assert row.ratio is not None
        one, middle, y = axis.place(1.0), axis.place(row.ratio.median), top + 14
        colour = FASTER if row.ratio.median >= 1 else SLOWER
        picture.rectangle(min(one, middle), y - BAR / 2, abs(middle - one), BAR, colour)
        least, most = axis.place(row.ratio.least), axis.place(row.ratio.most)
        picture.line(least, y, most, y)
        for end in (least, most):
            picture.line(end, y - 4, end, y + 4)
        furthest = max(most, middle, one)
        if row.target and row.target.ratio:
            x = axis.place(row.target.ratio)
            picture.dashes(x, y - BAR, x, y + BAR, TARGET_COLOUR)
            furthest = max(furthest, x)
        picture.text(furthest + 8, y + 4, f"{row.ratio.median:.3g} ×", size=11)
    return picture.render()


def draw_carried(title: str, rows: Sequence[Row]) -> str:
    """Bars of MB/s from 0, a bar below each for its peer; whiskers are least and most."""
    tops, height = _place_rows(rows)
    picture = Picture(WIDTH, height, title)
    picture.text(16, 26, title, size=16, bold=True)
    words = "MB/s; blue: flowd, median with least and most; grey: its peer; green: the target"
    picture.text(16, 44, words, size=11, colour=FAINT)
    shown = [(row, figure) for row in rows for figure in (row.figure, row.peer_figure) if figure]
    axis = _Axis(max(figure.most * TO_MB[row.unit] for row, figure in shown), LABELS, WIDTH - 70)
    for tick in axis.ticks():
        x = axis.place(tick)
        picture.line(x, HEAD - 4, x, height - FOOT + 4, GRID)
        picture.text(x, height - FOOT + 18, f"{tick:,g}", size=11, colour=FAINT, anchor="middle")
    _name_rows(picture, rows, tops)
    for row, top in zip(rows, tops, strict=True):
        least, median, most = (
            axis.place(value * TO_MB[row.unit]) for value in (row.figure.least, row.figure.median, row.figure.most)
        )
        y = top + 10
        picture.rectangle(LABELS, y - BAR / 2, median - LABELS, BAR, FASTER)
        picture.line(least, y, most, y)
        if row.peer_figure and not row.is_own_peer:
            end = axis.place(row.peer_figure.median * TO_MB[row.unit])
            picture.rectangle(LABELS, y + BAR / 2 + 1, end - LABELS, BAR / 2, PEER_COLOUR)
        if row.target and row.target.figure:
            x = axis.place(row.target.figure * TO_MB[row.unit])
            picture.dashes(x, y - BAR, x, y + BAR, TARGET_COLOUR)
        picture.text(most + 8, y + 4, f"{row.figure.median * TO_MB[row.unit]:,.0f}", size=11)
    return picture.render()


def _place_rows(rows: Sequence[Row]) -> tuple[list[float], float]:
    """How far down each row stands, with room for its part's name before the first of a part; the picture's height."""
    tops, y, part = [], HEAD, ""
    for row in rows:
        y += PART if row.part != part else 0.0
        part = row.part
        tops.append(y)
        y += ROW
    return tops, y + FOOT


def _name_rows(picture: Picture, rows: Sequence[Row], tops: Sequence[float]) -> None:
    """What the rows are about, their peers, and the parts' names above the first of each."""
    part = ""
    for row, top in zip(rows, tops, strict=True):
        if row.part != part:
            picture.text(16, top - 6, row.part, size=12, bold=True)
        part = row.part
        picture.text(16, top + 14, _shorten(row.what, LABEL_LETTERS), size=12)
        if row.peer:
            picture.text(16, top + 27, _shorten(f"beside {row.peer}", PEER_LETTERS), size=10, colour=FAINT)


def draw_lines(title: str, unit: str, series: Series, *, axis: str = "rules", is_log: bool = False) -> str:
    """Lines through medians against a number on a logarithmic scale; whiskers are least and most."""
    picture = Picture(WIDTH, PLOT_HEIGHT, title)
    picture.text(16, 26, title, size=16, bold=True)
    left, right, top, bottom = 70.0, WIDTH - LEGEND, 58.0, PLOT_HEIGHT - 46
    points = [point for line in series.values() for point in line]
    across = _LogAxis(min(x for x, _ in points), max(x for x, _ in points), left, right)
    values = [value for _, spread in points for value in (spread.least, spread.most)]
    up = _LogAxis(min(values), max(values), bottom, top) if is_log else _Axis(max(values), bottom, top)
    for tick in up.ticks():
        y = up.place(tick)
        picture.line(left, y, right, y, GRID)
        picture.text(left - 8, y + 4, f"{tick:,g}", size=11, colour=FAINT, anchor="end")
    picture.text(left - 8, top - 12, unit, size=11, colour=FAINT, anchor="end")
    for tick in across.ticks():
        x = across.place(tick)
        picture.line(x, bottom, x, bottom + 5, FAINT)
        picture.text(x, bottom + 19, f"{tick:,g}", size=11, colour=FAINT, anchor="middle")
    picture.text((left + right) / 2, bottom + 38, axis, size=11, colour=FAINT, anchor="middle")
    for number, (name, line) in enumerate(series.items()):
        colour = SERIES_COLOURS[number % len(SERIES_COLOURS)]
        placed = [(across.place(x), up.place(spread.median)) for x, spread in sorted(line, key=lambda each: each[0])]
        picture.path(placed, colour)
        for x, spread in line:
            at = across.place(x)
            picture.line(at, up.place(spread.least), at, up.place(spread.most), colour)
            picture.dot(at, up.place(spread.median), colour)
        y = top + 8 + number * 20
        picture.line(right + 24, y - 4, right + 44, y - 4, colour, 3)
        picture.text(right + 52, y, _shorten(name, LEGEND_LETTERS), size=12)
    return picture.render()


class _Axis:
    """A linear axis from 0."""

    def __init__(self, most: float, start: float, end: float) -> None:
        step = 10 ** math.floor(math.log10(most))
        self._step = next(each for each in (step / 5, step / 2, step, 2 * step) if most / each <= 8)
        self._most = math.ceil(most / self._step) * self._step
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        return self._start + (self._end - self._start) * value / self._most

    def ticks(self) -> list[float]:
        return [round(number * self._step, 9) for number in range(round(self._most / self._step) + 1)]


class _LogAxis:
    """A logarithmic axis from one value to another; its ticks: powers of ten, on a short one also 2 and 5 of them."""

    def __init__(self, least: float, most: float, start: float, end: float) -> None:
        self._least, self._most = math.log10(least), math.log10(max(most, least * 1.01))
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        return self._start + (self._end - self._start) * (math.log10(value) - self._least) / (self._most - self._least)

    def ticks(self) -> list[float]:
        steps = (1, 2, 5) if self._most - self._least < 2.5 else (1,)
        powers = range(math.floor(self._least), math.ceil(self._most) + 1)
        found = (round(step * 10.0**power, 9) for power in powers for step in steps)
        return [tick for tick in found if self._least - 1e-9 <= math.log10(tick) <= self._most + 1e-9]


def _shorten(words: str, letters: int) -> str:
    return words if len(words) <= letters else words[: letters - 1] + "…"
