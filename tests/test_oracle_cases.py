"""The oracle against what fluentd itself was measured to do, and the core against the oracle on realistic lines."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import oracle
import pytest

import flowd
from flowd._core import Regex
from flowd.corpus import FORMS, generate
from flowd.filters.model import Condition
from flowd.patterns import compile_pattern

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = json.loads((HERE / "data" / "grep-cases.json").read_text(encoding="utf-8"))

FLOW_FILTERS = """
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
  <exclude>
    key dest_namespace
    pattern dev
  </exclude>
</filter>
<filter flows>
  @type grep
  <and>
    <exclude>
      key dest_name_aggr
      pattern ^nginx-internet
    </exclude>
    <exclude>
      key source_name_aggr
      pattern pub
    </exclude>
  </and>
  <exclude>
    key dest_port
    pattern ^(53|443)$
  </exclude>
  <exclude>
    key $.source_labels.labels[0]
    pattern /^pod-template-HASH=[0-7]/i
  </exclude>
</filter>
<filter dns>
  @type grep
  <exclude>
    key qname
    pattern /\\.cluster\\.local$/
  </exclude>
  <regexp>
    key $.servers[0].namespace
    pattern ^kube-
  </regexp>
</filter>
"""


class ReferenceMatcher:
    """Matches conditions by the reference engine alone."""

    def __init__(self) -> None:
        self.known: dict[Condition, Regex] = {}

    def __call__(self, condition: Condition, subject: bytes) -> bool:
        if condition not in self.known:
            pattern = compile_pattern(condition.pattern, ignore_case=condition.ignore_case, dotall=condition.dotall)
            self.known[condition] = Regex(pattern.reference, pattern.reference_options)
        found = self.known[condition].search(subject)
        if found is None:
            raise oracle.MatchError("the step limit was reached")
        return found


@pytest.mark.parametrize("case", [case for case in CASES if "kept" in case], ids=lambda case: case["name"])
def test_oracle_keeps_what_fluentd_keeps(case: dict[str, Any], tmp_path: Path) -> None:
    for name, text in case.get("files", {}).items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    path = tmp_path / "fluent.conf"
    path.write_text(case["file"], encoding="utf-8", newline="")
    filters = flowd.load(path, stream=case["tag"], dialect="fluentd").text.filters
    judge = oracle.Oracle(filters, ReferenceMatcher())
    lines = [line.encode() if isinstance(line, str) else base64.b64decode(line["b64"]) for line in case["lines"]]
    letters = [judge.judge(line).letter for line in lines]
    assert [n for n, letter in enumerate(letters) if letter != "D"] == case["kept"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cardinality", ["low", "high"])
def test_core_says_of_realistic_lines_what_the_oracle_says(form: str, cardinality: Any) -> None:
    filter_set = flowd.compile(FLOW_FILTERS, stream="dns" if form == "dns" else "flows")
    judge = oracle.Oracle(filter_set.text.filters, ReferenceMatcher())
    lines = b"".join(generate(form, 400, 5, cardinality))
    wanted = oracle.verdicts(judge, lines)
    assert {"D", "K"} <= set(wanted.decode()) <= {"D", "K", "E"}
    assert filter_set.verdicts(lines) == wanted
    assert filter_set.filter(lines) == oracle.keep(judge, lines)
    hits = {name: (hit.lines // 2, hit.bytes // 2) for name, hit in filter_set.hits.items() if hit.lines}
    assert hits == oracle.count_hits(judge, lines)
