"""What each rule has decided, as series that only grow: over reloads, and with more rules than may have one.

A series is a rule's name together with what it says: where rules change their names, as `filter1.exclude2` does when
one is put before it, none goes on with another's count. A rule that is no more has no series. What has none for
want of room is summed up, and that sum only grows, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from flowd.relay.answers import cut_text
from flowd.relay.deciding.deciders import BYPASS, Deciders, RuleKey, Tally
from flowd.relay.measurements import Value
from flowd.relay.metrics import Labels

NAME_BYTES = 200
"""What is told of a rule's name, and of its file's."""
ID_BYTES = 6


@dataclass(slots=True)
class _Told:
    """What is told of a stream while a generation decides: the core's numbers of the rules that have series, their
    labels; and of the others' sum what was told before, and what it was when that began."""

    generation: int
    numbers: list[int]
    labels: list[Labels]
    other_before: int = 0
    other_began: int = 0
    other: int = 0


class RuleSeries:
    """Remembers which rules have series: so many at most, over all streams, in the order in which the streams came and
    the rules stand; `default`, which is the core's number 0, in any case. For one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._told: dict[str, _Told] = {}

    def measure(self, tallies: Iterable[tuple[str, Tally]]) -> Iterator[Value]:
        """The values of all streams."""
        for stream, tally in tallies:
            told = self._told.get(stream)
            if told is None or told.generation != tally.generation:
                told = self._told[stream] = self._choose(stream, tally, told)
            lines = [lines for lines, _ in tally.counts]
            yield "flowd_rules", (("stream", stream),), len(lines)
            for number, labels in zip(told.numbers, told.labels, strict=True):
                yield "flowd_rule_lines_total", labels, lines[number]
            if tally.bypassed_lines:
                yield "flowd_rule_lines_total", _label(stream, BYPASS, "", ""), tally.bypassed_lines
            others = sum(lines) - sum(lines[number] for number in told.numbers)
            told.other = max(told.other, told.other_before + others - told.other_began)
            yield "flowd_other_rules_lines_total", (("stream", stream),), told.other

    def _choose(self, stream: str, tally: Tally, before: _Told | None) -> _Told:
        """Which rules have series from now on."""
        room = self._most - sum(len(told.numbers) for name, told in self._told.items() if name != stream)
        numbers = list(range(min(max(room, bool(self._most)), len(tally.counts))))
        told = _Told(tally.generation, numbers, _label_all(stream, tally.deciders, numbers))
        if before is not None:
            # The rules that are summed up may be others now: only what they decide from here on is added.
            told.other = told.other_before = before.other
            told.other_began = sum(lines for lines, _ in tally.counts[len(numbers) :])
        return told


def _label_all(stream: str, deciders: Deciders, numbers: Iterable[int]) -> list[Labels]:
    labels = []
    for number in numbers:
        rule = deciders.describe(number, (0, 0))
        labels.append(_label(stream, rule.name, rule.file, identify(deciders.keys[number], rule.name)))
    return labels


def _label(stream: str, rule: str, file: str, said: str) -> Labels:
    rule, file = cut_text(rule, NAME_BYTES), cut_text(file, NAME_BYTES)
    return ("stream", stream), ("rule", rule), ("file", file), ("id", said)


def identify(key: RuleKey, name: str) -> str:
    """A digest of what a rule says: the same for the same, wherever it stands; none for what is no rule."""
    said, number = key
    if said == (name,):
        return ""
    spelled = "\0".join((*said, str(number))).encode("utf-8", "surrogatepass")
    return blake2b(spelled, digest_size=ID_BYTES).hexdigest()
