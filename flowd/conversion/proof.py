"""Two filter sets, run on the same lines: a sample's, and generated ones that are made to find a difference.

For every field that a rule names there are values near to what the rules ask for, of every type that the field can
have; lines combine them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flowd.filters.model import WORD_TESTS, Condition, FilterText
from flowd.filters.schema import LISTS, NUMBERS, OBJECTS
from flowd.filterset import FilterSet

LINES = 4_000
"""Generated lines of a stream: all values of each field alone, the rest of them combined at random."""
_SEED = 20
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_ABSENT: Any = object()
_PLAIN = ["", "a", "-", "dev", "0", "53", "x\ny", "é", "A"]


def find_difference(old: FilterSet, new: FilterSet, lines: Iterable[bytes]) -> bytes | None:
    """The first of the lines that one of the two drops and the other keeps."""
    for line in lines:
        if (old.verdicts(line) == b"D") != (new.verdicts(line) == b"D"):
            return line
    return None


def generate_lines(texts: Sequence[FilterText], stream: str) -> Iterator[bytes]:
    """Lines that bring out what rules of these texts ask for; the same ones each time."""
    conditions: dict[str, list[Condition]] = {}
    for text in texts:
        for section in text.filters:
            for step in section.steps:
                for rule in step.rules:
                    if isinstance(field := rule.condition.path[0], str):
                        conditions.setdefault(field, []).append(rule.condition)
    values = {field: list(_values_of(field, asked, stream)) for field, asked in sorted(conditions.items())}
    choose = random.Random(_SEED)
    yield b"{}"
    for field, known in values.items():
        for value in known:
            record = {other: choose.choice(values[other]) for other in values}
            yield _write({field: value})
            yield _write({**record, field: value})
    for _ in range(LINES if values else 0):
        yield _write({field: choose.choice(known) for field, known in values.items()})


def _values_of(field: str, conditions: Sequence[Condition], stream: str) -> Iterator[Any]:
    yield _ABSENT
    yield None
    words = list(dict.fromkeys(word for condition in conditions for word in _words_of(condition)))
    if field in NUMBERS.get(stream, ()):
        yield from (0, 1, 53, 80, 443, 1024, 65535, 10**12)
        yield from (int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 16)
        return
    if field in LISTS.get(stream, ()):
        yield from ([], words[:1], words[:3])
    elif field in OBJECTS.get(stream, ()):
        yield from ({}, {"labels": []}, {"labels": words[:3]}, {word: word for word in words[:3]})
    if field in LISTS.get(stream, ()) or field in OBJECTS.get(stream, ()):
        for condition in conditions:
            for word in words[:20]:
                nested = _nest(condition.path[1:], word)
                if isinstance(nested, list if field in LISTS[stream] else dict):
                    yield nested
        return
    yield from _PLAIN
    for word in words:
        yield from (word, f"{word}x", f"x{word}", f"x-{word}-x", word.upper(), word[:-1])


def _words_of(condition: Condition) -> Iterator[str]:
    if condition.test in WORD_TESTS:
        yield from condition.arguments
    elif condition.test == "pattern":
        yield from _WORD.findall(re.sub(r"\\([.\-/ ])", r"\1", condition.pattern))
    elif condition.test == "cidr":
        yield from (network.split("/")[0] for network in condition.arguments)
    elif condition.test == "number":
        yield from (number for _, number in condition.arguments)
    elif condition.test == "labels":
        for label, _, values in condition.arguments:
            yield from (f"{label}={value}" for value in values or ("",))


def _nest(path: tuple[str | int, ...], value: Any) -> Any:
    for part in reversed(path):
        value = {part: value} if isinstance(part, str) else [value] * (abs(part) + 1 if abs(part) < 20 else 1)
    return value


def _write(record: dict[str, Any]) -> bytes:
    there = {field: value for field, value in record.items() if value is not _ABSENT}
    return json.dumps(there, ensure_ascii=False, separators=(",", ":")).encode()
