"""The values of flowd's own parameters: lists, networks, numbers, truth, times and shares.

Each function takes the text of a parameter and raises ValueProblem where it is not what it should be.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_LONGEST_NUMBER = 1000
_SHARE = re.compile(r"1\s*/\s*([0-9]+)\Z")
_MOST_OF_SHARE = 10**9
_TRUTHS = {"true": True, "yes": True, "on": True, "": True, "false": False, "no": False, "off": False}
_YEAR_OF_THE_END = 2262  # nanoseconds since 1970 fit into 64 bits until then
_SEPARATORS = re.compile(r"[\s,]+")


class ValueProblem(ValueError):
    """A value that a parameter cannot take."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def read_words(text: str) -> tuple[str, ...]:
    """`a, b c` → a, b, c; a JSON list where words hold blanks or commas."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueProblem(f"{text[:80]} is no list of texts", 'write a, b or ["a", "b"]')
    else:
        words = [word for word in _SEPARATORS.split(text) if word]
    if not words:
        raise ValueProblem("the list is empty", "write at least one word: a, b")
    return tuple(dict.fromkeys(words))


def read_networks(text: str) -> tuple[str, ...]:
    """Networks and single addresses, IPv4 and IPv6, as Python's ipaddress writes them."""
    networks = []
    for word in read_words(text):
        if "%" in word:
            raise ValueProblem(
                f"{word!r} names an interface", f"addresses in the logs have none: write {word.partition('%')[0]}"
            )
        try:
            network = ip_network(word)
        except ValueError as error:
            hint = "write networks as 10.0.0.0/8 or fd00::/8, single addresses as they are"
            with suppress(ValueError):
                hint = f"the bits behind the prefix must be 0: write {ip_network(word, strict=False)}"
            raise ValueProblem(f"{word!r} is no network: {error}", hint) from None
        networks.append(str(network))
    return tuple(networks)


def read_number(text: str) -> str:
    """A number's own text."""
    if len(text) > _LONGEST_NUMBER or not _NUMBER.match(text):
        raise ValueProblem(f"{text[:80]!r} is no number", "write it as 1024, -1, 0.5 or 1e6")
    return text


def read_range(text: str) -> tuple[str, str]:
    """`between`: the lowest and the highest number that fit."""
    words = [word for word in _SEPARATORS.split(text) if word]
    if len(words) == 3 and words[1] == "and":
        del words[1]
    if len(words) != 2:
        raise ValueProblem(f"{text[:80]!r} is no range", "write two numbers: between 1024 65535")
    lowest, highest = map(read_number, words)
    if float(lowest) > float(highest):
        raise ValueProblem(f"nothing lies between {lowest} and {highest}", "write the smaller number first")
    return lowest, highest


def read_truth(text: str) -> bool:
    """`true`, `yes`, `on` or nothing; `false`, `no`, `off`."""
    truth = _TRUTHS.get(text.lower())
    if truth is None:
        raise ValueProblem(f"{text[:80]!r} is neither true nor false", "write true or false")
    return truth


def read_time(text: str) -> int:
    """A date or a time (RFC 3339) in nanoseconds since 1970; without a zone it is UTC."""
    hint = "write 2026-12-01, 2026-12-01T18:00Z or 2026-12-01T18:00+01:00"
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueProblem(f"{text[:80]!r} is no time", hint) from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    if not 1970 <= time.year < _YEAR_OF_THE_END:
        raise ValueProblem(f"{text!r} lies outside of the years 1970 to {_YEAR_OF_THE_END - 1}", hint)
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    if since.days < 0:
        raise ValueProblem(f"{text!r} lies before 1970", hint)
    # 0 stands for no end.
    return max(1, (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000)


def read_share(text: str) -> int:
    """`1/N` → N."""
    found = _SHARE.match(text)
    if not found or not 0 < int(found[1]) <= _MOST_OF_SHARE:
        raise ValueProblem(f"{text[:80]!r} is no share", "write 1/100 to keep one line in a hundred")
    return int(found[1])
