"""Ruby's first pass over a pattern: escapes that stand for bytes or characters are resolved, comments are dropped.

Ruby does this before its regular expression engine sees the pattern; errors here are Ruby's own. What remains is the
engine's language, in which only `\\xHH` below 0x80 stands for a character by number. Never looks at structure.
"""

from __future__ import annotations

from flowd.patterns.model import PatternError

_ONE_LETTER = {"n": 10, "t": 9, "r": 13, "f": 12, "v": 11, "a": 7, "e": 27, "\\": 92}
_HEX_DIGITS = "0123456789abcdefABCDEF"
_BLANKS = " \t\n\v\f\r"
_META_HINT = "patterns are UTF-8; name a character as \\u00e9"
_CONTROL_HINT = "write \\C-a or \\ca"


class Unescaped:
    """The pattern as the engine sees it; `offsets[i]` is where character i came from in the source."""

    __slots__ = ("offsets", "text")

    def __init__(self, text: str, offsets: list[int]) -> None:
        self.text = text
        self.offsets = offsets

    def source_offset(self, position: int) -> int:
        """The place in the source of a place in `text` (its end included)."""
        return self.offsets[min(position, len(self.offsets) - 1)]


def unescape(source: str, *, extended: bool = False) -> Unescaped:
    """Resolves escapes and drops comments; raises PatternError as Ruby does."""
    return _Unescaper(source, extended).run()


class _Unescaper:
    def __init__(self, source: str, extended: bool) -> None:
        self.source = source
        self.end = len(source)
        self.extended = extended
        self.class_depth = 0
        # Where a `(?x:` (or `(?-x:`) changed the mode: the groups open inside it, and the mode to return to.
        self.scopes: list[tuple[int, bool]] = []
        self.parens = 0
        self.out: list[str] = []
        self.offsets: list[int] = []

    def emit(self, text: str, offset: int) -> None:
        self.out.append(text)
        self.offsets.extend([offset] * len(text))

    def run(self) -> Unescaped:
        source, end = self.source, self.end
        i = 0
        while i < end:
            char = source[i]
            if char == "\\":
                i = self.escape(i)
                continue
            if char == "#" and self.extended and not self.class_depth:
                newline = source.find("\n", i)
                i = end if newline < 0 else newline + 1
                continue
            if char == "[":
                self.class_depth += 1
            elif char == "]":
                self.class_depth = max(0, self.class_depth - 1)
            elif char == "(" and not self.class_depth:
                after = self.comment_end(i)
                if after:
                    i = after
                    continue
                self.open_group(i)
            elif char == ")" and not self.class_depth and self.scopes:
                self.parens -= 1
                if self.parens == 0:
                    self.parens, self.extended = self.scopes.pop()
            self.emit(char, i)
            i += 1
        self.offsets.append(end)
        return Unescaped("".join(self.out), self.offsets)

    def comment_end(self, i: int) -> int:
        """The place after the comment that opens at i, or 0 if none does or it never ends."""
        if not self.source.startswith("(?#", i):
            return 0
        i += 2
        while i < self.end:
            if self.source[i] == ")":
                return i + 1
            i += 2 if self.source[i] == "\\" else 1
        return 0

    def open_group(self, i: int) -> None:
        """Notes what `(?x:` and `(?x)` change. As in Ruby, `(?x)` counts here until something else changes it."""
        if self.scopes:
            self.parens += 1
        if not self.source.startswith("(?", i):
            return
        inverted = False
        wanted: bool | None = None
        for char in self.source[i + 2 : i + 2 + 64]:
            if char == "x":
                wanted = not inverted
            elif char == "-":
                inverted = True
            elif char in ":)":
                if wanted is None or wanted == self.extended:
                    return
                if char == ":":
                    # The group itself was counted above if a scope was open; inside the new one it is the first.
                    self.scopes.append((self.parens, self.extended))
                    self.parens = 1
                self.extended = wanted
                return
            elif char not in "imadu":
                return

    def escape(self, i: int) -> int:
        source, end = self.source, self.end
        if i + 1 >= end:
            raise PatternError("too short escape sequence", i, hint="write \\\\ for a backslash")
        char = source[i + 1]
        if char in "1234567":
            digits = _digits(source, i + 1, 3, "01234567")
            if int(digits, 8) <= 0o177:
                self.emit("\\" + char, i)
                return i + 2
        if char in "01234567xcCM":
            return self.byte_escape(i)
        if char == "u":
            return self.unicode_escape(i)
        self.emit("\\" + char, i)
        return i + 2

    def byte_escape(self, start: int) -> int:
        """One character out of one escape, or of as many as make up its UTF-8 form."""
        byte, i = self.read_byte(start)
        sequence = bytes([byte])
        while _wants_more(sequence):
            byte, i = self.read_byte(i)
            sequence += bytes([byte])
        try:
            char = sequence.decode()
        except UnicodeDecodeError:
            raise PatternError(
                "invalid multibyte escape", start, hint="patterns are UTF-8; name a character as \\u00e9"
            ) from None
        self.emit(f"\\x{byte:02X}" if len(sequence) == 1 else char, start)
        return i

    def read_byte(self, start: int) -> tuple[int, int]:
        source, end = self.source, self.end
        if start >= end or source[start] != "\\":
            raise PatternError("too short escaped multibyte character", start, hint="name a character as \\u00e9")
        i = start + 1
        meta = control = False
        while True:
            if i >= end:
                raise PatternError("too short escape sequence", start, hint="write \\\\ for a backslash")
            char = source[i]
            i += 1
            if char in _ONE_LETTER:
                code = _ONE_LETTER[char]
                break
            if char in "01234567":
                digits = _digits(source, i - 1, 3, "01234567")
                code, i = int(digits, 8), i - 1 + len(digits)
                break
            if char == "x":
                digits = _digits(source, i, 2, _HEX_DIGITS)
                if not digits:
                    raise PatternError("invalid hex escape", start, hint="two hexadecimal digits follow \\x")
                code, i = int(digits, 16), i + len(digits)
                break
            if char == "M":
                if meta:
                    raise PatternError("duplicate meta escape", start, hint=_META_HINT)
                meta = True
                if i + 1 >= end or source[i] != "-" or not source[i + 1].isascii():
                    raise PatternError("too short meta escape", start, hint=_META_HINT)
                i += 1
            elif char in "Cc":
                if char == "C":
                    if i >= end or source[i] != "-":
                        raise PatternError("too short control escape", start, hint=_CONTROL_HINT)
                    i += 1
                if control:
                    raise PatternError("duplicate control escape", start, hint=_CONTROL_HINT)
                control = True
                if i >= end or not source[i].isascii():
                    raise PatternError("too short control escape", start, hint=_CONTROL_HINT)
            else:
                raise PatternError("unexpected escape sequence", start, hint="name a character as \\u00e9")
            if source[i] != "\\":
                code, i = ord(source[i]), i + 1
                break
            i += 1
        if code > 0xFF:
            raise PatternError("invalid escape code", start, hint="octal escapes end at \\377")
        if control:
            code &= 0x1F
        if meta:
            code |= 0x80
        return code, i

    def unicode_escape(self, start: int) -> int:
        source, end = self.source, self.end
        i = start + 2
        if i >= end:
            raise PatternError("too short escape sequence", start, hint="write \\\\ for a backslash")
        if source[i] != "{":
            digits = _digits(source, i, 4, _HEX_DIGITS)
            if len(digits) < 4:
                raise PatternError("invalid Unicode escape", start, hint="four hexadecimal digits follow \\u")
            self.emit_code(int(digits, 16), start)
            return i + 4
        i = _skip_blanks(source, i + 1)
        any_code = False
        while digits := _digits(source, i, end, _HEX_DIGITS):
            if len(digits) > 6:
                raise PatternError("invalid Unicode range", start, hint="the last character is \\u{10FFFF}")
            self.emit_code(int(digits, 16), start)
            any_code = True
            i = _skip_blanks(source, i + len(digits))
        if not any_code or i >= end or source[i] != "}":
            raise PatternError("invalid Unicode list", start, hint="write \\u{E9} or \\u{E9 EA}")
        return i + 1

    def emit_code(self, code: int, start: int) -> None:
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise PatternError("invalid Unicode range", start, hint="the last character is \\u{10FFFF}")
        self.emit(f"\\x{code:02X}" if code < 0x80 else chr(code), start)


def _digits(text: str, start: int, limit: int, alphabet: str) -> str:
    i = start
    while i < len(text) and i - start < limit and text[i] in alphabet:
        i += 1
    return text[start:i]


def _skip_blanks(text: str, i: int) -> int:
    while i < len(text) and text[i] in _BLANKS:
        i += 1
    return i


def _wants_more(sequence: bytes) -> bool:
    """Whether the bytes are the start of a UTF-8 character that is not complete yet."""
    try:
        sequence.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False
