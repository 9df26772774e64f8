"""`flowd --version`: what runs here. Imports neither click nor anything that reads filters: it starts in no time."""

from __future__ import annotations

import sys

from flowd._version import __version__
from flowd.cli.output import write_text
from flowd.errors import EXIT_DONE


def print_version() -> int:
    """Prints flowd's version, the engines', the SIMD level in use and Python's."""
    from flowd import _core

    engines = ", ".join(f"{name.capitalize()} {version}" for name, version in _core.engine_versions().items())
    fault = _core.find_linear_fault()
    if fault and _core.HAS_LINEAR:
        engines += f" (not used: {fault})"
    level, _ = _core.simd()
    write_text(f"flowd {__version__}\nengines: {engines}\nSIMD: {level}\nPython {sys.version.split()[0]}\n")
    return EXIT_DONE
