"""flowd.memory: the allocator keeps what batches leave."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from flowd.memory import keep_freed_memory
keep_freed_memory()
bytes(300_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    bytearray(b"x") * 300_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


PAGES = 200 * 300_000 // 4096


def faults(**settings: str) -> int:
    """Page faults of two hundred batches, in a process whose allocator is told nothing but these settings."""
    told = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        check=True,
        text=True,
        env={**told, **settings, "PYTHONPATH": os.getcwd()},
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc learns so")
def test_freed_batches_are_not_faulted_in_again() -> None:
    assert faults() < PAGES // 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc learns so")
def test_what_the_environment_tells_the_allocator_stands() -> None:
    """As in the processes of Dask, which sets this one."""
    assert faults(MALLOC_TRIM_THRESHOLD_="65536") >= PAGES
