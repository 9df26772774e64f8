"""Two filter sets, run on the same lines: a sample's, and generated ones that are made to find a difference.

For every field that a rule names there are values near to what the rules ask for, of every type that the field can
have; lines combine them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from flowd.conversion.values import find_kind
from flowd.filters.model import WORD_TESTS, Condition, FilterText
from flowd.filters.schema import FIELDS, NUMBER, NUMBERS, SHAPES, Shape
from flowd.filterset import FilterSet, Format

LINES = 4_000
"""A stream's lines in which all fields are combined at random; a tenth where nothing is known of them."""
_BATCH = 1_000
_DROP = ord("D")
_SEED = 20
_WORD = re.compile(r"[A-Za-z0-9_.-]+")
_ABSENT: Any = object()
_PLAIN = ["", "a", "-", "dev", "0", "53", "x\ny", "é", "A"]


class Comparing:
    """Asks two filter sets about the same lines. `line_count` lines were decided alike so far."""

    def __init__(self, old: FilterSet, new: FilterSet) -> None:
        self.line_count = 0
        self._old, self._new = old, new

    def find_difference(self, lines: Iterator[bytes], form: Format = "json") -> bytes | None:
        """The first of the lines (without their newlines) that one of the two drops and the other keeps."""
        while batch := list(islice(lines, _BATCH)):
            together = b"\n".join(batch) + b"\n"
            old, new = (filters.verdicts(together, format=form) for filters in (self._old, self._new))
            for at, line in enumerate(batch):
                if (old[at] == _DROP) != (new[at] == _DROP):
                    return line
            self.line_count += len(batch)
        return None


def generate_lines(texts: Sequence[FilterText], stream: str, presumed: Collection[str] = ()) -> Iterator[bytes]:
    """Lines that bring out what rules of these texts ask for; the same ones each time.

    `presumed` are fields that every line has, and never null.
    """
    conditions: dict[str, list[Condition]] = {}
    for text in texts:
        for section in text.filters:
            for step in section.steps:
                for rule in step.rules:
                    if isinstance(field := rule.condition.path[0], str):
                        conditions.setdefault(field, []).append(rule.condition)
    values = {
        field: [*(() if field in presumed else (_ABSENT, None)), *_values_of(field, asked, stream)]
        for field, asked in sorted(conditions.items())
    }
    always = {field: "-" for field in presumed if field in values}
    choose = random.Random(_SEED)
    yield _write(always)
    for field, known in values.items():
        for value in known:
            record = {other: choose.choice(values[other]) for other in values}
            yield _write({**always, field: value})
            yield _write({**record, field: value})
    for _ in range((LINES if stream in FIELDS else LINES // 10) if values else 0):
        yield _write({field: choose.choice(known) for field, known in values.items()})


def _values_of(field: str, conditions: Sequence[Condition], stream: str) -> Iterator[Any]:
    if field not in FIELDS.get(stream, ()):
        # Not there; and should it come one day, it is what it is elsewhere.
        stream = next((other for other, fields in FIELDS.items() if field in fields), stream)
    words = list(dict.fromkeys(word for condition in conditions for word in _words_of(condition)))
    shape = SHAPES.get(stream, {}).get(field)
    if shape is None:
        yield from _numbers_near(words) if field in NUMBERS.get(stream, ()) else _texts_near(words)
        return
    yield from _values_of_shape(shape, words[:3])
    for condition in conditions:
        kind = find_kind(condition.path, stream)
        if kind in ("nowhere", "inside of a plain value"):
            continue  # no line has anything there
        leaves = _numbers_near(words) if kind == "a number" else _texts_near(words[:20])
        yield from (_nest(condition.path[1:], leaf) for leaf in leaves if kind in ("a number", "a string", "unknown"))


def _values_of_shape(shape: Shape, words: Sequence[str]) -> list[Any]:
    """A few values that are made as the shape is."""
    if isinstance(shape, list):
        inside = _values_of_shape(shape[0], words)
        return [[], inside[-1:], inside]
    if isinstance(shape, dict):
        parts = {name: _values_of_shape(part, words)[-1] for name, part in shape.items() if name != "*"}
        others = {word: word for word in words} if "*" in shape else {}
        return [{}, *({name: value} for name, value in parts.items()), {**parts, **others}]
    return [1, 5] if shape == NUMBER else ["", *words]


def _numbers_near(words: Sequence[str]) -> Iterator[int]:
    yield from (0, 1, 53, 80, 443, 1024, 65535, 10**12)
    yield from (int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 16)


def _texts_near(words: Sequence[str]) -> Iterator[str]:
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
