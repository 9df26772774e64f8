"""The house keeps its order: imports go downward, nothing speaks of what is outside, no room is too crowded."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Lower floors first. A module may import its own floor and those below.
FLOORS = (
    ("flowd.errors", "flowd.memory", "flowd._core", "flowd._version", "flowd.corpus", "flowd.messages"),
    ("flowd.patterns",),
    ("flowd.filters",),
    ("flowd.program", "flowd.gentle", "flowd.explanation", "flowd.filterset"),
    ("flowd.joint", "flowd.fanout", "flowd.comparison", "flowd.filter_tests", "flowd.conversion"),
    ("flowd.wire", "flowd.records"),
    ("flowd.client", "flowd.aio"),
    ("flowd.relay",),
    ("flowd.cli",),
)
# The clients run where no filter is compiled: they reach the wire and the errors only.
CLIENT_MAY_IMPORT = (
    "flowd.client",
    "flowd.aio",
    "flowd.wire",
    "flowd.records",
    "flowd.errors",
    "flowd.memory",
    "flowd._version",
)


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


@pytest.mark.parametrize("words", ["core", "native"])
def test_native_files_say_what_they_are_for(words: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "flowd" / words).glob("*"))
        if path.suffix in (".pxi", ".hpp", ".pxd") and not path.read_text().startswith(("#", "//", '"""'))
    ]
    assert silent == []
