"""The KEY of a Fluent Bit rule → the path into a record, as Fluent Bit 5.1's record accessor reads it.

Only its first part counts, and characters that it does not know are passed over: both are told as warnings.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# What ends the first part; of these only a dot may stand inside quotes.
_ENDS = frozenset(' ,"')
_TOKEN = re.compile(
    r"(?P<string>'(?:[^']|'')*')|(?P<name>[_A-Za-z][A-Za-z0-9_.\-/]*)|(?P<integer>0|[1-9][0-9]*)"
    r"|(?P<sign>[\[\]$.,;])|(?P<blank>[ \t\n])|(?P<unknown>.)",
    re.DOTALL,
)
_DIGITS = frozenset("0123456789")
_LARGEST_INDEX = 2**62  # no list is longer
NOWHERE: tuple[str | int, ...] = (0,)
"""A path that no record has: a record is a map, and this is a list's index."""


class AccessorError(ValueError):
    """A KEY that Fluent Bit refuses."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Accessor(NamedTuple):
    """What a KEY tests: its path, and what of it means nothing: `rest` behind the first part, and `skipped` characters.

    `is_reference` is a KEY that names the tag or a capture instead of a field: it never matches.
    """

    path: tuple[str | int, ...]
    rest: str = ""
    skipped: str = ""
    is_reference: bool = False


def parse_accessor(key: str) -> Accessor:
    """The accessor that a KEY stands for. Raises AccessorError."""
    text = key if key.startswith("$") else f"${key}"
    if text == "$":
        raise AccessorError("the key is a lone $: Fluent Bit crashes at start", "name a field, as in $dest_namespace")
    is_tag = text.startswith("$TAG")
    if is_tag or text[1] in _DIGITS:
        end = len("$TAG") if is_tag else 1
        _check_rest(text, end)
        return Accessor(NOWHERE, text[end:], is_reference=True)
    end = _find_end(text, 0)
    _check_rest(text, end)
    path, skipped = _read_path(text[1:end], text)
    return Accessor(path, text[end:], skipped)


def _find_end(text: str, start: int) -> int:
    is_quoted = False
    for at in range(start + 1, len(text)):
        char = text[at]
        if char == "'":
            is_quoted = not is_quoted
        elif char in _ENDS or (char == "." and not is_quoted):
            return at
    return len(text)


def _check_rest(text: str, end: int) -> None:
    """What follows the first part means nothing, but a `$` in it begins a part that must be well formed."""
    while (start := text.find("$", end + 1)) >= 0:
        end = _find_end(text, start)
        part = text[start + 1 : end]
        if part and part[0] not in _DIGITS and not part.startswith("TAG"):
            _read_path(part, text)


def _read_path(first: str, text: str) -> tuple[tuple[str | int, ...], str]:
    tokens = []
    skipped = []
    for found in _TOKEN.finditer(first):
        if found.lastgroup == "unknown":
            skipped.append(found[0])
        elif found.lastgroup != "blank":
            tokens.append((found.lastgroup, found[0]))
    if not tokens or tokens[0][0] != "name" or (len(tokens) - 1) % 3:
        raise _bad_accessor(text)
    path: list[str | int] = [tokens[0][1]]
    for at in range(1, len(tokens), 3):
        opening, (kind, inside), closing = tokens[at : at + 3]
        if opening[1] != "[" or closing[1] != "]" or kind not in ("string", "integer"):
            raise _bad_accessor(text)
        path.append(inside[1:-1].replace("''", "'") if kind == "string" else _read_index(inside))
    return tuple(path), "".join(skipped)


def _read_index(digits: str) -> int:
    return _LARGEST_INDEX if len(digits) > 18 else int(digits)


def _bad_accessor(text: str) -> AccessorError:
    return AccessorError(
        f"invalid record accessor? '{text}'", "write a field's name, or a path such as $a['b'][0] with single quotes"
    )
