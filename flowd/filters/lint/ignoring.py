"""Comments that silence a warning: `# flowd: ignore CODE`, on the line, above it, or above a section for all of it.

`# flowd: ignore-file CODE` holds for the whole file. What is an error cannot be silenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flowd.errors import Problem
from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.lint.codes import CODES
from flowd.filters.suggest import suggest_name

_COMMENT = re.compile(r"#\s*flowd:\s*(?P<verb>ignore-file|ignore)\s+(?P<codes>[a-z0-9-]+(?:\s*,\s*[a-z0-9-]+)*)")
_OPENING = re.compile(r"\s*<(?P<name>[a-zA-Z0-9_]+)")
_NEVER_SILENCED = ("unused-ignore", "unknown-ignore")


@dataclass(slots=True)
class _Ignored:
    """One code of one comment: the lines it holds for, and whether it silenced anything."""

    file: str
    line: int
    column: int
    code: str
    first: int
    last: int
    is_used: bool = False


def silence(warnings: Sequence[Problem], files: Iterable[str]) -> list[Problem]:
    """The warnings that no comment silences, and what is wrong with comments of these files and the warnings' own."""
    ignored: list[_Ignored] = []
    for file in dict.fromkeys((*files, *(warning.file for warning in warnings))):
        ignored += _read_comments(file)
    left = [warning for warning in warnings if not _is_silenced(warning, ignored)]
    return [*left, *_judge_comments(ignored)]


def _is_silenced(warning: Problem, ignored: list[_Ignored]) -> bool:
    is_silenced = False
    for comment in ignored:
        is_here = comment.file == warning.file and comment.first <= warning.line <= comment.last
        if is_here and comment.code == warning.code and warning.code not in _NEVER_SILENCED:
            comment.is_used = is_silenced = True
    return is_silenced


def _read_comments(file: str) -> list[_Ignored]:
    try:
        lines = read_text_file(file).splitlines()
    except (OSError, UnreadableText, ValueError):
        return []  # a text that is no file of its own has no lines to look at
    found = []
    for at, line in enumerate(lines):
        comment = _COMMENT.search(line)
        if comment is None:
            continue
        if comment["verb"] == "ignore-file":
            first, last = 1, len(lines)
        elif line[: comment.start()].strip():
            first, last = _section_at(lines, at)
        else:
            following = next((k for k in range(at + 1, len(lines)) if _is_significant(lines[k])), at)
            first, last = _section_at(lines, following)
        codes = re.split(r"\s*,\s*", comment["codes"])
        found += [_Ignored(file, at + 1, comment.start() + 1, code, first, last) for code in codes]
    return found


def _is_significant(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def _section_at(lines: list[str], at: int) -> tuple[int, int]:
    """The lines, from 1, of the section that opens on this line, or the line alone."""
    opening = _OPENING.match(lines[at])
    if opening is None:
        return at + 1, at + 1
    depth = 0
    for k in range(at, len(lines)):
        depth += bool(_OPENING.match(lines[k])) - lines[k].strip().startswith("</")
        if depth == 0:
            return at + 1, k + 1
    return at + 1, len(lines)


def _judge_comments(ignored: list[_Ignored]) -> Iterable[Problem]:
    for comment in ignored:
        if comment.code not in CODES:
            suggested = suggest_name(comment.code, CODES)
            hint = f"did you mean {suggested}?" if suggested else "docs/lint.md lists the codes"
            message = f"no warning has the code {comment.code}"
            yield Problem(comment.file, comment.line, comment.column, message, hint, "unknown-ignore")
        elif not comment.is_used:
            message = f"nothing here is warned of as {comment.code}"
            yield Problem(comment.file, comment.line, comment.column, message, "remove the comment", "unused-ignore")
