"""Tests run on compiled filters: what came of each and why, and which rules no test reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowd.explanation import VERDICTS
from flowd.filter_tests.model import FilterTest, Outcome, Tested, Unreached

if TYPE_CHECKING:
    from flowd.explanation import Explanation
    from flowd.filterset import FilterSet

VALUE_CHARS = 80
"""What is shown of the value that a rule saw."""

ReadSample = Callable[[str], bytes]
"""Reads a sample's lines; raises OSError."""


def run_tests(
    tests: Iterable[FilterTest],
    sets: Mapping[str, FilterSet],
    read_sample: ReadSample = lambda path: Path(path).read_bytes(),
) -> Tested:
    """Runs the tests; `sets` are the filters by stream, those of streams without tests among them, freshly compiled:
    their counters say what was reached. Raises what `read_sample` raises."""
    run = Tested()
    for test in tests:
        began_s = time.perf_counter()
        lines = read_sample(test.sample) if test.sample else test.lines
        letters = sets[test.stream].verdicts(lines, format=test.format).decode()
        failure = _find_failure(test, sets[test.stream], lines, letters)
        run.outcomes.append(Outcome(test, failure, len(letters), time.perf_counter() - began_s))
    run.unreached = find_unreached(sets.values())
    return run


def find_unreached(sets: Iterable[FilterSet]) -> list[Unreached]:
    """The rules, and groups as a whole, that have decided no line in any of the streams that they are for."""
    reached: dict[Unreached, bool] = {}
    for filters in sets:
        hits = filters.hits
        # A group decides as a whole: it stands where its first rule does.
        deciders = {rule.group or rule.name: rule for rule in reversed(filters.rules)}
        for name, rule in reversed(deciders.items()):
            if name in hits:
                decider = Unreached(name, rule.file, rule.line)
                reached[decider] = reached.get(decider, False) or hits[name].lines > 0
    return [decider for decider, is_reached in reached.items() if not is_reached]


def _find_failure(test: FilterTest, filters: FilterSet, lines: bytes, letters: str) -> str:
    """What is not as expected, in words; empty where all is."""
    if test.expect and not letters:
        return f"expected {VERDICTS[test.expect]}, but there are no lines"
    parts = lines.split(b"\n")
    wrong = [at for at, letter in enumerate(letters) if test.expect and letter != test.expect]
    if not wrong and test.rule:
        wrong = [at for at in range(len(letters)) if filters.explain(parts[at], format=test.format).rule != test.rule]
    if wrong:
        explained = filters.explain(parts[wrong[0]], format=test.format)
        where = f"line {wrong[0] + 1} of {len(letters)}: " if len(letters) > 1 else ""
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"{where}expected {_show_expected(test)}, got {show_explanation(explained)}{more}"
    return _find_wrong_counts(test, filters, lines, letters)


def _find_wrong_counts(test: FilterTest, filters: FilterSet, lines: bytes, letters: str) -> str:
    counted = {
        "kept": len(letters) - letters.count("D"),
        "dropped": letters.count("D"),
        "malformed": letters.count("M"),
        "errors": letters.count("E"),
    }
    wrong = [f"{name} = {count}" for name, count in test.counts.items() if counted[name] != count]
    if not wrong:
        return ""
    got = ", ".join(f"{name} = {counted[name]}" for name in test.counts if counted[name] != test.counts[name])
    twin = filters.twin()  # whose counters hold this test alone
    twin.verdicts(lines, format=test.format)
    decided = ", ".join(f"{name} {hits.lines}" for name, hits in twin.hits.items() if hits.lines)
    return f"expected {', '.join(wrong)}, got {got}" + (f" (decided by {decided})" if decided else "")


def _show_expected(test: FilterTest) -> str:
    return VERDICTS[test.expect] + (f" by {test.rule}" if test.rule else "")


def show_explanation(explained: Explanation) -> str:
    """`drop by filter1.exclude1: source_namespace is 'dev'`, with a value that is not too long."""
    words = f"{VERDICTS[explained.verdict]} by {explained.rule}"
    if not explained.field:
        return words
    value = explained.value if len(explained.value) <= VALUE_CHARS else explained.value[: VALUE_CHARS - 1] + "…"
    return f"{words}: {explained.field} is {value!r}"
