"""Commands that the documents name are ones that exist: also where nothing types them, their options are understood.

What a ```console block shows is typed (test_docs.py). The rest are blocks that say why they are not, and commands in
running text. Those of flowd are read by the command's own parser, those of scripts are looked for in the script's help.
"""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import click
import pytest
from cli_bed import DEADLINE_S, ROOT, environment
from docs_bed import BLOCKS, DOCUMENTS, NAMES, inline_code_of, read_commands

# "": texts in a language of filters, output, pictures, which hold no commands.
LANGUAGES = {"", "console", "ini", "json", "python", "sh", "toml", "xml", "yaml"}
WRITTEN = {block.file for document in DOCUMENTS for block in BLOCKS[document] if block.file}
"""Files that pages tell their readers to write."""

NO_COMMANDS = {"flowd cannot evaluate"}  # how errors of patterns begin

_ASSIGNMENT = re.compile(r"^(?P<name>[A-Z_]+)=")
_COMMAND = re.compile(
    r"^(?:\$ )?(?:[A-Z_]+=\S+ +)*(?:sudo )?(?:flowd|(?:\S*/)?python3?|make|pip|tools/\S+) +[^\s,]+(?:\s|$)"
)
_OPTION = re.compile(r"^(?P<name>--?[A-Za-z][\w-]*)")
_DESCRIPTOR = re.compile(r"(?<=\s)\d(?=[<>])")
_SYNOPSIS = re.compile(r"[\[…]|\w\\?\|\w")


def simple_commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a line of shell, without redirections, assignments and what stands for more."""
    text = _DESCRIPTOR.sub("", text.replace("\\|", "|"))  # a table's cell has a bar with a backslash
    synopsis = _SYNOPSIS.search(text)
    if synopsis and not re.search(r"['\"]", text[: synopsis.start()]):
        text = text[: text.rfind(" ", 0, synopsis.start()) + 1]
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    is_target = False
    for word in lexer:
        if set(word) <= set("<>&|;()"):
            is_target = word[0] in "<>" or word == "&>"
            if not is_target:
                yield words
                words = []
        elif not is_target:
            words.append(word)
        else:
            is_target = False
    yield words


def find_fault(words: Sequence[str]) -> str:
    """What is wrong with a command, or nothing."""
    rest = list(words)
    while rest and (_ASSIGNMENT.match(rest[0]) or rest[0] in ("sudo", "time", "{")):
        rest.pop(0)
    if not rest:
        return ""
    program, *arguments = rest
    if program == "flowd" or program.endswith("/flowd"):
        return find_fault_of_flowd(arguments)
    if re.fullmatch(r"(\.venv/bin/)?python3?", program):
        return find_fault_of_python(arguments)
    if program == "make":
        return find_fault_of_make(arguments)
    return ""


def find_fault_of_flowd(arguments: Sequence[str]) -> str:
    from flowd.cli.root import COMMANDS, root

    if not arguments or arguments[0] in ("--help", "--version", "-h") or arguments[0].isupper():
        return ""
    name, *rest = arguments
    if name not in COMMANDS:
        return f"flowd has no command {name!r}"
    command = importlib.import_module(f"flowd.cli.{name}").command
    context = click.Context(root, info_name="flowd")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        inner = command.get_command(context, rest[0])
        if inner is None:
            return f"{command.name} has no command {rest[0]!r}"
        command, rest = inner, rest[1:]
    try:
        values, left, _ = command.make_parser(click.Context(command)).parse_args(list(rest))
    except click.BadOptionUsage as error:  # where a text names an option, it ends with it
        return "" if error.option_name == rest[-1] else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    if left:
        return f"{name} takes no further {left}"
    return next(filter(None, (find_wrong_choice(option, values.get(option.name)) for option in command.params)), "")


def find_wrong_choice(option: click.Parameter, value: object) -> str:
    """A word in capitals stands for a value, and a flag or what is not given has none."""
    given = value if isinstance(value, list | tuple) else [value]
    words = [word for word in given if isinstance(word, str) and not word.isupper()]
    if not isinstance(option.type, click.Choice) or getattr(option, "is_flag", False):
        return ""
    wrong = [word for word in words if word not in option.type.choices]
    return f"{option.name} is none of {list(option.type.choices)}: {wrong}" if wrong else ""


def find_fault_of_python(arguments: Sequence[str]) -> str:
    rest = list(arguments)
    while rest and rest[0] == "-X":
        rest = rest[2:]
    if not rest or rest[0] in ("-c", "--version") or "/path/to/" in rest[0]:
        return ""
    if rest[0] == "-m":
        module, *options = rest[1:]
        if module == "flowd":
            return find_fault_of_flowd(options)
        if module == "pytest":
            missing = [
                word for word in options if word.startswith("tests/") and not (ROOT / word.split("::")[0]).exists()
            ]
            return f"pytest is given what is not there: {missing}" if missing else ""
        return ""
    script, *options = rest
    if script in WRITTEN:
        return ""
    if not (ROOT / script).is_file():
        return f"{script} is not there"
    named = [match["name"] for word in options if (match := _OPTION.match(word))]
    unknown = [option for option in named if option not in options_of_script(script)]
    return f"{script} knows no {unknown}" if unknown else ""


@cache
def options_of_script(script: str) -> frozenset[str]:
    """The options that a script's help names; none of one that has no help."""
    if "argparse" not in (ROOT / script).read_text():
        return frozenset()
    command = [sys.executable, script, "--help"]
    where = {"cwd": ROOT, "env": environment({"PYTHONPATH": str(ROOT)})}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S, **where)
    return frozenset(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", shown.stdout))


def find_fault_of_make(arguments: Sequence[str]) -> str:
    makefile = (ROOT / "Makefile").read_text()
    for word in arguments:
        assignment = _ASSIGNMENT.match(word)
        if assignment and f"$({assignment['name']})" not in makefile:
            return f"the Makefile knows no {assignment['name']}"
        if not assignment and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
            return f"the Makefile has no {word}"
    return ""


def commands_of(document: Path) -> Iterator[str]:
    for block in BLOCKS[document]:
        if block.language == "console":
            yield from (command.text for command in read_commands(block))
        elif block.language == "sh":
            yield from block.lines
    yield from (code for code in inline_code_of(document) if _COMMAND.match(code) and code not in NO_COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_are_understood(document: Path) -> None:
    wrong = []
    for text in commands_of(document):
        for command in text.replace("\\\n", " ").split("\n"):
            try:
                faults = [fault for words in simple_commands(command) if (fault := find_fault(words))]
            except ValueError as error:
                faults = [str(error)]
            wrong += [(command, fault) for fault in faults]
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_stand_where_they_are_typed(document: Path) -> None:
    """A command in another block than ```console would be typed by nobody, and nobody would have to say why."""
    strays = [
        f"{document.name}:{number}: {line}"
        for block in BLOCKS[document]
        if block.language != "console" and not block.file
        for number, line in enumerate(block.lines, start=block.line + 1)
        if _COMMAND.match(line.strip())
    ]
    assert strays == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_blocks_are_in_known_languages(document: Path) -> None:
    assert {block.language for block in BLOCKS[document]} <= LANGUAGES


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_files_that_a_page_writes_are_used(document: Path) -> None:
    """A file that no command names would be read by nobody."""
    unused = []
    for at, block in enumerate(BLOCKS[document]):
        behind = "\n".join(line for later in BLOCKS[document][at + 1 :] for line in later.lines)
        names = [block.file, *(str(folder) for folder in Path(block.file).parents if str(folder) != ".")]
        if block.file and not any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", behind) for name in names):
            unused.append(block.place)
    assert unused == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("flowd filter --statistics flows.log", "No such option"),
        ("flowd filtre flows.log", "has no command"),
        ("flowd keys make server", "has no command"),
        ("flowd explain -o yaml", "is none of"),
        ("flowd status now", "takes no further"),
        ("cat flows.log | FLOWD_SIMD=avx2 flowd filter --nothing > kept.log", "No such option"),
        ("python bench/run.py --never", "knows no"),
        ("python bench/walk.py", "is not there"),
        ("python -m pytest tests/test_nothing.py", "is not there"),
        ("make everything", "has no everything"),
        ("make COLOUR=red build", "knows no COLOUR"),
    ],
)
def test_a_wrong_command_is_found(command: str, fault: str) -> None:
    found = [find_fault(words) for words in simple_commands(command)]
    assert any(fault.lower() in text.lower() or (fault == "is not there" and "not there" in text) for text in found)


def test_synopses_and_placeholders_are_understood() -> None:
    for command in (
        "flowd keys new|list|revoke",
        "flowd consumers [reset\\|delete]",
        "flowd observe --consumer NAME -o FORMAT",
        "flowd filter -f filters/ … > kept.log 2> log.txt",
        "head -n 3 flows.log | flowd filter -f filters/ --count",
        "make PYTHON=python3.12 build",
    ):
        assert [find_fault(words) for words in simple_commands(command) if find_fault(words)] == []
