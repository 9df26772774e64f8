"""How rotated files are called: which names are those of files that had another name while they were written.

| written | rotated |
|---|---|
| `flows.log` | `flows.log.1`, `flows.log.20240101-120000`, `flows.log-20240101`, `flows.log.old` |
| | `flows-2024-01-01T00-00-00.000.log`, `flows-20240101.log`, `flows.1.log` |

Each may end in `.gz`. Names only: nothing here looks at files.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

GZIP_ENDING = ".gz"
OTHER_ENDINGS = (".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z")
"""Compressed in ways that are not read."""
DATE_DIGITS = 6
"""A stamp with so many digits is a date; with fewer it may be part of any name: `worker-2.log`."""
NUMBER_DIGITS = 5
"""A number of up to so many digits counts rotations: the larger, the older."""
FORMS_MAX = 8
"""Readings of one name: a date and a number, each with its separators, make six."""

_STAMP = re.compile(r"[0-9][0-9TZ:._+-]*", re.ASCII)
_SEPARATOR = re.compile(r"[._-](?=[0-9])", re.ASCII)
_EXTENSION = re.compile(r"(.+)(\.[A-Za-z][A-Za-z0-9]*)", re.ASCII)


class Form(NamedTuple):
    """A reading of a name as that of a rotated file: its `base` is the name it was written under.

    `number` counts rotations, 0 where the name has none. Only a strong form tells by itself; a weak one does where no
    glob wants the name as that of a file of its own.
    """

    base: str
    number: int
    is_strong: bool


@lru_cache(maxsize=8192)
def find_forms(name: str) -> tuple[Form, ...]:
    """The readings of a name as a rotated file's, the one with the longest stamp first."""
    name = name.removesuffix(GZIP_ENDING)
    if name.endswith(".old"):
        return (Form(name[: -len(".old")], 0, True),)
    forms = [
        Form(stem, number, digits >= DATE_DIGITS or separator == ".")
        for stem, separator, number, digits in _find_stamps(name)
    ]
    extension = _EXTENSION.fullmatch(name)
    if extension is not None:
        forms += [
            Form(stem + extension[2], number, digits >= DATE_DIGITS)
            for stem, _, number, digits in _find_stamps(extension[1])
        ]
    return tuple(forms[:FORMS_MAX])


def is_compressed(name: str) -> bool:
    """Whether a name says that the file is compressed, in whatever way."""
    return name.endswith((GZIP_ENDING, *OTHER_ENDINGS))


def _find_stamps(name: str) -> list[tuple[str, str, int, int]]:
    """What stands before each stamp that ends a name, its separator, its number, how many digits it has."""
    found = []
    for separator in _SEPARATOR.finditer(name):
        stamp = name[separator.end() :]
        if separator.start() and _STAMP.fullmatch(stamp):
            digits = sum(map(str.isdigit, stamp))
            number = int(stamp) if digits == len(stamp) <= NUMBER_DIGITS else 0
            found.append((name[: separator.start()], separator[0], number, digits))
    return found
