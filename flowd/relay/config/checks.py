"""What a configuration's types do not say: endpoints, names, paths, keys, and what goes together."""

from __future__ import annotations

import os
from collections.abc import Callable

from flowd.errors import FlowdError
from flowd.relay.config.forward import check_forward
from flowd.relay.config.forward_sink import check_forward_sink
from flowd.relay.config.model import Config, Curve, ForwardSink, Http, NatsSink, sink_consumer
from flowd.relay.config.nats import check_nats
from flowd.relay.http.address import parse_address
from flowd.relay.tcp.allowed import check_folder
from flowd.wire.keys import read_secret, require_curve
from flowd.wire.limits import is_stream_name
from flowd.wire.sockets import check_endpoint, is_tcp

SOCKETS = ("ingest", "live", "consume", "admin")
"""The lanes that have a socket in the runtime directory."""
CURVE_HINT = "give server_secret_file and allowed_keys_dir under [curve]; `flowd keys new` makes keys"
SINK_NAME_HINT = "1 to 123 of the characters A-Z a-z 0-9 . _ -"
NAME_HINT = "1 to 128 of the characters A-Z a-z 0-9 . _ -"
WORKERS_MAX = 16
"""What one thread can receive and hand over keeps a few busy; each may hold tables of some MiB for each stream."""
JOURNAL_LEAST_BYTES = 1 << 20
"""Less holds no batch for long enough that anybody could read it."""
JOURNAL_MOST_BYTES = 1 << 43
"""8 TiB: what can be mapped with room to spare, and what ext4 takes as one file."""
DRAIN_MOST_S = 86400.0
"""Sockets linger for a number of milliseconds of 32 bits; who stops a daemon does not wait for a day."""
RULES_MOST = 100_000
"""Series of rules that one scrape may have: more than any server of metrics takes from one node."""

Add = Callable[[str, str, str], None]
"""Takes note of a problem: the key, what is wrong, what to do."""


def check_config(config: Config, add: Add) -> None:
    """Reports every problem of a configuration whose values have the right types."""
    _check_sockets(config, add)
    _check_lanes(config, add)
    _check_curve(config.curve, add)
    _check_raw(config, add)
    _check_tail(config, add)
    check_forward(config.sources.forward, add)
    _check_views(config, add)
    _check_journal(config, add)
    _check_sinks(config, add)
    _check_http(config.http, add)
    if config.runtime.drain_s < 0:
        add("runtime.drain_s", f"drain_s = {config.runtime.drain_s:g} is negative", "write 30 or 5m")
    elif not config.runtime.drain_s <= DRAIN_MOST_S:
        add("runtime.drain_s", f"drain_s = {config.runtime.drain_s:g} is no limit", "write 30 or 5m, 24h at most")
    if not 0 <= config.runtime.workers <= WORKERS_MAX:
        hint = f"write 0 to {WORKERS_MAX}; with 0 the thread that receives decides"
        add("runtime.workers", f"workers = {config.runtime.workers} is out of range", hint)
    path = config.filters.path
    if path is not None and not os.path.exists(path):
        add("filters.path", f"filters path {path!r} does not exist", "give a file or a folder")
    share = config.filters.reload_max_extra_drop
    if not 0 <= share <= 1:
        add("filters.reload_max_extra_drop", f"reload_max_extra_drop = {share:g} is no share", "write 0 to 1")


def _check_sockets(config: Config, add: Add) -> None:
    for lane in SOCKETS:
        if not _is_endpoint("runtime.dir", config.endpoint(lane), add):
            break


def _check_lanes(config: Config, add: Add) -> None:
    lanes = {"sources.ingest.bind": config.sources.ingest, "live.bind": config.live, "consume.bind": config.consume}
    taken = {config.endpoint(lane) for lane in SOCKETS}
    for key, lane in lanes.items():
        for endpoint in lane.bind:
            _is_endpoint(key, endpoint, add)
            if endpoint in taken:  # a second bind takes an ipc path from the first, and says nothing
                add(key, f"{endpoint}: another lane has this endpoint", "give it one of its own")
            if endpoint.startswith("ipc://"):
                taken.add(endpoint)
            if is_tcp(endpoint) and not (config.curve.server_secret_file and config.curve.allowed_keys_dir):
                add(key, f"{endpoint}: TCP needs CURVE keys", CURVE_HINT)


def _check_curve(curve: Curve, add: Add) -> None:
    if curve == Curve():
        return
    checks: tuple[tuple[str, str, Callable[[str], object]], ...] = (
        ("curve.server_secret_file", curve.server_secret_file, read_secret),
        ("curve.allowed_keys_dir", curve.allowed_keys_dir, check_folder),
    )
    for key, path, check in checks:
        if not path:
            add("curve", f"{key} is missing", CURVE_HINT)
            continue
        try:
            require_curve()
            check(path)
        except FlowdError as error:
            add(key, error.message, error.hint)


def _check_raw(config: Config, add: Add) -> None:
    raw = config.sources.raw
    others = {config.endpoint(lane) for lane in SOCKETS}
    others.update(config.sources.ingest.bind, config.live.bind, config.consume.bind)
    for endpoint in raw.bind:
        if endpoint.startswith("tcp://"):
            add("sources.raw.bind", f"{endpoint}: raw ingest has no keys and is local", "use an ipc:// endpoint")
        elif endpoint in others:
            add("sources.raw.bind", f"{endpoint}: another lane has this endpoint", "give it one of its own")
        else:
            _is_endpoint("sources.raw.bind", endpoint, add)
    if not is_stream_name(raw.stream):
        add("sources.raw.stream", f"stream {raw.stream!r} is no legal name", NAME_HINT)


def _check_tail(config: Config, add: Add) -> None:
    owners: dict[str, str] = {}
    for stream, globs in config.sources.tail.items():
        key = f"sources.tail.{stream}"
        if not is_stream_name(stream):
            add(key, f"stream {stream!r} is no legal name", NAME_HINT)
        if not globs:
            add(key, f"{key} names no files", 'write ["/var/log/calico/flowlogs/flows.log"]')
        for pattern in globs:
            if not pattern or pattern.endswith("/"):
                add(key, f"{pattern!r} names no file", "write a file's path, or one with wildcards")
            elif owners.setdefault(pattern, stream) != stream:
                add(key, f"{pattern}: stream {owners[pattern]!r} follows it already", "a file belongs to one stream")


def _check_views(config: Config, add: Add) -> None:
    for name, view in config.views.items():
        key = f"views.{name}"
        if not is_stream_name(name):
            add(key, f"view {name!r} is no legal name", NAME_HINT)
        if not is_stream_name(view.stream):
            add(f"{key}.stream", f"stream {view.stream!r} is no legal name", NAME_HINT)
        elif view.stream == name:
            add(key, f"view {name!r} has the name of its stream", "give it a name of its own")
        if not view.path:
            add(key, f"{key}.path is missing", "name the view's filters: a file or a folder")
        elif not os.path.exists(view.path):
            add(f"{key}.path", f"view path {view.path!r} does not exist", "give a file or a folder")


def _check_sinks(config: Config, add: Add) -> None:
    for name, sink in config.sinks.items():
        key = f"sinks.{name}"
        if not is_stream_name(sink_consumer(name)):
            add(key, f"sink {name!r} is no legal name", SINK_NAME_HINT)
        if not sink.streams:
            add(f"{key}.stream", f"{key} carries no stream", 'write "flows", or ["flows", "dns"]')
        for stream in sink.streams:
            if not is_stream_name(stream):
                add(f"{key}.stream", f"stream {stream!r} is no legal name", NAME_HINT)
        if sink.view is not None and len(sink.streams) > 1:
            add(f"{key}.view", f"{key} has a view, and several streams", "a view belongs to one stream")
        if sink.view is not None and not is_stream_name(sink.view):
            add(f"{key}.view", f"view {sink.view!r} is no legal name", NAME_HINT)
        if isinstance(sink, ForwardSink):
            check_forward_sink(key, sink, add)
        if isinstance(sink, NatsSink):
            check_nats(key, sink, add)


def _check_journal(config: Config, add: Add) -> None:
    journal = config.journal
    if journal.interval_ms < 1:
        add("journal.interval_ms", f"interval_ms = {journal.interval_ms} is no time", "write 500")
    if not JOURNAL_LEAST_BYTES <= journal.max_bytes <= JOURNAL_MOST_BYTES:
        size = "too small" if journal.max_bytes < JOURNAL_LEAST_BYTES else "more than a file can have"
        add("journal.max_bytes", f"max_bytes = {journal.max_bytes} is {size}", "write 1MiB or more, 4GiB as a rule")
    if not 0 < journal.max_age < float("inf"):
        add("journal.max_age", f"max_age = {journal.max_age:g} is no age", "write 24h")


def _check_http(http: Http, add: Add) -> None:
    if http.listen:
        try:
            parse_address(http.listen)
        except FlowdError as error:
            add("http.listen", f"listen: {error.message}", error.hint)
    if not 0 <= http.rules <= RULES_MOST:
        add("http.rules", f"rules = {http.rules} is out of range", f"write 0 to {RULES_MOST}, 1000 as a rule")


def _is_endpoint(key: str, endpoint: str, add: Add) -> bool:
    try:
        check_endpoint(endpoint)
    except FlowdError as error:
        add(key, error.message, error.hint)
        return False
    return True
