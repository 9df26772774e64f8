"""What flowd's commands have in common: examples under each help, and options that the environment can set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

NUMBER_MAX = 1e9
"""Thirty years in seconds: what no lock and no poll can wait for lies beyond."""


class _Placed(click.Command):
    """A command whose wrong usage is said with its own name, also where click leaves open whose it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class Command(_Placed):
    """A subcommand whose help ends in examples that run."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the examples."""
        _write_examples(formatter, self.examples)


class NumberRange(click.FloatRange):
    """Numbers that can be waited for, or counted by: `nan` is in no range, though click takes it for one in all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not number <= NUMBER_MAX:
            self.fail(f"{value} is not in the range x<={NUMBER_MAX:.0f}.", param, ctx)
        return number


class Group(_Placed, click.Group):
    """A subcommand with subcommands of its own, whose help ends in examples that run."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes the examples."""
        _write_examples(formatter, self.examples)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"  {example}\n")


class Option(click.Option):
    """An option that the environment sets where the flag is not given: FLOWD_<COMMAND>_<FLAG> for one command, and
    FLOWD_<FLAG>, unless `is_shared` is false, for all that have it. `is_configured`: neither of them does, since the
    configuration, which has the flag's key, reads its variable."""

    def __init__(self, *args: Any, is_shared: bool = True, is_configured: bool = False, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.is_shared = is_shared
        self.is_configured = is_configured

    def variables(self, ctx: click.Context) -> list[str]:
        """Those that set it, the first that has a value before the others."""
        if self.is_configured:
            return []
        words = [next(name for name in self.opts if name.startswith("--")).removeprefix("--")]
        shared = [_name_variable(words)] if self.is_shared else []
        above: click.Context | None = ctx
        while above is not None and above.parent is not None:  # the topmost is flowd itself
            words.insert(0, above.info_name or "")
            above = above.parent
        return [_name_variable(words), *shared]

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """As click's, by these variables."""
        return next((value for name in self.variables(ctx) if (value := os.environ.get(name))), None)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """As click's; where the value is none of the command line's it is said where it came from."""
        hint = super().get_error_hint(ctx)
        if ctx is None or self.name is None:
            return hint
        if ctx.get_parameter_source(self.name) is not click.core.ParameterSource.ENVIRONMENT:
            return hint
        return f"{hint} (by {next(name for name in self.variables(ctx) if os.environ.get(name))})"


def _name_variable(words: Sequence[str]) -> str:
    return "_".join(("FLOWD", *words)).replace("-", "_").upper()


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """An Option."""
    settings.setdefault("cls", Option)
    if not settings.get("is_flag") and settings.get("default") is not None:
        settings.setdefault("show_default", True)
    return click.option(*names, **settings)


def compose(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in the order in which the help shows them."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def filter_options(*, required: bool = True) -> Callable[[F], F]:
    """Which filters, for which stream, read how."""
    return compose(
        option("-f", "--filters-path", "path", metavar="PATH", required=required, help=FILTERS_HELP),
        *reading_options(),
    )


def reading_options() -> tuple[Callable[[F], F], ...]:
    """How a filter text is read."""
    return (
        option("--dialect", type=click.Choice(DIALECTS), help="The filters' dialect; recognised if not given."),
        option("--skip-unsupported", is_flag=True, help="Warn of filters of other types instead of refusing them."),
    )


def stream_option() -> Callable[[F], F]:
    """The stream that lines belong to."""
    return option("--stream", default="flows", metavar="NAME", help="The stream (tag) that the lines belong to.")


def format_option() -> Callable[[F], F]:
    """The form of input lines."""
    return option("--format", "form", type=click.Choice(FORMATS), default="auto", help="The form of the input lines.")


def line_column_option() -> Callable[[F], F]:
    """Which column of Parquet holds lines."""
    return option("--line-column", metavar="NAME", help="The column of Parquet files that holds lines as they were.")


def output_option(*choices: str) -> Callable[[F], F]:
    """The form of the output."""
    return option("-o", "--output", type=click.Choice(choices), default=choices[0], help="The form of the output.")


def runtime_option() -> Callable[[F], F]:
    """Where the daemon's sockets are."""
    return option("--runtime-dir", metavar="DIR", help="Where the daemon's sockets are.")


def endpoint_options() -> Callable[[F], F]:
    """A daemon elsewhere, and the keys to speak with it."""
    return compose(
        option("--endpoint", metavar="ENDPOINT", help="Another address than the runtime directory's: tcp://HOST:PORT."),
        option("--server-key", metavar="KEY", help="The daemon's public key, or the file that holds it; for TCP."),
        option("--secret-file", metavar="FILE", help="The file with this client's secret key; for TCP."),
    )


def timeout_option(default_s: float) -> Callable[[F], F]:
    """How long to wait for a daemon."""
    return option(
        "--timeout",
        "timeout_s",
        type=NumberRange(min=0, min_open=True),
        default=default_s,
        metavar="SECONDS",
        help="How long to wait for a daemon.",
    )


DIALECTS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")
FORMATS = ("auto", "json", "text24", "text27")
FILTERS_HELP = "The filters: a file, a folder with flow and dns, or a ConfigMap's manifest or mount."
