"""The commonest mistakes with every command: no traceback, the right exit code, a place, and a hint."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, FLOWD, environment, json_line

from flowd.cli.root import COMMANDS
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_IO, EXIT_UNREACHABLE, EXIT_USAGE

AS_USERS_ARE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Root may read everything, but for this."""
WAIT = ("--timeout", "0.2", "--runtime-dir", "run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something wrong of every kind, and something right."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "flow").write_text(DEV_FILTER)
    (folder / "list.yaml").write_text("- name: grep\n  match: flows\n  exclude: source_namespace dev\n")
    (folder / "flows.log").write_bytes(json_line("web"))
    (folder / "tests.toml").write_text('[[test]]\nname = "a"\nline = "{}"\nexpect = "keep"\n')
    (folder / "empty").touch()
    (folder / "binary").write_bytes(bytes(range(256)) * 4)
    (folder / "unreadable").write_text(DEV_FILTER)
    (folder / "unreadable").chmod(0)
    for name in ("folder", "run"):
        (folder / name).mkdir()
    return folder


def run(folder: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """A command's exit code, and what it said."""
    done = subprocess.run(
        [*AS_USERS_ARE, *FLOWD, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout * (arguments[0] == "check") + done.stderr


def expect(folder: Path, arguments: Sequence[str], code: int, *words: str) -> None:
    found, said = run(folder, arguments)
    assert found == code, (arguments, said)
    for word in words:
        assert word in said, (arguments, said)


WITH_FILTERS = (
    ("check", "{}"),
    ("filter", "-f", "{}", "flows.log"),
    ("explain", "-f", "{}"),
    ("test", "-f", "{}", "tests.toml"),
    ("convert", "-f", "{}", "--to", "flowd"),
    ("compare", "{}", "flow", "flows.log"),
    ("compare", "flow", "{}", "flows.log"),
    ("run", "-f", "{}", "--check"),
)


@pytest.mark.parametrize("command", WITH_FILTERS, ids=" ".join)
def test_filters_that_cannot_be_used(folder: Path, command: tuple[str, ...]) -> None:
    def given(path: str) -> list[str]:
        return [word.format(path) for word in command]

    missing = EXIT_CONFIG if command[0] == "run" else EXIT_IO
    expect(folder, given("missing"), missing, "missing", "does not exist" if command[0] == "run" else "No such file")
    expect(folder, given("unreadable"), EXIT_IO, "unreadable: Permission denied", "hint: `ls -l`")
    expect(folder, given("folder"), EXIT_CONFIG, "folder:1:1: ", "hint: name the filter files flow and dns")
    expect(folder, given("binary"), EXIT_CONFIG, "binary:3:", "not UTF-8", "hint: save the file as UTF-8")
    expect(folder, given("empty"), EXIT_DONE)


WITH_LINES = (
    ("filter", "-f", "flow", "{}"),
    ("explain", "-f", "flow", "{}"),
    ("check", "--sample", "{}", "flow"),
    ("convert", "-f", "flow", "--to", "flowd", "--sample", "{}"),
    ("compare", "flow", "flow", "{}"),
    ("send", *WAIT, "{}"),
)


@pytest.mark.parametrize("command", WITH_LINES, ids=" ".join)
def test_lines_that_cannot_be_read(folder: Path, command: tuple[str, ...]) -> None:
    def given(path: str) -> list[str]:
        return [word.format(path) for word in command]

    expect(folder, given("missing"), EXIT_IO, "missing: No such file")
    expect(folder, given("unreadable"), EXIT_IO, "unreadable: Permission denied", "hint: `ls -l`")
    expect(folder, given("folder"), EXIT_IO, "folder: Is a directory", "hint: it is a folder: name a file")
    expect(folder, given("empty"), EXIT_DONE)
    expect(folder, given("binary"), EXIT_UNREACHABLE if command[0] == "send" else EXIT_DONE)


def test_tests_that_are_none(folder: Path) -> None:
    command = ["test", "-f", "flow"]
    expect(folder, [*command, "missing"], EXIT_IO, "missing: No such file")
    expect(folder, [*command, "unreadable"], EXIT_IO, "unreadable: Permission denied")
    for name in ("folder", "empty"):
        expect(folder, [*command, name], EXIT_USAGE, f"there are no tests in {name}: they are [[test]] in files")
    expect(folder, [*command, "binary"], EXIT_CONFIG, "binary:2:1: the file is not UTF-8")
    expect(folder, [*command, "flow"], EXIT_CONFIG, "flow:1:1: not TOML", "hint: this is no file of tests")
    expect(folder, [*command, "tests.toml", "--junit", "folder"], EXIT_IO, "folder: Is a directory", "hint: ")


def test_configurations_that_cannot_be_used(folder: Path) -> None:
    expect(folder, ["run", "--check", "-c", "missing"], EXIT_IO, "missing: No such file")
    expect(folder, ["run", "--check", "-c", "unreadable"], EXIT_IO, "unreadable: Permission denied", "hint: ")
    expect(folder, ["run", "--check", "-c", "folder"], EXIT_IO, "folder: Is a directory", "hint: ")
    expect(folder, ["run", "--check", "-c", "binary"], EXIT_CONFIG, "binary:2:1: the file is not UTF-8", "hint: ")
    expect(folder, ["run", "--check", "-c", "empty"], EXIT_DONE)


NO_DAEMON = (
    ("status",), ("filters",), ("consumers",), ("reload",), ("drain",), ("tap",), ("top", "--once"), ("bypass", "on"),
    ("observe",), ("observe", "--last", "2"), ("observe", "--consumer", "siem"), ("send", "flows.log"),
    ("compare", "--journal", "flow"),
)  # fmt: skip


@pytest.mark.parametrize("command", NO_DAEMON, ids=" ".join)
def test_where_no_daemon_is(folder: Path, command: tuple[str, ...]) -> None:
    expect(folder, [command[0], *WAIT, *command[1:]], EXIT_UNREACHABLE, "run/", "hint: ")
    long = ["--timeout", "0.2", "--runtime-dir", "x" * 120]
    expect(
        folder, [command[0], *long, *command[1:]], EXIT_CONFIG, "the system's limit is 107", "hint: choose a shorter"
    )


NAMES = (
    ("send", "--stream", "a b", "flows.log"), ("observe", "a b"), ("observe", "--consumer", "a b"), ("tap", "a b"),
    ("compare", "--journal", "--stream", "a b", "flow"), ("keys", "new", "x", "--role", "consume", "--stream", "a b"),
    ("keys", "new", "a/b", "--role", "consume"),
)  # fmt: skip


@pytest.mark.parametrize("command", NAMES, ids=" ".join)
def test_names_that_are_not_legal(folder: Path, command: tuple[str, ...]) -> None:
    before = sorted(folder.iterdir())
    expect(folder, command, EXIT_USAGE, "is no ", "hint: `flowd ")
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("completion", "bypass", "drain", "send")])
def test_a_wrong_word_is_said_with_the_right_ones(folder: Path, name: str) -> None:
    if name in ("run", "keys"):
        wrong = ["run", "--log-level", "xml"] if name == "run" else ["keys", "list", "-o", "xml"]
    else:
        wrong = [name, "-o", "xml"]
    expect(folder, wrong, EXIT_USAGE, "'xml' is not one of '", f"hint: `flowd {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_is_none_or_has_no_value(folder: Path, name: str) -> None:
    expect(folder, [name, "--nope"], EXIT_USAGE, "No such option '--nope'", f"hint: `flowd {name} --help`")
    if name in ("filter", "explain", "test", "convert", "run"):
        expect(folder, [name, "-f"], EXIT_USAGE, "requires an argument", f"hint: `flowd {name} --help`")


def test_other_mistakes(folder: Path) -> None:
    expect(folder, ["keys", "new", "x", "--role", "consume", "--keys-dir", "empty"], EXIT_CONFIG,
           "empty: there is a file of this name", "hint: keys stand in a folder")  # fmt: skip
    expect(folder, ["observe", *WAIT, "--endpoint", "x"], EXIT_CONFIG, "x: not an endpoint", "hint: write ipc:///")
    expect(folder, ["filter", "-f", "flow", "--to", "x", "flows.log"], EXIT_USAGE, "--to x", "hint: ")
    expect(folder, ["filter", "-f", "flow", "--to", "folder/a/x.parquet"], EXIT_IO, "folder/a/x.parquet: No such file")
    expect(
        folder, ["convert", "-f", "flow", "--to", "flowd", "-O", "folder"], EXIT_IO, "folder: Is a directory", "hint: "
    )
