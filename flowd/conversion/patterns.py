"""A condition's text as a regular expression that can stand in one line of any language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from flowd.conversion.forms import Unsayable
from flowd.filters.model import WORD_TESTS, Condition
from flowd.patterns import escape_text

_WORDS = {"equals": r"\A(?:%s)\z", "prefix": r"\A(?:%s)", "suffix": r"(?:%s)\z", "contains": "%s"}
# Characters by their numbers, another escape, or what may not be printable.
_PIECE = re.compile(r"\\[xu]\{([0-9A-Fa-f\s]+)\}|\\(.)|([^ -~])", re.DOTALL)
_EXTENDED = re.compile(r"\(\?[a-z]*x")
# What speaks of where a search began, or of groups by their number or name.
_BOUND = re.compile(r"\\[1-9GKkg]|\(\?(?:<[A-Za-z_]|'|\(|~|[a-z]*x)")
Braces = Literal["u", "x"]
_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\f": r"\f"}


def write_source(condition: Condition, braces: Braces = "u") -> str:
    """The pattern of a condition, on one line of characters that can be printed; words as a pattern that takes just
    them. Raises Unsayable.

    `braces` is the escape of characters by their numbers: Ruby has \\u{263a}, and Onigmo, as Fluent Bit calls it,
    \\x{263a}.
    """
    source = condition.pattern
    if condition.test in WORD_TESTS:
        words = "|".join(map(escape_text, condition.arguments))
        single = len(condition.arguments) == 1
        source = (_WORDS[condition.test].replace("(?:%s)", "%s") if single else _WORDS[condition.test]) % words
    elif _EXTENDED.search(source) and any(char.isspace() and char != " " for char in source):
        raise Unsayable("the pattern has comments, or blanks that do not count, on several lines or with tabs")
    return _PIECE.sub(lambda found: _write_piece(found, braces), source)


def can_be_joined(condition: Condition) -> bool:
    """Does the pattern mean the same inside of a larger one?"""
    return condition.test in WORD_TESTS or not _BOUND.search(condition.pattern)


def join_sources(conditions: Sequence[Condition]) -> str:
    """A pattern that takes what one of these takes; its options are in it. All must be such as can be joined."""
    return "|".join(map(_write_group, conditions))


def write_opposite(condition: Condition) -> str:
    """A pattern that takes every text that the condition does not take; its options are in it. Raises Unsayable."""
    if not can_be_joined(condition):
        raise Unsayable(
            "the opposite of a pattern with references, or with blanks that do not count, cannot be written"
        )
    return rf"\A(?!(?m:.*?){_write_group(condition)})"


def _write_group(condition: Condition) -> str:
    # Ruby's m takes line ends for `.`; what is off outside need not be switched off.
    return f"(?{write_options(condition)}:{write_source(condition)})"


def _write_piece(found: re.Match[str], braces: Braces) -> str:
    if found[1]:
        return "".join(f"\\{braces}{{{number}}}" for number in found[1].split())
    char = found[2] or found[3]
    if char.isprintable():
        return found[0]
    code = ord(char)
    if code > 0xFFFF:
        return f"\\{braces}{{{code:x}}}"
    return _ESCAPES.get(char) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


def write_options(condition: Condition) -> str:
    """The letters of its options."""
    return ("i" if condition.ignore_case else "") + ("m" if condition.dotall else "")
