"""Words that hit more than they seem to: found anywhere in a name, in capitals, or with a dot that is any character."""

from __future__ import annotations

import re
from typing import NamedTuple

from flowd.filters.lint.implied import implies
from flowd.filters.lint.impossible import takes_no_text
from flowd.filters.lint.patterns import Words, compile_condition, each_rule, find_words, parse_condition, place_of
from flowd.filters.model import Condition, FilterText, Rule
from flowd.filters.schema import (
    ADDRESS_FIELDS,
    FIELDS,
    HOST_NAME_FIELDS,
    KNOWN_VALUES,
    LOWER_CASE_FIELDS,
    NAME_FIELDS,
    NUMBERS,
    OPEN_VALUES,
)
from flowd.filters.source import Report
from flowd.patterns.nodes import Capture, Literal, Node, Options, Repeat, Sequence

# What can be a whole name; `-web` or `nginx-` is meant as a part of one.
_WHOLE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?\Z")
_ADDRESS = re.compile(r"\d{1,3}(?:\\?\.\d{1,3}){3}\Z")
_HOST_NAME = re.compile(r"\^?(?:\.\*)?[A-Za-z0-9-]+(?:(?:\\\.|\.)[A-Za-z0-9-]+)+\$?\Z")
_BARE_DOT = re.compile(r"(?<!\\)\.(?![*+?])")
_ANY_TEXT = re.compile(r"\.[*+]")
_OTHERS_SHOWN = 3


class BareWords(NamedTuple):
    """The words of a pattern without anchors that could be whole values, the pattern that asks for just them, and
    examples of others that they hit."""

    words: tuple[str, ...]
    anchored: str
    others: tuple[str, ...]


def warn_words(text: FilterText, report: Report) -> None:
    """Warn about each rule that is a plain word in an unlikely way."""
    for _, _, rule in each_rule(text):
        bare = find_bare_words(rule)
        if bare is not None:
            match = "match" if len(bare.others) > 1 else "matches"
            report.warning(
                place_of(rule),
                f"{rule.condition.pattern} is found anywhere in {rule.key}: {_enumerate(bare.others)} {match}, too",
                hint=f"if the whole value is meant write {bare.anchored}; `flowd check --sample FILE` shows what it"
                " hits",
                code="unanchored-word",
            )
        if not _warn_case(rule, report):
            _warn_unknown_value(rule, text.stream, report)
        _warn_dot(rule, report)
        _warn_control(rule, report)


def _enumerate(texts: tuple[str, ...]) -> str:
    return " and ".join((", ".join(texts[:-1]), texts[-1])) if len(texts) > 1 else texts[0]


def find_bare_words(rule: Rule) -> BareWords | None:
    """The words that could be whole values and are looked for anywhere in them; None where there are none."""
    condition = rule.condition
    if condition.test != "pattern" or len(condition.path) != 1 or _ANY_TEXT.search(condition.pattern):
        return None
    field, source = condition.path[0], condition.pattern
    if field in ADDRESS_FIELDS:
        if not _ADDRESS.match(source):
            return None
        address = source.replace("\\", "")
        return BareWords((address,), "^" + address.replace(".", "\\.") + "$", (f"1{address}", f"{address}0"))
    found = find_words(condition._replace(ignore_case=False))
    if found is None or found.kind != "contains":
        return None
    words = found.words
    anchored = f"^{words[0]}$" if len(words) == 1 else f"^(?:{'|'.join(words)})$"
    if field in NAME_FIELDS and all(_WHOLE_NAME.match(word) for word in words):
        return BareWords(words, anchored, (f"my-{words[0]}", f"{words[0]}-2"))
    if any(field in numbers for numbers in NUMBERS.values()) and condition.reading == "ruby":
        if all(word.isascii() and word.isdigit() for word in words):
            return BareWords(words, anchored, (f"1{words[0]}", f"{words[0]}0"))
        return None
    known = KNOWN_VALUES.get(str(field), ())
    others = tuple(value for value in known if value not in words and any(word in value for word in words))
    if others and all(word in known for word in words):
        return BareWords(words, anchored, others[:_OTHERS_SHOWN])
    return None


def _warn_case(rule: Rule, report: Report) -> bool:
    """Are there capitals where values never have any?"""
    condition = rule.condition
    if condition.path[0] not in LOWER_CASE_FIELDS or len(condition.path) != 1:
        return False
    capital = _find_capital(condition)
    if capital:
        report.warning(
            place_of(rule),
            f"{capital} has capitals, and {rule.key} never has: it does not match",
            hint=f"write {capital.lower()}",
            code="case-mismatch",
        )
    return bool(capital)


def _find_capital(condition: Condition) -> str:
    """A word with capitals that the condition asks for, or nothing."""
    words = find_words(condition)
    if words is not None:
        return next((word for word in words.words if word != word.lower()), "")
    if condition.test != "pattern" or condition.ignore_case or condition.pattern.islower():
        return ""
    needed = _needed_texts(parse_condition(condition).root)
    return next((text for text in needed if text.isascii() and text != text.lower()), "")


def _needed_texts(node: Node) -> list[str]:
    """Runs of characters that every match holds, as they are written."""
    match node:
        case Literal(text, ignore_case):
            return [] if ignore_case else [text]
        case Sequence(parts):
            return [text for part in parts for text in _needed_texts(part)]
        case Capture(body=body) | Options(body):
            return _needed_texts(body)
        case Repeat(body, low) if low > 0:
            return _needed_texts(body)
        case _:
            return []


def _warn_unknown_value(rule: Rule, stream: str, report: Report) -> None:
    """Is a field asked for a value that it never has, where all of them are known?"""
    condition = rule.condition
    field = str(condition.path[0])
    known = KNOWN_VALUES.get(field)
    if known is None or field in OPEN_VALUES or len(condition.path) != 1 or field not in FIELDS.get(stream, ()):
        return
    if not takes_no_text(condition) and not _takes_some(condition, known):
        named = ", ".join(known[:-1]) + f" or {known[-1]}"
        asked = condition.pattern if condition.test == "pattern" else ", ".join(map(str, condition.arguments))
        report.warning(
            place_of(rule),
            f"{asked} matches no value that {rule.key} has",
            hint=f"it is {named}",
            code="unknown-value",
        )


def _takes_some(condition: Condition, known: tuple[str, ...]) -> bool:
    """Does it match one of the values, or the empty text that a missing one is? Yes, where it asks something else."""
    if condition.ignore_case and condition.test != "pattern":
        return True
    words = find_words(condition)
    if words is not None and "" not in words.words:
        return any(implies(Words("exact", (value,)), words) for value in known)
    if condition.test != "pattern":
        return True
    from flowd import _core

    compiled = compile_condition(condition)
    regex = _core.Regex(compiled.reference, compiled.reference_options)
    return any(regex.search(value.encode()) is not False for value in ("", *known))


def _warn_dot(rule: Rule, report: Report) -> None:
    condition = rule.condition
    if condition.test != "pattern" or condition.path[0] not in HOST_NAME_FIELDS:
        return
    if _HOST_NAME.match(condition.pattern) and _BARE_DOT.search(condition.pattern):
        escaped = _BARE_DOT.sub(r"\\.", condition.pattern)
        report.warning(
            place_of(rule),
            f"the dots of {condition.pattern} match any character",
            hint=f"write {escaped}",
            code="unescaped-dot",
        )


def _warn_control(rule: Rule, report: Report) -> None:
    """Has YAML made a backspace of a word's border? fluentd's quotes are told of where they are read."""
    if rule.condition.test == "pattern" and rule.condition.reading == "string" and "\b" in rule.condition.pattern:
        report.warning(
            place_of(rule),
            f"the pattern of {rule.key} holds a backspace: YAML's double quotes read \\b as one",
            hint="write the rule in single quotes or none, or \\\\b",
            code="eaten-backslash",
        )
