"""The options that hold at a place of a pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal as OneOf


@dataclass(frozen=True, slots=True)
class Flags:
    """`mode`: under `d` (Ruby's default) `\\d \\w \\s` are ASCII but `\\b` and POSIX brackets are Unicode; under `a`
    all are ASCII, under `u` none is."""

    ignore_case: bool = False
    dotall: bool = False
    extended: bool = False
    mode: OneOf["d", "a", "u"] = "d"

    def changed(self, letter: str, off: bool) -> Flags | None:
        """The flags after one option letter; None if Ruby has no such option (or cannot switch it off)."""
        match letter:
            case "i":
                return replace(self, ignore_case=not off)
            case "m":
                return replace(self, dotall=not off)
            case "x":
                return replace(self, extended=not off)
            case "a" | "d" | "u" if not off:
                return replace(self, mode=letter)
            case _:
                return None
