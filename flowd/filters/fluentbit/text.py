"""A Fluent Bit text → the filters that decide for one stream, as Fluent Bit 5.1 would run them.

Every filter is checked; those whose `match` fits the stream apply, in the order they are written. Files and variables
are read when the text is opened, and never again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

from flowd.errors import FilterError
from flowd.filters.fluentbit.grep import GrepReader
from flowd.filters.fluentbit.sections import Property, Section, Sections, Text, report_reaching_out
from flowd.filters.fluentbit.variables import read_environment, substitute
from flowd.filters.model import Filter, FilterText
from flowd.filters.source import Place, Report, Source, sort_problems
from flowd.filters.tags import NamedTag

FluentBitDialect = Literal["fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap"]

_STREAMS_OF_KEYS = {"flow": "flows", "dns": "dns"}
_EXTENSIONS = (".yaml", ".yml")


class FluentBitText:
    """A text that was read once, to be asked for any stream.

    `includes` are the paths, with wildcards, that it names: what is behind them belongs to the text. `name` is the key
    or the file that it stands in: a bare list is for the stream of that name, where it does not say. A text that
    `is_foreign` reads nothing of this machine, neither a file nor a variable, and is refused where it would.
    """

    def __init__(
        self,
        source: Source,
        base_dir: str,
        dialect: FluentBitDialect,
        *,
        name: str = "",
        skip_unsupported: bool = False,
        is_foreign: bool = False,
    ) -> None:
        self.dialect: str = dialect
        self._skip_unsupported = skip_unsupported
        self._is_foreign = is_foreign
        self._report = Report()
        sections = _read_sections(source, base_dir, dialect, self._report, is_foreign=is_foreign)
        default_tag = _STREAMS_OF_KEYS.get(_stem(name))
        variables = sections.variables if is_foreign else {**read_environment(), **sections.variables}
        self._sections = [self._put_in(section, variables, default_tag) for section in sections.filters]
        self.includes = tuple(dict.fromkeys(self._report.includes))
        reaching = [problem for problem in self._report.problems if problem.code == "reaches-out"]
        if reaching:
            raise FilterError(sort_problems(reaching))

    @property
    def section_count(self) -> int:
        """How many filters are written, whatever they are for."""
        return len(self._sections)

    @property
    def tags(self) -> tuple[NamedTag, ...]:
        """Some of the tags that its filters are for, as far as they say."""
        return tuple(
            NamedTag(tag.replace("*", "x"), "*" not in tag)
            for section in self._sections
            for found in section.properties
            if found.name.lower() == "match"
            for tag in (text.value.strip() for text in found.values)
            if tag
        )

    def resolve(self, stream: str, *, numbered_from: int = 1) -> FilterText:
        """The filters for a stream. Reads no file. Raises FilterError with all problems, ordered by place."""
        report = Report()
        report.problems += self._report.problems
        report.warnings += self._report.warnings
        filters: list[Filter] = []
        taken: set[str] = set()
        for number, section in enumerate(self._sections):
            reader = GrepReader(
                section,
                number,
                report,
                skip_unsupported=self._skip_unsupported,
                is_broken=bool(self._report.problems),
            )
            name = reader.alias() or f"filter{number + numbered_from}"
            while name in taken:
                name += "_"
            taken.add(name)
            found = reader.read(name, stream)
            if found is not None:
                filters.append(found)
        if report.problems:
            raise FilterError(sort_problems(report.problems), sort_problems(report.warnings))
        return FilterText(self.dialect, stream, tuple(filters), tuple(sort_problems(report.warnings)))

    def _put_in(self, section: Section, variables: dict[str, str], default_tag: str | None) -> Section:
        """The section with its variables put in, and with the tag that it is for where it does not say."""

        properties = [
            Property(
                found.name, tuple(self._put_into(text, variables) for text in found.values), found.is_list, found.place
            )
            for found in section.properties
        ]
        if section.is_from_operator and section.has_default_tag:
            # Calico's operator adds `match` where the name is not written just so: it comes last, and counts.
            properties = [found for found in properties if found.name.lower() != "match"]
        return replace(section, properties=properties, default_tag=default_tag, shown_name=_show_name(section))

    def _put_into(self, text: Text, variables: dict[str, str]) -> Text:
        if self._is_foreign and "${" in text.value:
            report_reaching_out(text.place, "${", self._report)
            return text
        value = substitute(text.value, variables, lambda name: self._warn_unset(name, text.place))
        if not _is_utf8(value):
            self._report.problem(
                text.place,
                "a variable in this value is not UTF-8",
                hint="set it to text that is UTF-8",
                code="unreadable-text",
            )
            value = value.encode("utf-8", "replace").decode()
        return text._replace(value=value)

    def _warn_unset(self, name: str, place: Place) -> None:
        self._report.warning(
            place,
            f"variable ${{{name}}} is used but not set",
            hint=f"it counts as the empty text; ${{{name}:-word}} gives a default",
            code="unset-variable",
        )


def _show_name(section: Section) -> str:
    """The plugin's name as Fluent Bit's messages show it: that of a list begins with two blanks."""
    for found in section.properties:
        if found.name.lower() == "name":
            words = " ".join(text.value for text in found.values)
            return f"  {words}" if found.is_list else words
    return ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_sections(
    source: Source, base_dir: str, dialect: FluentBitDialect, report: Report, *, is_foreign: bool
) -> Sections:
    if dialect == "fluentbit-classic":
        from flowd.filters.fluentbit.classic import read_classic

        return read_classic(source, base_dir, report, is_foreign=is_foreign)
    if dialect == "fluentbit-configmap":
        from flowd.filters.fluentbit.operator import read_operator_list

        return read_operator_list(source, report)
    from flowd.filters.fluentbit.yaml_text import read_yaml

    return read_yaml(source, base_dir, report, is_foreign=is_foreign)


def _stem(name: str) -> str:
    base = os.path.basename(name)
    return next((base.removesuffix(extension) for extension in _EXTENSIONS if base.endswith(extension)), base)
