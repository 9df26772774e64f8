"""Comments that silence a warning: `# flowd: ignore CODE`, for the line or the block that it stands at or above.

`# flowd: ignore-file CODE` holds for the whole file. What is an error cannot be silenced.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from flowd.errors import Problem
from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.lint.blocks import Blocks
from flowd.filters.lint.codes import CODES, PROBLEMS, WARNINGS
from flowd.filters.source import Source
from flowd.filters.suggest import suggest_name

_COMMENT = re.compile(r"(?:^|(?<=[ \t]))#[ \t]*flowd:[ \t]*(?P<verb>ignore-file|ignore)(?![\w-])(?P<rest>.*)")
_CODES = re.compile(r"[ \t:]*(?P<codes>[A-Za-z0-9-]+(?:[ \t]*,[ \t]*[A-Za-z0-9-]+)*)")
_ABOUT_COMMENTS = ("unused-ignore", "unknown-ignore")
# Whether these are told depends on more than the text and the options: the environment, other files, a sample.
_BY_CHANCE = frozenset(("idle-rule", "unset-variable", "missing-include", "unsupported-type", "rule-ended"))


@dataclass(slots=True)
class _Ignored:
    """One code of one comment (or none), and the lines of its file that it holds for, counted from 1."""

    place: tuple[str, int, int]
    code: str
    first: int
    last: int
    is_used: bool = False


def silence(
    warnings: Sequence[Problem],
    files: Iterable[str],
    *,
    elsewhere: Sequence[Problem] = (),
    is_complete: bool = True,
) -> list[Problem]:
    """The warnings that no comment silences, and what is wrong with comments of these files and the warnings' own.

    `elsewhere` are warnings that other options bring: a comment on one of them is of use. Where the text has errors
    (not `is_complete`), not everything was looked for, and no comment is called useless.
    """
    ignored: defaultdict[tuple[str, str], list[_Ignored]] = defaultdict(list)
    every: list[_Ignored] = []
    for file in dict.fromkeys((*files, *(warning.file for warning in warnings))):
        for comment in _read_comments(file):
            ignored[file, comment.code].append(comment)
            every.append(comment)
    left = [warning for warning in warnings if not _find_silencing(warning, ignored)]
    for warning in elsewhere:
        _find_silencing(warning, ignored)
    return [*left, *_judge_comments(every, is_complete)]


def _find_silencing(warning: Problem, ignored: dict[tuple[str, str], list[_Ignored]]) -> bool:
    is_silenced = False
    for comment in ignored.get((warning.file, warning.code), ()):
        if comment.first <= warning.line <= comment.last and warning.code not in _ABOUT_COMMENTS:
            comment.is_used = is_silenced = True
    return is_silenced


def _read_comments(file: str) -> list[_Ignored]:
    source = _find_source(file)
    if source is None or "flowd:" not in source.text:
        return []
    # As places count them: a form feed or U+2028 ends no line.
    lines = re.split(r"\r\n|\r|\n", source.text)
    blocks = Blocks(lines)
    found = []
    for at, line in enumerate(lines):
        comment = _COMMENT.search(line)
        if comment is None:
            continue
        first, last = 0, len(lines)
        if comment["verb"] == "ignore":
            first, last = blocks.find(_find_line(lines, at, comment.start()))
        codes = _CODES.match(comment["rest"])
        named = re.split(r"[ \t]*,[ \t]*", codes["codes"].lower()) if codes else [""]
        place = (file, source.first_line + at, source.indent + comment.start() + 1)
        found += [_Ignored(place, code, source.first_line + first, source.first_line + last) for code in named]
    return found


def _find_line(lines: list[str], at: int, column: int) -> int:
    """The line, from 0, that a comment is about: its own, or the next that holds something."""
    if lines[at][:column].strip():
        return at
    following = (k for k in range(at + 1, len(lines)) if lines[k].strip() and not lines[k].lstrip().startswith("#"))
    return next(following, at)


def _find_source(file: str) -> Source | None:
    """The text that a file's name in a warning stands for: a file, or a key of a manifest that is no block there."""
    try:
        return Source(file, read_text_file(file))
    except (UnreadableText, ValueError):
        return None
    except OSError:
        manifest, _, key = file.rpartition(":")
    if not manifest or not key:
        return None
    from flowd.filters.configmap import find_configmap

    try:
        keys = find_configmap(read_text_file(manifest), manifest) or []
    except (OSError, UnreadableText, ValueError):
        return None
    return next((found.source for found in keys if found.source.file == file), None)


def _judge_comments(ignored: Collection[_Ignored], is_complete: bool) -> Iterable[Problem]:
    for comment in ignored:
        code = comment.code
        if not code:
            hint = "name the codes behind it: # flowd: ignore unanchored-word"
            yield Problem(*comment.place, "this comment names no code, and silences nothing", hint, "unknown-ignore")
        elif code in PROBLEMS and code not in WARNINGS:
            message = f"{code} is an error, which no comment can silence"
            yield Problem(*comment.place, message, "mend what it is about, and remove the comment", "unknown-ignore")
        elif code not in CODES or code in _ABOUT_COMMENTS:
            suggested = suggest_name(code, WARNINGS)
            hint = f"did you mean {suggested}?" if suggested and suggested != code else "docs/lint.md lists the codes"
            yield Problem(
                *comment.place, f"no warning that can be silenced has the code {code}", hint, "unknown-ignore"
            )
        elif is_complete and not comment.is_used and code not in _BY_CHANCE:
            message = f"nothing here is warned of as {code}"
            yield Problem(*comment.place, message, "remove the comment", "unused-ignore")
