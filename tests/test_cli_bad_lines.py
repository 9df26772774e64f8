"""Lines that nobody expects, through `flowd filter` as a process: the documented verdict, counted, and no crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_bed import DEV_FILTER, flowd, json_line, text_line

KEPT, DROPPED = text_line("shop"), text_line("dev")
MIB = 1 << 20


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


def big(namespace: str, size: int) -> bytes:
    """A JSON line of exactly `size` bytes, its newline included."""
    line = b'{"padding":"%s","source_namespace":"' + namespace.encode() + b'"}\n'
    return line % (b"x" * (size - len(line) + 2))


NUMBER = b'{"n":%s,"source_namespace":"%s"}\n'
DEEP = b'{"n":' + b"[" * 10_000 + b"]" * 10_000 + b',"source_namespace":"%s"}\n'
MALFORMED = {
    "empty": b"\n",
    "blank": b" \t \n",
    "no-columns": b"hello\n",
    "too-few-columns": b" ".join(KEPT.split(b" ")[:23]) + b"\n",
    "unclosed": b'{"source_namespace":"shop"\n',
    "unclosed-string": b'{"source_namespace":"shop\n',
    "trailing": b'{"source_namespace":"shop"} x\n',
    "no-colon": b'{"source_namespace" "shop"}\n',
    "only-nul": b"\0\n",
    "control-character-in-a-value-read": b'{"source_namespace":"a\x01b"}\n',
    "list": b"[1]\n",
}
WELL_FORMED = {
    "four-mib-less-one": (big("shop", 4 * MIB), big("dev", 4 * MIB)),
    "over-four-mib": (big("shop", 9 * MIB + 1), big("dev", 9 * MIB + 1)),
    "nul-in-a-column": (KEPT.replace(b"shop-*", b"sh\0p"), DROPPED.replace(b"shop-*", b"sh\0p")),
    "invalid-utf8": (json_line("shop").replace(b"web", b"\xff\xfe"), json_line("dev").replace(b"web", b"\xff\xfe")),
    "invalid-utf8-in-the-value-read": (
        b'{"source_namespace":"\xff\xc3("}\n', b'{"source_namespace":"\xffdev"}\n',
    ),
    "crlf": (KEPT[:-1] + b"\r\n", DROPPED[:-1] + b"\r\n"),
    "no-final-newline": (KEPT[:-1], DROPPED[:-1]),
    "json-10000-deep": (DEEP % b"shop", DEEP % b"dev"),
    "number-of-10000-digits": (NUMBER % (b"9" * 10_000, b"shop"), NUMBER % (b"9" * 10_000, b"dev")),
    "duplicate-keys": (
        b'{"source_namespace":"dev","source_namespace":"shop"}\n',
        b'{"source_namespace":"shop","source_namespace":"dev"}\n',
    ),
    "escaped-value": (b'{"source_namespace":"\\u0073hop"}\n', b'{"source_namespace":"\\u0064ev"}\n'),
}  # fmt: skip


def stats_of(stderr: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(stderr)
    return found


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED)
def test_malformed_lines_are_kept_and_counted(filters: Path, line: bytes) -> None:
    done = flowd("filter", "-f", filters, "--stats", "-o", "json", lines=KEPT + line + DROPPED)
    assert (done.returncode, done.stdout) == (0, KEPT + line)
    stats = stats_of(done.stderr)
    assert (stats["lines"], stats["kept_lines"], stats["malformed_lines"], stats["error_lines"]) == (3, 2, 1, 0)


@pytest.mark.parametrize(("kept", "dropped"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_odd_but_well_formed_lines_get_their_verdict(filters: Path, kept: bytes, dropped: bytes) -> None:
    done = flowd(
        "filter", "-f", filters, "--stats", "-o", "json", lines=DROPPED + dropped.removesuffix(b"\n") + b"\n" + kept
    )
    assert (done.returncode, done.stdout == kept) == (0, True)
    stats = stats_of(done.stderr)
    assert (stats["lines"], stats["kept_lines"], stats["malformed_lines"], stats["error_lines"]) == (3, 1, 0, 0)
    assert flowd("filter", "-f", filters, "--invert", lines=dropped).stdout == dropped


def test_an_empty_input_gives_nothing(filters: Path) -> None:
    done = flowd("filter", "-f", filters, "--count")
    assert (done.returncode, done.stdout) == (0, b"0\n")


BACKTRACKING = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^(a+)+\\1$/
  </exclude>
</filter>
"""


def test_exponential_backtracking_keeps_the_line_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(BACKTRACKING)
    line = json_line("a" * 60 + "b")
    done = flowd("filter", "-f", path, "--stats", "-o", "json", lines=line + KEPT)
    assert (done.returncode, done.stdout) == (0, line + KEPT)
    stats = stats_of(done.stderr)
    assert (stats["kept_lines"], stats["error_lines"]) == (2, 1)


def test_10000_patterns_decide(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    sections = (DEV_FILTER.replace("pattern dev", f"pattern /^team-{number}$/") for number in range(10_000))
    path.write_text("".join(sections))
    done = flowd("filter", "-f", path, lines=text_line("team-9999") + KEPT)
    assert (done.returncode, done.stdout) == (0, KEPT)


def test_a_pattern_of_64_kib_decides_or_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER.replace("dev", "x" * (64 << 10)))
    done = flowd("filter", "-f", path, lines=KEPT + json_line("x" * (64 << 10)))
    assert (done.returncode, done.stdout) == (0, KEPT)
