"""The few forms that languages have in common, and the way to them from any step.

all      a line is dropped unless every condition holds
any      a line is dropped unless one of them holds
not_all  a line is dropped when all of them hold
not_any  a line is dropped when one of them holds
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from flowd.filters.model import Expression, Filter, Rule, Step

FormKind = Literal["all", "any", "not_all", "not_any"]

_MOST_TERMS = 64

Term = tuple[tuple[int, bool], ...]
"""Conditions by their number, all of which hold; False for one that does not."""


class Form(NamedTuple):
    """A part of a filter that any language can say; of the `opposites`, rules by their number, fluentd alone."""

    kind: FormKind
    rules: tuple[Rule, ...]
    opposites: frozenset[int] = frozenset()


class Reason(NamedTuple):
    """Why a rule cannot be said, or not with its meaning: where it stands, and the reason."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


class Unsayable(Exception):
    """A condition that a language has no words for; the text says why."""


class Forms(NamedTuple):
    """A filter's forms in their order, what cannot be said, and what was left out without changing anything."""

    forms: list[Form]
    reasons: list[Reason]
    notes: list[str]


def find_forms(section: Filter, now_ns: int) -> Forms:
    """The forms of a filter's steps."""
    found = Forms([], [], [])
    for step in section.steps:
        if not step.rules:
            continue
        if step.kind == "first":
            _read_first(step, found)
        elif step.kind in ("when", "unless"):
            _read_expression(step, found, now_ns)
        else:
            found.forms.append(Form(step.kind, step.rules))  # type: ignore[arg-type]
    return found


def say_reason(rule: Rule, text: str) -> Reason:
    """A reason at a rule's place."""
    return Reason(rule.file, rule.line, rule.group or rule.name, text)


def _read_first(step: Step, found: Forms) -> None:
    """Fluent Bit's list: excludes, up to the first regex, behind which nothing decides."""
    excludes = []
    for number, rule in enumerate(step.rules):
        if rule.kind == "exclude":
            excludes.append(rule)
            continue
        if excludes:
            found.forms.append(Form("not_any", tuple(excludes)))
        found.forms.append(Form("all", (rule,)))
        for dead in step.rules[number + 1 :]:
            place = f"{dead.file}:{dead.line}"
            found.notes.append(f"{place}: {dead.name} is left out: it stands behind a regex and never decides")
        return
    found.forms.append(Form("not_any", tuple(excludes)))


def _read_expression(step: Step, found: Forms, now_ns: int) -> None:
    rule = step.rules[0]
    if step.is_shadow:
        found.notes.append(f"{rule.file}:{rule.line}: {step.group} is left out: as a shadow it drops nothing")
        return
    if 0 < step.until_ns <= now_ns:
        found.notes.append(f"{rule.file}:{rule.line}: {step.group} is left out: it has ended")
        return
    if step.sample:
        found.reasons.append(say_reason(rule, f"only flowd's language can let a sample of 1/{step.sample} go"))
        return
    if step.until_ns:
        found.reasons.append(say_reason(rule, "only flowd's language knows rules that end"))
        return
    assert step.expression is not None
    terms = _find_terms(step.expression, step.kind == "when")
    if terms is None:
        found.reasons.append(say_reason(rule, "the expression is too large to be written as plain groups"))
        return
    for term in terms:
        rules = tuple(step.rules[number] for number, _ in term)
        signs = {sign for _, sign in term}
        if len(signs) > 1:
            opposites = frozenset(at for at, (_, sign) in enumerate(term) if not sign)
            found.forms.append(Form("not_all", rules, opposites))
        elif signs == {True}:
            found.forms.append(Form("not_all" if len(rules) > 1 else "not_any", rules))
        elif signs == {False}:
            found.forms.append(Form("any" if len(rules) > 1 else "all", rules))


def _find_terms(expression: Expression, sign: bool) -> list[Term] | None:
    """What a line is dropped for, as alternatives of conditions that all hold; None where there are too many."""
    if expression.kind == "is":
        return [((expression.rule, sign),)]
    if expression.kind == "not":
        return _find_terms(expression.parts[0], not sign)
    parts = [_find_terms(part, sign) for part in expression.parts]
    if (expression.kind == "or") == sign:
        joined: list[Term] = []
        for part in parts:
            if part is None:
                return None
            joined += part
        return joined if len(joined) <= _MOST_TERMS else None
    products: list[Term] = [()]
    for part in parts:
        if part is None or len(products) * len(part) > _MOST_TERMS:
            return None
        products = [tuple(dict.fromkeys((*before, *term))) for before in products for term in part]
    return products
