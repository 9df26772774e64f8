"""Bracket classes: `[a-z&&[^aeiou]]`, `[[:alpha:]\\d]`, and properties by name.

A class whose members are all known becomes a CodeClass with those members; one that names a Unicode property keeps its
structure as a PropertyClass, because flowd has no Unicode tables of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flowd.patterns.charset import ASCII, DIGIT, EVERYTHING, HEX, NOTHING, POSIX_ASCII, SPACE, WORD, CharSet
from flowd.patterns.nodes import CodeClass, Node, Property, PropertyClass, Union
from flowd.patterns.options import Flags
from flowd.patterns.properties import is_property, is_ruby_only, normalized_name
from flowd.patterns.scan import Scanner

DEPTH_LIMIT = 100  # Classes in classes; Ruby's limit is 4096.

_TYPES = {"d": DIGIT, "w": WORD, "s": SPACE, "h": HEX}
_UNICODE_TYPES = {"d": "digit", "w": "word", "s": "space"}
_POSIX_SYMBOLS = CharSet.chars("$+<=>^`|~")  # In [[:punct:]] beside \p{Punct}, for Ruby.
_POSIX_SEARCH = 20  # Ruby looks this far for the end of a name that it does not know.


@dataclass(slots=True)
class _Members:
    """One side of `&&` while it is read. `across`: those that may fold across the ASCII border."""

    chars: list[tuple[int, int]] = field(default_factory=list)
    limited: CharSet = NOTHING
    across: CharSet = NOTHING
    symbols: list[Property | Union] = field(default_factory=list)
    has_limited: bool = False

    def add_set(self, members: CharSet, *, across: bool) -> None:
        self.limited |= members
        if across:
            self.across |= members
        else:
            self.has_limited = True

    def all_chars(self) -> CharSet:
        return CharSet.of(self.chars) | self.limited

    def all_across(self) -> CharSet:
        return CharSet.of(self.chars) | self.across


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A whole class. `union` is set if it names a property; else `chars` and `across` say all."""

    chars: CharSet
    across: CharSet
    union: Union | None
    negated: bool
    has_limited: bool
    limited: CodeClass | None = None


class ClassParser:
    """Reads one class (with those inside it) from a scanner that stands after its bracket."""

    def __init__(self, scanner: Scanner, flags: Flags) -> None:
        self.scanner = scanner
        self.flags = flags

    def bracket(self, start: int) -> Node:
        """The class as a node."""
        parsed = self._read(start, 1)
        ignore_case = self.flags.ignore_case
        if parsed.union is not None:
            limited = parsed.limited
            entangled = ignore_case and parsed.has_limited and limited is None
            return PropertyClass(parsed.union, ignore_case, limited, entangled)
        if not ignore_case:
            return CodeClass(~parsed.chars if parsed.negated else parsed.chars, NOTHING)
        return CodeClass(parsed.chars, parsed.across, parsed.negated, ignore_case)

    def standalone_property(self, negated: bool) -> Node:
        """`\\p{…}` outside of brackets; the scanner stands at its brace."""
        negated, name = self._property_name(negated)
        if name == "ascii":
            return CodeClass(~ASCII if negated else ASCII, NOTHING)
        if name == "xposixpunct":
            return PropertyClass(Union((_POSIX_SYMBOLS, Property("punct")), negated), self.flags.ignore_case)
        if self.flags.ignore_case:
            return PropertyClass(Union((Property(name),), negated), ignore_case=True)
        return Property(name, negated)

    def _read(self, start: int, depth: int) -> _Parsed:
        scanner = self.scanner
        if depth > DEPTH_LIMIT:
            raise scanner.error("parse depth limit over", start, f"flowd takes classes nested {DEPTH_LIMIT} deep")
        negated = scanner.accept("^")
        if scanner.peek() == "]" and "]" not in scanner.text[scanner.position + 1 :]:
            raise scanner.error("empty char-class", start, "to match a bracket, write \\] or []]")
        members = _Body(self, start, depth).read()
        return _combine(members, negated)

    def _property_name(self, negated: bool) -> tuple[bool, str]:
        scanner = self.scanner
        scanner.has_property = True
        scanner.accept("{")
        if scanner.accept("^"):
            negated = not negated
        start = scanner.position
        end = start
        while not scanner.at_end:
            end = scanner.position
            char = scanner.take()
            if char == "}":
                name = normalized_name(scanner.text[start:end])
                if is_ruby_only(name):
                    raise scanner.error(
                        f"flowd cannot evaluate \\p{{{scanner.text[start:end]}}} as Ruby does", start,
                        "its engine has no such property; spell the characters out",
                    )  # fmt: skip
                if not is_property(name):
                    break
                return negated, name
            if char in "(){|":
                break
        hint = "scripts and categories are written \\p{Greek}, \\p{L}, without a prefix"
        raise scanner.error(f"invalid character property name {{{scanner.text[start:end]}}}", start, hint)


def _combine(operands: list[_Members], negated: bool) -> _Parsed:
    chars, across = EVERYTHING, EVERYTHING
    has_limited = any(operand.has_limited for operand in operands)
    if any(operand.symbols for operand in operands):
        if has_limited and len(operands) == 1 and not negated:
            only = operands[0]
            limited = CodeClass(only.limited, only.across, ignore_case=True)
            whole = Union((CharSet.of(only.chars), *only.symbols), False)
            return _Parsed(only.limited, only.across, whole, False, has_limited, limited)
        unions = [Union((operand.all_chars(), *operand.symbols)) for operand in operands]
        return _Parsed(NOTHING, NOTHING, Union(unions[0].parts, negated, tuple(unions[1:])), False, has_limited)
    for operand in operands:
        chars &= operand.all_chars()
        across &= operand.all_across()
    return _Parsed(chars, across, None, negated, has_limited)


class _Body:
    """The inside of one class: values, ranges, types, nested classes and `&&`, in Ruby's order of precedence.

    1. `pending` is a character that may still become the start of a range.
    2. `state` is `start` (nothing yet, or after &&), `value`, `range` (after `x-`), or `complete` (after a range).
    3. A nested class leaves the state alone, as in Ruby: `[a[b]-c]` holds the range a-c.
    """

    def __init__(self, parser: ClassParser, start: int, depth: int) -> None:
        self.parser = parser
        self.scanner = parser.scanner
        self.start = start
        self.depth = depth
        self.members = _Members()
        self.operands = [self.members]
        self.state = "start"
        self.pending: str | None = None
        self.first = True

    def read(self) -> list[_Members]:
        scanner = self.scanner
        while True:
            if scanner.at_end:
                raise scanner.error("premature end of char-class", self.start, "close it with ] or escape it as \\[")
            position = scanner.position
            char = scanner.take()
            first, self.first = self.first, False
            if char == "]" and not first:
                break
            if char == "-":
                self.dash()
            elif char == "\\":
                self.escape(position)
            elif char == "[":
                self.open_bracket(position)
            elif char == "&" and scanner.accept("&"):
                self.flush()
                self.state = "start"
                self.members = _Members()
                self.operands.append(self.members)
            else:
                self.value(char, position)
        if self.state == "value":
            self.flush()
        return self.operands

    def flush(self) -> None:
        if self.state == "value" and self.pending is not None:
            self.members.chars.append((ord(self.pending), ord(self.pending)))
        self.pending = None

    def value(self, char: str, position: int) -> None:
        if self.state == "range":
            assert self.pending is not None
            low, high = ord(self.pending), ord(char)
            if low > high:
                hint = f"write {char}-{self.pending}"
                raise self.scanner.error("empty range in char class", position, hint)
            self.members.chars.append((low, high))
            self.state, self.pending = "complete", None
            return
        self.flush()
        self.state, self.pending = "value", char

    def type_read(self, position: int) -> None:
        """After `\\d`, `[:alpha:]` or a property: no range begins or ends there."""
        if self.state == "range":
            raise self.scanner.error("char-class value at end of range", position, "escape the - as \\-")
        self.flush()
        self.state = "value"

    def dash(self) -> None:
        scanner = self.scanner
        position = scanner.position - 1
        if self.state != "value":
            self.value("-", position)
            return
        if scanner.peek() == "]" or scanner.text.startswith("&&", scanner.position):
            self.value("-", position)
            return
        if scanner.at_end:
            raise scanner.error("premature end of char-class", self.start, "close it with ] or escape it as \\[")
        if self.pending is None:
            raise scanner.error("unmatched range specifier in char-class", position, "escape the - as \\-")
        self.state = "range"

    def open_bracket(self, position: int) -> None:
        scanner = self.scanner
        if scanner.peek() == ":" and self.ends_like_posix(scanner.position + 1):
            if self.posix(position):
                self.type_read(position)
            else:
                self.value("[", position)
            return
        inner = self.parser._read(position, self.depth + 1)
        self.members.has_limited |= inner.has_limited
        if inner.union is not None:
            self.members.symbols.append(inner.union)
            return
        self.members.limited |= ~inner.chars if inner.negated else inner.chars
        self.members.across |= ~inner.across if inner.negated else inner.across

    def ends_like_posix(self, i: int) -> bool:
        text = self.scanner.text
        while i < len(text):
            if text.startswith(":]", i):
                return True
            if text[i] == "]":
                return False
            i += 2 if text[i] == "\\" else 1
        return False

    def posix(self, position: int) -> bool:
        """Whether `[:name:]` was there (and is taken now); the scanner stands at the first colon."""
        scanner = self.scanner
        i = scanner.position + 1
        negated = scanner.text.startswith("^", i)
        i += negated
        mode = self.parser.flags.mode
        for name, members in POSIX_ASCII.items():
            if len(scanner.text) - i < 7 or not scanner.text.startswith(name, i):
                continue
            if not scanner.text.startswith(":]", i + len(name)):
                raise self.invalid_posix(position)
            scanner.position = i + len(name) + 2
            if mode == "a" or name in ("ascii", "xdigit"):
                self.members.add_set(~members if negated else members, across=name == "xdigit" and mode != "a")
            elif name == "punct":
                self.members.symbols.append(Union((_POSIX_SYMBOLS, Property(name)), negated))
            else:
                self.members.symbols.append(Property(name, negated))
            return True
        end = i
        while end < len(scanner.text) and scanner.text[end] not in ":]" and end - i <= _POSIX_SEARCH:
            end += 1
        if scanner.text.startswith(":]", end):
            raise self.invalid_posix(position)
        return False

    def invalid_posix(self, position: int) -> Exception:
        hint = "one of " + ", ".join(POSIX_ASCII)
        return self.scanner.error("invalid POSIX bracket type", position, hint)

    def escape(self, position: int) -> None:
        scanner = self.scanner
        if scanner.at_end:
            raise scanner.error("end pattern at escape", position, "write \\\\ for a backslash")
        char = scanner.take()
        lower = char.lower()
        if char in "dDwWsShH":
            negated = char != lower
            if self.parser.flags.mode == "u" and lower in _UNICODE_TYPES:
                self.members.symbols.append(Property(_UNICODE_TYPES[lower], negated))
            else:
                self.members.add_set(~_TYPES[lower] if negated else _TYPES[lower], across=lower != "w")
            self.type_read(position)
        elif lower == "p" and scanner.peek() == "{":
            negated, name = self.parser._property_name(char == "P")
            if name == "ascii":
                self.members.add_set(~ASCII if negated else ASCII, across=False)
            elif name == "xposixpunct":
                self.members.symbols.append(Union((_POSIX_SYMBOLS, Property("punct")), negated))
            else:
                self.members.symbols.append(Property(name, negated))
            self.type_read(position)
        else:
            numbered = scanner.numbered_char(char, position, in_class=True)
            self.value(char if numbered is None else numbered, position)
