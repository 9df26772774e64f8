"""Draws `flowd top` on a terminal by rich: as many rows and columns as fit, what matters most first."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from flowd.cli.output import STDOUT
from flowd.cli.table import GAP, shorten
from flowd.cli.watching.keys import Keyboard
from flowd.cli.watching.look import Watch, look
from flowd.cli.watching.model import HELP, KEYS_HELP, Key, Model
from flowd.cli.watching.tables import Table, describe_head, describe_tables

ANSWER_S = 2.0
"""How long a daemon that has answered before may take; then it is said that it is waited for."""
CELL_MAX = 40
"""A cell's width: of longer names and places the beginning is shown."""
LEAST_ROWS = 3
"""Rows that every table gets before any gets more."""
NAME_LEAST = 8
"""So far the widest column of names is cut where nothing else is left to save room."""
TREND_TABLES = ("streams", "rules")
TREND_LEAST = 8
TREND_MOST = 60
BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.-=+*%#"
STATE_STYLES = {"ok": "bold green", "degraded": "bold yellow", "draining": "bold yellow", "ended": "bold red"}


def show_live(endpoint: str, interval_s: float, timeout_s: float, sort: str) -> None:
    """Shows the daemon until q is pressed. Raises Unreachable where none answers at first, and KeyboardInterrupt."""
    model = Model(sort)
    model.hear(look(endpoint, timeout_s), time.time_ns())
    watch = Watch(endpoint, interval_s, min(timeout_s, ANSWER_S))
    console = Console(highlight=False)
    with (
        _told_of_signals(watch.ring),
        Keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
    ):
        watch.start()
        heard = [watch.fd] if keyboard.fd is None else [watch.fd, keyboard.fd]
        is_over = False
        while not is_over:
            console.size = ConsoleDimensions(*os.get_terminal_size(STDOUT))  # what COLUMNS says stays as it was
            live.update(draw(model, console.width, console.height, is_plain=not _has_bars(console)), refresh=True)
            ready, _, _ = select.select(heard, (), ())
            if keyboard.fd in ready:
                is_over = not all(model.press(key) for key in keyboard.read())
            for found in watch.take():
                model.hear(found, time.time_ns())
    watch.end()


def draw(model: Model, width: int, height: int, *, is_plain: bool = False) -> Group:
    """The screen as it stands, `height` lines at most. `is_plain`: the terminal has no block characters."""
    room = height - 1
    lines = _draw_head(model)
    if model.is_helping:
        lines += [Text(""), *map(Text, HELP)]
    elif model.rates is None:
        lines += [Text(""), Text("looking …")]
    else:
        tables = [table for table in describe_tables(model.rates, model.sort, time.time_ns()) if table.rows]
        wanted = [len(table.rows) for table in tables]
        for table, rows in zip(tables, share_rows(wanted, room - len(lines)), strict=True):
            if rows:
                lines += _draw_table(table, rows, model, width, PLAIN_BARS if is_plain else BARS)
    lines = lines[:room] + [Text("")] * max(0, room - len(lines))
    keys = Text(KEYS_HELP, style="dim")
    if model.is_paused:
        keys = Text.assemble(("paused", "reverse"), "  ", keys)
    lines.append(keys)
    for line in lines:
        line.no_wrap, line.overflow = True, "crop"
    return Group(*lines)


def _draw_head(model: Model) -> list[Text]:
    lines = []
    if model.lost:
        lines.append(Text(f"waiting for the daemon: {model.lost}", style="bold red"))
    if model.rates is None:
        return lines
    first, *others = describe_head(model.rates)
    state = model.rates["daemon"]["state"]
    before, _, behind = first.partition(f" is {state}: ")
    lines.append(Text.assemble(before, " is ", (state, STATE_STYLES.get(state, "bold")), ": ", behind))
    if model.restarts:
        lines[-1].append(f", restarted {model.restarts} times" if model.restarts > 1 else ", restarted once")
    for line in others:
        is_bad = line.startswith(("degraded:", "last reload "))
        lines.append(Text(line, style="yellow" if is_bad else ""))
    return lines


def share_rows(wanted: Sequence[int], room: int) -> list[int]:
    """How many rows each table gets of so many lines, beside the two that stand above it: all have a few first, then
    one more at a time, and those that stand first are never short for others' sake. 0: it is not shown."""
    shares = [0] * len(wanted)
    for at, rows in enumerate(wanted):
        share = min(rows, LEAST_ROWS, room - 2)
        if share > 0:
            shares[at] = share
            room -= share + 2
    while room > 0:
        short = [at for at, share in enumerate(shares) if 0 < share < wanted[at]]
        if not short:
            break
        for at in short[:room]:
            shares[at] += 1
            room -= 1
    return shares


def _draw_table(table: Table, rows: int, model: Model, width: int, bars: str) -> list[Text]:
    """A caption, the headers, and so many rows, with how they went where there is room for it."""
    first = 0
    caption = table.name
    if table.name == "rules":
        first = min(model.first_rule, len(table.rows) - 1)
        caption += f" by {model.sort}"
    shown, keys = table.rows[first : first + rows], table.keys[first : first + rows]
    if len(shown) < len(table.rows):
        caption += f", {first + 1} to {first + len(shown)} of {len(table.rows)}"
    if table.name == "rules" and model.rates is not None and model.rates["rules_left_off"]:
        caption += f"; {model.rates['rules_left_off']:,} that decided less are left off"
    trend = TREND_LEAST + len(GAP) if table.name in TREND_TABLES else 0
    cells, is_right = _choose_columns(table, [table.headers, *shown], width - trend)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [Text(_align(row, widths, is_right)) for row in cells]
    _add_trends(lines, table, keys, model, width - sum(widths) - len(GAP) * len(widths), bars)
    lines[0].stylize("bold")
    if model.lost:
        for line in lines:
            line.stylize("dim")
    return [Text(caption, style="dim"), *lines]


def _choose_columns(table: Table, rows: list[tuple[str, ...]], width: int) -> tuple[list[list[str]], list[bool]]:
    """The rows without the columns that have no room, and which of the others are aligned to the right."""
    headers = list(table.headers)
    columns = [[shorten(cell, CELL_MAX) for cell in column] for column in zip(*rows, strict=True)]
    for name in table.spare:
        if name in headers and _excess(columns, width) > 0:
            at = headers.index(name)
            del headers[at], columns[at]
    is_right = [name in table.right for name in headers]
    excess = _excess(columns, width)
    if excess > 0:
        names = [at for at, right in enumerate(is_right) if not right]
        widest = max(names, key=lambda at: max(map(len, columns[at])))
        most = max(NAME_LEAST, max(map(len, columns[widest])) - excess)
        columns[widest] = [shorten(cell, most) for cell in columns[widest]]
    return [list(row) for row in zip(*columns, strict=True)], is_right


def _excess(columns: list[list[str]], width: int) -> int:
    """By how much the columns are wider than that."""
    return sum(max(map(len, column)) + len(GAP) for column in columns) - len(GAP) - width


def _align(row: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    cells = zip(row, widths, is_right, strict=True)
    return GAP.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)


def _add_trends(lines: list[Text], table: Table, keys: Sequence[Key], model: Model, room: int, bars: str) -> None:
    """How a rate went, behind each row, where there is room; of streams also what was dropped, where there is more."""
    kinds: dict[str, Callable[[Key], Key]] = {}
    if table.name in TREND_TABLES:
        kinds["TREND"] = lambda key: key
    if table.name == "streams" and room >= 2 * TREND_LEAST + len(GAP):
        kinds["DROPPED"] = lambda key: (*key, "", "dropped")
    for at, (name, find) in enumerate(kinds.items()):
        span = min(TREND_MOST, room // len(kinds) - (len(GAP) if at else 0))
        if span < TREND_LEAST:
            return
        lines[0].append(GAP + name.ljust(span))
        for line, key in zip(lines[1:], keys, strict=True):
            line.append(GAP)
            line.append(draw_trend(model.trend(find(key)), span, bars).ljust(span), style="cyan")


def draw_trend(rates: Sequence[float | None], span: int, bars: str = BARS) -> str:
    """The last rates as bars, at most `span` of them; a blank where nothing was known."""
    last = rates[-span:]
    most = max((rate for rate in last if rate is not None), default=0)
    return "".join(
        " " if rate is None else bars[0] if not most else bars[min(len(bars) - 1, int(rate / most * len(bars)))]
        for rate in last
    )


def _has_bars(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


class _Ended(SystemExit):
    """SIGTERM: the terminal is to be left as it was."""


@contextmanager
def _told_of_signals(ring: Callable[[], None]) -> Iterator[None]:
    """A resized terminal rings; SIGTERM ends the block; nobody can stop the process while the screen is its own."""

    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(128 + number)

    before = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: ring()),
        signal.SIGTERM: signal.signal(signal.SIGTERM, end),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
