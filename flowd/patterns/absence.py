"""The absence operator `(?~X)`, spelled out: Oniguruma's own ends sooner than Ruby's.

Both take any text that holds no match of X. Where the value holds one, Ruby goes on up to the match's last character
but one (`(?~ab)` takes the `a` of `ab`), Oniguruma up to its first: `^(?~ab)b` is found in `ab` by Ruby alone. What is
written here goes character by character and looks behind after each whether an X ends there, the longest text first.
"""

from __future__ import annotations

from dataclasses import replace

from flowd.patterns.nodes import (
    Alternation,
    AnyChar,
    Capture,
    CodeClass,
    Literal,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
)

_LONGEST = 64  # characters; the text written for X grows with their square
ANY = "[\\x00-\\x{10FFFF}]"
"""Any character, as a class: a dot would let Oniguruma look at the starts of lines only."""


def absent_lengths(body: Node) -> dict[int, list[Node]] | None:
    """The branches of X by how many characters each has; None where that is not fixed, too much, or falls.

    Of what X may match at one place Ruby looks at the first only: a shorter branch behind a longer one is not seen.
    """
    found: dict[int, list[Node]] = {}
    for branch in _branches(body):
        length = _length(branch)
        if length is None or not max(found, default=1) <= length <= _LONGEST:
            return None
        found.setdefault(length, []).append(_without_groups(branch))
    return found


def spell_out(written: dict[int, str]) -> str:
    """The operator, from what X has of each length, as alternatives in Oniguruma's syntax.

    The first characters are nested: what is longer than the text so far has begun before it, and does not count.
    """
    longest = max(written)
    stops = ["|".join(text for length, text in sorted(written.items()) if length <= at) for at in range(1, longest + 1)]
    *first, last = [f"{ANY}(?<!{stop})" if stop else ANY for stop in stops]
    spelled = f"(?:{last})*"
    for step in reversed(first):
        spelled = f"(?:{step}{spelled})?"
    return spelled


def _branches(body: Node) -> list[Node]:
    match body:
        case Alternation(branches):
            return [inner for branch in branches for inner in _branches(branch)]
        case Capture(body=inner) | Options(inner):
            return _branches(inner)
        case _:
            return [body]


def _length(node: Node) -> int | None:
    match node:
        case Literal(text):
            return len(text)
        case AnyChar() | CodeClass() | Property() | PropertyClass():
            return 1
        case Capture(body=body) | Options(body):
            return _length(body)
        case Repeat(body, low, high) if low == high:
            length = _length(body) if low else 0
            return None if length is None else length * low
        case Sequence(parts):
            lengths = [_length(part) for part in parts]
            return None if None in lengths else sum(length for length in lengths if length)
        case Alternation(branches):
            first, *others = [_length(branch) for branch in branches]
            return first if all(other == first for other in others) else None
        case _:
            return None


def _without_groups(node: Node) -> Node:
    """The node with plain groups in the place of those that capture: it is written more than once."""
    match node:
        case Capture(body=body) | Options(body):
            return Options(_without_groups(body))
        case Repeat(body):
            return replace(node, body=_without_groups(body))
        case Sequence(parts):
            return Sequence(tuple(_without_groups(part) for part in parts))
        case Alternation(branches):
            return Alternation(tuple(_without_groups(branch) for branch in branches))
        case _:
            return node
