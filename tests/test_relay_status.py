"""flowd.relay.deciding.streams: what the admin lane tells of a stream's rules."""

from __future__ import annotations

import flowd
from flowd.relay.deciding.streams import Stream

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
    assert [decided[:5] for decided in Stream("flows", filter_set, 1, None).tally()] == [
        ("filter1.and", 1, len(line), "flow", 8),
        ("filter1.exclude1", 0, 0, "flow", 3),
        ("default", 1, 3, "", 0),
    ]
