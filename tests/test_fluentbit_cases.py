"""The measured cases of Fluent Bit's grep filter: what it kept, and what it refused; in its own order, and as Calico's
operator passes a list on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_grep_cases import encode_line

import flowd

_DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((_DATA / "fluentbit-cases.json").read_text(encoding="utf-8"))
OPERATOR_CASES = [case for case in CASES if case["dialect"] == "yaml" and not case.get("files")]
_FIRST_WORDS = 60  # of Fluent Bit's own message: what follows names its files


def write_files(case: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    for name, text in case.get("files", {}).items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    path = folder / ("filters.yaml" if case["dialect"] == "yaml" else "filters.conf")
    path.write_text(case["file"], encoding="utf-8", newline="")
    return path


def kept(filter_set: flowd.FilterSet, case: dict[str, Any]) -> list[int]:
    """What is kept; a line that is no JSON object is malformed here and kept, where Fluent Bit sees it as a record."""
    lines = [encode_line(line) for line in case["lines"]]
    letters = filter_set.verdicts(b"".join(line + b"\n" for line in lines)).decode()
    return [n for n, letter in enumerate(letters) if letter != "D"]


@pytest.mark.parametrize("case", [case for case in CASES if "kept" in case], ids=lambda case: case["name"])
def test_the_lines_that_fluent_bit_keeps_are_kept(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_files(case, tmp_path, monkeypatch)
    for dialect in (f"fluentbit-{case['dialect']}", None):
        if dialect is None and not case["file"]:
            continue
        filter_set = flowd.load(path, stream=case["tag"], dialect=dialect)
        assert kept(filter_set, case) == case["kept"]
        assert filter_set.dialect == f"fluentbit-{case['dialect']}"


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_what_fluent_bit_refuses_is_refused_in_its_words(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_files(case, tmp_path, monkeypatch)
    with pytest.raises(flowd.FilterError) as caught:
        flowd.load(path, stream=case["tag"], dialect=f"fluentbit-{case['dialect']}")
    assert case["error"] in "\n".join(problem.message for problem in caught.value.problems)
    assert all(problem.line > 0 and problem.column > 0 and problem.hint for problem in caught.value.problems)


@pytest.mark.parametrize("case", OPERATOR_CASES, ids=lambda case: case["name"])
def test_calicos_operator_passes_a_list_on(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_files(case, tmp_path, monkeypatch)
    refused = case.get("operator_error") or ("operator_kept" not in case and case.get("error"))
    if case.get("operator_skipped") or refused:
        with pytest.raises(flowd.FilterError) as caught:
            flowd.load(path, stream=case["tag"], dialect="fluentbit-configmap")
        if case.get("operator_skipped"):
            assert "skips this key, and all logs flow" in caught.value.problems[0].hint
        return
    filter_set = flowd.load(path, stream=case["tag"], dialect="fluentbit-configmap")
    assert kept(filter_set, case) == case.get("operator_kept", case.get("kept"))
