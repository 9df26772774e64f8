"""Parameter values written as JSON: read as Ruby's JSON library reads them, and printed again in compact form.

A bare value that begins with `[` or `{` is JSON in fluentd's grammar. Beyond JSON proper, `/* */` and `//` comments
may stand between tokens, `#` begins a comment where the text so far would be complete but for its last bracket, and
`#{...}` in a string is embedded code.
"""

from __future__ import annotations

import json
import math
import re

from flowd.filters.fluentd.elements import Unset
from flowd.filters.fluentd.ruby import UnknownCode, evaluate, find_code_end

_DEEPEST_NESTING = 100  # Ruby's JSON.parse refuses more
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![0-9])")
_BLANKS = " \t\r\n"
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": "true", "false": "false", "null": "null"}
_SCIENTIFIC_FROM = 1e15  # where Ruby begins to print whole floats with an exponent


class JsonError(ValueError):
    """A value that begins like JSON and is none; `position` is where reading stopped."""

    def __init__(self, position: int) -> None:
        super().__init__("incomplete JSON")
        self.position = position


def read_json(text: str, start: int) -> tuple[str, int]:
    """The compact form of the JSON list or map that begins at `start`, and the offset after it.

    Raises JsonError, or UnknownCode for embedded code that is not understood.
    """
    reader = _JsonReader(text, start)
    value = reader.read_value()
    return value, reader.position


class _JsonReader:
    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.position = start
        self._depth = 0

    def read_value(self) -> str:
        char = self._peek()
        if char in ("[", "{"):
            self._depth += 1
            if self._depth > _DEEPEST_NESTING:
                raise JsonError(self.position)
            value = self._read_list() if char == "[" else self._read_map()
            self._depth -= 1
            return value
        if char == '"':
            return json.dumps(self._read_string(), ensure_ascii=False)
        for word in _WORDS:
            if self.text.startswith(word, self.position):
                self.position += len(word)
                return word
        return self._read_number()

    def _read_list(self) -> str:
        values: list[str] = []
        self.position += 1
        self._skip(value_complete=True)
        if self._take("]"):
            return "[]"
        while True:
            values.append(self.read_value())
            self._skip(value_complete=True)
            if self._take("]"):
                return f"[{','.join(values)}]"
            self._skip_comma()

    def _read_map(self) -> str:
        members: dict[str, str] = {}
        self.position += 1
        self._skip(value_complete=True)
        if self._take("}"):
            return "{}"
        while True:
            if self._peek() != '"':
                raise JsonError(self.position)
            name = json.dumps(self._read_string(), ensure_ascii=False)
            self._skip(value_complete=False)
            if not self._take(":"):
                raise JsonError(self.position)
            self._skip(value_complete=False)
            members[name] = self.read_value()
            self._skip(value_complete=True)
            if self._take("}"):
                return "{" + ",".join(f"{name}:{value}" for name, value in members.items()) + "}"
            self._skip_comma()

    def _skip_comma(self) -> None:
        """After a comma, `#` begins a comment on the same line only: on the next one it spoils the value."""
        if not self._take(","):
            raise JsonError(self.position)
        while self._peek() in (" ", "\t"):
            self.position += 1
        if self._peek() == "#" and self._depth == 1:
            self._skip_line()
        self._skip(value_complete=False)

    def _skip(self, *, value_complete: bool) -> None:
        """Skip blanks and comments; `#` begins one only at the outermost level and after a complete value."""
        while True:
            char = self._peek()
            if char and char in _BLANKS:
                self.position += 1
            elif char == "/" and self.text.startswith("/*", self.position):
                end = self.text.find("*/", self.position + 2)
                if end < 0:
                    raise JsonError(len(self.text))
                self.position = end + 2
            elif (char == "/" and self.text.startswith("//", self.position)) or (
                char == "#" and value_complete and self._depth == 1
            ):
                self._skip_line()
            else:
                return

    def _skip_line(self) -> None:
        end = self.text.find("\n", self.position)
        self.position = len(self.text) if end < 0 else end + 1

    def _read_string(self) -> str:
        chars: list[str] = []
        self.position += 1
        while True:
            char = self._peek()
            if not char or char < " ":
                raise JsonError(self.position)
            self.position += 1
            if char == '"':
                return "".join(chars)
            if char == "\\":
                chars.append(self._read_escape())
            elif char == "#" and self._peek() == "{":
                chars.append(self._read_code())
            else:
                chars.append(char)

    def _read_escape(self) -> str:
        char = self._peek()
        if not char or char < " ":
            raise JsonError(self.position)
        self.position += 1
        if char != "u":
            return _ESCAPES.get(char, char)
        unit = self._read_unit()
        if 0xD800 <= unit < 0xDC00 and self.text.startswith("\\u", self.position):
            self.position += 2
            low = self._read_unit()
            if 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
            raise JsonError(self.position)
        if 0xD800 <= unit < 0xE000:
            raise JsonError(self.position)
        return chr(unit)

    def _read_unit(self) -> int:
        digits = self.text[self.position : self.position + 4]
        if not re.fullmatch("[0-9a-fA-F]{4}", digits):
            raise JsonError(self.position)
        self.position += 4
        return int(digits, 16)

    def _read_code(self) -> str:
        """The value of embedded code; one that would end the string or escape something is refused."""
        start = self.position + 1
        end = find_code_end(self.text, start)
        if end is None:
            raise JsonError(len(self.text))
        self.position = end + 1
        value = evaluate(self.text[start:end])
        if isinstance(value, Unset):
            raise UnknownCode(self.text[start:end])
        if any(char in '"\\' or char < " " for char in value):
            raise JsonError(end)
        return value

    def _read_number(self) -> str:
        found = _NUMBER.match(self.text, self.position)
        if not found:
            raise JsonError(self.position)
        self.position = found.end()
        if found[1] is None and found[2] is None:
            return "0" if found[0] == "-0" else found[0]
        return format_float(float(found[0]))

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _take(self, char: str) -> bool:
        if self._peek() != char:
            return False
        self.position += 1
        return True


def format_float(number: float) -> str:
    """A float as Ruby prints it: always with a point and a digit after it, shortest digits that read back alike."""
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    shortest = repr(number)
    digits, _, exponent = shortest.partition("e")
    if exponent:
        return f"{digits if '.' in digits else digits + '.0'}e{exponent}"
    if abs(number) < _SCIENTIFIC_FROM or not shortest.endswith(".0"):
        return shortest
    # Python switches to an exponent at 1e16 only.
    whole = digits.lstrip("-").removesuffix(".0")
    return f"{'-' if number < 0 else ''}{whole[0]}.{whole[1:].rstrip('0') or '0'}e+15"
