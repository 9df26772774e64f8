"""Where filters come from: a file, a folder, a ConfigMap or a text → the filters for one stream.

Reads files and finds out the dialect; what the text says is the dialect's reader's business.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal

from flowd.errors import FilterError, Problem
from flowd.filters.files import UnreadableText, check_text, read_text_file
from flowd.filters.model import FilterText
from flowd.filters.source import Place, Source

if TYPE_CHECKING:
    from flowd.filters.fluentd import FluentdText

_REACHES_OUT = re.compile(r"^[ \t]*include\b|@include\b|#\{", re.MULTILINE | re.IGNORECASE)
_DIALECTS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")
_MANIFEST_DIALECTS = (None, "fluentd", "flowd", "fluentbit-configmap")


def read_path(
    path: str | os.PathLike[str], stream: str, dialect: str | None = None, skip_unsupported: bool = False
) -> FilterText:
    """The filters of a file, a folder with `flow` and `dns`, or a ConfigMap's manifest or mount.

    `dialect` None finds it out. Raises FileNotFoundError (and other OSErrors), or FilterError with every problem.
    """
    return open_path(path, dialect, skip_unsupported).resolve(stream)


def open_path(path: str | os.PathLike[str], dialect: str | None = None, skip_unsupported: bool = False) -> FluentdText:
    """What `read_path` reads, once for all streams: the files are not looked at again. Raises as `read_path` does."""
    _check_dialect(dialect)
    shown = os.fspath(path)
    try:
        if os.path.isdir(shown):
            from flowd.filters.configmap import read_folder

            texts = read_folder(shown)
            parts = [(text.source, shown) for text in texts]
            return _open_parts(parts, dialect, skip_unsupported, from_configmap=True)
        text = read_text_file(shown)
        base_dir = os.path.dirname(shown)
        if dialect in _MANIFEST_DIALECTS and not _begins_like_fluentd(text):
            from flowd.filters.configmap import find_configmap

            keys = find_configmap(text, shown)
            if keys is not None:
                parts = [(key.source, base_dir) for key in keys]
                return _open_parts(parts, dialect, skip_unsupported, from_configmap=True)
        return _open_parts([(Source(shown, text), base_dir)], dialect, skip_unsupported, from_configmap=False)
    except UnreadableText as error:
        raise FilterError([_as_problem(error)]) from None


def read_text(
    text: str, stream: str, dialect: str | None = "fluentd", origin: str = "<text>", skip_unsupported: bool = False
) -> FilterText:
    """The filters of a text; includes are relative to the working directory. Raises FilterError.

    With `dialect` None the text may be a ConfigMap's manifest.
    """
    return open_text(text, dialect, origin, skip_unsupported).resolve(stream)


def open_text(
    text: str, dialect: str | None = "fluentd", origin: str = "<text>", skip_unsupported: bool = False
) -> FluentdText:
    """What `read_text` reads, once for all streams. Raises FilterError."""
    _check_dialect(dialect)
    try:
        check_text(text, origin)
        if dialect is None and not _begins_like_fluentd(text):
            from flowd.filters.configmap import find_configmap

            keys = find_configmap(text, origin)
            if keys is not None:
                parts = [(key.source, "") for key in keys]
                return _open_parts(parts, dialect, skip_unsupported, from_configmap=True)
        return _open_parts([(Source(origin, text), "")], dialect, skip_unsupported, from_configmap=False)
    except UnreadableText as error:
        raise FilterError([_as_problem(error)]) from None


def open_foreign_text(text: str, dialect: str | None, origin: str) -> FluentdText:
    """A text that somebody else sent: as `open_text`, but it may read nothing of this machine, neither a file nor a
    variable. Raises FilterError."""
    found = _REACHES_OUT.search(text)
    if found is not None:
        place = Source(origin, text).place(found.start())
        hint = "send the whole text; without @include, and without #{"
        message = f"{found[0].strip()!r}: a filter that is sent cannot read files or variables of the daemon's machine"
        raise FilterError([Problem(place.file, place.line, place.column, message, hint, "reaches-out")])
    return open_text(text, dialect, origin)


def _begins_like_fluentd(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def _as_problem(error: UnreadableText) -> Problem:
    place = error.place
    return Problem(place.file, place.line, place.column, error.message, error.hint, "unreadable-text")


def _check_dialect(dialect: str | None) -> None:
    if dialect is not None and dialect not in _DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}: one of {', '.join(_DIALECTS)}, or None to find it out")


def _open_parts(
    parts: list[tuple[Source, str]], dialect: str | None, skip_unsupported: bool, *, from_configmap: bool
) -> FluentdText:
    """Read texts that together are one, each with the folder of its includes; all must be of one dialect."""
    problems = []
    for source, base_dir in parts:
        problem = _refuse_other_dialect(source, base_dir, dialect, from_configmap)
        if problem is not None:
            problems.append(problem)
    if problems:
        raise FilterError(problems)
    from flowd.filters.fluentd import FluentdText

    return FluentdText(parts, skip_unsupported=skip_unsupported, dialect=_as_fluentd(dialect))


def _as_fluentd(dialect: str | None) -> Literal["fluentd", "flowd"] | None:
    """The dialect to read a text of fluentd's grammar in; None finds out whether a section is of flowd's own type."""
    return "fluentd" if dialect == "fluentd" else "flowd" if dialect == "flowd" else None


def _refuse_other_dialect(source: Source, base_dir: str, dialect: str | None, from_configmap: bool) -> Problem | None:
    """A problem if a text is of a dialect that this flowd does not read."""
    if dialect in ("fluentd", "flowd") or (dialect is None and _begins_like_fluentd(source.text)):
        return None
    found = dialect
    if found is None:
        from flowd.filters.recognise import FLUENTBIT_CONFIGMAP, FLUENTBIT_YAML, recognise_dialect

        found = recognise_dialect(source.text, base_dir)
        if found == FLUENTBIT_YAML and from_configmap:
            found = FLUENTBIT_CONFIGMAP
    if found == "fluentd":
        return None
    place = source.place(0)
    if found is None:
        return _problem_at(
            place,
            "this text is of no dialect that flowd knows",
            'fluentd\'s filters begin with <filter TAG>; say which dialect it is with dialect="fluentd" (--dialect)',
        )
    return _problem_at(
        place,
        f"this is {_TITLES[found]} ({found}); this flowd reads the fluentd dialect only",
        "write the filter as <filter TAG> sections with @type grep",
    )


_TITLES = {
    "fluentbit-yaml": "a Fluent Bit list",
    "fluentbit-classic": "a classic Fluent Bit configuration",
    "fluentbit-configmap": "a Fluent Bit list in a ConfigMap",
    "flowd": "flowd's own dialect",
}


def _problem_at(place: Place, message: str, hint: str) -> Problem:
    return Problem(place.file, place.line, place.column, message, hint, "unsupported-dialect")
