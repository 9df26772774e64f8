"""What Ruby checks once the whole pattern is read: references, recursion, look-behind; and its numbering of groups."""

from __future__ import annotations

from dataclasses import replace

from flowd.patterns.model import PatternError
from flowd.patterns.nodes import (
    Absence,
    Alternation,
    Anchor,
    AnyChar,
    Atomic,
    Backref,
    Call,
    Capture,
    CodeClass,
    Conditional,
    Grapheme,
    Keep,
    Linebreak,
    Literal,
    Look,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
    Tree,
    children,
    walk,
)

_BEHIND_ANCHORS = ("line_start", "line_end", "text_start", "search_start", "word", "not_word")


def check_tree(tree: Tree) -> Tree:
    """Raises PatternError where Ruby refuses the whole; gives the tree with the numbering that Ruby uses."""
    if tree.names:
        tree = _without_plain_captures(tree)
    captures = {node.number: node for node in walk(tree.root) if isinstance(node, Capture) and node.number}
    if tree.has_calls:
        _check_calls(tree, captures)
        _Recursion(tree, captures).check()
    look_behind = _LookBehind(tree, captures)
    for node in walk(tree.root):
        if isinstance(node, Backref | Conditional):
            _check_reference(node, tree)
        elif isinstance(node, Look) and not node.ahead:
            look_behind.check(node)
    for node in walk(tree.root):
        if isinstance(node, Conditional) and tree.names and not node.by_name:
            raise _numbers_not_allowed(node)
        if isinstance(node, Conditional) and node.excess:
            hint = "a conditional has at most two branches"
            raise PatternError("invalid conditional pattern", node.offset, hint=hint)
    return tree


def _without_plain_captures(tree: Tree) -> Tree:
    """With named groups, plain ones do not capture and numbers may not be used."""
    for node in walk(tree.root):
        if isinstance(node, Backref) and not node.name:
            raise _numbers_not_allowed(node)
    renumbered: dict[int, int] = {}
    for number in sorted(number for numbers in tree.names.values() for number in numbers):
        renumbered[number] = len(renumbered) + 1

    def rebuild(node: Node) -> Node:
        match node:
            case Sequence(parts):
                return Sequence(tuple(rebuild(part) for part in parts))
            case Alternation(branches):
                return Alternation(tuple(rebuild(branch) for branch in branches))
            case Capture(number, name, body):
                return Capture(renumbered[number], name, rebuild(body)) if name else rebuild(body)
            case Conditional(number=number, yes=yes, no=no):
                no = None if no is None else rebuild(no)
                return replace(node, number=renumbered.get(number, 0), yes=rebuild(yes), no=no)
            case Backref(numbers=numbers):
                return replace(node, numbers=tuple(renumbered[number] for number in numbers))
            case Options(body) | Atomic(body) | Absence(body) | Look(body=body) | Repeat(body=body):
                return replace(node, body=rebuild(body))
            case _:
                return node

    names = {name: tuple(renumbered[number] for number in numbers) for name, numbers in tree.names.items()}
    return replace(tree, root=rebuild(tree.root), group_count=len(renumbered), names=names)


def _numbers_not_allowed(node: Node) -> PatternError:
    offset = node.offset if isinstance(node, Backref | Call | Conditional) else 0
    hint = "with named groups, refer by name: \\k<name>, \\g<name>"
    return PatternError("numbered backref/call is not allowed. (use name)", offset, hint=hint)


def _check_calls(tree: Tree, captures: dict[int, Capture]) -> None:
    for node in walk(tree.root):
        if not isinstance(node, Call):
            continue
        if node.name:
            numbers = tree.names.get(node.name, ())
            if not numbers:
                hint = f"name the group that is meant: (?<{node.name}>...)"
                raise PatternError(f"undefined name <{node.name}> reference", node.offset, hint=hint)
            if len(numbers) > 1:
                hint = "give each of the groups a name of its own"
                raise PatternError(f"multiplex definition name <{node.name}> call", node.offset, hint=hint)
        elif node.number:
            if tree.names:
                raise _numbers_not_allowed(node)
            if node.number not in captures:
                hint = f"the pattern has {tree.group_count} groups"
                raise PatternError(f"undefined group <{node.number}> reference", node.offset, hint=hint)


def _check_reference(node: Backref | Conditional, tree: Tree) -> None:
    numbers = node.numbers if isinstance(node, Backref) else (node.number,)
    if any(number > tree.group_count for number in numbers):
        hint = f"the pattern has {tree.group_count} groups"
        raise PatternError("invalid backref number/name", node.offset, hint=hint)


def call_target(call: Call, tree: Tree, captures: dict[int, Capture]) -> Node:
    """The node that a call runs."""
    if call.name:
        return captures[tree.names[call.name][0]]
    return captures[call.number] if call.number else tree.root


class _Recursion:
    """Finds groups that call themselves before anything was matched, or without a way out: such never end."""

    def __init__(self, tree: Tree, captures: dict[int, Capture]) -> None:
        self.tree = tree
        self.captures = captures
        # The whole pattern counts as group 0: `\g<0>` calls it.
        self.groups: dict[int, Node] = {0: tree.root, **{n: group.body for n, group in captures.items()}}
        self.calls: dict[int, list[Call]] = {
            n: [node for node in walk(body) if isinstance(node, Call)] for n, body in self.groups.items()
        }

    def number(self, call: Call) -> int:
        return self.tree.names[call.name][0] if call.name else call.number

    def check(self) -> None:
        for number, calls in self.calls.items():
            if not calls:
                continue
            found, _ = self.search(self.groups[number], number, True, frozenset())
            if found:
                offset = calls[0].offset
                hint = "a group that calls itself needs a branch that does not, after something was matched"
                raise PatternError("never ending recursion", offset, hint=hint)

    def search(self, node: Node, target: int, head: bool, inside: frozenset[int]) -> tuple[bool, bool]:
        """Whether the target must be called (or can be, at the head), and whether that is certain to be endless."""
        match node:
            case Sequence(parts):
                found = False
                for part in parts:
                    here, endless = self.search(part, target, head, inside)
                    if endless:
                        return True, True
                    found |= here
                    head = head and not self.takes_text(part, frozenset())
                return found, False
            case Alternation(branches):
                found = True
                for branch in branches:
                    here, endless = self.search(branch, target, head, inside)
                    if endless:
                        return True, True
                    found &= here
                return found, False
            case Repeat(body=body, low=low):
                found, endless = self.search(body, target, head, inside)
                return (found and low > 0) or endless, endless
            case Call():
                return self.enter(self.number(node), target, head, inside)
            case Capture(number=number):
                return self.enter(number, target, head, inside)
            case Conditional(yes=yes, no=no):
                return self.search(yes if no is None else Alternation((yes, no)), target, head, inside)
            case Options(body) | Atomic(body) | Absence(body) | Look(body=body):
                return self.search(body, target, head, inside)
            case _:
                return False, False

    def enter(self, number: int, target: int, head: bool, inside: frozenset[int]) -> tuple[bool, bool]:
        if number == target:
            return True, head
        if number in inside:
            return False, False
        return self.search(self.groups[number], target, head, inside | {number})

    def takes_text(self, node: Node, inside: frozenset[int]) -> bool:
        """Whether every match of the node is at least one character long."""
        match node:
            case Literal() | AnyChar() | CodeClass() | Property() | PropertyClass() | Linebreak() | Grapheme():
                return True
            case Sequence(parts):
                return any(self.takes_text(part, inside) for part in parts)
            case Alternation(branches):
                return all(self.takes_text(branch, inside) for branch in branches)
            case Repeat(body=body, low=low):
                return low > 0 and self.takes_text(body, inside)
            case Capture(number=number) if number in inside:
                return False
            case Capture(number=number, body=body):
                return self.takes_text(body, inside | {number})
            case Call():
                number = self.number(node)
                return number not in inside and self.takes_text(self.groups[number], inside | {number})
            case Conditional(yes=yes, no=no):
                return no is not None and self.takes_text(yes, inside) and self.takes_text(no, inside)
            case Options(body) | Atomic(body):
                return self.takes_text(body, inside)
            case _:
                return False


class _LookBehind:
    """Ruby looks back a fixed number of characters; only the branches at the top may differ in length."""

    def __init__(self, tree: Tree, captures: dict[int, Capture]) -> None:
        self.tree = tree
        self.captures = captures

    def check(self, node: Look) -> None:
        top = node.body.branches if isinstance(node.body, Alternation) else (node.body,)
        fine = self.is_allowed(node.body, node.negated)
        if not fine or any(self.length(branch, frozenset()) is None for branch in top):
            hint = "inside, use no * + ? and no groups that differ in length; alternatives only at its top"
            raise PatternError("invalid pattern in look-behind", 0, hint=hint)

    def is_allowed(self, node: Node, negated: bool) -> bool:
        match node:
            case Anchor(kind):
                return kind in _BEHIND_ANCHORS
            case Look(ahead=ahead):
                fine = not ahead
            case Capture():
                fine = not negated or node.number == 0
            case Atomic() | Absence() | Conditional() | Backref() | Linebreak() | Grapheme():
                fine = False
            case _:
                fine = True
        return fine and all(self.is_allowed(child, negated) for child in children(node))

    def length(self, node: Node, inside: frozenset[int]) -> int | None:
        """How many characters the node takes; None if that is not fixed."""
        match node:
            case Literal(text):
                return len(text)
            case AnyChar() | CodeClass() | Property() | PropertyClass():
                return 1
            case Sequence(parts):
                return self.total([self.length(part, inside) for part in parts])
            case Alternation(branches):
                lengths = {self.length(branch, inside) for branch in branches}
                return lengths.pop() if len(lengths) == 1 else None
            case Repeat(body, low, high):
                one = self.length(body, inside)
                return low * one if low == high and one is not None else None
            case Capture(number=number, body=body):
                return None if number in inside else self.length(body, inside | {number})
            case Call():
                target = call_target(node, self.tree, self.captures)
                return self.length(target, inside)
            case Options(body) | Atomic(body):
                return self.length(body, inside)
            case Anchor() | Look() | Keep():
                return 0
            case _:
                return None

    @staticmethod
    def total(lengths: list[int | None]) -> int | None:
        known = [length for length in lengths if length is not None]
        return sum(known) if len(known) == len(lengths) else None
