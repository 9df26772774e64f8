"""What an `@include` names: a path or pattern relative to the including file → the files, in the order they are read.

Includes go through a URI in fluentd, so some characters of a path cannot stand there plainly. Nothing here reads a
file or asks the network.
"""

from __future__ import annotations

import re
from glob import glob
from pathlib import PurePosixPath
from urllib.parse import unquote_plus

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
    escaped = uri.replace(" ", "+")
    if wrong := _FORBIDDEN.search(escaped):
        raise IncludeError(
            f'bad URI(is not URI?): "{uri}"', f"{wrong[0]!r} cannot stand in an include's path; escape it as %XX"
        )
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
    path = unquote_plus(path)
    if "\0" in path:
        raise IncludeError(f"include error {uri} - the path holds a NUL", "remove %00 from the path")
    pattern = path if path.startswith("/") else f"{base_dir}/{path}" if base_dir else path
    return sorted(str(PurePosixPath(found)) for found in glob(pattern, recursive=True))


def _path_of_file_uri(rest: str) -> str:
    rest = re.split("[?#]", rest, maxsplit=1)[0]
    if rest.startswith("//"):
        _, slash, path = rest[2:].partition("/")
        return slash + path
    return rest
