"""A condition's text as a regular expression that can stand in one line of any language."""

from __future__ import annotations

from flowd.filters.model import WORD_TESTS, Condition
from flowd.patterns import escape_text

_WORDS = {"equals": r"\A(?:%s)\z", "prefix": r"\A(?:%s)", "suffix": r"(?:%s)\z", "contains": "%s"}
_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\f": r"\f"}


def write_source(condition: Condition) -> str:
    """The pattern of a condition, on one line; words as a pattern that takes them and nothing else."""
    source = condition.pattern
    if condition.test in WORD_TESTS:
        words = "|".join(map(escape_text, condition.arguments))
        single = len(condition.arguments) == 1
        source = (_WORDS[condition.test].replace("(?:%s)", "%s") if single else _WORDS[condition.test]) % words
    return "".join(_ESCAPES.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 0x20 else char) for char in source)


def write_options(condition: Condition) -> str:
    """The letters of its options."""
    return ("i" if condition.ignore_case else "") + ("m" if condition.dotall else "")
