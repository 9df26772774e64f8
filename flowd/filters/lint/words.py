"""Words that hit more than they seem to: found anywhere in a name, in capitals, or with a dot that is any character."""

from __future__ import annotations

import re

from flowd.filters.lint.patterns import each_rule, find_words, place_of
from flowd.filters.model import FilterText, Rule
from flowd.filters.schema import HOST_NAME_FIELDS, LOWER_CASE_FIELDS, NAME_FIELDS
from flowd.filters.source import Report

# What can be a whole name; `-web` or `nginx-` is meant as a part of one.
_WHOLE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")
_HOST_NAME = re.compile(r"\^?(?:\.\*)?[A-Za-z0-9-]+(?:(?:\\\.|\.)[A-Za-z0-9-]+)+\$?\Z")
_BARE_DOT = re.compile(r"(?<!\\)\.(?![*+?])")


def warn_words(text: FilterText, report: Report) -> None:
    """Warn about each rule that is a plain word in an unlikely way."""
    for _, _, rule in each_rule(text):
        if is_unanchored(rule):
            word = rule.condition.pattern
            report.warning(
                place_of(rule),
                f"{word} is found anywhere in {rule.key}: my-{word} and {word}-2 match, too",
                hint=f"if the whole value is meant write ^{word}$; `flowd check --sample FILE` shows what it hits",
                code="unanchored-word",
            )
        _warn_case(rule, report)
        _warn_dot(rule, report)


def is_unanchored(rule: Rule) -> bool:
    """Is the rule's pattern one bare word that could be a whole name, on a field that holds names?"""
    condition = rule.condition
    if condition.test != "pattern" or condition.path[0] not in NAME_FIELDS:
        return False
    return _WHOLE_NAME.match(condition.pattern) is not None and "." not in condition.pattern


def _warn_case(rule: Rule, report: Report) -> None:
    words = find_words(rule.condition)
    if words is None or rule.condition.path[0] not in LOWER_CASE_FIELDS:
        return
    capital = next((word for word in words.words if word != word.lower()), None)
    if capital is not None:
        report.warning(
            place_of(rule),
            f"{capital} has capitals, and {rule.key} never has: it does not match",
            hint=f"write {capital.lower()}",
            code="case-mismatch",
        )


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
