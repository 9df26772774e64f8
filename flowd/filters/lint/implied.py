"""When words say something about each other: one implies the other, or a value cannot fit both.

All of it holds for values without a line end, which is what anchored words are read for.
"""

from __future__ import annotations

from collections import Counter

from flowd.filters.lint.patterns import Words
from flowd.filters.model import Rule

_LONGEST_WORD = 200  # parts of a word are looked for one by one


class WordIndex:
    """Words with the rule that each belongs to; looking one up costs no more for many than for few."""

    __slots__ = ("_by_kind", "_sizes")

    def __init__(self) -> None:
        self._by_kind: dict[str, dict[str, Rule]] = {"exact": {}, "prefix": {}, "suffix": {}, "contains": {}}
        self._sizes: Counter[int] = Counter()

    def add(self, words: Words, rule: Rule) -> None:
        """Add the words of a rule; of equal words the first stays."""
        known = self._by_kind[words.kind]
        for word in words.words:
            if word not in known:
                known[word] = rule
                self._sizes[len(word)] += words.kind == "contains"

    def find(self, kind: str, word: str) -> Rule | None:
        """A rule that takes whatever this word takes."""
        if len(word) > _LONGEST_WORD:
            return None
        if kind == "exact" and word in self._by_kind["exact"]:
            return self._by_kind["exact"][word]
        if kind in ("exact", "prefix"):
            for end in range(len(word) + 1):
                if (found := self._by_kind["prefix"].get(word[:end])) is not None:
                    return found
        if kind in ("exact", "suffix"):
            for begin in range(len(word) + 1):
                if (found := self._by_kind["suffix"].get(word[begin:])) is not None:
                    return found
        contained = self._by_kind["contains"]
        for size, number in self._sizes.items() if contained else ():
            for begin in range(len(word) - size + 1 if number else 0):
                if (found := contained.get(word[begin : begin + size])) is not None:
                    return found
        return None

    def find_all(self, words: Words) -> Rule | None:
        """A rule of those that together take whatever these words take; None where they leave something."""
        found = [self.find(words.kind, word) for word in words.words]
        return found[0] if found and all(found) else None


def implies(words: Words, others: Words) -> bool:
    """Does every value that fits the first fit the others, too?"""
    return all(any(_implies(words.kind, word, others.kind, other) for other in others.words) for word in words.words)


def exclude_each_other(words: Words, others: Words) -> bool:
    """Can no text fit both?"""
    return not any(_meet(words.kind, word, others.kind, other) for word in words.words for other in others.words)


def _implies(kind: str, word: str, other_kind: str, other: str) -> bool:
    if other_kind == "contains":
        return other in word
    if kind not in ("exact", other_kind):
        return False
    if other_kind == "exact":
        return word == other
    return word.startswith(other) if other_kind == "prefix" else word.endswith(other)


def _meet(kind: str, word: str, other_kind: str, other: str) -> bool:
    """Can a text fit both words?"""
    if kind == "exact":
        return _implies(kind, word, other_kind, other)
    if other_kind == "exact":
        return _implies(other_kind, other, kind, word)
    if kind == other_kind == "prefix":
        return word.startswith(other) or other.startswith(word)
    if kind == other_kind == "suffix":
        return word.endswith(other) or other.endswith(word)
    return True
