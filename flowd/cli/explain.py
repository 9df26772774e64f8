"""`flowd explain`: the verdict on each line and why; without lines, the rules that decide."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import STDIN, Input, read_batches
from flowd.cli.command import (
    Command,
    compose,
    filter_options,
    format_option,
    option,
    output_option,
    stream_option,
)
from flowd.cli.filter_loading import load_filters
from flowd.cli.outcome import say_os_error
from flowd.cli.output import write_text
from flowd.cli.table import render_row, render_table, shorten
from flowd.cli.talk import say_failure
from flowd.errors import EXIT_DONE, EXIT_IO
from flowd.readable import make_all_readable

if TYPE_CHECKING:
    from flowd.explanation import Explanation
    from flowd.filterset import FilterSet

EXAMPLES = (
    "flowd explain -f filters/",
    "head -n 5 flows.log | flowd explain -f filters/ --trace -",
)
HEADERS = ("LINE", "VERDICT", "RULE", "VALUE")
VALUE_WIDTH = 80
LINE_WIDTH = 6


@click.command(cls=Command, name="explain", examples=EXAMPLES)
@compose(filter_options(), stream_option(), format_option())
@option("-t", "--trace", "is_traced", is_flag=True, help="For each line a table of every rule that was looked at.")
@option("--plain", "is_plain", is_flag=True, help="Only say in plain English what the filters do.")
@compose(output_option("text", "json"))
@click.argument("files", nargs=-1, metavar="[FILE]...")
def command(
    files: tuple[str, ...],
    path: str,
    stream: str,
    form: str,
    dialect: str | None,
    skip_unsupported: bool,
    is_traced: bool,
    is_plain: bool,
    output: str,
) -> int:
    """For each line of the FILEs say the verdict, the rule that decided, and the value that it saw.

    With --trace also everything that was looked at on the way, the deciding rule marked with `>`.

    `-` is standard input. Without FILE, and with nothing piped in, list the rules that decide for the stream, and say
    in plain English what they do. With `-o json`, one object a line: for a line with the trace of everything that was
    looked at.
    """
    filters = load_filters(path, stream, dialect, skip_unsupported, form)  # type: ignore[arg-type]
    as_json = output == "json"
    if is_plain and files:
        raise click.UsageError("--plain speaks of the filters alone: give it no FILE")
    if is_plain or (not files and not is_piped_in()):
        write_rules(filters, as_json, is_plain)
        return EXIT_DONE
    explaining = _Explaining(filters, as_json, is_traced)
    code = EXIT_DONE
    for name in files or (STDIN,):
        try:
            with Input(name) as source:
                explaining.explain(source)
        except BrokenPipeError:
            raise
        except BadArchive as error:
            say_failure(error)
            code = EXIT_IO
        except OSError as error:
            say_os_error(error)
            code = EXIT_IO
    if not files and not explaining.number:
        write_rules(filters, as_json)
    return code


def is_piped_in() -> bool:
    """Whether standard input is a pipe or a file: a terminal or /dev/null brings no lines."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def write_rules(filters: FilterSet, as_json: bool, is_plain: bool = False) -> None:
    """The rules in the order in which they are evaluated, and what they say in sentences; `is_plain` these alone."""
    from flowd.filters.english import write_sentences

    if as_json:
        english = {sentence.rule: sentence.text for sentence in write_sentences(filters.text)}
        described = ({**rule._asdict(), "english": english.get(rule.group or rule.name, "")} for rule in filters.rules)
        write_text("".join(json.dumps(make_all_readable(rule)) + "\n" for rule in described))
        return
    if not filters.rules:
        write_text(f"no rules for the stream {filters.stream}: every line is kept\n")
        return
    rows = [
        (rule.name, f"{rule.file}:{rule.line}", rule.kind, rule.field, rule.pattern, rule.engine, rule.group or "-")
        for rule in filters.rules
    ]
    if not is_plain:
        write_text(render_table(("RULE", "PLACE", "KIND", "FIELD", "PATTERN", "ENGINE", "GROUP"), rows) + "\n")
    lines = [f"{number}. {sentence.text}" for number, sentence in enumerate(write_sentences(filters.text), 1)]
    write_text("\n".join([*lines, "Everything else is kept."]) + "\n")


class _Explaining:
    """Explains lines as they come, in columns that are as wide as the longest rule's name."""

    def __init__(self, filters: FilterSet, as_json: bool, is_traced: bool) -> None:
        self.number = 0
        self._is_traced = is_traced
        self._filters = filters
        self._as_json = as_json
        names = [*filters.hits, "RULE"]
        self._widths = (LINE_WIDTH, len("malformed"), max(map(len, names)), 0)
        self._right = (True, False, False, False)

    def explain(self, source: Input) -> None:
        """Writes what there is to say of the source's lines, a batch at a time."""
        number = 0
        for batch in read_batches(source):
            try:
                lines = split_lines(bytes(batch.lines))
                write_text("".join(self._describe(source.name, lines, number)))
            finally:
                batch.release()
            number += len(lines)

    def _describe(self, name: str, lines: Iterable[bytes], number: int) -> Iterator[str]:
        for at, line in enumerate(lines, start=number + 1):
            explanation = self._filters.explain(line)
            if self._as_json:
                described = {"file": name, "line": at, **describe_explanation(explanation)}
                yield json.dumps(make_all_readable(described)) + "\n"
                continue
            if self._is_traced:
                from flowd.cli.trace_table import render_trace

                self.number += 1
                yield render_trace(explanation, f"{name}:{at}")
                continue
            if not self.number:
                yield render_row(HEADERS, self._widths, self._right)
            self.number += 1
            yield render_row(self._row(at, explanation), self._widths, self._right)
        self.number += self._as_json

    @staticmethod
    def _row(number: int, explanation: Explanation) -> tuple[str, str, str, str]:
        from flowd.explanation import VERDICTS

        value = (
            f"{explanation.field} is {json.dumps(explanation.value, ensure_ascii=False)}" if explanation.field else ""
        )
        return (str(number), VERDICTS[explanation.verdict], explanation.rule, shorten(value, VALUE_WIDTH))


def split_lines(lines: bytes) -> list[bytes]:
    """The lines without their newlines."""
    parts = lines.split(b"\n")
    if not parts[-1]:
        parts.pop()
    return parts


def describe_explanation(explanation: Explanation) -> dict[str, Any]:
    """An explanation as plain data; bytes become text, with what is no UTF-8 replaced."""
    from flowd.explanation import VERDICTS

    described = asdict(explanation)
    described["verdict"] = VERDICTS[explanation.verdict]
    for looked in described["trace"]:
        if looked["raw"] is not None:
            looked["raw"] = looked["raw"].decode("utf-8", "replace")
    return described
