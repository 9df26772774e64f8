"""Metrics over HTTP: how long a scrape takes with many rules, and what one each second does to the relay.

A scrape is a whole request by http.client, from its connection to the last byte, while nothing else happens. A page
is answered again for ten times as long as it took to write, so that each measured request waits for that first. The
relay is that of the part `relay`, with flowd's clients at both ends: one daemon, with a scrape each second and without,
in turns.
"""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import relay_live
import relay_roles as roles
from core_filter import GB
from core_rules import write_rules
from daemon_process import DaemonProcess
from measure import Row, Target, rates, run_in_turns, speed_ratios, spread
from settings import NAMESPACE_FILTER, Settings

from flowd.errors import FlowdError
from flowd.wire.limits import BATCH_BYTES

FORM = "text24"
FIELD = "source_namespace"
TOLD = 1_000
"""Rules with series of their own, by default."""
MANY, QUICK_MANY = 10_000, 2_000
"""Rules of a large set, and in a quick run."""
SCRAPE_TARGET, RELAY_TARGET = Target(figure=50.0, is_upper=True), Target(ratio=0.97)
SCRAPES = 10
LENGTH = 3
"""So many times as many batches as in the part `relay`: a run has to last for some scrapes."""
INTERVAL_S = 1.0
REST_RATIO = 12
ANSWER_S = 30.0


def run(settings: Settings) -> list[Row]:
    """A row for each number of rules and series, and what scrapes do to the relay with some of them."""
    many = MANY if settings.scale.is_quotable else QUICK_MANY
    scrapes = [_measure_scrape(settings, *case) for case in ((TOLD, TOLD), (many, TOLD), (many, many))]
    return scrapes + [_measure_relay(settings, *case) for case in ((TOLD, TOLD), (many, many))]


def scrape(url: str) -> tuple[float, bytes]:
    """A page of metrics, and the seconds that it took."""
    place = urlsplit(url)
    began_s = time.perf_counter()
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        page = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise FlowdError(f"{url}/metrics answered with {answer.status}")
    return time.perf_counter() - began_s, page


@contextmanager
def _serving(rules: int, told: int) -> Iterator[tuple[DaemonProcess, str]]:
    """A daemon with so many rules beside the documented ones, and its address."""
    with tempfile.TemporaryDirectory(prefix="flowd-metrics-") as directory:
        filters = Path(directory) / "filters.conf"
        filters.write_text(NAMESPACE_FILTER + write_rules(rules, FIELD))
        journal: dict[str, int | str] = {"sync": "off", "max_bytes": relay_live.RING_BYTES}
        config = f'[http]\nlisten = "127.0.0.1:0"\nrules = {told}\n'
        with DaemonProcess(filters, journal, config) as daemon:
            yield daemon, daemon.status()["endpoints"]["http"][0]


def _measure_scrape(settings: Settings, rules: int, told: int) -> Row:
    settings.say(f"metrics: scrapes with {rules:,} rules, {told:,} with series")
    times = []
    with _serving(rules, told) as (_, url):
        took_s, page = scrape(url)
        for _ in range(SCRAPES):
            time.sleep(REST_RATIO * took_s)
            took_s, page = scrape(url)
            times.append(took_s * 1000)
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    return Row(
        part="metrics",
        what=f"scrape with {rules:,} rules, {told:,} of them with series",
        unit="ms",
        figure=spread(times),
        target=SCRAPE_TARGET if rules == TOLD else None,
        note=f"{series:,} series, {len(page) / 1000:,.0f} KB; nothing else happens meanwhile",
        point=("all of them with series" if told == rules else f"{told:,} of them with series", rules),
    )


def _measure_relay(settings: Settings, rules: int, told: int) -> Row:
    batches = settings.scale.relay_batches * LENGTH
    corpus = settings.corpus_of(FORM, min(relay_live.CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES))
    settings.say(f"metrics: {batches:,} batches with {rules:,} rules, with a scrape each second and without")
    took_s: list[float] = []
    cpu: dict[str, list[float]] = {"scraped": [], "alone": []}
    with ExitStack() as stack:
        daemon, url = stack.enter_context(_serving(rules, told))
        lanes = (daemon.endpoint("ingest"), daemon.endpoint("live"))
        way = stack.enter_context(
            relay_live.between(daemon.process_id, *lanes, corpus, roles.follow_subscriber, roles.produce_public)
        )
        carry = {name: relay_live.contest(way, batches, cpu[name]) for name in cpu}

        def carry_scraped() -> float:
            with _scraping(url, took_s):
                return carry["scraped"]()

        contestants: dict[str, Callable[[], float]] = {"scraped": carry_scraped, "alone": carry["alone"]}
        times = run_in_turns(contestants, settings.scale.rounds)
        amount = way.sent_bytes / GB
    costs = {name: f"{spread(used_s).median / amount:.2f} s" for name, used_s in cpu.items()}
    return Row(
        part="metrics",
        what=f"relay with a scrape each second, {rules:,} rules, {told:,} with series, {FORM}",
        unit="GB/s",
        figure=rates(amount, times["scraped"]),
        peer="without",
        peer_figure=rates(amount, times["alone"]),
        ratio=speed_ratios(times["scraped"], times["alone"]),
        target=RELAY_TARGET if told == TOLD else None,
        is_own_peer=True,
        note=f"{len(took_s)} scrapes in all, {spread(took_s).median * 1000:.0f} ms each under load; "
        f"the daemon on the processor for 1 GB: {costs['scraped']}, without {costs['alone']}",
    )


@contextmanager
def _scraping(url: str, took_s: list[float]) -> Iterator[None]:
    """A scrape at once, and one each second until the block ends. What fails there is raised at the end."""
    is_over = threading.Event()
    failures: list[Exception] = []

    def go_on() -> None:
        try:
            while True:
                took_s.append(scrape(url)[0])
                if is_over.wait(INTERVAL_S):
                    return
        except (OSError, FlowdError, http.client.HTTPException) as error:
            failures.append(error)

    scraper = threading.Thread(target=go_on)
    scraper.start()
    try:
        yield
    finally:
        is_over.set()
        scraper.join()
    if failures:
        raise FlowdError(f"a scrape failed: {failures[0]}")
