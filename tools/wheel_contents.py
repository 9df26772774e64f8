"""Says what is in a repaired wheel and in a source archive, and refuses those that must not be given away.

A wheel must hold the core, both engines' libraries with their licences, the types, and no sources of the core; its tag
must be a manylinux one. A source archive must hold everything that the core is compiled from. Usage: wheel_contents.py
FILE... Ends with 1 where something is missing or too much, after all of that was told.
"""

from __future__ import annotations

import fnmatch
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

IN_A_WHEEL = {
    "the core": "flowd/_core.*.so",
    "its types": "flowd/_core.pyi",
    "the mark that there are types": "flowd/py.typed",
    "Oniguruma": "flowd.libs/libonig-*.so.*",
    "the linear engine": "flowd.libs/libhs-*.so.*",
    "flowd's licence": "flowd-*.dist-info/licenses/LICENSE",
    "Oniguruma's licence": "flowd-*.dist-info/licenses/licenses/oniguruma.txt",
    "Hyperscan's licence": "flowd-*.dist-info/licenses/licenses/hyperscan.txt",
    "Vectorscan's licence": "flowd-*.dist-info/licenses/licenses/vectorscan.txt",
}
NOT_IN_A_WHEEL = ("*.pyx", "*.pxi", "*.pxd", "*.cpp", "*.hpp", "*.pyc", "tests/*", "bench/*")
IN_A_SOURCE_ARCHIVE = {
    "the core's table of contents": "flowd-*/flowd/_core.pyx",
    "its parts": "flowd-*/flowd/core/*.pxi",
    "its doors": "flowd-*/flowd/core/*.pxd",
    "its kernels": "flowd-*/flowd/native/*.cpp",
    "their headers": "flowd-*/flowd/native/*.hpp",
    "how it is built": "flowd-*/setup.py",
    "the tests": "flowd-*/tests/conftest.py",
    "the licence": "flowd-*/LICENSE",
}
NOT_IN_A_SOURCE_ARCHIVE = ("*.so", "*.pyc", "flowd-*/flowd/_core.cpp", "flowd-*/build/*", "flowd-*/.venv/*")


def find_problems(names: Iterable[str], needed: dict[str, str], unwanted: Iterable[str]) -> list[str]:
    """What is missing among the names of an archive's files, and which of them should not be there."""
    files = [name for name in names if not name.endswith("/")]
    missing = [f"lacks {what} ({pattern})" for what, pattern in needed.items() if not fnmatch.filter(files, pattern)]
    return missing + [f"must not hold {name}" for pattern in unwanted for name in fnmatch.filter(files, pattern)]


def read_wheel(path: Path) -> list[str]:
    """Prints a wheel's tag, size and main contents; returns its problems."""
    tag = "-".join(path.stem.split("-")[-3:])
    with zipfile.ZipFile(path) as wheel:
        entries = [entry for entry in wheel.infolist() if not entry.is_dir()]
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(entries)} files, tag {tag}")
    modules = [entry for entry in entries if entry.filename.endswith(".py")]
    print(f"    {sum(entry.file_size for entry in modules) / 1e3:9,.1f} kB  {len(modules)} modules in Python")
    for entry in entries:
        if entry not in modules and (entry.filename.startswith("flowd") and ".dist-info/" not in entry.filename):
            print(f"    {entry.file_size / 1e3:9,.1f} kB  {entry.filename}")
    for entry in entries:
        if "/licenses/" in entry.filename or "/sboms/" in entry.filename:
            print(f"    {entry.file_size / 1e3:9,.1f} kB  {entry.filename}")
    problems = find_problems([entry.filename for entry in entries], IN_A_WHEEL, NOT_IN_A_WHEEL)
    return problems if "-manylinux_" in f"-{tag}" else [*problems, f"has the tag {tag}, which is no manylinux one"]


def read_source_archive(path: Path) -> list[str]:
    """Prints a source archive's size; returns its problems."""
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(names)} files")
    return find_problems(names, IN_A_SOURCE_ARCHIVE, NOT_IN_A_SOURCE_ARCHIVE)


def main(paths: list[str]) -> int:
    """Reads them all, tells the problems of all, on standard error."""
    problems = []
    for path in map(Path, paths):
        read = read_wheel if path.suffix == ".whl" else read_source_archive
        problems += [f"{path.name} {problem}" for problem in read(path)]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
