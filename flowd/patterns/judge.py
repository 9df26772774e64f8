"""Which engine answers for a pattern: this package's one entry."""

from __future__ import annotations

from flowd.patterns.check import check_tree
from flowd.patterns.linear import LINEAR_FLAGS, to_linear
from flowd.patterns.literal import to_literals
from flowd.patterns.model import CompiledPattern, Dialect
from flowd.patterns.parse import parse
from flowd.patterns.reference import to_reference


def compile_pattern(
    pattern: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby"
) -> CompiledPattern:
    """Understands a regular expression of Ruby 3.3 (or, as Fluent Bit takes it, of Onigmo).

    `ignore_case` and `dotall` are the options `i` and `m`. Raises PatternError, with Ruby's own words, where Ruby
    refuses the pattern, and with flowd's where no engine of flowd's would answer as Ruby does. Thread-safe.
    """
    tree = check_tree(parse(pattern, ignore_case=ignore_case, dotall=dotall, dialect=dialect))
    reference = to_reference(tree).encode()
    linear = to_linear(tree)
    literal = to_literals(tree)
    if literal is not None:
        kind, literals, any_value = literal
        return CompiledPattern(kind, literals, any_value, linear, LINEAR_FLAGS if linear else 0, reference, 0)
    kind = "reference" if linear is None else "linear"
    return CompiledPattern(kind, (), False, linear, 0 if linear is None else LINEAR_FLAGS, reference, 0)
