"""A real terminal for whatever wants one: a pty, and what would be seen on it (pyte reads it as a terminal does)."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pyte
from cli_bed import DEADLINE_S, FLOWD, environment, wait_until


class Terminal:
    """`flowd ARGUMENTS` on a terminal of this size; killed at the end of the block where it still runs."""

    def __init__(
        self,
        *arguments: str | Path,
        columns: int = 80,
        lines: int = 24,
        extra: Mapping[str, str] | None = None,
        has_colour: bool = True,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.written = b""
        self.ours, theirs = pty.openpty()
        self._set_size(lines, columns)
        env = environment({"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(extra or {})})
        if has_colour:
            del env["NO_COLOR"]
        self.before = termios.tcgetattr(theirs)
        self.child = subprocess.Popen(
            [*FLOWD, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._theirs = theirs
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def display(self) -> list[str]:
        """What is on the screen, line by line."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.display)

    def is_coloured(self) -> bool:
        """Whether anything on the screen has a colour."""
        with self._lock:
            return any(cell.fg != "default" for row in self._screen.buffer.values() for cell in row.values())

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        with self._lock:
            self._screen.resize(lines, columns)
        self._set_size(lines, columns)
        os.killpg(self.child.pid, signal.SIGWINCH)

    def wait_for(self, words: str) -> str:
        """The screen as soon as it has these words."""
        try:
            wait_until(lambda: words in self.text, f"{words!r} on the screen")
        except AssertionError:
            raise AssertionError(f"{words!r} is not on the screen:\n{self.text}") from None
        return self.text

    def end(self) -> int:
        """Waits for the end; returns the exit code."""
        return self.child.wait(DEADLINE_S)

    def is_as_before(self) -> bool:
        """Whether the terminal's settings are those from before the start."""
        return termios.tcgetattr(self._theirs) == self.before

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(DEADLINE_S)
        os.close(self._theirs)  # the last one: now the reader meets the end
        self._reader.join(DEADLINE_S)
        os.close(self.ours)

    def _set_size(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self.ours, 65536)
            except OSError:  # nobody has it open any more
                return
            if not read:
                return
            with self._lock:
                self.written += read
                self._stream.feed(read)
