"""What an administrator asks of the filters: which rules decide a stream, why a line is kept or dropped, and what was
dropped lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flowd.errors import FlowdError
from flowd.relay.deciding.streams import FIRST_STREAM

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.relay.deciding.streams import Streams


class Inquiry:
    """The operations `filters`, `explain` and `dropped` of the admin lane. Raises FlowdError to say no."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def filters(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The rules of each stream and view, or of the one that `stream` names, in the order in which they decide."""
        sets = {stream.name: stream.loaded for stream in self._streams.all()}
        views = {view.name: view.filter_set for view in self._streams.views.all()}
        if "stream" in arguments:
            name = _find(arguments["stream"], sets | views)
            sets, views = ({name: some[name]} if name in some else {} for some in (sets, views))
        return {
            "generation": self._streams.generation,
            "bypass": self._streams.is_bypassed,
            "streams": {name: _describe(filter_set) for name, filter_set in sets.items()},
            "views": {name: _describe(filter_set) for name, filter_set in views.items()},
        }

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
        return {"generation": generation, "bypass": self._streams.is_bypassed, **asdict(told)}

    def dropped(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A uniform sample of what the filters of `stream` (flows) dropped lately, in spans of time; of none of its
        views."""
        streams = {stream.name: stream for stream in self._streams.all()}
        name = _find(arguments.get("stream", FIRST_STREAM), streams)
        return {"stream": name, "spans": streams[name].dropped.describe()}


def _describe(filter_set: FilterSet) -> dict[str, Any]:
    return {
        "rules": [rule._asdict() for rule in filter_set.rules],
        "warnings": [str(problem) for problem in filter_set.warnings],
    }


def _find(name: object, known: Mapping[str, object]) -> str:
    if not isinstance(name, str) or name not in known:
        raise FlowdError(f"there is no stream {name!r}"[:200], hint=f"known: {', '.join(sorted(known))}"[:1000])
    return name
