"""A cursor over a pattern's text, and the small things that are read alike everywhere: numbers, intervals, escapes."""

from __future__ import annotations

import re
from collections.abc import Callable

from flowd.patterns.model import Dialect, PatternError

_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_HEX_DIGITS = "0123456789abcdefABCDEF"
_OCTAL_DIGITS = "01234567"
_LAST_HINT = "the last character is \\x{10FFFF}, and surrogates are none"
_CONTROL_HINT = "write \\C-a or \\ca"
_META_HINT = "name the character as \\x{E1}"
_BYTE = re.compile(r"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[2-3][0-7]{2}))")


class Scanner:
    """`position` counts characters of `text`; errors speak of the source, through `source_offset`."""

    def __init__(self, text: str, source_offset: Callable[[int], int], dialect: Dialect) -> None:
        self.text = text
        self.position = 0
        self.source_offset = source_offset
        self.dialect = dialect
        self.fixed_interval = False
        self.has_property = False

    @property
    def at_end(self) -> bool:
        return self.position >= len(self.text)

    def error(self, message: str, position: int | None, hint: str) -> PatternError:
        return PatternError(message, self.source_offset(self.position if position is None else position), hint=hint)

    def take(self) -> str:
        char = self.text[self.position]
        self.position += 1
        return char

    def peek(self) -> str:
        """The next character, or the empty text at the end."""
        return self.text[self.position : self.position + 1]

    def accept(self, text: str) -> bool:
        """Whether the text follows; if so it is taken."""
        if self.text.startswith(text, self.position):
            self.position += len(text)
            return True
        return False

    def skip_line(self) -> None:
        newline = self.text.find("\n", self.position)
        self.position = len(self.text) if newline < 0 else newline + 1

    def number_at(self, position: int) -> tuple[int, int]:
        """The decimal number there (0 if none) and the place after it."""
        digits = self.digits(position, len(self.text), "0123456789")
        return int(digits[:12] or 0), position + len(digits)

    def digits(self, position: int, limit: int, alphabet: str) -> str:
        end = position
        while end < len(self.text) and end - position < limit and self.text[end] in alphabet:
            end += 1
        return self.text[position:end]

    # -- {n,m}, after its brace ------------------------------------------------------------------------------------

    def _interval(self) -> tuple[int, int | None, bool, int] | None:
        low, i = self.number_at(self.position)
        has_low = i > self.position
        if self.text.startswith(",", i):
            high, after = self.number_at(i + 1)
            has_high = after > i + 1
            if not self.text.startswith("}", after) or not (has_low or has_high):
                return None
            return low, high if has_high else None, False, after + 1
        if not has_low or not self.text.startswith("}", i):
            return None
        return low, low, True, i + 1

    def sees_interval(self) -> bool:
        """Whether a repeat count follows; else the brace is a plain character (unless a number in it is too big)."""
        low, i = self.number_at(self.position)
        high = self.number_at(i + 1)[0] if self.text.startswith(",", i) and i + 1 <= len(self.text) else 0
        if low > 100_000 or (high > 100_000 and i + 1 < len(self.text)):
            raise self.error("too big number for repeat range", None, "a repeat counts to 100000 at most")
        return self._interval() is not None

    def take_interval(self) -> tuple[int, int | None]:
        interval = self._interval()
        assert interval is not None
        low, high, self.fixed_interval, self.position = interval
        return low, high

    # -- escapes that stand for one character by its number -----------------------------------------------------------

    def numbered_char(self, char: str, start: int, *, in_class: bool) -> str | None:
        """What a backslash and `char` (just taken) stand for; None if for `char` itself."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "b" and in_class:
            return "\b"
        if char == "x":
            if self.dialect == "onigmo" and self.at_end:
                return None
            if self.dialect == "onigmo" and self.peek() == "{":
                return self._braced_code(start)
            return self._byte(start, 2, _HEX_DIGITS, 16)
        if char in _OCTAL_DIGITS:
            self.position -= 1
            return self._byte(start, 3, _OCTAL_DIGITS, 8)
        if self.dialect == "onigmo":
            return self._onigmo_char(char, start)
        return None

    def _byte(self, start: int, limit: int, alphabet: str, base: int) -> str:
        digits = self.digits(self.position, limit, alphabet)
        self.position += len(digits)
        value = int(digits or "0", base)
        if value > 0xFF:
            raise self.error("too big number", start, "octal escapes end at \\377")
        if value < 0x80:
            return chr(value)
        return self._multibyte(value, start)

    def _multibyte(self, first: int, start: int) -> str:
        """The character whose UTF-8 form is written as \\xHH or \\NNN escapes in a row (Onigmo's dialect only)."""
        sequence = bytes([first])
        while len(sequence) < 4 and (found := _BYTE.match(self.text, self.position)):
            sequence += bytes([int(found["hex"], 16) if found["hex"] else int(found["octal"], 8)])
            self.position = found.end()
            try:
                return sequence.decode()
            except UnicodeDecodeError:
                continue
        hint = "flowd cannot match a single byte of a character; use \\u00e9"
        raise self.error("invalid multibyte escape", start, hint)

    def _braced_code(self, start: int) -> str | None:
        digits = self.digits(self.position + 1, 8, _HEX_DIGITS)
        after = self.position + 1 + len(digits)
        if self.text[after : after + 1] in tuple(_HEX_DIGITS):
            raise self.error("too long wide-char value", start, _LAST_HINT)
        if not digits or not self.text.startswith("}", after):
            return None
        self.position = after + 1
        return self._char_of(int(digits, 16), start)

    def _char_of(self, code: int, start: int) -> str:
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            message = "too big wide-char value" if code > 0x10FFFF else "invalid code point value"
            raise self.error(message, start, _LAST_HINT)
        return chr(code)

    def _onigmo_char(self, char: str, start: int) -> str | None:
        if char == "u":
            digits = self.digits(self.position, 4, _HEX_DIGITS)
            if len(digits) < 4:
                raise self.error("too short digits", start, "four hexadecimal digits follow \\u")
            self.position += 4
            return self._char_of(int(digits, 16), start)
        if char in "cC":
            if char == "C" and not self.accept("-"):
                message = "end pattern at control" if self.at_end else "invalid control-code syntax"
                raise self.error(message, start, _CONTROL_HINT)
            if self.at_end:
                raise self.error("end pattern at control", start, _CONTROL_HINT)
            control = self._take_escaped(start)
            return "\x7f" if control == "?" else chr(ord(control) & 0x9F)
        if char == "M":
            if self.at_end:
                raise self.error("end pattern at meta", start, _META_HINT)
            if not self.accept("-"):
                raise self.error("invalid meta-code syntax", start, _META_HINT)
            if self.at_end:
                raise self.error("end pattern at meta", start, _META_HINT)
            return chr(ord(self._take_escaped(start)) & 0xFF | 0x80)
        return None

    def _take_escaped(self, start: int) -> str:
        """The next character, or the one that the escape there stands for."""
        char = self.take()
        if char == "\\" and not self.at_end:
            char = self.numbered_char(escaped := self.take(), start, in_class=True) or escaped
        return char
