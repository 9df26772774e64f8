"""Patterns that no text can match: characters behind an end, or before a beginning.

Says yes only where it is certain; what a construct unknown here could do is left open.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from flowd.filters.lint.patterns import compile_condition, parse_condition
from flowd.filters.model import Condition
from flowd.patterns.nodes import (
    Alternation,
    Anchor,
    AnyChar,
    Atomic,
    Capture,
    CodeClass,
    Keep,
    Literal,
    Look,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
)

_BEGINNINGS = ("line_start", "text_start", "search_start")
_ENDS = ("line_end", "text_end", "text_end_newline")


@lru_cache(maxsize=50_000)
def takes_no_text(condition: Condition) -> bool:
    """Is it a pattern that nothing can match?"""
    if condition.test != "pattern" or compile_condition(condition).engine == "literal":
        return False
    return _never(parse_condition(condition).root)


def _never(node: Node) -> bool:
    match node:
        case Alternation(branches):
            return all(_never(branch) for branch in branches)
        case Capture(body=body) | Options(body) | Atomic(body):
            return _never(body)
        case Repeat(body, low):
            return low > 0 and _never(body)
        case Sequence():
            parts = _flat(node)
            return any(_never(part) for part in parts if part is not node) or _is_torn(parts)
        case _:
            return False


def _flat(node: Node) -> list[Node]:
    """The parts of a sequence, seen through groups."""
    match node:
        case Sequence(parts):
            return [inner for part in parts for inner in _flat(part)]
        case Capture(body=Sequence() as body) | Options(Sequence() as body):
            return _flat(body)
        case _:
            return [node]


def _is_torn(parts: list[Node]) -> bool:
    """Is a character required where the text, or its line, has ended or not begun?"""
    for i, part in enumerate(parts):
        if not isinstance(part, Anchor):
            continue
        if part.kind in _ENDS and _needs_char(parts[i + 1 :], part.kind != "text_end", at_begin=True):
            return True
        if part.kind in _BEGINNINGS and _needs_char(reversed(parts[:i]), part.kind == "line_start", at_begin=False):
            return True
    return False


def _needs_char(parts: Iterable[Node], newline_helps: bool, *, at_begin: bool) -> bool:
    """Do the parts ask for a character that is no line end, before anything that may be one?"""
    for part in parts:
        if isinstance(part, Anchor | Look | Keep):
            continue
        if newline_helps and _may_touch_newline(part, at_begin):
            return False
        if _takes_char(part):
            return True
        if not _is_known(part):
            return False
    return False


def _is_known(node: Node) -> bool:
    return isinstance(
        node, Literal | AnyChar | CodeClass | Property | PropertyClass | Sequence | Alternation | Capture | Options
        | Atomic | Repeat | Keep | Anchor
    )  # fmt: skip


def _takes_char(node: Node) -> bool:
    """Does the node need a character for certain?"""
    match node:
        case Literal(text):
            return bool(text)
        case AnyChar() | CodeClass() | Property() | PropertyClass():
            return True
        case Capture(body=body) | Options(body) | Atomic(body):
            return _takes_char(body)
        case Repeat(body, low):
            return low > 0 and _takes_char(body)
        case Sequence(parts):
            return any(_takes_char(part) for part in parts)
        case Alternation(branches):
            return all(_takes_char(branch) for branch in branches)
        case _:
            return False


def _may_touch_newline(node: Node, at_begin: bool) -> bool:
    """May the node's first (or last) character be a newline? Yes, where it is not certain."""
    match node:
        case Literal(text):
            return not text or text[0 if at_begin else -1] == "\n"
        case AnyChar(newline):
            return newline
        case CodeClass(members, negated=negated):
            return ("\n" in members) != negated
        case Capture(body=body) | Options(body) | Atomic(body) | Repeat(body=body):
            return _may_touch_newline(body, at_begin)
        case Alternation(branches):
            return any(_may_touch_newline(branch, at_begin) for branch in branches)
        case Sequence(parts):
            for part in parts if at_begin else reversed(parts):
                if isinstance(part, Anchor | Look | Keep):
                    continue
                if _may_touch_newline(part, at_begin):
                    return True
                if _takes_char(part):
                    return False
            return False
        case _:
            return True
