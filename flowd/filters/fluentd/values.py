"""Values of fluentd's v1 grammar: bare, 'single-quoted', "double-quoted" with embedded code, and JSON.

A reader of values moves over a source's text; it reports what is wrong with a value and says where reading may go on.
"""

from __future__ import annotations

import re

from flowd.filters.fluentd.elements import Unset, Value
from flowd.filters.fluentd.json_value import JsonError, read_json
from flowd.filters.fluentd.ruby import FORMS, UnknownCode, evaluate, find_code_end
from flowd.filters.source import Report, Source

_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "b": "\b", "0": "\0"}
# What means something else in a pattern without its backslash.
_NEEDED_ESCAPES = frozenset(".^$*+?()[]{}|/&-b")
_ASCII_ALNUM = re.compile("[a-zA-Z0-9]")
# The blanks before a comment or before the line's end are no part of a bare value; tried at the run's start only.
_BARE_END = re.compile(r"(?<![ \t])[ \t]++(?=#|\Z)")
_LINE_STOP = re.compile(r"[\r\n]")
_BLANK_STOP = re.compile(r"[ \t\r\n]")


class Broken(Exception):
    """A value that cannot be read, already reported; reading may go on at `resume`."""

    def __init__(self, resume: int) -> None:
        super().__init__(resume)
        self.resume = resume


class ValueReader:
    """Reads values at `position`, which it moves to the first character after them."""

    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.text = source.text
        self.report = report
        self.position = 0

    def read_literal(self) -> Value:
        """A parameter's value. Raises Broken."""
        if self.text.startswith(("[", "{"), self.position):
            return self._read_json()
        return self.read_string()

    def read_string(self) -> Value:
        """A quoted string, or a bare value up to its line's end (None never: a caller knows that something stands
        there). Raises Broken."""
        if self.text.startswith(("'", '"'), self.position):
            return self.read_quoted()
        end = self._find(_LINE_STOP)
        line = self.text[self.position : end]
        # A `#` that begins the value belongs to it, whatever follows; blanks cannot begin one.
        stop = _BARE_END.search(line, 1)
        value = line[: stop.start()] if stop else line
        self.position += len(value)
        return value

    def read_name(self) -> Value:
        """A parameter's name: a quoted string, or everything up to the next blank. Raises Broken."""
        if self.text.startswith(("'", '"'), self.position):
            return self.read_quoted()
        start = self.position
        self.position = self._find(_BLANK_STOP)
        return self.text[start : self.position]

    def read_quoted(self) -> Value:
        """A quoted string. Raises Broken."""
        return self._read_double_quoted() if self.text[self.position] == '"' else self._read_single_quoted()

    def _find(self, stop: re.Pattern[str]) -> int:
        found = stop.search(self.text, self.position)
        return found.start() if found else len(self.text)

    def _read_single_quoted(self) -> str:
        start = self.position
        chars: list[str] = []
        position = start + 1
        while position < len(self.text):
            char = self.text[position]
            if char == "'":
                self.position = position + 1
                return "".join(chars)
            if char == "\n":
                break
            if char == "\\" and self.text[position + 1 : position + 2] in ("'", "\\"):
                position += 1
                char = self.text[position]
            chars.append(char)
            position += 1
        return self._fail_unclosed(start, "single", "close it with ' on the same line; double quotes may span lines")

    def _read_double_quoted(self) -> Value:
        start = self.position
        text = self.text
        chars: list[str] = []
        special: Unset | None = None
        position = start + 1
        while True:
            char = text[position : position + 1]
            after = text[position + 1 : position + 2]
            if char == '"':
                self.position = position + 1
                return special or "".join(chars)
            if char and after in ("", "\r", "\n"):
                # The last character of a line takes the line's end with it; a backslash there joins the lines.
                chars.append("" if char == "\\" else char + after)
                position += 2
            elif char == "\\":
                if _ASCII_ALNUM.match(after) and after not in _ESCAPES:
                    special = Unset.BROKEN
                    self._report_escape(position, after)
                elif after in _NEEDED_ESCAPES:
                    self._warn_eaten(position, after)
                chars.append(_ESCAPES.get(after, after))
                position += 2
            elif char == "#" and after == "{":
                value, position = self._read_code(position)
                if isinstance(value, str):
                    chars.append(value)
                elif special is not Unset.BROKEN:
                    special = Unset.NIL if special is Unset.NIL and value is not Unset.BROKEN else value
            elif not char or char == "\n":
                return self._fail_unclosed(
                    start, "double", 'close it with " (a line break right after the opening quote cannot stand there)'
                )
            else:
                chars.append(char)
                position += 1

    def _report_escape(self, position: int, char: str) -> None:
        self.report.problem(
            self.source.place(position),
            f"unexpected back-slash escape character '{char}'",
            hint=f"double quotes read backslashes themselves: use single quotes or none, or write \\\\{char}",
            code="bad-escape",
        )

    def _warn_eaten(self, position: int, char: str) -> None:
        read_as = "a backspace" if char == "b" else f"{char} alone"
        self.report.warning(
            self.source.place(position),
            f"in double quotes \\{char} is {read_as}: the backslash is eaten",
            hint=f"for a pattern use single quotes, slashes or none, or write \\\\{char}",
            code="eaten-backslash",
        )

    def _fail_unclosed(self, start: int, kind: str, hint: str) -> str:
        self.report.problem(
            self.source.place(start),
            f"unexpected end of file in a {kind} quoted string",
            hint=hint,
            code="unclosed-quote",
        )
        raise Broken(self.source.line_end(start))

    def _read_code(self, start: int) -> tuple[Value, int]:
        """The value of the `#{...}` at `start` and the offset after it."""
        end = find_code_end(self.text, start + 2)
        if end is None:
            self.report.problem(
                self.source.place(start),
                "expected end of embedded code but got none",
                hint="close it with }, or write \\#{ for the characters themselves",
                code="embedded-code",
            )
            raise Broken(self.source.line_end(start))
        code = self.text[start + 2 : end]
        try:
            return evaluate(code), end + 1
        except UnknownCode:
            self._report_code(start, code)
            return Unset.BROKEN, end + 1

    def _report_code(self, position: int, code: str) -> None:
        self.report.problem(
            self.source.place(position),
            f"embedded code #{{{code[:200]}}} is not evaluated",
            hint=f"only {FORMS} are; for the characters themselves use single quotes or none",
            code="embedded-code",
        )

    def _read_json(self) -> Value:
        start = self.position
        try:
            value, self.position = read_json(self.text, start)
        except UnknownCode as unknown:
            self._report_code(start, unknown.code)
            raise Broken(self.source.line_end(start)) from None
        except JsonError as error:
            kind = "array" if self.text[start] == "[" else "hash"
            stopped = self.source.place(min(error.position, len(self.text)))
            self.report.problem(
                self.source.place(start),
                f"got incomplete JSON {kind} configuration",
                hint=f"a bare value that begins with {self.text[start]} is read as JSON (it breaks at line "
                f"{stopped.line}, column {stopped.column}); write a pattern between slashes: /{self.text[start]}.../",
                code="bad-json",
            )
            raise Broken(self.source.line_end(start)) from None
        return value
