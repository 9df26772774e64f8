"""`@include`: which files it names, in the order they are read, and the bounds on reading them.

Includes go through a URI in fluentd, so some characters of a path cannot stand there plainly. Nothing here asks the
network.
"""

from __future__ import annotations

import os
import re
from glob import glob

from flowd.filters.files import read_text_file
from flowd.filters.fluentd.accessor import quote_as_ruby
from flowd.filters.source import Report, Source

_DEEPEST_INCLUDE = 20
_MOST_INCLUDES = 2_000
_MOST_INCLUDED_CHARS = 16 * 2**20

_FORBIDDEN = re.compile(r"[^A-Za-z0-9\-._~:/@!$&'()*+,;=%?#]|%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")


class IncludeError(ValueError):
    """An `@include` that names no files on this machine."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def find_included(uri: str, base_dir: str) -> list[str]:
    """The paths that an `@include` stands for, sorted; none if nothing is there. Raises IncludeError."""
    from pathlib import PurePosixPath

    return sorted(str(PurePosixPath(found)) for found in glob(include_pattern(uri, base_dir), recursive=True))


def include_pattern(uri: str, base_dir: str) -> str:
    """The path, with wildcards, that an `@include` names. Raises IncludeError."""
    escaped = uri.replace(" ", "+")
    if wrong := _FORBIDDEN.search(escaped):
        shown = quote_as_ruby(escaped)
        message = f"bad URI(is not URI?): {shown}" if escaped.isascii() else f"URI must be ascii only {_dump(shown)}"
        raise IncludeError(message, f"{wrong[0]!r} cannot stand in an include's path; escape it as %XX")
    path = escaped
    if scheme := _SCHEME.match(escaped):
        if scheme[1].lower() != "file":
            raise IncludeError(
                f"include error {uri} - only files are included, not {scheme[1]}: addresses",
                "fetch the text yourself and include the file",
            )
        path = _path_of_file_uri(escaped[scheme.end() :])
    elif "?" in path or "#" in path:
        raise IncludeError(
            f"include error {uri} - No such file or directory",
            "`?` and `#` end a path here; escape them as %3F and %23",
        )
    from urllib.parse import unquote_plus

    path = unquote_plus(path)
    if "\0" in path:
        raise IncludeError(f"include error {uri} - the path holds a NUL", "remove %00 from the path")
    if not path:
        raise IncludeError(f"include error {uri} - Is a directory", "write the file's path: @include PATH")
    return path if path.startswith("/") else f"{base_dir}/{path}" if base_dir else path


def _dump(quoted: str) -> str:
    """A quoted text with what is beyond ASCII as escapes, as Ruby's dump shows it."""
    shown = ""
    for char in quoted:
        if char.isascii():
            shown += char
        else:
            shown += f"\\u{ord(char):04X}" if char <= "\uffff" else f"\\u{{{ord(char):X}}}"
    return shown


def _path_of_file_uri(rest: str) -> str:
    rest = re.split("[?#]", rest, maxsplit=1)[0]
    if rest.startswith("//"):
        _, slash, path = rest[2:].partition("/")
        return slash + path
    if not rest.startswith("/"):
        raise IncludeError(
            f"include error file:{rest} - a file: address has a whole path",
            "write file:///PATH, or the path alone, which may be relative",
        )
    return rest


class Reading:
    """What all files of one text share: the report, the running number of things, and what was included so far."""

    __slots__ = ("comparisons", "included_chars", "includes", "open_files", "order", "report")

    def __init__(self, report: Report, comparisons: bool = False) -> None:
        self.report = report
        self.comparisons = comparisons
        self.order = 0
        self.open_files: list[str] = []
        self.includes = 0
        self.included_chars = 0

    def next_order(self) -> int:
        """The next running number."""
        self.order += 1
        return self.order

    def open_include(self, uri: str, path: str) -> Source:
        """Read an included file and count it as open. Raises IncludeError or UnreadableText."""
        real_path = os.path.realpath(path)
        if real_path in self.open_files:
            raise IncludeError(f"{path} includes itself", "remove the @include that leads back")
        self.includes += 1
        if len(self.open_files) > _DEEPEST_INCLUDE or self.includes > _MOST_INCLUDES:
            raise IncludeError(f"too many includes at {path}", "put the text into fewer files")
        try:
            text = read_text_file(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise IncludeError(f"include error {uri} - {reason}", f"{path} must be a readable file") from None
        self.included_chars += len(text)
        if self.included_chars > _MOST_INCLUDED_CHARS:
            raise IncludeError(f"too much text is included at {path}", "include each file once")
        self.open_files.append(real_path)
        return Source(path, text)
