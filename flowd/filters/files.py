"""Filter files on disk: read whole, bounded, and as UTF-8."""

from __future__ import annotations

import os
import stat

from flowd.filters.source import Place, Source

# Ten thousand sections are about 1 MiB; a log file given by mistake should be refused, not read.
LARGEST_TEXT_BYTES = 16 * 2**20


class UnreadableText(ValueError):
    """A file that is there and holds no filter text."""

    def __init__(self, place: Place, message: str, hint: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message
        self.hint = hint


def read_text_file(path: str) -> str:
    """The text of a file, line ends as they are. Raises OSError, or UnreadableText with the place."""
    start = Place(path, 1, 1)
    # Without O_NONBLOCK opening a pipe that nobody writes to would wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, os.strerror(21), path)
        if not stat.S_ISREG(mode):
            raise UnreadableText(start, f"{path} is no regular file", "give a file, a folder or a manifest")
        content = file.read(LARGEST_TEXT_BYTES + 1)
    if len(content) > LARGEST_TEXT_BYTES:
        raise UnreadableText(
            start,
            f"{path} is larger than {LARGEST_TEXT_BYTES // 2**20} MiB",
            "a filter text is far smaller; was a log file given?",
        )
    return decode_text(content, path)


def decode_text(content: bytes, file: str) -> str:
    """The text of a file's bytes. Raises UnreadableText at the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        raise UnreadableText(
            Source(file, before).place(len(before)),
            f"not UTF-8: byte 0x{content[error.start]:02x} cannot stand here",
            "save the file as UTF-8",
        ) from None


def check_text(text: str, file: str) -> None:
    """Refuse a str that cannot be written as UTF-8 (lone surrogates). Raises UnreadableText."""
    if len(text) > LARGEST_TEXT_BYTES:
        raise UnreadableText(
            Place(file, 1, 1),
            f"the text is larger than {LARGEST_TEXT_BYTES // 2**20} MiB",
            "a filter text is far smaller",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableText(
            Source(file, text).place(error.start), "not UTF-8: a lone surrogate stands here", "decode the text as UTF-8"
        ) from None
