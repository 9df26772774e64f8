"""What a section says of itself and not of the lines: its `@id`, and how much it logs.

fluentd reads both for every plugin, also by their old names; flowd uses the @id as the filter's name and logs as it
is itself told to, but refuses what fluentd would not start with.
"""

from __future__ import annotations

from flowd.filters.elements import Element, Parameter, Unset
from flowd.filters.source import Report
from flowd.filters.suggest import suggest_name

_LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def find_reserved(element: Element, name: str) -> Parameter | None:
    """A section's parameter of a name that begins with @, or the one of the old name without it; None for nil, too."""
    for written in (name, name.removeprefix("@")):
        parameter = element.parameters.get(written)
        if parameter is not None and parameter.value is not Unset.NIL:
            return parameter
    return None


def check_log_level(element: Element, report: Report) -> None:
    """Tell of a level that fluentd does not know: it does not start with one."""
    parameter = find_reserved(element, "@log_level")
    if parameter is None or parameter.value is Unset.BROKEN:
        return
    level = parameter.value if isinstance(parameter.value, str) else "default"
    if level.lower() in _LOG_LEVELS:
        return
    suggested = suggest_name(level, _LOG_LEVELS)
    report.problem(
        parameter.value_place,
        f"Unknown log level: level = {level}",
        hint=f"did you mean {suggested}?" if suggested else f"it is one of {', '.join(_LOG_LEVELS)}",
        code="bad-value",
    )
