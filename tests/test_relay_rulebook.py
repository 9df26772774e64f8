"""flowd.relay.deciding.rulebook: one reading of the filters, for every stream; and what makes two rules the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from relay_bed import DROP_DEV, DROPPED, KEPT

from flowd.errors import FilterError
from flowd.relay.config import Filters
from flowd.relay.deciding.deciders import key_deciders
from flowd.relay.deciding.rulebook import read_rulebook
from flowd.relay.deciding.streams import Streams

GROUPED = """\
<filter flows>
  @type grep
  <and>
    <exclude>
      key source_namespace
      pattern /^dev$/
    </exclude>
    <exclude>
      key dest_namespace
      pattern /^dev$/
    </exclude>
  </and>
</filter>
"""


def filters(tmp_path: Path, text: str) -> Filters:
    (tmp_path / "flow").write_text(text)
    return Filters(str(tmp_path / "flow"))


def test_streams_are_compiled_from_what_was_read(tmp_path: Path) -> None:
    rulebook = read_rulebook(filters(tmp_path, DROP_DEV + DROP_DEV.replace("flows", "dns").replace("dev", "prod")))
    (tmp_path / "flow").unlink()
    assert rulebook.compile("flows").filter(KEPT + DROPPED) == KEPT
    assert rulebook.compile("dns").filter(KEPT + DROPPED) == DROPPED
    assert rulebook.compile("other").filter(KEPT + DROPPED) == KEPT + DROPPED


def test_each_caller_has_counters_of_its_own(tmp_path: Path) -> None:
    rulebook = read_rulebook(filters(tmp_path, DROP_DEV))
    first, second = rulebook.compile("flows"), rulebook.compile("flows")
    first.filter(DROPPED)
    assert (first.hits["filter1.exclude1"].lines, second.hits["filter1.exclude1"].lines) == (1, 0)
    assert first.text is second.text


def test_includes_are_known(tmp_path: Path) -> None:
    rulebook = read_rulebook(filters(tmp_path, "@include parts/*.conf\n@include /nonexistent/x\n"))
    assert rulebook.includes == (f"{tmp_path}/parts/*.conf", "/nonexistent/x")


def test_without_filters_everything_is_kept() -> None:
    assert read_rulebook(Filters()).compile("flows").filter(DROPPED) == DROPPED


def test_rules_are_the_same_by_what_they_say(tmp_path: Path) -> None:
    def keys(text: str) -> set[object]:
        return set(key_deciders(read_rulebook(filters(tmp_path, text)).compile("flows")).values())

    assert keys("\n\n" + DROP_DEV) == keys(DROP_DEV)
    assert len(keys(DROP_DEV + DROP_DEV)) == 3, "two that say the same are two"
    assert keys(GROUPED) & keys(DROP_DEV) == keys("")
    assert keys(DROP_DEV.replace("/^dev$/", "/^dev$/i")) & keys(DROP_DEV) == keys("")


def test_change_that_cannot_be_compiled_changes_nothing(tmp_path: Path) -> None:
    streams = Streams(read_rulebook(filters(tmp_path, DROP_DEV)))
    flows = streams.get("flows")
    assert flows is not None
    loaded = flows.loaded
    broken = read_rulebook(filters(tmp_path, "<filter flows>\n</filter>\n"))
    with pytest.raises(FilterError):
        streams.decide_by(broken, is_bypassed=False)
    assert (streams.generation, flows.generation, flows.loaded) == (1, 1, loaded)
