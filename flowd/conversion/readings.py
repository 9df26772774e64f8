"""Does a condition mean the same in another language? What is matched of a value differs from one to the next.

fluentd matches the text of any value, and nothing is the empty text. Fluent Bit matches strings only. flowd's own tests
look at the value, and nothing never fits. Where a field's values are known to be strings, all three agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowd.conversion.values import Kind, find_kind, show_path
from flowd.filters.lint.patterns import takes_nothing
from flowd.filters.model import WORD_TESTS, Condition, Reading
from flowd.filters.schema import ALWAYS_THERE, FIELDS_ADDED_LATER

_LANGUAGES = {"ruby": "fluentd", "string": "Fluent Bit", "value": "flowd"}
_UNKNOWN = {
    "cidr": "knows no networks",
    "number": "compares no numbers",
    "labels": "knows no label selectors",
    "exists": "cannot ask whether a field is there",
    "null": "cannot ask for null",
}


def find_difference(condition: Condition, reading: Reading, streams: Sequence[str]) -> str:
    """Why a condition would mean something else in another reading; nothing where it means the same.

    A field that flowd knows in none of the streams may hold anything; one that it knows in some is the same in others.
    """
    if condition.test in _UNKNOWN and reading != "value":
        return f"{_LANGUAGES[reading]}'s grep {_UNKNOWN[condition.test]}"
    if condition.reading == reading or isinstance(condition.path[0], int):  # such a field is in no line
        return ""
    field = show_path(condition.path)
    if "string" in (condition.reading, reading) and condition.path[0] in FIELDS_ADDED_LATER:
        return f"the collector adds {field}: fluentd's filters run before that, and Fluent Bit's behind it"
    kinds = {stream: find_kind(condition.path, stream) for stream in streams}
    for stream, kind in kinds.items():
        if reason := _find_difference_in(condition, reading, stream, kind):
            return reason
    if kinds and set(kinds.values()) == {"unknown"}:
        names = ", ".join(streams) if len(streams) < 4 else "any stream"
        return (
            f"flowd does not know what {field} is in {names}: where it is a number, a list or null, the rule means"
            f" something else in {_LANGUAGES[reading]}"
        )
    return ""


def _find_difference_in(condition: Condition, reading: Reading, stream: str, kind: Kind) -> str:
    field = show_path(condition.path)
    readings = (condition.reading, reading)
    if kind == "inside of a plain value":
        return f"{field} looks inside of a value that has no such parts in {stream}, which is an error in fluentd only"
    if kind in ("a number", "a list", "an object"):
        if "string" in readings:
            return f"{field} is {kind} in {stream}, and Fluent Bit's grep matches strings only"
        if kind != "a number":
            return f"{field} is {kind} in {stream}: flowd asks its elements, and fluentd the text of the whole"
    if _takes_nothing(condition, reading) and not _is_always_there(condition, stream):
        nothing = f"{field} can be null or missing in {stream}, and the pattern matches the empty text"
        return f"{nothing}: in fluentd null is the empty text, elsewhere it never matches"
    return ""


def find_presumed(condition: Condition, reading: Reading, streams: Sequence[str]) -> tuple[str, ...]:
    """The streams in which a condition that means the same does so only because every line has its field."""
    if condition.reading == reading or not _takes_nothing(condition, reading):
        return ()
    return tuple(stream for stream in streams if _is_always_there(condition, stream))


def _is_always_there(condition: Condition, stream: str) -> bool:
    return len(condition.path) == 1 and condition.path[0] in ALWAYS_THERE.get(stream, ())


def _takes_nothing(condition: Condition, reading: Reading) -> bool:
    """Would the empty text be matched where one of the two takes nothing for it?"""
    if "ruby" not in (condition.reading, reading):
        return False
    if condition.test in WORD_TESTS:
        return "" in condition.arguments
    return takes_nothing(condition)
