"""`flowd tap`: some of the lines that the daemon drops, or keeps, at this moment, each with its rule."""

from __future__ import annotations

import click

from flowd.cli.command import Command, compose, option, output_option, runtime_option, stream_option, timeout_option
from flowd.cli.runtime import find_endpoint, require_stream_name
from flowd.cli.tapping import Tapping, Wanted
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd tap --count 20",
    "flowd tap flows --kept --rule default --count 5 -o json",
)


@click.command(cls=Command, name="tap", examples=EXAMPLES)
@compose(stream_option(), runtime_option(), timeout_option(10.0), output_option("table", "json", "raw"))
@option("--dropped/--kept", "is_dropped", default=True, help="Which lines: dropped ones if not given.")
@option("--rule", metavar="NAME", help="Only lines that this rule has decided.")
@option(
    "--rate", is_shared=False, type=click.IntRange(1, 500), default=10, metavar="N", help="At most N lines a second."
)
@option("-n", "--lines", "--count", "limit", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("view", required=False)
def command(
    view: str | None,
    stream: str,
    runtime_dir: str | None,
    timeout_s: float,
    output: str,
    is_dropped: bool,
    rule: str | None,
    rate: int,
    limit: int | None,
    quiet: bool,
) -> int:
    """Write a sample of the lines that VIEW (a stream, --stream if not given, or a view of one) drops at this moment,
    or keeps with --kept: when each was decided, how, by which rule, and where that stands.

    Of a view they are those that its own filters drop of what the stream keeps. How many lines were not shown is said
    on standard error. -o raw writes the lines alone, for `flowd explain` and the like. Exits with 69 where no daemon
    answers within --timeout; once one has answered, waits for ever, through its restarts.
    """
    view = stream if view is None else view
    require_stream_name(view, "view")
    wanted = Wanted(view, "dropped" if is_dropped else "kept", rule, rate)
    tapping = Tapping(find_endpoint(runtime_dir, "admin"), wanted, output, limit, is_quiet=quiet)
    try:
        tapping.begin(timeout_s)
        while not tapping.is_full:
            tapping.go_on()
    finally:
        tapping.say_left_out()
    return EXIT_DONE
