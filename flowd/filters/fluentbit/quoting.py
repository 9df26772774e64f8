"""A bare list of filters, put where it belongs in a whole configuration, so that it is read as Fluent Bit reads it.

Only text and offsets; nothing here parses YAML.
"""

from __future__ import annotations

import re
from bisect import bisect_right

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what libyaml takes for one
_BEFORE = "pipeline:\n  filters:\n"
_INDENT = "    "
_BOM = "\ufeff"


class QuotedList:
    """`text` is the list below `pipeline:` and `filters:`, each of its lines indented."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        parts = [_BEFORE]
        self._starts = [0]  # of the lines, in the new text and in the old one
        self._old_starts = [0]
        length = len(_BEFORE)
        at = len(_BOM) if text.startswith(_BOM) else 0
        while at < len(text):
            found = _LINE_END.search(text, at)
            end = found.end() if found else len(text)
            line = text[at:end]
            indent = _INDENT if line.strip("\r\n\x85\u2028\u2029") else ""
            self._starts.append(length + len(indent))
            self._old_starts.append(at)
            parts += [indent, line]
            length += len(indent) + len(line)
            at = end
        self.text = "".join(parts)

    def original_offset(self, offset: int) -> int:
        """Where a character of the new text stands in the list."""
        if offset < len(_BEFORE):
            return 0
        row = bisect_right(self._starts, offset) - 1
        next_start = self._old_starts[row + 1] if row + 1 < len(self._old_starts) else self._length
        return min(self._old_starts[row] + offset - self._starts[row], next_start) if row else 0
