"""What filters do with a sample of lines, for `flowd check --sample`: rules that decide none of them are doubtful."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from flowd.archives.lines import Input, read_batches
from flowd.cli.sampled_words import WordCounter
from flowd.cli.table import show_number
from flowd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowd.filterset import FilterSet, Format

LOOKED_AT_LINES = 1_000
"""So many lines are looked at for the fields that idle rules name: a line is explained in some ten microseconds."""


class Sampled(NamedTuple):
    """Numbers of lines in a sample, and what is doubtful about the rules that it was filtered by."""

    file: str
    stream: str
    lines: int
    kept_lines: int
    malformed: int
    errors: int
    warnings: tuple[Problem, ...]


def try_sample(filters: FilterSet, file: str, form: Format = "auto") -> Sampled:
    """Filters the lines of a file (`-`: standard input), writing none. Raises OSError and BadArchive."""
    lines = kept_lines = malformed = errors = 0
    first: list[bytes] = []
    words = WordCounter(filters, form)
    with Input(file) as source:
        for batch in read_batches(source):
            try:
                if len(first) < LOOKED_AT_LINES:
                    first += islice(bytes(batch.lines).removesuffix(b"\n").split(b"\n"), LOOKED_AT_LINES - len(first))
                applied = filters.apply(batch.lines)
                words.count(batch.lines)
            finally:
                batch.release()
            lines += applied.lines
            kept_lines += applied.kept_lines
            malformed += applied.malformed
            errors += applied.errors
    warnings = (*_warn_idle_rules(filters, lines, first), *words.warnings()) if lines else ()
    return Sampled(file, filters.stream, lines, kept_lines, malformed, errors, warnings)


def _warn_idle_rules(filters: FilterSet, lines: int, first: list[bytes]) -> Iterator[Problem]:
    """A warning for each rule, or group as a whole, that decided no line."""
    hits = filters.hits
    # A group decides as a whole: its first rule stands for it.
    deciders = {rule.group or rule.name: rule for rule in reversed(filters.rules)}
    idle = {name: rule for name, rule in reversed(deciders.items()) if not hits[name].lines}
    if not idle:
        return
    present = {
        looked.field for line in first for looked in filters.explain(line).trace if looked.raw not in (None, b"null")
    }
    for name, rule in idle.items():
        fields = sorted({other.field for other in filters.rules if name in (other.name, other.group)} - present)
        hint = "try `flowd explain` on a line that it is meant for"
        if fields:
            named = ", ".join(fields)
            hint = f"none of the first {show_number(len(first), 'line')} has a value for {named}"
        message = f"{name} decides none of the sample's {show_number(lines, 'line')}"
        yield Problem(rule.file, rule.line, rule.column, message, hint, "idle-rule")
