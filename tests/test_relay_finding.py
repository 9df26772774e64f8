"""flowd.relay.deciding.finding: a stream that cannot be carried is tried again, seldom, and told of once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from relay_bed import DROP_DEV

from flowd.relay.config import Filters
from flowd.relay.config.model import View
from flowd.relay.deciding.finding import FAILED_MAX, STREAM_RETRY_S, Finding
from flowd.relay.deciding.rulebook import read_rulebook
from flowd.relay.deciding.streams import Streams


@pytest.fixture
def filters(tmp_path: Path) -> Filters:
    (tmp_path / "flow").write_text(DROP_DEV)
    return Filters(str(tmp_path / "flow"))


def test_a_stream_that_can_be_carried_again_is(filters: Filters, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    streams = Streams(read_rulebook(filters, {"prod": View("flows", filters.path)}))
    failures: list[int] = []
    finding = Finding(streams, "tail", "its files wait", lambda: failures.append(1))
    flows = finding.find("flows", 0.0)
    assert flows is streams.get("flows")
    assert finding.again_s == float("inf")
    assert finding.find("prod", 10.0) is None
    assert finding.again_s == 10.0 + STREAM_RETRY_S
    assert finding.find("prod", 10.0 + STREAM_RETRY_S) is None  # it was tried, and is not told of again
    streams.decide_by(read_rulebook(filters), is_bypassed=False)
    assert finding.find("prod", 9.0 + 2 * STREAM_RETRY_S) is None  # not tried yet
    found = finding.find("prod", 10.0 + 2 * STREAM_RETRY_S)
    assert (found is streams.get("prod"), finding.again_s, failures) == (True, float("inf"), [1])
    assert [record.getMessage() for record in caplog.records] == [
        "tail: stream prod: its files wait: there are too many streams, or a view has its name",
        "tail: stream prod is carried again",
    ]


def test_names_that_somebody_makes_up_take_no_memory(filters: Filters) -> None:
    streams = Streams(read_rulebook(filters))
    failures: list[int] = []
    finding = Finding(streams, "forward", "its messages are dropped", lambda: failures.append(1))
    count = 3 * FAILED_MAX
    carried = sum(finding.find(f"s{number}", 0.0) is not None for number in range(count))
    assert len(failures) == count - carried
    assert len(finding._again_s) <= FAILED_MAX
