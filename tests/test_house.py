"""The house keeps its order: imports go downward, nothing speaks of what is outside, no room is too crowded."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lower floors first. A module may import its own floor and those below.
FLOORS = (
    (
        "flowd.errors",
        "flowd.readable",
        "flowd.memory",
        "flowd._core",
        "flowd._version",
        "flowd.corpus",
        "flowd.messages",
    ),
    ("flowd.patterns",),
    ("flowd.filters",),
    ("flowd.program", "flowd.gentle", "flowd.explanation", "flowd.filterset", "flowd.tables"),
    ("flowd.joint", "flowd.fanout", "flowd.comparison", "flowd.filter_tests", "flowd.conversion", "flowd.archives"),
    ("flowd.wire", "flowd.records"),
    ("flowd.sinks",),
    ("flowd.client", "flowd.aio", "flowd.jetstream"),
    ("flowd.relay",),
    ("flowd.cli",),
)
# The clients run where no filter is compiled: they reach the wire and the errors only.
CLIENT_MAY_IMPORT = (
    "flowd.client",
    "flowd.aio",
    "flowd.jetstream",  # for nats:// only
    "flowd.wire",
    "flowd.records",
    "flowd.errors",
    "flowd.readable",
    "flowd.memory",
    "flowd._version",
)

# What threading.Thread keeps for itself in CPython 3.11 to 3.14. A subclass that writes one breaks its own thread.
THREADS_OWN = """
_after_fork _args _bootstrap _bootstrap_inner _context _daemonic _delete _handle _ident _initialized
_invoke_excepthook _is_stopped _kwargs _name _native_id _os_thread_handle _reset_internal_locks _set_ident
_set_native_id _set_os_name _set_tstate_lock _started _stderr _stop _target _tstate_lock _wait_for_tstate_lock
ident is_alive native_id start
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> list[tuple[str, int]]:
    """Every module of flowd that a file imports, wherever in it; imports for the type checker only do not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "flowd" else [node.module]
            found += [(name, node.lineno) for name in names]
    return [(name, line) for name, line in found if name.split(".")[0] == "flowd"]


def floor_of(module: str) -> int | None:
    for floor, prefixes in enumerate(FLOORS):
        if any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes):
            return floor
    return None


SOURCES = sorted((ROOT / "flowd").rglob("*.py"))
ENTRANCES = {"flowd", "flowd.__main__"}


def test_every_module_has_a_floor() -> None:
    homeless = [name for path in SOURCES if (name := module_name(path)) not in ENTRANCES and floor_of(name) is None]
    assert homeless == []


def test_imports_go_downward() -> None:
    upward = []
    for path in SOURCES:
        name = module_name(path)
        if name in ENTRANCES:
            continue
        for imported, line in imported_modules(path):
            there, here = floor_of(imported), floor_of(name)
            if there is not None and here is not None and there > here:
                upward.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert upward == []


def test_the_clients_import_wire_and_errors_only() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for path in SOURCES
        if module_name(path).startswith(("flowd.client", "flowd.aio"))
        for imported, line in imported_modules(path)
        if imported != "flowd" and not imported.startswith(CLIENT_MAY_IMPORT)
    ]
    assert strays == []


def test_importing_flowd_loads_nothing_heavy() -> None:
    code = "import sys, flowd; print(sorted({'zmq', 'click', 'msgspec', 'flowd._core', 'yaml'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def names_of_threads(path: Path) -> list[tuple[str, int]]:
    """What the subclasses of Thread in a file define or assign on themselves, each with its line."""
    found = []
    for thread in ast.walk(ast.parse(path.read_text())):
        if isinstance(thread, ast.ClassDef) and any("Thread" in ast.unparse(base) for base in thread.bases):
            for node in ast.walk(thread):
                if isinstance(node, ast.FunctionDef):
                    found.append((node.name, node.lineno))
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    found.append((node.attr, node.lineno))
    return found


def test_threads_leave_their_base_its_own_names() -> None:
    places = [*SOURCES, *(ROOT / "bench").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    own = set(THREADS_OWN.split())
    taken = {
        f"{path.relative_to(ROOT)}:{line} takes {name}"
        for path in places
        for name, line in names_of_threads(path)
        if name in own
    }
    assert taken == set()
    here = {name for name in dir(threading.Thread()) if name.startswith("_") and not name.startswith("__")}
    assert here <= own, "a newer Python's Thread has more names of its own"


@pytest.mark.parametrize("words", ["core", "native"])
def test_native_files_say_what_they_are_for(words: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "flowd" / words).rglob("*"))
        if path.suffix in (".pxi", ".hpp", ".pxd") and not path.read_text().startswith(("#", "//", '"""'))
    ]
    assert silent == []
