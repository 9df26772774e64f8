"""flowd.relay.config.config: what is read, what goes before what, and that every problem is told with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowd.errors import ConfigError
from flowd.relay.config import (
    ENVIRONMENT,
    Config,
    Filters,
    Http,
    Journal,
    Lane,
    Raw,
    Runtime,
    Sources,
    View,
    default_runtime_dir,
    default_state_dir,
    lane_endpoint,
    load_config,
)
from flowd.relay.config.units import parse_size, parse_time


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "flowd.toml"
    path.write_text(text)
    return path


def problems_of(path: Path | None, overrides: dict[str, Any] | None = None, **environ: str) -> list[tuple[Any, ...]]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, environ)
    return [(problem.file, problem.line, problem.message, problem.hint) for problem in caught.value.problems]


def test_nothing_given_is_defaults() -> None:
    config = load_config(None, None, {})
    assert config == Config(Runtime(default_runtime_dir({}), default_state_dir({}), 30.0))
    assert config.endpoint("live") == lane_endpoint(config.runtime.dir, "live")


def test_whole_file_is_read(tmp_path: Path) -> None:
    filters = tmp_path / "filters"
    filters.mkdir()
    path = write(
        tmp_path,
        f"""
[runtime]
dir = "/run/x"
state_dir = "/var/x"
drain_s = "1m"

[filters]
path = "{filters}"
dialect = "fluentd"
skip_unsupported = true
watch = false
reload_max_extra_drop = 0.5

[sources.ingest]
bind = ["ipc:///run/x/more.sock"]

[sources.raw]
bind = ["ipc:///run/x/raw.sock"]
stream = "audit"

[sources.tail]
flows = ["/var/log/flows.log"]
"audit.kube" = ["/a/*.log", "/b"]

[views.prod]
stream = "dns"
path = "{filters}"

[journal]
sync = "interval"
interval_ms = "2s"
max_bytes = "1GiB"
max_age = "90m"

[live]
bind = []

[consume]
bind = ["ipc:///run/x/consumers.sock"]

[http]
listen = "[::]:9468"
rules = 50
""",
    )
    assert load_config(path, None, {}) == Config(
        runtime=Runtime("/run/x", "/var/x", 60.0),
        filters=Filters(str(filters), "fluentd", True, False, 0.5),
        views={"prod": View("dns", str(filters))},
        sources=Sources(
            Lane(("ipc:///run/x/more.sock",)),
            Raw(("ipc:///run/x/raw.sock",), "audit"),
            {"flows": ("/var/log/flows.log",), "audit.kube": ("/a/*.log", "/b")},
        ),
        journal=Journal("interval", 2000, 1 << 30, 5400.0),
        live=Lane(()),
        consume=Lane(("ipc:///run/x/consumers.sock",)),
        http=Http("[::]:9468", 50),
    )


def test_journal_is_there_by_default() -> None:
    assert load_config(None, None, {}).journal == Journal("commit", 500, 4 << 30, 86400.0)


def test_endpoints_that_take_each_others_path_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """[runtime]
dir = "/r"
[sources.ingest]
bind = ["ipc:///r/admin.sock"]
[live]
bind = ["ipc:///a", "ipc:///a"]
[consume]
bind = ["ipc:///a", "ipc:///b"]
[sources.raw]
bind = ["ipc:///b"]
""",
    )
    assert [(line, text) for _, line, text, _ in problems_of(path)] == [
        (4, "ipc:///r/admin.sock: another lane has this endpoint"),
        (6, "ipc:///a: another lane has this endpoint"),
        (8, "ipc:///a: another lane has this endpoint"),
        (10, "ipc:///b: another lane has this endpoint"),
    ]


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", '"25h"'])
def test_time_to_drain_has_a_bound(tmp_path: Path, value: str) -> None:
    ((_, line, text, hint),) = problems_of(write(tmp_path, f"[runtime]\ndrain_s = {value}\n"))
    assert (line, text.endswith("is no limit"), hint) == (2, True, "write 30 or 5m, 24h at most")


@pytest.mark.parametrize(
    "key", ["runtime.dir", "curve.server_secret_file", "curve.allowed_keys_dir", "filters.path", "live.bind"]
)
def test_nul_character_is_a_problem_of_its_key(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    value = '["/a\\u0000"]' if name == "bind" else '"/a\\u0000"'
    found = problems_of(write(tmp_path, f"[{section}]\n{name} = {value}\n"))
    assert [text for _, line, text, _ in found if line == 2 and "holds a NUL character" in text], found


def test_what_is_wrong_with_journal_tail_and_views_is_told(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
[journal]
sync = "sometimes"
interval_ms = 0
max_bytes = "1KB"
max_age = 0

[sources.tail]
"a/b" = ["/x"]
flows = []
dns = ["/y", "/x", ""]

[views."no name"]
stream = "flows"
path = "/nonexistent"

[views.flows]

[views.dns]
stream = "?"
path = "/"
pathh = "/"

[consume]
bind = ["tcp://*:1"]
""",
    )
    assert [(line, text) for _, line, text, _ in problems_of(path)] == [
        (2, "journal.sync: 'sometimes' is none of commit, interval, off"),
        (3, "interval_ms = 0 is no time"),
        (4, "max_bytes = 1000 is too small"),
        (5, "max_age = 0 is no age"),
        (8, "stream 'a/b' is no legal name"),
        (9, "sources.tail.flows names no files"),
        (10, "/x: stream 'a/b' follows it already"),
        (10, "'' names no file"),
        (12, "view 'no name' is no legal name"),
        (14, "view path '/nonexistent' does not exist"),
        (16, "view 'flows' has the name of its stream"),
        (16, "views.flows.path is missing"),
        (19, "stream '?' is no legal name"),
        (21, "unknown key 'views.dns.pathh'"),
        (24, "tcp://*:1: TCP needs CURVE keys"),
    ]


def test_flag_goes_before_environment_before_file_before_default(tmp_path: Path) -> None:
    path = write(tmp_path, '[runtime]\ndir = "/file"\nstate_dir = "/file"\ndrain_s = 1\n')
    environ = {"FLOWD_RUNTIME_DIR": "/environment", "FLOWD_STATE_DIR": "/environment"}
    config = load_config(path, {"runtime.dir": Path("/flag"), "runtime.drain_s": None}, environ)
    assert config.runtime == Runtime("/flag", "/environment", 1.0)


def test_every_variable_is_read(tmp_path: Path) -> None:
    given = {"FLOWD_RUNTIME_DIR": "/r", "FLOWD_STATE_DIR": "/s", "FLOWD_DRAIN_S": "5"}
    given |= {"FLOWD_FILTERS_PATH": str(tmp_path), "FLOWD_WORKERS": "3", "FLOWD_HTTP_LISTEN": "127.0.0.1:1"}
    config = load_config(None, None, given)
    assert given.keys() == ENVIRONMENT.keys()
    assert (config.runtime, config.filters.path) == (Runtime("/r", "/s", 5.0, 3), str(tmp_path))
    assert config.http == Http("127.0.0.1:1")


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
[runtime]
dirr = "/x"
drain_s = "5 parsecs"

[filters]
path = "/nonexistent/flow"
reload_max_extra_drop = 20

[sources.ingest]
bind = ["tcp://0.0.0.0:5755"]

[sinks.where]
type = "forwards"

[live]
bind = [3]

[http]
listen = "localhost:9468"
rules = -1
""",
    )
    assert problems_of(path) == [
        (str(path), 2, "unknown key 'runtime.dirr'", "did you mean 'dir'?"),
        (str(path), 3, "runtime.drain_s: '5 parsecs' is no time; write 30, 500ms, 5m or 24h", ""),
        (str(path), 6, "filters path '/nonexistent/flow' does not exist", "give a file or a folder"),
        (str(path), 7, "reload_max_extra_drop = 20 is no share", "write 0 to 1"),
        (
            str(path),
            10,
            "tcp://0.0.0.0:5755: TCP needs CURVE keys",
            "give server_secret_file and allowed_keys_dir under [curve]; `flowd keys new` makes keys",
        ),
        (str(path), 13, "unknown type of sink 'forwards'", "did you mean 'forward'?"),
        (str(path), 16, "live.bind: Expected `str`, got `int` - at `$[0]`", ""),
        (
            str(path),
            19,
            "listen: 'localhost:9468': 'localhost' is no IP address",
            "write ADDRESS:PORT, like 127.0.0.1:9468 or [::1]:9468; port 0 takes any that is free",
        ),
        (str(path), 20, "rules = -1 is out of range", "write 0 to 100000, 1000 as a rule"),
    ]


def test_section_that_is_a_value_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "runtime = 5\nsources = []\n")
    assert [problem[2] for problem in problems_of(path, {"runtime.dir": "/x"})] == [
        "runtime is a section, not a value",
        "sources is a section, not a value",
    ]


def test_text_that_is_not_toml_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, '[runtime]\ndir = "/x\n')
    ((file, line, message, _),) = problems_of(path)
    assert (file, line) == (str(path), 2)
    assert message.startswith("not TOML: ")


def test_text_that_is_not_utf8_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "flowd.toml"
    path.write_bytes(b"[runtime]\n# \xff\n")
    assert problems_of(path) == [(str(path), 2, "the file is not UTF-8", "save it as UTF-8")]


def test_wrong_flag_and_variable_are_named() -> None:
    long = "/" + "x" * 120
    found = problems_of(None, {"runtime.dir": long, "runtime.drain_s": -1}, FLOWD_FILTERS_PATH="/nonexistent")
    assert [(file, message.partition(" ")[0]) for file, _, message, _ in found] == [
        ("--drain-s", "drain_s"),
        ("--runtime-dir", f"ipc://{long}/ingest.sock:"),
        ("environment variable FLOWD_FILTERS_PATH", "filters"),
    ]


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        ("17", "workers = 17 is out of range"),
        ("-1", "runtime.workers: '-1' is no whole number; write 2"),
        ("two", "runtime.workers: 'two' is no whole number; write 2"),
        ("²", "runtime.workers: '²' is no whole number; write 2"),
        (-1, "workers = -1 is out of range"),
    ],
)
def test_number_of_workers_is_checked(workers: str | int, message: str) -> None:
    found = problems_of(None, {"runtime.workers": workers})
    assert [(file, text) for file, _, text, _ in found] == [("--workers", message)]


def test_workers_are_none_by_default_and_sixteen_at_most(tmp_path: Path) -> None:
    assert load_config(None, None, {}).runtime.workers == 0
    path = write(tmp_path, "[runtime]\nworkers = 16\n")
    assert load_config(path, None, {}).runtime.workers == 16
    assert load_config(path, {"runtime.workers": "2"}, {"FLOWD_WORKERS": "3"}).runtime.workers == 2


def test_missing_file_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "absent.toml", None, {})


def test_directories_follow_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    environ = {"XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/home/x/s"}
    assert (default_runtime_dir(environ), default_state_dir(environ)) == (
        "/run/user/1000/flowd",
        "/home/x/s/flowd",
    )
    assert default_runtime_dir({}) == "/run/user/1000/flowd"
    assert default_state_dir({}).endswith("/.local/state/flowd")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert (default_runtime_dir(environ), default_state_dir(environ)) == ("/run/flowd", "/var/lib/flowd")


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("4GiB", 4 << 30), ("4 G", 4 << 30), ("1.5kb", 1500), ("7B", 7), ("2 MiB", 2 << 20)]
)
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(("text", "interval_ms"), [("500", 500), ("500ms", 500), ("2s", 2000), ("1.5 s", 1500)])
def test_milliseconds_may_lack_their_unit(text: str, interval_ms: int) -> None:
    config = load_config(None, {"journal.interval_ms": text}, {})
    assert config.journal.interval_ms == interval_ms


@pytest.mark.parametrize(("text", "time_s"), [("30", 30), ("500ms", 0.5), ("5m", 300), ("24h", 86400), ("1.5 s", 1.5)])
def test_time(text: str, time_s: float) -> None:
    assert parse_time(text) == time_s


@pytest.mark.parametrize("text", ["", "x", "-1", "1 2", "5 parsecs", "1e3", "٣"])
def test_what_is_no_size_or_time_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)
