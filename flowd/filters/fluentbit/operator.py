"""A Fluent Bit list from Calico's ConfigMap, as Calico's operator passes it on to Fluent Bit.

The operator reads the text as YAML 1.1 into a list of maps and writes it out as JSON. So within a map the names come in
the order of their bytes (`exclude` before `regex`, whatever was written), of a name that is given twice only the last
one is left, aliases and merge keys work, and `no` becomes false. A text that is no list of maps is skipped as a whole,
with a warning nobody reads, and all logs flow: here it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import yaml

from flowd.filters.fluentbit.events import Event, PipelineReader, Stopped
from flowd.filters.fluentbit.nodes import BadScalar, Node, compose_first, is_merge, json_text, name_text
from flowd.filters.fluentbit.sections import Section, Sections
from flowd.filters.recognise import LARGEST_YAML_CHARS
from flowd.filters.source import Place, Report, Source

_DEEPEST_NESTING = 100
_MOST_VALUES = 100_000  # aliases to aliases make a short text a long one
_SKIPPED = "on a cluster Calico's operator skips this key, and all logs flow unfiltered"

_Members = dict[str, tuple[Node, Node]]  # a map's names, each with its node and its value


def read_operator_list(source: Source, report: Report) -> Sections:
    """The filters of a text, as Fluent Bit gets them. Problems go to the report."""
    sections = Sections()
    try:
        root = _compose(source, report)
        if root is not None:
            _ListReader(sections, report).read(root)
    except Stopped:
        pass
    return sections


def _compose(source: Source, report: Report) -> Node | None:
    """The first document's root; None where there is none."""
    if len(source.text) > LARGEST_YAML_CHARS:
        _skip(report, source.place(0), "the text is larger than 4 MiB")
    try:
        root, second = compose_first(source, _DEEPEST_NESTING)
    except BadScalar as error:
        _skip(report, error.place, error.message)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.place(min(mark.index, len(source.text)) if mark else 0)
        _skip(report, place, f"{error.problem or error.context}")
    except yaml.YAMLError as error:
        _skip(report, source.place(0), f"not YAML: {str(error)[:200]}")
    if second is not None:
        report.warning(
            second,
            "only the first YAML document counts",
            hint="write all filters in one list",
            code="second-document",
        )
    return root


def _is_null(node: Node) -> bool:
    return node.kind == "scalar" and json_text(node) is None


def _skip(report: Report, place: Place, message: str) -> NoReturn:
    """A text that the operator skips."""
    report.problem(place, message, hint=f"write a list of maps: - name: grep; {_SKIPPED}", code="skipped-by-operator")
    raise Stopped


class _ListReader:
    """The list as it was read → the events of the JSON that Fluent Bit reads."""

    def __init__(self, sections: Sections, report: Report) -> None:
        self._report = report
        self._values = 0
        self._has_default_tag = False
        self._reader = PipelineReader(sections, report, self._begin_section, in_filters=True)

    def read(self, root: Node) -> None:
        try:
            self._read(root)
        except BadScalar as error:
            _skip(self._report, error.place, error.message)

    def _read(self, root: Node) -> None:
        if _is_null(root):
            return
        if root.kind != "sequence":
            _skip(self._report, root.place, "this is no list")
        written: list[tuple[bool, list[Event]]] = []
        for item in root.items:
            if item.kind == "mapping":
                members = self._members(item, 0)
                has_tag = bool(members.keys() & {"match", "match_regex"})
                written.append((has_tag, list(self._write_members(item, members))))
            elif _is_null(item):
                self._report.problem(
                    item.place,
                    "an empty filter: Calico's operator ends in a panic",
                    hint="remove the lone -",
                    code="syntax",
                )
            else:
                _skip(self._report, item.place, "this is no map")
        # Only now: where the operator skips the text, nothing else that is wrong with it matters.
        for has_tag, events in written:
            self._has_default_tag = not has_tag
            for event in events:
                self._reader.take(event)

    def _begin_section(self, place: Place) -> Section:
        return Section(place, has_default_tag=self._has_default_tag, is_from_operator=True)

    def _write(self, node: Node) -> Iterator[Event]:
        """The events of a value as JSON. Raises BadScalar."""
        self._count(node)
        if node.kind == "mapping":
            yield from self._write_members(node, self._members(node, 0))
        elif node.kind == "sequence":
            yield Event("sequence-start", node.place)
            for item in node.items:
                yield from self._write(item)
            yield Event("sequence-end", node.place)
        else:
            text = json_text(node)
            yield Event("scalar", node.place, "null" if text is None else text)

    def _write_members(self, node: Node, members: _Members) -> Iterator[Event]:
        yield Event("mapping-start", node.place)
        for name in sorted(members, key=lambda text: text.encode("utf-8", "surrogatepass")):
            key, value = members[name]
            yield Event("scalar", key.place, name)
            yield from self._write(value)
        yield Event("mapping-end", node.place)

    def _members(self, node: Node, depth: int) -> _Members:
        """The map's names with their values. Of equal names the last one is left, and a merged map counts as if it
        were written where its `<<` stands. Raises BadScalar."""
        found: _Members = {}
        own: set[str] = set()
        for key, value in zip(node.items[::2], node.items[1::2], strict=True):
            self._count(key)
            if is_merge(key):
                for part in reversed(value.items) if value.kind == "sequence" else [value]:
                    if part.kind != "mapping" or depth > _DEEPEST_NESTING:
                        raise BadScalar(value.place, "map merge requires map or sequence of maps as the value")
                    merged = self._members(part, depth + 1)
                    for name in merged.keys() & own:
                        self._warn_lost(key.place, name)
                    found |= merged
                continue
            name = name_text(key)
            if name in own:
                self._warn_lost(key.place, name)
            own.add(name)
            found[name] = key, value
        return found

    def _warn_lost(self, place: Place, name: str) -> None:
        self._report.warning(
            place,
            f"'{name}' is given again: only this one is left when Calico's operator has read it",
            hint=f"use a list: {name}: [a 1, b 1]",
            code="repeated-parameter",
        )

    def _count(self, node: Node) -> None:
        self._values += 1
        if self._values > _MOST_VALUES:
            _skip(self._report, node.place, "aliases make this text too large")
