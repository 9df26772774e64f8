"""A progress bar on standard error: only where that is a terminal, and only once the work has taken a while."""

from __future__ import annotations

import sys
import time

from flowd.cli.table import show_bytes, show_duration
from flowd.cli.talk import is_terminal

PATIENCE_S = 2.0
INTERVAL_S = 0.2
WIDTH = 30


class Progress:
    """Shows how far the work is. `total_bytes` None: how much there is cannot be known. Silent where not `is_shown`."""

    def __init__(self, total_bytes: int | None, *, is_shown: bool) -> None:
        self._total_bytes = total_bytes
        self._is_shown = is_shown and is_terminal(sys.stderr)
        self._began_s = time.monotonic()
        self._next_s = self._began_s + PATIENCE_S
        self._is_drawn = False

    def show(self, done_bytes: int) -> None:
        """Draws when it is time to."""
        if not self._is_shown:
            return
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + INTERVAL_S
            self._is_drawn = True
            sys.stderr.write("\r\x1b[K" + self._render(done_bytes, now_s - self._began_s))
            sys.stderr.flush()

    def clear(self) -> None:
        """Takes the bar away."""
        if self._is_drawn:
            self._is_drawn = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _render(self, done_bytes: int, took_s: float) -> str:
        rate = f"{show_bytes(done_bytes / took_s)}/s"
        if not self._total_bytes:
            return f"{show_bytes(done_bytes)}  {rate}"
        share = min(1.0, done_bytes / self._total_bytes)
        bar = "#" * int(share * WIDTH)
        left_s = took_s / share - took_s if share else 0.0
        return f"[{bar:<{WIDTH}}] {share:4.0%}  {rate}  {show_duration(left_s)} left"
