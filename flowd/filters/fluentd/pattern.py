"""A parameter of fluentd's type regexp, and Ruby's way of saying what is wrong with one."""

from __future__ import annotations

_SHORTEST_OPTIONS = 3  # `/` and at most two letters: a slash further left is no closing one


class RubyPatternError(ValueError):
    """A pattern that Ruby refuses; the message is Ruby's own, with the pattern."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RubyPattern:
    """A regular expression in Ruby's syntax that compiles. Making one raises RubyPatternError."""

    __slots__ = ("dotall", "ignore_case", "source")

    def __init__(self, source: str, ignore_case: bool = False, dotall: bool = False) -> None:
        self.source = source
        self.ignore_case = ignore_case
        self.dotall = dotall
        from flowd.patterns import PatternError, compile_pattern

        try:
            compile_pattern(self.source, ignore_case=self.ignore_case, dotall=self.dotall)
        except PatternError as error:
            options = ("m" if self.dotall else "") + ("i" if self.ignore_case else "")
            shown = f"{error.message}: /{_show_source(self.source)}/{options}"
            raise RubyPatternError(shown, error.hint) from None

    def matches(self, text: str) -> bool:
        """Is there a match anywhere in the text? Not for hot paths: the engine is made for each call."""
        from flowd import _core
        from flowd.patterns import compile_pattern

        compiled = compile_pattern(self.source, ignore_case=self.ignore_case, dotall=self.dotall)
        return bool(_core.Regex(compiled.reference, compiled.reference_options).search(text.encode()))


def parse_pattern(value: str) -> RubyPattern:
    """What a `pattern` parameter says: bare, or `/.../` with at most two options. Raises RubyPatternError."""
    if not value.startswith("/"):
        return RubyPattern(value)
    end = value.rindex("/")
    if end < len(value) - _SHORTEST_OPTIONS:
        raise RubyPatternError(
            f"invalid regexp: missing right slash: {value}",
            "close it with a slash, then at most two of the options i and m; or leave out the first slash",
        )
    options = value[end + 1 :]
    # A lone slash (end is 0) is also the first one: nothing is left between the two.
    return RubyPattern(value[1:end], "i" in options, "m" in options)


def _show_source(source: str) -> str:
    """The pattern as Ruby's error messages print it: slashes escaped, what cannot be printed as \\x.."""
    shown: list[str] = []
    position = 0
    while position < len(source):
        char = source[position]
        if char == "\\" and position + 1 < len(source):
            shown.append(source[position : position + 2])
            position += 2
            continue
        if char == "/":
            shown.append("\\/")
        elif char.isprintable() or char in " \t\n\v\f\r":
            shown.append(char)
        else:
            shown.append(f"\\x{ord(char):02X}" if ord(char) < 0x80 else f"\\x{{{ord(char):X}}}")
        position += 1
    return "".join(shown)
