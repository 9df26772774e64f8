"""`flowd filters`: the rules that decide in the running daemon, all of them."""

from __future__ import annotations

import time
from typing import Any

import click

from flowd.cli.command import Command, compose, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.status_tables import describe_way
from flowd.cli.table import render_table, show_number
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd filters",
    "flowd filters --stream flows -o json",
)


@click.command(cls=Command, name="filters", examples=EXAMPLES)
@compose(runtime_option(), timeout_option(10.0), output_option("text", "json"))
@option("--stream", metavar="NAME", help="Only this stream's rules, or this view's.")
def command(runtime_dir: str | None, timeout_s: float, output: str, stream: str | None) -> int:
    """List the rules that decide in the running daemon, in the order in which they decide, with their places.

    Of each stream that it has seen and each view; a rule's numbers are in `flowd status`. Exits with 69 where none
    answers within --timeout.
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    told = request_filters(endpoint, stream, timeout_s)
    if output == "json":
        write_json(told)
    else:
        write_text(render_filters(told, time.time_ns()))
    return EXIT_DONE


def request_filters(endpoint: str, stream: str | None, timeout_s: float) -> dict[str, Any]:
    """What `filters` of the admin lane tells, with every rule: of all streams and views, or of one. Raises what
    `flowd.client.request` raises, and FlowdError where the filters change all the time."""
    from flowd.client import request
    from flowd.client.pages import request_rules

    deadline_s = time.monotonic() + timeout_s
    named = {} if stream is None else {"stream": stream}
    told = request(endpoint, "filters", timeout_s, **named)
    for name, page in [*told["streams"].items(), *told["views"].items()]:
        if page["next"] is not None:
            left_s = max(0.0, deadline_s - time.monotonic())
            page["generation"], page["rules"] = request_rules(endpoint, "filters", name, left_s)
        del page["next"], page["all_rules"]
    return told


def render_filters(told: dict[str, Any], now_ns: int) -> str:
    """The rules as tables, one for each stream and view."""
    parts = ["bypass is on: every line is kept, and no rule decides\n"] if told["bypass"] else []
    parts += [_render(f"stream {name}", page, now_ns) for name, page in sorted(told["streams"].items())]
    parts += [_render(f"view {name}", page, now_ns) for name, page in sorted(told["views"].items())]
    return "\n".join(parts)


def _render(title: str, page: dict[str, Any], now_ns: int) -> str:
    rules = page["rules"]
    text = f"{title}: {show_number(len(rules), 'rule')}, generation {page['generation']}"
    if not rules:
        return f"{text}: every line is kept\n"
    rows: list[tuple[str, ...]] = [
        (
            rule["name"],
            f"{rule['file']}:{rule['line']}",
            rule["kind"],
            rule["field"],
            rule["pattern"],
            rule["engine"],
            rule["group"] or "-",
            describe_way(rule, now_ns),
        )
        for rule in rules
    ]
    headers: tuple[str, ...] = ("RULE", "PLACE", "KIND", "FIELD", "PATTERN", "ENGINE", "GROUP", "NOTE")
    if not any(row[-1] for row in rows):
        rows, headers = [row[:-1] for row in rows], headers[:-1]
    text += "\n" + render_table(headers, rows)
    text += "".join(f"warning: {warning}\n" for warning in page["warnings"])
    return text + (f"and {show_number(page['more_warnings'], 'warning')} more\n" if page["more_warnings"] else "")
