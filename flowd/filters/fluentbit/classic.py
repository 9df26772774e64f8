"""A Fluent Bit text in the classic form (`[FILTER]` with indented lines), as Fluent Bit 5.1 reads it.

Line by line: a header or a directive at column 0, a property behind the file's one indent, which its first indented
line fixes. Nothing here knows what a property means.
"""

from __future__ import annotations

import glob
import os
import re

from flowd.filters.files import UnreadableText, read_text_file
from flowd.filters.fluentbit.sections import SPACES, Property, Section, Sections, Text, report_reaching_out
from flowd.filters.source import Place, Report, Source
from flowd.filters.suggest import suggest_name

_LINE = re.compile(r"(?P<text>[^\n]*?)\r?(?:\n|\Z)")
_BLANKS = " \t"
_INCLUDE = "@include "
_SHORTEST_DIRECTIVE = 4  # with its @: what is shorter is a property to Fluent Bit
_FILTER = "filters"  # and every shorter form of it, down to the f
_NOT_HERE = ("parser", "multiline_parser")
_MOST_FILES = 1_000  # Fluent Bit's own
_DEEPEST_INCLUDE = 20
_FILE_VALUE = "file://"
_NO_VALUE = "undefined value - check config is in valid classic format"


def read_classic(source: Source, base_dir: str, report: Report, *, is_foreign: bool = False) -> Sections:
    """The filters of a text. Problems go to the report. One that `is_foreign` may name no other file."""
    reading = _Reading(base_dir, report, is_foreign)
    reading.read_file(source)
    return reading.sections


class _Reading:
    """All files of one text: what is included is relative to the main file, wherever it is included from."""

    def __init__(self, base_dir: str, report: Report, is_foreign: bool) -> None:
        self.sections = Sections()
        self._base_dir = base_dir
        self._report = report
        self._is_foreign = is_foreign
        self._seen: set[object] = set()
        self._depth = 0

    def read_file(self, source: Source) -> None:
        self._seen.add(_identity(source.file))
        self._depth += 1
        _FileReader(source, self, self._report).read()
        self._depth -= 1

    def include(self, path: str, place: Place) -> None:
        if self._is_foreign:
            report_reaching_out(place, f"@INCLUDE {path}", self._report)
        elif "*" not in path:
            found = os.path.join(self._base_dir, path)
            self._report.includes.append(glob.escape(found))
            self._include_one(found, path, place)
        else:
            pattern = os.path.join(glob.escape(self._base_dir), path)
            self._report.includes.append(pattern)
            names = sorted(glob.glob(pattern))
            if not names:
                self._problem(
                    place, f"@INCLUDE {path}: no match", "nothing fits the path, which is relative to the file"
                )
            for name in names:
                self._include_one(name, path, place)

    def _include_one(self, path: str, written: str, place: Place) -> None:
        if _identity(path) in self._seen:
            self._problem(place, f"Read twice. path={path}", "a file may be included once: remove the other @INCLUDE")
            return
        if len(self._seen) >= _MOST_FILES or self._depth > _DEEPEST_INCLUDE:
            self._problem(place, f"too many files are included at {path}", "put the text into fewer files")
            return
        try:
            source = Source(path, read_text_file(path))
        except UnreadableText as error:
            self._report.problem(error.place, error.message, hint=error.hint, code="unreadable-text")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._problem(place, f"@INCLUDE {written}: {reason}", "the path is relative to the main file")
        else:
            self.read_file(source)

    def _problem(self, place: Place, message: str, hint: str) -> None:
        self._report.problem(place, message, hint=hint, code="include")


def _identity(path: str) -> object:
    """What makes two paths the same file; of a text that is no file, its name."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return path
    return found.st_dev, found.st_ino


class _FileReader:
    def __init__(self, source: Source, reading: _Reading, report: Report) -> None:
        self._source = source
        self._reading = reading
        self._report = report
        self._indent = ""
        self._section: Section | None = None
        self._has_header = False
        self._in_group = False

    def read(self) -> None:
        position = 0
        text = self._source.text
        if (nul := text.find("\0")) >= 0:
            self._problem(nul, "a NUL, which Fluent Bit takes for the line's end", "remove it", "syntax")
            return
        while position < len(text):
            found = _LINE.match(text, position)
            assert found is not None
            if found["text"]:
                self._read_line(found["text"], position)
            position = found.end()

    def _read_line(self, line: str, position: int) -> None:
        if line.startswith("#"):
            return
        if line.lower().startswith(_INCLUDE) and len(line) > len(_INCLUDE):
            # What is included begins outside of all sections; the section that is open here goes on behind it.
            self._reading.include(line[len(_INCLUDE) :], self._source.place(position))
        elif line.startswith("@") and len(line) >= _SHORTEST_DIRECTIVE:
            self._read_directive(line, position)
        elif line.startswith("["):
            self._read_header(line, position)
        else:
            self._read_property(line, position)

    def _read_directive(self, line: str, position: int) -> None:
        name, separator, rest = line[1:].partition(" ")
        if not separator or (rest and not rest.strip(SPACES)):
            self._problem(position, f"@{name} without a value", "write @SET NAME=value, or remove the line", "syntax")
            return
        if name.strip(SPACES).lower() != "set":
            return
        variable, separator, value = rest.strip(SPACES).partition("=")
        if not separator:
            self._report.warning(
                self._source.place(position),
                f"@SET {rest.strip(SPACES)} sets nothing: it has no =",
                hint="write @SET NAME=value, with no blanks around the =",
                code="ignored-property",
            )
        elif value.startswith(_FILE_VALUE) and len(value) > len(_FILE_VALUE):
            message = f"the variable {variable} is to be read from a file, which flowd does not do"
            self._problem(position, message, "write its value here, or set it in the environment", "bad-value")
        else:
            self._reading.sections.variables[variable] = value

    def _read_header(self, line: str, position: int) -> None:
        self._in_group = False
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
        elif name.lower() in _NOT_HERE:
            self._problem(
                position,
                "Sections 'multiline_parser' and 'parser' are not valid in the main configuration file.",
                "put parsers into the files that parsers_file names",
                "syntax",
            )
        elif suggest_name(name, ("FILTER",)):
            self._report.warning(
                self._source.place(position),
                f"section [{name}] is unknown: nothing in it has any effect",
                hint="did you mean [FILTER]?",
                code="unknown-section",
            )

    # Properties

    def _read_property(self, line: str, position: int) -> None:
        content = line.strip(_BLANKS)
        if not self._has_header and content and not content.startswith("#"):
            # At column 0 the first character would be taken for the indent.
            has_value = " " in (content if line[:1] in _BLANKS else content[1:])
            message = "could not allocate key value pair: no section is open" if has_value else _NO_VALUE
            self._problem(position, message, "begin with a header at the line's beginning: [FILTER]", "syntax")
            return
        indent = self._find_indent(line, position)
        if indent is None or indent == len(line) or line[indent] == "#":
            return
        name, separator, value = line[indent:].partition(" ")
        if not separator:
            self._refuse_value(position + indent, _NO_VALUE, name)
        elif name.startswith("["):
            self._read_group(line, indent, position)
        elif not value:
            self._refuse_value(position + indent, "key has an empty value", name)
        elif not value.strip(SPACES):
            self._refuse_value(position + indent, "could not allocate key value pair: the value is blank", name)
        elif self._section is not None and not self._in_group:
            value_position = position + len(line) - len(value.lstrip(SPACES))
            text = Text(value.strip(SPACES), self._source.place(value_position))
            place = self._source.place(position + indent)
            self._section.properties.append(Property(name.lower().strip(SPACES), (text,), False, place))

    def _read_group(self, line: str, indent: int, position: int) -> None:
        end = line.find("]", indent)
        if end < 0:
            self._problem(position + indent, "expected a valid group name: [..]", "close the group's name", "syntax")
        elif end > indent + 1:  # without a name it is no group: what follows belongs to the section
            self._in_group = True

    def _find_indent(self, line: str, position: int) -> int | None:
        """How many characters of the line are its indent; None where that is wrong (and told).

        Lines of blanks alone have an indent, too: Fluent Bit looks at it.
        """
        blanks = len(line) - len(line.lstrip(_BLANKS))
        if not self._indent:
            self._indent = line[:blanks]
        if not line.startswith(self._indent) or not blanks:
            is_mixed = blanks and not line[:blanks].startswith(self._indent[:blanks])
            detail = "inconsistent use of tab and space" if is_mixed else "indentation level is too low"
        elif blanks == len(self._indent):
            self._in_group = False
            return blanks
        elif blanks == 2 * len(self._indent):
            return blanks
        else:
            detail = "extra indentation level found"
        self._problem(
            position, f"invalid indentation level: {detail}", "indent all lines as the file's first one is", "syntax"
        )
        return None

    def _refuse_value(self, position: int, message: str, name: str) -> None:
        self._problem(position, message, f"write a blank and the value behind {name}", "missing-value")

    def _problem(self, position: int, message: str, hint: str, code: str) -> None:
        self._report.problem(self._source.place(position), message, hint=hint, code=code)
