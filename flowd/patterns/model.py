"""What compiling a pattern gives: how it is evaluated, as plain data. Nothing here parses or matches."""

from __future__ import annotations

from typing import Literal, NamedTuple

from flowd.errors import FlowdError

Kind = Literal["any", "contains", "prefix", "suffix", "exact", "linear", "reference"]
Engine = Literal["literal", "linear", "reference"]
Dialect = Literal["ruby", "onigmo"]


class PatternError(FlowdError, ValueError):
    """A pattern that cannot be compiled; `message` is what Ruby's RegexpError says before the pattern itself.

    `offset` counts characters from the pattern's start and points at what is wrong.
    """

    def __init__(self, message: str, offset: int = 0, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_error, (self.message, self.offset, self.hint)


def _rebuild_error(message: str, offset: int, hint: str) -> PatternError:
    return PatternError(message, offset, hint=hint)


class CompiledPattern(NamedTuple):
    """A pattern, understood: the cheapest way to answer "is it found in this value?", and the reference for the rest.

    `kind` is the cheapest way. The literal kinds hold `literals` (any one of them suffices; `any` has none) and are
    right for every value if `any_value`, else for valid UTF-8 without a newline. `linear` is an expression for
    libhs with its `linear_flags`, right for ASCII values without a newline; None if there is no such
    translation. `reference` is the pattern for Oniguruma (Ruby syntax, UTF-8) with its `reference_options`, right for
    every valid UTF-8 value; it is always there.
    """

    kind: Kind
    literals: tuple[bytes, ...]
    any_value: bool
    linear: bytes | None
    linear_flags: int
    reference: bytes
    reference_options: int

    @property
    def engine(self) -> Engine:
        """Who answers for the values that `kind` may see."""
        if self.kind == "linear" or self.kind == "reference":
            return self.kind
        return "literal"
