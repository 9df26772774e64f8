"""`flowd test`: runs filter tests that are written in TOML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from flowd.archives.lines import Input, read_batches
from flowd.cli.check import STREAMS
from flowd.cli.command import Command, compose, filter_options, option, output_option
from flowd.cli.filter_loading import load_filters
from flowd.cli.output import write_json, write_text
from flowd.cli.table import show_number
from flowd.cli.talk import say_failure, say_warnings
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_NO, ConfigError, FilterError

if TYPE_CHECKING:
    from flowd.filter_tests.model import FilterTest, Outcome, Tested, Unreached
    from flowd.filterset import FilterSet

EXAMPLES = (
    "flowd test -f filters/ tests/",
    "flowd test -f filters/ -k dev --junit report.xml tests/flows.toml",
)


@click.command(cls=Command, name="test", examples=EXAMPLES)
@compose(filter_options())
@option("-k", "--keyword", metavar="WORD", help="Run only tests with WORD in their names, or in their files'.")
@option("--fail-unreached", is_flag=True, help="Exit with 1, too, when a rule decides no line of any test.")
@option("--junit", metavar="FILE", help="Write what came of it as JUnit XML, too, for CI.")
@option("-q", "--quiet", is_flag=True, help="Say no warnings.")
@output_option("text", "json")
@click.argument("tests", nargs=-1, required=True, metavar="TESTS...")
def command(
    tests: tuple[str, ...],
    path: str,
    dialect: str | None,
    skip_unsupported: bool,
    keyword: str | None,
    fail_unreached: bool,
    junit: str | None,
    quiet: bool,
    output: str,
) -> int:
    """Run the filter tests in TESTS: tests files, or folders with *.toml files below.

    A test has a line (or lines, a record, a file of lines) and what the filters are to make of it: keep, drop,
    malformed or error, and by which rule. Says which tests failed and why, and which rules no test reached. Exits with
    1 where a test failed, and with 78 where filters or tests cannot be used.
    """
    if keyword is not None and fail_unreached:
        raise click.UsageError("--fail-unreached is for all tests: leave -k out")
    from flowd.filter_tests.reading import check_rules, find_tests_files, read_tests
    from flowd.filter_tests.running import run_tests

    try:
        chosen = _select(read_tests(find_tests_files(tests)), keyword)
        if not chosen:
            where = f" with {keyword!r} in their names" if keyword else f" in {', '.join(tests)}"
            raise click.UsageError(f"there are no tests{where}: they are [[test]] in files that end in .toml")
        sets = _load_sets(chosen, path, dialect, skip_unsupported, quiet)
        check_rules(chosen, sets)
    except (FilterError, ConfigError) as error:
        if junit is not None:
            _write_junit(junit, (), error)
        say_failure(error)
        return EXIT_CONFIG
    run = run_tests(chosen, sets, read_sample)
    if keyword is not None:
        run.unreached.clear()
    if junit is not None:
        _write_junit(junit, run.outcomes)
    if output == "json":
        write_json(describe_run(run))
    else:
        write_text(render_run(run))
    return EXIT_NO if run.failed or (fail_unreached and run.unreached) else EXIT_DONE


def read_sample(path: str) -> bytes:
    """The lines of a file; what is compressed is opened. Raises OSError and BadArchive."""
    lines = bytearray()
    with Input(path) as source:
        for batch in read_batches(source):
            lines += batch.lines
            batch.release()
    return bytes(lines)


def describe_run(run: Tested) -> dict[str, Any]:
    """What came of all tests, as plain data."""
    return {
        "passed": run.passed,
        "failed": run.failed,
        "tests": [_describe(outcome) for outcome in run.outcomes],
        "unreached": [rule._asdict() for rule in run.unreached],
    }


def render_run(run: Tested) -> str:
    """A line for each failed test, the summary, and the rules that no test reached."""
    text = "".join(
        f"{outcome.test.place}: {outcome.test.name}: {outcome.failure}\n"
        for outcome in run.outcomes
        if not outcome.has_passed
    )
    text += f"{run.passed:,} passed, {run.failed:,} failed\n"
    if run.unreached:
        text += f"{show_number(len(run.unreached), 'rule')} that no test reached:\n"
        text += "".join(f"  {_show_rule(rule)}\n" for rule in run.unreached)
    return text


def _select(tests: Iterable[FilterTest], keyword: str | None) -> list[FilterTest]:
    word = (keyword or "").lower()
    return [test for test in tests if word in test.name.lower() or word in test.file.lower()]


def _load_sets(
    tests: Iterable[FilterTest], path: str, dialect: str | None, skip_unsupported: bool, quiet: bool
) -> dict[str, FilterSet]:
    """The filters of every stream that tests or users speak of: a rule of a stream without tests is reached by none."""
    streams = dict.fromkeys([*(test.stream for test in tests), *STREAMS])
    sets = {stream: load_filters(path, stream, dialect, skip_unsupported, quiet=True) for stream in streams}
    if not quiet:
        say_warnings(dict.fromkeys(warning for filters in sets.values() for warning in filters.warnings))
    return sets


def _write_junit(path: str, outcomes: Sequence[Outcome], error: FilterError | ConfigError | None = None) -> None:
    from pathlib import Path

    from flowd.filter_tests.junit import render_junit

    Path(path).write_bytes(render_junit(outcomes, error.problems if error is not None else ()))


def _describe(outcome: Outcome) -> dict[str, Any]:
    test = outcome.test
    return {
        "file": test.file,
        "line": test.line,
        "name": test.name,
        "stream": test.stream,
        "lines": outcome.lines,
        "passed": outcome.has_passed,
        "failure": outcome.failure,
        "time_s": round(outcome.time_s, 6),
    }


def _show_rule(rule: Unreached) -> str:
    return f"{rule.rule} ({rule.file}:{rule.line})"
