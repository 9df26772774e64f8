"""A Fluent Bit text in YAML, as Fluent Bit 5.1 itself reads it: a whole configuration, or the bare list of its filters.

Follows the parser's events, as Fluent Bit does: every scalar is the text as it is written, a name may be given several
times, and aliases are refused. A bare list is read as if it stood under `pipeline:` and `filters:`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any

import yaml

from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.fluentbit.events import Event, EventKind, PipelineReader, Stopped, refuse_event
from flowd.filters.fluentbit.quoting import QuotedList
from flowd.filters.fluentbit.sections import Section, Sections, report_reaching_out
from flowd.filters.recognise import LARGEST_YAML_CHARS, YAML_LOADER
from flowd.filters.source import Place, Report, Source
from flowd.filters.suggest import suggest_name

ROOT_SECTIONS = (
    "env", "includes", "service", "customs", "parsers", "multiline_parsers", "stream_processor", "plugins",
    "upstream_servers", "pipeline",
)  # fmt: skip
_MOST_INCLUDES = 100
_FILE_VALUE = "file://"

_KINDS: dict[type[yaml.Event], EventKind] = {
    yaml.AliasEvent: "alias",
    yaml.ScalarEvent: "scalar",
    yaml.SequenceStartEvent: "sequence-start",
    yaml.SequenceEndEvent: "sequence-end",
    yaml.MappingStartEvent: "mapping-start",
    yaml.MappingEndEvent: "mapping-end",
}


def read_yaml(source: Source, base_dir: str, report: Report, *, is_foreign: bool = False) -> Sections:
    """The filters of a text, each with its default tag not yet set. Problems go to the report.

    One that `is_foreign` may name no other file.
    """
    sections = Sections()
    _FileReader(source, base_dir, report, sections, [os.path.realpath(source.file)], is_foreign=is_foreign).read(
        is_main=True
    )
    return sections


def place_of_mark(source: Source, mark: Any) -> Place:
    """The place of a YAML mark, which may be missing or stand behind the text's end."""
    return source.place(min(mark.index, len(source.text)) if mark else 0)


class _FileReader:
    """Reads one file's events, one at a time."""

    def __init__(
        self,
        source: Source,
        base_dir: str,
        report: Report,
        sections: Sections,
        seen_files: list[str],
        *,
        is_foreign: bool = False,
    ) -> None:
        self._source = source
        self._base_dir = base_dir
        self._report = report
        self._sections = sections
        self._seen_files = seen_files
        self._is_foreign = is_foreign
        self._quoted: QuotedList | None = None
        self._has_service = False

    def read(self, *, is_main: bool) -> None:
        if len(self._source.text) > LARGEST_YAML_CHARS:
            self._problem(self._source.place(0), "the text is larger than 4 MiB", "a filter text is far smaller")
            return
        text = self._source.text
        if is_main and not _is_whole(text):
            self._quoted = QuotedList(text)
            text = self._quoted.text
        try:
            self._read_stream(yaml.parse(text, Loader=YAML_LOADER))
        except Stopped:
            pass
        except yaml.MarkedYAMLError as error:
            place = self._place_of_mark(error.problem_mark or error.context_mark)
            self._problem(place, f"{error.problem or error.context}", "this is no YAML: check indents and quotes")
        except yaml.YAMLError as error:
            self._problem(self._source.place(0), f"not YAML: {str(error)[:200]}", "check the text")

    def _read_stream(self, parsed: Iterator[yaml.Event]) -> None:
        events = self._translate(parsed)
        for event in events:  # a document's first one: several documents are read as one text
            if event.kind != "mapping-start":
                refuse_event(event, "document", self._report, "write the sections' names: pipeline:, with filters:")
            self._read_root(events)

    def _translate(self, parsed: Iterator[yaml.Event]) -> Iterator[Event]:
        for event in parsed:
            kind = _KINDS.get(type(event))
            if kind is not None:
                value = event.value if isinstance(event, yaml.ScalarEvent) else ""
                yield Event(kind, self._place_of_mark(event.start_mark), value)

    def _read_root(self, events: Iterator[Event]) -> None:
        while (event := self._next(events)).kind != "mapping-end":
            if event.kind != "scalar":
                refuse_event(event, "section", self._report, "write a section's name")
            name = event.value.lower()
            if name == "pipeline":
                self._read_pipeline(events)
            elif name == "includes":
                self._read_includes(events)
            elif name == "env":
                self._read_env(events)
            elif name in ROOT_SECTIONS:
                self._skip_section(event, events)
            else:
                self._read_other(event, events)

    def _read_pipeline(self, events: Iterator[Event]) -> None:
        reader = PipelineReader(self._sections, self._report, self._begin_section)
        while not reader.is_done:
            reader.take(self._next(events))

    def _begin_section(self, place: Place) -> Section:
        return Section(place, has_default_tag=self._quoted is not None)

    # The other sections

    def _read_env(self, events: Iterator[Event]) -> None:
        for name, value in self._read_scalars(events, "env"):
            if value.value.startswith(_FILE_VALUE) and len(value.value) > len(_FILE_VALUE):
                self._problem(
                    value.place,
                    f"the variable {name.value} is to be read from a file, which flowd does not do",
                    "write its value here, or set it in the environment",
                    "bad-value",
                )
            self._sections.variables[name.value] = value.value

    def _read_other(self, name: Event, events: Iterator[Event]) -> None:
        """A section of a name that Fluent Bit does not know either: it takes any, of names and values."""
        for _ in self._read_scalars(events, "other"):
            pass
        suggested = suggest_name(name.value, ROOT_SECTIONS)
        self._report.warning(
            name.place,
            f"section {name.value} is unknown: nothing in it has any effect",
            hint=f"did you mean {suggested}?" if suggested else "filters stand in pipeline, below filters",
            code="unknown-section",
        )

    def _read_scalars(self, events: Iterator[Event], state: str) -> Iterator[tuple[Event, Event]]:
        shown = state if state == "other" else "section"
        if (event := self._next(events)).kind != "mapping-start":
            refuse_event(event, shown, self._report, "write NAME: value, indented, one a line")
        while (name := self._next(events)).kind != "mapping-end":
            value = self._next(events)
            if name.kind != "scalar" or value.kind != "scalar":
                refuse_event(value, shown, self._report, "write NAME: value, indented, one a line")
            yield name, value

    def _skip_section(self, name: Event, events: Iterator[Event]) -> None:
        if name.value.lower() == "service":
            if self._has_service:
                self._problem(name.place, f"duplicated definition of '{name.value}'", "write one service section")
                raise Stopped
            self._has_service = True
        depth = 0
        for event in events:
            depth += event.kind in ("sequence-start", "mapping-start")
            depth -= event.kind in ("sequence-end", "mapping-end")
            if depth <= 0:
                return

    def _next(self, events: Iterator[Event]) -> Event:
        event = next(events, None)
        if event is None:  # maps as names end a state before its map: then events run short
            self._problem(self._source.place(len(self._source.text)), "the text ends within a section", "check it")
            raise Stopped
        return event

    # Includes

    def _read_includes(self, events: Iterator[Event]) -> None:
        if (event := self._next(events)).kind != "sequence-start":
            refuse_event(event, "include", self._report, "write a list of paths: - more.yaml")
        while (event := self._next(events)).kind != "sequence-end":
            if event.kind != "scalar":
                refuse_event(event, "include", self._report, "write the paths of files")
            if self._is_foreign:
                report_reaching_out(event.place, event.value, self._report)
            else:
                self._include_all(event.value.partition("\0")[0], event.place)

    def _include_all(self, path: str, place: Place) -> None:
        if "*" not in path:
            found = os.path.join(self._base_dir, path)
            self._report.includes.append(glob.escape(found))
            self._include(found, place)
            return
        pattern = os.path.join(glob.escape(self._base_dir), path)
        self._report.includes.append(pattern)
        names = sorted(glob.glob(pattern))
        if not names:
            self._problem(
                place, f"includes {path}: no match", "nothing fits the path, which is relative to the file", "include"
            )
        for name in names:
            self._include(name, place)

    def _include(self, path: str, place: Place) -> None:
        real_path = os.path.realpath(path)
        if real_path in self._seen_files:
            self._problem(place, f"file '{path}' is already included", "include each file once", "include")
            return
        if len(self._seen_files) > _MOST_INCLUDES:
            self._problem(place, f"too many files are included at {path}", "put the text into fewer files", "include")
            return
        self._seen_files.append(real_path)
        try:
            included = Source(path, read_text_file(path))
        except UnreadableText as error:
            self._problem(error.place, error.message, error.hint, "unreadable-text")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._problem(place, f"{path}: {reason}", "a path is relative to the including file", "include")
        else:
            _FileReader(included, os.path.dirname(path), self._report, self._sections, self._seen_files).read(
                is_main=False
            )

    # Places and problems

    def _place_of_mark(self, mark: Any) -> Place:
        if self._quoted is None or not mark:
            return place_of_mark(self._source, mark)
        return self._source.place(self._quoted.original_offset(mark.index))

    def _problem(self, place: Place, message: str, hint: str, code: str = "syntax") -> None:
        self._report.problem(place, message, hint=hint, code=code)


def _is_whole(text: str) -> bool:
    """Is it a map in which one of the sections of a configuration is named?"""
    depth = 0
    nodes_in_root = 0  # names and values alternate
    try:
        for event in yaml.parse(text, Loader=YAML_LOADER):
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.NodeEvent):
                if depth == 0 and not isinstance(event, yaml.MappingStartEvent):
                    return False
                if depth == 1:
                    nodes_in_root += 1
                    name = event.value.lower() if isinstance(event, yaml.ScalarEvent) else ""
                    if nodes_in_root % 2 and name in ROOT_SECTIONS:
                        return True
                depth += isinstance(event, yaml.CollectionStartEvent)
            elif isinstance(event, yaml.DocumentEndEvent):
                return False
    except yaml.YAMLError:
        return False
    return False
