"""The command line. One file a subcommand, loaded when it is asked for; `--version` is answered without any of them.

stdout is data, stderr is talk, the exit code is truth.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

TYPE_CHECKING = False  # typing takes longer to import than all that `flowd --version` needs
if TYPE_CHECKING:
    from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `flowd ARGUMENTS` (by default the process's own) and returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given in (["--version"], ["-V"]):
        from flowd.cli.outcome import run_to_exit_code
        from flowd.cli.version import print_version

        return run_to_exit_code(print_version)
    # Loading a command makes some ten thousand objects that all stay: looking for garbage among them takes 3 ms.
    gc.set_threshold(100_000)
    if given[:1] == ["filter"]:
        code = _filter(given)
        if arguments is None:
            _leave_at_once(code)
        return code
    from flowd.cli.root import run_command

    return run_command(given)


def _filter(given: list[str]) -> int:
    """Runs `flowd filter` without click, where its arguments can be read without it."""
    from flowd.cli.filtering.arguments import read_arguments

    asked = read_arguments(given[1:], os.environ)
    if asked is None:
        from flowd.cli.root import run_command

        return run_command(given)
    from flowd.cli.outcome import run_to_exit_code

    return run_to_exit_code(lambda: _filter_files(asked))


def _filter_files(asked: dict[str, Any]) -> int:
    from flowd.cli.filtering.job import filter_files

    return filter_files(**asked)


def _leave_at_once(code: int) -> None:
    """Ends the process without taking the interpreter apart, which would take longer than filtering a small file.

    For a command that has closed its files and joined its threads: nothing else is left to be done at an end.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed before the process began
            stream.flush()
    os._exit(code)
