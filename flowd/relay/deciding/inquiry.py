"""What an administrator asks of the filters: which rules decide a stream and what they have decided, why a line is kept
or dropped, and what was dropped lately."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from flowd.errors import FlowdError
from flowd.explanation import TraceLine
from flowd.relay.answers import (
    ANSWER_BYTES,
    ELLIPSIS,
    Page,
    cut_text,
    packed_bytes,
    read_number,
    take_fitting,
    take_page,
)
from flowd.relay.deciding.streams import FIRST_STREAM

if TYPE_CHECKING:
    from flowd.explanation import Explanation
    from flowd.filterset import FilterSet
    from flowd.relay.deciding.streams import Stream, Streams

WARNINGS_TOLD = 100
WARNING_BYTES = 1024
TRACE_TOLD = 1000
"""Rules told of one line: of ten thousand nearly all saw the same and did nothing."""
VALUE_BYTES = 16 << 10
"""A value, as an explanation tells it: a field of some MiB stands in the trace once for each rule that looks at it."""

HEAD_BYTES = 512
"""What stands around a page: its name and numbers."""

T = TypeVar("T")
_TRACE_FIELDS = tuple(field.name for field in fields(TraceLine))


class Inquiry:
    """The operations `filters`, `decided`, `explain` and `dropped` of the admin lane. Raises FlowdError to say no."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def filters(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The rules of each stream and view, or of the one that `stream` names, in the order in which they decide: of
        that one a page that begins with rule number `first`."""
        deciding = {stream.name: (stream.loaded, stream.generation) for stream in self._streams.all()}
        views = {view.name: (view.filter_set, view.generation) for view in self._streams.views.all()}
        told = self._take_pages(arguments, {**deciding, **views}, _describe)
        return {
            "generation": self._streams.generation,
            "bypass": self._streams.is_bypassed,
            "streams": {name: page for name, page in told.items() if name in deciding},
            "views": {name: page for name, page in told.items() if name not in deciding},
        }

    def decided(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What all rules of each stream have decided, or of the one that `stream` names: of that one a page that begins
        with rule number `first`."""
        streams = {stream.name: stream for stream in self._streams.all()}

        def describe(stream: Stream, first: int, room_bytes: int) -> dict[str, Any]:
            tally = stream.tally()
            page = take_page(lambda at: tally[at]._asdict(), len(tally), first, room_bytes)
            return {"generation": tally.generation, **_describe_page(page, len(tally))}

        return {"streams": self._take_pages(arguments, streams, describe)}

    def explain(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the filters of `stream` (flows) make of `line` at this moment, and all that they look at; of a view its
        own filters. Counts nothing."""
        line = arguments.get("line")
        if not isinstance(line, str | bytes):
            raise FlowdError(f"line is {line!r}"[:200], hint="give line as a string, or as bytes")
        deciding = {stream.name: stream.deciding() for stream in self._streams.all()}
        deciding |= {view.name: (view.filter_set, view.generation) for view in self._streams.views.all()}
        filter_set, generation = deciding[_find(arguments.get("stream", FIRST_STREAM), deciding)]
        try:
            told = filter_set.explain(line)
        except ValueError as error:
            raise FlowdError(str(error)) from error
        return {"generation": generation, "bypass": self._streams.is_bypassed, **_describe_explanation(told)}

    def dropped(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A uniform sample of what the filters of `stream` (flows) dropped lately, in spans of time; of none of its
        views."""
        streams = {stream.name: stream for stream in self._streams.all()}
        name = _find(arguments.get("stream", FIRST_STREAM), streams)
        return {"stream": name, "spans": streams[name].dropped.describe()}

    @staticmethod
    def _take_pages(
        arguments: Mapping[str, Any], known: Mapping[str, T], describe: Callable[[T, int, int], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """A page of each, in an equal share of the room, or of the one that is asked for, in all of it."""
        first = read_number(arguments, "first")
        if "stream" in arguments:
            name = _find(arguments["stream"], known)
            known = {name: known[name]}
        elif first:
            raise FlowdError("first is given without stream", hint="name the stream, or the view, whose rules they are")
        room_bytes = ANSWER_BYTES // max(1, len(known)) - HEAD_BYTES
        return {name: describe(one, first, room_bytes) for name, one in known.items()}


def _describe(deciding: tuple[FilterSet, int], first: int, room_bytes: int) -> dict[str, Any]:
    filter_set, generation = deciding
    rules, warnings = filter_set.rules, filter_set.warnings
    texts = [cut_text(str(problem), WARNING_BYTES) for problem in warnings[:WARNINGS_TOLD]]
    told = take_fitting(texts, room_bytes // 4)
    room_bytes -= packed_bytes(told)
    page = take_page(lambda at: rules[at]._asdict(), len(rules), first, room_bytes)
    return {
        "generation": generation,
        **_describe_page(page, len(rules)),
        "warnings": told,
        "more_warnings": len(warnings) - len(told),
    }


def _describe_page(page: Page, total: int) -> dict[str, Any]:
    return {"rules": page.items, "all_rules": total, "next": page.next}


def _describe_explanation(told: Explanation) -> dict[str, Any]:
    """An explanation as plain data: of the trace as much as fits, what decided and what matched first, in the rules'
    order; long values cut."""
    trace = told.trace
    # What comes first is told first: the decider, then what had an effect or matched, then the others as they stand.
    order = sorted(range(len(trace)), key=lambda at: _rank_trace(trace[at], told.rule))
    steps = ({"at": at, **_describe_trace(trace[at])} for at in order[:TRACE_TOLD])
    shown = sorted(take_fitting(steps, ANSWER_BYTES - 8 * VALUE_BYTES), key=lambda step: step["at"])
    for step in shown:
        del step["at"]
    return {
        "verdict": told.verdict,
        **{name: cut_text(getattr(told, name), VALUE_BYTES) for name in ("rule", "filter", "field", "value")},
        "form": told.form,
        "trace": shown,
        "trace_left_off": len(trace) - len(shown),
    }


def _rank_trace(step: TraceLine, decider: str) -> int:
    if decider in (step.rule, step.group):
        return 0
    if step.effect or step.result in ("yes", "error"):
        return 1
    return 2 if step.result == "no" else 3


def _describe_trace(step: TraceLine) -> dict[str, Any]:
    described = {name: getattr(step, name) for name in _TRACE_FIELDS}
    for name, value in described.items():
        if isinstance(value, str):
            described[name] = cut_text(value, VALUE_BYTES)
        elif isinstance(value, bytes) and len(value) > VALUE_BYTES:
            described[name] = value[:VALUE_BYTES] + ELLIPSIS.encode()
    return described


def _find(name: object, known: Mapping[str, object]) -> str:
    if not isinstance(name, str) or name not in known:
        raise FlowdError(f"there is no stream {name!r}"[:200], hint=f"known: {', '.join(sorted(known))}"[:1000])
    return name
