"""Patterns that are plain words: what can be answered by comparing bytes.

The kinds are meant for values that are valid UTF-8 and hold no newline, so `^` is the start and `$` the end of the
value, and `.*` is anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowd.patterns.model import Kind
from flowd.patterns.nodes import (
    Alternation,
    Anchor,
    AnyChar,
    Atomic,
    Backref,
    Call,
    Capture,
    CodeClass,
    Conditional,
    Keep,
    Literal,
    Node,
    Options,
    Repeat,
    Sequence,
    Tree,
    walk,
)

WORDS_LIMIT = 16  # Beyond these, one pass of the linear engine is faster than comparing word by word.
WORD_CLASS_LIMIT = 4  # A class of more characters is not spelled out as words.

_KINDS: dict[tuple[bool, bool], Kind] = {
    (False, False): "contains",
    (True, False): "prefix",
    (False, True): "suffix",
    (True, True): "exact",
}
_STARTS = ("line_start", "text_start", "search_start")
_ENDS = ("line_end", "text_end", "text_end_newline")


@dataclass(frozen=True, slots=True)
class _Word:
    """One way to match: a text, and whether the value must start or end with it. `anchored`: a place was named."""

    text: str = ""
    start: bool = False
    end: bool = False
    anchored: bool = False


class _NotWords(Exception):
    """The pattern is more than words."""


def to_literals(tree: Tree) -> tuple[Kind, tuple[bytes, ...], bool] | None:
    """The kind, its words, and whether it is right for every value; None if the pattern is more than words."""
    if any(isinstance(node, Backref | Call | Conditional) for node in walk(tree.root)):
        return None
    try:
        words = _Words().of(tree.root)
    except _NotWords:
        return None
    if any(not word.text and not (word.start and word.end) for word in words):
        # Such a branch matches every value without a newline; with a newline, only what names at most one place
        # that every value has.
        plain = any(not word.text and not word.start and not word.end and not word.anchored for word in words)
        return "any", (), plain or _is_one_place(tree.root)
    if len({(word.start, word.end) for word in words}) > 1:
        return None
    first = words[0]
    kind: Kind = _KINDS[first.start, first.end]
    literals = _needed(kind, [word.text.encode() for word in words])
    if len(literals) > WORDS_LIMIT:
        return None
    # A value that is not UTF-8 is matched with `?` for its broken bytes, which a search for `?` would not see.
    any_value = kind == "contains" and not any(word.anchored for word in words) and not any(b"?" in x for x in literals)
    return kind, literals, any_value


def _is_one_place(node: Node) -> bool:
    while isinstance(node, Capture | Options | Atomic):
        node = node.body
    return _is_anchor(node, (*_STARTS, *_ENDS))


def _needed(kind: Kind, words: list[bytes]) -> tuple[bytes, ...]:
    """The words without those that another one implies, in their order."""
    unique = list(dict.fromkeys(words))
    if kind == "contains":
        return tuple(w for w in unique if not any(o in w for o in unique if o != w))
    if kind == "prefix":
        return tuple(w for w in unique if not any(w.startswith(o) for o in unique if o != w))
    if kind == "suffix":
        return tuple(w for w in unique if not any(w.endswith(o) for o in unique if o != w))
    return tuple(unique)


class _Words:
    """Spells a pattern out as words; an open side (`start` or `end` false) says that anything may be there."""

    def of(self, root: Node) -> list[_Word]:
        words: list[_Word] = []
        for branch in self.branches(root):
            words.extend(self.branch(branch))
            if len(words) > WORDS_LIMIT * 4:
                raise _NotWords
        return words

    def branches(self, node: Node) -> list[Node]:
        while isinstance(node, Capture | Options):
            node = node.body
        if isinstance(node, Alternation):
            return [inner for branch in node.branches for inner in self.branches(branch)]
        return [node]

    def branch(self, node: Node) -> list[_Word]:
        parts = self.flat(node)
        start = end = anchored = False
        while parts:
            if _is_anchor(parts[0], _STARTS):
                start = anchored = True
            elif not _is_nothing(parts[0], start):
                break
            elif start:
                # `^.*dev` is `dev` anywhere, if no newline is in the way.
                start = False
            parts = parts[1:]
            if not start and anchored and parts and _is_anchor(parts[0], _STARTS):
                raise _NotWords
        while parts:
            if _is_anchor(parts[-1], _ENDS):
                end = anchored = True
            elif not _is_nothing(parts[-1], end):
                break
            elif end:
                end = False
            parts = parts[:-1]
            if not end and anchored and parts and _is_anchor(parts[-1], _ENDS):
                raise _NotWords
        if not start and not end and not parts:
            return [_Word(anchored=anchored)]
        texts = [""]
        branches: list[_Word] = []
        if len(parts) == 1 and len(inner := self.branches(parts[0])) > 1 and not (start or end):
            for branch in inner:
                branches.extend(self.branch(branch))
            return [_Word(w.text, w.start, w.end, w.anchored or anchored) for w in branches]
        for part in parts:
            texts = [text + more for text in texts for more in self.texts(part)]
            if len(texts) > WORDS_LIMIT * 4:
                raise _NotWords
        return [_Word(text, start, end, anchored) for text in texts]

    def flat(self, node: Node) -> list[Node]:
        """The parts of a sequence, seen through groups."""
        match node:
            case Sequence(parts):
                return [inner for part in parts for inner in self.flat(part)]
            case Capture(body=body) | Options(body) if not isinstance(body, Alternation):
                return self.flat(body)
            case Keep():
                return []
            case _:
                return [node]

    def texts(self, node: Node) -> list[str]:
        """All texts that the node matches, if they are few."""
        match node:
            case Literal(text, ignore_case) if not ignore_case or not _has_case(text):
                return [text]
            case CodeClass(members=members, negated=False, ignore_case=False):
                shown = [range(low, min(high, low + WORD_CLASS_LIMIT) + 1) for low, high in members.ranges]
                chars = [chr(code) for codes in shown for code in codes]
                if not chars or len(chars) > WORD_CLASS_LIMIT:
                    raise _NotWords
                return chars
            case Sequence(parts):
                texts = [""]
                for part in parts:
                    texts = [text + more for text in texts for more in self.texts(part)]
                    if len(texts) > WORDS_LIMIT * 4:
                        raise _NotWords
                return texts
            case Alternation(branches):
                return [text for branch in branches for text in self.texts(branch)]
            case Capture(body=body) | Options(body):
                return self.texts(body)
            case Repeat(body, 0, 1):
                return [*self.texts(body), ""]
            case Repeat(body, low, high) if low == high and low <= WORDS_LIMIT:
                texts = [""]
                for _ in range(low):
                    texts = [text + more for text in texts for more in self.texts(body)]
                    if len(texts) > WORDS_LIMIT * 4:
                        raise _NotWords
                return texts
            case Keep():
                return [""]
            case _:
                raise _NotWords


def _is_anchor(node: Node, kinds: tuple[str, ...]) -> bool:
    return isinstance(node, Anchor) and node.kind in kinds


def _is_nothing(node: Node, anchored: bool) -> bool:
    """Whether the part can be left out at its side: anything at all if that side is held, any option if it is open."""
    if isinstance(node, Repeat) and node.low == 0:
        return (isinstance(node.body, AnyChar) and node.high is None) or not anchored
    return False


def _has_case(text: str) -> bool:
    return any(char.lower() != char.upper() or not char.isascii() for char in text)
