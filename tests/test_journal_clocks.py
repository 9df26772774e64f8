"""The system's clock is set by a day while a daemon runs, and while it does not: nothing is retired by it, and times
are found as before."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from faults_bed import FaultyDaemon, counters, feed, numbered
from relay_bed import DEADLINE_S

from flowd.client import Consumer
from flowd.errors import EXIT_DONE

DAY_S = 86_400
LINES = [numbered(10 * n, 10 * (n + 1)) for n in range(6)]


class Clocked(FaultyDaemon):
    """A daemon with a wall clock of its own; the steady ones are the system's."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, journal__max_age=3600.0)
        self.set_clock(0)

    def set_clock(self, ahead_s: int) -> None:
        """So far its wall clock is ahead of the system's from now on."""
        self._ahead_s = ahead_s
        super().set_clock(ahead_s)

    def read_clock_ns(self) -> int:
        return time.time_ns() + self._ahead_s * 10**9

    def since(self, moment_ns: int) -> list[bytes]:
        """What was stored since a moment of the steady clock, asked for by the wall clock as it is now."""
        since_ns = self.read_clock_ns() - (time.monotonic_ns() - moment_ns)
        with Consumer(self.endpoint("consume"), since_ns=since_ns, until="newest", timeout_s=DEADLINE_S) as consumer:
            return [batch.lines for batch in consumer]


def expect_everything(daemon: Clocked, stored: int) -> None:
    flows = daemon.status()["streams"]["flows"]
    assert (flows["oldest"], flows["next"]) == (1, stored + 1)
    assert counters(daemon, "flowd_retired_batches_total") == {"flowd_retired_batches_total": 0}


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S], ids=["forward", "back"])
def test_a_clock_that_is_set_by_a_day_changes_nothing(tmp_path: Path, jump_s: int) -> None:
    with (
        Clocked(tmp_path) as daemon,
        Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer,
    ):
        moments_ns = [time.monotonic_ns()]
        for n, ahead_s in enumerate([0, jump_s, jump_s, 0]):
            daemon.set_clock(ahead_s)
            feed(daemon, LINES[n])
            moments_ns.append(time.monotonic_ns())
            got = next(consumer)
            assert (got.lines, got.seq, got.missed) == (LINES[n], n + 1, 0)
            assert abs(got.time_ns - daemon.read_clock_ns()) < 60 * 10**9
            expect_everything(daemon, n + 1)
            assert [daemon.since(moment_ns) for moment_ns in moments_ns] == [LINES[k : n + 1] for k in range(n + 2)]


def test_a_clock_that_was_set_back_while_no_daemon_ran_changes_nothing(tmp_path: Path) -> None:
    daemon = Clocked(tmp_path)
    with daemon, Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
        feed(daemon, LINES[0], LINES[1])
        assert daemon.terminate()[0] == EXIT_DONE
        daemon.set_clock(-DAY_S)
        daemon.start()
        moment_ns = time.monotonic_ns()
        feed(daemon, LINES[2])
        expect_everything(daemon, 3)
        assert daemon.since(moment_ns) == [LINES[2]]
        assert [next(consumer).lines for _ in range(3)] == LINES[:3]
