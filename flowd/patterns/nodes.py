"""The tree of a parsed pattern. Plain, immutable data: options are resolved into the leaves they apply to.

Nodes say what was written, except where two spellings mean the same in Ruby. `Options` stays in the tree although its
leaves know their options, because Ruby's look-behind rules see the group itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal as OneOf

from flowd.patterns.charset import CharSet


@dataclass(frozen=True, slots=True)
class Literal:
    """A run of characters. Runs are not merged with their neighbours: folding `ss` to `ß` works inside one run only."""

    text: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class AnyChar:
    """`.`: any character, a newline only if `newline`."""

    newline: bool = False


@dataclass(frozen=True, slots=True)
class CodeClass:
    """A class whose members are known: `members` are the characters that match before case folding.

    `across` are those members that may fold to the other side of the ASCII border (Ruby keeps `[\\w]` from doing so).
    `negated` says that what folds to a member is excluded instead.
    """

    members: CharSet
    across: CharSet
    negated: bool = False
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Property:
    """`\\p{name}`, `[[:name:]]`: a Unicode property, by its normalized name."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PropertyClass:
    """A bracket class that names a Unicode property: `members` is a tree of unions and intersections.

    `limited` matches as well: the parts (`\\w`, ASCII) that may not fold across the ASCII border, where case is
    ignored. `entangled` says that such parts could not be told apart from the rest.
    """

    members: Union
    ignore_case: bool = False
    limited: CodeClass | None = None
    entangled: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """Members of a bracket class: what is in any part, of what is in every one of `intersected` too."""

    parts: tuple[CharSet | Property | Union, ...]
    negated: bool = False
    intersected: tuple[Union, ...] = ()


AnchorKind = OneOf[
    "line_start", "line_end", "text_start", "text_end", "text_end_newline", "search_start", "word", "not_word"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place, not a character. `ascii_only` is the meaning of `\\b` under `(?a)`."""

    kind: AnchorKind
    ascii_only: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """`\\K`: moves the start of the match; it never changes whether there is one."""


@dataclass(frozen=True, slots=True)
class Linebreak:
    """`\\R`"""


@dataclass(frozen=True, slots=True)
class Grapheme:
    """`\\X`"""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; without parts it matches the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Capture:
    """A group that can be referred to. `number` is 0 where a plain group does not capture (beside named ones)."""

    number: int
    name: str
    body: Node


@dataclass(frozen=True, slots=True)
class Options:
    """`(?i:…)` and the rest after `(?i)`: the leaves of `body` hold what it says."""

    body: Node


@dataclass(frozen=True, slots=True)
class Atomic:
    body: Node


@dataclass(frozen=True, slots=True)
class Look:
    ahead: bool
    negated: bool
    body: Node


@dataclass(frozen=True, slots=True)
class Absence:
    """`(?~…)`: any text that does not hold a match of the body."""

    body: Node


@dataclass(frozen=True, slots=True)
class Conditional:
    """`(?(1)yes|no)`: which branch depends on whether the group took part. `excess`: it has more than two branches."""

    number: int
    yes: Node
    no: Node | None
    by_name: str = ""
    excess: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Repeat:
    """`low` to `high` times (None: without bound). A possessive repeat is an Atomic around a Repeat."""

    body: Node
    low: int
    high: int | None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class Backref:
    """What the group matched, again. Several `numbers` where a name was given to several groups."""

    numbers: tuple[int, ...]
    name: str = ""
    level: int | None = None
    ignore_case: bool = False
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """`\\g<…>`: the group's pattern, again; 0 is the whole pattern."""

    number: int
    name: str = ""
    offset: int = 0


Node = (
    Literal | AnyChar | CodeClass | Property | PropertyClass | Anchor | Keep | Linebreak | Grapheme | Sequence
    | Alternation | Capture | Options | Atomic | Look | Absence | Conditional | Repeat | Backref | Call
)  # fmt: skip

EMPTY = Sequence(())


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole pattern. `names` tells which groups bear a name, in the order of the groups.

    `is_ascii` says that nothing in it makes it a UTF-8 pattern for Ruby: no character beyond ASCII, no property.
    """

    root: Node
    group_count: int
    names: dict[str, tuple[int, ...]]
    has_calls: bool = False
    is_ascii: bool = True


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Sequence(parts):
            return parts
        case Alternation(branches):
            return branches
        case Capture(body=body) | Options(body) | Atomic(body) | Look(body=body) | Absence(body) | Repeat(body=body):
            return (body,)
        case Conditional(yes=yes, no=no):
            return (yes,) if no is None else (yes, no)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, in the order of the pattern."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(children(here)))
