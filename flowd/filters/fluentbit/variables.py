"""`${NAME}` in Fluent Bit's values, as Fluent Bit 5.1 puts the variables in, its quirks included."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

_LONGEST_NAME = 4096
_DEFAULT = ":-"


def substitute(text: str, variables: Mapping[str, str], tell_unset: Callable[[str], None]) -> str:
    """The text with its variables put in; `tell_unset` hears of those that are unset or empty.

    The search for the closing brace begins where the text begins that was not looked at yet, not at the `${`: a `{1}`
    before a variable ends the whole substitution, and what lies between two variables is lost where one is in it.
    """
    written: list[str] = []
    at = 0
    close = -1
    is_found = False
    while at < len(text):
        begin = text.find("${", at)
        if begin < 0:
            break
        close = text.find("}", at)
        length = close - (begin + 2)
        if close < 0 or not 0 < length < _LONGEST_NAME:
            break
        is_found = True
        written.append(text[at:begin])
        written.append(_look_up(text[begin + 2 : close], variables, tell_unset))
        at = close + 1
    if not is_found:
        return text
    if close >= 0:
        written.append(text[close + 1 :])
    return "".join(written)


def _look_up(name: str, variables: Mapping[str, str], tell_unset: Callable[[str], None]) -> str:
    name, separator, default = name.partition(_DEFAULT)
    value = variables.get(name, "")
    if not value and not separator:
        tell_unset(name)
    return value or default


def read_environment() -> dict[str, str]:
    """The environment as Fluent Bit sees it: the machine's name is always in it."""
    return {"HOSTNAME": os.uname().nodename, **os.environ}
