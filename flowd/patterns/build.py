"""Groups and branches while they are read: the stack that takes the place of recursion. Knows no syntax."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowd.patterns.model import PatternError
from flowd.patterns.nodes import EMPTY, Alternation, Literal, Node, Sequence
from flowd.patterns.options import Flags
from flowd.patterns.scan import Scanner

DEPTH_LIMIT = 200  # Nodes inside nodes. Ruby's is 4096 groups; ours keeps every walk of the tree within Python's stack.


@dataclass(slots=True)
class Piece:
    """A node of a branch. `depth` is its height; `open` says that following characters join it; `run` that a
    quantifier takes its last character only."""

    node: Node
    depth: int = 1
    open: bool = False
    run: bool = False


@dataclass(slots=True)
class Frame:
    """A group that is being read: what closes it builds a node of `kind` from the branches."""

    kind: str
    flags: Flags
    offset: int
    number: int = 0
    name: str = ""
    depth: int = 0
    done: list[Node] = field(default_factory=list)
    branch: list[Piece] = field(default_factory=list)


class TreeBuilder:
    """Puts nodes into the innermost group that is open; `flags` are the options that hold there."""

    def __init__(self, scanner: Scanner, flags: Flags) -> None:
        self.scanner = scanner
        self.flags = flags
        self.stack: list[Frame] = [Frame("pattern", flags, 0)]

    def fail(self, message: str, position: int | None, hint: str) -> PatternError:
        return self.scanner.error(message, position, hint)

    def add(self, node: Node, depth: int = 1, *, run: bool = False) -> None:
        if depth > DEPTH_LIMIT:
            raise self.fail("parse depth limit over", None, f"flowd takes groups and repeats nested {DEPTH_LIMIT} deep")
        branch = self.stack[-1].branch
        if branch:
            branch[-1].open = False
        branch.append(Piece(node, depth, run=run))

    def add_char(self, char: str) -> None:
        """A plain character joins the run before it; a numbered one (through `add`) stands alone, as in Ruby."""
        branch = self.stack[-1].branch
        if branch and branch[-1].open:
            last = branch[-1].node
            assert isinstance(last, Literal)
            branch[-1].node = Literal(last.text + char, last.ignore_case)
        else:
            self.add(Literal(char, self.flags.ignore_case), run=True)
            branch[-1].open = True

    def end_branch(self) -> None:
        frame = self.stack[-1]
        pieces = frame.branch
        frame.depth = max([frame.depth, *(piece.depth for piece in pieces)])
        if len(pieces) == 1:
            frame.done.append(pieces[0].node)
        else:
            frame.done.append(Sequence(tuple(piece.node for piece in pieces)) if pieces else EMPTY)
            frame.depth += 1
        frame.branch = []

    def close(self) -> tuple[Frame, Node]:
        """Ends the innermost frame and gives its body."""
        self.end_branch()
        frame = self.stack.pop()
        self.flags = frame.flags
        if len(frame.done) == 1:
            return frame, frame.done[0]
        frame.depth += 1
        return frame, Alternation(tuple(frame.done))

    def open(self, kind: str, offset: int, *, flags: Flags | None = None, number: int = 0, name: str = "") -> None:
        """Begins a group; `frame.flags` are those to return to."""
        if len(self.stack) > DEPTH_LIMIT:
            raise self.fail("parse depth limit over", offset, f"flowd takes groups nested {DEPTH_LIMIT} deep")
        branch = self.stack[-1].branch
        if branch:
            branch[-1].open = False
        self.stack.append(Frame(kind, self.flags, offset, number, name))
        if flags is not None:
            self.flags = flags
