"""`flowd check`: are these filters right, and what is doubtful in them?"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from flowd.archives.lines import STDIN
from flowd.cli.command import (
    DIALECTS,
    Command,
    compose,
    format_option,
    option,
    output_option,
    reading_options,
    stream_option,
)
from flowd.cli.outcome import say_os_error
from flowd.cli.output import write_json, write_text
from flowd.cli.table import show_number
from flowd.cli.talk import paint, say_error
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_IO, EXIT_USAGE, FilterError, Problem

if TYPE_CHECKING:
    from flowd.cli.sampling import Sampled
    from flowd.filterset import Format

UNANCHORED_WORD = "unanchored-word"
STREAMS = ("flows", "dns")
"""The streams that users filter: the number of rules is told for each, since a wrong tag is easily written."""
UNKNOWN_STREAMS = ("a-name-of-your-own", "a.name.of.your.own")
"""Stand for streams that only patterns of tags reach."""

EXAMPLES = (
    "flowd check filters/",
    "flowd check --deny-warnings --sample flows.log filters/",
)


@dataclass(slots=True)
class Report:
    """What was found in one path. `elsewhere` are warnings that other options would bring."""

    path: str
    dialect: str = ""
    rules: dict[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    files: set[str] = field(default_factory=set)
    elsewhere: tuple[Problem, ...] = ()
    sample: Sampled | None = None


@click.command(cls=Command, name="check", examples=EXAMPLES)
@compose(*reading_options())
@option("--deny-warnings", is_flag=True, help="Exit with 78 for warnings, too.")
@option("--sample", metavar="FILE", help="Filter the lines of FILE, too, and warn of rules that decide none of them.")
@option("--for", "target", type=click.Choice(DIALECTS), help="Warn of what would mean something else in this dialect.")
@option("--explain", "code", metavar="CODE", help="Say what a warning's code means; needs no PATH.")
@compose(stream_option(), format_option())
@output_option("text", "json")
@click.argument("paths", nargs=-1, metavar="PATH...")
def command(
    paths: tuple[str, ...],
    dialect: str | None,
    skip_unsupported: bool,
    deny_warnings: bool,
    sample: str | None,
    target: str | None,
    code: str | None,
    stream: str,
    form: Format,
    output: str,
) -> int:
    """Load the filters of each PATH and print every problem and warning, with its place and what to do about it.

    A PATH is a file, a folder with flow and dns, or a ConfigMap's manifest or mount. Exits with 0 where all can be
    used, and with 78 where they cannot. --stream and --format speak of the sample's lines. A comment `# flowd: ignore
    CODE` above a line or a section silences a warning there.
    """
    if code is not None:
        return explain_code(code)
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    if sample == STDIN and len(paths) > 1:
        raise click.UsageError("standard input can be the sample of one PATH only")
    exit_code = EXIT_DONE
    for path in paths:
        try:
            report = check_path(path, dialect, skip_unsupported, target or "", stream)
            if sample is not None and not report.problems:
                add_sample(report, sample, stream, dialect, skip_unsupported, form)
        except OSError as error:
            say_os_error(error)
            exit_code = exit_code or EXIT_IO
            continue
        report.warnings = silence_warnings(report)
        if output == "json":
            write_json(_as_json(report))
        else:
            write_text(_as_text(report))
        if report.problems or (deny_warnings and report.warnings):
            exit_code = EXIT_CONFIG
    return exit_code


def explain_code(code: str) -> int:
    """Says what a code means, and where its page is."""
    from flowd.filters.lint.codes import CODES, WARNINGS
    from flowd.filters.suggest import suggest_name

    if code not in CODES:
        suggested = suggest_name(code, CODES)
        say_error(f"there is no code {code}", f"did you mean {suggested}?" if suggested else "docs/lint.md lists them")
        return EXIT_USAGE
    kind = "warning" if code in WARNINGS else "error"
    write_text(f"{code} ({kind}): {CODES[code]}\n")
    write_text(f"docs/lint.md#{code} has examples and what to write instead\n" if kind == "warning" else "")
    return EXIT_DONE


def silence_warnings(report: Report) -> tuple[Problem, ...]:
    """The warnings that no comment in the filters' files silences."""
    from flowd.filters.lint.ignoring import silence
    from flowd.filters.source import sort_problems

    left = silence(report.warnings, report.files, elsewhere=report.elsewhere, is_complete=not report.problems)
    return tuple(sort_problems(left))


def check_path(
    path: str, dialect: str | None = None, skip_unsupported: bool = False, target: str = "", stream: str = "flows"
) -> Report:
    """Compiles the filters of a path, and looks for what is doubtful in them. Raises OSError.

    Filters are compiled for the streams that users filter, and looked at for all that are known, for `stream`, and for
    names that nobody has thought of: a rule may be for those.
    """
    from time import time_ns

    from flowd.filters.lint.texts import lint_streams, lint_values
    from flowd.filters.load import open_path
    from flowd.filters.schema import STREAMS as KNOWN_STREAMS
    from flowd.filterset import FilterSet

    report = Report(path)
    texts = []
    try:
        opened = open_path(path, dialect, skip_unsupported)
        for name in dict.fromkeys((*STREAMS, stream, *KNOWN_STREAMS, *UNKNOWN_STREAMS)):
            texts.append(opened.resolve(name))
            if name in STREAMS:
                report.rules[name] = len(FilterSet(texts[-1]).rules)
                report.warnings += texts[-1].warnings
    except FilterError as error:
        report.problems, report.warnings = error.problems, error.warnings
        return report
    report.dialect = texts[0].dialect
    report.files = {section.file for text in texts for section in text.filters}
    found = lint_streams(texts, now_ns=time_ns(), target=target)
    report.warnings = tuple(dict.fromkeys((*report.warnings, *found)))
    report.elsewhere = tuple(lint_values(texts, [other for other in DIALECTS if other != target]))
    return report


def add_sample(
    report: Report, sample: str, stream: str, dialect: str | None, skip_unsupported: bool, form: Format
) -> None:
    """Filters a sample of the stream's lines and adds what is doubtful. Raises OSError and BadArchive."""
    from flowd.cli.sampling import try_sample
    from flowd.filterset import load

    filters = load(report.path, stream, dialect, skip_unsupported, format=form)
    report.sample = try_sample(filters, sample, form)
    # What the sample shows of a word says more than the doubt about it.
    places = {(rule.file, rule.line, rule.column) for rule in filters.rules}
    doubts = [
        warning
        for warning in report.warnings
        if warning.code == UNANCHORED_WORD and (warning.file, warning.line, warning.column) in places
    ]
    left = [warning for warning in report.warnings if warning not in doubts] if report.sample.lines else report.warnings
    report.elsewhere += tuple(doubts)
    report.warnings = tuple(dict.fromkeys((*left, *report.sample.warnings)))
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
            code = f" [{problem.code}]" if word == "warning" else ""
            lines.append(f"{place} {paint(word, colour, stream=sys.stdout)}: {problem.message}{code}")
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
