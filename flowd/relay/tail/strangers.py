"""What a file is that nobody knows by its device and inode: new, a copy, or where a known file goes on.

A file goes on elsewhere when it was copied before it was truncated, compressed after it was rotated away, or when its
file system got another number. Only content tells: the fingerprints of the files that are gone, and the bytes of those
that are there. Nothing here changes a file's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

from flowd.relay.tail.content import Content, GzipContent
from flowd.relay.tail.file import Sighting, TailFile
from flowd.relay.tail.identity import HEAD_BYTES, TAIL_BYTES
from flowd.relay.tail.names import GZIP_ENDING


class Kind(Enum):
    """What a stranger is."""

    NEW = "new"
    CONTINUES = "continues"
    READ = "read"
    LATER = "later"


class Judgement(NamedTuple):
    """NEW: to be read from its start. CONTINUES: `of` goes on in it. READ: it holds only what was read of `of`.
    LATER: not to be judged yet: it is a copy of the beginning of `of`; without one, it is not written to its end."""

    kind: Kind
    of: TailFile | None = None


def judge(
    seen: Sighting,
    content: Content,
    gone: Iterable[TailFile],
    present: Iterable[TailFile],
    copied: TailFile | None,
    use: Callable[[TailFile], Content],
) -> Judgement:
    """Judges a stranger by the files of the same base: those that are `gone` and those `present`.

    `copied` is the file that it was found to be a copy of before. Raises OSError, where the stranger cannot be read.
    """
    gzip = content if isinstance(content, GzipContent) else None
    head = content.read_at(0, HEAD_BYTES)
    for file in sorted(gone, key=lambda file: file.offset, reverse=True):
        if _is_unpacked(seen, file):
            return Judgement(Kind.READ, file)
        if _is_renumbered(seen, file):
            return Judgement(Kind.CONTINUES, file)
        if not _may_continue(seen, file) or not file.fingerprint.has_head(head):
            continue
        if gzip is not None and not _is_whole(gzip):
            return Judgement(Kind.LATER)
        if file.fingerprint.matches(content.read_at):
            return Judgement(Kind.CONTINUES, file)
    if not seen.is_rotated:
        return Judgement(Kind.NEW)  # a file that is written now is never a copy
    if copied is not None and copied.is_gone and gzip is None and seen.stamp.size <= copied.offset:
        return Judgement(Kind.READ, copied)
    for file in present:
        judgement = _compare(seen, content, head, file, use)
        if judgement is not None:
            return judgement
    return Judgement(Kind.NEW)


def _is_unpacked(seen: Sighting, file: TailFile) -> bool:
    """Whether somebody decompressed a file of which nothing was wanted: that keeps the time of change."""
    rested = file.rested
    return (
        rested is not None
        and file.is_gzip
        and not seen.is_gzip
        and file.path == seen.path + GZIP_ENDING
        and rested.time_ns == seen.stamp.time_ns
    )


def _is_renumbered(seen: Sighting, file: TailFile) -> bool:
    """Whether it is the same file, of which nothing was wanted, on a device whose number has changed."""
    return file.rested == seen.stamp and file.id.inode == seen.id.inode and file.is_gzip == seen.is_gzip


def _may_continue(seen: Sighting, file: TailFile) -> bool:
    """Whether content may decide: programs begin each file of theirs with the same few words, so that a file that is
    written now needs more of it than one that was rotated away."""
    return seen.is_rotated or file.offset >= HEAD_BYTES or file.id.inode == seen.id.inode


def _is_whole(gzip: GzipContent) -> bool:
    """Whether a compressed file is written to its end; one that is damaged will not become more."""
    gzip.measure()
    return gzip.is_ended


def _compare(
    seen: Sighting, content: Content, head: bytes, file: TailFile, use: Callable[[TailFile], Content]
) -> Judgement | None:
    """Whether a rotated stranger holds the beginning of a file that is there, or all that a compressed one holds."""
    if file.is_gzip and (seen.is_gzip or file.path != seen.path + GZIP_ENDING):
        return None
    if not (seen.is_gzip or file.is_gzip) and seen.stamp.size > file.stamp.size:
        return None
    if file.offset >= HEAD_BYTES <= len(head) and not file.fingerprint.has_head(head):
        return None
    try:
        other = use(file)
        if other.read_at(0, len(head)) != head:
            return None
        size = seen.stamp.size
        if isinstance(content, GzipContent):
            size = content.measure()
            if not content.is_ended:
                return Judgement(Kind.LATER)
        begin = max(0, size - TAIL_BYTES)
        if content.read_at(begin, TAIL_BYTES) != other.read_at(begin, size - begin):
            return None
    except OSError:
        return None
    return Judgement(Kind.READ if file.is_gzip else Kind.LATER, file)
