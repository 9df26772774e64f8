"""The views of a stream decided in one pass: as soon as a joint program of those that are wanted is ready.

It is compiled aside whenever others are wanted, and until then each of them decides by itself: who waits for lines does
not wait for a compiler. What is given is the same either way. Belongs to one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flowd.errors import FlowdError
from flowd.fanout import FanOut, can_join, is_strict
from flowd.relay.deciding.views import View
from flowd.relay.metrics import Counters
from flowd.wire import Buffer

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

JOINT_RULES_MAX = 10_000
"""Rules of all views in a joint program: it is compiled in seconds. The largest views decide by themselves beyond."""
REST_SHARE = 20
"""After compiling it rests so many times as long as that kept a core busy: views that come and go cost a twentieth of
one. How long it took does not count: on a busy node that is mostly waiting."""
REST_LEAST_S = 0.1
TROUBLE_REST_S = 10.0
"""How long each view decides by itself after batches needed more memory together than may be used."""

Kept = tuple[Buffer, int]
"""The lines that a view keeps of a batch, and how many they are."""

log = logging.getLogger(__name__)


class Joint:
    """Filter sets compiled together, as far as that can be; `made_of` are those that were to be, by their ids."""

    def __init__(self, filter_sets: Sequence[FilterSet]) -> None:
        self.made_of = {id(filter_set) for filter_set in filter_sets}
        self._sets = tuple(filter_sets)  # while they live their ids are theirs
        self._fan_outs: list[FanOut] = []
        self._places: dict[int, tuple[FanOut, int]] = {}

    def compile(self) -> None:
        """Makes it usable: until then, and where this fails, each set decides by itself. Raises what compiling does."""
        fitting = _within_limit(self._sets)
        for strict in (True, False):
            alike = [filter_set for filter_set in fitting if is_strict(filter_set) == strict]
            if len(alike) > 1:
                fan_out = FanOut(alike)
                self._fan_outs.append(fan_out)
                self._places |= {id(filter_set): (fan_out, number) for number, filter_set in enumerate(alike)}

    def find(self, filter_set: FilterSet) -> tuple[FanOut, int] | None:
        """Where it decides, and its number there; None where it does by itself."""
        return self._places.get(id(filter_set))

    def close(self) -> None:
        """The sets keep what they counted."""
        for fan_out in self._fan_outs:
            fan_out.close()


@dataclass(slots=True)
class _Stream:
    """How a stream's views are decided now: at which places in `views` each fan-out's are, and those by themselves."""

    views: list[View] = field(default_factory=list)
    joint: Joint | None = None
    together: list[tuple[FanOut, list[int]]] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    coming: Future[tuple[Joint, float]] | None = None
    wanted: list[FilterSet] = field(default_factory=list)
    rests_until_s: float = 0.0
    troubled_until_s: float = 0.0


class Together:
    """Decides views, those of one stream in one pass where it can. `close` at the end.

    `flowd_decided_view_batches_total` counts for each view each batch: `together` or `alone`.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._streams: dict[str, _Stream] = {}
        self._executor: ThreadPoolExecutor | None = None

    def apply(self, stream: str, views: list[View], lines: Buffer) -> list[Kept]:
        """What each of these views of a stream keeps of the lines, in their order."""
        state = self._streams.setdefault(stream, _Stream())
        now_s = time.monotonic()
        is_new = self._take_compiled(state, now_s)
        if is_new or views != state.views:
            self._plan(state, views)
        if state.wanted and state.coming is None and now_s >= state.rests_until_s:
            self._begin_compiling(state)
        kept: list[Kept] = [(b"", 0)] * len(views)
        alone = state.alone
        if now_s < state.troubled_until_s:
            alone = list(range(len(views)))
        else:
            for fan_out, places in state.together:
                try:
                    given = fan_out.apply(lines)
                except MemoryError:
                    state.troubled_until_s = now_s + TROUBLE_REST_S
                    alone = alone + places
                    log.warning("views of %s: together they need more memory for a batch than they may use", stream)
                    continue
                for place, of_view, count in zip(places, given.kept, given.kept_lines, strict=True):
                    kept[place] = cast(Buffer, of_view), count
        for place in alone:
            borrowed = views[place].filter_set.apply_borrowing(lines)
            kept[place] = cast(Buffer, borrowed.kept), borrowed.kept_lines
        self._count(len(views) - len(alone), len(alone))
        return kept

    def close(self) -> None:
        """Ends the compiler's thread."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _count(self, together: int, alone: int) -> None:
        if together:
            self._counters.add("flowd_decided_view_batches_total", together, way="together")
        if alone:
            self._counters.add("flowd_decided_view_batches_total", alone, way="alone")

    def _plan(self, state: _Stream, views: list[View]) -> None:
        """Says who decides these views from now on, and notes what is to be compiled for them."""
        state.views = list(views)
        joinable = [view.filter_set for view in views if can_join(view.filter_set)]
        made_of = state.joint.made_of if state.joint is not None else set()
        is_outgrown = len(made_of) > 2 * len(joinable)
        if len(joinable) < 2:
            self._change(state, None)
            joinable = []
        state.wanted = joinable if is_outgrown or not made_of.issuperset(map(id, joinable)) else []
        places: dict[FanOut, list[tuple[int, int]]] = {}
        state.alone = []
        for place, view in enumerate(views):
            found = state.joint.find(view.filter_set) if state.joint is not None else None
            if found is None:
                state.alone.append(place)
            else:
                places.setdefault(found[0], []).append((found[1], place))
        state.together = []
        for fan_out, chosen in places.items():
            if len(chosen) == 1:  # by itself it reads less
                state.alone.append(chosen[0][1])
                continue
            fan_out.choose([number for number, _ in chosen])
            state.together.append((fan_out, [place for _, place in chosen]))

    def _change(self, state: _Stream, joint: Joint | None) -> None:
        if state.joint is not None:
            state.joint.close()
        state.joint = joint

    def _begin_compiling(self, state: _Stream) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="flowd-together")
        state.coming = self._executor.submit(_compile, state.wanted)

    def _take_compiled(self, state: _Stream, now_s: float) -> bool:
        """Whether a joint program has become ready since the last batch; it is used from now on."""
        if state.coming is None or not state.coming.done():
            return False
        joint, took_s = state.coming.result()
        state.coming = None
        state.rests_until_s = now_s + max(REST_LEAST_S, REST_SHARE * took_s)
        self._change(state, joint)
        return True


def _within_limit(filter_sets: Iterable[FilterSet]) -> list[FilterSet]:
    """Those that are compiled together: as many as there can be."""
    fitting: list[FilterSet] = []
    rules = 0
    for filter_set in sorted(filter_sets, key=lambda filter_set: len(filter_set.rules)):
        rules += len(filter_set.rules)
        if rules > JOINT_RULES_MAX:
            break
        fitting.append(filter_set)
    return fitting


def _compile(filter_sets: Sequence[FilterSet]) -> tuple[Joint, float]:
    began_s = time.thread_time()
    joint = Joint(filter_sets)
    try:
        joint.compile()
    except (FlowdError, ValueError, MemoryError) as error:
        log.warning("views: they cannot be compiled together, and decide by themselves: %s", error)
    except Exception:  # only speed is lost by it, and who asks carries lines
        log.exception("views: compiling them together failed, and they decide by themselves")
    return joint, time.thread_time() - began_s
