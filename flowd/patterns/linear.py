"""A tree as an expression for libhs whose yes or no is the reference's, on ASCII values without a newline.

Only such values are ever given to it, which is what makes the subset simple: a character is a byte, `^` is the start
and `$` the end of the value, `.` is any byte, case folding is that of ASCII letters. docs/patterns.md has the argument
for each construct. What is not listed here is refused (None), never approximated.
"""

from __future__ import annotations

from flowd.patterns.charset import ASCII, NOTHING, POSIX_ASCII, CharSet
from flowd.patterns.nodes import (
    Alternation,
    Anchor,
    AnyChar,
    Capture,
    CodeClass,
    Keep,
    Linebreak,
    Literal,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
    Tree,
    Union,
)

HS_FLAG_DOTALL = 2
HS_FLAG_SINGLEMATCH = 8
HS_FLAG_ALLOWEMPTY = 16
LINEAR_FLAGS = HS_FLAG_DOTALL | HS_FLAG_SINGLEMATCH | HS_FLAG_ALLOWEMPTY

REPEAT_LIMIT = 1000  # A count, and the product of counts inside each other: unrolled, they are states.
POSITION_LIMIT = 4000  # Characters of the expression with its counts unrolled; bounds the time to compile it.
LENGTH_LIMIT = 12_000  # Bytes of the expression; libhs itself refuses more than 16,000.
NESTING_LIMIT = 40  # Groups in groups; the library's own parser recurses.

_STARTS = ("line_start", "text_start", "search_start")
_ENDS = ("line_end", "text_end", "text_end_newline")
_LETTERS = CharSet.of([(0x41, 0x5A), (0x61, 0x7A)])


class _Refused(Exception):
    """The pattern is not of the subset."""


def to_linear(tree: Tree) -> bytes | None:
    """The expression, to be compiled with LINEAR_FLAGS; None if the pattern is not of the subset."""
    writer = _Writer()
    try:
        expression = writer.write(tree.root, 1, _Place(start=True, end=True), 0)
    except _Refused:
        return None
    # libhs refuses an expression without any character.
    return expression.encode() if writer.positions and len(expression) <= LENGTH_LIMIT else None


class _Place:
    """Where a node stands: libhs takes a start anchor only where nothing is before it, an end only at the end."""

    __slots__ = ("end", "start")

    def __init__(self, *, start: bool, end: bool) -> None:
        self.start = start
        self.end = end


_MIDDLE = _Place(start=False, end=False)


class _Writer:
    def __init__(self) -> None:
        self.positions = 0

    def count(self, times: int) -> None:
        self.positions += times
        if self.positions > POSITION_LIMIT:
            raise _Refused

    def write(self, node: Node, times: int, place: _Place, depth: int) -> str:
        """The node's expression; `times` is how often the counts around it unroll it."""
        if depth > NESTING_LIMIT:
            raise _Refused
        match node:
            case Literal(text, ignore_case):
                return self.literal(text, ignore_case, times)
            case AnyChar():
                self.count(times)
                return "."
            case CodeClass() | Property() | PropertyClass() | Linebreak():
                self.count(times)
                return _brackets(_members(node))
            case Anchor(kind):
                return _anchor(kind, place)
            case Keep():
                return ""
            case Sequence(parts):
                return self.sequence(parts, times, place, depth)
            case Alternation(branches):
                return "(?:" + "|".join(self.write(b, times, place, depth + 1) for b in branches) + ")"
            case Capture(body=body) | Options(body):
                return "(?:" + self.write(body, times, place, depth + 1) + ")"
            case Repeat():
                return self.repeat(node, times, depth)
            case _:
                raise _Refused

    def literal(self, text: str, ignore_case: bool, times: int) -> str:
        if ignore_case and not text.isascii():
            raise _Refused  # Such a letter may fold to ASCII ones: the long s to s, the sharp s to ss.
        self.count(times * len(text.encode()))
        written = "".join(_byte(byte) for byte in text.encode())
        return f"(?i:{written})" if ignore_case else written

    def sequence(self, parts: tuple[Node, ...], times: int, place: _Place, depth: int) -> str:
        # Several anchors may stand side by side; anything else ends the room for them.
        first = next((i for i, part in enumerate(parts) if not _is_anchor(part, _STARTS)), len(parts))
        last = next((i for i in range(len(parts), 0, -1) if not _is_anchor(parts[i - 1], _ENDS)), 0)
        written = ""
        for i, part in enumerate(parts):
            here = _Place(start=place.start and i <= first, end=place.end and i >= last - 1)
            written += self.write(part, times, here, depth)
        return written

    def repeat(self, node: Repeat, times: int, depth: int) -> str:
        low, high = node.low, node.high
        most = max(low, high or 0)
        if most > REPEAT_LIMIT or times * max(most, 1) > REPEAT_LIMIT:
            raise _Refused
        if high == 0:
            return ""
        body = "(?:" + self.write(node.body, times * max(most, 1), _MIDDLE, depth + 1) + ")"
        if body == "(?:)":
            return ""
        match low, high:
            case 0, None:
                return body + "*"
            case 1, None:
                return body + "+"
            case 0, 1:
                return body + "?"
            case _, None:
                return f"{body}{{{low},}}"
            case _:
                return f"{body}{{{low},{high}}}"


def _is_anchor(node: Node, kinds: tuple[str, ...]) -> bool:
    return isinstance(node, Anchor) and node.kind in kinds


def _anchor(kind: str, place: _Place) -> str:
    if kind in _STARTS and place.start:
        return "\\A"
    if kind in _ENDS and place.end:
        return "\\z"
    if kind == "word":
        return "\\b"
    if kind == "not_word":
        return "\\B"
    raise _Refused


def _byte(byte: int) -> str:
    char = chr(byte)
    return char if char.isascii() and char.isalnum() else f"\\x{byte:02x}"


def _brackets(members: CharSet) -> str:
    if not members:
        raise _Refused
    outside = ASCII - members
    if not outside:
        return "."
    shown, sign = (members, "") if len(members.ranges) <= len(outside.ranges) else (outside, "^")
    inner = "".join(
        _byte(low) if low == high else f"{_byte(low)}-{_byte(high)}" for low, high in shown.ranges
    )  # fmt: skip
    return f"[{sign}{inner}]"


def _members(node: Node) -> CharSet:
    """The ASCII characters that the class takes."""
    match node:
        case Linebreak():
            return CharSet.chars("\v\f\r")
        case CodeClass(members, negated=negated, ignore_case=False):
            return ASCII - members if negated else ASCII & members
        case CodeClass(members, negated=negated):
            if members - ASCII and not negated:
                raise _Refused  # A member may fold to an ASCII letter, or to several.
            folded = _folded(ASCII & members)
            if members - ASCII:
                raise _Refused
            return ASCII - folded if negated else folded
        case Property(name, negated):
            return ASCII - _posix(name) if negated else _posix(name)
        case PropertyClass(members=union, ignore_case=False, limited=limited):
            return ASCII & (_union(union) | (limited.members if limited else NOTHING))
        case _:
            raise _Refused


def _folded(members: CharSet) -> CharSet:
    letters = members & _LETTERS
    other_case = [
        (low ^ 0x20, high ^ 0x20)
        for half in (CharSet.of([(0x41, 0x5A)]), CharSet.of([(0x61, 0x7A)]))
        for low, high in (letters & half).ranges
    ]
    return members | CharSet.of(other_case)


def _posix(name: str) -> CharSet:
    members = POSIX_ASCII.get(name)
    if members is None:
        raise _Refused
    return members - CharSet.chars("$+<=>^`|~") if name == "punct" else members


def _union(union: Union) -> CharSet:
    members = NOTHING
    for part in union.parts:
        match part:
            case CharSet():
                members |= part & ASCII
            case Property(name, negated):
                members |= ASCII - _posix(name) if negated else _posix(name)
            case Union():
                members |= _union(part)
    for other in union.intersected:
        members &= _union(other)
    return ASCII - members if union.negated else members
