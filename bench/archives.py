"""`flowd filter` on Parquet as a whole process, start-up included, beside pyarrow: one core, one thread each.

Counting kept rows beside reading the two columns alone, which flowd cannot be faster than; kept rows into Parquet
beside pyarrow's own kernel for the same filter, which must keep as many; rows as JSON lines beside msgspec.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
from daemon_process import child_environment
from measure import WARM_UP_ROUNDS, Row, one_core, rates, run_in_turns, run_process, speed_ratios, spread
from pyarrow import json as arrow_json
from pyarrow import parquet
from settings import BENCH, NAMESPACE_FILTER, Corpus, Settings

from flowd.errors import FlowdError

MILLION = 1e6
PART_LINES = 5
"""Of the JSON lines of `process`: they are made into a table at once."""
GROUP_ROWS = 1 << 17


def run(settings: Settings) -> list[Row]:
    """A row for each thing that is done with Parquet."""
    corpus = settings.corpus("json", settings.scale.json_lines // PART_LINES)
    settings.say(f"archives: {corpus.lines:,} rows of Parquet beside pyarrow")
    rows = _stored(corpus)
    peer = (sys.executable, str(BENCH / "archives_peer.py"))
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory, one_core():
        folder = Path(directory)
        (folder / "namespace.conf").write_text(NAMESPACE_FILTER)
        (folder / "all.conf").write_text("# keeps everything\n")
        flowd = (sys.executable, "-m", "flowd", "filter", "-q", "--threads", "1", "-f")
        ours, theirs = folder / "ours.parquet", folder / "theirs.parquet"
        found = [
            _compare(
                settings,
                corpus,
                "flowd filter --count",
                (*flowd, str(folder / "namespace.conf"), "--count", str(rows)),
                "pyarrow, reading the two columns alone",
                (*peer, "read", str(rows)),
            ),
            _compare(
                settings,
                corpus,
                "flowd filter --to",
                (*flowd, str(folder / "namespace.conf"), "--to", str(ours), str(rows)),
                "pyarrow, match_substring and ParquetWriter",
                (*peer, "filter", str(rows), str(theirs)),
            ),
            _compare(
                settings,
                corpus,
                "flowd filter, rows as JSON lines",
                (*flowd, str(folder / "all.conf"), str(rows)),
                "pyarrow to_pylist, msgspec",
                (*peer, "lines", str(rows)),
            ),
        ]
        kept = [parquet.ParquetFile(path).metadata.num_rows for path in (ours, theirs)]
        if kept[0] != kept[1]:
            raise FlowdError(f"flowd keeps {kept[0]} rows, pyarrow {kept[1]}")
    return found


def _stored(corpus: Corpus) -> Path:
    """The corpus as Parquet, beside its lines; made where it is not there."""
    path = corpus.path.with_suffix(".parquet")
    if not path.exists():
        unfinished = path.with_suffix(".part")
        table = arrow_json.read_json(pa.OSFile(str(corpus.path)))
        parquet.write_table(table, unfinished, compression="zstd", row_group_size=GROUP_ROWS)
        unfinished.rename(path)
    return path


def _compare(
    settings: Settings, corpus: Corpus, what: str, command: Sequence[str], peer: str, peer_command: Sequence[str]
) -> Row:
    cpu: dict[str, list[float]] = {"flowd": [], "peer": []}

    def contestant(name: str, of: Sequence[str]) -> Callable[[], float]:
        def once() -> float:
            ended = run_process(of, child_environment())
            if ended.code:
                raise FlowdError(f"{' '.join(of)} ended with exit code {ended.code}")
            cpu[name].append(ended.cpu_s)
            return ended.wall_s

        return once

    times = run_in_turns(
        {"flowd": contestant("flowd", command), "peer": contestant("peer", peer_command)}, settings.scale.rounds
    )
    costs = {name: f"{spread(taken[WARM_UP_ROUNDS:]).median:.2f} s" for name, taken in cpu.items()}
    return Row(
        part="archives",
        what=f"{what}, {corpus.lines:,} rows of Parquet",
        unit="M rows/s",
        figure=rates(corpus.lines / MILLION, times["flowd"]),
        peer=peer,
        peer_figure=rates(corpus.lines / MILLION, times["peer"]),
        ratio=speed_ratios(times["flowd"], times["peer"]),
        note=f"on the processor: flowd {costs['flowd']}, peer {costs['peer']}",
    )
