"""flowd.readable, and the commands and the daemon where no name of a file is UTF-8."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, flowd, json_line, started, wait_until
from hypothesis import given
from hypothesis import strategies as st

from flowd.readable import make_all_readable, make_readable
from flowd.wire.packing import pack_value

CAFE = "caf\udce9"
SPELLED = "caf\\xe9"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("plain", "plain"),
        ("café ☕", "café ☕"),
        (CAFE, SPELLED),
        ("\udcff\udc80é", "\\xff\\x80é"),
        ("\ud800x", "\\ud800x"),
    ],
)
def test_bytes_that_are_no_utf8_are_spelled(text: str, spelled: str) -> None:
    assert make_readable(text) == spelled


@given(st.binary())
def test_every_name_becomes_text_that_can_leave(name: bytes) -> None:
    text = os.fsdecode(name)
    readable = make_readable(text)
    readable.encode()
    assert readable == name.decode("utf-8", "backslashreplace")


def test_plain_data_is_spelled_throughout() -> None:
    told = {CAFE: [CAFE, (CAFE, 1)], "n": None, "bytes": b"\xff"}
    spelled = {SPELLED: [SPELLED, [SPELLED, 1]], "n": None, "bytes": b"\xff"}
    assert make_all_readable(told) == spelled
    assert msgspec.msgpack.decode(pack_value(told)) == spelled


def make_folder(parent: Path) -> Path:
    """A folder with filters, a log that is followed, and a configuration, none of whose names is UTF-8."""
    folder = parent / CAFE
    folder.mkdir()
    (folder / "flow").write_text(DEV_FILTER)
    (folder / "l\udcffg.log").write_bytes(json_line("web") * 5)
    glob = json.dumps(str(parent / "*" / "*.log"))
    (folder / "flowd.toml").write_text(f'[sources.tail]\nflows = [{glob}]\n[http]\nlisten = "127.0.0.1:0"\n')
    return folder


def ask(runtime: Path, *arguments: str) -> tuple[int, Any]:
    """A command's exit code, and its JSON."""
    done = flowd(*arguments, "--runtime-dir", runtime, "-o", "json")
    assert b"Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def read_until_ready(child: subprocess.Popen[bytes]) -> str:
    """What a daemon says until it is ready."""
    assert child.stderr is not None
    said = ""
    while "ready in" not in said:
        line = child.stderr.readline()
        assert line, said
        said += line.decode()
    return said


def test_a_daemon_tells_of_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    runtime, spelled = folder / "run", f"{tmp_path}/{SPELLED}"
    places = ["--runtime-dir", runtime, "--state-dir", folder / "state"]
    with started("run", "-c", folder / "flowd.toml", "-f", folder / "flow", *places) as child:
        assert f"ready in {spelled}/run" in read_until_ready(child)
        wait_until(lambda: ask(runtime, "status")[1]["streams"]["flows"]["lines"] == 5, "the log to be read")
        code, status = ask(runtime, "status")
        assert (code, status["filters"], status["runtime_dir"]) == (0, f"{spelled}/flow", f"{spelled}/run")
        assert [file["path"] for file in status["tail"]["files"]] == [f"{spelled}/l\\xffg.log"]
        assert f"{spelled}/flow:3" in flowd("status", "--runtime-dir", runtime).stdout.decode()
        assert ask(runtime, "filters")[1]["streams"]["flows"]["rules"][0]["file"] == f"{spelled}/flow"
        assert flowd("send", "--runtime-dir", runtime, folder / "l\udcffg.log").returncode == 0
        with (folder / "flow").open("a") as filters:
            filters.write("<broken")
        assert ask(runtime, "reload")[0] == 78
        code, health = ask(runtime, "status", "--check", "ready")
        assert (code, health["state"]) == (0, "degraded")
        assert health["reasons"][0].startswith(f"filters: {spelled}/flow:")
        url = status["endpoints"]["http"][0]
        assert json.loads(urlopen(f"{url}/readyz").read())["reasons"] == health["reasons"]
        assert f'file="{spelled}/flow"'.replace("\\", "\\\\") in urlopen(f"{url}/metrics").read().decode()
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0
        assert child.stderr is not None
        assert f"{spelled}/flow:" in child.stderr.read().decode()


def test_a_journal_is_found_again_in_such_a_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    places = ["--runtime-dir", folder / "run", "--state-dir", folder / "state"]
    epochs = []
    for _ in range(2):
        with started("run", "-f", folder / "flow", *places) as child:
            assert "a new epoch begins" not in read_until_ready(child)
            epochs.append(ask(folder / "run", "status")[1]["epoch"])
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0
    assert epochs[0] == epochs[1]


def test_commands_without_a_daemon_write_json_that_every_reader_takes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "test.toml").write_text('[[test]]\nname = "one"\nrecord = {source_namespace = "dev"}\nexpect = "drop"\n')
    filters, log, spelled = folder / "flow", folder / "l\udcffg.log", f"{tmp_path}/{SPELLED}"
    for command in (
        ["check", "-o", "json", filters],
        ["explain", "-o", "json", "-f", filters],
        ["explain", "-o", "json", "-f", filters, log],
        ["filter", "-o", "json", "--count", "-f", filters, log],
        ["compare", "-o", "json", filters, filters, log],
        ["convert", "-o", "json", "-f", filters, "--to", "flowd"],
        ["test", "-o", "json", "-f", filters, folder / "test.toml", "--junit", folder / "junit.xml"],
    ):
        done = flowd(*command)
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            msgspec.json.decode(line)  # stricter than Python's own: a lone surrogate is no text
        if command[0] != "convert":
            assert spelled in json.dumps([json.loads(line) for line in done.stdout.splitlines()]).replace("\\\\", "\\")
    assert f'file="{spelled}/test.toml"' in (folder / "junit.xml").read_text()
    done = flowd("filter", "-f", filters, log, "--to", folder / "kept.parquet")
    assert (done.returncode, done.stderr) == (0, b"")
    done = flowd("filter", "-f", filters, folder / "kept.parquet")
    assert (done.returncode, done.stdout) == (0, json_line("web") * 5)
    assert f"{spelled}/none: No such file".encode() in flowd("check", folder / "none").stderr


def test_what_is_no_path_has_to_be_utf8(tmp_path: Path) -> None:
    done = flowd("observe", "--runtime-dir", tmp_path, "--filter", f"<filter {CAFE}>", "--timeout", "0.1")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (78, b"hint: write it in UTF-8"), done.stderr
    assert SPELLED.encode() in done.stderr
    done = flowd("keys", "new", CAFE, "--role", "consume", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, []), done.stderr


def test_paths_of_bytes_are_taken(tmp_path: Path) -> None:
    import flowd as package
    from flowd.relay.config import load_config

    folder = make_folder(tmp_path)
    assert package.load(os.fsencode(folder / "flow")).rules[0].file == str(folder / "flow")  # type: ignore[arg-type]
    config = load_config(None, {"filters.path": os.fsencode(folder / "flow")}, {})
    assert config.filters.path == str(folder / "flow")
