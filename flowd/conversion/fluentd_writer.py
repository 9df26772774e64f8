"""Forms as fluentd's `<filter>` sections: each form a section of its own, so that nothing merges."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowd.conversion.forms import Form, Reason, Unsayable, say_reason
from flowd.conversion.patterns import write_options, write_source
from flowd.filters.model import Condition, Rule

_PLAIN_VALUE = re.compile(r"(?![\s#\"'\[{])[^\r\n]*[^\s]\Z")
_KINDS = {"all": "regexp", "any": "regexp", "not_all": "exclude", "not_any": "exclude"}
_GROUPS = {"all": "", "any": "or", "not_all": "and", "not_any": ""}


def write_form(form: Form, tags: str, kind: str = "grep") -> tuple[str, list[Reason]]:
    """The sections that a form is, and what of it cannot be said."""
    parts = _split_equal_keys(form) if kind == "grep" else [form.rules]
    texts = []
    for rules in parts:
        try:
            texts.append(_write_section(form, rules, tags, kind))
        except Unsayable as unsayable:
            return "", [say_reason(rules[0], str(unsayable))]
    return "\n".join(texts), []


def _split_equal_keys(form: Form) -> list[tuple[Rule, ...]]:
    """fluentd takes a key once in each of its groups: single rules go into sections of their own."""
    if _GROUPS[form.kind]:
        return [form.rules]
    parts: list[list[Rule]] = []
    for rule in form.rules:
        for part in parts:
            if all(other.condition.path != rule.condition.path for other in part):
                part.append(rule)
                break
        else:
            parts.append([rule])
    return [tuple(part) for part in parts]


def _write_section(form: Form, rules: Sequence[Rule], tags: str, kind: str) -> str:
    group = _GROUPS[form.kind] if len(rules) > 1 or form.kind == "any" else ""
    used: dict[tuple[str | int, ...], int] = {}
    lines = []
    for rule in rules:
        path = rule.condition.path
        key = write_key(path, used.get(path, 0) if group and kind == "grep" else 0)
        used[path] = used.get(path, 0) + 1
        lines += write_condition(_KINDS[form.kind], key, rule.condition)
    if group:
        lines = [f"<{group}>", *(f"  {line}" for line in lines), f"</{group}>"]
    places = ", ".join(dict.fromkeys(f"{rule.file}:{rule.line}" for rule in rules))
    body = "\n".join(f"  {line}" for line in lines)
    return f"# from {places}\n<filter {tags}>\n  @type {kind}\n{body}\n</filter>\n"


def write_condition(kind: str, key: str, condition: Condition) -> list[str]:
    """A `<regexp>` or `<exclude>` section with a pattern."""
    pattern = quote_value(f"/{write_source(condition)}/{write_options(condition)}")
    return [f"<{kind}>", f"  key {quote_value(key)}", f"  pattern {pattern}", f"</{kind}>"]


def write_key(path: tuple[str | int, ...], spelling: int = 0) -> str:
    """The path as a record accessor; other `spelling`s are other texts for the same. Raises Unsayable."""
    first = path[0]
    if not isinstance(first, str):
        raise Unsayable("the key names nothing that a record can have")
    if len(path) == 1 and spelling == 0 and not first.startswith(("$.", "$[")):
        return first
    if any(isinstance(part, str) and ("']" in part or '"]' in part) for part in path):
        raise Unsayable("the key holds a quote and a bracket")
    quotes = ["'", "'", '"'][min(spelling, 2)]
    if spelling > 2:
        raise Unsayable("a key can stand in one group no more than three times")
    return "$" + "".join(f"[{quotes}{part}{quotes}]" if isinstance(part, str) else f"[{part}]" for part in path)


def quote_value(value: str) -> str:
    """A parameter's value as fluentd's grammar takes it."""
    if _PLAIN_VALUE.match(value) and " #" not in value and "\t#" not in value:
        return value
    if "\n" in value or "\r" in value:  # which single quotes cannot hold
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("#", "\\#")
        return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
