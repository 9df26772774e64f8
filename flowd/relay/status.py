"""What the daemon says of itself: the answers to `health`, `status` and `version`, as plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import zmq

from flowd._version import __version__
from flowd.relay.config import Config, Journal
from flowd.relay.deciding.streams import Stream
from flowd.relay.deciding.views import Views
from flowd.relay.journal.layout import StreamRow
from flowd.relay.journal.store import Store


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
    """Each stream's totals, what of it is stored, and what its rules have decided."""
    return {
        stream.name: {
            **asdict(stream.totals()),
            "oldest": rows.get(stream.name, StreamRow(0)).oldest,
            "next": rows.get(stream.name, StreamRow(0)).next,
            "generation": stream.generation,
            "subscribers": subscribers.get(stream.name, 0),
            "rules": [decided._asdict() for decided in stream.decided()],
        }
        for stream in streams
    }


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
