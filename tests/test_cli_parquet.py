"""`flowd filter` and its sisters on Parquet: rows as lines, kept rows as they are, lines into Parquet, damage, size."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from cli_bed import (
    DEADLINE_S,
    DEV_FILTER,
    FLOWD,
    environment,
    flowd,
    follow_peak_bytes,
    json_line,
    started,
    text_line,
)
from pyarrow import parquet

import flowd as library
from flowd.archives import parquet as reading
from flowd.tables.json_texts import json_texts, text_of

FILTERS = library.compile(DEV_FILTER)
SCHEMA = pa.schema(
    [
        pa.field("source_namespace", pa.dictionary(pa.int32(), pa.string())),
        pa.field("n", pa.int32(), nullable=False, metadata={b"unit": b"rows"}),
        pa.field("seen", pa.timestamp("us", "UTC")),
        pa.field("labels", pa.map_(pa.string(), pa.string())),
        pa.field("policies", pa.struct([pa.field("all", pa.list_(pa.string()))])),
    ],
    {b"made": b"by hand"},
)


def some_rows(number: int, start: int = 0) -> pa.Table:
    """Every third row from `dev`, the others from `shop`, some from nowhere."""
    numbers = range(start, start + number)
    return pa.table(
        [
            ["dev" if n % 3 == 0 else None if n % 7 == 1 else "shop" for n in numbers],
            list(numbers),
            [n * 1_000_000 for n in numbers],
            [[("app", f"web-{n % 5}")] for n in numbers],
            [{"all": ["0|allow", f"{n % 3}|deny"]} if n % 4 else None for n in numbers],
        ],
        schema=SCHEMA,
    )


def lines_of(rows: pa.Table) -> bytes:
    return b"".join(bytes(text_of(json_texts(batch))) for batch in rows.to_batches())


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Three row groups."""
    path = tmp_path / "flows.parquet"
    parquet.write_table(some_rows(1000), path, row_group_size=400)
    return path


ROWS = some_rows(1000)
KEPT = FILTERS.filter_table(ROWS)


@pytest.mark.parametrize("threads", ["0", "1", "3"])
def test_rows_are_written_as_json_lines(filters: Path, stored: Path, threads: str) -> None:
    done = flowd("filter", "-f", filters, "--threads", threads, stored)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == lines_of(KEPT) == library.compile(DEV_FILTER).filter(lines_of(ROWS))
    dropped = flowd("filter", "-f", filters, "--threads", threads, "--invert", stored)
    assert dropped.stdout == lines_of(FILTERS.filter_table(ROWS, invert=True))


@pytest.mark.parametrize("threads", ["1", "3"])
def test_kept_rows_go_into_parquet_as_they_are(filters: Path, stored: Path, tmp_path: Path, threads: str) -> None:
    done = flowd("filter", "-f", filters, "--threads", threads, "--to", tmp_path / "kept.parquet", stored)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    kept = parquet.read_table(tmp_path / "kept.parquet")
    assert kept.schema.equals(parquet.read_schema(stored), check_metadata=True)
    assert kept.equals(parquet.read_table(stored).filter(pa.array([n % 3 != 0 for n in range(1000)])))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.conf", "flows.parquet", "kept.parquet"]


def test_counts_and_exit_status(filters: Path, stored: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(text_line("shop"))
    assert flowd("filter", "-f", filters, "--count", stored).stdout == b"666\n"
    both = flowd("filter", "-f", filters, "--count", "-o", "json", stored, "a.log", cwd=tmp_path)
    assert [json.loads(line)["kept_lines"] for line in both.stdout.splitlines()] == [666, 1]
    parquet.write_table(some_rows(1), tmp_path / "dev.parquet")
    assert flowd("filter", "-f", filters, "-e", tmp_path / "dev.parquet").returncode == 1
    done = flowd("filter", "-f", filters, "-e", "--to", tmp_path / "none.parquet", tmp_path / "dev.parquet")
    assert done.returncode == 1
    assert parquet.read_table(tmp_path / "none.parquet").num_rows == 0
    schemas = [parquet.read_schema(tmp_path / name) for name in ("none.parquet", "dev.parquet")]
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_statistics_count_rows_and_what_was_read_of_them(filters: Path, stored: Path) -> None:
    done = flowd("filter", "-f", filters, "--stats", "-o", "json", stored)
    stats = json.loads(done.stderr)
    read = lines_of(ROWS.select(["source_namespace"]))
    kept = lines_of(KEPT.select(["source_namespace"]))
    assert {name: stats[name] for name in ("lines", "bytes", "kept_lines", "kept_bytes", "malformed_lines")} == {
        "lines": 1000,
        "bytes": len(read),
        "kept_lines": 666,
        "kept_bytes": len(kept),
        "malformed_lines": 0,
    }
    assert {rule["rule"]: rule["lines"] for rule in stats["rules"]} == {"filter1.exclude1": 334, "default": 666}


@pytest.mark.parametrize(
    "text", ["", "<filter flows>\n@type grep\n<exclude>\nkey nosuch\npattern ^dev\n</exclude>\n</filter>"]
)
def test_filters_that_read_no_column_keep_all(tmp_path: Path, stored: Path, text: str) -> None:
    (tmp_path / "none.conf").write_text(text)
    assert flowd("filter", "-q", "-f", tmp_path / "none.conf", stored).stdout == lines_of(ROWS)


def test_lines_go_into_parquet_and_come_back_byte_for_byte(filters: Path, tmp_path: Path) -> None:
    lines = [text_line("shop"), json_line("dev"), json_line("web"), b"\n", b"\xff\xfe no line\r\n", text_line("dev")]
    (tmp_path / "a.log").write_bytes(b"".join(lines) + text_line("shop", 1)[:-1])
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(json_line("web", 2)))
    kept = [lines[0], lines[2], lines[3], lines[4], text_line("shop", 1), json_line("web", 2)]
    done = flowd("filter", "-f", filters, "--to", "kept.parquet", "a.log", "b.log.gz", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    table = parquet.read_table(tmp_path / "kept.parquet")
    assert table.schema.names == ["line"]
    assert [line + b"\n" for line in table.column("line").to_pylist()] == kept
    again = flowd("filter", "-f", filters, "kept.parquet", cwd=tmp_path)
    assert again.stdout == b"".join(kept)
    more = flowd("filter", "-f", filters, "--to", "more.parquet", "kept.parquet", "a.log", cwd=tmp_path)
    assert (more.returncode, more.stderr) == (0, b"")
    assert parquet.read_table(tmp_path / "more.parquet").num_rows == 11


def test_a_column_of_lines_can_be_named(filters: Path, tmp_path: Path) -> None:
    rows = pa.table({"time": [1, 2, 3], "log": [json_line("web").decode(), json_line("dev").decode(), "no line"]})
    parquet.write_table(rows, tmp_path / "a.parquet")
    named = ["filter", "-f", filters, "--line-column", "log"]
    assert flowd(*named, "a.parquet", cwd=tmp_path).stdout == json_line("web") + b"no line\n"
    assert flowd(*named, "--malformed", "drop", "a.parquet", cwd=tmp_path).stdout == json_line("web")
    done = flowd(*named, "--to", "b.parquet", "a.parquet", cwd=tmp_path)
    assert done.returncode == 0
    assert parquet.read_table(tmp_path / "b.parquet").equals(rows.take([0, 2]))
    wrong = flowd("filter", "-f", filters, "--line-column", "text", "a.parquet", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr.decode()) == (
        74, "flowd: a.parquet: there is no column 'text' to hold lines\nhint: the columns are time, log\n",
    )  # fmt: skip


@pytest.mark.parametrize("to", [[], ["--to", "kept.parquet"]])
def test_fail_stops_at_the_first_malformed_row(filters: Path, tmp_path: Path, to: list[str]) -> None:
    lines = [*[json_line("web").decode()] * 30, "no line", json_line("web").decode()]
    parquet.write_table(pa.table({"log": lines, "n": range(32)}), tmp_path / "a.parquet", row_group_size=8)
    done = flowd("filter", "-f", filters, "--line-column", "log", "--malformed", "fail", *to, "a.parquet", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (74, json_line("web") * (0 if to else 30))
    assert done.stderr.decode().splitlines()[0] == "flowd: a.parquet: row 31: a malformed line"
    assert not (tmp_path / "kept.parquet").exists()
    assert not list(tmp_path.glob("*.part"))


def test_inputs_of_all_kinds_are_read_one_after_the_other(filters: Path, stored: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(text_line("shop")[:-1])
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(json_line("web")))
    done = flowd("filter", "-f", filters, "a.log", stored, "b.log.gz", cwd=tmp_path)
    assert done.stdout == text_line("shop") + lines_of(KEPT) + json_line("web")
    parquet.write_table(some_rows(1), tmp_path / "dev.parquet")
    assert flowd("filter", "-f", filters, "a.log", "dev.parquet", cwd=tmp_path).stdout == text_line("shop")[:-1]
    stored.rename(tmp_path / "renamed")
    with (tmp_path / "renamed").open("rb") as given:
        command = [*FLOWD, "filter", "-f", str(filters), "-", "renamed"]
        done = subprocess.run(
            command, stdin=given, capture_output=True, env=environment(), cwd=tmp_path, check=True
        )  # by its first bytes, in a file or redirected
    assert done.stdout == lines_of(KEPT) * 2


def test_pipes_with_names_go_into_parquet_whole(filters: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with started("filter", "-f", filters, "--to", "kept.parquet", "pipe", cwd=tmp_path) as child:
        (tmp_path / "pipe").write_bytes(text_line("shop") * 3)
        assert child.wait(DEADLINE_S) == 0
    assert parquet.read_table(tmp_path / "kept.parquet").num_rows == 3


def test_schemas_that_differ_are_joined(filters: Path, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"source_namespace": ["web", "dev"], "n": [1, 2]}), tmp_path / "a.parquet")
    later = pa.table({"n": [3], "policies": [["p"]], "source_namespace": ["web"]})
    parquet.write_table(later, tmp_path / "b.parquet")
    done = flowd("filter", "-f", filters, "--to", "c.parquet", "a.parquet", "b.parquet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert parquet.read_table(tmp_path / "c.parquet").to_pylist() == [
        {"source_namespace": "web", "n": 1, "policies": None},
        {"source_namespace": "web", "n": 3, "policies": ["p"]},
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (pa.table({"n": ["x"]}), "one Parquet file cannot hold the rows of both a.parquet and b.parquet: "),
        (None, "one Parquet file cannot hold both the lines of b.parquet and the columns of a.parquet"),
    ],
)
def test_what_one_file_cannot_hold_is_said_before_anything_is_written(
    filters: Path, tmp_path: Path, other: pa.Table | None, said: str
) -> None:
    parquet.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    if other is None:
        (tmp_path / "a.log").write_bytes(text_line("shop"))
        flowd("filter", "-f", filters, "--to", "b.parquet", "a.log", cwd=tmp_path)
    else:
        parquet.write_table(other, tmp_path / "b.parquet")
    done = flowd("filter", "-f", filters, "--to", "c.parquet", "a.parquet", "b.parquet", cwd=tmp_path)
    assert done.returncode == 74
    assert done.stderr.decode().startswith(f"flowd: {said}")
    assert not (tmp_path / "c.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "kept.csv"], "--to kept.csv: a Parquet file's name ends in .parquet"),
        (["--to", "kept.parquet", "--count"], "--count writes numbers only: leave out --to"),
    ],
)
def test_wrong_usage_is_said(filters: Path, arguments: list[str], said: str) -> None:
    done = flowd("filter", "-f", filters, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.decode()


def test_an_output_that_cannot_be_written_is_said(filters: Path, stored: Path, tmp_path: Path) -> None:
    done = flowd("filter", "-f", filters, "--to", tmp_path / "nosuch" / "a.parquet", stored)
    assert done.returncode == 74
    assert "a.parquet: " in done.stderr.decode()


@pytest.mark.parametrize("cut", [0, 3, 4, 100, -9, -1])
def test_a_cut_file_is_said_and_the_others_are_filtered(filters: Path, stored: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.parquet").write_bytes(stored.read_bytes()[:cut])
    for more in ([], ["--count"], ["--to", "kept.parquet"]):
        done = flowd("filter", "-f", filters, *more, "cut.parquet", stored, cwd=tmp_path)
        assert done.returncode == 74
        first, hint = done.stderr.decode().splitlines()
        assert first.startswith("flowd: cut.parquet: a damaged Parquet file: ")
        assert hint == "hint: the rows before the damage were taken"
    assert flowd("filter", "-f", filters, "cut.parquet", stored, cwd=tmp_path).stdout == lines_of(KEPT)
    assert parquet.read_table(tmp_path / "kept.parquet").num_rows == KEPT.num_rows


def test_damage_inside_is_said_after_the_rows_before_it(filters: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(some_rows(900), path, row_group_size=300, compression="zstd")
    column = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset
    content[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    done = flowd("filter", "-f", filters, path)
    assert done.returncode == 74
    assert b"a damaged Parquet file: " in done.stderr
    assert done.stdout == lines_of(FILTERS.filter_table(some_rows(300)))


@pytest.mark.parametrize("rows", [some_rows(0), pa.table({})])
def test_files_without_rows_keep_none(filters: Path, tmp_path: Path, rows: pa.Table) -> None:
    parquet.write_table(rows, tmp_path / "a.parquet")
    done = flowd("filter", "-f", filters, "--count", tmp_path / "a.parquet")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")
    writer = parquet.ParquetWriter(tmp_path / "b.parquet", rows.schema)
    writer.close()
    assert parquet.ParquetFile(tmp_path / "b.parquet").num_row_groups == 0
    done = flowd("filter", "-f", filters, "--to", tmp_path / "c.parquet", tmp_path / "b.parquet")
    assert (done.returncode, done.stderr) == (0, b"")
    assert parquet.read_schema(tmp_path / "c.parquet").equals(rows.schema)


def test_strings_that_are_no_utf8_are_kept_as_they_are(filters: Path, tmp_path: Path) -> None:
    bytes_ = pa.array([b"\xff\xfeshop", b"dev\xff", None], pa.binary())
    rows = pa.table({"source_namespace": bytes_.view(pa.string())})
    parquet.write_table(rows, tmp_path / "a.parquet")
    done = flowd("filter", "-f", filters, tmp_path / "a.parquet")
    assert done.stdout == b'{"source_namespace":"\xff\xfeshop"}\n{"source_namespace":null}\n'
    flowd("filter", "-f", filters, "--to", tmp_path / "b.parquet", tmp_path / "a.parquet")
    kept = parquet.read_table(tmp_path / "b.parquet").column(0).cast(pa.binary())
    assert kept.to_pylist() == [b"\xff\xfeshop", None]


def test_parquet_in_a_pipe_is_refused(filters: Path, stored: Path) -> None:
    done = flowd("filter", "-f", filters, lines=stored.read_bytes())
    assert (done.returncode, done.stdout) == (74, b"")
    assert done.stderr.startswith(b"flowd: standard input: Parquet is read from files only")


@pytest.mark.parametrize("arguments", [["a.parquet"], ["--to", "b.parquet", "a.log"]])
def test_without_pyarrow_it_is_said_what_to_install(filters: Path, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pyarrow.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.log").write_bytes(text_line("shop"))
    path = os.pathsep.join([str(tmp_path / "without"), environment()["PYTHONPATH"]])
    done = flowd("filter", "-f", filters, *arguments, cwd=tmp_path, extra={"PYTHONPATH": path})
    assert (done.returncode, done.stdout) == (78, b"")
    first, hint = done.stderr.decode().splitlines()
    assert first.endswith(f"ing {arguments[-1] if len(arguments) == 1 else 'b.parquet'} needs pyarrow")
    assert hint == "hint: pip install 'flowd[parquet]'"


def test_a_reader_that_goes_ends_it_quietly(filters: Path, tmp_path: Path) -> None:
    parquet.write_table(some_rows(60_000), tmp_path / "a.parquet")
    with started("filter", "-f", filters, tmp_path / "a.parquet") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(100)
        child.stdout.close()
        assert child.wait(DEADLINE_S) == -signal.SIGPIPE
        assert child.stderr.read() == b""


def test_progress_is_shown_on_a_terminal(filters: Path, stored: Path) -> None:
    ours, theirs = pty.openpty()
    script = (
        "import sys, flowd.cli.progress as progress; progress.PATIENCE_S = 0.0\n"
        "from flowd.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [FLOWD[0], "-c", script, "filter", "--count", "-f", str(filters), str(stored)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment(), check=True)
        assert done.stdout == b"666\n"
        assert "%" in os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_row_group_of_any_size_takes_little_memory(filters: Path, tmp_path: Path) -> None:
    names = pa.array(["shop", "dev", "web"] * 700_000).dictionary_encode()
    text = pa.array([f"{n:0200}" for n in range(1000)]).take(pa.array([n % 1000 for n in range(len(names))]))
    rows = pa.table({"source_namespace": names, "text": text})
    parquet.write_table(rows, tmp_path / "a.parquet", row_group_size=len(names))
    assert parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
    assert rows.nbytes > 400 << 20
    with started("filter", "-f", filters, "--to", tmp_path / "b.parquet", tmp_path / "a.parquet") as child:
        peak = follow_peak_bytes(child)
    assert child.returncode == 0
    assert parquet.ParquetFile(tmp_path / "b.parquet").metadata.num_rows == 1_400_000
    assert 0 < peak < 400 << 20


def test_batches_of_wide_or_heavy_groups_are_small(tmp_path: Path) -> None:
    wide = pa.table({f"c{n}": list(range(5000)) for n in range(500)})
    parquet.write_table(wide, tmp_path / "wide.parquet")
    with (tmp_path / "wide.parquet").open("rb") as file:
        rows = reading.ParquetRows(file.fileno(), "wide.parquet")
        sizes = [batch.num_rows for batch in rows.batches(0, ["c1"])]
    assert sizes[0] == reading.VALUES_MOST // 500
    assert sum(sizes) == 5000


@pytest.mark.parametrize("threads", ["1", "3"])
def test_compare_reads_rows_as_lines(filters: Path, stored: Path, tmp_path: Path, threads: str) -> None:
    new = tmp_path / "new.conf"
    new.write_text(DEV_FILTER.replace("pattern dev", "pattern shop"))
    (tmp_path / "flows.log").write_bytes(lines_of(ROWS))
    told = [
        flowd("compare", "--threads", threads, "-o", "json", filters, new, name, cwd=tmp_path)
        for name in (stored.name, "flows.log")
    ]
    assert [each.returncode for each in told] == [0, 0]
    assert json.loads(told[0].stdout) == json.loads(told[1].stdout)
    assert json.loads(told[0].stdout)["lines"] == 1000


def test_explain_reads_rows_as_lines(filters: Path, stored: Path) -> None:
    done = flowd("explain", "-f", filters, "-o", "json", stored)
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()[:4]] == ["drop", "keep", "keep", "drop"]
