"""Kubernetes label selectors: `app=web,tier notin (db, cache),!canary` → what the labels must fulfil.

The grammar is that of `kubectl -l`: equality (`=`, `==`, `!=`), sets (`in`, `notin`), and a label's being there or not.
"""

from __future__ import annotations

import re

Requirement = tuple[str, str, tuple[str, ...]]
"""A label, `in`, `notin`, `exists` or `absent`, and values."""

_TOKEN = re.compile(r"\s*(?P<token>[!=<>]=|==|[=!(),<>]|[^\s=!(),<>]+)")
_LABEL = re.compile(r"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?\Z")
_EQUALITIES = {"=": "in", "==": "in", "!=": "notin"}
_END = ""


class SelectorError(ValueError):
    """A text that is no label selector."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """What a selector asks for: all of it must be fulfilled. Raises SelectorError."""
    tokens = _split(text)
    requirements = [_read_requirement(tokens)]
    while tokens[-1] == ",":
        tokens.pop()
        requirements.append(_read_requirement(tokens))
    if tokens[-1] != _END:
        raise SelectorError(
            f"{tokens[-1]!r} stands where a comma should", "separate the parts with commas: app=web,!canary"
        )
    return tuple(requirements)


def _split(text: str) -> list[str]:
    """The tokens, the first one last; the end is an empty one."""
    tokens = []
    position = 0
    while found := _TOKEN.match(text, position):
        tokens.append(found["token"])
        position = found.end()
    return [_END, *reversed(tokens)]


def _read_requirement(tokens: list[str]) -> Requirement:
    if tokens[-1] == "!":
        tokens.pop()
        return _take_label(tokens), "absent", ()
    label = _take_label(tokens)
    operator = tokens[-1]
    if operator in _EQUALITIES:
        tokens.pop()
        value = "" if tokens[-1] in (_END, ",") else _take_value(tokens)
        return label, _EQUALITIES[operator], (value,)
    if operator in ("in", "notin"):
        tokens.pop()
        return label, operator, _take_values(tokens, label)
    if operator in (_END, ","):
        return label, "exists", ()
    raise SelectorError(f"{operator!r} is no operator of label selectors", "there are =, ==, !=, in, notin, and !LABEL")


def _take_label(tokens: list[str]) -> str:
    label = tokens[-1]
    if not _LABEL.match(label):
        shown = repr(label) if label else "nothing"
        raise SelectorError(f"{shown} stands where a label should", "a label is a name such as app or example.com/tier")
    return tokens.pop()


def _take_value(tokens: list[str]) -> str:
    value = tokens[-1]
    if value == _END or not _VALUE.match(value):
        shown = repr(value) if value else "nothing"
        raise SelectorError(f"{shown} stands where a label's value should", "values are letters, digits, -, _ and .")
    return tokens.pop()


def _take_values(tokens: list[str], label: str) -> tuple[str, ...]:
    hint = f"write {label} in (a, b)"
    if tokens[-1] != "(":
        raise SelectorError("the values stand in no brackets", hint)
    tokens.pop()
    values = []
    while True:
        values.append("" if tokens[-1] in (",", ")") else _take_value(tokens))
        ending = tokens[-1]
        if ending not in (",", ")"):
            raise SelectorError("the brackets are not closed", hint)
        tokens.pop()
        if ending == ")":
            return tuple(values)
