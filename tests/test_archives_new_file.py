"""flowd.archives.new_file: whatever ends the process leaves nothing, on filesystems of both kinds."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, FLOWD, environment, flowd, started, text_line, wait_until
from faults_bed import small_disk
from pyarrow import parquet

from flowd.archives.new_file import open_new

NAME = "kept.parquet"
OLD_PART = f"{NAME}.0123456789abcdef.part"


@pytest.fixture(params=["unnamed", "named"])
def filesystem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a command that sees a filesystem with, or without, files that have no name."""
    if request.param == "unnamed":
        return {}
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("no_tmpfile_shim.c")
    compiler = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(source)]
    subprocess.run(compiler, check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Filters, and a pipe that holds a run up as long as nobody closes it."""
    (tmp_path / "flow").write_text(DEV_FILTER)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.part"))


def is_writing(child: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether the run has begun its file: one of its descriptors is a file there that has no name, or a part's."""
    for fd in Path(f"/proc/{child.pid}/fd").iterdir():
        try:
            target = os.readlink(fd)
        except FileNotFoundError:
            continue
        if target.startswith(f"{folder}/") and target.endswith((" (deleted)", ".part")):
            return True
    return False


def end(folder: Path, environ: Mapping[str, str], number: signal.Signals) -> int:
    """Ends a run by a signal while it writes; its exit code."""
    with (
        started("filter", "-f", "flow", "--to", NAME, "pipe", cwd=folder, extra=environ) as child,
        (folder / "pipe").open("wb", buffering=0) as pipe,
    ):
        pipe.write(text_line("shop"))
        wait_until(lambda: is_writing(child, folder), "the output to be begun")
        assert bool(parts(folder)) == bool(environ)
        child.send_signal(number)
        return child.wait(DEADLINE_S)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_signals_leave_nothing(folder: Path, filesystem: dict[str, str], number: signal.Signals, code: int) -> None:
    assert end(folder, filesystem, number) == code
    assert sorted(path.name for path in folder.iterdir()) == ["flow", "pipe"]


def test_what_a_kill_leaves_is_removed_by_the_next_run(folder: Path, filesystem: dict[str, str]) -> None:
    assert end(folder, filesystem, signal.SIGKILL) == -signal.SIGKILL
    assert len(parts(folder)) == (1 if filesystem else 0)
    for number in range(2):  # the second replaces the first one's file
        lines = [text_line("shop", n) for n in range(number + 1)]
        done = flowd("filter", "-f", "flow", "--to", NAME, cwd=folder, lines=b"".join(lines), extra=filesystem)
        assert (done.returncode, done.stderr, parts(folder)) == (0, b"", [])
        assert parquet.read_table(folder / NAME).num_rows == number + 1


def test_a_failure_leaves_the_older_file_alone(folder: Path, filesystem: dict[str, str]) -> None:
    (folder / NAME).write_bytes(b"older")
    arguments = ["filter", "-f", "flow", "--malformed", "fail", "--to", NAME]
    done = flowd(*arguments, cwd=folder, lines=text_line("shop") + b"no line\n", extra=filesystem)
    assert (done.returncode, parts(folder), (folder / NAME).read_bytes()) == (74, [], b"older")


def test_the_file_has_the_mode_of_any_other(folder: Path, filesystem: dict[str, str]) -> None:
    assert flowd("filter", "-f", "flow", "--to", NAME, cwd=folder, extra=filesystem).returncode == 0
    (folder / "other").touch()
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == stat.S_IMODE((folder / "other").stat().st_mode)


def test_parts_that_somebody_writes_and_other_files_stay(folder: Path) -> None:
    others = [f"{NAME}.part", f"{NAME}.1234.part", f"other-{OLD_PART}", f"{OLD_PART}.gz"]
    for name in (*others, OLD_PART):
        (folder / name).touch()
    with (folder / OLD_PART).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert flowd("filter", "-f", "flow", "--to", NAME, cwd=folder).returncode == 0
        assert (folder / OLD_PART).exists()
    assert flowd("filter", "-f", "flow", "--to", NAME, cwd=folder).returncode == 0
    assert not (folder / OLD_PART).exists()
    assert all((folder / name).exists() for name in others)


def test_what_stands_in_the_way_is_said_before_anything_is_written(folder: Path) -> None:
    (folder / NAME).mkdir()
    done = flowd("filter", "-f", "flow", "--to", NAME, "none", cwd=folder)
    assert done.returncode == 74
    assert f"flowd: {NAME}: Is a directory\n".encode() in done.stderr
    done = flowd("filter", "-f", "flow", "--to", f"missing/{NAME}", cwd=folder)
    assert (done.returncode, done.stderr) == (74, f"flowd: missing/{NAME}: No such file or directory\n".encode())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text(DEV_FILTER)
    noise = b"".join(os.urandom(60).hex().encode() + b"\n" for _ in range(20_000))
    (tmp_path / "noise.log").write_bytes(noise)
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        command = ["filter", "-q", "-f", tmp_path / "flow", "--to", disk.path / NAME, tmp_path / "noise.log"]
        done = subprocess.run(
            [*disk.prefix, *FLOWD, *map(str, command)], capture_output=True, text=True, env=environment(), check=False
        )
        assert (done.returncode, done.stderr.strip()) == (74, f"flowd: {disk.path / NAME}: No space left on device")
        assert list(disk.seen.iterdir()) == []


def test_finish_and_abandon_may_both_be_called(tmp_path: Path) -> None:
    new = open_new(str(tmp_path / NAME))
    new.file.write(b"whole")
    new.finish()
    new.abandon()
    new.abandon()
    assert (tmp_path / NAME).read_bytes() == b"whole"
    with pytest.raises(OSError, match=os.strerror(errno.ENOTDIR)):
        open_new(str(tmp_path / NAME / NAME))
