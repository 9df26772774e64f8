"""Makes a year of logs to try things on: a file a day, gzip, zstd and Parquet by turns.

    python examples/make_year.py year/ --days 2 --flushes 1

Lines are generated (flowd.corpus), the same on every machine: some 2,400 a flush. Needs pyarrow.
"""

from __future__ import annotations

import argparse
import gzip
import io
from itertools import islice
from pathlib import Path

import zstandard
from pyarrow import json as arrow_json
from pyarrow import parquet

from flowd.corpus import generate

MOST_FLUSH_LINES = 2_800
KINDS = ("log.gz", "log.zst", "parquet")


def write_day(path: Path, lines: bytes) -> None:
    """Writes one day's lines, as the file's name asks."""
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines, compresslevel=1))
    elif path.name.endswith(".zst"):
        path.write_bytes(zstandard.ZstdCompressor().compress(lines))
    else:
        parquet.write_table(arrow_json.read_json(io.BytesIO(lines)), path, compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a year of generated flow logs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=28, help="days in each month")
    parser.add_argument("--flushes", type=int, default=4, help="flushes of lines in each day")
    chosen = parser.parse_args()
    flushes = generate("json", 12 * chosen.days * chosen.flushes * MOST_FLUSH_LINES, 1, "low")
    for month in range(1, 13):
        folder = chosen.folder / f"2025-{month:02}"
        folder.mkdir(parents=True, exist_ok=True)
        for day in range(1, chosen.days + 1):
            lines = b"".join(islice(flushes, chosen.flushes))
            write_day(folder / f"2025-{month:02}-{day:02}.{KINDS[day % len(KINDS)]}", lines)


if __name__ == "__main__":
    main()
