"""`flowd filter`: kept lines to standard output, like grep. Its options as click has them, with their help."""

from __future__ import annotations

from typing import Any

import click

from flowd.archives.lines import PARQUET_SUFFIX
from flowd.cli.command import (
    Command,
    compose,
    filter_options,
    format_option,
    line_column_option,
    option,
    output_option,
    stream_option,
)
from flowd.cli.filtering.job import filter_files

EXAMPLES = (
    "flowd filter -f filters/ flows.log > kept.log",
    "zcat flows.log.gz | flowd filter -f filters/ --stats --count",
)


@click.command(cls=Command, name="filter", examples=EXAMPLES)
@compose(filter_options(), stream_option(), format_option())
@option("--invert", is_flag=True, help="Write the dropped lines instead; malformed ones still as --malformed says.")
@option("--count", is_flag=True, help="Write only how many lines are kept.")
@option("--stats", is_flag=True, help="Say at the end what each rule decided (on standard error).")
@option(
    "--threads",
    type=click.IntRange(0, 256),
    default=0,
    help="Threads that filter; the lines' order stays. 0: chosen by the size of the files.",
)
@option(
    "--malformed",
    type=click.Choice(("keep", "drop", "fail")),
    default="keep",
    help="What becomes of malformed lines; fail stops at the first with exit code 74.",
)
@option(
    "--to",
    is_shared=False,
    metavar="FILE",
    help="Write what is kept into this Parquet file: its name ends in .parquet.",
)
@line_column_option()
@option("-e", "--exit-status", is_flag=True, help="Exit with 1 when nothing is kept.")
@option("-q", "--quiet", is_flag=True, help="Say no warnings and show no progress.")
@output_option("text", "json")
@click.argument("files", nargs=-1, metavar="[FILE]...")
def command(**asked: Any) -> int:
    """Write the lines that the filters keep, byte for byte and in order, to standard output.

    Reads each FILE, or standard input where none is given or FILE is `-`. What is compressed with gzip or zstd is
    opened. Malformed lines, and lines on which matching failed, are kept. `-o json` is the form of --count and --stats.

    Of a Parquet file the rows are kept whose JSON lines would be; they are written as such, or with --to as they are.
    """
    if asked["to"] is not None and asked["count"]:
        raise click.UsageError("--count writes numbers only: leave out --to")
    if asked["to"] is not None and not asked["to"].endswith(PARQUET_SUFFIX):
        raise click.UsageError(f"--to {asked['to']}: a Parquet file's name ends in {PARQUET_SUFFIX}")
    return filter_files(**asked)
