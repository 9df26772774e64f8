"""Every error that flowd raises on purpose, and the exit codes they end in.

An error says what is wrong and where; its `hint` says what to do. Nothing here imports anything of flowd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

EXIT_DONE = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 69
EXIT_IO = 74
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130


class FlowdError(Exception):
    """The base of flowd's errors: a message for people, and a `hint` that says what to do about it.

    `exit_code` is what the command line ends with when nothing nearer handles the error.
    """

    exit_code = EXIT_NO

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)  # not by __init__, whose arguments each class chooses


def _restore(kind: type[FlowdError], args: tuple[str, ...], state: dict[str, Any]) -> FlowdError:
    """An error as it was before it was pickled: a pool of processes hands its workers' errors on."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class Problem(NamedTuple):
    """One thing wrong (or doubtful) in a text, with its place: lines and columns count from 1, in characters."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class FilterError(FlowdError, ValueError):
    """Filters that cannot be compiled; `problems` holds every problem that was found, not the first only.

    `warnings` holds what was only doubtful in the same text.
    """

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.warnings: tuple[Problem, ...] = tuple(warnings)
        lines = [f"{problem}" + (f" (hint: {problem.hint})" if problem.hint else "") for problem in self.problems]
        super().__init__("\n".join(lines))


class ConfigError(FlowdError, ValueError):
    """A daemon configuration that cannot be used; `problems` as in FilterError."""

    exit_code = EXIT_CONFIG

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Unreachable(FlowdError):
    """No daemon answered in the time that the caller gave."""

    exit_code = EXIT_UNREACHABLE


class Refused(FlowdError):
    """The daemon answered that it will not talk to this peer (an ERR message); `code` is its word for the reason."""

    exit_code = EXIT_UNREACHABLE

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = {"filter": EXIT_CONFIG, "failed": EXIT_NO}.get(code, EXIT_UNREACHABLE)


class Fenced(FlowdError):
    """Another consumer has attached under the same name to the same stream, and took over its cursor."""

    exit_code = EXIT_UNREACHABLE


class NotAcknowledged(FlowdError):
    """Time ran out before the daemon had acknowledged everything; `count` lines may or may not have arrived."""

    exit_code = EXIT_UNREACHABLE

    def __init__(self, message: str, *, count: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.count = count


class ClientFailed(FlowdError):
    """A client's own thread could not begin, or has ended by what nobody expected: `__cause__`, where it left word. The
    client is of no use any more; another one may be."""

    exit_code = EXIT_IO


class WireError(FlowdError):
    """Bytes that are no message of FLW/1; `reason` is a short word that counters are keyed by."""

    exit_code = EXIT_IO

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class LineTooLong(FlowdError):
    """A line over the wire's limit (4 MiB - 1 byte): it cannot be sent."""

    exit_code = EXIT_IO
