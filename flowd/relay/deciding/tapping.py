"""The operation `tap` of the admin lane: a few of the lines that a stream or a view drops or keeps at this moment, each
with the rule that has decided it.

Who taps asks again and again, and gets what went by since the last question. All that costs is done here, in the
thread that answers, and bounded: in taps, in what is looked at, and in what is told a second.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from difflib import get_close_matches
from random import Random
from typing import TYPE_CHECKING, Any, cast

from flowd.errors import FlowdError
from flowd.explanation import VERDICTS
from flowd.relay.answers import ANSWER_BYTES, packed_bytes
from flowd.relay.deciding.deciders import BYPASS
from flowd.relay.deciding.looking import Looker, Picked, pick_lines
from flowd.relay.deciding.streams import FIRST_STREAM
from flowd.relay.deciding.tap import Caught, Tap, Which

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.relay.deciding.looking import Pool
    from flowd.relay.deciding.streams import Stream, Streams
    from flowd.relay.deciding.views import View

TAPS_MAX = 4
"""At a time: each holds up to 4 MiB of batches, and a batch of its own."""
RATE_DEFAULT = 10
RATE_MAX = 500
"""Lines a second, of one tap and of all together: more than anybody reads."""
TOLD_BYTES_S = 1 << 20
"""Bytes of lines a second, of all taps together."""
LINE_BYTES = 64 << 10
"""Of a longer line so much is told, and its size."""
PAUSE_S = 0.2
"""Between two looks of one tap. Who asks sooner gets nothing yet: looking is what costs."""


class Tapping:
    """Belongs to the thread that answers."""

    def __init__(self, streams: Streams, random: Random | None = None) -> None:
        self._streams = streams
        self._random = random or Random()
        self._taps: dict[int, _Open] = {}
        self._line_budget = Budget(RATE_MAX)
        self._byte_budget = Budget(TOLD_BYTES_S)

    def tap(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Lines of `stream` (flows; or a view) that were `which` (dropped, or kept), by `rule` where one is given, at
        most `rate` a second. `tap` is the number that the answer before had: without it, or where it is forgotten, a
        tap is opened, and lines come with the next answers."""
        asked = _read_asked(arguments)
        stream, view = self._find(asked.name)
        _check_rule(asked.rule, view.filter_set if view is not None else stream.loaded)
        now_s = time.monotonic()
        self.forget(now_s)
        number = arguments.get("tap")
        known = self._taps.get(number) if isinstance(number, int) else None
        if known is None or known.asked != asked or known.stream is not stream:
            number, known = self._open(asked, stream, now_s)
        assert isinstance(number, int)
        told = self._look(known, view, now_s)
        return {
            "tap": number,
            "stream": stream.name,
            "view": asked.name if view is not None else "",
            "generation": stream.generation,
            "bypass": self._streams.is_bypassed,
            "pause_ms": round(PAUSE_S * 1000),
            **told,
        }

    def forget(self, now_s: float) -> None:
        """Takes away the taps that nobody asks any more."""
        for number, known in list(self._taps.items()):
            if known.tap.is_forgotten(now_s):
                del self._taps[number]
                known.stream.taps = tuple(tap for tap in known.stream.taps if tap is not known.tap)

    def _open(self, asked: _Asked, stream: Stream, now_s: float) -> tuple[int, _Open]:
        if len(self._taps) >= TAPS_MAX:
            raise FlowdError(f"{TAPS_MAX} others tap already", hint="end one, or try again in some seconds")
        number = secrets.randbits(62)
        known = self._taps[number] = _Open(asked, stream, now_s)
        stream.taps = (*stream.taps, known.tap)
        return number, known

    def _look(self, known: _Open, view: View | None, now_s: float) -> dict[str, Any]:
        """What is told of the batches that were caught since the last look."""
        if now_s - known.looked_s < PAUSE_S:
            known.tap.touch()
            return _describe(Caught(0, []), [], [], 0)
        known.budget.refill(now_s)
        known.looked_s = now_s
        caught = known.tap.take()
        pools: list[Pool] = []
        looked_lines = 0
        for held in caught.held:
            filter_set, lines, is_bypassed = held.filter_set, held.lines, held.is_bypassed
            if view is not None:
                lines = known.twin(filter_set).apply(lines).kept
                filter_set, is_bypassed = view.filter_set, False
            found = known.looker(filter_set).look(lines, is_bypassed, held.time_ns, self._random)
            wanted = [pool for pool in found if (pool.verdict == "D") == (known.asked.which == "dropped")]
            # A view's lines that went by are what the stream keeps; a stream's are those that are wanted.
            looked_lines += sum(pool.lines for pool in (found if view is not None else wanted))
            pools += [pool for pool in wanted if not known.asked.rule or pool.rule == known.asked.rule]
        self._line_budget.refill(now_s)
        self._byte_budget.refill(now_s)
        most = int(min(known.budget.left, self._line_budget.left))
        lines_told = self._take_fitting(pick_lines(pools, most, self._random))
        for budget in (known.budget, self._line_budget):
            budget.left -= len(lines_told)
        return _describe(caught, pools, lines_told, looked_lines)

    def _take_fitting(self, picked: list[Picked]) -> list[dict[str, Any]]:
        """The picked lines as plain data, as many as may be told now."""
        told = []
        room_bytes = min(self._byte_budget.left, ANSWER_BYTES - 4096)
        for one in picked:
            described = _describe_line(one)
            size_bytes = packed_bytes(described)
            if size_bytes > room_bytes:
                break
            room_bytes -= size_bytes
            self._byte_budget.left -= size_bytes
            told.append(described)
        return told

    def _find(self, name: str) -> tuple[Stream, View | None]:
        streams = {stream.name: stream for stream in self._streams.all()}
        view = self._streams.views.find(name)
        found = streams.get(view.stream if view is not None else name)
        if found is None:
            known = sorted({*streams, *(one.name for one in self._streams.views.all())})
            raise FlowdError(f"there is no stream {name!r}"[:200], hint=f"known: {', '.join(known)}"[:1000])
        return found, view


class Budget:
    """So many a second, and what was not used of the last second."""

    def __init__(self, a_second: float) -> None:
        self.left = a_second
        self._a_second = a_second
        self._filled_s = time.monotonic()

    def refill(self, now_s: float) -> None:
        """Adds what has accrued; never more than a second's worth."""
        accrued = max(0.0, now_s - self._filled_s) * self._a_second
        self.left = min(self._a_second, self.left + accrued)
        self._filled_s = now_s


class _Asked:
    """What somebody wants to see."""

    def __init__(self, name: str, which: Which, rule: str, rate: float) -> None:
        self.name = name
        self.which = which
        self.rule = rule
        self.rate = rate

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and vars(self) == vars(other)


class _Open:
    """An open tap, and the tables that its looks use: those of the filters that it met last."""

    def __init__(self, asked: _Asked, stream: Stream, now_s: float) -> None:
        self.asked = asked
        self.stream = stream
        self.tap = Tap(asked.which, is_view=stream.name != asked.name)
        self.budget = Budget(asked.rate)
        self.looked_s = now_s
        self._looker: Looker | None = None
        self._twin: tuple[FilterSet, FilterSet] | None = None

    def looker(self, filter_set: FilterSet) -> Looker:
        """What looks with this filter set."""
        if self._looker is None or self._looker.filter_set is not filter_set:
            self._looker = Looker(filter_set, int(self.asked.rate))
        return self._looker

    def twin(self, filter_set: FilterSet) -> FilterSet:
        """The same filters, whose counters nobody reads."""
        if self._twin is None or self._twin[0] is not filter_set:
            self._twin = filter_set, filter_set.twin()
        return self._twin[1]


def _read_asked(arguments: Mapping[str, Any]) -> _Asked:
    name, which, rule = arguments.get("stream", FIRST_STREAM), arguments.get("which", "dropped"), arguments.get("rule")
    rate = arguments.get("rate", RATE_DEFAULT)
    if not isinstance(name, str):
        raise FlowdError(f"stream is {name!r}"[:200], hint="give a stream's or a view's name")
    if which not in ("dropped", "kept"):
        raise FlowdError(f"which is {which!r}"[:200], hint="it is dropped or kept")
    if rule is not None and not isinstance(rule, str):
        raise FlowdError(f"rule is {rule!r}"[:200], hint="give a rule's name, as `filters` tells them")
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 1 <= rate <= RATE_MAX:
        raise FlowdError(f"rate is {rate!r}"[:200], hint=f"give lines a second, from 1 to {RATE_MAX}")
    return _Asked(name, cast(Which, which), rule or "", rate)


def _check_rule(rule: str, filter_set: FilterSet) -> None:
    """Raises FlowdError where nothing of this name decides lines."""
    deciders = filter_set.compiled.deciders
    shadows = {one.group or one.name for one in filter_set.rules if one.is_shadow} if rule else set()
    if rule in shadows:
        raise FlowdError(f"{rule} is a shadow: it only counts, and decides no line"[:300], hint="tap without a rule")
    if rule and rule != BYPASS and rule not in deciders:
        near = get_close_matches(rule, deciders[:2000], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`flowd filters` lists the rules"
        raise FlowdError(f"there is no rule {rule!r}"[:300], hint=hint[:300])


def _describe(caught: Caught, pools: list[Pool], lines: list[dict[str, Any]], looked_lines: int) -> dict[str, Any]:
    return {
        "passed_lines": caught.passed_lines,
        "looked_lines": looked_lines,
        "matching_lines": sum(pool.lines for pool in pools),
        "lines": lines,
    }


def _describe_line(picked: Picked) -> dict[str, Any]:
    pool = picked.pool
    return {
        "time_ns": pool.time_ns,
        "verdict": VERDICTS[pool.verdict],
        "rule": pool.rule,
        "file": pool.file,
        "line": pool.line,
        "size_bytes": len(picked.text) + 1,
        "text": picked.text[:LINE_BYTES],
    }
