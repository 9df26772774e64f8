"""The events of a YAML pipeline → its filter sections, by the states that Fluent Bit 5.1 itself goes through.

Fluent Bit reads a configuration event by event and stops at the first that its state does not know; here the states
from `pipeline` downward are the same, so that what it refuses is refused, in its words. Nothing here reads YAML, and
nothing knows what a property means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, NoReturn

from flowd.filters.fluentbit.sections import SPACES, Property, Section, Sections, Text, cut_at_nul
from flowd.filters.source import Place, Report

EventKind = Literal["alias", "scalar", "sequence-start", "sequence-end", "mapping-start", "mapping-end"]

# libyaml's own numbers, which Fluent Bit's messages show.
_NUMBERS: dict[EventKind, int] = {
    "alias": 5, "scalar": 6, "sequence-start": 7, "sequence-end": 8, "mapping-start": 9, "mapping-end": 10,
}  # fmt: skip
_STATES = {
    "document": 2, "section": 3, "include": 7, "other": 9, "pipeline": 11, "filter": 13, "plugin-start": 15,
    "plugin-value": 17, "plugin-values": 18, "group-key": 20, "group-val": 21, "processors": 22, "processor": 23,
}  # fmt: skip
_HINTS = {
    "pipeline": "below filters: stands a list of maps: - name: grep",
    "filter": "a filter is a map in a list: - name: grep",
    "plugin-start": "write a property's name",
    "plugin-value": "write the value itself: aliases are not known here",
    "plugin-values": "a list holds texts only: KEY PATTERN",
}
_OTHER_HINT = "a filter knows no maps inside: write KEY PATTERN as one text"


class Event(NamedTuple):
    """What a YAML parser tells: the beginning or end of a list or a map, or a scalar with its text."""

    kind: EventKind
    place: Place
    value: str = ""


class Stopped(Exception):
    """The text cannot be read further; what is wrong is told."""


class _Frame(NamedTuple):
    state: str
    name: str = ""  # of the property that is being read
    place: Place | None = None
    is_processor: bool = False


class PipelineReader:
    """Takes the events of one pipeline's value, or those below its `filters`, and adds what it reads to `sections`.

    `begin_section` makes the section of a filter that begins at a place.
    """

    def __init__(
        self, sections: Sections, report: Report, begin_section: Callable[[Place], Section], *, in_filters: bool = False
    ) -> None:
        self._sections = sections
        self._report = report
        self._begin_section = begin_section
        self._stack = [_Frame("pipeline")]
        if in_filters:
            self._stack.append(_Frame("filter"))
        self._section: Section | None = None
        self._values: list[Text] = []
        self._after_skip: Callable[[], None] | None = None
        self._skipped_depth = 0
        self._takers: dict[str, Callable[[Event], None]] = {
            "pipeline": self._in_pipeline,
            "filter": self._in_filter,
            "plugin-start": self._in_plugin,
            "plugin-value": self._in_value,
            "plugin-values": self._in_list,
            "group-key": self._in_group,
            "group-val": self._in_group_value,
            "processors": self._in_processors,
            "processor": self._in_processor,
        }

    @property
    def is_done(self) -> bool:
        """Has the pipeline ended?"""
        return not self._stack

    def take(self, event: Event) -> None:
        """Takes the next event. Raises Stopped where nothing after it can be understood."""
        if self._after_skip is not None:
            self._skip(event)
        else:
            self._takers[self._stack[-1].state](event)

    # Lists of filters

    def _in_pipeline(self, event: Event) -> None:
        if event.kind == "scalar":
            name = event.value.lower()
            if name == "filters":
                self._stack.append(_Frame("filter"))
            elif name in ("inputs", "outputs"):
                self._skip_next(lambda: None)
            else:
                self._problem(
                    event.place,
                    f"the pipeline component '{event.value}' is not valid. Try one of these values: customs, inputs,"
                    " filters or outputs.",
                    _HINTS["pipeline"],
                )
                raise Stopped
        elif event.kind == "mapping-end":
            self._stack.pop()
        elif event.kind != "mapping-start":
            self._refuse(event)

    def _in_filter(self, event: Event) -> None:
        if event.kind == "sequence-end":
            self._stack.pop()
        elif event.kind == "mapping-start":
            self._section = self._begin_section(event.place)
            self._sections.filters.append(self._section)
            self._stack.append(_Frame("plugin-start"))
        elif event.kind in ("scalar", "mapping-end"):
            self._stack.pop()
            self._refuse(event)
        elif event.kind != "sequence-start":
            self._refuse(event)

    # A filter's properties

    def _in_plugin(self, event: Event) -> None:
        if event.kind == "scalar":
            is_processor = self._stack[-1].is_processor
            self._stack.append(_Frame("plugin-value", event.value, event.place, is_processor))
        elif event.kind == "mapping-end":
            self._stack.pop()
        else:
            self._refuse(event)

    def _in_value(self, event: Event) -> None:
        frame = self._stack[-1]
        is_collection = event.kind in ("sequence-start", "mapping-start")
        if frame.is_processor and (is_collection or event.kind == "scalar"):
            self._skip_next(self._pop, event)
        elif event.kind == "scalar":
            self._add_property(frame, (self._trim(Text(event.value, event.place)),))
            self._pop()
        elif is_collection and frame.name == "routes":
            self._skip_next(self._pop, event)
        elif event.kind == "mapping-start" and frame.name == "processors":
            self._warn_processors(frame.place or event.place)
            self._stack.append(_Frame("processors"))
        elif event.kind == "sequence-start" and frame.name == "processors":
            # Its items are no texts to Fluent Bit, whatever they are: the name is unknown to grep in any case.
            self._add_property(frame, (Text("", event.place),), is_list=True)
            self._skip_next(self._pop, event)
        elif event.kind == "sequence-start":
            self._values = []
            self._stack.append(_Frame("plugin-values", frame.name, frame.place))
        elif event.kind == "mapping-start":
            self._stack.append(_Frame("group-key"))
        else:
            self._refuse(event)

    def _in_list(self, event: Event) -> None:
        if event.kind == "scalar":
            self._values.append(cut_at_nul(Text(event.value, event.place), self._report))
        elif event.kind == "sequence-end":
            self._add_property(self._stack[-1], tuple(self._values), is_list=True)
            self._pop()
            self._pop()
        else:
            self._refuse(event)

    def _trim(self, text: Text) -> Text:
        text = cut_at_nul(text, self._report)
        trimmed = text.value.strip(SPACES)
        if text.value and not trimmed:
            self._problem(
                text.place, "unable to add variant value property: it is blank", "give it a value, or remove it"
            )
        return text._replace(value=trimmed)

    def _add_property(self, frame: _Frame, values: tuple[Text, ...], *, is_list: bool = False) -> None:
        assert self._section is not None
        assert frame.place is not None
        name = translate_name(frame.name)
        if not name:
            message = f"unable to add {'property list' if is_list else 'variant value property'}: it has no name"
            self._problem(frame.place, message, "give it a name, or remove it")
            return
        self._section.properties.append(Property(name, values, is_list, frame.place))

    # Maps as values, which no property of a filter takes

    def _in_group(self, event: Event) -> None:
        if event.kind == "scalar":
            self._stack.append(_Frame("group-val"))
        elif event.kind == "mapping-end":
            self._pop()
            if self._stack[-1].state == "plugin-value":
                self._add_property(self._stack[-1], (), is_list=True)
                self._pop()
        elif event.kind != "mapping-start":
            self._refuse(event)

    def _in_group_value(self, event: Event) -> None:
        if event.kind != "scalar":
            self._refuse(event)
        self._pop()

    def _in_processors(self, event: Event) -> None:
        if event.kind == "scalar" and event.value.lower() in ("logs", "metrics", "traces"):
            self._stack.append(_Frame("processor"))
        elif event.kind == "scalar":
            self._problem(event.place, f"unknown processor '{event.value}'", "it is logs, metrics or traces")
            self._refuse(event)
        elif event.kind == "mapping-end":
            self._pop()
            self._pop()
        elif event.kind != "mapping-start":
            self._refuse(event)

    def _in_processor(self, event: Event) -> None:
        if event.kind == "mapping-start":
            self._stack.append(_Frame("plugin-start", is_processor=True))
        elif event.kind == "sequence-end":
            self._pop()
        elif event.kind != "sequence-start":
            self._refuse(event)

    def _warn_processors(self, place: Place) -> None:
        self._report.warning(
            place,
            "section 'filter' does not support processors: they are ignored",
            hint="write them as filters of their own",
            code="ignored-property",
        )

    # Common to all states

    def _pop(self) -> None:
        self._stack.pop()

    def _skip_next(self, after: Callable[[], None], begun: Event | None = None) -> None:
        """Passes over the next value, or the one that has `begun`, however deep; then calls `after`."""
        self._after_skip = after
        self._skipped_depth = 0
        if begun is not None:
            self._skip(begun)

    def _skip(self, event: Event) -> None:
        assert self._after_skip is not None
        if event.kind in ("sequence-start", "mapping-start"):
            self._skipped_depth += 1
        elif event.kind in ("sequence-end", "mapping-end"):
            self._skipped_depth -= 1
        if self._skipped_depth <= 0:
            after, self._after_skip = self._after_skip, None
            after()

    def _refuse(self, event: Event) -> NoReturn:
        refuse_event(event, self._stack[-1].state, self._report)

    def _problem(self, place: Place, message: str, hint: str) -> None:
        self._report.problem(place, message, hint=hint, code="syntax")


def refuse_event(event: Event, state: str, report: Report, hint: str = "") -> NoReturn:
    """Tells, in Fluent Bit's words, of an event that its state does not know, and raises Stopped."""
    message = f"unexpected event '{event.kind}-event' ({_NUMBERS[event.kind]}) in state '{state}' ({_STATES[state]})."
    report.problem(event.place, message, hint=hint or _HINTS.get(state, _OTHER_HINT), code="syntax")
    raise Stopped


def translate_name(name: str) -> str:
    """A property's name as Fluent Bit's YAML reader takes it: where it begins with a small letter and has no `_`,
    camelCase becomes snake_case."""
    name = name.partition("\0")[0]
    if "a" <= name[:1] <= "z":
        if "_" in name:
            name = "".join(_lower(char) for char in name)
        else:
            name = "".join(f"_{_lower(char)}" if "A" <= char <= "Z" else char for char in name)
    return name.strip(SPACES)


def _lower(char: str) -> str:
    return char.lower() if char.isascii() else char
