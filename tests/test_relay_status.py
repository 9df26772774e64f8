"""flowd.relay.status: what the admin lane tells of a filter set."""

from __future__ import annotations

import flowd
from flowd.relay.status import describe_rules

FILTERS = """\
<filter flows>
  @type grep
  <exclude>
    key action
    pattern deny
  </exclude>
  <and>
    <exclude>
      key source_namespace
      pattern dev
    </exclude>
    <exclude>
      key dest_namespace
      pattern dev
    </exclude>
  </and>
</filter>
"""


def test_rules_and_groups_are_told_with_their_places_and_default_at_the_end() -> None:
    filter_set = flowd.compile(FILTERS, origin="flow")
    line = b'{"source_namespace":"dev","dest_namespace":"dev"}\n'
    filter_set.filter(line + b"{}\n")
    assert describe_rules(filter_set) == [
        {"name": "filter1.and", "lines": 1, "bytes": len(line), "file": "flow", "line": 8},
        {"name": "filter1.exclude1", "lines": 0, "bytes": 0, "file": "flow", "line": 3},
        {"name": "default", "lines": 1, "bytes": 3, "file": "", "line": 0},
    ]
