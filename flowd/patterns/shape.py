"""Questions about the shape of a tree where Oniguruma and Ruby are known to part. Writes nothing."""

from __future__ import annotations

from flowd.patterns.charset import ASCII, CharSet
from flowd.patterns.folding import expansions, folds_with_several
from flowd.patterns.nodes import (
    Absence,
    Alternation,
    Anchor,
    AnyChar,
    Atomic,
    Backref,
    Capture,
    CodeClass,
    Grapheme,
    Keep,
    Literal,
    Look,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
    Union,
    children,
    walk,
)

# Properties that hold every relative of what they hold, so that ignoring case changes nothing.
CASE_CLOSED = frozenset(["alnum", "alpha", "blank", "cntrl", "digit", "graph", "print", "punct", "space", "word"])


def can_be_empty(node: Node) -> bool:
    match node:
        case Repeat(body, low):
            return low == 0 or can_be_empty(body)
        case Alternation(branches):
            return any(can_be_empty(branch) for branch in branches)
        case Sequence(parts):
            return all(can_be_empty(part) for part in parts)
        case Capture(body=body) | Options(body):
            return can_be_empty(body)
        case _:
            return isinstance(node, Keep)


def may_be_several(node: Node) -> bool:
    """Whether the node ignores case and a letter of it may be matched by two, or two by one."""
    match node:
        case Literal(text, True):
            return folds_with_several(text)
        case CodeClass(members, negated=False, ignore_case=True):
            return bool(expansions(members))
        case PropertyClass(union, ignore_case=True):
            return not union.negated
        case _:
            return False


def is_misread_by_ruby(root: Node) -> bool:
    """Whether a greedy `.*` that takes newlines stands behind a place at the head of the pattern.

    Ruby then tries the value's start only, although the place may be elsewhere: `(?=b).*` is not found in `ab`.
    """
    behind_place = False
    while True:
        match root:
            case Capture(body=body) | Options(body) | Atomic(body):
                root = body
            case Sequence(parts) if parts:
                for part in parts[:-1]:
                    if not is_place(part):
                        break
                    behind_place |= not (isinstance(part, Anchor) and part.kind in ("line_start", "text_start"))
                following = next((part for part in parts if not is_place(part)), parts[-1])
                root = following
            case Repeat(AnyChar(newline=True), _, None, lazy=False):
                return behind_place
            case Repeat(body=body) if not isinstance(body, AnyChar):
                root = body
            case _:
                return False


def is_cluster_safe(root: Node) -> bool:
    """Whether every \\X starts where a grapheme cluster does: Oniguruma looks back over what came before, Ruby not."""
    if isinstance(root, Grapheme):
        return True
    while isinstance(root, Capture | Options):
        root = root.body
    if not isinstance(root, Sequence) or not isinstance(root.parts[0], Anchor):
        return False
    if root.parts[0].kind not in ("line_start", "text_start"):
        return False
    for node in walk(root):
        match node:
            case Literal(text, False) if text.isascii():
                continue
            case CodeClass(members, negated=False, ignore_case=False) if not members - ASCII:
                continue
            case Literal() | CodeClass() | AnyChar() | Property() | PropertyClass() | Absence() | Backref() | Look():
                return False
    return True


def is_place(node: Node) -> bool:
    """Whether Oniguruma would see nothing but a place (or alternatives one of which is one) to repeat."""
    match node:
        case Anchor() | Look():
            return True
        case Options(body):
            return is_place(body)
        case Alternation() | Sequence():
            return any(is_place(child) for child in children(node))
        case _:
            return False


def begins_with_place(root: Node) -> bool:
    while isinstance(root, Capture | Options | Atomic | Repeat):
        root = root.body
    if isinstance(root, Alternation):
        return any(begins_with_place(branch) for branch in root.branches)
    if not isinstance(root, Sequence) or not root.parts:
        return False
    first = root.parts[0]
    if isinstance(first, Anchor):
        return first.kind not in ("line_start", "text_start") or begins_with_place(Sequence(root.parts[1:]))
    return is_place(first) or begins_with_place(first)


def repeats_any_text(root: Node) -> bool:
    """Whether there is a `.*` inside of something that is repeated itself."""
    outer = [node for node in walk(root) if isinstance(node, Repeat) and not isinstance(node.body, AnyChar)]
    return any(isinstance(inner, AnyChar) for node in outer for inner in walk(node.body))


def is_case_closed(union: Union) -> bool:
    return not union.intersected and all(
        (isinstance(part, Property) and part.name in CASE_CLOSED) or (isinstance(part, CharSet) and not part)
        for part in union.parts
    )
