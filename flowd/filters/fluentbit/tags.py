"""`match` and `match_regex`: which tags (streams) a Fluent Bit filter is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowd.filters.fluentbit.pattern import FluentBitPattern, PatternError, parse_pattern

if TYPE_CHECKING:
    from flowd.patterns import CompiledPattern


def matches_wildcard(pattern: str, tag: str) -> bool:
    """Is the whole tag what the pattern says, in which `*` alone is special? Nothing fits the empty pattern."""
    if not pattern:
        return False
    first, *others = pattern.split("*")
    if not others:
        return tag == pattern
    last = others.pop()
    if not tag.startswith(first) or len(tag) < len(first) + len(last) or not tag.endswith(last):
        return False
    at, end = len(first), len(tag) - len(last)
    for part in others:
        found = tag.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def matches_regex(pattern: str, tag: str) -> bool:
    """Does the expression match at the tag's start, and something of it? Raises PatternError."""
    from flowd import _core

    parsed = parse_pattern(pattern)
    try:
        compiled = _compile_at_start(parsed, "")
    except PatternError:
        compiled = _compile_at_start(parsed, "\n")  # an extended one may end in a comment, which takes the bracket
    return bool(_core.Regex(compiled.reference, compiled.reference_options).search(tag.encode()))


def _compile_at_start(parsed: FluentBitPattern, end: str) -> CompiledPattern:
    from flowd.patterns import compile_pattern

    # Atomic, so that the match which is preferred counts and not any other; behind it lies no start of the text.
    anchored = rf"\A(?>{parsed.source}{end})(?!\A)"
    return compile_pattern(anchored, ignore_case=parsed.ignore_case, dotall=parsed.dotall, dialect="onigmo")


__all__ = ["PatternError", "matches_regex", "matches_wildcard"]
