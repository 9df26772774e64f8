"""One filter section of a Fluent Bit text → a Filter, as Fluent Bit 5.1's grep means it.

Its rules are one list in the order they are written. Without a `logical_op` (`legacy`) the first regex decides, and
what stands behind it never does; with AND or OR there may be rules of one kind only.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Literal, NamedTuple

from flowd.filters.fluentbit.accessor import AccessorError, parse_accessor
from flowd.filters.fluentbit.names import KNOWN_PROPERTIES, OTHER_FILTERS, find_bad_value
from flowd.filters.fluentbit.pattern import PatternError, parse_pattern
from flowd.filters.fluentbit.sections import Property, Section, Text
from flowd.filters.fluentbit.tags import matches_regex, matches_wildcard
from flowd.filters.lint.fields import warn_fields
from flowd.filters.model import Condition, Filter, Rule, Step
from flowd.filters.schema import FIELDS, STREAMS
from flowd.filters.source import Place, Report
from flowd.filters.suggest import suggest_name

# Of properties that may be given several times.
_WHICH_COUNTS = (
    ("name", "first"), ("active", "first"), ("match", "last"), ("match_regex", "last"), ("alias", "last"),
)  # fmt: skip

RuleKind = Literal["regexp", "exclude"]
_Operation = Literal["legacy", "and", "or"]


class _Written(NamedTuple):
    """A rule as it was written, before it has a name."""

    kind: RuleKind
    key: str
    condition: Condition | None  # None where a problem with it is told
    place: Place


class GrepReader:
    """Reads one section; what is wrong or doubtful goes to the report. `number` counts the text's filters from 0.

    Where the text `is_broken` properties may be missing because they could not be read: that is not told again.
    """

    def __init__(
        self, section: Section, number: int, report: Report, *, skip_unsupported: bool, is_broken: bool = False
    ) -> None:
        self._is_broken = is_broken
        self._section = section
        self._number = number
        self._report = report
        self._skip_unsupported = skip_unsupported
        self._properties = [(found.name, found) for found in section.properties]

    def read(self, name: str, stream: str) -> Filter | None:
        """The filter for a stream; None where it is none of grep's, does not apply, or has a problem."""
        if not self._check_plugin():
            return None
        self._check_properties()
        does_apply = self._applies_to(stream)
        operation = self._read_operation()
        if not self._is_active():
            return None
        rules = [self._read_rule(kind, text) for kind, texts in self._rule_texts() for text in texts]
        self._check_operation(operation, rules)
        place = self._section.place
        steps = _make_steps(name, operation, rules)
        found = Filter(name, self._describe_tags(stream), steps, place.file, place.line, place.column)
        warn_fields(found, [known for known in FIELDS if self._fits(known)], self._report)
        return found if does_apply else None

    def alias(self) -> str:
        """The name that the section gives itself, or nothing."""
        return self._last("alias")

    # Which filter, and for which tags

    def _check_plugin(self) -> bool:
        names = self._all("name")
        if not names and self._is_broken:
            return False
        if not names:
            self._problem(
                self._section.place,
                "section 'filter' is missing the 'name' property",
                "add the line: name: grep",
                "missing-type",
            )
            return False
        first = names[0]
        value = first.values[0].value if not first.is_list else "  " + " ".join(text.value for text in first.values)
        plugin = value.lower()
        if plugin == "grep":
            return True
        tell = self._report.warning if self._skip_unsupported and not first.is_list else self._report.problem
        if plugin in OTHER_FILTERS:
            message = f"the filter {plugin} is none that flowd can run"
            hint = "flowd runs grep filters; with --skip-unsupported the filter is skipped with a warning"
        else:
            message = f"section '{self._section.shown_name}' tried to instance a plugin name that doesn't exist"
            hint = "did you mean grep?" if suggest_name(plugin, ("grep",)) else "flowd runs grep filters"
        tell(first.values[0].place if first.values else first.place, message, hint=hint, code="unsupported-type")
        return False

    def _applies_to(self, stream: str) -> bool:
        """Is the stream one of its tags? A problem is told where it has none."""
        matches, expressions = self._all("match"), self._all("match_regex")
        self._warn_repeated()
        wildcard = self._last("match") if matches else None
        expression = self._last("match_regex") if expressions else None
        is_good = True
        applies = False
        if expression is not None:
            try:
                applies = matches_regex(expression, stream)
            except PatternError as error:
                is_good = False
                self._warning(
                    expressions[-1].place,
                    f"match_regex {expression} cannot be compiled, and counts for nothing: {error.message}",
                    error.hint or "mend the expression",
                    "bad-match-regex",
                )
        if wildcard is not None:
            self._warn_tags(
                wildcard, expression, matches[-1].values[-1].place if matches[-1].values else matches[-1].place
            )
            return applies or matches_wildcard(wildcard, stream)
        if self._section.has_default_tag and not self._has_tags():
            return applies or self._section.default_tag in (None, stream)
        if expression is not None and is_good:
            return applies
        if self._is_broken:
            return False
        self._problem(
            self._section.place,
            f"NO match rule for grep.{self._number} filter instance, unloading.",
            "add the line: match: flows (or another tag, or *)",
            "missing-match",
        )
        return False

    def _has_tags(self) -> bool:
        """Does it say itself which tags it is for? For Calico's operator only names in small letters say it, and its
        reader has looked at them."""
        if self._section.is_from_operator:
            return not self._section.has_default_tag
        return any(known.lower() in ("match", "match_regex") for known, _ in self._properties)

    def _fits(self, stream: str) -> bool:
        """Is this one of its tags? Tells nothing."""
        if self._section.has_default_tag and not self._has_tags() and self._section.default_tag in (None, stream):
            return True
        if self._all("match") and matches_wildcard(self._last("match"), stream):
            return True
        with suppress(PatternError):
            return bool(self._all("match_regex")) and matches_regex(self._last("match_regex"), stream)
        return False

    def _warn_tags(self, wildcard: str, expression: str | None, place: Place) -> None:
        if expression is not None or any(matches_wildcard(wildcard, name) for name in STREAMS) or "." in wildcard:
            return
        suggested = suggest_name(wildcard, STREAMS)
        if suggested or not wildcard:
            hint = f"did you mean {suggested}?" if suggested else "an empty match fits no tag at all; * fits all"
            self._warning(place, f"match {wildcard} is for no known stream", hint, "unknown-stream")

    def _describe_tags(self, stream: str) -> str:
        matches, expressions = self._all("match"), self._all("match_regex")
        said = [self._last("match")] if matches else []
        said += [f"/{self._last('match_regex')}/"] if expressions else []
        return " ".join(said) or self._section.default_tag or stream

    # Properties

    def _check_properties(self) -> None:
        for name, found in self._properties:
            known = name.lower()
            if known in ("name", "routes"):
                continue
            if known not in KNOWN_PROPERTIES and found.values:
                suggested = suggest_name(name, KNOWN_PROPERTIES)
                self._problem(
                    found.place,
                    f"grep: unknown configuration property '{name}'. The following properties are allowed: regex,"
                    " exclude, and logical_op.",
                    f"did you mean {suggested}?" if suggested else "a rule is written as exclude: KEY PATTERN",
                    "unknown-parameter",
                )
            elif reason := find_bad_value(known, found):
                self._problem(
                    found.place,
                    f"could not configure property '{name}' on filter plugin with section name"
                    f" '{self._section.shown_name}'",
                    reason,
                    "bad-value",
                )
            elif known == "condition":
                self._warning(
                    found.place,
                    f"{name}: {self._value(found)} is ignored: a filter knows no condition",
                    "write what it asks as a rule: regex: KEY PATTERN",
                    "ignored-property",
                )

    def _is_active(self) -> bool:
        given = [text.value for found in self._all("active") for text in found.values]
        return not given or (given[0].lower() != "false" and given[0] != "0")

    def _read_operation(self) -> _Operation:
        given = self._all("logical_op")
        times = sum(len(found.values) for found in given)
        if times > 1:
            self._problem(
                given[-1].place,
                f"grep: configuration property '{given[0].name}' is set {times} times",
                "one logical_op is for all rules of a filter: remove the others, or write several filters",
                "repeated-parameter",
            )
        if not given:
            return "legacy"
        value = self._value(given[-1])
        operations: tuple[_Operation, ...] = ("and", "or", "legacy")
        for operation in operations:
            if value.lower() == operation:
                return operation
        suggested = suggest_name(value, ("AND", "OR", "legacy"))
        self._warning(
            given[-1].place,
            f"logical_op {value!r} is none that Fluent Bit knows: it counts as legacy",
            f"did you mean {suggested}?" if suggested else "it is AND, OR or legacy",
            "unknown-logical-op",
        )
        return "legacy"

    def _check_operation(self, operation: _Operation, rules: list[_Written]) -> None:
        if operation == "legacy":
            return
        place = self._all("logical_op")[-1].place
        kinds = {rule.kind for rule in rules}
        if len(kinds) > 1:
            self._problem(
                place,
                "Both 'regex' and 'exclude' are set.",
                "with logical_op AND or OR a filter has rules of one kind: write a filter for each kind",
                "mixed-group",
            )
        elif not kinds:
            self._problem(
                place,
                f"logical_op {operation.upper()} without a rule: Fluent Bit crashes at the first record",
                "add a rule, or remove logical_op",
                "empty-group",
            )

    def _all(self, name: str) -> list[Property]:
        return [found for known, found in self._properties if known.lower() == name]

    def _value(self, found: Property) -> str:
        return found.values[-1].value if found.values else ""

    def _last(self, name: str) -> str:
        """The property's value, the last one where it is given several times; nothing where it is not given."""
        given = self._all(name)
        return self._value(given[-1]) if given else ""

    def _warn_repeated(self) -> None:
        for name, which in _WHICH_COUNTS:
            given = [text for found in self._all(name) for text in found.values]
            for text in given[1:]:
                self._warning(
                    text.place,
                    f"'{name}' is given again: the {which} one counts",
                    f"remove the other one, on line {given[0].place.line}",
                    "repeated-parameter",
                )

    # Rules

    def _rule_texts(self) -> Iterable[tuple[RuleKind, tuple[Text, ...]]]:
        for name, found in self._properties:
            if name.lower() == "regex":
                yield "regexp", found.values
            elif name.lower() == "exclude":
                yield "exclude", found.values

    def _read_rule(self, kind: RuleKind, text: Text) -> _Written:
        key, separator, pattern = text.value.lstrip(" ").partition(" ")
        if not separator or not pattern or not key:
            self._problem(
                text.place,
                "invalid regex, expected field and regular expression",
                "write a field, one blank, and the pattern: dest_namespace ^dev$",
                "missing-pattern",
            )
            return _Written(kind, key, None, text.place)
        path = self._read_key(key, text.place)
        condition = self._read_pattern(pattern, path, text.place)
        return _Written(kind, key, condition, text.place)

    def _read_key(self, key: str, place: Place) -> tuple[str | int, ...] | None:
        try:
            accessor = parse_accessor(key)
        except AccessorError as error:
            self._problem(place, error.message, error.hint, "bad-key")
            return None
        if accessor.is_reference:
            self._warning(
                place,
                f"the key {key} names the tag or a capture, no field: the rule never matches",
                f"a field of this name is written as {_in_brackets_hint(key)}",
                "reference-key",
            )
        elif accessor.skipped:
            self._warning(
                place,
                f"the key {key} tests {_show_path(accessor.path)}: Fluent Bit passes over {accessor.skipped!r}",
                "a top-level field with such a name cannot be tested in Fluent Bit",
                "skipped-character",
            )
        if accessor.rest and not accessor.is_reference:
            self._warning(
                place,
                f"the key {key} tests {_show_path(accessor.path)}: what follows is ignored",
                "for a field inside another write $a['b']; a field with a dot in its name cannot be tested at the top",
                "ignored-key-part",
            )
        return accessor.path

    def _read_pattern(self, text: str, path: tuple[str | int, ...] | None, place: Place) -> Condition | None:
        try:
            pattern = parse_pattern(text)
        except PatternError as error:
            self._problem(
                place,
                f"could not compile regex pattern '{text}'",
                f"{error.message}" + (f": {error.hint}" if error.hint else ""),
                "bad-pattern",
            )
            return None
        if pattern.literal_options:
            self._warning(
                place,
                f"{text} is matched as it stands, slashes included: {pattern.literal_options!r} is no option",
                "the options are i, m and x; leave the slashes out for none",
                "literal-options",
            )
        if path is None:
            return None
        return Condition(path, pattern.source, pattern.ignore_case, pattern.dotall, "string")

    def _problem(self, place: Place, message: str, hint: str, code: str) -> None:
        self._report.problem(place, message, hint=hint, code=code)

    def _warning(self, place: Place, message: str, hint: str, code: str) -> None:
        self._report.warning(place, message, hint=hint, code=code)


def _show_path(path: tuple[str | int, ...]) -> str:
    first, *others = path
    return f"{first}" + "".join(f"[{part}]" if isinstance(part, int) else f"['{part}']" for part in others)


def _in_brackets_hint(key: str) -> str:
    return f"$parent['{key.lstrip('$')}'] inside another field only; at the top it cannot be tested"


def _make_steps(name: str, operation: _Operation, written: list[_Written]) -> tuple[Step, ...]:
    """The one step that the rules are. A group decides as a whole where all of its rules have a say."""
    group = ""
    kinds = {rule.kind for rule in written}
    if (operation, kinds) in (("or", {"regexp"}), ("and", {"exclude"})):
        group = f"{name}.{operation}"
    counts = {"regexp": 0, "exclude": 0}
    rules = []
    for rule in written:
        counts[rule.kind] += 1
        if rule.condition is not None:
            place = rule.place
            rule_name = f"{name}.{rule.kind}{counts[rule.kind]}"
            rules.append(
                Rule(rule_name, rule.kind, rule.key, rule.condition, place.file, place.line, place.column, group)
            )
    if not rules:
        return ()
    if operation == "legacy":
        return (Step("first", tuple(rules)),)
    if operation == "and":
        return (Step("not_all" if group else "all", tuple(rules), group),)
    return (Step("any" if group else "not_any", tuple(rules), group),)
