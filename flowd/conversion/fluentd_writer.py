"""Forms as fluentd's `<filter>` sections: each form a section of its own, so that nothing merges."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowd.conversion.forms import Form, FormKind, Reason, Unsayable, say_reason
from flowd.conversion.patterns import can_be_joined, join_sources, write_opposite, write_options, write_source
from flowd.filters.model import Rule

_PLAIN_VALUE = re.compile(r"(?![\s#\"'\[{])[^\r\n]*[^\s]\Z")
_PLAIN_PART = re.compile(r"[A-Za-z0-9_@-]+")
_KINDS = {"all": "regexp", "any": "regexp", "not_all": "exclude", "not_any": "exclude"}
_GROUPS = {"all": "", "any": "or", "not_all": "and", "not_any": ""}

_MOST_DOTS = 100

Path = tuple[str | int, ...]


class _Asked(NamedTuple):
    """A pattern that a field is asked for, and the rules that it stands for."""

    rules: tuple[Rule, ...]
    pattern: str

    @property
    def path(self) -> Path:
        return self.rules[0].condition.path


def write_form(form: Form, tags: str) -> tuple[str, list[Reason]]:
    """The sections that a form is, and what of it cannot be said."""
    asked: list[_Asked] = []
    reasons = []
    for number, rules in _group_rules(form):
        try:
            asked.append(_Asked(rules, _write_pattern(rules, number in form.opposites)))
        except Unsayable as unsayable:
            reasons.append(say_reason(rules[0], str(unsayable)))
    if reasons:
        return "", reasons
    texts = []
    for part in _split_equal_keys(asked) if not _GROUPS[form.kind] else [asked]:
        try:
            texts.append(_write_section(form.kind, part, tags))
        except Unsayable as unsayable:
            return "", [say_reason(part[0].rules[0], str(unsayable))]
    return "\n".join(texts), []


def count_sections(text: str) -> int:
    """How many sections a text that `write_form` wrote has."""
    return sum(line.startswith("<filter ") for line in text.splitlines())


def write_key(path: Path, spelling: int = 0) -> str:
    """The path as a record accessor; other `spelling`s are other texts for the same. Raises Unsayable."""
    if not isinstance(path[0], str):
        raise Unsayable("the key names nothing that a line can have")
    for number, key in enumerate(_spell_key(path)):
        if number == spelling:
            return key
    if spelling:
        raise Unsayable("one group of fluentd's takes the key no more than once, and there is no other spelling of it")
    raise Unsayable("fluentd cannot name the field: its name holds a quote and a bracket")


def _spell_key(path: Path) -> Iterator[str]:
    """The texts for one path: fluentd takes each as a key of its own."""
    first = path[0]
    if len(path) == 1 and isinstance(first, str) and not first.startswith(("$.", "$[")):
        yield first
    if not any(isinstance(part, str) and ("']" in part or '"]' in part) for part in path):
        for quote in "'\"":
            parts = (f"[{quote}{part}{quote}]" if isinstance(part, str) else f"[{part}]" for part in path)
            yield "$" + "".join(parts)
    if all(isinstance(part, int) or _PLAIN_PART.fullmatch(part) for part in path):
        key = "$" + "".join(f".{part}" if isinstance(part, str) else f"[{part}]" for part in path)
        for dots in range(_MOST_DOTS):  # which it cuts off
            yield key + "." * dots


def _group_rules(form: Form) -> Iterator[tuple[int, tuple[Rule, ...]]]:
    """The rules, each with its number; alternatives about one field that can be one pattern, together."""
    if form.kind != "any":
        yield from ((number, (rule,)) for number, rule in enumerate(form.rules))
        return
    joined: dict[Path, list[Rule]] = {}
    for rule in form.rules:
        if can_be_joined(rule.condition):
            joined.setdefault(rule.condition.path, []).append(rule)
    for number, rule in enumerate(form.rules):
        if not can_be_joined(rule.condition):
            yield number, (rule,)
        elif rules := joined.pop(rule.condition.path, None):
            yield number, tuple(rules)


def _write_pattern(rules: Sequence[Rule], is_opposite: bool) -> str:
    conditions = [rule.condition for rule in rules]
    if is_opposite:
        return f"/{write_opposite(conditions[0])}/"
    if len(conditions) > 1:
        return f"/{join_sources(conditions)}/"
    return f"/{write_source(conditions[0])}/{write_options(conditions[0])}"


def _split_equal_keys(asked: Sequence[_Asked]) -> list[list[_Asked]]:
    """fluentd takes a key once in each of its groups: single rules go into sections of their own."""
    parts: list[list[_Asked]] = []
    for pattern in asked:
        for part in parts:
            if all(other.path != pattern.path for other in part):
                part.append(pattern)
                break
        else:
            parts.append([pattern])
    return parts


def _write_section(kind: FormKind, asked: Sequence[_Asked], tags: str) -> str:
    group = _GROUPS[kind] if len(asked) > 1 else ""
    used: dict[Path, int] = {}
    lines = []
    for path, pattern in ((found.path, found.pattern) for found in asked):
        key = write_key(path, used.get(path, 0))
        used[path] = used.get(path, 0) + 1
        section = _KINDS[kind]
        lines += [f"<{section}>", f"  key {quote_value(key)}", f"  pattern {quote_value(pattern)}", f"</{section}>"]
    if group:
        lines = [f"<{group}>", *(f"  {line}" for line in lines), f"</{group}>"]
    places = ", ".join(dict.fromkeys(f"{rule.file}:{rule.line}" for found in asked for rule in found.rules))
    body = "\n".join(f"  {line}" for line in lines)
    return f"# from {places}\n<filter {tags}>\n  @type grep\n{body}\n</filter>\n"


def quote_value(value: str) -> str:
    """A parameter's value as fluentd's grammar takes it."""
    if _PLAIN_VALUE.match(value) and " #" not in value and "\t#" not in value:
        return value
    if "\n" in value or "\r" in value:  # which single quotes cannot hold
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("#", "\\#")
        return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r") + '"'
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
