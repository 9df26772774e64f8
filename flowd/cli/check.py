"""`flowd check`: are these filters right, and what is doubtful in them?"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from flowd.cli.command import Command, compose, format_option, option, output_option, reading_options, stream_option
from flowd.cli.lines import STDIN
from flowd.cli.outcome import describe_os_error
from flowd.cli.output import write_text
from flowd.cli.table import show_number
from flowd.cli.talk import paint, say_error
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_IO, FilterError, Problem

if TYPE_CHECKING:
    from flowd.cli.sampling import Sampled
    from flowd.filterset import Format

STREAMS = ("flows", "dns")
"""The streams that users filter: the number of rules is told for each, since a wrong tag is easily written."""

EXAMPLES = (
    "flowd check filters/",
    "flowd check --deny-warnings --sample flows.log filters/",
)


@dataclass(slots=True)
class Report:
    """What was found in one path."""

    path: str
    dialect: str = ""
    rules: dict[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    sample: Sampled | None = None


@click.command(cls=Command, name="check", examples=EXAMPLES)
@compose(*reading_options())
@option("--deny-warnings", is_flag=True, help="Exit with 78 for warnings, too.")
@option("--sample", metavar="FILE", help="Filter the lines of FILE, too, and warn of rules that decide none of them.")
@compose(stream_option(), format_option())
@output_option("text", "json")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def command(
    paths: tuple[str, ...],
    dialect: str | None,
    skip_unsupported: bool,
    deny_warnings: bool,
    sample: str | None,
    stream: str,
    form: Format,
    output: str,
) -> int:
    """Load the filters of each PATH and print every problem and warning, with its place and what to do about it.

    A PATH is a file, a folder with flow and dns, or a ConfigMap's manifest or mount. Exits with 0 where all can be
    used, and with 78 where they cannot. --stream and --format speak of the sample's lines.
    """
    if sample == STDIN and len(paths) > 1:
        raise click.UsageError("standard input can be the sample of one PATH only")
    code = EXIT_DONE
    for path in paths:
        try:
            report = check_path(path, dialect, skip_unsupported)
            if sample is not None and not report.problems:
                add_sample(report, sample, stream, dialect, skip_unsupported, form)
        except OSError as error:
            say_error(describe_os_error(error))
            code = code or EXIT_IO
            continue
        write_text(json.dumps(_as_json(report)) + "\n" if output == "json" else _as_text(report))
        if report.problems or (deny_warnings and report.warnings):
            code = EXIT_CONFIG
    return code


def check_path(path: str, dialect: str | None = None, skip_unsupported: bool = False) -> Report:
    """Compiles the filters of a path for each stream. Raises OSError."""
    from flowd.filterset import load

    report = Report(path)
    for stream in STREAMS:
        try:
            filters = load(path, stream, dialect, skip_unsupported)
        except FilterError as error:
            report.problems, report.warnings = error.problems, error.warnings
            return report
        report.dialect = filters.dialect
        report.rules[stream] = len(filters.rules)
        report.warnings = tuple(dict.fromkeys((*report.warnings, *filters.warnings)))
    return report


def add_sample(
    report: Report, sample: str, stream: str, dialect: str | None, skip_unsupported: bool, form: Format
) -> None:
    """Filters a sample of the stream's lines and adds what is doubtful. Raises OSError and BadArchive."""
    from flowd.cli.sampling import try_sample
    from flowd.filterset import load

    filters = load(report.path, stream, dialect, skip_unsupported, format=form)
    report.sample = try_sample(filters, sample)
    report.warnings = tuple(dict.fromkeys((*report.warnings, *filters.warnings, *report.sample.warnings)))
    report.rules[stream] = len(filters.rules)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "path": report.path,
        "dialect": report.dialect,
        "rules": report.rules,
        "problems": [problem._asdict() for problem in report.problems],
        "warnings": [problem._asdict() for problem in report.warnings],
        **({"sample": _describe_sample(report.sample)} if report.sample else {}),
    }


def _describe_sample(sample: Sampled) -> dict[str, Any]:
    return {name: value for name, value in sample._asdict().items() if name != "warnings"}


def _as_text(report: Report) -> str:
    lines = []
    for word, colour, found in (("error", "red", report.problems), ("warning", "yellow", report.warnings)):
        for problem in found:
            place = f"{problem.file}:{problem.line}:{problem.column}:"
            lines.append(f"{place} {paint(word, colour, stream=sys.stdout)}: {problem.message}")
            if problem.hint:
                lines.append(f"    {paint('hint', 'cyan', stream=sys.stdout)}: {problem.hint}")
    if report.problems:
        lines.append(f"{report.path}: {show_number(len(report.problems), 'problem')}")
    else:
        rules = ", ".join(f"{show_number(number, 'rule')} for {stream}" for stream, number in report.rules.items())
        warnings = f", {show_number(len(report.warnings), 'warning')}" if report.warnings else ""
        lines.append(f"{report.path}: {report.dialect}, {rules}{warnings}")
    if report.sample:
        sample = report.sample
        lines.append(
            f"{sample.file}: {show_number(sample.lines, 'line')} of {sample.stream}, {sample.kept_lines:,} kept, "
            f"{sample.malformed:,} malformed, {sample.errors:,} with errors while matching"
        )
    return "\n".join(lines) + "\n"
