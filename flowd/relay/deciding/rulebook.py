"""The filters as they were read at one moment: from them every stream's filter set is compiled, without reading again.

Streams come into being while the daemon runs. What decides them must be what decides the others, even where the files
have changed since and nobody asked for that yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from flowd.errors import FilterError
from flowd.filters.load import open_path, open_text
from flowd.filterset import FilterSet
from flowd.relay.deciding.deciders import Deciders
from flowd.relay.deciding.views import View

if TYPE_CHECKING:
    from flowd.filters.mixed import OpenText
    from flowd.relay import config
    from flowd.relay.config import Filters


class _ViewText(NamedTuple):
    stream: str
    text: OpenText


class Rulebook:
    """One reading of the filters, those of the configured views among them. A set is compiled when it is first asked
    for; one thread at a time may ask. So many `threads` may then use one set at once."""

    def __init__(self, text: OpenText, views: Mapping[str, _ViewText] | None = None, threads: int = 0) -> None:
        self._threads = threads
        self._text = text
        self._views = dict(views or {})
        self._sets: dict[str, FilterSet] = {}
        self._deciders: dict[str, Deciders] = {}
        self._view_sets: dict[str, FilterSet] = {}

    @property
    def includes(self) -> tuple[str, ...]:
        """The paths, with wildcards, that the texts include."""
        return (*self._text.includes, *(path for view in self._views.values() for path in view.text.includes))

    def compile(self, stream: str) -> FilterSet:
        """The stream's filter set, with counters of its own for each caller. Raises FilterError."""
        found = self._sets.get(stream)
        if found is None:
            found = self._sets[stream] = FilterSet(self._text.resolve(stream))
            self._deciders[stream] = Deciders(found)
        return found.twin(self._threads)

    def keep_everything(self, stream: str) -> FilterSet:
        """The filter set of a stream that is not filtered at all."""
        return FilterSet(open_text("").resolve(stream)).twin(self._threads)

    def deciders(self, stream: str) -> Deciders:
        """What can decide the stream's lines. `compile` has looked it up: not the thread that carries lines does."""
        if stream not in self._deciders:
            self.compile(stream)
        return self._deciders[stream]

    def compile_views(self, generation: int) -> list[View]:
        """The configured views, to decide as this generation. Raises FilterError."""
        return [View(name, view.stream, self._view_set(name).twin(), generation) for name, view in self._views.items()]

    def compile_all(self, streams: Iterable[str]) -> dict[str, FilterSet]:
        """The sets of these streams, and of all views, by their names. Raises FilterError with the problems of all."""
        sets: dict[str, FilterSet] = {}
        failures: list[FilterError] = []
        wanted = [(name, self.compile) for name in streams] + [(name, self._view_set) for name in self._views]
        for name, compile_set in wanted:
            try:
                sets[name] = compile_set(name)
            except FilterError as error:
                failures.append(error)
        _raise_together(failures)
        return sets

    def says_the_same(self, other: Rulebook, streams: list[str]) -> bool:
        """Whether both say the same of these streams and of all views, word for word and at the same places."""
        return self._describe_views() == other._describe_views() and all(
            self.compile(stream).text == other.compile(stream).text for stream in streams
        )

    def _view_set(self, name: str) -> FilterSet:
        found = self._view_sets.get(name)
        if found is None:
            view = self._views[name]
            found = self._view_sets[name] = FilterSet(view.text.resolve(view.stream))
        return found

    def _describe_views(self) -> list[tuple[str, object]]:
        return [(view.name, view.filter_set.text) for view in self.compile_views(0)]


def read_rulebook(
    filters: Filters, views: Mapping[str, config.View] | None = None, streams: Iterable[str] = (), threads: int = 0
) -> Rulebook:
    """Reads the configured filters and views, and compiles what decides these streams; without filters everything is
    kept. Raises OSError, and FilterError with the problems of all files."""
    failures: list[FilterError] = []

    def open_one(path: str, dialect: str | None) -> OpenText:
        try:
            return open_path(path, dialect, filters.skip_unsupported)
        except FilterError as error:
            failures.append(error)
            return open_text("")

    text = open_text("") if filters.path is None else open_one(filters.path, filters.dialect)
    texts = {name: _ViewText(view.stream, open_one(view.path, view.dialect)) for name, view in (views or {}).items()}
    rulebook = Rulebook(text, texts, threads)
    try:
        rulebook.compile_all(streams)
    except FilterError as error:
        failures.append(error)
    _raise_together(failures)
    return rulebook


def _raise_together(failures: list[FilterError]) -> None:
    """Raises what several texts have, if anything; what several streams say of one text is said once."""
    if failures:
        problems = dict.fromkeys(problem for failure in failures for problem in failure.problems)
        warnings = dict.fromkeys(warning for failure in failures for warning in failure.warnings)
        raise FilterError(tuple(problems), tuple(warnings))
