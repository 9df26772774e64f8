"""`flowd run`: the daemon in the foreground, until it is told to end."""

from __future__ import annotations

import logging
import sys

import click

from flowd.cli.command import FILTERS_HELP, Command, compose, option, reading_options
from flowd.cli.output import write_text
from flowd.cli.table import show_number
from flowd.cli.talk import say_warnings
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd run -f filters/ --runtime-dir ./run --state-dir ./state",
    "flowd run -f filters/ --check",
)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@click.command(cls=Command, name="run", examples=EXAMPLES)
@option("-c", "--config", "config_path", metavar="FILE", help="The configuration; without it, defaults.")
@option("-f", "--filters-path", "path", metavar="PATH", is_configured=True, help=FILTERS_HELP)
@compose(*reading_options())
@option("--runtime-dir", metavar="DIR", is_configured=True, help="Where the sockets are made.")
@option("--state-dir", metavar="DIR", is_configured=True, help="Where lasting state is kept.")
@option("--drain-s", metavar="TIME", is_configured=True, help="How long an end may take, as 30 or 5m.")
@option("--workers", metavar="N", is_configured=True, help="Threads that decide; 0: the one that receives.")
@option("--check", is_flag=True, is_shared=False, help="Validate the configuration and the filters, and end.")
@option(
    "--log-level", type=click.Choice(("debug", "info", "warning", "error")), default="info", help="How much to say."
)
def command(
    config_path: str | None,
    path: str | None,
    dialect: str | None,
    skip_unsupported: bool,
    runtime_dir: str | None,
    state_dir: str | None,
    drain_s: str | None,
    workers: str | None,
    check: bool,
    log_level: str,
) -> int:
    """Run the daemon: take lines from producers, filter them, and publish what is kept.

    A flag goes before the environment (FLOWD_RUNTIME_DIR, FLOWD_STATE_DIR, FLOWD_FILTERS_PATH, FLOWD_DRAIN_S,
    FLOWD_WORKERS), that before the configuration file, that before the default. SIGTERM drains and ends; a second one
    ends at once.
    """
    from flowd.relay.config import load_config

    overrides = {
        "runtime.dir": runtime_dir,
        "runtime.state_dir": state_dir,
        "runtime.drain_s": drain_s,
        "runtime.workers": workers,
        "filters.path": path,
        "filters.dialect": dialect,
        "filters.skip_unsupported": skip_unsupported or None,
    }
    config = load_config(config_path, overrides)
    if check:
        from flowd.relay.deciding.rulebook import read_rulebook
        from flowd.relay.deciding.streams import FIRST_STREAM

        rulebook = read_rulebook(config.filters, config.views)
        streams = dict.fromkeys((FIRST_STREAM, *config.sources.streams))
        sets = {name: rulebook.compile(name) for name in streams}
        sets |= {view.name: view.filter_set for view in rulebook.compile_views(0)}
        say_warnings(dict.fromkeys(warning for filters in sets.values() for warning in filters.warnings))
        rules = ", ".join(f"{show_number(len(filters.rules), 'rule')} for {name}" for name, filters in sets.items())
        write_text(f"the configuration is valid: {rules}\n")
        return EXIT_DONE
    logging.basicConfig(level=log_level.upper(), format=LOG_FORMAT, stream=sys.stderr)
    from flowd.relay.running import run

    return run(config)
