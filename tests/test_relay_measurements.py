"""flowd.relay.measurements: what is told of the journal and its consumers, with a clock that is set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from journal_bed import append, retire, set_clock, stored

from flowd.relay.journal.layout import Cursor, batch_key
from flowd.relay.journal.store import Store
from flowd.relay.measurements import (
    CONSUMERS_TOLD,
    HEADS_LOOKED,
    Value,
    measure_consumers,
    measure_journal,
    measure_state,
)

SECOND_NS = 10**9
LINE = b"x" * 9 + b"\n"


def values(measured: Iterable[Value]) -> dict[tuple[str, ...], float]:
    """By the name without `flowd_`, and the labels' values."""
    return {(name.removeprefix("flowd_"), *(value for _, value in labels)): now for name, labels, now in measured}


def commit(store: Store, consumer: str, sequence: int | None, lines: int = 0, stream: str = "flows") -> None:
    with store.write() as transaction:
        transaction.set_cursor(consumer, stream, Cursor(1, 1, sequence, lines, 0))


def told_of(store: Store, consumer: str, stream: str = "flows") -> dict[str, float]:
    found = values(measure_consumers(store, [("here", "flows")]))
    return {key[0].removeprefix("consumer_"): value for key, value in found.items() if key[1:] == (consumer, stream)}


def test_how_far_behind_each_consumer_is(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        clock = set_clock(store, SECOND_NS)
        for lines in (1, 2, 3):
            append(store, LINE * lines)
            clock.time_ns += 10 * SECOND_NS
        commit(store, "here", 1, 1)
        commit(store, "done", 3, 6)
        commit(store, "new", None)
        commit(store, "early", 2, 5, stream="nothing yet")
        assert told_of(store, "here") == {
            "attached": True, "lag_batches": 2, "lag_lines": 5, "lag_bytes": 50, "lag_seconds": 20, "gone_batches": 0,
        }  # fmt: skip
        assert told_of(store, "done") == {
            "attached": False, "lag_batches": 0, "lag_lines": 0, "lag_bytes": 0, "lag_seconds": 0, "gone_batches": 0,
        }  # fmt: skip
        assert told_of(store, "new") == {
            "attached": False, "lag_batches": 3, "lag_bytes": 60, "lag_seconds": 30, "gone_batches": 0,
        }  # fmt: skip
        assert told_of(store, "early", "nothing yet")["lag_batches"] == 0
        retire(store, max_age_ns=15 * SECOND_NS)  # the first two batches
        assert told_of(store, "here") == {
            "attached": True, "lag_batches": 2, "lag_lines": 5, "lag_bytes": 30, "lag_seconds": 10, "gone_batches": 1,
        }  # fmt: skip


def test_many_batches_are_estimated_from_some(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        append(store, *[LINE] * (10 * HEADS_LOOKED))
        commit(store, "slow", None)
        assert told_of(store, "slow")["lag_bytes"] == 10 * HEADS_LOOKED * len(LINE)


def test_those_furthest_behind_are_told_where_there_are_too_many(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        append(store, LINE, LINE)
        for number in range(CONSUMERS_TOLD):
            commit(store, f"late{number}", 1, 1)
        commit(store, "done", 2, 2)
        assert told_of(store, "done") == {}
        found = values(measure_consumers(store, ()))
        assert found["consumers_left_off",] == 1
        assert found["consumer_lag_batches", f"late{CONSUMERS_TOLD - 1}", "flows"] == 1


def test_a_damaged_head_leaves_out_what_it_would_have_told(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        clock = set_clock(store, SECOND_NS)
        append(store, LINE, LINE)
        clock.time_ns += SECOND_NS
        commit(store, "siem", None)
        row = store.stream("flows")
        assert row is not None
        with store.environment.begin(write=True) as raw:
            raw.put(batch_key(row.number, 1), b"not a head", db=store.databases["heads"])
        found = told_of(store, "siem")
        assert "lag_seconds" not in found
        assert (found["lag_batches"], found["lag_bytes"]) == (2, 2 * len(LINE))
        assert "journal_reach_seconds" not in {
            key[0] for key in values(measure_journal(store, 1, commits=0, is_full=False))
        }


def test_what_the_journal_is_like(tmp_path: Path) -> None:
    with stored(tmp_path) as store:
        clock = set_clock(store, SECOND_NS)
        append(store, LINE, LINE)
        clock.time_ns += 60 * SECOND_NS
        append(store, LINE, stream="dns")
        found = values(measure_journal(store, 1 << 20, commits=3, is_full=True))
        stat = store.stat()
        assert found == {
            ("journal_bytes",): stat.used_bytes,
            ("journal_max_bytes",): 1 << 20,
            ("journal_file_bytes",): stat.file_bytes,
            ("journal_batches",): 3,
            ("journal_is_full",): True,
            ("journal_commits_total",): 3,
            ("journal_reach_seconds", "flows"): 60,
            ("journal_reach_seconds", "dns"): 0,
        }


def test_a_concern_that_the_catalogue_lacks_is_told() -> None:
    found = values(measure_state({"state": "degraded", "reasons": []}, ["weather", "tail"], 2))
    assert (found["degraded", "weather"], found["degraded", "tail"], found["degraded", "tcp"]) == (True, True, False)
    assert [found["state", state] for state in ("ok", "degraded", "draining", "ended")] == [False, True, False, False]
    assert (found["up",], found["producers",]) == (True, 2)
    assert not values(measure_state({"state": "ended"}, (), 0))["up",]
