"""What the daemon says of itself: the answers to `health`, `status` and `version`, as plain data."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import zmq

from flowd._version import __version__
from flowd.relay.config import Config
from flowd.relay.deciding.streams import Stream


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
        "filters": config.filters.path or "",
    }


def describe_streams(
    streams: Iterable[Stream], next_sequences: dict[str, int], subscribers: dict[str, int]
) -> dict[str, Any]:
    """Each stream's totals, its place in the live lane, and what its rules have decided."""
    return {
        stream.name: {
            **asdict(stream.totals()),
            "next": next_sequences.get(stream.name, 1),
            "generation": stream.generation,
            "subscribers": subscribers.get(stream.name, 0),
            "rules": [decided._asdict() for decided in stream.decided()],
        }
        for stream in streams
    }
