"""One `<filter>` section of type grep → a Filter: conditions sorted into fluentd's four buckets.

Whatever the layout, every condition goes into one of four maps keyed by the key's text: all of the regexps must
match, one of the `<or>` regexps must, not all of the `<and>` excludes may, and none of the excludes may.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from flowd.filters.fluentd.accessor import AccessorError, parse_accessor
from flowd.filters.fluentd.elements import Element, Parameter, Unset
from flowd.filters.fluentd.lint import warn_merged_groups, warn_unknown_parameters
from flowd.filters.fluentd.pattern import RubyPattern, RubyPatternError, parse_pattern
from flowd.filters.model import Condition, Filter, Rule, Step, StepKind
from flowd.filters.source import Place, Report
from flowd.filters.suggest import suggest_name

_MOST_LEGACY = 20
_LEGACY_NAMES = {f"{kind}{n}" for kind in ("regexp", "exclude") for n in range(1, _MOST_LEGACY + 1)}
_COMMON_PARAMETERS = frozenset(("@type", "@id", "@label", "@log_level", "id", "log_level", "type"))
_SECTIONS = ("regexp", "exclude", "and", "or")

RuleKind = Literal["regexp", "exclude"]
PatternParser = Callable[[], RubyPattern]
_Bucket = Literal["all", "any", "not_all", "not_any"]
# fluentd's order of evaluation.
_BUCKETS: tuple[tuple[_Bucket, str], ...] = (("all", ""), ("any", "or"), ("not_all", "and"), ("not_any", ""))


class _Written(NamedTuple):
    """A condition as it was written, before it has a name. `key` is None where it has a problem already told."""

    kind: RuleKind
    key: str | None
    path: tuple[str | int, ...] | None
    pattern: RubyPattern | None
    place: Place
    key_place: Place
    order: int


class _Buckets:
    """The four maps, by key text; the first of two with the same key stays."""

    __slots__ = ("conditions",)

    def __init__(self) -> None:
        self.conditions: dict[_Bucket, dict[str, _Written]] = {bucket: {} for bucket, _ in _BUCKETS}

    def add(self, bucket: _Bucket, written: _Written) -> bool:
        """Add a condition; False if its key is taken."""
        if written.key is None:
            return True
        return self.conditions[bucket].setdefault(written.key, written) is written


def read_grep(element: Element, name: str, report: Report) -> Filter:
    """The filter that a grep section says; what is wrong with it goes to the report."""
    return _GrepReader(name, report).read(element)


class _GrepReader:
    def __init__(self, name: str, report: Report) -> None:
        self._name = name
        self._report = report
        self._buckets = _Buckets()
        self._written: list[_Written] = []

    def read(self, element: Element) -> Filter:
        self._check_names(element)
        self._read_legacy(element, "regexp", "all")
        self._read_legacy(element, "exclude", "not_any")
        self._read_top(element, "regexp", "all")
        self._read_top(element, "exclude", "not_any")
        for block in element.children_named("and"):
            self._read_block(block, "all", "not_all")
        for block in element.children_named("or"):
            self._read_block(block, "any", "not_any")
        warn_merged_groups(element, self._report)
        place = element.place
        tags = element.argument if isinstance(element.argument, str) else ""
        return Filter(self._name, tags or "**", self._make_steps(), place.file, place.line, place.column)

    def _read_legacy(self, element: Element, kind: RuleKind, bucket: _Bucket) -> None:
        for n in range(1, _MOST_LEGACY + 1):
            parameter = element.parameters.get(f"{kind}{n}")
            if parameter is None or parameter.value is Unset.NIL or parameter.value is Unset.BROKEN:
                continue
            written = self._read_legacy_value(kind, parameter)
            if written is not None and not self._buckets.add(bucket, written):
                self._report_duplicate(f"{parameter.name} contains a duplicated key, {written.key}", bucket, written)

    def _read_legacy_value(self, kind: RuleKind, parameter: Parameter) -> _Written | None:
        if not isinstance(parameter.value, str):
            self._report_default(parameter, "")
            return None
        key, separator, pattern = parameter.value.partition(" ")
        if not separator:
            self._problem(
                parameter.value_place,
                f"{parameter.name} does not contain 2 parameters",
                f"write {parameter.name} KEY PATTERN, with one blank between",
                "missing-pattern",
            )
            return None
        self._report.warning(
            parameter.place,
            f"{parameter.name} is deprecated",
            hint=f"write an <{kind}> section with key {key} and pattern {pattern}",
            code="deprecated-parameter",
        )
        place = parameter.value_place
        compiled = self._try_pattern(lambda: RubyPattern(pattern), place)
        written = _Written(kind, key, self._try_path(key, place), compiled, parameter.place, place, parameter.order)
        self._written.append(written)
        return written

    def _read_top(self, element: Element, kind: RuleKind, bucket: _Bucket) -> None:
        for section in element.children_named(kind):
            written = self._read_condition(section, kind, kind)
            if not self._buckets.add(bucket, written):
                self._report_duplicate(f"Duplicate key: {written.key}", bucket, written)

    def _read_block(self, block: Element, regexps: _Bucket, excludes: _Bucket) -> None:
        self._check_block_names(block)
        written = [
            self._read_condition(section, kind, f"{block.name} > {kind}")
            for kind in ("regexp", "exclude")
            for section in block.children_named(kind)
        ]
        if len({condition.kind for condition in written}) > 1:
            self._problem(
                block.place,
                f"Do not specify both <regexp> and <exclude> in <{block.name}>",
                f"use one <{block.name}> for the regexps and another for the excludes",
                "mixed-group",
            )
            return
        for condition in written:
            bucket = regexps if condition.kind == "regexp" else excludes
            if not self._buckets.add(bucket, condition):
                self._report_duplicate(f"Duplicate key in <{block.name}>: {condition.key}", bucket, condition)

    def _read_condition(self, section: Element, kind: RuleKind, path: str) -> _Written:
        """A `<regexp>` or `<exclude>` section; `path` says where it stands, for messages."""
        self._check_condition_names(section)
        key = self._require(section, "key", path)
        pattern = self._require(section, "pattern", path)
        key_parameter, pattern_parameter = section.parameters.get("key"), section.parameters.get("pattern")
        key_place = key_parameter.value_place if key_parameter else section.place
        pattern_place = pattern_parameter.value_place if pattern_parameter else section.place
        compiled = None if pattern is None else self._try_pattern(lambda: parse_pattern(pattern), pattern_place)
        accessor = None if key is None else self._try_path(key, key_place)
        written = _Written(kind, key, accessor, compiled, section.place, key_place, section.order)
        self._written.append(written)
        return written

    def _require(self, section: Element, name: str, path: str) -> str | None:
        """A required parameter's text; None where a problem is told."""
        parameter = section.parameters.get(name)
        if parameter is None:
            self._problem(
                section.place,
                f"'{name}' parameter is required, in section {path}",
                self._hint_missing(section, name),
                f"missing-{name}",
            )
        elif isinstance(parameter.value, str):
            return parameter.value
        elif parameter.value is Unset.NIL:
            self._problem(
                parameter.value_place,
                f"'{name}' parameter is required but nil is specified, in section {path}",
                f"give the {name} a value; use_nil unsets it",
                f"missing-{name}",
            )
        elif parameter.value is Unset.DEFAULT:
            self._report_default(parameter, f", in section {path}")
        return None

    def _hint_missing(self, section: Element, name: str) -> str:
        for other in section.parameters:
            if other not in ("key", "pattern") and suggest_name(other, (name,)):
                return f"is {other} meant to be {name}? names are case sensitive"
        return f"add a line: {name} ..."

    def _report_default(self, parameter: Parameter, where: str) -> None:
        self._problem(
            parameter.value_place,
            f"'{parameter.name}' doesn't have default value{where}",
            f"give {parameter.name} a value of its own",
            "no-default",
        )

    def _report_duplicate(self, message: str, bucket: _Bucket, written: _Written) -> None:
        first = self._buckets.conditions[bucket][written.key or ""]
        self._problem(
            written.key_place,
            message,
            f"the key is already used at {first.key_place}; join the patterns with |, or use a second <filter>",
            "duplicate-key",
        )

    def _try_path(self, key: str, place: Place) -> tuple[str | int, ...] | None:
        try:
            return parse_accessor(key)
        except AccessorError as error:
            self._problem(place, error.message, error.hint, "bad-key")
            return None

    def _try_pattern(self, parse: PatternParser, place: Place) -> RubyPattern | None:
        try:
            return parse()
        except RubyPatternError as error:
            self._problem(place, error.message, error.hint, "bad-pattern")
            return None

    def _problem(self, place: Place, message: str, hint: str, code: str) -> None:
        self._report.problem(place, message, hint=hint, code=code)

    # Steps

    def _make_steps(self) -> tuple[Step, ...]:
        names = self._name_rules()
        steps: list[Step] = []
        for bucket, group in _BUCKETS:
            group_name = f"{self._name}.{group}" if group else ""
            rules = tuple(
                self._make_rule(written, names[written.order], group_name)
                for written in self._buckets.conditions[bucket].values()
                if written.path is not None and written.pattern is not None
            )
            if rules:
                kind: StepKind = bucket
                steps.append(Step(kind, rules, group_name))
        return tuple(steps)

    def _name_rules(self) -> dict[int, str]:
        """A name for each condition, by its order: numbered for each kind as they stand in the text."""
        counts = {"regexp": 0, "exclude": 0}
        names: dict[int, str] = {}
        for written in sorted(self._written, key=lambda condition: condition.order):
            counts[written.kind] += 1
            names[written.order] = f"{self._name}.{written.kind}{counts[written.kind]}"
        return names

    def _make_rule(self, written: _Written, name: str, group: str) -> Rule:
        assert written.path is not None
        assert written.pattern is not None
        pattern, place = written.pattern, written.place
        condition = Condition(written.path, pattern.source, pattern.ignore_case, pattern.dotall)
        return Rule(name, written.kind, written.key or "", condition, place.file, place.line, place.column, group)

    # Names that mean nothing here

    def _check_names(self, element: Element) -> None:
        warn_unknown_parameters(element, _COMMON_PARAMETERS | _LEGACY_NAMES, self._report)
        self._warn_unknown_sections(element, _SECTIONS)

    def _check_block_names(self, block: Element) -> None:
        if block.argument:
            self._warn_argument(block)
        warn_unknown_parameters(block, (), self._report)
        self._warn_unknown_sections(block, ("regexp", "exclude"))

    def _check_condition_names(self, section: Element) -> None:
        if section.argument:
            self._warn_argument(section)
        warn_unknown_parameters(section, ("key", "pattern"), self._report)
        self._warn_unknown_sections(section, ())

    def _warn_argument(self, section: Element) -> None:
        self._report.warning(
            section.place,
            f"the argument of <{section.name} {section.argument}> is ignored",
            hint=f"write <{section.name}>",
            code="ignored-argument",
        )

    def _warn_unknown_sections(self, element: Element, known: tuple[str, ...]) -> None:
        for child in element.children:
            if child.name in known:
                continue
            suggested = suggest_name(child.name, known)
            if suggested:
                hint = f"did you mean <{suggested}>? names are case sensitive"
            elif child.name in _SECTIONS:
                hint = f"a <{child.name}> inside <{element.name}> does nothing"
            else:
                hint = f"<{element.name}> knows " + (", ".join(f"<{name}>" for name in known) or "no sections")
            self._report.warning(
                child.place,
                f"section <{child.name}> is not used in <{element.name}>: nothing in it has any effect",
                hint=hint,
                code="unknown-section",
            )
