"""`flowd bypass`: the emergency switch that has the daemon keep every line."""

from __future__ import annotations

import json

import click

from flowd.cli.command import Command, compose, output_option, runtime_option, timeout_option
from flowd.cli.output import write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd bypass on",
    "flowd bypass off",
)


@click.command(cls=Command, name="bypass", examples=EXAMPLES)
@compose(runtime_option(), timeout_option(10.0), output_option("text", "json"))
@click.argument("switch", type=click.Choice(("on", "off")))
def command(runtime_dir: str | None, timeout_s: float, output: str, switch: str) -> int:
    """Have the daemon keep every line, whatever its filters say, or filter again.

    For emergencies: when filters drop what must not be lost. It is said in status and in the log, filters can be
    reloaded meanwhile, and it ends with the daemon: a restart filters again.
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client import request

    answer = request(endpoint, "bypass", timeout_s, on=switch == "on")
    if output == "json":
        write_text(json.dumps(answer) + "\n")
        return EXIT_DONE
    what = "every line is kept" if answer["bypass"] else "the filters decide"
    write_text(f"bypass is {switch}: {what}, as generation {answer['generation']}\n")
    return EXIT_DONE
