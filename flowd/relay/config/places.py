"""Where a key stands in a TOML text: tomllib does not say, and a problem without its place helps nobody."""

from __future__ import annotations

import re

_TABLE = re.compile(r"\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]\]?\s*(#.*)?$")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEY = re.compile(rf"\s*(?P<name>{_PART}(?:\s*\.\s*{_PART})*)\s*=")


def find_key(text: str, key: str) -> tuple[int, int]:
    """The line and column, from 1, of a dotted key or table; of the nearest table around it where it is not found as
    such (it stands in an inline table), and 1, 1 where there is none."""
    table = ""
    best, best_length = (1, 1), -1
    for number, line in enumerate(text.splitlines(), start=1):
        header = _TABLE.match(line)
        if header is not None:
            table = found = _normal(header["name"])
        else:
            assignment = _KEY.match(line)
            if assignment is None:
                continue
            found = ".".join(part for part in (table, _normal(assignment["name"])) if part)
        if found == key:
            return number, line.index(line.lstrip()) + 1 if line.strip() else 1
        if key.startswith(found + ".") and len(found) > best_length:
            best, best_length = (number, 1), len(found)
        elif found.startswith(key + ".") and best_length < 0:
            best, best_length = (number, 1), 0
    return best


def _normal(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
