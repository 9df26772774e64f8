"""`flowd run`: the daemon in the foreground, until it is told to end."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import click

from flowd.cli.command import FILTERS_HELP, Command, compose, option, reading_options
from flowd.cli.output import write_text
from flowd.cli.table import show_number
from flowd.cli.talk import say_warnings
from flowd.errors import EXIT_DONE, ConfigError, FilterError, Problem

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.relay.config import Config, Filters, View

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
    from flowd.relay.config import read_config

    overrides = {
        "runtime.dir": runtime_dir,
        "runtime.state_dir": state_dir,
        "runtime.drain_s": drain_s,
        "runtime.workers": workers,
        "filters.path": path,
        "filters.dialect": dialect,
        "filters.skip_unsupported": skip_unsupported or None,
    }
    config, problems = read_config(config_path, overrides)
    if problems:
        raise ConfigError([*problems, *_find_filter_problems(config)])
    if check:
        sets = _compile_filters(config, config.filters, config.views)
        say_warnings(dict.fromkeys(warning for filters in sets.values() for warning in filters.warnings))
        rules = ", ".join(f"{show_number(len(filters.rules), 'rule')} for {name}" for name, filters in sets.items())
        write_text(f"the configuration is valid: {rules}\n")
        return EXIT_DONE
    logging.basicConfig(level=log_level.upper(), format=LOG_FORMAT, stream=sys.stderr)
    from flowd.relay.running import run

    return run(config)


def _compile_filters(config: Config, filters: Filters, views: dict[str, View]) -> dict[str, FilterSet]:
    """What the streams that are known before any line comes, and the views, are decided by."""
    from flowd.relay.deciding.rulebook import read_rulebook
    from flowd.relay.deciding.streams import FIRST_STREAM

    streams = list(dict.fromkeys((FIRST_STREAM, *config.sources.streams)))
    return read_rulebook(filters, views, streams).compile_all(streams)


def _find_filter_problems(config: Config) -> tuple[Problem, ...]:
    """What is wrong in the filters that a broken configuration names, so that all is told at once. What is wrong with
    their paths is among its own problems."""
    from msgspec.structs import replace

    path = config.filters.path
    filters = replace(config.filters, path=path if path is not None and os.path.exists(path) else None)
    views = {name: view for name, view in config.views.items() if os.path.exists(view.path)}
    try:
        _compile_filters(config, filters, views)
    except FilterError as error:
        return error.problems
    except OSError as error:
        return (Problem(str(error.filename), 1, 1, error.strerror or str(error)),)
    return ()
