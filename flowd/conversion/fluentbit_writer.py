"""Forms as Fluent Bit's grep filters, in YAML or in the classic form: each form a filter of its own, since the rules of
one filter do not add up, and Calico's operator sorts its names."""

from __future__ import annotations

import re

from flowd.conversion.forms import Form, Reason, Unsayable, say_reason
from flowd.conversion.patterns import write_options, write_source
from flowd.filters.model import Condition, Rule

_NAME = re.compile(r"[_A-Za-z][A-Za-z0-9_\-/]*\Z")
_KINDS = {"all": "regex", "any": "regex", "not_all": "exclude", "not_any": "exclude"}
_OPERATIONS = {"any": "OR", "not_all": "AND"}


def write_yaml(form: Form, match: tuple[str, str]) -> tuple[str, list[Reason]]:
    """The filters that a form is, as items of a YAML list, and what of it cannot be said.

    `match` is the property that says which streams it is for, and its value.
    """
    found, reasons = _write_rules(form)
    if reasons:
        return "", reasons
    lines: list[str] = []
    for rules in found:
        places = ", ".join(dict.fromkeys(place for place, _ in rules))
        lines += [f"# from {places}", "- name: grep", f"  {match[0]}: {_quote(match[1])}"]
        if form.kind in _OPERATIONS and len(rules) > 1:
            lines.append(f"  logical_op: {_OPERATIONS[form.kind]}")
        if len(rules) == 1:
            lines.append(f"  {_KINDS[form.kind]}: {_quote(rules[0][1])}")
        else:
            lines += [f"  {_KINDS[form.kind]}:", *(f"    - {_quote(text)}" for _, text in rules)]
    return "\n".join(lines) + "\n", []


def write_classic(form: Form, match: tuple[str, str]) -> tuple[str, list[Reason]]:
    """The same as classic sections."""
    found, reasons = _write_rules(form)
    if reasons:
        return "", reasons
    lines: list[str] = []
    for rules in found:
        places = ", ".join(dict.fromkeys(place for place, _ in rules))
        lines += [f"# from {places}", "[FILTER]", "    Name grep", f"    {match[0].title()} {match[1]}"]
        if form.kind in _OPERATIONS and len(rules) > 1:
            lines.append(f"    Logical_Op {_OPERATIONS[form.kind]}")
        lines += [f"    {_KINDS[form.kind].title()} {text}" for _, text in rules]
    return "\n".join(lines) + "\n", []


def _write_rules(form: Form) -> tuple[list[list[tuple[str, str]]], list[Reason]]:
    """The rules of each filter, with their places, as `KEY PATTERN`. Two regexes of one filter are no AND."""
    reasons = []
    texts = []
    if form.opposites:
        field = form.rules[min(form.opposites)].key
        text = f"Fluent Bit cannot ask beside other conditions what {field} is not: missing, it would have to match"
        return [], [say_reason(form.rules[0], text)]
    for rule in form.rules:
        try:
            texts.append((f"{rule.file}:{rule.line}", _write_rule(rule)))
        except Unsayable as unsayable:
            reasons.append(say_reason(rule, str(unsayable)))
    return [[text] for text in texts] if form.kind == "all" else [texts], reasons


def _write_rule(rule: Rule) -> str:
    written = f"{_write_key(rule.condition.path)} {_write_pattern(rule.condition)}"
    if "${" in written:
        raise Unsayable("it holds ${, which Fluent Bit takes for a variable")
    return written


def _write_key(path: tuple[str | int, ...]) -> str:
    first = path[0]
    if not isinstance(first, str):
        raise Unsayable("the key names nothing that a line can have")
    if not _NAME.match(first) or first.startswith("TAG"):
        raise Unsayable(f"Fluent Bit cannot name the field {first}")
    written = first if len(path) == 1 else f"${first}"
    for part in path[1:]:
        if isinstance(part, int):
            if part < 0:
                raise Unsayable("Fluent Bit knows no index from the end")
            written += f"[{part}]"
        elif set(part) & set(' ,"') or not part.isprintable():
            raise Unsayable(f"Fluent Bit cannot name {part!r} in brackets")
        else:
            quoted = part.replace("'", "''")
            written += f"['{quoted}']"
    return written


def _write_pattern(condition: Condition) -> str:
    source, options = write_source(condition, "x"), write_options(condition)
    if options or source.startswith("/") or source != source.strip() or not source:
        return f"/{source}/{options}"
    return source


def _quote(text: str) -> str:
    """A YAML scalar in single quotes, which takes everything that can be printed as it is."""
    if text in ("flows", "dns") or re.fullmatch(r"[a-z_]+ \^?[A-Za-z0-9_-]+\$?", text):
        return text
    return "'" + text.replace("'", "''") + "'"
