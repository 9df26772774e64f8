"""Whether an installed flowd lives on its own: its place, its libraries, the command, a daemon. A script, no test file.

Run with the Python of the environment that flowd was installed in, from any folder but the checkout: what tries a wheel
(tools/wheel-check, cibuildwheel) calls it. Needs nothing but flowd. Usage: python wheel_smoke.py [FOLDER]; FOLDER is
where flowd must be imported from, this environment's packages unless it is given. Ends with 0, or with what is wrong.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

DEADLINE_S = 60.0
LIMIT_S = 300
"""After which a signal ends it all, in seconds."""
HIDDEN = "FLOWD_HIDDEN_LIBRARIES"
"""The system's libraries that tools/without-libraries has hidden from this process, by ':'."""
FILTERS = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^(dev|qa[0-9]+)$/
  </exclude>
</filter>
"""
KEPT = b'{"source_namespace":"prod"}\n{"source_namespace":"devops"}\n'
LINES = b'{"source_namespace":"dev"}\n' + KEPT + b'{"source_namespace":"qa12"}\n'


def say(text: str) -> None:
    print(f"smoke: {text}", flush=True)


def flowd(*arguments: str | Path, lines: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs the command to its end, which must be a good one."""
    done = subprocess.run(
        [sys.executable, "-m", "flowd", *map(str, arguments)], input=lines, capture_output=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def check_place(folder: Path) -> None:
    import flowd as package

    assert package.__file__ is not None
    place = Path(package.__file__).resolve().parent
    assert place.parent == folder, f"flowd comes from {place}, not from {folder}"
    assert (place / "py.typed").is_file()
    say(f"imported from {place}")


def check_libraries(folder: Path) -> None:
    """Both engines are there, and mapped from beside the package, not from the system."""
    hidden = [path for path in os.environ.get(HIDDEN, "").split(":") if path]
    for path in hidden:
        try:
            ctypes.CDLL(path)
        except OSError:
            continue
        raise AssertionError(f"{path} should be hidden, and can be loaded")
    from flowd import _core

    assert set(_core.engine_versions()) in ({"oniguruma", "hyperscan"}, {"oniguruma", "vectorscan"}), (
        _core.engine_versions()
    )
    mapped = {
        line.split(maxsplit=5)[5].strip() for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line
    }
    libraries = {path for path in mapped if Path(path).name.startswith(("libonig", "libhs"))}
    assert len(libraries) == 2, libraries
    foreign = {path for path in libraries if Path(path).parent != folder / "flowd.libs"}
    assert not foreign, f"mapped from outside the wheel: {foreign}"
    names = ", ".join(sorted(Path(path).name for path in libraries))
    say(f"mapped {names}; of the system's own, {len(hidden)} are hidden")


def check_command(folder: Path) -> None:
    say(flowd("--version").stdout.decode().replace("\n", "; ").removesuffix("; "))
    filters = folder / "flow.conf"
    filters.write_text(FILTERS)
    kept = flowd("filter", "-f", filters, lines=LINES).stdout
    assert kept == KEPT, kept
    say("filter keeps the right lines")


def check_daemon(folder: Path) -> None:
    """Starts one, sends it lines, reads what it stored, ends it."""
    (folder / "flows.log").write_bytes(LINES)
    runtime = ("--runtime-dir", folder / "run")
    start = ("run", "-f", folder / "flow.conf", *runtime, "--state-dir", folder / "state")
    with subprocess.Popen([sys.executable, "-m", "flowd", *map(str, start)], stderr=subprocess.PIPE) as daemon:
        try:
            assert daemon.stderr is not None
            said = b""
            while b"ready in" not in said:
                piece = daemon.stderr.readline()
                assert piece, f"the daemon ended before it was ready: {said.decode()}"
                said += piece
            flowd("send", *runtime, folder / "flows.log")
            stored = flowd("observe", *runtime, "--consumer", "smoke", "-n", "2").stdout
            assert stored == KEPT, stored
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(DEADLINE_S) == 0, daemon.returncode
        finally:
            daemon.kill()
    say("a daemon started, took lines, gave them to a consumer, and ended with 0")


def main() -> None:
    signal.alarm(LIMIT_S)
    installed = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_paths()["platlib"]).resolve()
    check_place(installed)
    check_libraries(installed)
    with tempfile.TemporaryDirectory(prefix="flowd-smoke-") as folder:
        check_command(Path(folder))
        check_daemon(Path(folder))


main()
