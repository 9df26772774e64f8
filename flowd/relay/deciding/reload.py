"""Changing the filters of a running daemon: on a signal, on a command, or because their files changed.

New filters are read and compiled aside and then take over in all streams at once, between two batches. Where anything
is wrong with them, the old ones go on, and what is wrong is said in the log, in the status and by a counter.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from flowd.errors import FilterError, FlowdError, Problem
from flowd.relay.answers import ANSWER_BYTES, cut_text
from flowd.relay.config import Filters, View
from flowd.relay.deciding.filter_files import INTERVAL_S, FilterFiles, State, Watch
from flowd.relay.deciding.rulebook import Rulebook, read_rulebook
from flowd.relay.deciding.streams import FIRST_STREAM, Streams
from flowd.relay.deciding.trial import Trial, try_filters
from flowd.relay.health import Health
from flowd.relay.metrics import Counters
from flowd.relay.notify import Notifier

READINGS_MAX = 20
"""How often files are read again that changed while they were read."""
PROBLEMS_SHOWN = 100
PROBLEM_BYTES = 1024
"""Problems that status and answers hold, and of each; the log has them all."""
STREAMS_ROOM_BYTES = ANSWER_BYTES - PROBLEMS_SHOWN * (PROBLEM_BYTES + 8)

Between = Callable[[Callable[[], int]], int]
"""Runs a task in the thread that carries lines, between two batches, and returns what it returns."""

log = logging.getLogger(__name__)


class Reloader(threading.Thread):
    """Reloads when `ask`ed, and by itself where the filters are watched. `reload` and `bypass` may be called by any
    thread; `ask` is safe in a signal's handler. Reads the filters when it is made: raises OSError and FilterError. So
    many `threads` may use a stream's filters at once."""

    def __init__(
        self,
        filters: Filters,
        counters: Counters,
        health: Health,
        views: Mapping[str, View] | None = None,
        threads: int = 0,
    ) -> None:
        super().__init__(name="flowd-reload", daemon=True)
        self._filters = filters
        self._views = dict(views or {})
        self._threads = threads
        self._counters = counters
        self._health = health
        paths = [path for path in (filters.path, *(view.path for view in self._views.values())) if path is not None]
        self._files = FilterFiles(paths) if paths else None
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        rulebook, state = self._read([FIRST_STREAM])
        self._watch = Watch(state)
        self._loaded_ns = time.time_ns()
        self._last: dict[str, Any] = {"result": "loaded", "by": "start", "time_ns": self._loaded_ns} | _tell_problems(
            []
        )
        self.streams = Streams(rulebook)
        self._ended = self._find_ended()

    def begin(self, between: Between, notifier: Notifier) -> None:
        """Starts to listen and to watch; the service manager is told when it reloads by itself or on a signal."""
        self._between = between
        self._notifier = notifier
        self.start()

    def ask(self) -> None:
        """Reload soon."""
        self._asked.put(True)

    def end(self) -> None:
        """Ends the thread and waits for it."""
        self._asked.put(False)
        self.join()

    def run(self) -> None:
        """The loop."""
        is_watching = self._filters.watch and self._files is not None
        while True:
            try:
                if not self._asked.get(timeout=INTERVAL_S):
                    return
            except Empty:
                if is_watching:
                    self._look()
                with self._lock:
                    self._end_rules()
                continue
            with self._lock:
                self._reload_quietly("signal")

    def reload(self, *, dry: bool = False, force: bool = False) -> dict[str, Any]:
        """Loads the filters as they are now and says what came of it; `dry` only says what would change.

        Refuses what would drop too much more of the recent lines, unless forced.
        """
        with self._lock:
            return self._reload("command", is_guarded=not force, is_dry=dry)

    def bypass(self, is_on: bool) -> dict[str, Any]:
        """Keeps every line from the next batch on, or filters again. Each change is a generation."""
        with self._lock:
            if self.streams.is_bypassed != is_on:
                generation = self._between(lambda: self.streams.decide_by(self.streams.rulebook, is_on))
                if is_on:
                    self._health.degrade("bypass", "every line is kept")
                    log.warning("bypass is on: every line is kept, as generation %d", generation)
                else:
                    self._health.restore("bypass")
                    log.warning("bypass is off: the filters decide again, as generation %d", generation)
            return {"bypass": is_on, "generation": self.streams.generation}

    def describe(self) -> dict[str, Any]:
        """The state of the filters, for status: the last attempt to load them among it."""
        return {
            "generation": self.streams.generation,
            "bypass": self.streams.is_bypassed,
            "watch": self._filters.watch and self._files is not None,
            "loaded_ns": self._loaded_ns,
            "last_reload": self._last,
        }

    def _look(self) -> None:
        """Reloads where the files have changed and are finished."""
        with self._lock:  # a command that is reading them takes the change itself
            if self._watch.is_due(self._state()):
                self._reload_quietly("watch")

    def _end_rules(self) -> None:
        """Makes a generation of its own of the filters without a rule whose end has come. To be called with the lock.

        The rule itself does nothing from that time on: the generation says so to those who read what is kept.
        """
        ended = self._find_ended()
        come = [
            (name, rule) for name, rules in ended.items() for rule in rules if rule not in self._ended.get(name, rules)
        ]
        self._ended = ended
        if come:
            generation = self._between(lambda: self.streams.decide_by(self.streams.rulebook, self.streams.is_bypassed))
            for name, rule in come:
                log.info("filters: %s of %s has ended, generation %d decides", rule, name, generation)

    def _find_ended(self) -> dict[str, tuple[str, ...]]:
        now_ns = time.time_ns()
        sets = [*((stream.name, stream.loaded) for stream in self.streams.all())]
        sets += [(view.name, view.filter_set) for view in self.streams.views.all()]
        return {name: filter_set.ended(now_ns) for name, filter_set in sets}

    def _reload_quietly(self, by: str) -> None:
        """Reloads where nobody waits for the answer. To be called with the lock."""
        self._notifier.reloading()
        try:
            self._reload(by, is_guarded=False, is_dry=False)
        except Exception as error:  # whatever it was, the next change is to be seen
            log.exception("filters: reloading failed")
            self._watch.take(self._state())
            self._note("failed", by, [f"{type(error).__name__}: {error}"])
        finally:
            self._notifier.reloaded()

    def _reload(self, by: str, *, is_guarded: bool, is_dry: bool) -> dict[str, Any]:
        state = self._state()
        trials: dict[str, Trial] = {}
        try:
            streams = self.streams.all()
            rulebook, state = self._read([stream.name for stream in streams])
            for stream in streams:
                trials[stream.name] = try_filters(stream, rulebook.compile(stream.name))
            result, problems = self._judge(rulebook, trials, is_guarded)
            if result == "loaded" and not is_dry:
                self._between(lambda: self.streams.decide_by(rulebook, self.streams.is_bypassed))
        except (FlowdError, OSError) as error:
            result, problems = "failed", _describe_error(error)
        if not is_dry:
            self._watch.take(state)
            self._note(result, by, problems)
        room_bytes = STREAMS_ROOM_BYTES // max(1, len(trials))
        return {
            "result": result,
            "generation": self.streams.generation,
            "bypass": self.streams.is_bypassed,
            "streams": {name: trial.describe(room_bytes) for name, trial in trials.items()},
            **_tell_problems(problems),
        }

    def _judge(self, rulebook: Rulebook, trials: dict[str, Trial], is_guarded: bool) -> tuple[str, list[str]]:
        """Whether to load what was read, and what is to be said about it."""
        if rulebook.says_the_same(self.streams.rulebook, list(trials)):
            return "unchanged", []
        excess = [
            f"{name}: {trial.would_drop_lines} of {trial.sampled_lines} recent lines would be dropped, not"
            f" {trial.dropped_lines} as today"
            for name, trial in trials.items()
            if trial.extra_drop > self._filters.reload_max_extra_drop
        ]
        return "refused" if excess and is_guarded else "loaded", excess

    def _read(self, streams: list[str]) -> tuple[Rulebook, State]:
        """The filters, compiled for these streams, and the state of their files: the same before and after reading."""
        for _ in range(READINGS_MAX):
            state = self._state()
            rulebook = read_rulebook(self._filters, self._views, streams, self._threads)
            if self._files is not None and self._files.includes != rulebook.includes:
                self._files.includes = rulebook.includes  # they belong to the state, too
            elif self._state() == state:
                return rulebook, state
        raise FlowdError("the filters' files change while they are read", hint="reload when they are written")

    def _state(self) -> State:
        return State((), ()) if self._files is None else self._files.state()

    def _note(self, result: str, by: str, problems: list[str]) -> None:
        """Says what came of an attempt: in the log, by a counter, and in status."""
        level = logging.INFO if result in ("loaded", "unchanged") else logging.ERROR
        for problem in problems:
            log.log(max(level, logging.WARNING), "filters: %s", problem)
        log.log(level, "filters: %s (%s), generation %d decides", result, by, self.streams.generation)
        self._counters.add("flowd_reloads_total", result=result)
        if result == "failed":
            problem = cut_text(problems[0], PROBLEM_BYTES)
            self._health.degrade("filters", f"{problem}; generation {self.streams.generation} decides")
        elif result != "refused":
            self._health.restore("filters")
        self._last = {"result": result, "by": by, "time_ns": time.time_ns(), **_tell_problems(problems)}
        if result == "loaded":
            self._loaded_ns = self._last["time_ns"]


def _tell_problems(problems: list[str]) -> dict[str, Any]:
    """As answers and status have them."""
    told = [cut_text(problem, PROBLEM_BYTES) for problem in problems[:PROBLEMS_SHOWN]]
    return {"problems": told, "more_problems": len(problems) - len(told)}


def _describe_error(error: FlowdError | OSError) -> list[str]:
    if isinstance(error, FilterError):
        return [_describe_problem(problem) for problem in error.problems]
    if isinstance(error, FlowdError):
        return [f"{error.message} (hint: {error.hint})" if error.hint else error.message]
    return [f"{error.filename}: {error.strerror}" if error.filename else str(error)]


def _describe_problem(problem: Problem) -> str:
    return f"{problem} (hint: {problem.hint})" if problem.hint else str(problem)
