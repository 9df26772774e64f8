"""How soon `flowd` starts: what its commands do not load, and arguments read without click as click reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from cli_bed import DEV_FILTER, ROOT, environment, flowd, text_line
from hypothesis import given
from hypothesis import strategies as st

from flowd.cli.filter import command
from flowd.cli.filtering.arguments import CHOICES, DEFAULTS, FLAGS, OPTIONS, THREADS_MOST, read_arguments

SLOW_TO_LOAD = {
    "asyncio", "click", "concurrent.futures", "dataclasses", "difflib", "inspect", "lmdb", "logging", "msgpack",
    "msgspec", "platform", "socket", "subprocess", "uuid", "yaml", "zlib_ng", "zmq", "zstandard",
}  # fmt: skip
"""Each takes from one to thirty milliseconds, and neither `flowd --version` nor a plain `flowd filter` needs it."""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command has loaded when it is done."""
    script = "import sys; from flowd.cli import main; main(sys.argv[1:]); sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, env=environment(), check=True
    )
    return set(done.stderr.decode().split())


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


def test_version_loads_nothing_that_it_does_not_need() -> None:
    loaded = loaded_by("--version")
    assert not loaded & SLOW_TO_LOAD
    assert not {name for name in loaded if name.startswith(("flowd.filters", "flowd.patterns", "flowd.program"))}


def test_filtering_loads_nothing_that_it_does_not_need(filters: Path, tmp_path: Path) -> None:
    (tmp_path / "some.log").write_bytes(text_line("dev") * 10)
    loaded = loaded_by("filter", "-f", str(filters), str(tmp_path / "some.log"))
    assert "flowd.filters.fluentd.text" in loaded
    assert not loaded & SLOW_TO_LOAD
    assert not loaded & {
        "flowd.patterns.parse",
        "flowd.patterns.judge",
        "flowd.filters.fluentbit.text",
        "flowd.cli.root",
    }
    assert not {name for name in loaded if name.startswith("flowd.filters.lint.")} - {"flowd.filters.lint.fields"}
    assert not {name for name in loaded if name.startswith(("flowd.relay", "flowd.wire", "flowd.client"))}


def test_the_plain_reading_knows_every_option_that_click_knows() -> None:
    options = [each for each in command.params if isinstance(each, click.Option)]
    names = {name: each.name for each in options for name in each.opts}
    assert names == {**FLAGS, **OPTIONS}
    assert set(FLAGS.values()) == {each.name for each in options if each.is_flag}
    assert {each.name: tuple(each.type.choices) for each in options if isinstance(each.type, click.Choice)} == CHOICES
    context = command.make_context("filter", ["-f", "x"])
    assert context.params == {**DEFAULTS, "path": "x", "files": ()}
    (threads,) = (each for each in options if each.name == "threads")
    assert isinstance(threads.type, click.IntRange)
    assert (threads.type.min, threads.type.max) == (0, THREADS_MOST)


WORDS = st.sampled_from(
    (*FLAGS, *OPTIONS, *(f"{name}=" for name in OPTIONS), *(f"{name}=x" for name in OPTIONS), "-f", "flow.conf",
     "--output=json", "-ojson", "-qe", "json", "text24", "keep", "fail", "fluentd", "0", "2", "256", "257", "-1", "٣",
     "+2", "1_0", " 2", "", "-", "--", "--stat", "-x", "a.log", "--help")
)  # fmt: skip


@given(st.lists(WORDS, max_size=8))
def test_what_is_read_without_click_is_what_click_reads(arguments: list[str]) -> None:
    read = read_arguments(arguments, {})
    if read is not None:
        assert command.make_context("filter", list(arguments)).params == read


def test_plain_arguments_are_read_without_click() -> None:
    read = read_arguments(["-q", "-f", "a.conf", "--threads", "2", "-o=json", "a.log"], {})
    assert read is None
    read = read_arguments(["-q", "-f", "a.conf", "--threads=2", "a.log", "--", "-b"], {"HOME": "/"})
    assert read == {**DEFAULTS, "path": "a.conf", "quiet": True, "threads": 2, "files": ("a.log", "-b")}


@pytest.mark.parametrize("variable", ["FLOWD_STREAM", "FLOWD_FILTERS_PATH", "FLOWD_EXIT_STATUS", "_FLOWD_COMPLETE"])
def test_what_the_environment_sets_is_left_to_click(variable: str) -> None:
    assert read_arguments(["-f", "a.conf"], {variable: "1"}) is None


def test_bytes_that_are_no_text_name_files_either_way(filters: Path, tmp_path: Path) -> None:
    name = (
        (tmp_path.as_posix() + "/fl\udcffws.log").encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    )
    Path(name).write_bytes(text_line("shop"))
    assert flowd("filter", "-f", filters, name).stdout == text_line("shop")
    assert flowd("filter", "-f", filters, name, extra={"FLOWD_STREAM": "flows"}).stdout == text_line("shop")


@pytest.mark.parametrize("arguments", [["--version"], ["filter", "-f", "flow.conf"], ["check", "flow.conf"]])
def test_a_core_that_is_not_built_is_said(filters: Path, tmp_path: Path, arguments: list[str]) -> None:
    shutil.copytree(ROOT / "flowd", tmp_path / "flowd", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = flowd(*arguments, cwd=filters.parent, extra={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (78, b"")
    assert done.stderr == b"flowd: flowd's native core is not built\nhint: run `make build` in the checkout\n"
