"""Where the tests of a tests file and their keys stand: tomllib does not say, and a problem without its place helps
nobody."""

from __future__ import annotations

import re
from typing import NamedTuple

_TABLE = re.compile(r"\s*(?P<open>\[\[?)\s*(?P<name>[^\]]+?)\s*\]\]?\s*(#.*)?$")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*(?P<name>{_PART})(?:\s*\.\s*{_PART})*\s*=\s*(?P<value>.*)")
_LONG = ('"""', "'''")
FILE = -1
"""The number of the table that has the file's own keys."""


class Places(NamedTuple):
    """The lines, from 1, of tables and of their keys, by the test's number from 0; FILE is the file's own table."""

    tables: dict[int, int]
    keys: dict[tuple[int, str], int]

    def find(self, test: int, key: str = "") -> int:
        """The line of a key of a test; of the test where the key is not found as such, and 1 where neither is."""
        return self.keys.get((test, key), self.tables.get(test, 1))


def find_places(text: str) -> Places:
    """The places in a text that is TOML. What stands inside of texts over several lines is no key."""
    tables: dict[int, int] = {}
    keys: dict[tuple[int, str], int] = {}
    test = FILE
    inside = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if inside:
            inside = "" if inside in line else inside
            continue
        table = _TABLE.match(line)
        if table is not None:
            name = _bare(table["name"])
            if table["open"] == "[[":
                if name == "test":
                    test += 1
                    tables[test] = number
                else:
                    keys.setdefault((FILE, name), number)
            elif name.startswith("test."):  # a table inside of the test before it
                keys.setdefault((test, _bare(name.removeprefix("test.").partition(".")[0])), number)
            else:
                keys.setdefault((FILE, name.partition(".")[0]), number)
            continue
        key = _KEY.match(line)
        if key is None:
            continue
        keys.setdefault((test, _bare(key["name"])), number)
        for quotes in _LONG:
            if key["value"].count(quotes) % 2:
                inside = quotes
    return Places(tables, keys)


def _bare(name: str) -> str:
    return name.strip().strip("\"'")
