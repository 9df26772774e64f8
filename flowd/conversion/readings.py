"""Does a condition mean the same in another language? What is matched of a value differs from one to the next.

fluentd matches the text of any value, and nothing is the empty text. Fluent Bit matches strings only. flowd's own tests
look at the value, and nothing never fits. Where a field's values are known to be strings, all three agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowd.filters.lint.patterns import takes_nothing
from flowd.filters.lint.values import describe_type
from flowd.filters.model import WORD_TESTS, Condition, Reading
from flowd.filters.schema import FIELDS

_LANGUAGES = {"ruby": "fluentd", "string": "Fluent Bit", "value": "flowd"}
_NESTED_NUMBERS = frozenset(("latency", "nat_outgoing_ports"))
_UNKNOWN = {
    "cidr": "knows no networks",
    "number": "compares no numbers",
    "labels": "knows no label selectors",
    "exists": "cannot ask whether a field is there",
    "null": "cannot ask for null",
}


def find_difference(condition: Condition, reading: Reading, streams: Sequence[str]) -> str:
    """Why a condition would mean something else in another reading; nothing where it means the same."""
    if condition.test in _UNKNOWN and reading != "value":
        return f"{_LANGUAGES[reading]}'s grep {_UNKNOWN[condition.test]}"
    if condition.reading == reading:
        return ""
    field = condition.path[0]
    if not any(field in FIELDS[stream] for stream in streams):
        where = " or ".join(streams) or "streams other than flows and dns"
        return (
            f"flowd does not know the values of {field} in {where}: of numbers, lists and null the meaning would change"
        )
    for stream in streams:
        reason = _find_difference_in(condition, reading, stream)
        if reason:
            return reason
    return ""


def _find_difference_in(condition: Condition, reading: Reading, stream: str) -> str:
    field = condition.path[0]
    kind = describe_type(field, stream)
    is_nested = len(condition.path) > 1
    if is_nested and field in _NESTED_NUMBERS:
        kind, is_nested = "a map of numbers", False
    if kind and not is_nested:
        if "string" in (condition.reading, reading):
            return f"{field} is {kind} in {stream}, and Fluent Bit's grep matches strings only"
        if kind != "a number":
            return f"{field} is {kind} in {stream}: flowd asks its elements, and fluentd the text of the whole"
    if _takes_nothing(condition, reading):
        nothing = f"{field} can be null or missing in {stream}, and the pattern matches the empty text"
        return f"{nothing}: in fluentd null is the empty text, elsewhere it never matches"
    return ""


def _takes_nothing(condition: Condition, reading: Reading) -> bool:
    """Would the empty text be matched where one of the two takes nothing for it?"""
    if "ruby" not in (condition.reading, reading):
        return False
    if condition.test in WORD_TESTS:
        return "" in condition.arguments
    return takes_nothing(condition)
