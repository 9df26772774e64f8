"""A Fluent Bit list from Calico's ConfigMap, as Calico's operator passes it on to Fluent Bit.

The operator reads the text as YAML 1.1 into a list of maps and writes it out as JSON. So within a map the names come in
the order of their bytes (`exclude` before `regex`, whatever was written), of a name that is given twice only the last
one is left, aliases and merge keys work, and `no` becomes false. A text that is no list of maps is skipped as a whole,
with a warning nobody reads, and all logs flow: here it is refused.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from flowd.filters.fluentbit_sections import Property, Section, Sections, Text
from flowd.filters.fluentbit_yaml import place_of_mark
from flowd.filters.recognise import LARGEST_YAML_CHARS, YAML_LOADER
from flowd.filters.source import Place, Report, Source

_DEEPEST_NESTING = 100
_MOST_VALUES = 100_000  # aliases to aliases make a short text a long one

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_TEXT_TAG = "tag:yaml.org,2002:str"
_RESOLVER: Any = yaml.resolver.Resolver()  # says what a plain scalar would be without a tag
_SKIPPED = "on a cluster Calico's operator skips this key, and all logs flow unfiltered"


class _Stopped(Exception):
    """The text cannot be read further; what is wrong is told."""


def read_operator_list(source: Source, report: Report) -> Sections:
    """The filters of a text, as Fluent Bit gets them. Problems go to the report."""
    sections = Sections()
    try:
        root = _compose(source, report)
        if root is not None:
            sections.filters = _ListReader(source, report).read(root)
    except _Stopped:
        pass
    return sections


def _compose(source: Source, report: Report) -> yaml.Node | None:
    """The first document's root; None where there is nothing in it."""
    if len(source.text) > LARGEST_YAML_CHARS:
        _skip(report, source.place(0), "the text is larger than 4 MiB")
    try:
        depth = 0
        for event in yaml.parse(source.text, Loader=YAML_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_NESTING:
                _skip(report, place_of_mark(source, event.start_mark), "the text is nested too deeply")
        documents = yaml.compose_all(source.text, Loader=YAML_LOADER)
        root: yaml.Node | None = next(documents, None)
        if (second := next(documents, None)) is not None:
            report.warning(
                place_of_mark(source, second.start_mark),
                "only the first YAML document counts",
                hint="write all filters in one list",
                code="second-document",
            )
    except yaml.MarkedYAMLError as error:
        place = place_of_mark(source, error.problem_mark or error.context_mark)
        _skip(report, place, f"{error.problem or error.context}")
    except yaml.YAMLError as error:
        _skip(report, source.place(0), f"not YAML: {str(error)[:200]}")
    if isinstance(root, yaml.ScalarNode) and not root.style and root.value in _NULLS:
        return None
    return root


def _skip(report: Report, place: Place, message: str) -> NoReturn:
    """A text that the operator skips."""
    report.problem(place, message, hint=f"write a list of maps: - name: grep; {_SKIPPED}", code="skipped-by-operator")
    raise _Stopped


class _ListReader:
    def __init__(self, source: Source, report: Report) -> None:
        self._source = source
        self._report = report
        self._values = 0

    def read(self, root: yaml.Node) -> list[Section]:
        if not isinstance(root, yaml.SequenceNode):
            _skip(self._report, self._place(root), "this is no list")
        sections = []
        for node in root.value:
            if isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULLS:
                self._report.problem(
                    self._place(node),
                    "an empty filter: Calico's operator ends in a panic",
                    hint="remove the lone -",
                    code="syntax",
                )
                continue
            if not isinstance(node, yaml.MappingNode):
                _skip(self._report, self._place(node), "this is no map")
            sections.append(self._read_map(node))
        return sections

    def _read_map(self, node: yaml.MappingNode) -> Section:
        members = self._members(node, 0)
        has_default = not members.keys() & {"match", "match_regex"}
        section = Section(self._place(node), has_default_tag=has_default, is_from_operator=True)
        for name in sorted(members, key=lambda text: text.encode("utf-8", "surrogatepass")):
            key, value = members[name]
            found = self._read_property(name, key, value)
            if found is not None:
                section.properties.append(found)
        return section

    def _members(self, node: yaml.MappingNode, depth: int) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The map's names with their values: the last one of equal names, merged maps below the map's own names."""
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            self._count(key)
            if not isinstance(key, yaml.ScalarNode):
                _skip(self._report, self._place(key), "a name that is no text")
            if key.value == "<<" and not key.style:
                for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(part, yaml.MappingNode) or depth > _DEEPEST_NESTING:
                        _skip(self._report, self._place(value), "map merge requires a map or a list of maps")
                    merged = {**self._members(part, depth + 1), **merged}
                continue
            name = _as_json_text(key)
            if name in own:
                self._report.warning(
                    self._place(key),
                    f"'{name}' is given again: only this one is left when Calico's operator has read it",
                    hint=f"use a list: {name}: [a 1, b 1]",
                    code="repeated-parameter",
                )
            own[name] = key, value
        return merged | own

    def _read_property(self, name: str, key: yaml.Node, value: yaml.Node) -> Property | None:
        place = self._place(key)
        if isinstance(value, yaml.ScalarNode):
            text = _as_json_text(value)
            if text and not text.strip():
                self._problem(self._place(value), "unable to add variant value property: it is blank")
            return Property(name, (Text(text.strip(" \t\r\n\v\f"), self._place(value)),), False, place)
        if isinstance(value, yaml.SequenceNode):
            texts = []
            for item in value.value:
                self._count(item)
                if not isinstance(item, yaml.ScalarNode):
                    self._problem(
                        self._place(item), f"unexpected event in the values of {name}: a list holds texts only"
                    )
                    return None
                texts.append(Text(_as_json_text(item), self._place(item)))
            return Property(name, tuple(texts), True, place)
        if name.strip() == "processors":
            self._report.warning(
                place,
                "section 'filter' does not support processors: they are ignored",
                hint="write them as filters of their own",
                code="ignored-property",
            )
        else:
            self._problem(place, f"could not configure property '{name}' on filter plugin with section name 'grep'")
        return None

    def _count(self, node: yaml.Node) -> None:
        self._values += 1
        if self._values > _MOST_VALUES:
            _skip(self._report, self._place(node), "aliases make this text too large")

    def _problem(self, place: Place, message: str) -> None:
        self._report.problem(place, message, hint="write KEY PATTERN as one text", code="bad-value")

    def _place(self, node: yaml.Node) -> Place:
        return place_of_mark(self._source, node.start_mark)


def _as_json_text(node: yaml.ScalarNode) -> str:
    """The text of a scalar after it was read as YAML 1.1 and written as JSON, as Fluent Bit then sees it."""
    value = str(node.value)
    is_tagged = node.tag == _TEXT_TAG and _RESOLVER.resolve(yaml.ScalarNode, value, (True, False)) != _TEXT_TAG
    if node.style or is_tagged:
        return value
    if value in _NULLS:
        return "null"
    if value in _TRUE:
        return "true"
    if value in _FALSE:
        return "false"
    return _number_text(value)


def _number_text(value: str) -> str:
    if _INTEGER.match(value):
        digits = value.replace("_", "").lower()
        sign, digits = (digits[0], digits[1:]) if digits[0] in "+-" else ("", digits)
        if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567":
            digits = "0o" + digits[1:]
        try:
            return str(int(sign + digits, 0))
        except ValueError:
            return value
    if _FLOAT.match(value):
        return _go_float(float(value))
    return value


def _go_float(number: float) -> str:
    """A float as Go's JSON writes it."""
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        return f"{number:.0f}" if number == int(number) else repr(number)
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].lstrip('0').zfill(2)}" if exponent else mantissa
