"""A wheel lives by the libraries in it; the source archive holds all sources; a release is made of the named wheels.

The wheel of these tests is made as tools/wheel makes one, from the source archive, but around the core that the
checkout has already compiled. `make wheel` is the one that compiles, installs the dependencies, and runs the tests on
what it installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import NamedTuple

import pytest

from flowd import _core

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
FAR_AWAY_S = 4_000_000_000
"""A time of change behind that of everything else, in seconds."""
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
BUILT = ("__pycache__", "*.so", "_core.cpp", "*.egg-info", ".hypothesis")
MEASURED = ("data", "peers", "results")


class Archives(NamedTuple):
    """What was built: the source archive, the wheel as the compiler left it, and with its libraries."""

    source: Path
    bare: Path
    wheel: Path


def run(*command: str | Path, cwd: Path, expect: int = 0, **extra: str) -> str:
    """What a command says, which must end with this code; with the environment's own tools first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "PYTHONPATH"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | extra
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == expect, done.stdout
    return done.stdout


def configuration() -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return found


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    folder = tmp_path_factory.mktemp("archives")
    tree = folder / "tree"
    for name in ("flowd", "deploy", "docs", "examples", "licenses", "tests", "tools"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*BUILT))
    shutil.copytree(ROOT / "bench", tree / "bench", ignore=shutil.ignore_patterns(*BUILT, *MEASURED))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    run(*build, "--sdist", tree, cwd=folder)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (sources,) = (folder / "unpacked").iterdir()
    _put_compiled_core(sources)
    run(*build, "--wheel", sources, cwd=folder)
    (bare,) = folder.glob("*.whl")
    run("auditwheel", "repair", "-w", folder / "repaired", bare, cwd=folder)
    (wheel,) = (folder / "repaired").glob("*.whl")
    return Archives(source, bare, wheel)


def _put_compiled_core(sources: Path) -> None:
    """Has the build find a core that is newer than all it is compiled from, which spares a minute of compiling."""
    compiled = Path(_core.__file__)
    place = sources / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}" / "flowd"
    place.mkdir(parents=True)
    shutil.copy2(compiled, place)
    os.utime(place / compiled.name, (FAR_AWAY_S, FAR_AWAY_S))
    shutil.copy2(ROOT / "flowd" / "_core.cpp", sources / "flowd")
    os.utime(sources / "flowd" / "_core.cpp", (FAR_AWAY_S - 1, FAR_AWAY_S - 1))


def test_a_wheel_holds_what_it_needs_and_no_sources(archives: Archives) -> None:
    said = run(sys.executable, TOOLS / "wheel_contents.py", archives.wheel, archives.source, cwd=ROOT)
    tag = re.search(r"-(cp3\d+-cp3\d+-manylinux_2_\d+_\w+)\.whl$", archives.wheel.name)
    assert tag is not None, archives.wheel.name
    assert said.startswith(f"{archives.wheel.name}: ")
    assert said.splitlines()[0].endswith(f"tag {tag[1]}")


def test_a_wheel_without_its_libraries_is_refused(archives: Archives) -> None:
    said = run(sys.executable, TOOLS / "wheel_contents.py", archives.bare, cwd=ROOT, expect=1)
    problems = [
        line.removeprefix(f"{archives.bare.name} ")
        for line in said.splitlines()
        if line.startswith(f"{archives.bare.name} ")
    ]
    tag = f"{sys.implementation.cache_tag.replace('cpython-', 'cp')}-" * 2 + sysconfig.get_platform().replace("-", "_")
    assert problems == [
        "lacks Oniguruma (flowd.libs/libonig-*.so.*)",
        "lacks the linear engine (flowd.libs/libhs-*.so.*)",
        f"has the tag {tag}, which is no manylinux one",
    ]


def test_an_installed_wheel_lives_without_the_systems_libraries(archives: Archives, tmp_path: Path) -> None:
    """Its dependencies come from this environment: there may be no network."""
    place = tmp_path / "installed"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        place,
        archives.wheel,
        cwd=tmp_path,
    )
    smoke = shutil.copy2(ROOT / "tests" / "wheel_smoke.py", tmp_path)
    said = run(TOOLS / "without-libraries", sys.executable, smoke, place, cwd=tmp_path, PYTHONPATH=str(place))
    assert f"smoke: imported from {place.resolve() / 'flowd'}\n" in said
    assert said.endswith("ended with 0\n")


def test_the_smoke_test_refuses_a_flowd_from_elsewhere(tmp_path: Path) -> None:
    said = run(
        sys.executable, ROOT / "tests" / "wheel_smoke.py", tmp_path, cwd=tmp_path, expect=1, PYTHONPATH=str(ROOT)
    )
    assert f"flowd comes from {ROOT / 'flowd'}, not from {tmp_path}" in said


def test_the_source_archive_holds_every_source(archives: Archives) -> None:
    written = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "flowd").rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyc", ".html") and path.name != "_core.cpp"
    }
    with tarfile.open(archives.source) as archive:
        held = {member.name.split("/", 1)[1] for member in archive if member.isfile()}
    assert {name for name in held if name.startswith("flowd/")} == written
    others = {"setup.py", "pyproject.toml", "LICENSE", "Makefile", "tools/lint", "tests/relay_bed.py"}
    assert others | {"tests/data/wire-vectors.json", "bench/run.py", "docs/installing.md"} <= held


def test_a_wheel_says_what_it_needs_and_how_it_is_licensed(archives: Archives) -> None:
    with zipfile.ZipFile(archives.wheel) as wheel:
        (name,) = (entry for entry in wheel.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata.get_all("License-File") == [
        "LICENSE",
        "licenses/hyperscan.txt",
        "licenses/oniguruma.txt",
        "licenses/vectorscan.txt",
    ]
    pythons = [text.rsplit(" ", 1)[1] for text in metadata.get_all("Classifier", []) if ":: 3." in text]
    assert tuple(pythons) == PYTHONS
    assert metadata["Requires-Python"] == f">={PYTHONS[0]}"


def test_a_release_is_made_of_these_wheels() -> None:
    asked = ("--print-build-identifiers", "--platform", "linux", "--archs", "x86_64,aarch64")
    said = run("cibuildwheel", *asked, ROOT, cwd=ROOT)
    tags = [f"cp{version.replace('.', '')}" for version in PYTHONS]
    assert said.split() == [f"{tag}-manylinux_{machine}" for machine in ("x86_64", "aarch64") for tag in tags]


def test_what_a_release_calls_is_there() -> None:
    settings = configuration()["tool"]["cibuildwheel"]  # type: ignore[index]
    script = settings["linux"]["before-all"]
    assert os.access(ROOT / script, os.X_OK)
    assert settings["test-command"] == "python {project}/tests/wheel_smoke.py"
    assert run("sh", "-n", ROOT / script, cwd=ROOT) == ""
