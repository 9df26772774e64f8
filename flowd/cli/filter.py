"""`flowd filter`: kept lines to standard output, like grep."""

from __future__ import annotations

import json

import click

from flowd.cli.command import Command, compose, filter_options, format_option, option, output_option, stream_option
from flowd.cli.filtering import Filtering, Wishes
from flowd.cli.filters import load_filters
from flowd.cli.lines import STDIN
from flowd.cli.stats import describe_stats, render_stats
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO

EXAMPLES = (
    "flowd filter -f filters/ flows.log > kept.log",
    "zcat flows.log.gz | flowd filter -f filters/ --stats --count",
)


@click.command(cls=Command, name="filter", examples=EXAMPLES)
@compose(filter_options(), stream_option(), format_option())
@option("--invert", is_flag=True, help="Write the dropped lines instead.")
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
@option("-e", "--exit-status", is_flag=True, help="Exit with 1 when nothing is kept.")
@option("-q", "--quiet", is_flag=True, help="Say no warnings and show no progress.")
@output_option("text", "json")
@click.argument("files", nargs=-1, metavar="[FILE]...")
def command(
    files: tuple[str, ...],
    path: str,
    stream: str,
    form: str,
    dialect: str | None,
    skip_unsupported: bool,
    stats: bool,
    exit_status: bool,
    quiet: bool,
    output: str,
    **wishes: object,
) -> int:
    """Write the lines that the filters keep, byte for byte and in order, to standard output.

    Reads each FILE, or standard input where none is given or FILE is `-`. What is compressed with gzip or zstd is
    opened. Malformed lines, and lines on which matching failed, are kept. `-o json` is the form of --count and --stats.
    """
    filters = load_filters(path, stream, dialect, skip_unsupported, form, quiet=quiet)  # type: ignore[arg-type]
    chosen = Wishes(as_json=output == "json", quiet=quiet, **wishes)  # type: ignore[arg-type]
    filtering = Filtering(filters, chosen, files or (STDIN,))
    filtering.run()
    if stats:
        described = describe_stats(filters, filtering.totals)
        say(json.dumps(described) if output == "json" else render_stats(described).rstrip("\n"))
    if filtering.has_failed:
        return EXIT_IO
    return EXIT_NO if exit_status and not filtering.totals.kept_lines else EXIT_DONE
