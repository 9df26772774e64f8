"""What filters do with a sample of lines, for `flowd check --sample`: rules that decide none of them are doubtful."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from flowd.cli.lines import STDIN, Input, read_batches
from flowd.cli.table import show_number
from flowd.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowd.filters.model import FilterText
    from flowd.filterset import FilterSet

VALUES_SHOWN = 5
"""Of the values that a bare word hits."""
MOST_EXPLAINED = 50_000
"""So many different lines that a bare word hits are looked at: some seconds at most."""
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


def try_sample(filters: FilterSet, file: str) -> Sampled:
    """Filters the lines of a file (`-`: standard input), writing none. Raises OSError and BadArchive."""
    lines = kept_lines = malformed = errors = 0
    first: list[bytes] = []
    with Input(file) as source:
        for batch in read_batches(source):
            try:
                if len(first) < LOOKED_AT_LINES:
                    first += islice(bytes(batch.lines).removesuffix(b"\n").split(b"\n"), LOOKED_AT_LINES - len(first))
                applied = filters.apply(batch.lines)
            finally:
                batch.release()
            lines += applied.lines
            kept_lines += applied.kept_lines
            malformed += applied.malformed
            errors += applied.errors
    warnings = (*_warn_idle_rules(filters, lines, first), *warn_hit_words(filters, file)) if lines else ()
    return Sampled(file, filters.stream, lines, kept_lines, malformed, errors, warnings)


def warn_hit_words(filters: FilterSet, file: str) -> Iterator[Problem]:
    """A warning for each rule that is a bare word and hits other values of the sample than the word itself.

    Reads the file once more for the lines that such words hit; standard input cannot be read again.
    """
    from flowd.filters.lint.words import is_unanchored
    from flowd.filters.model import Filter, FilterText, Step

    if file == STDIN:
        return
    rules = [rule for section in filters.text.filters for step in section.steps for rule in step.rules]
    for rule in rules:
        if not is_unanchored(rule):
            continue
        alone = rule._replace(kind="exclude", group="")
        section = Filter("word", "**", (Step("not_any", (alone,)),), rule.file, rule.line, rule.column)
        hit = _count_values(FilterText(filters.dialect, filters.stream, (section,)), file)
        word = rule.condition.pattern
        others = [(value, lines) for value, lines in hit.most_common() if value != word]
        if not others:
            continue
        shown = ", ".join(f"{value} ({show_number(lines, 'line')})" for value, lines in others[:VALUES_SHOWN])
        more = f" and {len(others) - VALUES_SHOWN:,} more" if len(others) > VALUES_SHOWN else ""
        message = f"{word} also hits {shown}{more} in {rule.key}"
        hint = f"if the whole value is meant write ^{word}$; else say so with # flowd: ignore unanchored-word"
        yield Problem(rule.file, rule.line, rule.column, message, hint, "unanchored-word")


def _count_values(text: FilterText, file: str) -> Counter[str]:
    """How many lines of the file have each value that the text's one rule matches."""
    from flowd.filterset import FilterSet

    filters = FilterSet(text)
    counts: Counter[str] = Counter()
    explained = 0
    known: dict[bytes, str] = {}
    with Input(file) as source:
        for batch in read_batches(source):
            try:
                matched = filters.apply(batch.lines, malformed="drop", invert=True).kept
            finally:
                batch.release()
            for line in matched.splitlines():
                if explained == MOST_EXPLAINED:
                    return counts
                if line not in known:
                    explained += 1
                    known[line] = filters.explain(line).value
                counts[known[line]] += 1
    return counts


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
