"""Which engine answers for a pattern: this package's one entry."""

from __future__ import annotations

from flowd._core import HAS_VECTORSCAN, LinearSet, Regex, RegexError
from flowd.patterns.check import check_tree
from flowd.patterns.linear import LINEAR_FLAGS, to_linear
from flowd.patterns.literal import to_literals
from flowd.patterns.model import CompiledPattern, Dialect
from flowd.patterns.parse import parse
from flowd.patterns.reference import cannot_evaluate, to_reference


def compile_pattern(
    pattern: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby"
) -> CompiledPattern:
    """Understands a regular expression of Ruby 3.3 (or, as Fluent Bit takes it, of Onigmo).

    `ignore_case` and `dotall` are the options `i` and `m`. Raises PatternError, with Ruby's own words, where Ruby
    refuses the pattern, and with flowd's where no engine of flowd's would answer as Ruby does. Thread-safe.
    """
    tree = check_tree(parse(pattern, ignore_case=ignore_case, dotall=dotall, dialect=dialect))
    reference = to_reference(tree).encode()
    _check_reference(reference)
    linear = _accepted(to_linear(tree))
    literal = to_literals(tree)
    if literal is not None:
        kind, literals, any_value = literal
        return CompiledPattern(kind, literals, any_value, linear, 0 if linear is None else LINEAR_FLAGS, reference, 0)
    kind = "reference" if linear is None else "linear"
    return CompiledPattern(kind, (), False, linear, 0 if linear is None else LINEAR_FLAGS, reference, 0)


def _check_reference(reference: bytes) -> None:
    """Oniguruma is asked here, so that what it cannot take is an error of the pattern and not of the filter set."""
    try:
        Regex(reference, 0)
    except RegexError as error:
        raise cannot_evaluate("this pattern", hint=f"its engine says: {error}") from error


def _accepted(linear: bytes | None) -> bytes | None:
    """The expression, unless Vectorscan refuses it: one with a word boundary that can never hold."""
    if linear is None or not HAS_VECTORSCAN or not (b"\\b" in linear or b"\\B" in linear):
        return linear
    try:
        LinearSet([(linear, LINEAR_FLAGS)])
    except RegexError:
        return None
    return linear
