"""`flowd compare`: what new filters drop or keep otherwise than old ones."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from flowd.archives.lines import STDIN
from flowd.cli.command import (
    DIALECTS,
    Command,
    compose,
    format_option,
    line_column_option,
    option,
    output_option,
    reading_options,
    runtime_option,
    stream_option,
    timeout_option,
)
from flowd.cli.filter_loading import load_filters
from flowd.cli.output import write_text
from flowd.cli.talk import say
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO
from flowd.readable import make_all_readable

if TYPE_CHECKING:
    from flowd.filterset import FilterSet, Format

EXAMPLES = (
    "flowd compare filters/ new/ flows.log",
    "zcat flows.log.gz | flowd compare --examples 1 -o json filters/ new/",
)
SINCE = "1h"


@click.command(cls=Command, name="compare", examples=EXAMPLES)
@compose(*reading_options())
@option("--old-dialect", type=click.Choice(DIALECTS), help="The dialect of OLD, if not --dialect.")
@option("--new-dialect", type=click.Choice(DIALECTS), help="The dialect of NEW, if not --dialect.")
@compose(stream_option(), format_option())
@option("--examples", type=click.IntRange(min=0), default=3, metavar="N", help="Lines shown of each pair of rules.")
@option("--rules", is_flag=True, help="Tell other rules, too, where the verdict stays.")
@option("--journal", is_flag=True, help="Compare on what a running daemon has kept; PATH is NEW alone.")
@option(
    "--since",
    is_shared=False,
    metavar="TIME",
    help=f"With --journal: what was kept since then: 5m, 2h, or a date.  [default: {SINCE}]",
)
@compose(runtime_option(), timeout_option(10.0))
@option("--threads", type=click.IntRange(0, 256), default=0, help="Threads that compare. 0: chosen by the files' size.")
@line_column_option()
@option("-e", "--exit-status", is_flag=True, help="Exit with 1 when anything is decided otherwise.")
@option("-q", "--quiet", is_flag=True, help="Say no warnings and show no progress.")
@output_option("text", "json")
@click.argument("paths", nargs=-1, required=True, metavar="OLD NEW [FILE]...")
def command(
    paths: tuple[str, ...],
    dialect: str | None,
    old_dialect: str | None,
    new_dialect: str | None,
    skip_unsupported: bool,
    stream: str,
    form: Format,
    examples: int,
    rules: bool,
    journal: bool,
    since: str | None,
    runtime_dir: str | None,
    timeout_s: float,
    threads: int,
    line_column: str | None,
    exit_status: bool,
    quiet: bool,
    output: str,
) -> int:
    """Say which lines the filters NEW drop or keep otherwise than the filters OLD, by pairs of rules, with examples.

    Compares on the lines of each FILE, or of standard input where none is given or FILE is `-`. What is compressed with
    gzip or zstd is opened, and the rows of Parquet are read as JSON lines. Lines that both keep, but one as malformed
    or with an error, are told, too.

    With --journal, NEW alone is given, and OLD is the daemon that runs: the kept lines that its journal holds are
    compared, and what NEW would keep of dropped ones is estimated from the daemon's sample of them.
    """

    def load(path: str, of_path: str | None) -> FilterSet:
        return load_filters(path, stream, of_path or dialect, skip_unsupported, form, quiet=quiet)

    if journal:
        if len(paths) != 1 or old_dialect is not None or rules:
            raise click.UsageError("--journal takes one PATH, the new filters, without --rules and --old-dialect")
        described = _compare_with_daemon(
            load(paths[0], new_dialect), paths[0], since or SINCE, examples, form, runtime_dir, timeout_s, quiet
        )
        write_text(_show(described, output))
        differs = bool(described["changes"] or described["estimate"]["changes"])
        return EXIT_NO if exit_status and differs else EXIT_DONE
    if len(paths) < 2 or since is not None:
        raise click.UsageError("--since is for --journal" if since else "give two paths: the filters OLD and NEW")
    from flowd.cli.comparing.files import Comparing
    from flowd.cli.comparing.report import describe_comparison
    from flowd.comparison import Comparison

    old_path, new_path, *files = paths
    old, new = load(old_path, old_dialect), load(new_path, new_dialect)
    comparison = Comparison(old, new, examples=examples, format=form, with_rules=rules)
    comparing = Comparing(comparison, files or (STDIN,), threads=threads, quiet=quiet, line_column=line_column)
    comparing.run()
    write_text(_show(describe_comparison(comparison, old_path, new_path), output))
    if comparing.has_failed:
        return EXIT_IO
    return EXIT_NO if exit_status and comparison.changes else EXIT_DONE


def _compare_with_daemon(
    new: FilterSet,
    path: str,
    since: str,
    examples: int,
    form: Format,
    runtime_dir: str | None,
    timeout_s: float,
    quiet: bool,
) -> dict[str, Any]:
    from flowd.cli.comparing.journal import Journal, compare_kept, describe_journal, estimate_dropped
    from flowd.cli.observe import parse_since
    from flowd.cli.runtime import find_endpoint, require_socket, require_stream_name

    require_stream_name(new.stream, "stream")
    since_ns = parse_since(since, time.time_ns())
    consume, admin = (find_endpoint(runtime_dir, lane) for lane in ("consume", "admin"))
    require_socket(admin)
    journal = Journal(consume, admin, new.stream, since_ns, timeout_s)
    spans = journal.read_dropped()
    comparison = compare_kept(journal, new, examples, form, quiet=quiet)
    if journal.missed_lines and not quiet:
        say(f"flowd: missed {journal.missed_lines} lines that the journal does not hold any more")
    return describe_journal(comparison, estimate_dropped(spans, new, examples, form), path, since_ns)


def _show(described: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(make_all_readable(described)) + "\n"
    if "estimate" in described:
        from flowd.cli.comparing.journal import render_journal

        return render_journal(described)
    from flowd.cli.comparing.report import render_comparison

    return render_comparison(described)
