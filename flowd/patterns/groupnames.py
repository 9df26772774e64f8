"""Names and numbers of groups, as they are written between `<` and `>`, quotes or parentheses."""

from __future__ import annotations

from dataclasses import dataclass

from flowd.patterns.model import PatternError
from flowd.patterns.scan import Scanner

_CLOSERS = {"<": ">", "'": "'", "(": ")"}
_NUMBER_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Name:
    """What was written: `number` is 0 for a name, negative for a group counted backwards."""

    text: str
    number: int = 0
    level: int | None = None


def read_name(scanner: Scanner, opener: str, *, numbers: bool) -> Name:
    """A group's name after its opener, with the closer; `numbers` says that a number is taken too."""
    closer = _CLOSERS[opener]
    start = scanner.position
    if scanner.at_end or scanner.peek() == closer:
        raise scanner.error("group name is empty", start, "name it, as in (?<name>...)")
    first = scanner.take()
    digits = first if _is_digit(first) else ""
    is_number = numbers and (bool(digits) or first == "-")
    bad = not numbers and (bool(digits) or first == "-")
    last = ""
    end = len(scanner.text)
    while not scanner.at_end:
        position = scanner.position
        last = scanner.take()
        if last == closer or last == ")":
            end = position
            break
        if is_number and not _is_digit(last):
            bad = True
            kind = "name" if last.isalnum() or last == "_" else "char in group name"
            raise _bad_name(scanner, start, _find_end(scanner, closer), kind)
    if bad:
        raise _bad_name(scanner, start, end)
    if last != closer:
        raise _bad_name(scanner, start, len(scanner.text))
    text = scanner.text[start:end]
    if not is_number:
        return Name(text)
    if text == "-" or int(text) == 0:
        raise _bad_name(scanner, start, end)
    return Name(text, _bounded(scanner, text, start))


def read_reference(scanner: Scanner, opener: str) -> Name:
    """A group's name or number with, perhaps, a level of recursion: `n`, `n+1`, `-2`."""
    closer = _CLOSERS[opener]
    start = scanner.position
    if scanner.at_end or scanner.peek() == closer:
        raise scanner.error("group name is empty", start, "name the group that is meant, as in \\k<name>")
    first = scanner.take()
    is_number = _is_digit(first) or first == "-"
    bad = False
    last = ""
    end = len(scanner.text)
    while not scanner.at_end:
        position = scanner.position
        last = scanner.take()
        if last == closer or last in ")+-":
            end = position
            bad = bad or (first == "-" and end == start + 1)
            break
        if is_number and not _is_digit(last):
            bad, is_number = True, False
    if bad:
        raise _bad_name(scanner, start, end)
    level: int | None = None
    if last != closer:
        number, after = scanner.number_at(scanner.position)
        if last not in ("+", "-") or after == scanner.position or scanner.text[after : after + 1] != closer:
            raise _bad_name(scanner, start, len(scanner.text))
        level = -number if last == "-" else number
        scanner.position = after + 1
    text = scanner.text[start:end]
    if not is_number:
        return Name(text, level=level)
    number = _bounded(scanner, text, start)
    if number == 0:
        raise _bad_name(scanner, start, len(scanner.text))
    return Name(text, number, level)


def _is_digit(char: str) -> bool:
    return char in "0123456789"


def _bounded(scanner: Scanner, text: str, start: int) -> int:
    if abs(int(text[:14])) > _NUMBER_LIMIT:
        raise scanner.error("too big number", start, f"numbers here end at {_NUMBER_LIMIT}")
    return int(text)


def _find_end(scanner: Scanner, closer: str) -> int:
    while not scanner.at_end:
        position = scanner.position
        char = scanner.take()
        if char == closer or char == ")":
            return position
    return len(scanner.text)


def _bad_name(scanner: Scanner, start: int, end: int, what: str = "name") -> PatternError:
    message = "invalid group name" if what == "name" else "invalid char in group name"
    return scanner.error(
        f"{message} <{scanner.text[start:end]}>", start, "a name begins with a letter and ends at its >"
    )
