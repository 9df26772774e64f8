"""Where filters come from: a file, a folder, a ConfigMap or a text → the filters for one stream.

Reads files and finds out the dialect; what the text says is the dialect's reader's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from flowd.errors import FilterError, Problem
from flowd.filters.files import UnreadableText, check_text, read_text_file
from flowd.filters.model import FilterText
from flowd.filters.source import Source

if TYPE_CHECKING:
    from flowd.filters.mixed import OpenText

_REACHES_OUT = re.compile(r"^[ \t]*include\b|@include\b|#\{", re.MULTILINE | re.IGNORECASE)
_FLUENT_BITS_CONFIGMAP = "fluent-bit-filters"
_DIALECTS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")
_MANIFEST_DIALECTS = (None, "fluentd", "flowd", "fluentbit-configmap")


def read_path(
    path: str | os.PathLike[str], stream: str, dialect: str | None = None, skip_unsupported: bool = False
) -> FilterText:
    """The filters of a file, a folder with `flow` and `dns`, or a ConfigMap's manifest or mount.

    `dialect` None finds it out. Raises FileNotFoundError (and other OSErrors), or FilterError with every problem.
    """
    return open_path(path, dialect, skip_unsupported).resolve(stream)


class _Part(NamedTuple):
    """A text, the folder of its includes, the name of the key or file that it stands in, and its ConfigMap's name."""

    source: Source
    base_dir: str
    name: str
    configmap: str = ""


def open_path(path: str | os.PathLike[str], dialect: str | None = None, skip_unsupported: bool = False) -> OpenText:
    """What `read_path` reads, once for all streams: the files are not looked at again. Raises as `read_path` does."""
    _check_dialect(dialect)
    shown = os.fsdecode(path)
    try:
        if os.path.isdir(shown):
            from flowd.filters.configmap import read_folder

            parts = [_Part(text.source, shown, text.key) for text in read_folder(shown)]
            return _open_parts(parts, dialect, skip_unsupported, from_configmap=True)
        text = read_text_file(shown)
        base_dir = os.path.dirname(shown)
        keys = _find_keys(text, shown, base_dir, dialect)
        if keys is not None:
            return _open_parts(keys, dialect, skip_unsupported, from_configmap=True)
        part = _Part(Source(shown, text), base_dir, os.path.basename(shown))
        return _open_parts([part], dialect, skip_unsupported, from_configmap=False)
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
) -> OpenText:
    """What `read_text` reads, once for all streams. Raises FilterError."""
    return _open_text(text, dialect, origin, skip_unsupported, is_foreign=False)


def open_foreign_text(text: str, dialect: str | None, origin: str) -> OpenText:
    """A text that somebody else sent: as `open_text`, but it may read nothing of this machine, neither a file nor a
    variable. Raises FilterError."""
    return _open_text(text, dialect, origin, skip_unsupported=False, is_foreign=True)


def _open_text(text: str, dialect: str | None, origin: str, skip_unsupported: bool, *, is_foreign: bool) -> OpenText:
    _check_dialect(dialect)
    try:
        check_text(text, origin)
        if dialect is None:
            keys = _find_keys(text, origin, "", dialect)
            if keys is not None:
                return _open_parts(keys, dialect, skip_unsupported, from_configmap=True, is_foreign=is_foreign)
        part = _Part(Source(origin, text), "", os.path.basename(origin))
        return _open_parts([part], dialect, skip_unsupported, from_configmap=False, is_foreign=is_foreign)
    except UnreadableText as error:
        raise FilterError([_as_problem(error)]) from None


def _check_foreign(parts: Sequence[_Part]) -> None:
    """Refuses texts that name files, before any of them is looked for. What hides in YAML's escapes is refused by the
    reader of Fluent Bit's texts itself. Raises FilterError."""
    problems = []
    for part in parts:
        found = _REACHES_OUT.search(part.source.text)
        if found is not None:
            place = part.source.place(found.start())
            hint = "send the whole text; without @include, and without #{ or ${"
            message = (
                f"{found[0].strip()!r}: a filter that is sent cannot read files or variables of the daemon's machine"
            )
            problems.append(Problem(place.file, place.line, place.column, message, hint, "reaches-out"))
    if problems:
        raise FilterError(problems)


def _begins_like_fluentd(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("<")


def _as_problem(error: UnreadableText) -> Problem:
    place = error.place
    return Problem(place.file, place.line, place.column, error.message, error.hint, "unreadable-text")


def _check_dialect(dialect: str | None) -> None:
    if dialect is not None and dialect not in _DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}: one of {', '.join(_DIALECTS)}, or None to find it out")


def _find_keys(text: str, file: str, base_dir: str, dialect: str | None) -> list[_Part] | None:
    """The texts of a ConfigMap's manifest; None where the text is none. Raises UnreadableText."""
    if dialect not in _MANIFEST_DIALECTS or _begins_like_fluentd(text):
        return None
    from flowd.filters.configmap import find_configmap

    keys = find_configmap(text, file)
    return None if keys is None else [_Part(key.source, base_dir, key.key, key.configmap) for key in keys]


def _open_parts(
    parts: Sequence[_Part],
    dialect: str | None,
    skip_unsupported: bool,
    *,
    from_configmap: bool,
    is_foreign: bool = False,
) -> OpenText:
    """Read texts, each in its dialect; those of fluentd's grammar are one text, whatever stands between them."""
    from flowd.filters.fluentd.text import FluentdText

    if is_foreign:
        _check_foreign(parts)
    found = [dialect or _find_dialect(part, from_configmap) for part in parts]
    unknown = [_report_unknown(part) for part, name in zip(parts, found, strict=True) if name is None]
    if unknown:
        raise FilterError(unknown)
    opened: list[OpenText] = []
    of_fluentd = [part for part, name in zip(parts, found, strict=True) if name in ("fluentd", "flowd")]
    for part, name in zip(parts, found, strict=True):
        if name not in ("fluentd", "flowd"):
            from flowd.filters.fluentbit.text import FluentBitText

            opened.append(
                FluentBitText(
                    part.source,
                    part.base_dir,
                    name,  # type: ignore[arg-type]
                    name=part.name,
                    skip_unsupported=skip_unsupported,
                    is_foreign=is_foreign,
                )
            )
        elif part is of_fluentd[0]:
            sources = [(other.source, other.base_dir) for other in of_fluentd]
            opened.append(
                FluentdText(
                    sources,
                    skip_unsupported=skip_unsupported,
                    dialect=_as_fluentd(dialect),
                    notes=[_warn_leftover(part) for part in of_fluentd if part.configmap == _FLUENT_BITS_CONFIGMAP],
                )
            )
    if len(opened) == 1:
        return opened[0]
    from flowd.filters.mixed import MixedText

    return MixedText(opened)


def _as_fluentd(dialect: str | None) -> Literal["fluentd", "flowd"] | None:
    """The dialect to read a text of fluentd's grammar in; None finds out whether a section is of flowd's own type."""
    return "fluentd" if dialect == "fluentd" else "flowd" if dialect == "flowd" else None


def _find_dialect(part: _Part, from_configmap: bool) -> str | None:
    """The dialect of a text, by its first significant line; None where it is of none."""
    if _begins_like_fluentd(part.source.text):
        return "fluentd"
    from flowd.filters.recognise import FLUENTBIT_CONFIGMAP, FLUENTBIT_YAML, recognise_dialect

    found = recognise_dialect(part.source.text, part.base_dir)
    return FLUENTBIT_CONFIGMAP if found == FLUENTBIT_YAML and from_configmap else found


def _warn_leftover(part: _Part) -> Problem:
    """fluentd's text in the ConfigMap that Calico's operator reads for Fluent Bit."""
    place = part.source.place(0)
    return Problem(
        place.file,
        place.line,
        place.column,
        f"the key {part.name} of {part.configmap} holds a fluentd text: Calico's operator skips it, and all logs flow"
        " unfiltered",
        "write it for Fluent Bit: flowd convert --to fluentbit-configmap",
        "leftover-fluentd",
    )


def _report_unknown(part: _Part) -> Problem:
    place = part.source.place(0)
    return Problem(
        place.file,
        place.line,
        place.column,
        "this text is of no dialect that flowd knows",
        "fluentd's filters begin with <filter TAG>, Fluent Bit's are a list: - name: grep; say which it is meant to be"
        ' with dialect="fluentd" (--dialect)',
        "unsupported-dialect",
    )
