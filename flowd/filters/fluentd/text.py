"""A fluentd text → the filters that decide for one stream, as fluentd 1.19 would run them.

Every section is checked; those whose tag pattern matches the stream apply, in the order they are written, up to the
first `<match>` that takes the stream. Sections that do no filtering are skipped, with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from flowd.errors import FilterError, Problem
from flowd.filters.fluentd.elements import Element, Parameter, Unset
from flowd.filters.fluentd.grep import read_grep
from flowd.filters.fluentd.lint import warn_tags, warn_unknown_parameters
from flowd.filters.fluentd.plugin import check_log_level, find_reserved
from flowd.filters.fluentd.syntax import read_elements
from flowd.filters.lint.fields import warn_fields
from flowd.filters.model import Filter, FilterText
from flowd.filters.schema import FIELDS
from flowd.filters.source import Place, Report, Source, sort_problems
from flowd.filters.suggest import suggest_name
from flowd.filters.tags import NamedTag, TagError, TagPattern, name_tags, parse_tags

_ROOT_SECTIONS = ("source", "match", "filter", "label", "system", "worker")
_OTHER_BUNDLED_TYPES = ("record_transformer", "parser", "stdout")
OWN_TYPE = "flowd"
_ROOT_LABEL = "@ROOT"
_SKIPPED = {"source": "its lines are not read", "system": "its settings are not used"}


class _Section(NamedTuple):
    """Where a `<filter>` or `<match>` stands: at the root, or in a skipped section named for the reader."""

    element: Element
    skipped_in: str


class FluentdText:
    """A text (given in parts, each with the folder of its includes) that was read once, to be asked for any stream.

    `includes` are the paths, with wildcards, that its includes name: what is behind them belongs to the text.
    `notes` are warnings that are already known. `dialect` is `flowd` where a section is of @type flowd; with the
    dialect fixed to `fluentd` none may be.
    """

    def __init__(
        self,
        sources: list[tuple[Source, str]],
        *,
        skip_unsupported: bool = False,
        dialect: Literal["fluentd", "flowd"] | None = "fluentd",
        notes: Sequence[Problem] = (),
    ) -> None:
        self._report = Report()
        self._root = read_elements(sources, self._report, comparisons=dialect != "fluentd")
        if dialect is None:
            dialect = "flowd" if _has_own_sections(self._root) else "fluentd"
            if dialect == "fluentd":  # whose grammar is stricter
                self._report = Report()
                self._root = read_elements(sources, self._report)
        self.dialect: str = dialect
        self._report.warnings += notes
        self._skip_unsupported = skip_unsupported
        self.includes = tuple(dict.fromkeys(self._report.includes))

    @property
    def section_count(self) -> int:
        """How many filters are written, whatever they are for."""
        return _count_filters(self._root)

    @property
    def tags(self) -> tuple[NamedTag, ...]:
        """Some of the tags that its filters are for, as far as they say."""
        named: list[NamedTag] = []
        for element in self._root.children_named("filter"):
            with suppress(TagError):
                named += name_tags(element.argument if isinstance(element.argument, str) else "")
        return tuple(named)

    def resolve(self, stream: str, *, numbered_from: int = 1) -> FilterText:
        """The filters for a stream. Reads no file. Raises FilterError with all problems, ordered by file and place.

        Filters without a name of their own are numbered from `numbered_from`.
        """
        report = Report()
        report.problems += self._report.problems
        report.warnings += self._report.warnings
        reader = _RootReader(stream, self._skip_unsupported, report, self.dialect == "flowd", numbered_from)
        filters = reader.read(self._root)
        if report.problems:
            raise FilterError(sort_problems(report.problems), sort_problems(report.warnings))
        return FilterText(self.dialect, stream, filters, tuple(sort_problems(report.warnings)))


class _RootReader:
    def __init__(
        self, stream: str, skip_unsupported: bool, report: Report, takes_own: bool, numbered_from: int
    ) -> None:
        self._numbered_from = numbered_from
        self._takes_own = takes_own
        self._rule_names: dict[str, Place] = {}
        self._stream = stream
        self._skip_unsupported = skip_unsupported
        self._report = report
        self._ids: dict[str, Element] = {}
        self._labels: set[str] = set()
        self._ended_by: Element | None = None
        self._filters: list[Filter] = []
        self._names: dict[int, str] = {}

    def read(self, root: Element) -> tuple[Filter, ...]:
        warn_unknown_parameters(root, (), self._report)
        self._check_labels(root)
        found = list(self._find_sections(root, ""))
        self._check_ids(root)
        self._name_filters([place.element for place in found if place.element.name == "filter"])
        for place in found:
            if place.element.name == "filter":
                self._read_filter(place)
            else:
                self._read_match(place)
        return tuple(self._filters)

    def _find_sections(self, container: Element, skipped_in: str) -> Iterator[_Section]:
        """The filters and matches, in the order they are written; the other sections are told about."""
        for element in container.children:
            if element.name in ("filter", "match"):
                yield _Section(element, skipped_in)
            elif element.name in ("label", "worker") and not (skipped_in and element.name == "worker"):
                title = f"<{element.name} {_show_argument(element)}>"
                self._warn_skipped(element, "a filter inside it is not applied")
                yield from self._find_sections(element, title)
            elif element.name in _SKIPPED and not skipped_in:
                self._warn_skipped(element, _SKIPPED[element.name])
            elif not skipped_in:
                self._warn_unknown_section(element)

    def _warn_skipped(self, element: Element, consequence: str) -> None:
        self._report.warning(
            element.place,
            f"section <{element.name}> is skipped: {consequence}",
            hint="flowd reads filters only",
            code="skipped-section",
        )

    def _warn_unknown_section(self, element: Element) -> None:
        known = (*_ROOT_SECTIONS, "exclude", "regexp", "and", "or")
        suggested = suggest_name(element.name, known)
        if element.name in known:
            hint = f"<{element.name}> stands inside a <filter>"
        elif suggested:
            hint = f"did you mean <{suggested}>? names are case sensitive"
        else:
            hint = "filters are written as <filter TAG> sections"
        self._report.warning(
            element.place,
            f"section <{element.name}> is not used at the top level: nothing in it has any effect",
            hint=hint,
            code="unknown-section",
        )

    # Labels and ids, which must fit together over the whole text

    def _check_labels(self, root: Element) -> None:
        for element in self._all_labels(root):
            name = element.argument
            if name is Unset.BROKEN:
                continue
            if not isinstance(name, str) or not name:
                message, hint = "Missing symbol argument on <label> directive", "name the label: <label @NAME>"
            elif name == _ROOT_LABEL:
                message = "@ROOT for <label> is not permitted, reserved for getting root router"
                hint = "give the label another name"
            elif name in self._labels:
                message, hint = f"Section <label {name}> appears twice", "put both into one <label>"
            else:
                self._labels.add(name)
                continue
            self._report.problem(element.place, message, hint=hint, code="bad-label")

    def _all_labels(self, root: Element) -> list[Element]:
        workers = root.children_named("worker")
        return [
            *root.children_named("label"),
            *(label for worker in workers for label in worker.children_named("label")),
        ]

    def _check_ids(self, container: Element) -> None:
        for element in container.children:
            if element.name in ("label", "worker"):
                self._check_ids(element)
            elif element.name in ("filter", "match", "source"):
                self._check_id(element)

    def _check_id(self, element: Element) -> None:
        parameter = find_reserved(element, "@id")
        if parameter is None or not isinstance(parameter.value, str):
            return
        if parameter.name == "id":
            self._warn_old_name(parameter)
        first = self._ids.setdefault(parameter.value, element)
        if first is not element:
            self._report.problem(
                parameter.value_place,
                f"Duplicated plugin id `{parameter.value}`. Check whole configuration and fix it.",
                hint=f"the section at {first.place} has the same @id",
                code="duplicate-id",
            )

    def _name_filters(self, elements: list[Element]) -> None:
        for number, element in enumerate(elements, self._numbered_from):
            parameter = find_reserved(element, "@id")
            name = parameter.value if parameter and isinstance(parameter.value, str) else ""
            if not name:
                name = f"filter{number}"
                while name in self._ids:
                    name += "_"
            self._names[element.order] = name

    # Filters and matches

    def _read_match(self, place: _Section) -> None:
        element = place.element
        if self._find_type(element) is None:
            return
        tags = self._try_tags(element)
        if place.skipped_in:
            return
        self._warn_skipped(element, "for the tags that it takes, later filters never run")
        if tags is not None and self._ended_by is None and tags.matches(self._stream):
            self._ended_by = element

    def _read_filter(self, place: _Section) -> None:
        element = place.element
        tags = self._try_tags(element)
        self._check_label_of(element)
        check_log_level(element, self._report)
        kind = self._find_type(element)
        if kind is None:
            return
        name = self._names[element.order]
        if kind.value == "grep":
            section = read_grep(element, name, self._report)
            self._take_names(section)
        elif kind.value == OWN_TYPE and self._takes_own:
            from flowd.filters.flowd.section import read_flowd_section

            section = read_flowd_section(element, name, self._rule_names, self._report)
        else:
            self._report_type(element, kind, place.skipped_in)
            return
        if tags is None or place.skipped_in:
            return
        streams = [stream for stream in FIELDS if tags.matches(stream)]
        warn_fields(section, streams, self._report)
        if not streams:
            warn_tags(section, tags, self._stream, self._report)
        if not tags.matches(self._stream):
            return
        if self._ended_by is not None:
            self._report.warning(
                element.place,
                f"<filter {_show_argument(element)}> never runs for {self._stream}: the <match> at "
                f"{self._ended_by.place} takes the lines first",
                hint="move the filter above the <match>",
                code="unreachable-filter",
            )
            return
        self._filters.append(section)

    def _try_tags(self, element: Element) -> TagPattern | None:
        argument = element.argument
        if argument is Unset.BROKEN:
            return None
        if argument is Unset.DEFAULT:
            self._report.problem(
                element.place,
                f"<{element.name}> has no default tag pattern",
                hint="write the tags that it is for",
                code="bad-tag",
            )
            return None
        try:
            return parse_tags(argument if isinstance(argument, str) else "")
        except TagError as error:
            self._report.problem(element.place, error.message, hint=error.hint, code="bad-tag")
            return None

    def _check_label_of(self, element: Element) -> None:
        parameter = find_reserved(element, "@label")
        if parameter is None or not isinstance(parameter.value, str):
            return
        if parameter.value not in self._labels and parameter.value != _ROOT_LABEL:
            self._report.problem(
                parameter.value_place,
                f"{parameter.value} label not found",
                hint="remove @label: it changes nothing for a filter",
                code="bad-label",
            )

    def _find_type(self, element: Element) -> Parameter | None:
        """The section's `@type` line; None (and told) if it has none that can be read."""
        parameter = find_reserved(element, "@type")
        if parameter is not None and parameter.name == "type":
            self._warn_old_name(parameter)
        if parameter is None:
            self._report.problem(
                element.place,
                f"Missing '@type' parameter on <{element.name}> directive",
                hint="add the line: @type grep" if element.name == "filter" else "add its @type",
                code="missing-type",
            )
            return None
        return parameter if isinstance(parameter.value, str) else None

    def _warn_old_name(self, parameter: Parameter) -> None:
        message, hint = f"'{parameter.name}' is deprecated", f"write @{parameter.name}"
        self._report.warning(parameter.place, message, hint=hint, code="deprecated-parameter")

    def _take_names(self, section: Filter) -> None:
        """Notes the names that the rules of a grep filter have of themselves: a named rule may have none of them."""
        names: dict[str, Place] = {}
        for step in section.steps:
            for rule in step.rules:
                place = Place(rule.file, rule.line, rule.column)
                names.setdefault(rule.name, place)
                names.setdefault(step.group or rule.name, place)
        for name, place in names.items():
            earlier = self._rule_names.setdefault(name, place)
            if earlier is not place:
                message, hint = f"the name {name} is already used", f"it names the rule at {place}"
                self._report.problem(earlier, message, hint=hint, code="duplicate-name")

    def _report_type(self, element: Element, kind: Parameter, skipped_in: str) -> None:
        """Tell about a filter that flowd cannot run."""
        if skipped_in:
            return
        if kind.value in _OTHER_BUNDLED_TYPES:
            message = f"<filter {_show_argument(element)}> is of @type {kind.value}, which flowd cannot run"
            hint = "flowd runs grep filters; with --skip-unsupported the section is skipped with a warning"
        else:
            suggested = suggest_name(str(kind.value), ("grep", OWN_TYPE))
            message = (
                f"Unknown filter plugin '{kind.value}'. Run 'gem search -rd fluent-plugin' to find plugins"
                " (flowd runs grep filters only)"
            )
            hint = "with --skip-unsupported the section is skipped with a warning"
            if kind.value == OWN_TYPE:
                hint = "it is flowd's own dialect: read the text as such (--dialect flowd, or none)"
            elif suggested:
                hint = f"did you mean {suggested}?"
        tell = self._report.warning if self._skip_unsupported else self._report.problem
        tell(kind.value_place, message, hint=hint, code="unsupported-type")


def _count_filters(container: Element) -> int:
    return sum(
        1 if child.name == "filter" else _count_filters(child)
        for child in container.children
        if child.name in ("filter", "label", "worker")
    )


def _has_own_sections(root: Element) -> bool:
    """Is a filter, wherever it stands, of @type flowd?"""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if element.name == "filter" and (kind := element.parameters.get("@type")) and kind.value == OWN_TYPE:
            return True
        if element.name in ("ROOT", "label", "worker"):
            waiting += element.children
    return False


def _show_argument(element: Element) -> str:
    return element.argument if isinstance(element.argument, str) and element.argument else "**"
