"""What a section says of itself and not of the lines: its `@id`, and how much it logs.

fluentd reads both for every plugin, also by their old names; flowd uses the @id as the filter's name and logs as it
is itself told to, but refuses what fluentd would not start with.
"""

from __future__ import annotations

from flowd.filters.fluentd.elements import Element, Parameter, Unset
from flowd.filters.source import Report
from flowd.filters.suggest import suggest_name

_OLD_NAMES = ("@type", "@id", "@log_level")
_LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


def find_reserved(element: Element, name: str) -> Parameter | None:
    """A section's parameter of a name that begins with @, or if there is none that of its old name; None for nil.

    "#{use_default}" is the word `default` here, to which no plugin gives a meaning.
    """
    parameter = element.parameters.get(name)
    if parameter is None and name in _OLD_NAMES:
        parameter = element.parameters.get(name.removeprefix("@"))
    if parameter is None or parameter.value is Unset.NIL:
        return None
    return parameter._replace(value="default") if parameter.value is Unset.DEFAULT else parameter


def check_log_level(element: Element, report: Report) -> None:
    """Tell of a level that fluentd does not know: it does not start with one."""
    parameter = find_reserved(element, "@log_level")
    level = parameter.value if parameter else None
    if parameter is None or not isinstance(level, str) or level.lower() in _LOG_LEVELS:
        return
    suggested = suggest_name(level, _LOG_LEVELS)
    report.problem(
        parameter.value_place,
        f"Unknown log level: level = {level}",
        hint=f"did you mean {suggested}?" if suggested else f"it is one of {', '.join(_LOG_LEVELS)}",
        code="bad-value",
    )
