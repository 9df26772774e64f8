"""A Fluent Bit text in the classic form (`[FILTER]` with indented lines), as Fluent Bit 5.1 reads it.

Line by line: a header or a directive at column 0, a property behind the file's one indent. Nothing here knows what a
property means.
"""

from __future__ import annotations

import glob
import os
import re

from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.fluentbit_sections import Property, Section, Sections, Text
from flowd.filters.source import Place, Report, Source
from flowd.filters.suggest import suggest_name

_LINE = re.compile(r"(?P<text>[^\n]*?)\r?(?:\n|\Z)")
_INDENT = re.compile(r"[ \t]*")
_DIRECTIVE = re.compile(r"@(?P<name>\S*)(?: (?P<rest>.*))?", re.DOTALL)
_FILTER = "filters"  # and every shorter form of it, down to the f
_MOST_INCLUDES = 1_000
_DEEPEST_INCLUDE = 20


def read_classic(source: Source, base_dir: str, report: Report) -> Sections:
    """The filters of a text. Problems go to the report."""
    reading = _Reading(base_dir, report)
    reading.read_file(source)
    return reading.sections


class _Reading:
    """All files of one text: what is included is relative to the main file, wherever it is included from."""

    def __init__(self, base_dir: str, report: Report) -> None:
        self.sections = Sections()
        self._base_dir = base_dir
        self._report = report
        self._seen: set[str] = set()
        self._open: list[str] = []

    def read_file(self, source: Source) -> None:
        real_path = os.path.realpath(source.file)
        self._seen.add(real_path)
        self._open.append(real_path)
        _FileReader(source, self, self._report).read()
        self._open.pop()

    def include(self, path: str, place: Place) -> None:
        pattern = os.path.join(self._base_dir, path)
        self._report.includes.append(pattern)
        if "*" in path:
            found = sorted(glob.glob(pattern))
            if not found:
                self._problem(
                    place, f"@INCLUDE {path}: no match", "nothing fits the path, which is relative to the file"
                )
        else:
            found = [pattern]
        for name in found:
            self._include_one(name, place)

    def _include_one(self, path: str, place: Place) -> None:
        if (
            os.path.realpath(path) in self._seen
            or len(self._seen) > _MOST_INCLUDES
            or len(self._open) > _DEEPEST_INCLUDE
        ):
            self._problem(place, f"{path} is included twice", "include each file once")
            return
        try:
            source = Source(path, read_text_file(path))
        except UnreadableText as error:
            self._report.problem(error.place, error.message, hint=error.hint, code="unreadable-text")
        except OSError as error:
            hint = "the path is relative to the main file"
            self._problem(place, f"@INCLUDE {path}: {error.strerror}", hint)
        else:
            self.read_file(source)

    def _problem(self, place: Place, message: str, hint: str) -> None:
        self._report.problem(place, message, hint=hint, code="include")


class _FileReader:
    def __init__(self, source: Source, reading: _Reading, report: Report) -> None:
        self._source = source
        self._reading = reading
        self._report = report
        self._indent = ""
        self._section: Section | None = None
        self._has_header = False

    def read(self) -> None:
        position = 0
        while position < len(self._source.text):
            found = _LINE.match(self._source.text, position)
            assert found is not None
            if found["text"].strip():
                self._read_line(found["text"], position)
            position = found.end()

    def _read_line(self, line: str, position: int) -> None:
        if line.startswith("#"):
            return
        if line.startswith("@"):
            self._read_directive(line, position)
        elif line.startswith("["):
            self._read_header(line, position)
        else:
            self._read_property(line, position)

    def _read_directive(self, line: str, position: int) -> None:
        found = _DIRECTIVE.match(line)
        assert found is not None
        name, rest = found["name"].lower(), found["rest"] or ""
        if name == "set":
            variable, separator, value = rest.partition("=")
            if not separator:
                self._problem(
                    position, "@SET without =", "write @SET NAME=value, with no blanks around the =", "syntax"
                )
            self._reading.sections.variables[variable] = value
        elif name == "include":
            # What is included begins outside of all sections; the section that is open here goes on behind it.
            self._reading.include(rest, self._source.place(position))

    def _read_header(self, line: str, position: int) -> None:
        end = line.find("]")
        if end < 0:
            self._problem(position, "bad header definition", "close the header: [FILTER]", "syntax")
            return
        name = line[1:end]
        self._has_header = True
        self._section = None
        if name and _FILTER.startswith(name.lower()):
            self._section = Section(self._source.place(position))
            self._reading.sections.filters.append(self._section)
        elif suggest_name(name, ("FILTER",)):
            self._report.warning(
                self._source.place(position),
                f"section [{name}] is unknown: nothing in it has any effect",
                hint="did you mean [FILTER]?",
                code="unknown-section",
            )

    def _read_property(self, line: str, position: int) -> None:
        blanks = _INDENT.match(line)
        assert blanks is not None
        indent, text = blanks[0], line[blanks.end() :]
        if text.startswith("#"):
            return
        if not self._has_header:
            hint = "begin with a header: [FILTER]"
            self._problem(position, "could not allocate key value pair: no section is open", hint, "syntax")
            return
        if indent and not self._indent:
            self._indent = indent
        if indent not in (self._indent, self._indent * 2) or not indent:
            self._report_indent(indent, position)
            return
        name, separator, value = text.partition(" ")
        value_position = position + len(indent) + len(name) + 1
        value_position += len(value) - len(value.lstrip(" \t\v\f\r"))
        value = value.strip(" \t\v\f\r")
        if not separator or not value:
            self._problem(
                position + len(indent),
                "undefined value - check config is in valid classic format",
                f"write a blank and the value behind {name}",
                "missing-value",
            )
            return
        if self._section is not None:
            text_of = Text(value, self._source.place(value_position))
            place = self._source.place(position + len(indent))
            self._section.properties.append(Property(name.lower(), (text_of,), False, place))

    def _report_indent(self, indent: str, position: int) -> None:
        if set(indent) - set(self._indent):
            detail = "inconsistent use of tab and space"
        elif len(indent) < len(self._indent) or not indent:
            detail = "indentation level is too low"
        else:
            detail = "extra indentation level found"
        self._problem(
            position, f"invalid indentation level: {detail}", "indent all lines as the file's first one is", "syntax"
        )

    def _problem(self, position: int, message: str, hint: str, code: str) -> None:
        self._report.problem(self._source.place(position), message, hint=hint, code=code)
