"""What figures depend on besides flowd: the processor, its level, the compiler, the peers' versions, the load."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from settings import BENCH

from flowd import _core
from flowd._version import __version__

VERSIONS = {
    "rg": ("rg", "--version"),
    "mawk": ("mawk", "-W", "version"),
    "jq": ("jq", "--version"),
    "grep": ("grep", "--version"),
    "rsyslog": ("/usr/sbin/rsyslogd", "-v"),
    "g++": ("g++", "-dumpfullversion"),
}
SIMDJSON = Path("/usr/include/simdjson.h")
SYSLOG_NG = BENCH / "peers" / "syslog-ng" / "usr" / "lib" / "syslog-ng"


def describe_machine() -> dict[str, object]:
    """The machine as plain data."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "pinned_to": max(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "flowd": __version__,
        "simd": _core.simd()[0],
        "compiler": read_compiler(),
        "engines": _core.engine_versions(),
        "peers": find_versions(),
        "load_before": os.getloadavg()[0],
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def show_machine(machine: dict[str, object]) -> str:
    """The machine in one line."""
    engines, peers = (_name_all(machine[each]) for each in ("engines", "peers"))
    return (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}, "
        f"flowd {machine['flowd']} (SIMD {machine['simd']}; {engines}; {machine['compiler']}), "
        f"beside {peers or 'no peers'}, one core is core {machine['pinned_to']}, "
        f"load before {machine['load_before']:.1f}, {machine['date']}"
    )


def read_compiler() -> str:
    """The compiler that built the native core, as it says in the file."""
    found = set(re.findall(rb"(?:GCC: |clang version )[^\0]+", Path(_core.__file__).read_bytes()))
    return ", ".join(sorted(name.decode(errors="replace") for name in found)) or "an unknown compiler"


def find_versions() -> dict[str, str]:
    """The version of each peer that is installed, as it says itself."""
    found = {}
    for name, command in VERSIONS.items():
        if program := shutil.which(command[0]):
            told = subprocess.run([program, *command[1:]], capture_output=True, text=True)
            version = re.search(r"\d+(?:\.\d+)+", told.stdout + told.stderr)
            found[name] = version[0] if version else "unknown"
    if SIMDJSON.exists():
        version = re.search(r"#define SIMDJSON_VERSION \"?([\d.]+)", SIMDJSON.read_text(errors="replace"))
        found["simdjson"] = version[1] if version else "unknown"
    if SYSLOG_NG.exists():
        found["syslog-ng"] = next((path.name for path in SYSLOG_NG.glob("[0-9]*")), "unknown")
    return found


def _name_all(versions: object) -> str:
    assert isinstance(versions, dict)
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
