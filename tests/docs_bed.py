"""Reads the documents as a reader does: their blocks of code, and a shell in which their commands are typed.

A ```console block is typed line by line (`$ command`), and what stands below a command is what it should print. All
blocks of one document are typed into one shell, in one folder, in their order. On the line before a block may stand

    <!-- not run: reason -->    the block is not typed
    <!-- file: path -->         the block is a file's text, written before anything is typed after it
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli_bed import DEADLINE_S, ROOT, environment
from kubernetes_bed import kubectl

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("tests/**/*.md")])

NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w.+-]*)\s*$")
_DIRECTIVE = re.compile(r"^<!-- (?P<name>not run|file): (?P<text>.+?) -->$")
_END_MARK = "\x1e"
_PATIENCE = re.compile(r"^(producer|consumer): no daemon answers at \S+, trying again$")
"""What a client says where a daemon takes a second to start, as on a busy machine: it says nothing else."""

# What differs from run to run and says nothing: each is compared as if it were the same.
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"), "<clock>"),
    (re.compile(r"^\d\d:\d\d:\d\d\.\d{3}(?= )"), "<clock>"),
    (re.compile(r"\bin [0-9.]+ (ms|s)\b"), "in <time>"),
    (re.compile(r"\bup [0-9.]+ (ms|s)\b"), "up <time>"),
    (re.compile(r"\b[0-9.]+ (ms|s) ago\b"), "<time> ago"),
    # A cursor's sequence: a machine that is busy cuts lines into more batches.
    (re.compile(r"^(\S+ +\S+ +\S+ +)\d+((?: +\d+){3} +<time> ago)"), r"\1<next>\2"),
    (re.compile(r"\bjournal: \d+ batch(es)?, [0-9.]+ [kM]?B\b"), "journal: <size>"),
    (re.compile(r"\bprocess \d+"), "process <number>"),
    (re.compile(r"^SIMD: \w+$"), "SIMD: <level>"),
    (re.compile(r"\bsince \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "since <clock>"),
    # What `flowd compare` estimates from a random sample.
    (re.compile(r"^newly kept: about [\d,]+ ± [\d,]+ lines \(.+\), [\d.]+ %$"), "newly kept: about <estimate>"),
    (re.compile(r"^newly kept +default +[\d,]+ +[\d.]+ [kM]?B +[\d.]+ %$"), "newly kept  default  <estimate>"),
    (re.compile(r"^CHANGE +NEW RULE +LINES +BYTES +SHARE$"), "<heads>"),
    (re.compile(r"\b(Oniguruma|Hyperscan|Vectorscan|Python) [0-9.]+\b"), r"\1 <version>"),
)


@dataclass(slots=True)
class Block:
    """A fenced block: its language, its text, where it stands, and what the line before it says of it."""

    document: Path
    line: int
    language: str
    lines: list[str] = field(default_factory=list)
    not_run: str = ""
    file: str = ""

    @property
    def place(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


@dataclass(slots=True)
class Command:
    """A command as typed, and what the document shows below it."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)


def read_blocks(document: Path) -> list[Block]:
    """All fenced blocks of a document, in order."""
    blocks: list[Block] = []
    block: Block | None = None
    before = indent = ""
    for number, line in enumerate(document.read_text().splitlines(), start=1):
        fence = _FENCE.match(line)
        if block is None and fence:
            block, indent = Block(document, number, fence["language"]), fence["indent"]
            directive = _DIRECTIVE.match(before.strip())
            if directive and directive["name"] == "not run":
                block.not_run = directive["text"]
            elif directive:
                block.file = directive["text"]
        elif block is not None and fence and not fence["language"]:
            blocks.append(block)
            block = None
        elif block is not None:
            block.lines.append(line.removeprefix(indent))
        before = line
    assert block is None, f"{document}: a fence is not closed"
    return blocks


def text_of(document: Path) -> str:
    """A document without its fenced blocks."""
    lines = document.read_text().splitlines()
    for block in BLOCKS[document]:
        for at in range(block.line - 1, block.line + len(block.lines) + 1):
            lines[at] = ""
    return "\n".join(lines)


def inline_code_of(document: Path) -> list[str]:
    """What stands in backticks in the running text, also over the end of a line."""
    paragraphs = re.split(r"\n\s*\n|\n(?=[|#]|\s*[-*] )", text_of(document))
    return [" ".join(code.split()) for text in paragraphs for code in re.findall(r"`([^`]+)`", text)]


def code_of(document: Path) -> list[str]:
    """What stands in backticks or in blocks: where a word is meant as it is written."""
    return inline_code_of(document) + [line for block in BLOCKS[document] for line in block.lines]


def read_commands(block: Block) -> list[Command]:
    """The commands of a console block; a line that ends in a backslash goes on in the next one."""
    commands: list[Command] = []
    goes_on = False
    for number, line in enumerate(block.lines, start=block.line + 1):
        if goes_on:
            commands[-1].text += "\n" + line
        elif line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        else:
            assert commands, f"{block.place}: a console block begins with a command"
            commands[-1].shown.append(line)
        goes_on = line.endswith("\\") and (goes_on or line.startswith("$ "))
    return commands


def normalise(line: str) -> str:
    """A line of output without what differs from run to run."""
    for pattern, instead in _VARYING:
        line = pattern.sub(instead, line)
    return line.rstrip()


def fits(shown: list[str], printed: list[str]) -> bool:
    """Is this what the document shows? A line `…` stands for any lines, an `…` at a line's end for its rest."""
    if not shown:
        return not printed
    if shown[0].strip() == "…":
        return any(fits(shown[1:], printed[at:]) for at in range(len(printed) + 1))
    if not printed:
        return False
    wanted, line = normalise(shown[0]), normalise(printed[0])
    is_same = wanted == line or (wanted.endswith(" …") and line.startswith(wanted[:-1]))
    return is_same and fits(shown[1:], printed[1:])


BLOCKS = {document: read_blocks(document) for document in DOCUMENTS}


class Shell:
    """One shell for one document, in a folder that has what the root of a checkout has for its reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("examples", "bench", "docs", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        tools = folder / ".tools"
        tools.mkdir()
        python = f'"{sys.executable}"'
        commands = {"flowd": f"{python} -m flowd", "python": python, "kubectl": f'"{kubectl()}"'}
        for name, command in commands.items():
            (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._child = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment({"PATH": path, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line.decode(errors="replace").rstrip("\n"))

    def type(self, command: Command) -> list[str]:
        """Types a command and returns what it prints. One that is left in the background prints what is shown."""
        assert self._child.stdin is not None
        script = f"{{ {command.text}\n}} </dev/null\n_code=$?; printf '\\n{_END_MARK}\\n'; (exit $_code)\n"
        self._child.stdin.write(script.encode())
        self._child.stdin.flush()
        deadline_s = time.monotonic() + DEADLINE_S
        printed = list(self._until_mark(command, deadline_s))
        in_background = command.text.rstrip().endswith("&")
        while in_background and not fits(command.shown, printed) and len(printed) < len(command.shown):
            printed.append(self._next(command, deadline_s))
        return printed

    def _until_mark(self, command: Command, deadline_s: float) -> Iterator[str]:
        held: str | None = None
        while (line := self._next(command, deadline_s)) != _END_MARK:
            if _PATIENCE.match(line):
                continue
            if held is not None:
                yield held
            held = line
        if held:  # a last line without newline; an empty one is the mark's own
            yield held

    def _next(self, command: Command, deadline_s: float) -> str:
        try:
            return self._lines.get(timeout=max(0.01, deadline_s - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"waited in vain for the output of {command.text!r} (line {command.line})") from None

    def end(self) -> None:
        """Ends the shell and what it left in the background."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"kill $(jobs -p) 2>/dev/null; wait; exit\n")
        self._child.stdin.close()
        try:
            self._child.wait(DEADLINE_S)
        finally:
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGKILL)
            self._reader.join(DEADLINE_S)
            if self._child.stdout is not None:
                self._child.stdout.close()
