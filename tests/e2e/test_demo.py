"""`make demo` end to end, small: a real daemon, real subscribers, and what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEEP_ALL = """\
<filter flows>
  @type grep
  <exclude>
    key no_such_field
    pattern anything
  </exclude>
</filter>
"""


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "bench" / "demo.py"), *arguments], capture_output=True, text=True, timeout=120
    )


def test_the_demonstration_adds_up() -> None:
    ended = run_demo("--lines", "6000")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "examples/filters: 4 rules for flows and 1 rule for dns" in ended.stdout
    assert re.search(r"^flows +6,000 ", ended.stdout, re.MULTILINE)
    assert re.search(r"^dns +600 ", ended.stdout, re.MULTILINE)
    assert re.search(r"^flows +filter1\.exclude1 +source_namespace dev +dropped +[1-9]", ended.stdout, re.MULTILINE)
    assert "drained and ended with exit code 0" in ended.stdout
    assert "received = kept, byte for byte" in ended.stdout


def test_filters_of_ones_own_can_be_shown(tmp_path: Path) -> None:
    filters = tmp_path / "mine.conf"
    filters.write_text(KEEP_ALL)
    ended = run_demo("--lines", "3000", "--filters", str(filters))
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^flows +default +- +kept +3,000 .*100\.0 %$", ended.stdout, re.MULTILINE)


def test_filters_that_cannot_be_compiled_end_it_with_a_message(tmp_path: Path) -> None:
    filters = tmp_path / "broken.conf"
    filters.write_text(KEEP_ALL.replace("anything", "/(/"))
    ended = run_demo("--lines", "3000", "--filters", str(filters))
    assert ended.returncode == 1
    assert "broken.conf:5" in ended.stderr
    assert "Traceback" not in ended.stderr
