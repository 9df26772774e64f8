"""Runs the real command in a process of its own: what the tests of the command line stand on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from flowd.cli.command import Option
from flowd.cli.root import root

ROOT = Path(__file__).resolve().parent.parent
FLOWD = (sys.executable, "-m", "flowd")
DEADLINE_S = 30.0

DEV_FILTER = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
</filter>
"""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tests' environment without what would set flowd's options, with this checkout importable from anywhere."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWD_")}
    clean |= {name: os.environ[name] for name in ("FLOWD_ENGINE", "FLOWD_SIMD") if name in os.environ}
    return clean | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | dict(extra or {})


def flowd(
    *arguments: str | Path, lines: bytes = b"", cwd: Path | None = None, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs `flowd ARGUMENTS` to its end with `lines` on standard input."""
    command = [*FLOWD, *map(str, arguments)]
    return subprocess.run(
        command, input=lines, capture_output=True, timeout=DEADLINE_S, cwd=cwd, env=environment(extra), check=False
    )


@contextmanager
def started(
    *arguments: str | Path, cwd: Path | None = None, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`flowd ARGUMENTS` under way, with pipes; killed at the end of the block where it still runs."""
    child = subprocess.Popen(
        [*FLOWD, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(extra),
        bufsize=0,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait(DEADLINE_S)
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()


def follow_peak_bytes(child: subprocess.Popen[bytes]) -> int:
    """The most memory that a process held, as it was last seen before its end, which is waited for.

    What `wait4` says of a child holds that of the parent from which it was forked, too.
    """
    peak = 0
    status = Path(f"/proc/{child.pid}/status")
    while child.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):  # one that has ended has none
                peak = max(peak, int(line.split()[1]) * 1024)
    return peak


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition; fails with `what` when it does not come."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.01)


def text_line(namespace: str, number: int = 0) -> bytes:
    """A 24-column line from a namespace."""
    return (
        f"1700000000 1700000300 wep {namespace} pod-{number}-* - wep web shop-* - - - 6 - 443 "
        "1 1 0 src 7 11 1745 7041 allow\n"
    ).encode()


def json_line(namespace: str, number: int = 0) -> bytes:
    """A JSON line from a namespace."""
    return b'{"start_time":%d,"source_namespace":"%s","dest_namespace":"web"}\n' % (number, namespace.encode())


def find_options(command: click.Command, context: click.Context) -> Iterator[tuple[str, Option, list[str]]]:
    """Every option below a command, with its command and its variables."""
    for each in command.params:
        if isinstance(each, Option):
            yield context.command_path, each, each.variables(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from find_options(below, click.Context(below, info_name=name, parent=context))


def all_options() -> list[tuple[str, Option, list[str]]]:
    """Every option of every command."""
    return list(find_options(root, click.Context(root, info_name="flowd")))
