"""A Fluent Bit text in YAML, as Fluent Bit 5.1 itself reads it: a whole pipeline, or the bare list under its `filters`.

Follows the parser's events, as Fluent Bit does: every scalar is the text as it is written, a name may be given several
times, and aliases are refused. Nothing here knows what a property means.
"""

from __future__ import annotations

import glob
import os
from typing import Any, NoReturn

import yaml

from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.fluentbit_sections import Property, Section, Sections, Text
from flowd.filters.recognise import LARGEST_YAML_CHARS, YAML_LOADER
from flowd.filters.source import Place, Report, Source

ROOT_SECTIONS = (
    "env", "includes", "service", "customs", "parsers", "multiline_parsers", "stream_processor", "plugins",
    "upstream_servers", "pipeline",
)  # fmt: skip
_MOST_INCLUDES = 100
_DEEPEST = 100

# libyaml's own numbers, which Fluent Bit's messages show.
_EVENTS: dict[type[yaml.Event], tuple[str, int]] = {
    yaml.AliasEvent: ("alias-event", 5),
    yaml.ScalarEvent: ("scalar-event", 6),
    yaml.SequenceStartEvent: ("sequence-start-event", 7),
    yaml.SequenceEndEvent: ("sequence-end-event", 8),
    yaml.MappingStartEvent: ("mapping-start-event", 9),
    yaml.MappingEndEvent: ("mapping-end-event", 10),
}
_PIPELINE, _PLUGIN_KEY, _PLUGIN_VALUE, _GROUP_KEY, _GROUP_VALUE = (
    ("pipeline", 11), ("plugin-key", 16), ("plugin-value", 17), ("group-key", 20), ("group-val", 21),
)  # fmt: skip
_LIST_HINT = "a filter is a map in a list: - name: grep"


class _Stopped(Exception):
    """The text cannot be read further; what is wrong is told."""


def read_yaml(source: Source, base_dir: str, report: Report) -> Sections:
    """The filters of a text, each with its default tag not yet set. Problems go to the report."""
    sections = Sections()
    reader = _FileReader(source, base_dir, report, sections, [os.path.realpath(source.file)])
    reader.read(is_main=True)
    return sections


def place_of_mark(source: Source, mark: Any) -> Place:
    """The place of a YAML mark, which may be missing or stand behind the text's end."""
    return source.place(min(mark.index, len(source.text)) if mark else 0)


class _FileReader:
    """Reads one file's events, one at a time."""

    def __init__(
        self, source: Source, base_dir: str, report: Report, sections: Sections, open_files: list[str]
    ) -> None:
        self._source = source
        self._base_dir = base_dir
        self._report = report
        self._sections = sections
        self._open_files = open_files

    def read(self, *, is_main: bool) -> None:
        if len(self._source.text) > LARGEST_YAML_CHARS:
            self._problem(self._source.place(0), "the text is larger than 4 MiB", "a filter text is far smaller")
            return
        self._events = yaml.parse(self._source.text, Loader=YAML_LOADER)
        try:
            self._read_stream(is_main=is_main)
        except _Stopped:
            pass
        except yaml.MarkedYAMLError as error:
            place = place_of_mark(self._source, error.problem_mark or error.context_mark)
            self._problem(place, f"{error.problem or error.context}", "this is no YAML: check indents and quotes")
        except yaml.YAMLError as error:
            self._problem(self._source.place(0), f"not YAML: {str(error)[:200]}", "check the text")

    def _next(self) -> yaml.Event:
        event: yaml.Event = next(self._events)
        return event

    def _read_stream(self, *, is_main: bool) -> None:
        self._next()  # the stream's start
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            self._stop(event, yaml.ScalarEvent, _PIPELINE, "the text is empty: write a list of filters, or [] for none")
        is_marked = isinstance(event, yaml.DocumentStartEvent) and event.explicit
        first = self._next()
        if isinstance(first, yaml.SequenceStartEvent) and is_main:
            if is_marked:
                self._stop(event, yaml.ScalarEvent, _PIPELINE, "remove the line ---")
            self._read_filters(first, has_default_tag=True)
        elif isinstance(first, yaml.MappingStartEvent):
            self._read_root(first)
        else:
            self._stop(first, yaml.ScalarEvent, _PIPELINE, _LIST_HINT)
        self._next()  # the document's end
        ending = self._next()
        if not isinstance(ending, yaml.StreamEndEvent):
            self._stop(ending, yaml.ScalarEvent, _PIPELINE, "write one document: remove the line ---")

    # The whole configuration

    def _read_root(self, root: yaml.Event) -> None:
        is_known = False
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), ("section", 3), "write a section's name")
            if event.value not in ROOT_SECTIONS:
                if not is_known:
                    self._stop(root, yaml.MappingEndEvent, _PIPELINE, _LIST_HINT)
                self._problem(self._place(event), f"unknown section '{event.value}'", "there is pipeline, with filters")
                raise _Stopped
            is_known = True
            self._read_root_section(event.value)

    def _read_root_section(self, name: str) -> None:
        value = self._next()
        if name == "pipeline" and isinstance(value, yaml.MappingStartEvent):
            self._read_pipeline()
        elif name == "env" and isinstance(value, yaml.MappingStartEvent):
            self._read_env()
        elif name == "includes" and isinstance(value, yaml.SequenceStartEvent):
            self._read_includes()
        elif name == "pipeline":
            self._stop(value, type(value), ("section-val", 5), "write filters: below pipeline:, indented")
        else:
            self._skip(value)

    def _read_pipeline(self) -> None:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), _PIPELINE, "write inputs, filters or outputs")
            value = self._next()
            if event.value != "filters":
                self._skip(value)
            elif isinstance(value, yaml.SequenceStartEvent):
                self._read_filters(value, has_default_tag=False)
            else:
                self._stop(value, type(value), _PIPELINE, _LIST_HINT)

    def _read_env(self) -> None:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            value = self._next()
            if not isinstance(event, yaml.ScalarEvent) or not isinstance(value, yaml.ScalarEvent):
                self._stop(value, type(value), ("env", 12), "write NAME: value")
            self._sections.variables[event.value] = value.value

    def _read_includes(self) -> None:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), ("include", 7), "write the paths of files")
            pattern = os.path.join(self._base_dir, event.value)
            self._report.includes.append(pattern)
            for path in sorted(glob.glob(pattern)) or [pattern]:
                self._include(path, self._place(event))

    def _include(self, path: str, place: Place) -> None:
        real_path = os.path.realpath(path)
        if real_path in self._open_files or len(self._open_files) > _MOST_INCLUDES:
            self._problem(place, f"{path} is included twice", "include each file once", "include")
            return
        self._open_files.append(real_path)
        try:
            included = Source(path, read_text_file(path))
        except UnreadableText as error:
            self._problem(error.place, error.message, error.hint, "unreadable-text")
        except OSError as error:
            self._problem(place, f"{path}: {error.strerror}", "a path is relative to the including file", "include")
        else:
            _FileReader(included, os.path.dirname(path), self._report, self._sections, self._open_files).read(
                is_main=False
            )

    # Filters

    def _read_filters(self, opening: yaml.Event, *, has_default_tag: bool) -> None:
        del opening
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.MappingStartEvent):
                self._stop(event, type(event), _PIPELINE, _LIST_HINT)
            section = Section(self._place(event), has_default_tag=has_default_tag)
            self._sections.filters.append(section)
            self._read_plugin(section)

    def _read_plugin(self, section: Section) -> None:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), _PLUGIN_KEY, "write a property's name")
            name, place = event.value, self._place(event)
            value = self._next()
            if isinstance(value, yaml.ScalarEvent):
                section.properties.append(Property(name, (self._read_scalar(value),), False, place))
            elif isinstance(value, yaml.SequenceStartEvent):
                section.properties.append(Property(name, self._read_list(name), True, place))
            elif isinstance(value, yaml.MappingStartEvent):
                self._read_group(name, value, place)
            else:
                self._stop(value, type(value), _PLUGIN_VALUE, "write the value itself: aliases are not known here")

    def _read_scalar(self, event: yaml.ScalarEvent) -> Text:
        value = event.value.strip(" \t\r\n\v\f")
        place = self._place(event)
        if event.value and not value:
            self._problem(place, "unable to add variant value property: it is blank", "give it a value, or remove it")
        return Text(value, place)

    def _read_list(self, name: str) -> tuple[Text, ...]:
        found = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), ("values of " + name, 18), "a list holds texts only: KEY PATTERN")
            found.append(Text(event.value, self._place(event)))
        return tuple(found)

    def _read_group(self, name: str, opening: yaml.Event, place: Place) -> None:
        """A map as a value, which no property of a filter takes."""
        if name.strip() == "processors":
            self._skip(opening)
            self._report.warning(
                place,
                "section 'filter' does not support processors: they are ignored",
                hint="write them as filters of their own",
                code="ignored-property",
            )
            return
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(event, type(event), _GROUP_KEY, f"write {name} as a text")
            value = self._next()
            if not isinstance(value, yaml.ScalarEvent):
                self._stop(value, type(value), _GROUP_VALUE, f"a filter knows no {name} with a map: remove it")
        self._problem(
            place,
            f"could not configure property '{name}' on filter plugin with section name 'grep': its value is a map",
            "write KEY PATTERN as one text",
            "bad-value",
        )

    def _skip(self, event: yaml.Event) -> None:
        """Passes over a value, however deep."""
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = self._next()

    # Problems

    def _stop(self, event: yaml.Event, kind: type[yaml.Event], state: tuple[str, int], hint: str) -> NoReturn:
        name, number = _EVENTS.get(kind, ("event", 0))
        message = f"unexpected event '{name}' ({number}) in state '{state[0]}' ({state[1]})."
        self._problem(self._place(event), message, hint)
        raise _Stopped

    def _place(self, event: yaml.Event) -> Place:
        return place_of_mark(self._source, event.start_mark)

    def _problem(self, place: Place, message: str, hint: str, code: str = "syntax") -> None:
        self._report.problem(place, message, hint=hint, code=code)
