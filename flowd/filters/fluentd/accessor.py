"""Record accessors: the text of a `key` → the path into a record, as fluentd 1.19 reads it.

A key is a plain top-level name unless it begins with `$.` (dot notation) or `$[` (bracket notation).
"""

from __future__ import annotations

import re

_LONGEST_LIST = 2**62  # and none is longer: an index beyond finds nothing in any
_LARGEST_INDEX = 2**63 - 1  # beyond it Ruby's own look-up fails
_RUBY_SPACE = " \t\n\v\f\r"
_WHITESPACE = re.compile(f"[{_RUBY_SPACE}]")
_INTEGER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)|0[bB](?P<binary>[01]+(?:_[01]+)*)"
    r"|0[dD](?P<prefixed>[0-9]+(?:_[0-9]+)*)|0(?:[oO]|_)?(?P<octal>[0-7]+(?:_[0-7]+)*)"
    r"|(?P<decimal>0|[1-9][0-9]*(?:_[0-9]+)*))\Z"
)
_BASES = {"hex": 16, "binary": 2, "prefixed": 10, "octal": 8, "decimal": 10}
_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\f": "\\f", "\v": "\\v", "\b": "\\b",
    "\a": "\\a", "\x1b": "\\e",
}  # fmt: skip


class AccessorError(ValueError):
    """A key that is no record accessor; the text is what fluentd says, `hint` what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_accessor(key: str) -> tuple[str | int, ...]:
    """The path that a key stands for: strings are names, integers list indexes. Raises AccessorError."""
    if key.startswith("$."):
        return _parse_dots(key)
    if key.startswith("$["):
        return _parse_brackets(key)
    return (key,)


def _parse_dots(key: str) -> tuple[str | int, ...]:
    parts = key[2:].split(".")
    while parts and not parts[-1]:
        parts.pop()
    path: list[str | int] = []
    for part in parts:
        path.extend(_parse_indexes(part, key) if "[" in part else [part])
    if not path:
        raise AccessorError("empty keys in dot notation", "name a key after `$.`, as in `$.a.b`")
    for name in path:
        if isinstance(name, str) and _WHITESPACE.search(name):
            raise AccessorError(
                f"whitespace character is not allowed in dot notation. Use bracket notation: {name}",
                "write `$['a b']['c']` instead of `$.a b.c`",
            )
    return tuple(path)


def _parse_indexes(part: str, key: str) -> list[str | int]:
    """`name[1][2]` → name, 1, 2. Text between two brackets is skipped, and so is a `[` at the very end."""
    name, _, rest = part.partition("[")
    path: list[str | int] = [name] if name else []
    while rest:
        path.append(_take_index(rest, key, key))
        rest = _skip_to_bracket(rest[rest.index("]") + 1 :], key)
    return path


def _parse_brackets(key: str) -> tuple[str | int, ...]:
    path: list[str | int] = []
    rest = _skip_to_bracket(key[1:], key)
    while rest:
        if rest[0] in "'\"":
            end = rest.find("']")
            if end < 0:
                end = rest.find('"]')
            if end < 0:
                raise AccessorError(f"Incomplete bracket. Invalid syntax: {key}", "close it as in `$['a']['b']`")
            if rest[0] != rest[end]:
                raise AccessorError(
                    f"Mismatched quotes. Invalid syntax: {key}", "use the same quote on both sides: `$['a']['b']`"
                )
            # A lone `']` (end is 0) is the name `]`: the slice then runs to the end of the text.
            path.append(rest[1:end] if end else rest[1:])
            rest = _skip_to_bracket(rest[end + 2 :], key)
        else:
            path.append(_take_index(rest, key, rest))
            rest = _skip_to_bracket(rest[rest.index("]") + 1 :], key)
    if not path:
        raise AccessorError("empty keys in bracket notation", "name a key in the brackets, as in `$['a']`")
    return tuple(path)


def _take_index(rest: str, key: str, shown: str) -> int:
    """The index up to the next `]`; an empty one takes the rest as its text, which only `]` itself says plainly."""
    end = rest.find("]")
    if end < 0:
        raise AccessorError(f"'[' found but ']' not found. Invalid syntax: {key}", "close the bracket with `]`")
    index = rest[:end] if end else rest
    if index == "]":
        raise AccessorError(
            f"missing array index in '[]'. Invalid syntax: {shown}", "give the element's number, counted from 0: `[0]`"
        )
    return parse_integer(index)


def _skip_to_bracket(rest: str, key: str) -> str:
    """What follows the next `[`, or nothing at the key's end."""
    if not rest:
        return ""
    _, bracket, after = rest.partition("[")
    if not bracket:
        raise AccessorError(
            f"found more characters after ']'. Invalid syntax: {key}",
            "after a bracket only another bracket may follow: `$['a']['b']`",
        )
    return after


def parse_integer(text: str) -> int:
    """What Ruby's Integer() makes of a text: base prefixes, a leading 0 for octal, underscores, blanks around."""
    stripped = text.strip(_RUBY_SPACE)
    found = _INTEGER.match(stripped)
    if not found:
        raise AccessorError(
            f"invalid value for Integer(): {quote_as_ruby(text)}",
            "an index is a whole number; for a key inside brackets write `$['a']['b']`",
        )
    base = found.lastgroup or "decimal"
    digits = found[base].replace("_", "")
    sign = -1 if found["sign"] == "-" else 1
    if len(digits) > 64 or not -_LARGEST_INDEX - 1 <= (index := sign * int(digits, _BASES[base])) <= _LARGEST_INDEX:
        raise AccessorError(f"the index {quote_as_ruby(text[:40])} is too large", "no list is as long")
    return max(-_LONGEST_LIST, min(index, _LONGEST_LIST))


def quote_as_ruby(text: str) -> str:
    """The text between double quotes, as Ruby's inspect shows it."""
    quoted = []
    for position, char in enumerate(text):
        if char == "#" and text[position + 1 : position + 2] in ("{", "$", "@"):
            quoted.append("\\#")
        elif char in _ESCAPES:
            quoted.append(_ESCAPES[char])
        elif char.isprintable():
            quoted.append(char)
        else:
            quoted.append(f"\\u{ord(char):04X}" if ord(char) < 0x10000 else f"\\u{{{ord(char):X}}}")
    return f'"{"".join(quoted)}"'
