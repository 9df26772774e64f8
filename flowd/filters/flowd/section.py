"""One `<filter>` section of @type flowd → a Filter: rules that decide one after the other, each by itself.

A rule is a section directly inside: `<exclude>` drops what it matches, `<regexp>` drops what it does not match, and
`<and>`, `<or>` and `<not>` make one rule of several such sections, all of one kind, nested as deep as wanted. A rule
may have a name, an end, and a gentler way to drop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from flowd.filters.flowd.condition import PARAMETERS, read_condition
from flowd.filters.flowd.values import ValueProblem, read_share, read_time, read_truth
from flowd.filters.fluentd.elements import Element, Parameter
from flowd.filters.model import Condition, Expression, Filter, Rule, Step
from flowd.filters.source import Place, Report
from flowd.filters.suggest import suggest_name

RuleKind = Literal["regexp", "exclude"]

_CONDITIONS = ("regexp", "exclude")
_GROUPS = ("and", "or", "not")
_SECTION_PARAMETERS = ("@type", "@id", "@label", "@log_level", "id", "log_level", "type")
_WAYS = ("until", "sample", "shadow")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_RESERVED_NAMES = ("default", "bypass", "retired")
_RESERVED_ENDING = ".sampled"
_DEEPEST_GROUPS = 50


class _Way(NamedTuple):
    """How a rule drops: at all (`is_shadow`), all of it (`sample`), and until when."""

    is_shadow: bool = False
    sample: int = 0
    until_ns: int = 0


_NOTHING = Expression("and")


@dataclass(slots=True)
class _Written:
    """A rule as it is read: its conditions in the order they are looked at, and how they are combined."""

    name: str
    kind: RuleKind
    place: Place
    way: _Way
    leaves: list[tuple[str, Condition, Place]] = field(default_factory=list)
    expression: Expression = _NOTHING


def read_flowd_section(element: Element, name: str, taken: dict[str, Place], report: Report) -> Filter:
    """The filter that the section says; what is wrong with it goes to the report.

    `taken` are the names of rules in the whole text, with where they stand; the section's are added.
    """
    place = element.place
    tags = element.argument if isinstance(element.argument, str) else ""
    steps = _SectionReader(name, taken, report).read(element)
    return Filter(name, tags or "**", steps, place.file, place.line, place.column)


class _SectionReader:
    def __init__(self, name: str, taken: dict[str, Place], report: Report) -> None:
        self._name = name
        self._taken = taken
        self._report = report
        self._counts: dict[str, int] = {}

    def read(self, element: Element) -> tuple[Step, ...]:
        self._check_parameters(element, (*_SECTION_PARAMETERS, *_WAYS))
        self._check_sections(element)
        way = self._read_way(element, _Way())
        written = []
        for section in element.children:
            if section.name in (*_CONDITIONS, *_GROUPS):
                rule = self._read_rule(section, way)
                if rule is not None:
                    written.append(rule)
        return _make_steps(written)

    def _read_rule(self, section: Element, way: _Way) -> _Written | None:
        """A rule; None where a problem with it is told."""
        problems = len(self._report.problems)
        name = self._name_rule(section)
        way = self._read_way(section, way)
        kind = self._find_kind(section)
        rule = _Written(name, kind or "exclude", section.place, way)
        expression = self._read_expression(section, rule, 0)
        if expression is None or kind is None or len(self._report.problems) > problems:
            return None
        return replace(rule, expression=expression)

    def _read_expression(self, section: Element, rule: _Written, depth: int) -> Expression | None:
        """What a section holds; its conditions are added to the rule's."""
        allowed = ("name", *_WAYS) if depth == 0 else ()
        if section.name in _CONDITIONS:
            return self._read_leaf(section, rule, allowed)
        self._check_parameters(section, allowed)
        self._check_sections(section)
        if depth >= _DEEPEST_GROUPS:
            self._problem(section.place, "groups are nested too deeply", "use fewer than fifty", "deep-nesting")
            return None
        children = [child for child in section.children if child.name in (*_CONDITIONS, *_GROUPS)]
        parts = [self._read_expression(child, rule, depth + 1) for child in children]
        return self._join(section, [part for part in parts if part is not None], len(parts))

    def _read_leaf(self, section: Element, rule: _Written, allowed: tuple[str, ...]) -> Expression | None:
        self._check_parameters(section, (*PARAMETERS, *allowed))
        for child in section.children:
            self._problem(
                child.place,
                f"a <{child.name}> cannot stand in <{section.name}>",
                "combine conditions with <and>, <or> and <not> around them",
                "unknown-section",
            )
        written = read_condition(section, self._report)
        if written is None:
            return None
        parts = []
        for asked in written.asked:
            part = Expression("is", (), len(rule.leaves))
            rule.leaves.append((written.key, asked.condition, written.place))
            parts.append(Expression("not", (part,)) if asked.is_negated else part)
        return parts[0] if len(parts) == 1 else Expression("and", tuple(parts))

    def _join(self, section: Element, parts: list[Expression], written: int) -> Expression | None:
        if not written:
            self._problem(
                section.place,
                f"<{section.name}> holds no condition",
                "put <exclude> or <regexp> sections into it, or remove it",
                "empty-group",
            )
        elif section.name == "not" and written > 1:
            self._problem(
                section.place,
                f"<not> holds {written} sections: which of them is to be false?",
                "put an <and> or an <or> around them",
                "ambiguous-not",
            )
        if not parts or len(parts) < written:
            return None
        return Expression("not" if section.name == "not" else "and" if section.name == "and" else "or", tuple(parts))

    def _find_kind(self, section: Element) -> RuleKind | None:
        """Whether the rule's conditions are excludes or regexps; None (and told) where they are both."""
        first: Element | None = None
        for leaf in _leaves(section):
            if first is None:
                first = leaf
            elif leaf.name != first.name:
                self._problem(
                    leaf.place,
                    f"<{leaf.name}> and <{first.name}> stand in one <{section.name}>",
                    "a group decides as a whole: <exclude> throughout drops what it matches, <regexp> throughout drops "
                    "what it does not match; <not> turns a condition round",
                    "mixed-group",
                )
                return None
        return "regexp" if first is not None and first.name == "regexp" else "exclude"

    # Names

    def _name_rule(self, section: Element) -> str:
        number = self._counts[section.name] = self._counts.get(section.name, 0) + 1
        parameter = section.parameters.get("name")
        if parameter is None:
            name = f"{self._name}.{section.name}{number}"
            place = section.place
        else:
            name, place = self._check_name(parameter), parameter.value_place
        earlier = self._taken.setdefault(name, place) if name else place
        if earlier is not place:
            self._problem(
                place, f"the name {name} is already used", f"it names the rule at {earlier}", "duplicate-name"
            )
        return name

    def _check_name(self, parameter: Parameter) -> str:
        value = parameter.value
        if (
            not isinstance(value, str)
            or not _NAME.match(value)
            or value in _RESERVED_NAMES
            or value.endswith(_RESERVED_ENDING)
        ):
            self._problem(
                parameter.value_place,
                f"{value!r} is no name for a rule",
                "use letters, digits, _ - and . (default, bypass, retired and *.sampled have a meaning of their own)",
                "bad-name",
            )
            return ""
        return value

    # Ways to drop

    def _read_way(self, section: Element, way: _Way) -> _Way:
        """The ways that the section gives, over those that it inherits."""
        parameters = section.parameters
        try:
            if parameter := parameters.get("shadow"):
                way = way._replace(is_shadow=read_truth(_text(parameter)))
            if parameter := parameters.get("sample"):
                way = way._replace(sample=read_share(_text(parameter)))
            if parameter := parameters.get("until"):
                way = way._replace(until_ns=read_time(_text(parameter)))
        except ValueProblem as error:
            assert parameter is not None
            self._problem(parameter.value_place, f"{parameter.name}: {error.message}", error.hint, "bad-value")
        return way

    # What may stand here

    def _check_parameters(self, section: Element, known: tuple[str, ...]) -> None:
        if section.name != "filter" and section.argument:
            self._problem(
                section.place,
                f"<{section.name} {section.argument}> has an argument",
                f"write <{section.name}>, and inside it: name {section.argument}",
                "ignored-argument",
            )
        for parameter in section.parameters.values():
            if parameter.name in known or not parameter.name:
                continue
            suggested = suggest_name(parameter.name, known)
            shown = ", ".join(name for name in known if name not in _SECTION_PARAMETERS)
            hint = f"did you mean {suggested}?" if suggested else f"it knows {shown}" if shown else "it takes none"
            if parameter.name in (*_WAYS, "name"):
                hint = "it belongs to the rule as a whole: write it in the outermost section"
            self._problem(
                parameter.place, f"<{section.name}> has no parameter '{parameter.name}'", hint, "unknown-parameter"
            )

    def _check_sections(self, section: Element) -> None:
        for child in section.children:
            if child.name in (*_CONDITIONS, *_GROUPS):
                continue
            suggested = suggest_name(child.name, (*_CONDITIONS, *_GROUPS))
            hint = f"did you mean <{suggested}>?" if suggested else "there are <exclude>, <regexp>, <and>, <or>, <not>"
            self._problem(child.place, f"<{section.name}> has no section <{child.name}>", hint, "unknown-section")

    def _problem(self, place: Place, message: str, hint: str, code: str) -> None:
        self._report.problem(place, message, hint=hint, code=code)


def _leaves(section: Element) -> list[Element]:
    """The condition sections in and below a section, in order; without recursion, since nesting is bounded later."""
    found = []
    waiting = [section]
    while waiting:
        element = waiting.pop()
        if element.name in _CONDITIONS:
            found.append(element)
        elif element.name in _GROUPS:
            waiting += reversed(element.children)
    return found


def _text(parameter: Parameter) -> str:
    if not isinstance(parameter.value, str):
        raise ValueProblem("it has no value", f"give {parameter.name} a value")
    return parameter.value


def _make_steps(written: list[_Written]) -> tuple[Step, ...]:
    """The steps of rules in their order: plain ones of one kind that follow each other are one step, which the core
    decides at the same cost however many they are."""
    steps: list[Step] = []
    plain: list[_Written] = []
    for rule in written:
        if plain and (not _is_plain(rule) or rule.kind != plain[0].kind):
            steps.append(_join_plain(plain))
            plain = []
        if _is_plain(rule):
            plain.append(rule)
        else:
            steps.append(_make_step(rule))
    if plain:
        steps.append(_join_plain(plain))
    return tuple(steps)


def _is_plain(rule: _Written) -> bool:
    """Is it one condition that drops for good?"""
    return rule.expression.kind == "is" and rule.way == _Way()


def _join_plain(plain: list[_Written]) -> Step:
    rules = []
    for rule in plain:
        key, condition, place = rule.leaves[0]
        rules.append(Rule(rule.name, rule.kind, key, condition, place.file, place.line, place.column))
    return Step("all" if plain[0].kind == "regexp" else "not_any", tuple(rules))


def _make_step(rule: _Written) -> Step:
    rules = tuple(
        Rule(f"{rule.name}.{number}", rule.kind, key, condition, place.file, place.line, place.column, rule.name)
        for number, (key, condition, place) in enumerate(rule.leaves, 1)
    )
    kind: Literal["when", "unless"] = "when" if rule.kind == "exclude" else "unless"
    return Step(kind, rules, rule.name, rule.expression, *rule.way)
