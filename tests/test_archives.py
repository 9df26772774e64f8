"""Stored lines replayed: a file gives what comparing it gives, wherever it is done, and a cluster loses none."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask.bag
import pyarrow as pa
import pytest
import zstandard
from cli_bed import DEV_FILTER, ROOT, environment, flowd, json_line, text_line
from dask.bytes import read_bytes
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import flowd as library
from flowd.archives import Replayed, replay, replay_file
from flowd.archives.parquet_writing import LINES_SCHEMA, ParquetSink
from flowd.archives.replaying import AHEAD
from flowd.comparison import Change, Sum

OLD = library.compile(DEV_FILTER)
NEW = library.compile(DEV_FILTER.replace("pattern dev", "pattern shop"))
WORKERS = 2


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of processes, started once: what goes to them and comes back is pickled.

    Dask leaves what it sets for its workers (the allocator's bounds, threads of libraries) in this process'
    environment, where the processes of every later test would find it.
    """
    with (
        patch.dict(os.environ),
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def lines_of(number: int) -> bytes:
    """Lines that are told from those of other numbers by how many they are."""
    names = ("dev", "shop", "web")
    return b"".join(text_line(names[n % 3], n) for n in range(number)) + json_line("dev") * number


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of every kind, more than are sent to the workers at once."""
    folder = tmp_path_factory.mktemp("year")
    paths = []
    for number in range(1, AHEAD * WORKERS + 8):
        lines = lines_of(number)
        kind = ("log", "log.gz", "log.zst", "parquet")[number % 4]
        path = folder / f"2025-{number:02}.{kind}"
        if kind == "parquet":
            with ParquetSink(str(path), LINES_SCHEMA) as sink:
                sink.write_lines(lines)
        else:
            pack = {"log": bytes, "log.gz": gzip.compress, "log.zst": zstandard.ZstdCompressor().compress}[kind]
            path.write_bytes(pack(lines))
        paths.append(str(path))
    return paths


def compared(path: str) -> dict[str, Any]:
    """What `flowd compare` would say: the sets as it makes them."""
    number = int(Path(path).name[5:7])
    lines = lines_of(number)
    dropped = [filters.twin().verdicts(lines) for filters in (OLD, NEW)]
    return {
        "lines": len(dropped[0]),
        "bytes": len(lines),
        "old_dropped": dropped[0].count(b"D"),
        "new_dropped": dropped[1].count(b"D"),
    }


def told(replayed: Replayed) -> dict[str, Any]:
    return {
        "lines": replayed.lines,
        "bytes": replayed.bytes,
        "old_dropped": replayed.old_dropped.lines,
        "new_dropped": replayed.new_dropped.lines,
    }


def test_every_file_is_replayed_once_by_other_processes(client: Client, stored: list[str]) -> None:
    found = list(replay(stored, OLD, NEW, client=client, examples=1))
    assert sorted(path for path, _ in found) == stored
    assert {path: told(replayed) for path, replayed in found} == {path: compared(path) for path in stored}
    here = dict(replay(stored, OLD, NEW, examples=1))
    assert dict(found) == here
    assert {change.direction for change in here[stored[5]].changes} == {"newly dropped", "newly kept"}


def test_what_cannot_be_read_is_told_and_the_rest_is_replayed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines_of(10_000))[:-100])
    (tmp_path / "a.log").write_bytes(lines_of(2))
    names = [str(tmp_path / name) for name in ("nosuch", "cut.gz", "a.log")]
    for found in (dict(replay(names, OLD, NEW)), dict(replay(names, OLD, NEW, client=client))):
        assert found[names[0]] == Replayed(failures=(f"{names[0]}: No such file or directory",))
        assert found[names[1]].failures == (f"{names[1]}: a damaged gzip archive: it ends in the middle",)
        assert found[names[1]].lines > 0
        assert (found[names[2]].lines, found[names[2]].failures) == (4, ())


def test_no_files_are_no_work(client: Client) -> None:
    assert list(replay([], OLD, NEW, client=client)) == list(replay([], OLD, NEW)) == []


def test_lines_in_a_column_are_replayed_as_lines(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"log": ["{}", json_line("dev").decode()]}), tmp_path / "a.parquet")
    found = replay_file(str(tmp_path / "a.parquet"), OLD, NEW, line_column="log", examples=1)
    assert found.changes == (
        Change("D", "filter1.exclude1", "K", "default", 1, len(json_line("dev")), (json_line("dev")[:-1],)),
    )


CHANGES = st.builds(
    Change,
    st.just("D"), st.sampled_from(["a", "b"]), st.just("K"), st.just("default"), st.integers(1, 9), st.integers(1, 99),
    st.lists(st.sampled_from([b"x", b"y"]), max_size=1).map(tuple),
)  # fmt: skip
PARTS = st.builds(
    Replayed,
    st.integers(0, 9), st.integers(0, 99), st.builds(Sum, st.integers(0, 9), st.integers(0, 9)),
    st.builds(Sum, st.integers(0, 9), st.integers(0, 9)),
    st.lists(CHANGES, max_size=2, unique_by=lambda change: change.pair).map(tuple), st.just(()),
)  # fmt: skip


@given(parts=st.lists(PARTS, max_size=4), turn=st.integers(0, 3))
def test_files_add_up_in_any_order(parts: list[Replayed], turn: int) -> None:
    def total(of: list[Replayed]) -> Replayed:
        whole = Replayed()
        for part in of:
            whole = whole.plus(part)
        return whole

    one, other = total(parts), total(parts[turn:] + parts[:turn])
    assert one[:4] == other[:4]
    assert [change[:6] for change in one.changes] == [change[:6] for change in other.changes]
    assert one.lines == sum(part.lines for part in parts)
    assert sum(change.lines for change in one.changes) == sum(c.lines for part in parts for c in part.changes)
    assert pickle.loads(pickle.dumps(one)) == one


def test_bags_of_lines_are_filtered_by_other_processes(client: Client, stored: list[str]) -> None:
    plain = [path for path in stored if path.endswith(".log")]
    wanted = b"".join(OLD.filter(Path(path).read_bytes()) for path in plain)
    _, blocks = read_bytes(plain, delimiter=b"\n", blocksize=300)
    bag = dask.bag.from_delayed([block for blocks_of_file in blocks for block in blocks_of_file])
    assert bag.npartitions > len(plain)
    partitions = client.gather(client.compute(bag.map_partitions(OLD.filter).to_delayed()))
    assert b"".join(partitions) == wanted
    lines = dask.bag.from_sequence(wanted.splitlines(keepends=True), npartitions=3)
    assert lines.map(OLD.filter).compute() == wanted.splitlines(keepends=True)
    assert lines.map(NEW.filter).filter(None).count().compute() == NEW.verdicts(wanted).count(b"K")


def test_bags_of_tables_are_filtered_by_other_processes(client: Client, stored: list[str]) -> None:
    paths = [path for path in stored if path.endswith(".parquet")]
    kept = client.gather(client.compute(dask.bag.from_sequence(paths).map(parquet.read_table).map(OLD.filter_table)))
    assert kept == [OLD.filter_table(parquet.read_table(path)) for path in paths]
    assert all(0 < table.num_rows < parquet.read_table(path).num_rows for table, path in zip(kept, paths, strict=True))


def run_example(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment(), timeout=120, check=False)


def test_a_year_is_made_and_replayed_by_months(client: Client, tmp_path: Path) -> None:
    for name, text in (("old", DEV_FILTER), ("new", DEV_FILTER.replace("source_n", "dest_n"))):
        (tmp_path / f"{name}.conf").write_text(text)
    made = run_example("make_year.py", tmp_path / "year", "--days", "2", "--flushes", "1")
    assert (made.returncode, made.stderr) == (0, b"")
    files = sorted(path for path in (tmp_path / "year").rglob("*") if path.is_file())
    assert (len(files), {path.suffix for path in files}) == (24, {".zst", ".parquet"})
    given = [tmp_path / "old.conf", tmp_path / "new.conf", tmp_path / "year"]
    at = client.scheduler_info()["address"]
    done = run_example("replay_year.py", *given, "--scheduler", at, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(b"24 of 24 files, ")
    months = json.loads(done.stdout)
    assert list(months) == [f"2025-{month:02}" for month in range(1, 13)]
    told = flowd("compare", "-q", "-o", "json", *given[:2], *files)
    year = json.loads(told.stdout)
    for key in ("lines", "bytes"):
        assert sum(month[key] for month in months.values()) == year[key]
    for change in year["changes"]:
        lines = [
            found["lines"]
            for month in months.values()
            for found in month["changes"]
            if (found["change"], found["old_rule"]) == (change["change"], change["old_rule"])
        ]
        assert (len(lines), sum(lines)) == (12, change["lines"])
