"""`flowd bench latency`: delays count from when lines were due, by percentiles of lines, and a run says them."""

from __future__ import annotations

import json

import pytest
from cli_bed import flowd

from flowd.cli.measuring.latency import RATES, SHARES, find_batch_ms, find_delays, find_shares


def test_lines_count_from_the_tick_in_which_they_were_due() -> None:
    # 2,000 lines a second are two a tick, due at 5.000, 5.001, 5.002; the batches hold three lines and one.
    arrived = [(5.010, 3), (5.011, 1)]
    assert list(find_delays(5.0, 2_000, arrived)) == [
        (pytest.approx(0.010), 2),
        (pytest.approx(0.009), 1),
        (pytest.approx(0.010), 1),
    ]


def test_a_pause_shows_in_every_line_that_it_held_up() -> None:
    # One batch a tick would take 1 ms; a second's pause holds up a thousand of them, and each says so.
    arrived = [(1.0 + tick * 0.001, 1) for tick in range(1_000, 2_000)]
    shares = find_shares(find_delays(0.0, 1_000, [(1.0, 1_000), *arrived]))
    assert shares["max"] == pytest.approx(1.0)
    assert shares["p50"] > 0.9


def test_percentiles_are_of_lines_and_not_of_batches() -> None:
    shares = find_shares([(0.5, 1), (0.001, 999)])
    assert shares == {"p50": 0.001, "p90": 0.001, "p99": 0.001, "p99.9": 0.001, "max": 0.5}


def test_a_batch_fills_or_its_lines_wait_no_longer_than_the_delay() -> None:
    assert find_batch_ms(10_000, 141.0) == 50.0
    assert find_batch_ms(500_000, 141.0) == pytest.approx(3.72, abs=0.01)


def test_bench_latency_says_percentiles_at_each_rate() -> None:
    done = flowd("bench", "latency", "--seconds", "0.1", "-o", "json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["figures"]) == (0, [])
    assert [latency["lines_per_second"] for latency in report["latency"]] == list(RATES)
    assert [latency["lines"] for latency in report["latency"]] == [rate // 10 for rate in RATES]
    for latency in report["latency"]:
        delays = list(latency["delays_ms"].values())
        assert list(latency["delays_ms"]) == list(SHARES)
        assert delays[0] > 0
        assert delays == sorted(delays)
