"""Asks a daemon's tap again and again, through its restarts, and writes what it tells."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Any, NamedTuple

from flowd.cli.output import write_bytes, write_text
from flowd.cli.table import render_row, show_bytes, show_number, show_plain
from flowd.cli.talk import say
from flowd.errors import Refused, Unreachable

ANSWER_S = 2.0
"""How long a daemon that has answered before may take; then it is waited for."""
SAID_S = 10.0
"""So often it is said how many lines were not shown."""
NEW_DAEMON_S = 30.0
"""One that was restarted may not know the stream or the view yet: a refusal is taken for final after so long only."""
WIDTHS = (12, 9, 24, 24, 0)
HEADERS = ("TIME", "VERDICT", "RULE", "PLACE", "LINE")
IS_RIGHT = (False,) * len(HEADERS)


class Wanted(NamedTuple):
    """Which lines are to be seen; `which` is `dropped` or `kept`."""

    view: str
    which: str
    rule: str | None
    rate: int

    def arguments(self) -> dict[str, Any]:
        """As the operation `tap` takes them."""
        given = {"stream": self.view, "which": self.which, "rate": self.rate}
        return given if self.rule is None else {**given, "rule": self.rule}

    def __str__(self) -> str:
        verb = "drops" if self.which == "dropped" else "keeps"
        return f"{self.view} {verb}" + (f" by {self.rule}" if self.rule else "")


class Shown:
    """How many lines were shown, of how many: exact, unless the daemon could not look at all that went by."""

    def __init__(self) -> None:
        self._shown = 0
        self._cut = 0
        self._matching = 0.0
        self._is_estimate = False
        self._said: tuple[int, int] = (0, 0)

    def add(self, answer: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        """An answer, and those of its lines that are shown."""
        passed, looked = answer["passed_lines"], answer["looked_lines"]
        self._is_estimate |= passed > looked
        self._matching += answer["matching_lines"] * (passed / looked if looked else 1)
        self._shown += len(lines)
        self._cut += sum(map(is_cut, lines))

    def describe_news(self) -> str:
        """What there is to say since the last time; empty where nothing, or everything, was shown."""
        matching = max(self._shown, round(self._matching))
        if (self._shown, matching) == self._said or (matching == self._shown and not self._cut):
            return ""
        self._said = self._shown, matching
        about = "some " if self._is_estimate else ""
        text = f"{show_number(self._shown, 'line')} shown of {about}{matching:,}"
        return text + (f"; {self._cut:,} of them cut, -o json has their sizes" if self._cut else "")


class Tapping:
    """`begin`, then `go_on` until `is_full`, and `say_left_out` at the end."""

    def __init__(self, endpoint: str, wanted: Wanted, output: str, limit: int | None, *, is_quiet: bool) -> None:
        self._endpoint = endpoint
        self._wanted = wanted
        self._output = output
        self._left = limit
        self._is_quiet = is_quiet
        self._tap: int | None = None
        self._pause_s = 0.0
        self._shown = Shown()
        self._said_s = time.monotonic()
        self._is_lost = False
        self._refused_s: float | None = None
        self._is_headed = False

    @property
    def is_full(self) -> bool:
        """Whether as many lines were written as were wanted."""
        return self._left is not None and self._left <= 0

    def begin(self, timeout_s: float) -> None:
        """Opens the tap. Raises Unreachable where no daemon answers in that time, and Refused where it says no."""
        self._take(self._ask(timeout_s))
        self._say(f"flowd: tapping what {self._wanted}")

    def go_on(self) -> None:
        """Writes what went by since the last time; where no daemon answers, waits for one. Raises Refused where the
        daemon has said no for a while."""
        time.sleep(self._pause_s)
        try:
            answer = self._ask(ANSWER_S)
        except Unreachable:
            if not self._is_lost:
                self._say("flowd: no daemon answers; waiting for one")
            self._is_lost = True
            return
        except Refused as error:
            self._bear(error)
            return
        if self._is_lost:
            self._say("flowd: a daemon answers again")
        self._is_lost = False
        self._refused_s = None
        self._take(answer)
        if time.monotonic() - self._said_s >= SAID_S:
            self.say_left_out()

    def say_left_out(self) -> None:
        """Says how many lines were not shown, where there is anything new to say."""
        self._said_s = time.monotonic()
        news = self._shown.describe_news()
        if news:
            self._say(f"flowd: {news}")

    def _bear(self, error: Refused) -> None:
        if self._refused_s is None:
            self._say(f"flowd: {error.message}; asking again for {NEW_DAEMON_S:g} s")
            self._refused_s = time.monotonic()
        elif time.monotonic() - self._refused_s > NEW_DAEMON_S:
            raise error

    def _ask(self, timeout_s: float) -> dict[str, Any]:
        from flowd.client import request

        tap = {} if self._tap is None else {"tap": self._tap}
        return request(self._endpoint, "tap", timeout_s, **self._wanted.arguments(), **tap)

    def _take(self, answer: dict[str, Any]) -> None:
        self._tap = answer["tap"]
        self._pause_s = answer["pause_ms"] / 1000
        lines = answer["lines"] if self._left is None else answer["lines"][: self._left]
        self._shown.add(answer, lines)
        if self._left is not None:
            self._left -= len(lines)
        self._write(lines)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._output == "raw":
            write_bytes(b"".join(line["text"] + b"\n" for line in lines))
        elif self._output == "json":
            write_text("".join(json.dumps(_describe(line)) + "\n" for line in lines))
        else:
            if lines and not self._is_headed:
                write_text(render_row(HEADERS, WIDTHS, IS_RIGHT))
                self._is_headed = True
            write_text("".join(map(render_line, lines)))

    def _say(self, text: str) -> None:
        if not self._is_quiet:
            say(text)


def is_cut(line: dict[str, Any]) -> bool:
    """Whether the line is longer than what is told of it."""
    return len(line["text"]) + 1 < int(line["size_bytes"])


def render_line(line: dict[str, Any]) -> str:
    """One row of the table: nothing in it can steer a terminal."""
    clock = datetime.fromtimestamp(line["time_ns"] // 1_000_000_000).strftime("%H:%M:%S")
    place = f"{line['file']}:{line['line']}" if line["line"] else "-"
    text = line["text"].decode("utf-8", "replace") + (f"… ({show_bytes(line['size_bytes'])})" if is_cut(line) else "")
    cells = (f"{clock}.{line['time_ns'] // 1_000_000 % 1000:03}", line["verdict"], line["rule"], place, text)
    return render_row([show_plain(cell) for cell in cells], WIDTHS, IS_RIGHT)


def _describe(line: dict[str, Any]) -> dict[str, Any]:
    """A line as an object: its text with what is no UTF-8 replaced."""
    return {**line, "text": line["text"].decode("utf-8", "replace")}
