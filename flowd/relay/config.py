"""What the daemon is told: flowd.toml, the environment and flags, merged and checked into a Config.

A flag goes before the environment, that before the file, that before the default. All problems are found before the
first is reported, each with its place. Nothing here opens a socket or makes a folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import msgspec

from flowd.errors import ConfigError, FlowdError, Problem
from flowd.relay.allowed import check_folder
from flowd.relay.places import find_key
from flowd.relay.units import parse_size, parse_time
from flowd.wire.keys import read_secret, require_curve
from flowd.wire.limits import is_stream_name
from flowd.wire.sockets import check_endpoint, is_tcp

ENVIRONMENT = {
    "FLOWD_RUNTIME_DIR": "runtime.dir",
    "FLOWD_STATE_DIR": "runtime.state_dir",
    "FLOWD_DRAIN_S": "runtime.drain_s",
    "FLOWD_FILTERS_PATH": "filters.path",
}
"""Which variable sets which key."""

UNAVAILABLE = (
    "views", "sources.tail", "sources.forward", "journal", "consume", "sinks", "http",
)  # fmt: skip
"""Sections of flowd's configuration that this version does not serve: refused, never ignored."""

CURVE_HINT = "give server_secret_file and allowed_keys_dir under [curve]; `flowd keys new` makes keys"

SOCKETS = ("ingest.sock", "live.sock", "admin.sock")


class Runtime(msgspec.Struct, frozen=True):
    """Where the daemon lives: its sockets in `dir`, its lasting state in `state_dir`; `drain_s` bounds its ending."""

    dir: str
    state_dir: str
    drain_s: float = 30.0


class Filters(msgspec.Struct, frozen=True):
    """Which filters decide; without a `path` everything is kept. `dialect` None recognises it by the text.

    With `watch` they are read again when their files change. `flowd reload` refuses filters that would drop more than
    `reload_max_extra_drop` of the recent lines in addition to those that are dropped already.
    """

    path: str | None = None
    dialect: str | None = None
    skip_unsupported: bool = False
    watch: bool = True
    reload_max_extra_drop: float = 0.2


class Lane(msgspec.Struct, frozen=True):
    """A lane's endpoints beside its socket in the runtime directory."""

    bind: tuple[str, ...] = ()


class Raw(msgspec.Struct, frozen=True):
    """Endpoints for senders that know nothing of FLW, and the stream that their lines belong to."""

    bind: tuple[str, ...] = ()
    stream: str = "flows"


class Curve(msgspec.Struct, frozen=True):
    """Keys for TCP: the server's own, and the folder of those that are let in."""

    server_secret_file: str = ""
    allowed_keys_dir: str = ""


class Sources(msgspec.Struct, frozen=True):
    """Where lines come from."""

    ingest: Lane = Lane()
    raw: Raw = Raw()


class Config(msgspec.Struct, frozen=True):
    """A checked configuration. `endpoint` gives the address of a lane's socket."""

    runtime: Runtime
    filters: Filters = Filters()
    sources: Sources = Sources()
    live: Lane = Lane()
    curve: Curve = Curve()

    @property
    def has_tcp(self) -> bool:
        """Whether there is a TCP endpoint."""
        return any(map(is_tcp, (*self.sources.ingest.bind, *self.live.bind)))

    def endpoint(self, lane: str) -> str:
        """`ipc://…/LANE.sock` in the runtime directory; lanes are `ingest`, `live` and `admin`."""
        return lane_endpoint(self.runtime.dir, lane)


def lane_endpoint(runtime_dir: str | os.PathLike[str], lane: str) -> str:
    """The address of a lane's socket in this runtime directory."""
    return f"ipc://{os.path.join(os.fspath(runtime_dir), lane)}.sock"


def default_runtime_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Where clients and the daemon look for sockets when nobody says: FLOWD_RUNTIME_DIR, else /run/flowd for root, else
    flowd under the user's runtime folder."""
    if environ.get("FLOWD_RUNTIME_DIR"):
        return environ["FLOWD_RUNTIME_DIR"]
    if os.geteuid() == 0:
        return "/run/flowd"
    return os.path.join(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "flowd")


def default_state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The state directory when nobody says: FLOWD_STATE_DIR, else /var/lib/flowd for root, else under the user's."""
    if environ.get("FLOWD_STATE_DIR"):
        return environ["FLOWD_STATE_DIR"]
    if os.geteuid() == 0:
        return "/var/lib/flowd"
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "flowd")


def load_config(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The daemon's configuration: the file (None: no file), the environment, and `overrides`, which are flags by their
    keys (`{"runtime.dir": …, "filters.path": …}`; None values are flags not given).

    Raises ConfigError with every problem, and FileNotFoundError where the file is missing.
    """
    reading = _Reading(os.fspath(path) if path is not None else "")
    if path is not None:
        reading.read_file(Path(path))
    for variable, key in ENVIRONMENT.items():
        if environ.get(variable):
            reading.set(key, environ[variable], f"environment variable {variable}")
    for key, value in (overrides or {}).items():
        if value is not None:
            reading.set(key, os.fspath(value) if isinstance(value, os.PathLike) else value, _flag_name(key))
    reading.refuse_unavailable()
    config = reading.convert(
        {"dir": default_runtime_dir(environ), "state_dir": default_state_dir(environ)},
    )
    reading.check(config)
    if reading.problems:
        raise ConfigError(sorted(reading.problems, key=lambda problem: (problem.file, problem.line)))
    return config


def _flag_name(key: str) -> str:
    section, _, name = key.partition(".")
    return "--" + (f"{section}-{name}" if name in ("dir", "path") else name).replace("_", "-")


class _Reading:
    """One load: the merged tables, where each key came from, and the problems so far."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._text = ""
        self._tables: dict[str, Any] = {}
        self._origins: dict[str, str] = {}

    def read_file(self, path: Path) -> None:
        raw = path.read_bytes()
        try:
            self._text = raw.decode()
            self._tables = tomllib.loads(self._text)
        except UnicodeDecodeError as error:
            self._add_at(raw.count(b"\n", 0, error.start) + 1, 1, "the file is not UTF-8", "save it as UTF-8")
        except tomllib.TOMLDecodeError as error:
            line, column = _place_of(error, self._text)
            self._add_at(line, column, f"not TOML: {error}", "")

    def set(self, key: str, value: Any, origin: str) -> None:
        """Puts a value over whatever stood there."""
        *sections, name = key.split(".")
        table = self._tables
        for section in sections:
            inner = table.setdefault(section, {})
            if not isinstance(inner, dict):
                return  # the file has a value where a section belongs: that is a problem of its own
            table = inner
        table[name] = value
        self._origins[key] = origin

    def refuse_unavailable(self) -> None:
        for section in UNAVAILABLE:
            table: Any = self._tables
            *outer, name = section.split(".")
            for part in outer:
                table = table.get(part) if isinstance(table, dict) else None
            if isinstance(table, dict) and name in table:
                del table[name]
                self.add(section, f"[{section}] is not available in this version", "remove the section")

    def convert(self, directories: dict[str, str]) -> Config:
        """The tables as a Config, with defaults where a value is missing or wrong."""
        runtime = Runtime(directories["dir"], directories["state_dir"])
        found = self._section(Config, self._tables, "", {"runtime": runtime})
        return cast(Config, found)

    def check(self, config: Config) -> None:
        """What a value's type does not say."""
        for socket in SOCKETS:
            self._check_endpoint("runtime.dir", f"ipc://{os.path.join(config.runtime.dir, socket)}")
            if self.problems and self.problems[-1].code == "runtime.dir":
                break
        for key, lane in (("sources.ingest.bind", config.sources.ingest), ("live.bind", config.live)):
            for endpoint in lane.bind:
                self._check_endpoint(key, endpoint)
                if is_tcp(endpoint) and not (config.curve.server_secret_file and config.curve.allowed_keys_dir):
                    self.add(key, f"{endpoint}: TCP needs CURVE keys", CURVE_HINT)
        self._check_curve(config.curve)
        self._check_raw(config)
        if config.runtime.drain_s < 0:
            self.add("runtime.drain_s", f"drain_s = {config.runtime.drain_s:g} is negative", "write 30 or 5m")
        path = config.filters.path
        if path is not None and not os.path.exists(path):
            self.add("filters.path", f"filters path {path!r} does not exist", "give a file or a folder")
        share = config.filters.reload_max_extra_drop
        if not 0 <= share <= 1:
            self.add("filters.reload_max_extra_drop", f"reload_max_extra_drop = {share:g} is no share", "write 0 to 1")

    def _check_curve(self, curve: Curve) -> None:
        if curve == Curve():
            return
        checks: tuple[tuple[str, str, Callable[[str], object]], ...] = (
            ("curve.server_secret_file", curve.server_secret_file, read_secret),
            ("curve.allowed_keys_dir", curve.allowed_keys_dir, check_folder),
        )
        for key, path, check in checks:
            if not path:
                self.add("curve", f"{key} is missing", CURVE_HINT)
                continue
            try:
                require_curve()
                check(path)
            except FlowdError as error:
                self.add(key, error.message, error.hint)

    def _check_raw(self, config: Config) -> None:
        raw = config.sources.raw
        others = {config.endpoint(Path(socket).stem) for socket in SOCKETS}
        others.update(config.sources.ingest.bind, config.live.bind)
        for endpoint in raw.bind:
            if endpoint.startswith("tcp://"):
                self.add(
                    "sources.raw.bind", f"{endpoint}: raw ingest has no keys and is local", "use an ipc:// endpoint"
                )
            elif endpoint in others:
                self.add("sources.raw.bind", f"{endpoint}: another lane has this endpoint", "give it one of its own")
            else:
                self._check_endpoint("sources.raw.bind", endpoint)
        if not is_stream_name(raw.stream):
            hint = "1 to 128 of the characters A-Z a-z 0-9 . _ -"
            self.add("sources.raw.stream", f"stream {raw.stream!r} is no legal name", hint)

    def add(self, key: str, message: str, hint: str = "") -> None:
        """A problem with a key, at the place it was written."""
        origin = self._origins.get(key)
        if origin is not None:
            self.problems.append(Problem(origin, 1, 1, message, hint, key))
            return
        line, column = find_key(self._text, key)
        self.problems.append(Problem(self._file or "defaults", line, column, message, hint, key))

    def _add_at(self, line: int, column: int, message: str, hint: str) -> None:
        self.problems.append(Problem(self._file, line, column, message, hint))

    def _check_endpoint(self, key: str, endpoint: str) -> None:
        try:
            check_endpoint(endpoint)
        except FlowdError as error:
            self.add(key, error.message, error.hint)

    def _section(self, struct: type, table: dict[str, Any], path: str, defaults: dict[str, Any]) -> Any:
        """A struct from a table, one value at a time so that each wrong one is reported."""
        fields = {field.name: field for field in msgspec.structs.fields(struct)}
        for name in table.keys() - fields.keys():
            near = get_close_matches(name, fields, n=1)
            known = ", ".join(sorted(fields))
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {known}"
            self.add(f"{path}{name}", f"unknown key {path + name!r}", hint)
        values = {}
        for name, field in fields.items():
            default = defaults.get(name, field.default)
            values[name] = default
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
                inner = table.get(name, {})
                if isinstance(inner, dict):
                    values[name] = self._section(field.type, inner, f"{path}{name}.", _defaults_of(default))
                else:
                    self.add(f"{path}{name}", f"{path}{name} is a section, not a value", f"write [{path}{name}]")
            elif name in table:
                try:
                    values[name] = _convert_value(name, table[name], field.type)
                except ValueError as error:
                    self.add(f"{path}{name}", f"{path}{name}: {error}")
        return struct(**values)


def _defaults_of(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _convert_value(name: str, value: Any, kind: Any) -> Any:
    """One value as its type, with the units that its name allows. ValueError says what is wrong."""
    if isinstance(value, str) and name.endswith("_s"):
        return parse_time(value)
    if isinstance(value, str) and name.endswith("_bytes"):
        return parse_size(value)
    if isinstance(value, str) and kind is bool:
        raise ValueError(f"{value!r} is no truth value; write true or false")
    return msgspec.convert(value, kind)


def _place_of(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, int]:
    """The place that tomllib's message ends with."""
    found = str(error).rpartition("(at line ")[2].rstrip(")").split(", column ")
    if len(found) == 2 and found[0].isdigit() and found[1].isdigit():
        return int(found[0]), int(found[1])
    return text.count("\n") + 1, 1
