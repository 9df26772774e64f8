"""The line walk at its borders: blocks of 64 bytes, lines at the lengths where another way begins, marks in masses.

Each level that this machine has is asked in a process of its own; what is right is said by Python.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flowd import _core

ASK = """
import pickle, sys
import flowd
from flowd import _core
level, text, lines = pickle.load(sys.stdin.buffer)
assert _core.simd()[0] == level, _core.simd()
fs = flowd.compile(text)
pickle.dump((fs.verdicts(b"".join(lines)), [fs.verdicts(line) for line in lines]), sys.stdout.buffer)
"""


class Case(NamedTuple):
    """A line with its newline, and its verdict."""

    line: bytes
    verdict: str


def exclude(*keys: str) -> str:
    """A filter that drops lines in which one of these is `drop`."""
    section = "<filter **>\n@type grep\n<exclude>\nkey {}\npattern /^drop$/\n</exclude>\n</filter>\n"
    return "".join(section.format(key) for key in keys)


def columns(count: int, size: int, draw: random.Random, values: dict[int, str]) -> str:
    """A text of so many columns and bytes; those of `values` are given."""
    words = [values.get(column, "") for column in range(count)]
    free = [column for column in range(count) if column not in values]
    for _ in range(size - len(" ".join(words))):
        words[draw.choice(free)] += "x"
    return " ".join(words)


def text_lines() -> Iterator[Case]:
    """Lines of all lengths around the walk's borders, with the right number of columns and with others; behind each may
    come one that looks like its columns going on."""
    draw = random.Random(11)
    for size in [*range(48, 270), *range(310, 330)]:
        for count in (23, 24, 25, 26, 27, 28):
            namespace = draw.choice(("drop", "keep"))
            line = columns(count, size, draw, {0: "1", 3: namespace, count - 1: "z"})
            ending = draw.choice(("\n", "\n", "\r\n"))
            verdict = "M" if count not in (24, 27) else "D" if namespace == "drop" else "K"
            yield Case((line + ending).encode(), verdict)
            # The first blank behind the line often stands at a border of what is looked at with it.
            word = draw.choice((127, 191, 254, 255, 256)) - len(line + ending)
            if word > 0:
                yield Case(b"x" * word + b" " * draw.randrange(30, 290) + b"\n", "M")


def judge(line: str, *keys: str) -> str:
    found = json.loads(line)
    return "D" if any(found.get(key) == "drop" for key in keys) else "K"


def compact(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members) + "}"


def json_lines(*keys: str) -> Iterator[Case]:
    """Objects whose members move over the blocks' borders, with nests, escapes, and marks within strings."""
    draw = random.Random(13)
    values = [
        '"drop"',
        '"keep"',
        '"dro\\u0070"',
        "null",
        "0",
        "[]",
        "{}",
        '{"a":"drop"}',
        '["drop"]',
        json.dumps(r"\\"),
        json.dumps('a"b\\'),
        json.dumps("{[,:]} drop"),
        "[" * 40 + "]" * 40,
        json.dumps({"labels": ["a=b", "c=d"]}, separators=(",", ":")),
    ]
    names = [*keys, "x", "a" * 7, "b" * 70, "drop", r"back\slash", "é", "{", ",", ":"]
    for size in range(200):
        members = [("pad", json.dumps("p" * size))]
        chosen = draw.sample(names, draw.randrange(1, len(names)))
        members += [(name, draw.choice(values)) for name in chosen]
        draw.shuffle(members)
        line = compact(members)
        yield Case(line.encode() + b"\n", judge(line, *keys))
        escapes = "\\" * draw.randrange(1, 12)
        line = compact([("pad", json.dumps("p" * size + escapes + '"' + "y" * (size % 7) + escapes)), *members])
        yield Case(line.encode() + b"\n", judge(line, *keys))
        twice = compact([*members, (keys[0], '"keep"'), (keys[0], '"drop"')])
        yield Case(twice.encode() + b"\n", judge(twice, *keys))
    key = json.dumps(keys[0])
    for line in (
        f'{{"a":[{",".join("1" * 3000)}],{key}:"drop"}}',
        f'{{"a":"{"x" * 70_000}",{key}:"drop"}}',
        f'{{{",".join(f"{json.dumps(str(i))}:{i}" for i in range(2000))},{key}:"drop"}}',
        f'{{"a":{"[" * 63}{"]" * 63},{key}:"drop"}}',
        f'{{"\\u{ord(keys[0][0]):04x}{keys[0][1:]}":"drop"}}',
    ):
        yield Case(line.encode() + b"\n", judge(line, *keys))
    for size in range(65_300, 65_620, 9):  # places up to here are said in sixteen bits
        yield Case(f'{{"a":"{"x" * size}",{key}:"drop"}}\n'.encode(), "D")
    for line in (
        f'{{"a":,{key}:"drop"}}',
        f'{{"a":1,{key}:"drop",}}',
        f'{{"a":1,,{key}:"drop"}}',
        f'{{"a","b":1,{key}:"drop"}}',
        f'{{"a":1:2,{key}:"drop"}}',
        f'{{"a"x:1,{key}:"drop"}}',
        f'{{"a""b":1,{key}:"drop"}}',
        f'{{"a":[1}},{key}:"drop"]',
        f'{{"a":1,{key}:"drop"',
        f'{{"a":1,{key}:"drop}}',
        f'{{"a":1,{key}:"drop"}}}}',
        f'{{"a":1,{key}:"drop"}}x',
        f'{{[1]:1,{key}:"drop"}}',
        f'{{a:1,{key}:"drop"}}',
    ):
        yield Case(line.encode() + b"\n", "M")


FORMS = {
    "text": (exclude("source_namespace"), list(text_lines())),
    "one key": (exclude("source_namespace"), list(json_lines("source_namespace"))),
    "two keys": (exclude("dest_name", "k"), list(json_lines("dest_name", "k"))),
    "keys of many lengths": (
        exclude("k", "ke", "key", "keys1", "the_key", "a" * 61, "b" * 62),
        list(json_lines("k", "ke", "key", "keys1", "the_key", "a" * 61, "b" * 62)),
    ),
}


@pytest.mark.parametrize("level", _core.simd()[1])
@pytest.mark.parametrize("form", FORMS)
def test_every_level_sees_each_line_as_it_is(level: str, form: str) -> None:
    text, cases = FORMS[form]
    answer = subprocess.run(
        [sys.executable, "-c", ASK],
        input=pickle.dumps((level, text, [case.line for case in cases])),
        env={**os.environ, "FLOWD_SIMD": level},
        capture_output=True,
        cwd=Path(_core.__file__).parent.parent,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr.decode()
    together, alone = pickle.loads(answer.stdout)
    for case, in_block, by_itself in zip(cases, together.decode(), alone, strict=True):
        assert (in_block, by_itself.decode()) == (case.verdict, case.verdict), case.line
