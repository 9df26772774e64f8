"""`flowd completion`: what a shell needs to complete flowd's commands and options."""

from __future__ import annotations

import click

from flowd.cli.command import Command
from flowd.cli.output import write_text
from flowd.errors import EXIT_DONE

EXAMPLES = (
    "flowd completion bash > flowd.bash",
    "flowd completion fish > flowd.fish",
)


@click.command(cls=Command, name="completion", examples=EXAMPLES)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> int:
    """Print the completion script for SHELL (bash, zsh or fish), to be sourced by it."""
    from click.shell_completion import get_completion_class

    from flowd.cli.root import COMPLETION_VARIABLE, root

    kind = get_completion_class(shell)
    assert kind is not None
    write_text(kind(root, {}, "flowd", COMPLETION_VARIABLE).source() + "\n")
    return EXIT_DONE
