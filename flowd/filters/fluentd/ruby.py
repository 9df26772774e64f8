"""The few pieces of Ruby that may stand in a double-quoted value as `#{...}`.

Filters are read as data: nothing here evaluates code. Five forms are understood, all others are refused by name.
"""

from __future__ import annotations

import os
import re

from flowd.filters.fluentd.elements import Unset

_QUOTED = r"""(?:'(?P<{0}1>[^'\\]*)'|"(?P<{0}2>[^"\\#]*)")"""
_ENV = re.compile(rf"\s*ENV\s*\[\s*{_QUOTED.format('name')}\s*\]\s*\Z")
_FETCH = re.compile(rf"\s*ENV\.fetch\s*\(\s*{_QUOTED.format('name')}\s*,\s*{_QUOTED.format('default')}\s*\)\s*\Z")
# The understood forms are far shorter; the bound keeps unclosed code from being searched for over and over.
_LONGEST_CODE = 2_000
_CLOSERS = {"{": "}", "(": ")", "[": "]"}

FORMS = "ENV['X'], ENV.fetch('X', 'default'), hostname, worker_id, use_nil and use_default"


class UnknownCode(Exception):
    """Embedded code that is none of the understood forms."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def find_code_end(text: str, start: int) -> int | None:
    """The offset of the `}` that ends the embedded code beginning at `start`, or None if there is none.

    Brackets are counted and quoted strings skipped, which is enough for code that is then either one of the
    understood forms or named in an error.
    """
    expected = ["}"]
    position = start
    bound = min(len(text), start + _LONGEST_CODE)
    while position < bound:
        char = text[position]
        if char == expected[-1]:
            expected.pop()
            if not expected:
                return position
        elif char in _CLOSERS:
            expected.append(_CLOSERS[char])
        elif char in "'\"":
            position = _find_quote_end(text, position, bound)
        position += 1
    return None


def _find_quote_end(text: str, start: int, bound: int) -> int:
    position = start + 1
    while position < bound and text[position] != text[start]:
        position += 2 if text[position] == "\\" else 1
    return position


def evaluate(code: str) -> str | Unset:
    """What the code between `#{` and `}` stands for; an unset variable is the empty text. Raises UnknownCode."""
    match code.strip():
        case "hostname":
            return os.uname().nodename
        case "worker_id":
            return os.environ.get("SERVERENGINE_WORKER_ID", "")
        case "use_nil":
            return Unset.NIL
        case "use_default":
            return Unset.DEFAULT
    if found := _ENV.match(code):
        return os.environ.get(_either(found, "name"), "")
    if found := _FETCH.match(code):
        return os.environ.get(_either(found, "name"), _either(found, "default"))
    raise UnknownCode(code)


def _either(found: re.Match[str], name: str) -> str:
    single = found[f"{name}1"]
    return single if single is not None else found[f"{name}2"]
