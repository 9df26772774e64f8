"""Single key presses from a terminal, without echo; as it was, afterwards."""

from __future__ import annotations

import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any

from flowd.cli.talk import is_terminal

_NAMES = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[5~": "page up",
    b"\x1b[6~": "page down", b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
}  # fmt: skip


class Keyboard:
    """Standard input as keys, in a with block; `fd` is None where it is no terminal, and nothing is ever pressed."""

    def __init__(self) -> None:
        self.fd = sys.stdin.fileno() if is_terminal(sys.stdin) else None
        self._before: list[Any] = []

    def __enter__(self) -> Keyboard:
        if self.fd is not None:
            self._before = termios.tcgetattr(self.fd)
            tty.setcbreak(self.fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.fd is not None:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)

    def read(self) -> list[str]:
        """What was pressed; `q` where the terminal has gone."""
        if self.fd is None:
            return []
        return split_keys(os.read(self.fd, 256)) or ["q"]


def split_keys(typed: bytes) -> list[str]:
    """The keys by their names, letters as they are; sequences that are not known are no keys."""
    keys = []
    while typed:
        for sequence, name in _NAMES.items():
            if typed.startswith(sequence):
                keys.append(name)
                typed = typed[len(sequence) :]
                break
        else:
            if typed[:1] == b"\x1b":
                keys.append("")
                break
            keys.append(chr(typed[0]))
            typed = typed[1:]
    return keys
