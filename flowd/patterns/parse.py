"""A pattern's text to its tree: Ruby's syntax, accepted and refused as Ruby 3.3 does, without recursion.

Options are resolved while reading. What can only be said of the whole pattern (references, recursion, look-behind) is
checked in check.py. Never matches anything.
"""

from __future__ import annotations

from flowd.patterns.build import Frame, Piece, TreeBuilder
from flowd.patterns.charset import DIGIT, HEX, NOTHING, SPACE, WORD, CharSet
from flowd.patterns.classes import ClassParser
from flowd.patterns.escapes import unescape
from flowd.patterns.groupnames import Name, read_name, read_reference
from flowd.patterns.model import Dialect
from flowd.patterns.nodes import (
    Absence,
    Anchor,
    AnchorKind,
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
    Repeat,
    Tree,
)
from flowd.patterns.options import Flags
from flowd.patterns.scan import Scanner

REPEAT_LIMIT = 100_000  # Ruby's own.
BACKREF_LIMIT = 1000  # A larger number after a backslash is read as an octal escape.

_ANCHORS: dict[str, AnchorKind] = {
    "A": "text_start",
    "z": "text_end",
    "Z": "text_end_newline",
    "G": "search_start",
    "b": "word",
    "B": "not_word",
}
_CHAR_TYPES = {"d": DIGIT, "w": WORD, "s": SPACE, "h": HEX}
_UNICODE_TYPES = {"d": "digit", "w": "word", "s": "space"}


def parse(source: str, *, ignore_case: bool = False, dotall: bool = False, dialect: Dialect = "ruby") -> Tree:
    """Reads a pattern; raises PatternError with Ruby's words. Its whole-pattern checks are check.check_tree's."""
    return _Parser(source, Flags(ignore_case=ignore_case, dotall=dotall), dialect).run()


class _Parser(TreeBuilder):
    def __init__(self, source: str, flags: Flags, dialect: Dialect) -> None:
        if dialect == "ruby":
            unescaped = unescape(source)
            scanner = Scanner(unescaped.text, unescaped.source_offset, dialect)
        else:
            scanner = Scanner(source, lambda position: position, dialect)
        super().__init__(scanner, flags)
        self.group_count = 0
        self.names: dict[str, list[int]] = {}
        self.has_calls = False

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> Tree:
        scanner = self.scanner
        while not scanner.at_end:
            start = scanner.position
            char = scanner.take()
            if char == "\\":
                self.read_escape(start)
            elif char == "|":
                self.end_branch()
            elif char == "(":
                self.read_group(start)
            elif char == ")":
                self.close_group(start)
            elif char in "*+?" or (char == "{" and scanner.sees_interval()):
                self.read_quantifier(char, start)
            elif char == "[":
                self.read_class(start)
            elif char == ".":
                self.add(AnyChar(self.flags.dotall))
            elif char == "^":
                self.add(Anchor("line_start"))
            elif char == "$":
                self.add(Anchor("line_end"))
            elif self.flags.extended and char in " \t\n\r\f":
                continue
            elif self.flags.extended and char == "#":
                scanner.skip_line()
            else:
                self.add_char(char)
        while self.stack[-1].kind == "tail":
            self.close_tail()
        if len(self.stack) > 1:
            raise self.fail(
                "end pattern with unmatched parenthesis", self.stack[-1].offset, "close the group or escape it as \\("
            )
        _, root = self.close()
        names = {name: tuple(numbers) for name, numbers in self.names.items()}
        is_ascii = scanner.text.isascii() and not scanner.has_property
        return Tree(root, self.group_count, names, self.has_calls, is_ascii)

    def close_tail(self) -> None:
        frame, body = self.close()
        self.add(Options(body), frame.depth + 1)

    def close_group(self, start: int) -> None:
        while self.stack[-1].kind == "tail":
            self.close_tail()
        if len(self.stack) == 1:
            raise self.fail("unmatched close parenthesis", start, "escape it as \\)")
        frame, body = self.close()
        depth = frame.depth + 1
        match frame.kind:
            case "plain":
                self.add(body, frame.depth)
            case "capture":
                self.add(Capture(frame.number, frame.name, body), depth)
            case "options":
                self.add(Options(body), depth)
            case "atomic":
                self.add(Atomic(body), depth)
            case "absence":
                self.add(Absence(body), depth)
            case "condition":
                self.add(self.conditional(frame), depth)
            case looking:
                self.add(Look("ahead" in looking, "not" in looking, body), depth)

    def conditional(self, frame: Frame) -> Node:
        branches = frame.done
        no = None if len(branches) == 1 else branches[1]
        excess = len(branches) > 2
        offset = self.scanner.source_offset(frame.offset)
        return Conditional(frame.number, branches[0], no, frame.name, excess, offset)

    # -- quantifiers -------------------------------------------------------------------------------------------------

    def read_quantifier(self, char: str, start: int) -> None:
        scanner = self.scanner
        branch = self.stack[-1].branch
        if char == "{":
            low, high = self.read_interval(start)
        else:
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        if not branch:
            raise self.fail("target of repeat operator is not specified", start, f"escape it as \\{char}")
        # As in Ruby, a fixed {n} is never lazy: its `?` is one more quantifier; nor is an interval ever possessive.
        lazy = (char != "{" or low != high or not scanner.fixed_interval) and scanner.accept("?")
        possessive = not lazy and char != "{" and scanner.accept("+")
        piece = branch[-1]
        piece.open = False
        if (low, high) == (1, 1):
            return
        if piece.run and isinstance(piece.node, Literal) and len(piece.node.text) > 1:
            last = piece.node
            piece.node = Literal(last.text[:-1], last.ignore_case)
            branch.append(piece := Piece(Literal(last.text[-1], last.ignore_case)))
        branch.pop()
        if isinstance(piece.node, Repeat) and piece.node.high is None and high is None and piece.node.low <= 1 >= low:
            # `a**`, `a+*`: the same as one of them, and a long row of them must not count as nesting.
            node: Node = Repeat(piece.node.body, min(low, piece.node.low), None, lazy)
            depth = piece.depth
        else:
            node, depth = Repeat(piece.node, low, high, lazy), piece.depth + 1
        self.add(Atomic(node) if possessive else node, depth + possessive)

    def read_interval(self, start: int) -> tuple[int, int | None]:
        low, high = self.scanner.take_interval()
        if max(low, high or 0) > REPEAT_LIMIT:
            raise self.fail("too big number for repeat range", start, f"a repeat counts to {REPEAT_LIMIT} at most")
        if high is not None and low > high:
            raise self.fail("upper is smaller than lower in repeat range", start, f"write {{{high},{low}}}")
        return low, high

    # -- groups --------------------------------------------------------------------------------------------------------

    def read_group(self, start: int) -> None:
        scanner = self.scanner
        if not scanner.accept("?"):
            if scanner.at_end:
                raise self.fail("end pattern with unmatched parenthesis", start, "escape it as \\(")
            self.group_count += 1
            self.open("capture", start, number=self.group_count)
            return
        if scanner.at_end:
            raise self.fail("end pattern in group", start, "close the group or escape it as \\(")
        char = scanner.take()
        if char == "#":
            self.skip_comment(start)
        elif char in ":=!>~":
            kinds = {":": "plain", "=": "ahead", "!": "ahead not", ">": "atomic", "~": "absence"}
            self.open(kinds[char], start)
        elif char == "'":
            self.open_named(start, "'")
        elif char == "<":
            if scanner.at_end:
                raise self.fail("end pattern with unmatched parenthesis", start, "close the group or escape it as \\(")
            if scanner.accept("="):
                self.open("behind", start)
            elif scanner.accept("!"):
                self.open("behind not", start)
            else:
                self.open_named(start, "<")
        elif char == "(":
            self.open_condition(start)
        else:
            self.read_options(char, start)

    def skip_comment(self, start: int) -> None:
        scanner = self.scanner
        while not scanner.at_end:
            char = scanner.take()
            if char == ")":
                return
            if char == "\\" and not scanner.at_end:
                scanner.take()
        raise self.fail("end pattern in group", start, "close the comment")

    def open_named(self, start: int, opener: str) -> None:
        name = read_name(self.scanner, opener, numbers=False).text
        self.group_count += 1
        self.names.setdefault(name, []).append(self.group_count)
        self.open("capture", start, number=self.group_count, name=name)

    def open_condition(self, start: int) -> None:
        scanner = self.scanner
        number, name = 0, ""
        if scanner.peek().isdigit() and scanner.peek().isascii():
            number = read_name(scanner, "(", numbers=True).number
        elif scanner.peek() in ("<", "'"):
            reference = read_reference(scanner, scanner.take())
            if reference.number:
                number = self.absolute(reference, start)
            else:
                number, name = self.named_groups(reference, start)[0], reference.text
            if not scanner.accept(")"):
                raise self.fail("undefined group option", start, "close the condition: (?(<name>)yes|no)")
        else:
            raise self.fail("invalid conditional pattern", start, "write (?(1)yes|no) or (?(<name>)yes|no)")
        self.open("condition", start, number=number, name=name)

    def read_options(self, char: str, start: int) -> None:
        scanner = self.scanner
        flags = self.flags
        off = False
        while char not in ":)":
            changed = None if char == "-" else flags.changed(char, off)
            if char == "-":
                off = True
            elif changed is None:
                raise self.fail("undefined group option", start, _option_hint(char))
            else:
                flags = changed
            if scanner.at_end:
                raise self.fail("end pattern in group", start, "close it with ) or, for a group, with : and )")
            char = scanner.take()
        if scanner.position - start == 3:
            raise self.fail("undefined group option", start, "name an option, as in (?i), or write (?:...)")
        self.open("options" if char == ":" else "tail", start, flags=flags)

    # -- escapes -------------------------------------------------------------------------------------------------------

    def read_escape(self, start: int) -> None:
        scanner = self.scanner
        if scanner.at_end:
            raise self.fail("too short escape sequence", start, "write \\\\ for a backslash")
        char = scanner.take()
        lower = char.lower()
        if char in "dDwWsShH":
            self.add(self.char_type(lower, char != lower))
        elif char in _ANCHORS:
            ascii_only = char in "bB" and self.flags.mode == "a"
            self.add(Anchor(_ANCHORS[char], ascii_only))
        elif char == "K":
            self.add(Keep())
        elif char == "R":
            self.add(Linebreak())
        elif char == "X":
            self.add(Grapheme())
        elif lower == "p" and scanner.peek() == "{":
            self.add(ClassParser(scanner, self.flags).standalone_property(char == "P"))
        elif char == "k" and scanner.peek() in ("<", "'"):
            self.read_backref(start)
        elif char == "g" and scanner.peek() in ("<", "'"):
            self.read_call(start)
        elif char in "123456789" and self.read_numbered_backref(start):
            return
        else:
            value = scanner.numbered_char(char, start, in_class=False)
            if value is None:
                self.add_char(char)
            else:
                for one in value:
                    self.add(Literal(one, self.flags.ignore_case), run=True)

    def char_type(self, letter: str, negated: bool) -> Node:
        if self.flags.mode == "u" and letter in _UNICODE_TYPES:
            return Property(_UNICODE_TYPES[letter], negated)
        members: CharSet = _CHAR_TYPES[letter]
        return CodeClass(~members if negated else members, NOTHING)

    def read_numbered_backref(self, start: int) -> bool:
        """Whether the digits name a group (else they are an octal escape or plain)."""
        scanner = self.scanner
        number, after = scanner.number_at(start + 1)
        if number > BACKREF_LIMIT or (number > self.group_count and number > 9):
            return False
        scanner.position = after
        self.add_backref((number,), "", None, start)
        return True

    def add_backref(self, numbers: tuple[int, ...], name: str, level: int | None, start: int) -> None:
        offset = self.scanner.source_offset(start)
        self.add(Backref(numbers, name, level, self.flags.ignore_case, offset))

    def read_backref(self, start: int) -> None:
        reference = read_reference(self.scanner, self.scanner.take())
        if reference.number:
            self.add_backref((self.absolute(reference, start),), "", reference.level, start)
        else:
            self.add_backref(self.named_groups(reference, start), reference.text, reference.level, start)

    def absolute(self, reference: Name, start: int) -> int:
        number = reference.number
        if number < 0:
            number += self.group_count + 1
            if number <= 0:
                raise self.fail("invalid backref number/name", start, f"{self.group_count} groups stand before it")
        return number

    def named_groups(self, reference: Name, start: int) -> tuple[int, ...]:
        numbers = self.names.get(reference.text)
        if not numbers:
            hint = f"a group of this name must stand before it: (?<{reference.text}>...)"
            raise self.fail(f"undefined name <{reference.text}> reference", start, hint)
        return tuple(numbers)

    def read_call(self, start: int) -> None:
        scanner = self.scanner
        opener = scanner.take()
        self.has_calls = True
        offset = scanner.source_offset(start)
        closer = ">" if opener == "<" else "'"
        if scanner.accept("0" + closer):
            self.add(Call(0, offset=offset))
            return
        relative = scanner.accept("+")
        scanner.accept("0")
        called = read_name(scanner, opener, numbers=True)
        number = called.number
        if relative and number > 0:
            number += self.group_count
        elif number < 0:
            number += self.group_count + 1
            if number <= 0:
                raise self.fail("invalid backref number/name", start, f"{self.group_count} groups stand before it")
        self.add(Call(number, "" if number else called.text, offset))

    def read_class(self, start: int) -> None:
        self.add(ClassParser(self.scanner, self.flags).bracket(start))


def _option_hint(char: str) -> str:
    return {
        "s": "Ruby spells it (?m): the dot matches a newline",
        "P": "Ruby spells a named group (?<name>...)",
        "#": "a comment is a group of its own: (?#...)",
    }.get(char, "the options are i, m, x, a, d and u")
