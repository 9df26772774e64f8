"""The grammar of fluentd's v1 configuration: text → a tree of sections and parameters.

Reads character by character as fluentd 1.19 does, and reports every problem instead of stopping at the first: after
one it goes on at the next place where a line can begin. What sections mean is not known here, and nothing but
included files is read.
"""

from __future__ import annotations

import os
import re

from flowd.filters.files import UnreadableText
from flowd.filters.fluentd.elements import Element, Parameter, Unset, Value
from flowd.filters.fluentd.include import IncludeError, Reading, find_included, include_pattern
from flowd.filters.fluentd.values import Broken, ValueReader
from flowd.filters.source import Place, Report, Source

_SECTION_NAME = re.compile("[a-zA-Z0-9_]*")
_SPACING = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_BLANKS_AND_LINES = re.compile(r"[ \t\r\n]*")
# The rest of a line. A comment runs to the next LF: a CR alone does not end it.
_LINE_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r|\n|\Z)")
_ROOT_INCLUDE = re.compile(r"(@include|include)(?=[ \t\r\n#]|\Z)")
_RESERVED = frozenset(("@type", "@id", "@label", "@log_level"))
_STRICT_SECTIONS = frozenset(("match", "source", "filter", "system"))
_BOM = "\ufeff"


def read_elements(sources: list[tuple[Source, str]], report: Report, *, comparisons: bool = False) -> Element:
    """The tree of one text that is given in parts; each part comes with the folder that its includes start from.

    With `comparisons` a line that begins with `<=` is a parameter, as flowd's own dialect has it; fluentd refuses it.
    """
    root = Element("ROOT", "", sources[0][0].place(0), 0)
    reading = Reading(report, comparisons)
    for source, base_dir in sources:
        reading.open_files.append(os.path.realpath(source.file))
        _FileReader(source, base_dir, reading).read_into(root, main=True)
        reading.open_files.pop()
    return root


class _FileReader(ValueReader):
    """Reads one file into a section: the root, or the section that an `@include` stands in."""

    def __init__(self, source: Source, base_dir: str, reading: Reading) -> None:
        super().__init__(source, reading.report)
        self._base_dir = base_dir
        self._reading = reading
        self._endless_comment: Place | None = None

    def read_into(self, container: Element, *, main: bool) -> None:
        """Read the whole file; what it opens it must close itself."""
        stack = [container]
        while True:
            self._skip_spacing()
            if self.position >= len(self.text):
                break
            if self.text.startswith("</", self.position):
                if self._read_end_tag(stack):
                    self._check_ended(main)
                    break
            elif self._at_section():
                self._read_start_tag(stack)
            elif len(stack) == 1 and (include := _ROOT_INCLUDE.match(self.text, self.position)):
                self._read_root_include(include, container)
            else:
                self._read_parameter(stack)
        for element in stack[1:]:
            hint = f"the section opened here is never closed: add </{element.name}>"
            if self._endless_comment is not None:
                hint = f"the comment at {self._endless_comment} hides the lines after it: end lines with LF or CR LF"
            self._problem(
                element.place,
                f"expected end tag '</{element.name}>' but got end of file",
                hint,
                "unclosed-section",
            )

    def _at_section(self) -> bool:
        after = self.text[self.position + 1 : self.position + 2]
        if self._reading.comparisons and after == "=":
            return False
        return self.text[self.position] == "<" and after not in ("", " ", "\t", "\r", "\n")

    def _skip_spacing(self) -> None:
        found = _SPACING.match(self.text, self.position)
        self.position = found.end() if found else self.position

    def _skip_line_end(self) -> bool:
        """Skip to the next line that holds something; False if something else stands on this one."""
        ended = False
        while (found := _LINE_END.match(self.text, self.position)) is not None:
            self._check_comment(found[0])
            self.position = found.end()
            ended = True
            if self.position >= len(self.text):
                break
        return ended

    def _check_comment(self, skipped: str) -> None:
        carriage_return = skipped.find("\r", 0, -2)
        if carriage_return >= 0 and skipped[carriage_return:].strip():
            self._endless_comment = self.source.place(self.position + skipped.find("#"))
            self.report.warning(
                self._endless_comment,
                "this comment hides the lines after it: a CR alone does not end a comment",
                hint="end lines with LF or CR LF",
                code="endless-comment",
            )

    def _place_after_blanks(self, position: int) -> Place:
        while self.text[position : position + 1] in (" ", "\t"):
            position += 1
        return self.source.place(position)

    def _problem(self, place: Place, message: str, hint: str, code: str = "syntax") -> None:
        self.report.problem(place, message, hint=hint, code=code)

    # Sections

    def _read_start_tag(self, stack: list[Element]) -> None:
        start = self.position
        place = self.source.place(start)
        line_end = self.source.line_end(start)
        self.position += 1
        name = self._scan_section_name()
        self._skip_spacing()
        argument: Value = ""
        try:
            argument = self._read_argument()
        except Broken as broken:
            argument = Unset.BROKEN
            self.position = broken.resume
        else:
            self._skip_spacing()
            if not self.text.startswith(">", self.position):
                self._problem(
                    place,
                    "expected '>'",
                    "close the tag with > on the same line (a # right after the name hides the rest of the line)",
                )
                argument = Unset.BROKEN
                self.position = line_end
            else:
                self.position += 1
                after = self.position
                if not self._skip_line_end():
                    self._problem(
                        self._place_after_blanks(after),
                        "expected end of line after tag",
                        "what follows goes on its own line",
                    )
        element = Element(name, argument, place, self._reading.next_order())
        stack[-1].children.append(element)
        stack.append(element)

    def _scan_section_name(self) -> str:
        found = _SECTION_NAME.match(self.text, self.position)
        name = found[0] if found else ""
        self.position += len(name)
        return name

    def _read_argument(self) -> Value:
        """A tag's argument: a quoted string, or everything on the line before the closing `>`. Raises Broken."""
        if self.text.startswith(("'", '"'), self.position):
            return self.read_quoted()
        start = position = self.position
        while position < len(self.text) and self.text[position] not in ">\n":
            if self.text[position] in " \t\r":
                found = _SPACING.match(self.text, position)
                self.position = found.end() if found else position
                if self.text.startswith(">", self.position):
                    break
                while self.text[position : position + 1] in (" ", "\t", "\r"):
                    position += 1
            else:
                position += 1
        self.position = position
        return self.text[start:position]

    def _read_end_tag(self, stack: list[Element]) -> bool:
        """Close a section; True if the tag ends the whole file, which only `</>` outside all sections does."""
        start = self.position
        place = self.source.place(start)
        line_end = self.source.line_end(start)
        self.position += 2
        name = self._scan_section_name()
        self._skip_spacing()
        if not self.text.startswith(">", self.position):
            self._problem(place, "expected character in tag name", f"an end tag holds a name only: </{name}>")
            self.position = line_end
        else:
            self.position += 1
            after = self.position
            if not self._skip_line_end():
                self._problem(
                    self._place_after_blanks(after),
                    "expected end of line after end tag",
                    "what follows goes on its own line",
                )
        if len(stack) == 1:
            if not name:
                return True
            self._report_stray_end(place, name)
            return False
        if stack[-1].name != name:
            self._report_unmatched_end(place, name, stack)
            # One that closes an outer section closes those inside it too; any other is taken for a misspelt end tag.
            while len(stack) > 2 and name in (element.name for element in stack[1:-1]):
                if stack[-1].name == name:
                    break
                stack.pop()
        stack.pop()
        return False

    def _report_stray_end(self, place: Place, name: str) -> None:
        hint = "no section is open here: remove the end tag, or add the start tag that is missing"
        if self.text.startswith(_BOM):
            hint = "the file begins with a byte order mark, which hides its first tag: save it without"
        self._problem(place, "unmatched end tag", f"</{name}>: {hint}", "unmatched-end-tag")

    def _report_unmatched_end(self, place: Place, name: str, stack: list[Element]) -> None:
        opened = stack[-1]
        self._problem(
            place,
            "unmatched end tag",
            f"</{opened.name}> is expected before </{name}>: <{opened.name}> was opened on line {opened.place.line}",
            "unmatched-end-tag",
        )

    def _check_ended(self, main: bool) -> None:
        self._skip_spacing()
        if main and self.position < len(self.text):
            self._problem(self.source.place(self.position), "expected EOF", "</> ends the whole text: remove it")

    # Parameters

    def _read_parameter(self, stack: list[Element]) -> None:
        start = self.position
        place = self.source.place(start)
        order = self._reading.next_order()
        try:
            name = self.read_name()
            if not isinstance(name, str):
                if name is not Unset.BROKEN:
                    self._problem(place, "a parameter's name cannot be nil", "write the name itself")
                raise Broken(self.source.line_end(start))
            value, value_place = self._read_value(name, stack, place)
        except Broken as broken:
            self.position = broken.resume
            broken_name = self.text[start : self.position].split(None, 1)[0] if self.position > start else ""
            stack[-1].parameters[broken_name] = Parameter(broken_name, Unset.BROKEN, place, place, order)
            return
        if value is None:
            return
        earlier = stack[-1].parameters.get(name)
        if earlier is not None and earlier.value is not Unset.BROKEN:
            self.report.warning(
                place,
                f"'{name}' is given again: this one counts",
                hint=f"remove the one on line {earlier.place.line}, or give each its own section",
                code="repeated-parameter",
            )
        stack[-1].parameters[name] = Parameter(name, value, place, value_place, order)

    def _read_value(self, name: str, stack: list[Element], place: Place) -> tuple[Value | None, Place]:
        """A parameter's value and its place; no value if it was an include. Raises Broken."""
        before = self.position
        blanks = _BLANKS_AND_LINES.match(self.text, self.position)
        self.position = blanks.end() if blanks else self.position
        at_end = self.position >= len(self.text)
        if self.position == before and not at_end:
            self._problem(
                self.source.place(before), "expected a blank after a quoted name", "separate name and value by a blank"
            )
            raise Broken(self.source.line_end(before))
        # Only LF ends the line here: after a lone CR the next line's text would be the value.
        if at_end or "\n" in self.text[before : self.position]:
            return "", place
        if name == "@include":
            self._include(stack[-1], place)
            return None, place
        if name.startswith("@") and name not in _RESERVED:
            self._check_reserved(name, stack, place)
        value_place = self.source.place(self.position)
        start = self.position
        value = self.read_literal()
        after = self.position
        if not self._skip_line_end():
            self._problem(
                self._place_after_blanks(after),
                "expected end of line",
                "a quoted value ends at its closing quote: quote all of it, or nothing",
            )
            raise Broken(self.source.line_end(start))
        return value, value_place

    def _check_reserved(self, name: str, stack: list[Element], place: Place) -> None:
        if len(stack) == 1 or stack[-1].name in _STRICT_SECTIONS:
            self._problem(
                place,
                "'@' is the system reserved prefix. Don't use '@' prefix parameter in the configuration: " + name,
                "here only @type, @id, @label and @log_level may begin with @",
                "reserved-parameter",
            )
        else:
            self.report.warning(
                place,
                f"parameter {name} begins with the reserved @",
                hint="only @type, @id, @label and @log_level may",
                code="reserved-parameter",
            )

    # Includes

    def _read_root_include(self, include: re.Match[str], container: Element) -> None:
        place = self.source.place(self.position)
        if not include[1].startswith("@"):
            self.report.warning(place, "'include' is deprecated", hint="write @include", code="deprecated-include")
        self.position = include.end()
        self._skip_spacing()
        try:
            self._include(container, place)
        except Broken as broken:
            self.position = broken.resume

    def _include(self, container: Element, place: Place) -> None:
        """Read the files of an include into a section. Raises Broken."""
        if self.position >= len(self.text):
            self._problem(place, "@include names no file", "write @include PATH")
            return
        value_place = self.source.place(self.position)
        uri = self.read_string()
        if isinstance(uri, str):
            self._include_files(uri, container, value_place)
        elif uri is not Unset.BROKEN:
            self._problem(value_place, "@include names no file", "write @include PATH")
        self._skip_line_end()

    def _include_files(self, uri: str, container: Element, place: Place) -> None:
        try:
            self.report.includes.append(include_pattern(uri, self._base_dir))
            paths = find_included(uri, self._base_dir)
        except IncludeError as error:
            self._problem(place, error.message, error.hint, "include")
            return
        if not paths:
            self.report.warning(
                place,
                f"@include {uri} finds no file",
                hint="nothing is included; paths are relative to the including file",
                code="missing-include",
            )
        for path in paths:
            try:
                source = self._reading.open_include(uri, path)
            except IncludeError as error:
                self._problem(place, error.message, error.hint, "include")
            except UnreadableText as error:
                self._problem(error.place, error.message, error.hint, "unreadable-text")
            else:
                _FileReader(source, os.path.dirname(path), self._reading).read_into(container, main=False)
                self._reading.open_files.pop()
