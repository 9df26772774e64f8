"""`flowd`: finds the subcommand, loads only that one, and turns how it ends into an exit code."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import click

from flowd.cli.outcome import run_to_exit_code
from flowd.cli.talk import say_error, spell_names
from flowd.errors import EXIT_USAGE

COMMANDS = {
    "check": "Load filters and print every problem and warning.",
    "filter": "Write the lines that the filters keep, like grep.",
    "explain": "Say why lines are kept or dropped, or list the rules.",
    "test": "Run filter tests written in TOML.",
    "convert": "Write filters in another language, where their meaning can be kept.",
    "compare": "Say what new filters drop or keep otherwise.",
    "run": "Run the daemon.",
    "send": "Send lines into the daemon, acknowledged.",
    "observe": "Follow what the daemon keeps, or read what it has stored.",
    "tap": "Show a sample of what the daemon drops, or keeps, with the rules.",
    "top": "Watch what goes through the daemon.",
    "status": "Ask the daemon how it is.",
    "filters": "List the rules that decide in the daemon.",
    "consumers": "Show durable consumers, and move or delete their cursors.",
    "reload": "Have the daemon read its filters again.",
    "bypass": "Have the daemon keep every line, for emergencies.",
    "drain": "End the daemon in order.",
    "keys": "Make, list and revoke the keys that TCP needs.",
    "bench": "Measure this machine on a seeded corpus.",
    "completion": "Print the shell's completion script.",
}
"""The subcommands with their short help: `flowd --help` loads none of them."""

COMPLETION_VARIABLE = "_FLOWD_COMPLETE"


class Root(click.Group):
    """The group of all subcommands, each in `flowd.cli.<name>` under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the help, which is the order of a newcomer's questions."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Loads one."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"flowd.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with did-you-mean."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table of subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from flowd.cli.version import print_version

        context.exit(print_version())


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every option can also be set by a variable: FLOWD_RUNTIME_DIR for --runtime-dir of all commands, "
    "FLOWD_FILTER_THREADS for --threads of `flowd filter`, and so on.",
)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say what runs here.",
)
def root() -> None:
    """Filters and relays Calico's flow and DNS logs."""


def run_command(arguments: Sequence[str]) -> int:
    """Runs `flowd ARGUMENTS` and returns the exit code."""
    spell_names()
    return run_to_exit_code(lambda: _run(list(arguments)))


def _run(arguments: list[str]) -> int:
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "flowd", COMPLETION_VARIABLE, instruction)
    try:
        with root.make_context("flowd", arguments) as context:
            code = root.invoke(context)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.UsageError as error:
        return _refuse_usage(error)


def _refuse_usage(error: click.UsageError) -> int:
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 has it, 8.1 prints the help itself
        click.echo(context.get_help() if context else "", err=True)
        return EXIT_USAGE
    path = context.command_path if context else "flowd"
    say_error(error.format_message(), f"`{path} --help` shows what there is")
    return EXIT_USAGE
