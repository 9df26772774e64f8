"""What the daemon is told: flowd.toml, the environment and flags, merged and checked into a Config.

A flag goes before the environment, that before the file, that before the default. All problems are found before the
first is reported, each with its place. Nothing here opens a socket or makes a folder.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

import msgspec

from flowd.errors import ConfigError, Problem
from flowd.relay.config.checks import check_config
from flowd.relay.config.defaults import default_runtime_dir, default_state_dir
from flowd.relay.config.model import SINK_KINDS, SINK_KINDS_RESERVED, Config, Runtime, Sink
from flowd.relay.config.places import find_key
from flowd.relay.config.units import parse_size, parse_time

ENVIRONMENT = {
    "FLOWD_RUNTIME_DIR": "runtime.dir",
    "FLOWD_STATE_DIR": "runtime.state_dir",
    "FLOWD_DRAIN_S": "runtime.drain_s",
    "FLOWD_WORKERS": "runtime.workers",
    "FLOWD_FILTERS_PATH": "filters.path",
    "FLOWD_HTTP_LISTEN": "http.listen",
}
"""Which variable sets which key."""

TIMES = ("max_age",)
"""Keys that take a time, beside those whose names end in a unit of time."""


def load_config(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The daemon's configuration: the file (None: no file), the environment, and `overrides`, which are flags by their
    keys (`{"runtime.dir": …, "filters.path": …}`; None values are flags not given).

    Raises ConfigError with every problem, and FileNotFoundError where the file is missing.
    """
    config, problems = read_config(path, overrides, environ)
    if problems:
        raise ConfigError(problems)
    return config


def read_config(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> tuple[Config, list[Problem]]:
    """As `load_config`, with the problems beside the configuration: where a value is wrong, it has the default."""
    reading = _Reading(os.fsdecode(path) if path is not None else "")
    if path is not None:
        reading.read_file(Path(os.fsdecode(path)))
    for variable, key in ENVIRONMENT.items():
        if environ.get(variable):
            reading.set(key, environ[variable], f"environment variable {variable}")
    for key, value in (overrides or {}).items():
        if value is not None:
            reading.set(key, os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else value, _flag_name(key))
    config = reading.convert(
        {"dir": default_runtime_dir(environ), "state_dir": default_state_dir(environ)},
    )
    check_config(config, reading.add)
    return config, sorted(reading.problems, key=lambda problem: (problem.file, problem.line))


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

    def convert(self, directories: dict[str, str]) -> Config:
        """The tables as a Config, with defaults where a value is missing or wrong."""
        runtime = Runtime(directories["dir"], directories["state_dir"])
        found = self._section(Config, self._tables, "", {"runtime": runtime})
        return cast(Config, found)

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
            if field.default_factory is dict:
                values[name] = self._named(field.type, table.get(name, {}), f"{path}{name}")
            elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
                inner = self._table(table.get(name, {}), f"{path}{name}")
                values[name] = self._section(field.type, inner, f"{path}{name}.", _defaults_of(default))
            elif name in table:
                try:
                    values[name] = _convert_value(name, table[name], field.type)
                except ValueError as error:
                    self._add_wrong_value(f"{path}{name}", table[name], field.type, error)
        return struct(**values)

    def _named(self, kind: Any, table: Any, path: str) -> dict[str, Any]:
        """A section whose keys are names of the user's: each a section itself, or a value."""
        assert get_origin(kind) is dict
        inner = get_args(kind)[1]
        values = {}
        for name, value in self._table(table, path).items():
            key = f"{path}.{name}"
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                section = self._table(value, key)
                kind = self._kind_of_sink(section, key) if inner is Sink else inner
                if kind is not None:
                    values[name] = self._section(kind, section, f"{key}.", {})
                continue
            try:
                values[name] = _convert_value(name, value, inner)
            except ValueError as error:
                self._add_wrong_value(key, value, inner, error)
        return values

    def _add_wrong_value(self, key: str, value: Any, kind: Any, error: ValueError) -> None:
        """A value that its key cannot have; where it has a few only, they are named."""
        words = [word for part in (kind, *get_args(kind)) if get_origin(part) is Literal for word in get_args(part)]
        if not words:
            self.add(key, f"{key}: {error}")
            return
        near = get_close_matches(str(value), words, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "write one of them"
        self.add(key, f"{key}: {value!r} is none of {', '.join(words)}", hint)

    def _kind_of_sink(self, table: dict[str, Any], path: str) -> type[Sink] | None:
        """The keys that a sink's section may have, by its `type`; None where that is no type of a sink."""
        name = table.get("type")
        if isinstance(name, str) and name in SINK_KINDS:
            return SINK_KINDS[name]
        known = ", ".join(sorted(SINK_KINDS)) or "none"
        if name is None:
            self.add(path, f"{path}.type is missing", f"known types: {known}")
        elif name in SINK_KINDS_RESERVED:
            self.add(
                f"{path}.type", f"sinks of type {name!r} are not available in this version", f"known types: {known}"
            )
        else:
            near = get_close_matches(str(name), SINK_KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known types: {known}"
            self.add(f"{path}.type", f"unknown type of sink {name!r}", hint)
        return None

    def _table(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.add(path, f"{path} is a section, not a value", f"write [{path}]")
        return {}


def _defaults_of(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _convert_value(name: str, value: Any, kind: Any) -> Any:
    """One value as its type, with the units that its name allows. ValueError says what is wrong."""
    if any(isinstance(text, str) and "\0" in text for text in (value if isinstance(value, list) else [value])):
        raise ValueError(f"{value!r} holds a NUL character; no path and no name has one")
    if kind is str:
        return msgspec.convert(value, kind)  # under a name of the user's, which may end as a unit does
    if isinstance(value, str) and (name.endswith("_s") or name in TIMES):
        return parse_time(value)
    if isinstance(value, str) and name.endswith("_ms"):
        return round(parse_time(value, "ms") * 1000)
    if isinstance(value, str) and name.endswith("_bytes"):
        return parse_size(value)
    if isinstance(value, str) and kind is bool:
        raise ValueError(f"{value!r} is no truth value; write true or false")
    if isinstance(value, str) and kind is int:
        return _parse_number(value)
    return msgspec.convert(value, kind)


def _parse_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is no whole number; write 2")
    return int(text)


def _place_of(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, int]:
    """The place that tomllib's message ends with."""
    found = str(error).rpartition("(at line ")[2].rstrip(")").split(", column ")
    if len(found) == 2 and found[0].isdigit() and found[1].isdigit():
        return int(found[0]), int(found[1])
    return text.count("\n") + 1, 1
