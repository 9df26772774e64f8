"""Data to standard output: straight to the descriptor, so that a reader has it at once and every error is seen."""

from __future__ import annotations

import os
import select
from typing import Any

from flowd.errors import EXIT_IO, FlowdError

STDOUT = 1


class OutputFailed(FlowdError):
    """Standard output does not take what is written."""

    exit_code = EXIT_IO


def write_bytes(lines: bytes | memoryview) -> None:
    """Writes all of it, however the system cuts the writes.

    Raises BrokenPipeError when the reader has gone, and OutputFailed (a full disk, a closed descriptor).
    """
    left = memoryview(lines)
    while left:
        try:
            left = left[os.write(STDOUT, left) :]
        except BlockingIOError:  # somebody else made the descriptor non-blocking: it is shared
            select.select((), (STDOUT,), ())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputFailed(f"standard output: {error.strerror}") from error


def write_json(value: Any) -> None:
    """Writes plain data as one line of JSON; bytes of files' names that are no UTF-8 are spelled `\\xNN`."""
    import json

    from flowd.readable import make_all_readable

    write_bytes(json.dumps(make_all_readable(value)).encode() + b"\n")


def write_text(text: str) -> None:
    """Writes text as UTF-8; what cannot be UTF-8 (names of files) as the bytes it came from."""
    write_bytes(text.encode("utf-8", "surrogateescape"))
