"""Tag patterns of `<filter PATTERN>`: which tags (streams) a section is for, as fluentd 1.19 matches them.

A glob is matched by following all of its possible positions at once, so that no pattern can take long; a `/regex/`
goes to the reference engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from flowd.filters.fluentd.pattern import RubyPattern, RubyPatternError

_WHITESPACE = re.compile(r"[ \t\r\n\f\v]+")
_ALNUM = re.compile("[a-zA-Z0-9_]")
_DEEPEST_BRACES = 50
_MOST_NAMED = 32
_MOST_UNCLOSED = 3  # each makes the text that fluentd would match several times longer


class TagError(ValueError):
    """A tag pattern that fluentd refuses."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# What a glob is made of. `part` is `[^.]*`, `any` is `.*`, `parents` is nothing at the start or `.*\.`, `boundary` is
# the end or a point ahead.
class _Text(NamedTuple):
    text: str
    source: str  # as it stands in the regular expression that fluentd makes of the glob


class _Wild(NamedTuple):
    kind: Literal["part", "any", "parents", "boundary"]

    @property
    def source(self) -> str:
        return {"part": r"[^\.]*", "any": ".*", "parents": r"(?:.*\.|\A)", "boundary": r"(?![^\.])"}[self.kind]


class _Choice(NamedTuple):
    branches: tuple[tuple[_Atom, ...], ...]

    @property
    def source(self) -> str:
        return f"(?-mix:{'|'.join(f'(?-mix:{_source(branch)})' for branch in self.branches)})"


_Atom = _Text | _Wild | _Choice


class TagPattern(NamedTuple):
    """The alternatives of one section's argument."""

    text: str
    globs: tuple[tuple[_Atom, ...], ...]
    expressions: tuple[RubyPattern, ...]

    def matches(self, tag: str) -> bool:
        """Is this tag meant? The whole tag must match; one line feed at its end is overlooked."""
        ends = {len(tag), len(tag) - 1} if tag.endswith("\n") else {len(tag)}
        return any(_follow(glob, tag, {0}) & ends for glob in self.globs) or any(
            expression.matches(tag) for expression in self.expressions
        )


def parse_tags(argument: str) -> TagPattern:
    """The pattern that a section's argument says; nothing means every tag. Raises TagError."""
    globs: list[tuple[_Atom, ...]] = []
    expressions: list[RubyPattern] = []
    for piece in _split(argument or "**"):
        if not piece.startswith("/"):
            globs.append(_parse_glob(piece))
        elif not piece.endswith("/"):
            raise TagError("invalid match - regex", f"close it with a slash: {piece}/")
        else:
            try:
                expressions.append(RubyPattern(rf"\A{piece[1:-1]}\Z"))
            except RubyPatternError as error:
                raise TagError(error.message, error.hint) from None
    return TagPattern(argument, tuple(globs), tuple(expressions))


class NamedTag(NamedTuple):
    """A tag that a pattern is for; `is_named` if the pattern names it, and no wildcard was filled in."""

    tag: str
    is_named: bool


def name_tags(argument: str) -> list[NamedTag]:
    """Some tags that a section's argument is for, as far as its globs say. Raises TagError."""
    return [
        NamedTag(tag, is_named)
        for glob in parse_tags(argument).globs
        for tag, is_named in _spell(glob)[:_MOST_NAMED]
        if tag
    ]


def _spell(branch: tuple[_Atom, ...]) -> list[tuple[str, bool]]:
    spelled = [("", True)]
    for atom in branch:
        if isinstance(atom, _Text):
            ends = [(atom.text, True)]
        elif isinstance(atom, _Wild):
            ends = [("x" if atom.kind in ("part", "any") else "", False)]
        else:
            ends = [end for choice in atom.branches for end in _spell(choice)]
        spelled = [(head + tail, one and two) for head, one in spelled for tail, two in ends][:_MOST_NAMED]
    return spelled


def _split(argument: str) -> list[str]:
    """The alternatives, as Ruby's split gives them: empty ones at the end do not count."""
    pieces = _WHITESPACE.split(argument)
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


def _parse_glob(glob: str) -> tuple[_Atom, ...]:
    branch: list[_Atom] = []
    outer: list[tuple[list[tuple[_Atom, ...]], list[_Atom]]] = []  # branches so far, and the sequence before the brace
    position = 0
    dot = False
    while position < len(glob):
        char = glob[position]
        if glob.startswith("**", position):
            if dot:
                branch.append(_Wild("boundary"))
                dot = False
            before_dot = glob.startswith("**.", position)
            branch.append(_Wild("parents" if before_dot else "any"))
            position += 3 if before_dot else 2
            continue
        if dot:
            branch.append(_Text(".", r"\."))
            dot = False
        if char == "\\":
            position += 1
            escaped = glob[position : position + 1]
            branch.append(_Text(escaped, re.escape(escaped)))
        elif char == ".":
            dot = True
        elif char == "*":
            branch.append(_Wild("part"))
        elif char == "{":
            outer.append(([], branch))
            branch = []
            if len(outer) > _DEEPEST_BRACES:
                raise TagError(f"braces are nested too deeply in {glob[:80]}", "write several patterns instead")
        elif char in ",}" and outer:
            branches, before = outer[-1]
            branches.append(tuple(branch))
            branch = []
            if char == "}":
                outer.pop()
                branch = [*before, _Choice(tuple(branches))]
        else:
            branch.append(_Text(char, char if _ALNUM.match(char) else "\\" + char))
        position += 1
    if len(outer) > _MOST_UNCLOSED:
        raise TagError(f"braces are not closed in {glob[:80]}", "close each { with a }")
    while outer:
        # An unclosed brace: fluentd takes what it made of the alternatives so far as plain text.
        branches, before = outer.pop()
        branches.append(tuple(branch))
        texts = [_source(alternative) for alternative in branches]
        branch = [*before, _Choice(tuple((_Text(text, re.escape(text)),) for text in texts))]
    return tuple(branch)


def _source(branch: tuple[_Atom, ...]) -> str:
    return "".join(atom.source for atom in branch)


def _follow(branch: tuple[_Atom, ...], tag: str, positions: set[int]) -> set[int]:
    """The offsets where a match of the sequence can end, when it begins at any of these offsets."""
    for atom in branch:
        if not positions:
            return positions
        if isinstance(atom, _Text):
            positions = {start + len(atom.text) for start in positions if tag.startswith(atom.text, start)}
        elif isinstance(atom, _Wild):
            positions = set(_follow_wild(atom.kind, tag, positions))
        else:
            positions = set().union(*(_follow(choice, tag, positions) for choice in atom.branches))
    return positions


def _follow_wild(kind: str, tag: str, positions: set[int]) -> Iterator[int]:
    if kind == "boundary":
        yield from (start for start in positions if tag[start : start + 1] in ("", "."))
        return
    stop = "." if kind == "part" else "\n"
    reached = -1
    for start in sorted(positions):
        if kind == "parents" and start == 0:
            yield 0
        end = tag.find(stop, start)
        end = len(tag) if end < 0 else end
        # Runs that end alike overlap: what an earlier one went over is not gone over again.
        for position in range(max(start, reached + 1), end + 1):
            if kind != "parents":
                yield position
            elif position < end and tag[position] == ".":
                yield position + 1
        reached = max(reached, end)
