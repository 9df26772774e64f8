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
    """Ask the daemon how it is. Exits with 69 where none answers within --timeout.

    Of many rules the tables show those that decided the most lines; -o json has them all.
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    if output == "json":
        from flowd.cli.whole_status import request_whole_status

        write_text(json.dumps(request_whole_status(endpoint, timeout_s)) + "\n")
    else:
        from flowd.client import request

        write_text(render_status(request(endpoint, "status", timeout_s)))
    return EXIT_DONE
