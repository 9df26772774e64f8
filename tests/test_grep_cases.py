"""The measured cases of fluentd's grep filter: what it kept, and what it refused and why."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import flowd

_DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((_DATA / "grep-cases.json").read_text(encoding="utf-8"))


def write_files(case: dict[str, Any], folder: Path) -> Path:
    """The case's configuration, and beside it the files that it includes."""
    for name, text in case.get("files", {}).items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    path = folder / "fluent.conf"
    path.write_text(case["file"], encoding="utf-8", newline="")
    return path


def encode_line(line: str | dict[str, str]) -> bytes:
    return line.encode() if isinstance(line, str) else base64.b64decode(line["b64"])


@pytest.mark.parametrize("case", [case for case in CASES if "kept" in case], ids=lambda case: case["name"])
def test_the_lines_that_fluentd_keeps_are_kept(case: dict[str, Any], tmp_path: Path) -> None:
    filter_set = flowd.load(write_files(case, tmp_path), stream=case["tag"], dialect="fluentd")
    lines = [encode_line(line) for line in case["lines"]]
    letters = filter_set.verdicts(b"".join(line + b"\n" for line in lines)).decode()
    assert [n for n, letter in enumerate(letters) if letter != "D"] == case["kept"]
    kept = filter_set.filter(b"".join(line + b"\n" for line in lines))
    assert kept == b"".join(lines[n] + b"\n" for n in case["kept"])


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_what_fluentd_refuses_is_refused_in_its_words(case: dict[str, Any], tmp_path: Path) -> None:
    expected = case["error"].split(" at fluent.conf ")[0]
    with pytest.raises(flowd.FilterError) as caught:
        flowd.load(write_files(case, tmp_path), stream=case["tag"], dialect="fluentd")
    assert expected in "\n".join(problem.message for problem in caught.value.problems)
    assert all(problem.line > 0 and problem.column > 0 and problem.hint for problem in caught.value.problems)
