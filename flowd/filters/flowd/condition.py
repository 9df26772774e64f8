"""A condition of flowd's own dialect: a `key` with what is asked of it, as an expression over conditions.

Several tests in one section must all hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from flowd.filters.flowd.label_selector import SelectorError, parse_selector
from flowd.filters.flowd.values import (
    ValueProblem,
    read_networks,
    read_number,
    read_range,
    read_truth,
    read_words,
)
from flowd.filters.fluentd.accessor import AccessorError, parse_accessor
from flowd.filters.fluentd.elements import Element, Parameter
from flowd.filters.fluentd.pattern import RubyPatternError, parse_pattern
from flowd.filters.model import Condition, Test
from flowd.filters.source import Place, Report

Path = tuple[str | int, ...]

COMPARISONS = ("<", "<=", ">", ">=")
_WORDS: dict[str, Test] = {
    "equals": "equals",
    "in": "equals",
    "prefix": "prefix",
    "suffix": "suffix",
    "contains": "contains",
}
TESTS = ("pattern", *_WORDS, "cidr", *COMPARISONS, "between", "labels", "exists", "null")
PARAMETERS = ("key", *TESTS, "ignore_case")


class Asked(NamedTuple):
    """A condition, or its opposite."""

    condition: Condition
    is_negated: bool = False


class WrittenCondition(NamedTuple):
    """A condition section as it was read: its key as written and what is asked, in the order of the tests."""

    key: str
    asked: tuple[Asked, ...]
    place: Place


def read_condition(section: Element, report: Report) -> WrittenCondition | None:
    """The conditions of a section; None where a problem with it is told."""
    return _ConditionReader(section, report).read()


class _ConditionReader:
    def __init__(self, section: Element, report: Report) -> None:
        self._section = section
        self._report = report
        self._is_broken = False

    def read(self) -> WrittenCondition | None:
        key = self._text("key")
        tests = [parameter for name, parameter in self._section.parameters.items() if name in TESTS]
        if key == "" or "key" not in self._section.parameters:
            self._problem(
                self._section.place, "no key says which field is meant", "add a line: key FIELD", "missing-key"
            )
        if not tests:
            self._problem(
                self._section.place,
                f"<{self._section.name}> asks nothing of its field",
                f"add a test: one of {', '.join(TESTS)}",
                "missing-test",
            )
        path = self._try(lambda: parse_accessor(key or ""), self._section.parameters.get("key")) if key else None
        ignore_case = bool(self._try_value("ignore_case", read_truth))
        asked = [found for test in tests if (found := self._read_test(test, path or ("",), ignore_case)) is not None]
        if bounds := self._read_bounds():
            asked.append(Asked(Condition(path or ("",), reading="value", test="number", arguments=bounds)))
        if self._is_broken or key is None or path is None:
            return None
        return WrittenCondition(key, tuple(asked), self._section.place)

    def _read_test(self, parameter: Parameter, path: Path, ignore_case: bool) -> Asked | None:
        name = parameter.name
        if name in (*COMPARISONS, "between"):
            return None
        if name == "pattern":
            return self._read_pattern(path, ignore_case)
        if name in _WORDS:
            words = self._try_value(name, read_words if name == "in" else lambda text: (text,))
            return words and Asked(
                Condition(path, ignore_case=ignore_case, reading="value", test=_WORDS[name], arguments=words)
            )
        if name in ("exists", "null"):
            test: Test = "exists" if name == "exists" else "null"
            truth = self._try_value(name, read_truth)
            return None if truth is None else Asked(Condition(path, reading="value", test=test), not truth)
        if name == "cidr":
            networks = self._try_value(name, read_networks)
            return networks and Asked(Condition(path, reading="value", test="cidr", arguments=networks))
        requirements = self._try_value(name, parse_selector)
        return requirements and Asked(Condition(path, reading="value", test="labels", arguments=requirements))

    def _read_pattern(self, path: Path, ignore_case: bool) -> Asked | None:
        pattern = self._try_value("pattern", parse_pattern)
        if pattern is None:
            return None
        return Asked(Condition(path, pattern.source, pattern.ignore_case or ignore_case, pattern.dotall))

    def _read_bounds(self) -> tuple[tuple[str, str], ...]:
        bounds = []
        for name in COMPARISONS:
            number = self._try_value(name, read_number)
            if number is not None:
                bounds.append((name, number))
        limits = self._try_value("between", read_range)
        if limits is not None:
            bounds += [(">=", limits[0]), ("<=", limits[1])]
        return tuple(bounds)

    def _text(self, name: str) -> str | None:
        """A parameter's text; None where there is none, or a problem with it is told."""
        parameter = self._section.parameters.get(name)
        if parameter is None:
            return None
        if not isinstance(parameter.value, str):
            self._problem(parameter.value_place, f"'{name}' has no value", f"give {name} a value", f"missing-{name}")
            return None
        return parameter.value

    def _try_value(self, name: str, read: Callable[[str], Any]) -> Any:
        text = self._text(name)
        return None if text is None else self._try(lambda: read(text), self._section.parameters[name])

    def _try(self, read: Callable[[], Any], parameter: Parameter | None) -> Any:
        try:
            return read()
        except (ValueProblem, SelectorError, AccessorError, RubyPatternError) as error:
            place = parameter.value_place if parameter else self._section.place
            name = parameter.name if parameter else ""
            self._problem(
                place,
                error.message if name in ("key", "pattern") else f"{name}: {error.message}",
                error.hint,
                f"bad-{name}" if name in ("key", "pattern") else "bad-value",
            )
            return None

    def _problem(self, place: Place, message: str, hint: str, code: str) -> None:
        self._is_broken = True
        self._report.problem(place, message, hint=hint, code=code)
