"""Every SIMD level of this machine sees the same in every line, wherever a line lies in its buffer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowd import _core

HERE = Path(__file__).parent
ROOT = HERE.parent

# Digests what the core says of the samples, of every cut of them, and of damaged lines at every place of a block.
DIGEST = r"""
import hashlib, json, random, sys
from pathlib import Path
import msgpack
import flowd
from flowd import _core
assert _core.simd()[0] == sys.argv[2], _core.simd()
digest = hashlib.sha256()
names = ["source_namespace", "dest_namespace", "proto", "reporter", "source_labels", "action", "num_flows"]
for keys in (names[:2], names, ["a", "start_time", "tcp_unrecovered_to"]):
    pattern = "/[a-d]e|1|p$/"
    section = "<filter **>\n@type grep\n<exclude>\nkey {}\npattern {}\n</exclude>\n</filter>\n"
    fs = flowd.compile("".join(section.format(key, pattern) for key in keys))
    draw = random.Random(7)
    for path in sorted(Path(sys.argv[1]).iterdir()):
        lines = path.read_bytes()
        digest.update(fs.verdicts(lines))
        digest.update(repr(fs.apply(lines)[1:]).encode())
        for n in range(0, min(len(lines), 4_000), 3):
            digest.update(fs.verdicts(lines[:n]) + b"|" + fs.filter(lines[n:n + 700]))
        for _ in range(1_500):
            line = bytearray(lines[draw.randrange(len(lines)):][:draw.randrange(1, 2_500)])
            for _ in range(draw.randrange(1, 4)):
                line[draw.randrange(len(line))] = draw.choice(b'"\\{}[],: \n\r\t\x00\x1f\x20\x21\x7f\x80\xa0\xff5a')
            digest.update(fs.verdicts(bytes(line)))
    for path in sorted(Path(sys.argv[1]).glob("*json*.log")):
        records = [json.loads(line) for line in path.read_bytes().splitlines()]
        run = bytearray(b"".join(msgpack.packb([1, record]) for record in records))
        for _ in range(300):
            digest.update(repr(fs.apply_records(run)[:3]).encode())
            digest.update(repr(fs.apply_records(run[: draw.randrange(len(run))])[:3]).encode())
            run[draw.randrange(len(run))] = draw.choice(b'"\\ \x00\x1f\x7f\x80\x81\xa0\xc0\xcd\xce\xd9\xff5a')
print(digest.hexdigest())
"""


def digest_of(level: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", DIGEST, str(HERE / "data" / "samples"), level],
        env={**os.environ, "FLOWD_SIMD": level},
        capture_output=True,
        text=True,
        cwd=Path(_core.__file__).parent.parent,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.fixture(scope="module")
def portable() -> str:
    return digest_of("portable")


@pytest.mark.parametrize("level", [level for level in _core.simd()[1] if level != "portable"])
def test_a_level_says_what_the_portable_one_says(level: str, portable: str) -> None:
    assert digest_of(level) == portable


def test_an_unknown_level_changes_nothing() -> None:
    code = "from flowd import _core; print(_core.simd()[0])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FLOWD_SIMD": "mmx"},
        capture_output=True,
        text=True,
        cwd=Path(_core.__file__).parent.parent,
        check=True,
    )
    assert answer.stdout.strip() == _core.simd()[1][0]
