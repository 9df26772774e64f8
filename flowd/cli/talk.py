"""What flowd says on standard error: warnings, errors with their hints, summaries. Coloured on a terminal only."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO

from flowd.errors import ConfigError, FilterError, FlowdError, Problem
from flowd.readable import make_readable

_CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody looks at it. Python has no stream at all where the descriptor was closed before the start."""
    return stream is not None and stream.isatty()


def has_colour(stream: TextIO | None) -> bool:
    """Whether colours are welcome: a terminal that knows them, and no NO_COLOR."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and is_terminal(stream)


def paint(text: str, colour: str, *, stream: TextIO | None = None) -> str:
    """The text in a colour where the stream (standard error unless given) welcomes it."""
    if not has_colour(sys.stderr if stream is None else stream):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def spell_names() -> None:
    """Has standard error spell the bytes of files' names that are no UTF-8, whoever writes there: the log does, too."""

    def spell(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        return make_readable(error.object[error.start : error.end]), error.end

    codecs.register_error("flowd.spell", spell)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="flowd.spell")


def say(text: str) -> None:
    """One line of talk. A standard error that nobody reads is no reason to stop."""
    if sys.stderr is None:
        return
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{make_readable(text)}\n")
        sys.stderr.flush()


def say_error(message: str, hint: str = "") -> None:
    """`flowd: message`, and the hint below it."""
    say(f"{paint('flowd:', 'red')} {message}")
    _say_hint(hint)


def say_warning(problem: Problem) -> None:
    """A doubtful thing with its place."""
    say(f"flowd: {paint('warning:', 'yellow')} {problem}")
    _say_hint(problem.hint)


def say_warnings(problems: Iterable[Problem]) -> None:
    """Each of them."""
    for problem in problems:
        say_warning(problem)


def say_failure(error: FlowdError) -> None:
    """An error as people want to read it: every problem with its place, or the message, with the hints."""
    if isinstance(error, (FilterError, ConfigError)):
        for problem in error.problems:
            say_error(_show(problem), problem.hint)
        return
    say_error(error.message, error.hint)


def _show(problem: Problem) -> str:
    """A problem with its place; flags and variables of the environment have no lines."""
    if problem.file.startswith(("--", "environment ")):
        return f"{problem.file}: {problem.message}"
    return str(problem)


def _say_hint(hint: str) -> None:
    if hint:
        say(f"{paint('hint:', 'cyan')} {hint}")
