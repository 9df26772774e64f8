"""One `flowd filter`, from what was asked for to its exit code. Knows nothing of click."""

from __future__ import annotations

from flowd.archives.lines import STDIN
from flowd.cli.filter_loading import load_filters
from flowd.cli.filtering.lines import Filtering, Wishes
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO


def filter_files(
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
    """Filters the files (standard input where there are none) to standard output; returns the exit code.

    Raises what `flowd.load` and Filtering.run raise.
    """
    filters = load_filters(path, stream, dialect, skip_unsupported, form, quiet=quiet)  # type: ignore[arg-type]
    chosen = Wishes(as_json=output == "json", quiet=quiet, **wishes)  # type: ignore[arg-type]
    filtering = Filtering(filters, chosen, files or (STDIN,))
    filtering.run()
    if stats:
        from flowd.cli.stats import show_stats

        show_stats(filters, filtering.totals, as_json=output == "json")
    if filtering.has_failed:
        return EXIT_IO
    return EXIT_NO if exit_status and not filtering.totals.kept_lines else EXIT_DONE
