"""Which engine answers for a pattern, by its parsed tree."""

from __future__ import annotations

from flowd._core import HAS_LINEAR, LinearSet, Regex, RegexError
from flowd.patterns.check import check_tree
from flowd.patterns.linear import LINEAR_FLAGS, to_linear
from flowd.patterns.literal import to_literals
from flowd.patterns.model import CompiledPattern, Dialect
from flowd.patterns.parse import parse
from flowd.patterns.reference import cannot_evaluate, to_reference


def judge_pattern(
    pattern: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby"
) -> CompiledPattern:
    """What `flowd.patterns.compile_pattern` promises, for any pattern."""
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
    """The expression, unless the engine refuses it: one with a word boundary that can never hold."""
    if linear is None or not HAS_LINEAR or not (b"\\b" in linear or b"\\B" in linear):
        return linear
    try:
        LinearSet([(linear, LINEAR_FLAGS)])
    except RegexError:
        return None
    return linear
