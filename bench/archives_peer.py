"""What flowd is measured beside on Parquet: pyarrow and msgspec as a program would use them, each in a process.

    python bench/archives_peer.py read|filter|lines IN.parquet [OUT.parquet]

read    the two columns that the namespace filter reads, and nothing else
filter  rows without `dev` in either, by pyarrow's own kernel, into OUT; says how many there are
lines   every row as a JSON line, through Python's dicts and msgspec, to standard output
"""

from __future__ import annotations

import sys

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

BATCH_ROWS = 16_384
GROUP_ROWS = 1 << 17
COLUMNS = ["source_namespace", "dest_namespace"]


def _write(writer: parquet.ParquetWriter, waiting: list[pa.RecordBatch]) -> int:
    """Writes a row group; returns its rows."""
    if not waiting:
        return 0
    table = pa.Table.from_batches(waiting)
    waiting.clear()
    writer.write_table(table)
    return int(table.num_rows)


def main() -> None:
    work, given, *out = sys.argv[1:]
    pa.set_cpu_count(1)
    file = parquet.ParquetFile(given)
    if work == "read":
        print(sum(batch.num_rows for batch in file.iter_batches(columns=COLUMNS, use_threads=False)))
    elif work == "filter":
        kept, waiting = 0, []
        with parquet.ParquetWriter(out[0], file.schema_arrow, compression="zstd") as writer:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                found = (pc.match_substring(batch.column(name), "dev") for name in COLUMNS)
                waiting.append(batch.filter(pc.invert(pc.or_(*found))))
                if sum(rows.num_rows for rows in waiting) >= GROUP_ROWS:
                    kept += _write(writer, waiting)
            kept += _write(writer, waiting)
        print(kept)
    else:
        encode = msgspec.json.Encoder().encode_lines
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            sys.stdout.buffer.write(encode(batch.to_pylist()))


if __name__ == "__main__":
    main()
