"""`flowd status`: how the daemon is, what it has carried, and what its rules decided."""

from __future__ import annotations

import json

import click

from flowd.cli.command import Command, compose, output_option, runtime_option, timeout_option
from flowd.cli.output import write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.status_tables import render_status
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd status",
    "flowd status -o json",
)


@click.command(cls=Command, name="status", examples=EXAMPLES)
@compose(runtime_option(), timeout_option(5.0), output_option("text", "json"))
def command(runtime_dir: str | None, timeout_s: float, output: str) -> int:
    """Ask the daemon how it is. Exits with 69 where none answers within --timeout."""
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client import request

    status = request(endpoint, "status", timeout_s)
    write_text(json.dumps(status) + "\n" if output == "json" else render_status(status))
    return EXIT_DONE
