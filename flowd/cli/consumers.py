"""`flowd consumers`: who reads the journal, how far each is behind; cursors moved and deleted."""

from __future__ import annotations

import time
from typing import Any

import click

from flowd.cli.command import Command, Group, compose, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.table import render_table, show_count, show_duration
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd consumers",
    "flowd consumers -o json",
)
RESET_EXAMPLES = (
    "flowd consumers reset siem --to oldest",
    "flowd consumers reset siem --stream dns --to newest",
)
DELETE_EXAMPLES = ("flowd consumers delete siem --stream flows",)


@click.group(cls=Group, name="consumers", examples=EXAMPLES, invoke_without_command=True)
@compose(runtime_option(), timeout_option(5.0), output_option("text", "json"))
@click.pass_context
def command(context: click.Context, runtime_dir: str | None, timeout_s: float, output: str) -> int:
    """Show the durable consumers: where each stands, how far it is behind, and whether it is attached.

    LAG counts what is stored and was not committed yet; GONE what was retired before it was read. A cursor stays until
    it is deleted.
    """
    context.obj = runtime_dir, timeout_s
    if context.invoked_subcommand is not None:
        return EXIT_DONE
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client.pages import request_consumers

    found = request_consumers(endpoint, timeout_s)
    if output == "json":
        write_json(found)
    else:
        write_text(render_consumers(found, time.time_ns()))
    return EXIT_DONE


@command.command(cls=Command, name="reset", examples=RESET_EXAMPLES)
@click.argument("name")
@option("--stream", default="flows", metavar="NAME", help="The stream whose cursor it is.")
@option(
    "--to", is_shared=False, required=True, metavar="PLACE", help="oldest, newest, or the sequence to be read next."
)
@click.pass_obj
def reset(obj: tuple[str | None, float], name: str, stream: str, to: str) -> int:
    """Move a consumer's cursor. Who is attached under this name is fenced, and begins anew at the new place."""
    place: str | int = int(to) if to.isdecimal() and len(to) < 20 else to
    answer = _ask(obj, {"do": "reset", "consumer": name, "stream": stream, "to": place})
    write_text(f"{name} reads {stream} from batch {answer['next']} on\n")
    return EXIT_DONE


@command.command(cls=Command, name="delete", examples=DELETE_EXAMPLES)
@click.argument("name")
@option("--stream", default="flows", metavar="NAME", help="The stream whose cursor it is.")
@click.pass_obj
def delete(obj: tuple[str | None, float], name: str, stream: str) -> int:
    """Forget a consumer's cursor. If it attaches again, it begins like a new one."""
    _ask(obj, {"do": "delete", "consumer": name, "stream": stream})
    write_text(f"{name} has no cursor in {stream} any more\n")
    return EXIT_DONE


def render_consumers(consumers: list[dict[str, Any]], now_ns: int) -> str:
    """The consumers as a table."""
    rows = []
    for one in consumers:
        attached = one["attached"]
        committed_ns = one["committed_ns"]
        rows.append(
            (
                one["consumer"],
                one["stream"],
                (attached["view"] or "-") if attached else "-",
                "-" if one["next"] is None else show_count(one["next"]),
                show_count(max(0, one["lag_batches"])),
                "-" if one["lag_lines"] is None else show_count(max(0, one["lag_lines"])),
                show_count(one["gone_batches"]),
                "-" if not committed_ns else show_duration(max(0.0, (now_ns - committed_ns) / 1e9)) + " ago",
                "yes" if attached else "no",
            )
        )
    headers = ("CONSUMER", "STREAM", "VIEW", "NEXT", "LAG", "LAG LINES", "GONE", "COMMITTED", "ATTACHED")
    return render_table(headers, rows, ("NEXT", "LAG", "LAG LINES", "GONE"))


def _ask(obj: tuple[str | None, float], arguments: dict[str, Any]) -> dict[str, Any]:
    runtime_dir, timeout_s = obj
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client import request

    return request(endpoint, "consumers", timeout_s, **arguments)
