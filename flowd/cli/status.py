"""`flowd status`: how the daemon is, what it has carried, and what its rules decided."""

from __future__ import annotations

import click

from flowd.cli.command import Command, compose, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.status_tables import render_status
from flowd.errors import EXIT_DONE, EXIT_NO

EXAMPLES = (
    "flowd status -o json",
    "flowd status --check ready",
)


@click.command(cls=Command, name="status", examples=EXAMPLES)
@compose(
    option(
        "--check",
        is_shared=False,
        type=click.Choice(["live", "ready"]),
        help="Print health alone; exit with 1 where a restart would help (live), or no lines are carried (ready).",
    ),
    runtime_option(),
    timeout_option(5.0),
    output_option("text", "json"),
)
def command(check: str | None, runtime_dir: str | None, timeout_s: float, output: str) -> int:
    """Ask the daemon how it is. Exits with 69 where none answers within --timeout.

    Of many rules the tables show those that decided the most lines; -o json has them all. --check is for probes.
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    if check is not None:
        return _check_health(check, endpoint, timeout_s, output)
    if output == "json":
        from flowd.cli.whole_status import request_whole_status

        write_json(request_whole_status(endpoint, timeout_s))
    else:
        from flowd.client import request

        write_text(render_status(request(endpoint, "status", timeout_s)))
    return EXIT_DONE


def _check_health(check: str, endpoint: str, timeout_s: float, output: str) -> int:
    """The daemon's health on one line, and the answer as the exit code."""
    from flowd.client import request
    from flowd.relay.health import is_live, is_ready

    health = request(endpoint, "health", timeout_s)
    if output == "json":
        write_json(health)
    else:
        write_text("; ".join([health["state"], *health.get("reasons", [])]).replace("\n", " ") + "\n")
    return EXIT_DONE if {"live": is_live, "ready": is_ready}[check](health) else EXIT_NO
