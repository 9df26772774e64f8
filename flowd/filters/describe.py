"""A condition in a few words, for tables and traces. Sentences are made elsewhere."""

from __future__ import annotations

from flowd.filters.model import Condition


def describe_test(condition: Condition) -> str:
    """What is asked of the field: the pattern as a filter would have it, or another test with its arguments."""
    if condition.test == "pattern":
        return _describe_pattern(condition)
    if condition.test == "number":
        words = " and ".join(f"{comparison} {number}" for comparison, number in condition.arguments)
    elif condition.test == "labels":
        words = "labels " + ", ".join(describe_requirement(*argument) for argument in condition.arguments)
    elif condition.test == "equals" and len(condition.arguments) > 1:
        words = "in " + ", ".join(condition.arguments)
    else:
        words = " ".join((condition.test, ", ".join(condition.arguments))).rstrip()
    return f"{words} (ignoring case)" if condition.ignore_case else words


def describe_requirement(label: str, operator: str, values: tuple[str, ...]) -> str:
    """A part of a label selector, as Kubernetes writes it."""
    if operator == "exists":
        return label
    if operator == "absent":
        return f"!{label}"
    return f"{label} {operator} ({', '.join(values)})"


def _describe_pattern(condition: Condition) -> str:
    options = ("i" if condition.ignore_case else "") + ("m" if condition.dotall else "")
    return f"/{condition.pattern}/{options}" if options else condition.pattern
