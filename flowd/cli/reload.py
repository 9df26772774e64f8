"""`flowd reload`: has the daemon read its filters again, or say what that would change."""

from __future__ import annotations

from typing import Any

import click

from flowd.cli.command import Command, compose, option, output_option, runtime_option, timeout_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import find_endpoint, require_socket
from flowd.cli.table import shorten, show_count, show_number, show_share
from flowd.cli.talk import say_error
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_NO

EXAMPLES = (
    "flowd reload --dry-run",
    "flowd reload",
)
TIMEOUT_S = 60.0
"""Thousands of expressions take seconds to compile."""
EXAMPLE_WIDTH = 160

_CODES = {"loaded": EXIT_DONE, "unchanged": EXIT_DONE, "refused": EXIT_NO, "failed": EXIT_CONFIG}


@click.command(cls=Command, name="reload", examples=EXAMPLES)
@option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@option("--force", is_flag=True, help="Load filters that would drop far more of the recent lines, too.")
@compose(runtime_option(), timeout_option(TIMEOUT_S), output_option("text", "json"))
def command(dry_run: bool, force: bool, runtime_dir: str | None, timeout_s: float, output: str) -> int:
    """Have the daemon read its filters again.

    They are compiled aside and take over in all streams between two batches; with --dry-run it says what would change,
    and which rules would decide recent lines otherwise. Exits with 78 where they cannot be used: the old ones go on.
    Exits with 1 where they would drop so much more of the recent lines that it looks like a mistake
    (reload_max_extra_drop of the configuration).
    """
    endpoint = find_endpoint(runtime_dir, "admin")
    require_socket(endpoint)
    from flowd.client import request

    answer = request(endpoint, "reload", timeout_s, dry=dry_run, force=force)
    if output == "json":
        write_json(answer)
    else:
        _say_problems(answer, dry_run)
        write_text(render_reload(answer, dry_run))
    return _CODES[answer["result"]]


def render_reload(answer: dict[str, Any], is_dry: bool) -> str:
    """What changes, stream by stream, and what came of it."""
    text = ""
    if answer["result"] in ("loaded", "refused"):
        is_doubtful = is_dry or answer["result"] == "refused"
        for name, stream in answer["streams"].items():
            text += _render_stream(name, stream) + (_render_changes(stream) if is_doubtful else "")
    return text + _render_result(answer, is_dry) + "\n"


def _say_problems(answer: dict[str, Any], is_dry: bool) -> None:
    for problem in answer["problems"]:
        say_error(problem)
    if answer["more_problems"]:
        say_error(f"and {show_number(answer['more_problems'], 'problem')} more", "`flowd check` lists them all")
    if answer["result"] == "refused":
        say_error("the filters are refused", "" if is_dry else "look at them, then load them with --force")
    elif answer["result"] == "failed":
        say_error("the filters cannot be used", "" if is_dry else "what was loaded before goes on")


def _render_stream(name: str, stream: dict[str, Any]) -> str:
    text = (
        f"{name}: {show_number(stream['rules'], 'rule')}, {show_count(stream['rules_come'])} new,"
        f" {show_count(stream['rules_gone'])} gone"
    )
    sampled = stream["sampled_lines"]
    if sampled:
        before, after = show_share(stream["dropped_lines"], sampled), show_share(stream["would_drop_lines"], sampled)
        text += f"; of {show_number(sampled, 'recent line')} {before} were dropped, {after} would be"
    text += "\n"
    for sign, total, rules in (("-", "rules_gone", "gone"), ("+", "rules_come", "come")):
        text += "".join(f"  {sign} {rule}\n" for rule in stream[rules])
        if stream[total] > len(stream[rules]):
            text += f"  {sign} … and {show_count(stream[total] - len(stream[rules]))} more\n"
    return text


def _render_changes(stream: dict[str, Any]) -> str:
    """Which rules decide recent lines otherwise, with an example each."""
    text = ""
    for change in stream["changes"]:
        text += (
            f"  {change['change']} by {change['new_rule']}: {show_number(change['lines'], 'recent line')},"
            f" {change['old_verdict']} by {change['old_rule']} today\n"
        )
        text += "".join(f"      {shorten(example, EXAMPLE_WIDTH)}\n" for example in change["examples"][:1])
    if stream["more_changes"]:
        text += f"  … and {show_number(stream['more_changes'], 'more pair')} of rules\n"
    return text


def _render_result(answer: dict[str, Any], is_dry: bool) -> str:
    generation = answer["generation"]
    bypassed = "; bypass is on, so every line is kept" if answer["bypass"] else ""
    if is_dry:
        outlooks = {"loaded": "would be loaded", "unchanged": "say the same as those that are loaded"}
        outlook = outlooks.get(answer["result"], "would not be loaded")
        return f"dry run: the filters {outlook}; generation {generation} goes on"
    if answer["result"] == "loaded":
        return f"loaded: generation {generation} decides{bypassed}"
    if answer["result"] == "unchanged":
        return f"unchanged: the filters say the same as before; generation {generation} goes on{bypassed}"
    return f"{answer['result']}: generation {generation} goes on{bypassed}"
