"""What the documents show besides commands can be used: configurations, filters, tests of filters, programs."""

from __future__ import annotations

import ast
import inspect
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from docs_bed import BLOCKS, DOCUMENTS, NAMES, Block

import flowd
from flowd.errors import ConfigError
from flowd.filter_tests.reading import read_tests
from flowd.filters.load import read_text
from flowd.relay.config import load_config

ABSENT = ("does not exist", "No such file or directory", "cannot be read")
# What a text in a language of filters begins with: sections inside of <filter> are shown alone, too.
FILTER = "<filter "
LIST = "- name: grep"
INSIDE = ("<exclude>", "<regexp>", "<and>", "<or>", "<not>")


def blocks_of(document: Path, language: str) -> Iterator[tuple[Block, str]]:
    for block in BLOCKS[document]:
        if block.language == language:
            yield block, "\n".join(block.lines) + "\n"


def without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def find_faults(file: Path) -> list[str]:
    """What is wrong with a configuration, but for files that only the reader has."""
    try:
        load_config(file, environ={})
    except ConfigError as error:
        messages = [problem.message for problem in error.problems]
        return [message for message in messages if not message.endswith(ABSENT)]
    return []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_configurations_are_taken(document: Path, tmp_path: Path) -> None:
    """All TOML is flowd.toml, or tests of filters; paths are those of the reader's machine."""
    for number, (block, text) in enumerate(blocks_of(document, "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        tables = tomllib.loads(text)
        if "test" in tables:
            assert read_tests([str(file)]), block.place
        else:
            assert find_faults(file) == [], block.place


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_filters_are_taken(document: Path) -> None:
    """Those that a page writes into a file are used by its commands; some of them are wrong on purpose."""
    for block, text in [*blocks_of(document, ""), *blocks_of(document, "yaml")]:
        begins = without_comments(text).lstrip()
        if block.file or not begins.startswith((FILTER, *INSIDE, LIST)):
            continue
        if begins.startswith(INSIDE):
            has_own = any(line.split()[:1] in (["equals"], ["in"], ["cidr"]) for line in block.lines)
            text = f"<filter flows>\n@type {'flowd' if has_own else 'grep'}\n{text}</filter>\n"
        assert read_text(text, "flows", dialect=None, origin=block.place).filters


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_data_is_whole(document: Path) -> None:
    for block, text in blocks_of(document, "yaml"):
        assert [part for part in yaml.safe_load_all(text) if part], block.place
    for _, text in blocks_of(document, "json"):
        try:
            json.loads(text)
        except json.JSONDecodeError:  # a line each
            for line in text.splitlines():
                json.loads(line)


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_programs_use_what_there_is(document: Path) -> None:
    """They parse, import what exists, and call flowd's names with arguments that these have."""
    for block, text in blocks_of(document, "python"):
        tree = ast.parse(text, filename=block.place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "flowd":
                module = __import__(node.module, fromlist=["*"])
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert missing == [], block.place
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "flowd":
                assert hasattr(flowd, node.attr), f"{block.place}: flowd.{node.attr}"
            if isinstance(node, ast.Call) and (called := called_of_flowd(node)):
                names = inspect.signature(getattr(flowd, called)).parameters
                unknown = [keyword.arg for keyword in node.keywords if keyword.arg not in names]
                assert unknown == [], f"{block.place}: {ast.unparse(node)}"


def called_of_flowd(call: ast.Call) -> str:
    """`Consumer`, where a call is of flowd.Consumer."""
    name = ast.unparse(call.func)
    return name.removeprefix("flowd.") if name.startswith("flowd.") and name.count(".") == 1 else ""
