"""Plain words, the patterns that most filters hold, understood without the grammar of regular expressions.

Says of a word what `judge` says of it (a test compares them); exists because importing that grammar takes longer than
filtering a small file.
"""

from __future__ import annotations

import re

from flowd.patterns.model import CompiledPattern, Kind

# Letters, digits, `-` and `_` mean themselves in every engine; `^` and `$` are anchors at the ends only.
_WORD = re.compile(r"(\^?)([A-Za-z0-9_-]+)(\$?)", re.ASCII)
_KINDS: dict[tuple[bool, bool], Kind] = {
    (False, False): "contains",
    (True, False): "prefix",
    (False, True): "suffix",
    (True, True): "exact",
}
_LINEAR_FLAGS = 26  # dotall, one match is enough, empty matches allowed: as in `linear`


def compile_word(pattern: str) -> CompiledPattern | None:
    """The pattern, understood, if it is an anchored or free word; None where it is anything else."""
    found = _WORD.fullmatch(pattern)
    if found is None:
        return None
    start, word, end = found.groups()
    kind = _KINDS[bool(start), bool(end)]
    linear = ("\\A" if start else "") + word.replace("-", "\\x2d").replace("_", "\\x5f") + ("\\z" if end else "")
    reference = start + word.replace("-", "\\-") + end
    return CompiledPattern(
        kind, (word.encode(),), kind == "contains", linear.encode(), _LINEAR_FLAGS, reference.encode(), 0
    )
