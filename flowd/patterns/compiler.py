"""From a pattern's text to the ways of evaluating it: the one entry to this package."""

from __future__ import annotations

import re

from flowd.patterns.model import CompiledPattern, Dialect, PatternError


def compile_pattern(
    pattern: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby"
) -> CompiledPattern:
    """Understands a Ruby regular expression; raises PatternError where Ruby refuses it."""
    options = int(ignore_case) | int(dotall) << 2
    source = pattern.encode()
    if pattern.startswith(("*", "+", "?")):
        raise PatternError("target of repeat operator is not specified", 0)
    plain = re.fullmatch(r"(\^?)([A-Za-z0-9_ -]*)(\$?)", pattern)
    if plain and not ignore_case:
        start, text, end = plain.groups()
        kind = "exact" if start and end else "prefix" if start else "suffix" if end else "contains" if text else "any"
        literals = (text.encode(),) if kind != "any" else ()
        return CompiledPattern(kind, literals, kind in ("any", "contains"), None, 0, source, options)  # type: ignore[arg-type]
    return CompiledPattern("reference", (), False, None, 0, source, options)
