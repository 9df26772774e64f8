"""`flowd drain`: ends the daemon in order, and says what it could not finish."""

from __future__ import annotations

import os
import time

import click

from flowd.cli.command import Command, compose, option, runtime_option, timeout_option
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE, EXIT_NO, Unreachable

EXAMPLES = (
    "flowd drain",
    "flowd drain --runtime-dir ./run",
)
MARGIN_S = 5.0
"""What a daemon may take beyond its own limit: to close its sockets, and to answer on a busy machine."""
LOOK_S = 0.01


@click.command(cls=Command, name="drain", examples=EXAMPLES)
@compose(runtime_option(), timeout_option(5.0), option("-q", "--quiet", is_flag=True, help="Say problems only."))
def command(runtime_dir: str | None, timeout_s: float, quiet: bool) -> int:
    """End the daemon in order, and wait until it has ended.

    It takes no new batches, finishes what it has received within its own --drain-s, and gives its directories back.
    Exits with 1 where it could not finish everything in that time and says what, with 69 where no daemon answers.
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client import request

    status = request(endpoint, "status", timeout_s)
    within_s = status["drain_s"] + MARGIN_S
    began_s = time.monotonic()
    path = endpoint.removeprefix("ipc://")
    identity = _identify(path)
    unfinished = request(endpoint, "drain", within_s)["unfinished"]
    while _identify(path) == identity:
        if time.monotonic() - began_s > within_s:
            raise Unreachable(f"process {status['process_id']} has not ended", hint="see its log; SIGKILL ends it")
        time.sleep(LOOK_S)
    for what in unfinished:
        say(f"flowd: not finished: {what}")
    if not quiet:
        say(f"flowd: process {status['process_id']} has ended, after {time.monotonic() - began_s:.1f} s")
    return EXIT_NO if unfinished else EXIT_DONE


def _identify(path: str) -> tuple[int, int] | None:
    """Which file stands at this path: another daemon's socket is another file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
