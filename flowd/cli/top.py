"""`flowd top`: what goes through the daemon, live on the terminal, or once as tables or JSON."""

from __future__ import annotations

import os
import sys
import time

import click

from flowd.cli.command import Command, NumberRange, compose, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.talk import is_terminal
from flowd.cli.watching.tables import SORTS, render_once
from flowd.errors import EXIT_DONE, EXIT_USAGE, FlowdError

EXAMPLES = (
    "flowd top --once",
    "flowd top --once --interval 0.5 -o json",
)


class NoScreen(FlowdError):
    """The live view cannot be shown here."""

    exit_code = EXIT_USAGE


@click.command(cls=Command, name="top", examples=EXAMPLES)
@compose(runtime_option(), timeout_option(5.0), output_option("text", "json"))
@option("--once", is_flag=True, help="Look twice, write the rates between, and end.")
@option(
    "--interval",
    "interval_s",
    type=NumberRange(0.1, 3600),
    default=1.0,
    metavar="SECONDS",
    help="Between two looks.",
)
@option("--sort", type=click.Choice(SORTS), default="rate", help="How rules are sorted.")
def command(runtime_dir: str | None, timeout_s: float, output: str, once: bool, interval_s: float, sort: str) -> int:
    """Watch what goes through the daemon: lines and bytes a second, kept and dropped, by stream and by rule, how far
    consumers are behind, and how the daemon is.

    On a terminal it goes on until q is pressed; ? shows the other keys. It waits where the daemon is restarted. With
    --once it looks twice, --interval apart, and writes tables, or with -o json one object. Exits with 69 where no
    daemon answers within --timeout.
    """
    if output == "json" and not once:
        raise click.UsageError("-o json is for --once: the live view is for a terminal")
    endpoint = find_endpoint(runtime_dir, "admin")
    if once:
        require_socket(endpoint)
        from flowd.cli.watching.look import look
        from flowd.cli.watching.rates import measure

        before = look(endpoint, timeout_s)
        time.sleep(interval_s)
        after = look(endpoint, timeout_s)
        rates = measure(before, after, time.time_ns())
        if output == "json":
            write_json(rates)
        else:
            write_text(render_once(rates, sort))
        return EXIT_DONE
    if not is_terminal(sys.stdout):
        raise NoScreen(
            "standard output is no terminal", hint="`flowd top --once` writes tables, with -o json one object"
        )
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise NoScreen("this terminal cannot move its cursor (TERM)", hint="`flowd top --once` writes tables")
    try:
        from flowd.cli.watching.screen import show_live
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "rich":
            raise
        hint = "install it with `pip install 'flowd[tui]'`, or use `flowd top --once`"
        raise NoScreen("the live view needs the package rich", hint=hint) from None
    require_socket(endpoint)
    show_live(endpoint, interval_s, timeout_s, sort)
    return EXIT_DONE
