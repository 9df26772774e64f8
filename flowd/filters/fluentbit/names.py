"""What Fluent Bit calls things: its filters, the properties of grep, and the values that some of these take."""

from __future__ import annotations

from flowd.filters.fluentbit.sections import Property

OTHER_FILTERS = (
    "alter_size", "aws", "checklist", "ecs", "expect", "geoip2", "kubernetes", "log_to_metrics", "lua", "modify",
    "multiline", "nest", "nightfall", "parser", "record_modifier", "rewrite_tag", "stdout", "sysinfo", "tensorflow",
    "throttle", "throttle_size", "type_converter", "wasm",
)  # fmt: skip
KNOWN_PROPERTIES = (
    "name", "match", "match_regex", "alias", "log_level", "log_suppress_interval", "active", "condition", "regex",
    "exclude", "logical_op", "routes",
)  # fmt: skip
_LOG_LEVELS = ("off", "error", "warn", "warning", "info", "debug", "trace")


def find_bad_value(name: str, found: Property) -> str:
    """What is to be done about a value that Fluent Bit refuses to set; nothing where it is good."""
    if not found.values:
        return "its list is empty, or its value is a map: write its value as one text, or remove it"
    value = found.values[-1].value
    if name == "log_level" and value.lower() not in _LOG_LEVELS:
        return f"it is one of {', '.join(_LOG_LEVELS)}"
    if name == "log_suppress_interval" and value.lstrip().startswith("-1") and not value.lstrip()[2:3].isdigit():
        return "write a number of seconds"
    return ""
