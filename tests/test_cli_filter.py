"""`flowd filter` as users run it: what goes out, what is said, and how it ends."""

from __future__ import annotations

import gzip
import json
import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import pytest
import zstandard
from cli_bed import DEADLINE_S, DEV_FILTER, FLOWD, environment, flowd, json_line, started, text_line

KEPT, DROPPED = text_line("shop"), text_line("devops")


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More than a batch of lines, every third dropped."""
    path = tmp_path / "many.log"
    path.write_bytes(b"".join(text_line("dev" if n % 3 == 0 else "shop", n) for n in range(30_000)))
    return path


def kept_of(lines: bytes) -> bytes:
    return b"".join(line for line in lines.splitlines(keepends=True) if line.split(b" ")[3] != b"dev")


def test_kept_lines_go_out_byte_for_byte(filters: Path) -> None:
    done = flowd("filter", "-f", filters, lines=KEPT + DROPPED + json_line("shop") + json_line("dev"))
    assert (done.returncode, done.stdout, done.stderr) == (0, KEPT + json_line("shop"), b"")


def test_files_are_filtered_in_order(filters: Path, tmp_path: Path, many: Path) -> None:
    (tmp_path / "a.log").write_bytes(DROPPED + KEPT)
    done = flowd("filter", "-f", filters, tmp_path / "a.log", many)
    assert done.stdout == KEPT + kept_of(many.read_bytes())


def test_dash_is_standard_input(filters: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(KEPT)
    done = flowd("filter", "-f", filters, tmp_path / "a.log", "-", lines=json_line("shop"))
    assert done.stdout == KEPT + json_line("shop")


def test_no_newline_is_added_at_the_end(filters: Path) -> None:
    assert flowd("filter", "-f", filters, lines=KEPT + KEPT[:-1]).stdout == KEPT + KEPT[:-1]


def test_lines_of_two_files_stay_apart(filters: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(KEPT[:-1])
    (tmp_path / "b.log").write_bytes(KEPT)
    done = flowd("filter", "-f", filters, tmp_path / "a.log", tmp_path / "b.log")
    assert done.stdout == KEPT + KEPT


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_order_stays_with_any_number_of_threads(filters: Path, many: Path, threads: str) -> None:
    done = flowd("filter", "-f", filters, "--threads", threads, many, many, "--stats", "-o", "json")
    assert done.stdout == 2 * kept_of(many.read_bytes())
    assert json.loads(done.stderr)["lines"] == 60_000


def test_invert_writes_the_dropped_lines(filters: Path) -> None:
    assert flowd("filter", "-f", filters, "--invert", lines=KEPT + DROPPED + b"no record\n").stdout == (
        DROPPED + b"no record\n"
    )


def test_count_counts_kept_lines(filters: Path, tmp_path: Path) -> None:
    assert flowd("filter", "-f", filters, "--count", lines=KEPT + DROPPED + KEPT).stdout == b"2\n"
    (tmp_path / "a.log").write_bytes(KEPT)
    done = flowd("filter", "-f", filters, "--count", "a.log", "-", lines=DROPPED, cwd=tmp_path)
    assert done.stdout == b"a.log:1\n-:0\n"
    done = flowd("filter", "-f", filters, "--count", "-o", "json", lines=KEPT)
    assert json.loads(done.stdout) == {"file": "-", "kept_lines": 1}


def test_stats_name_each_rule_with_its_share(filters: Path) -> None:
    done = flowd("filter", "-f", filters, "--stats", lines=KEPT + DROPPED + KEPT + b"no record\n")
    header, *rows, totals = done.stderr.decode().splitlines()
    assert header.split() == ["RULE", "PLACE", "PATTERN", "ENGINE", "LINES", "BYTES", "SHARE"]
    (dropped,) = [row for row in rows if row.startswith("filter1.exclude1")]
    assert f"{filters}:3" in dropped
    assert "exclude source_namespace dev" in dropped
    assert dropped.endswith("25.0 %")
    assert "4 lines" in totals
    assert "3 written, 1 malformed, 0 with errors" in totals


def test_stats_as_json_add_up(filters: Path) -> None:
    lines = KEPT + DROPPED + KEPT + b"no record\n"
    stats = json.loads(flowd("filter", "-f", filters, "--stats", "-o", "json", lines=lines).stderr)
    assert (stats["lines"], stats["bytes"], stats["kept_lines"], stats["malformed_lines"]) == (4, len(lines), 3, 1)
    assert sum(rule["lines"] for rule in stats["rules"]) == 4
    assert sum(rule["bytes"] for rule in stats["rules"]) == len(lines)


@pytest.mark.parametrize(("policy", "kept", "code"), [("keep", 3, 0), ("drop", 2, 0), ("fail", 1, 74)])
def test_malformed_lines_go_as_asked(filters: Path, policy: str, kept: int, code: int) -> None:
    lines = [KEPT, b"no record\n", KEPT]
    expected = [line for line in lines if policy != "drop" or line == KEPT][:kept]
    done = flowd("filter", "-f", filters, "--malformed", policy, lines=DROPPED + b"".join(lines))
    assert (done.returncode, done.stdout) == (code, b"".join(expected))
    if policy == "fail":
        assert b"flowd: standard input:3: a malformed line\nhint: " in done.stderr


def test_the_malformed_line_is_named_far_into_a_file(filters: Path, many: Path) -> None:
    with many.open("ab") as more:
        more.write(b"no record\n" + KEPT)
    done = flowd("filter", "-f", filters, "--malformed", "fail", "--threads", "3", many)
    assert done.returncode == 74
    assert f"{many}:30001: a malformed line" in done.stderr.decode()
    assert done.stdout == kept_of(many.read_bytes()[: -len(b"no record\n" + KEPT)])


@pytest.mark.parametrize(("lines", "code"), [(DROPPED, 1), (KEPT, 0), (b"", 1)])
def test_exit_status_says_whether_anything_was_kept(filters: Path, lines: bytes, code: int) -> None:
    assert flowd("filter", "-f", filters, "-e", lines=lines).returncode == code
    assert flowd("filter", "-f", filters, lines=lines).returncode == 0


def test_a_missing_file_is_said_and_the_others_are_filtered(filters: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(KEPT)
    done = flowd("filter", "-f", filters, "nosuch.log", ".", "a.log", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (74, KEPT)
    assert done.stderr == (
        b"flowd: nosuch.log: No such file or directory\nflowd: .: Is a directory\nhint: it is a folder: name a file\n"
    )


def test_filters_that_cannot_be_used_end_with_78(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER.replace("dev", "de[v").replace("</filter>", "") + DEV_FILTER.replace("dev", "pub(lic"))
    done = flowd("filter", "-f", path, lines=KEPT)
    assert (done.returncode, done.stdout) == (78, b"")
    assert done.stderr.decode().startswith(f"flowd: {path}:")
    path.write_text(DEV_FILTER.replace("dev", "de[v") + DEV_FILTER.replace("dev", "pub(lic"))
    said = flowd("filter", "-f", path).stderr.decode()
    assert f"flowd: {path}:5:" in said
    assert f"flowd: {path}:12:" in said
    assert said.count("hint: ") == 2


def test_warnings_are_said_unless_quiet(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER.replace("source_namespace", "source_namespce"))
    done = flowd("filter", "-f", path, lines=KEPT)
    assert (done.returncode, done.stdout) == (0, KEPT)
    assert done.stderr.decode().startswith(f"flowd: warning: {path}:3:")
    assert b"source_namespace" in done.stderr
    assert flowd("filter", "-f", path, "-q", lines=KEPT).stderr == b""


@pytest.mark.parametrize(
    "arguments", [["filter"], ["filter", "-f", "x", "--malformed", "no"], ["filtr"], ["filter", "-f", "x", "--nosuch"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = flowd(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"flowd: ")


def test_stream_and_format_are_obeyed(filters: Path) -> None:
    assert flowd("filter", "-f", filters, "--stream", "dns", lines=DROPPED).stdout == DROPPED
    assert flowd("filter", "-f", filters, "--format", "json", "--malformed", "drop", lines=KEPT).stdout == b""


def test_the_environment_sets_what_no_flag_does(filters: Path) -> None:
    extra = {"FLOWD_FILTERS_PATH": str(filters), "FLOWD_STREAM": "dns"}
    assert flowd("filter", lines=DROPPED, extra=extra).stdout == DROPPED
    assert flowd("filter", "--stream", "flows", lines=DROPPED, extra=extra).stdout == b""


def test_lines_go_out_as_soon_as_they_come(filters: Path) -> None:
    with started("filter", "-f", filters) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(3):
            line = text_line("shop", number)
            child.stdin.write(line[:20])
            child.stdin.write(line[20:] + line[:5])
            assert child.stdout.read(len(line)) == line
            child.stdin.write(b"\n" if number == 2 else line[5:])
            if number < 2:
                assert child.stdout.read(len(line)) == line
        child.stdin.close()
        assert child.stdout.read() == text_line("shop", 2)[:5] + b"\n"
        assert child.wait(DEADLINE_S) == 0


def test_lines_are_live_with_threads_too(filters: Path) -> None:
    with started("filter", "-f", filters, "--threads", "3") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(KEPT)
        assert child.stdout.read(len(KEPT)) == KEPT


def test_a_reader_that_goes_ends_it_quietly(filters: Path, many: Path) -> None:
    with started("filter", "-f", filters, many, many, many) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(100)
        child.stdout.close()
        assert child.wait(DEADLINE_S) == -signal.SIGPIPE
        assert child.stderr.read() == b""


def test_head_ends_a_pipeline_quietly(filters: Path, many: Path) -> None:
    command = f"{' '.join(FLOWD)} filter -f {filters} {many} {many} | head -n 2"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, env=environment(), check=False
    )
    assert done.stdout == b"".join(kept_of(many.read_bytes()).splitlines(keepends=True)[:2])
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_full_disk_ends_with_74(filters: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*FLOWD, "filter", "-f", str(filters)], input=KEPT, stdout=full, stderr=subprocess.PIPE, env=environment(),
            check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (74, b"flowd: standard output: No space left on device\n")


def test_interrupted_ends_with_130(filters: Path) -> None:
    with started("filter", "-f", filters) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(KEPT)
        child.stdout.read(len(KEPT))
        child.send_signal(signal.SIGINT)
        assert child.wait(DEADLINE_S) == 130


def compress(kind: str, lines: bytes) -> bytes:
    return gzip.compress(lines) if kind == "gzip" else zstandard.ZstdCompressor().compress(lines)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_archives_are_opened_whatever_they_are_called(filters: Path, tmp_path: Path, many: Path, kind: str) -> None:
    lines = many.read_bytes()
    (tmp_path / "archive").write_bytes(compress(kind, lines) + compress(kind, DROPPED + KEPT))
    assert flowd("filter", "-f", filters, tmp_path / "archive").stdout == kept_of(lines) + KEPT
    assert flowd("filter", "-f", filters, lines=compress(kind, KEPT)).stdout == KEPT


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_archive_ends_with_74_after_the_lines_before_the_damage(
    filters: Path, tmp_path: Path, many: Path, kind: str, damage: str
) -> None:
    archive = bytearray(compress(kind, os.urandom(4).hex().encode() + b"\n" + many.read_bytes()))
    if damage == "cut":
        del archive[len(archive) * 3 // 4 :]
    else:
        place = len(archive) * 3 // 4
        archive[place : place + 64] = bytes(byte ^ 0xFF for byte in archive[place : place + 64])
    (tmp_path / "broken").write_bytes(archive)
    done = flowd("filter", "-f", filters, "broken", "-", lines=KEPT, cwd=tmp_path)
    assert done.returncode == 74
    assert f"flowd: broken: a damaged {kind} archive: ".encode() in done.stderr
    assert done.stdout.endswith(KEPT)
    if damage == "cut":
        assert done.stdout.count(b"\n") > 100


def test_colours_stay_off_where_nobody_wants_them(tmp_path: Path) -> None:
    assert b"\x1b" not in flowd("filter", "-f", tmp_path / "nosuch").stderr


def test_long_work_shows_its_progress_on_a_terminal(filters: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*FLOWD, "filter", "-f", str(filters), "--count"]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs, env=environment()
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            lines = 0
            while not select.select([ours], [], [], 0.02)[0]:
                child.stdin.write(KEPT)
                child.stdin.flush()
                lines += 1
            assert b" kB  " in os.read(ours, 4096)
            child.stdin.close()
            assert child.stdout.read() == b"%d\n" % lines
    finally:
        os.close(ours)
        os.close(theirs)
