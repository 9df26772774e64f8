"""What the daemon says of itself: the answers to `health`, `status` and `version`, as plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import zmq

from flowd._version import __version__
from flowd.relay.answers import ANSWER_BYTES, packed_bytes, share_room
from flowd.relay.config import Config, Journal
from flowd.relay.deciding.deciders import Tally
from flowd.relay.deciding.streams import Stream
from flowd.relay.deciding.views import Views
from flowd.relay.journal.layout import StreamRow
from flowd.relay.journal.store import Store

RULES_TOLD = 1000
"""Rules of a stream in a status, which is asked for every few seconds; all of them are told by `decided`, in pages."""


def describe_version() -> dict[str, Any]:
    """Versions of what runs here."""
    return {"version": __version__, "pyzmq": zmq.pyzmq_version(), "libzmq": zmq.zmq_version(), "wire": 1}


def describe_daemon(config: Config, epoch: bytes, began_ns: int) -> dict[str, Any]:
    """Who and where the daemon is."""
    return {
        "version": __version__,
        "epoch": epoch.hex(),
        "process_id": os.getpid(),
        "began_ns": began_ns,
        "uptime_s": max(0.0, (time.time_ns() - began_ns) / 1e9),
        "runtime_dir": config.runtime.dir,
        "state_dir": config.runtime.state_dir,
        "drain_s": config.runtime.drain_s,
        "workers": config.runtime.workers,
        "filters": config.filters.path or "",
    }


def describe_streams(
    streams: Iterable[Stream], rows: Mapping[str, StreamRow], subscribers: Mapping[str, int]
) -> dict[str, Any]:
    """Each stream's totals, and what of it is stored; what its rules have decided is added by `add_rules`."""
    return {
        stream.name: {
            **asdict(stream.totals()),
            "oldest": rows.get(stream.name, StreamRow(0)).oldest,
            "next": rows.get(stream.name, StreamRow(0)).next,
            "generation": stream.generation,
            "subscribers": subscribers.get(stream.name, 0),
            "rules": [],
            "rules_left_off": 0,
            "lines_left_off": 0,
            "bytes_left_off": 0,
        }
        for stream in streams
    }


def add_rules(status: dict[str, Any], tallies: Mapping[str, Tally]) -> None:
    """Adds to each stream of a status what its rules have decided, in the order in which they decide: all of them
    where they are at most RULES_TOLD, else those that decided the most lines, and always as many as fit.

    What is left off is summed up, so that rules and sums together make the stream's totals.
    """
    described = {name: _choose(tally) for name, tally in tallies.items()}
    sizes = {name: [packed_bytes(rule) for rule in rules.values()] for name, rules in described.items()}
    shares = share_room([sum(some) for some in sizes.values()], ANSWER_BYTES - packed_bytes(status))
    for (name, rules), room_bytes in zip(described.items(), shares, strict=True):
        fitting = {}
        for (at, rule), size_bytes in zip(rules.items(), sizes[name], strict=True):
            if size_bytes <= room_bytes:  # a name of many KiB is no reason to leave off those that follow
                room_bytes -= size_bytes
                fitting[at] = rule
        told = [fitting[at] for at in sorted(fitting)]
        lines, size_bytes = tallies[name].total()
        status["streams"][name] |= {
            "generation": tallies[name].generation,
            "rules": told,
            "rules_left_off": len(tallies[name]) - len(told),
            "lines_left_off": lines - sum(rule["lines"] for rule in told),
            "bytes_left_off": size_bytes - sum(rule["bytes"] for rule in told),
        }


def _choose(tally: Tally) -> dict[int, dict[str, Any]]:
    """What is to be told of a stream's rules by their places, what matters most first: all of them where they are few,
    and where they are not those that have decided anything."""
    places = tally.rank(RULES_TOLD)
    if len(tally) <= RULES_TOLD:
        ranked = set(places)
        places += [at for at in range(len(tally)) if at not in ranked]
    return {at: tally[at]._asdict() for at in places[:RULES_TOLD]}


def describe_views(views: Views, subscribers: Mapping[str, int]) -> dict[str, Any]:
    """Each view: its stream, by which generation it was made, and who listens."""
    return {
        view.name: {
            "stream": view.stream,
            "generation": view.generation,
            "rules": len(view.filter_set.rules),
            "subscribers": subscribers.get(view.name, 0),
        }
        for view in views.all()
    }


def describe_journal(store: Store, settings: Journal, *, commits: int, is_full: bool) -> dict[str, Any]:
    """How full the journal is, and how it is kept."""
    return {
        **store.stat()._asdict(),
        "max_bytes": settings.max_bytes,
        "max_age_s": settings.max_age,
        "sync": settings.sync,
        "interval_ms": settings.interval_ms,
        "commits": commits,
        "is_full": is_full,
    }
