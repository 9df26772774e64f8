"""Variables that set options: each has one meaning, and what is set for one command breaks no other."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click
import pytest
from cli_bed import DEV_FILTER, ROOT, all_options, flowd, json_line

from flowd.cli.command import Option
from flowd.relay.config import ENVIRONMENT

OF_OUTPUT = "FLOWD_OUTPUT"
"""Commands have other forms beside json, which all have."""


def say_kind(each: Option) -> tuple[object, ...]:
    """What must be the same where one variable sets both."""
    choices = tuple(each.type.choices) if isinstance(each.type, click.Choice) else None
    bounds = (each.type.min, each.type.max) if isinstance(each.type, (click.IntRange, click.FloatRange)) else None
    return type(each.type), choices, bounds, each.is_flag, each.multiple


def test_every_variable_has_one_meaning() -> None:
    kinds: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for _, each, variables in all_options():
        for variable in variables:
            kinds[variable].add(say_kind(each))
    assert {variable for variable, found in kinds.items() if len(found) > 1} == {OF_OUTPUT}
    forms = [each.type for _, each, variables in all_options() if OF_OUTPUT in variables]
    assert all("json" in form.choices for form in forms if isinstance(form, click.Choice))


def test_every_option_has_a_variable_of_its_command() -> None:
    for path, each, variables in all_options():
        name = max(each.opts, key=len).removeprefix("--")
        own = "_".join([*path.split(), name]).replace("-", "_").upper()
        if not each.is_configured:
            long = {"_".join([*path.split(), n.removeprefix("--")]).replace("-", "_").upper() for n in each.opts}
            assert variables[0] in long | {own}
    configured = {"FLOWD_" + max(each.opts, key=len)[2:].replace("-", "_").upper()
                  for _, each, _ in all_options() if each.is_configured}  # fmt: skip
    assert configured <= set(ENVIRONMENT)


def test_the_manual_names_every_option_that_is_not_shared() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    alone = [variables[0] for _, each, variables in all_options() if not each.is_shared]
    assert [variable for variable in alone if f"`{variable}`" not in text] == []


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow"
    path.write_text(DEV_FILTER)
    return path


def test_what_is_set_for_filter_leaves_convert_alone(tmp_path: Path, filters: Path) -> None:
    log, kept = tmp_path / "flows.log", tmp_path / "kept.parquet"
    log.write_bytes(json_line("web"))
    both = {"FLOWD_FILTER_TO": str(kept), "FLOWD_CONVERT_TO": "flowd", "FLOWD_TO": "nothing"}
    done = flowd("filter", "-f", filters, log, extra=both)
    assert (done.returncode, done.stdout, kept.exists()) == (0, b"", True)
    done = flowd("convert", "-f", filters, extra=both)
    assert (done.returncode, b"@type flowd" in done.stdout) == (0, True), done.stderr
    done = flowd("filter", "-f", filters, log, extra={"FLOWD_TO": str(kept)})
    assert (done.returncode, done.stdout) == (0, json_line("web"))


def test_what_is_set_for_run_leaves_status_alone(tmp_path: Path, filters: Path) -> None:
    done = flowd("run", "-f", filters, extra={"FLOWD_RUN_CHECK": "1", "FLOWD_STATUS_CHECK": "live"})
    assert (done.returncode, done.stdout) == (0, b"the configuration is valid: 1 rule for flows\n")
    done = flowd("status", "--runtime-dir", tmp_path, extra={"FLOWD_RUN_CHECK": "1"})
    assert done.returncode == 69
    done = flowd("compare", filters, filters, "-", extra={"FLOWD_SINCE": "5m"})  # which `observe` reads
    assert done.returncode == 0, done.stderr


def test_the_commands_own_variable_goes_before_the_shared_one(filters: Path) -> None:
    done = flowd("check", filters, extra={"FLOWD_OUTPUT": "table", "FLOWD_CHECK_OUTPUT": "json"})
    assert (done.returncode, done.stdout[:1]) == (0, b"{")


def test_an_error_names_the_variable(filters: Path) -> None:
    done = flowd("check", filters, extra={"FLOWD_OUTPUT": "table"})
    assert done.returncode == 2
    assert b"Invalid value for '-o' / '--output' (by FLOWD_OUTPUT): 'table' is not one of" in done.stderr
    done = flowd("check", filters, "-o", "table")
    assert b"Invalid value for '-o' / '--output': 'table'" in done.stderr
    done = flowd("filter", "-f", filters, extra={"FLOWD_FILTER_THREADS": "many"})
    assert b"(by FLOWD_FILTER_THREADS): 'many'" in done.stderr


def test_names_with_several_words_have_variables(tmp_path: Path) -> None:
    extra = {"FLOWD_KEYS_NEW_KEYS_DIR": str(tmp_path / "keys")}
    done = flowd("keys", "new", "siem", "--role", "consume", cwd=tmp_path, extra=extra)
    assert (done.returncode, (tmp_path / "keys" / "siem.key_secret").exists()) == (0, True)
