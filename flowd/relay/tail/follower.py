"""One path that is followed: the file that is written there, and those that were rotated away from it."""

from __future__ import annotations

from collections.abc import Iterable

from flowd.relay.tail.file import TailFile


class Follower:
    """Says which of its files is to be read next: those that were rotated away first, the oldest of them first.

    A file that was rotated away and read to its end does not keep the next one waiting while it is watched for more.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.rotated: list[TailFile] = []
        self.current: TailFile | None = None

    def add(self, file: TailFile) -> None:
        """Adds a file, in any order."""
        if file.is_rotated or file.is_missing or self.current is not None:
            self.rotated.append(file)
        else:
            self.current = file

    def choose(self, now_s: float) -> TailFile | None:
        """The file to read from; None where there is nothing to read."""
        more = [file for file in self.rotated if file.has_more(now_s)]
        if more:
            return min(more, key=lambda file: file.order)
        if self.current is not None and self.current.has_more(now_s):
            return self.current
        return None


def group_files(files: Iterable[TailFile]) -> dict[str, Follower]:
    """The followed paths, with their files."""
    followers: dict[str, Follower] = {}
    for file in files:
        if file.base not in followers:
            followers[file.base] = Follower(file.base)
        followers[file.base].add(file)
    return followers
