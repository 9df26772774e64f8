"""What the relay's speed depends on, one thing at a time: batch size, subscribers, workers, the lane, CURVE.

    python bench/run.py --only relay-grid    # is in no run that does not ask for it

A producer of bare wire messages, the daemon with one rule that drops nothing, and bare subscriptions or consumers. The
figure is what goes in (or what each consumer reads), the note says what comes out in all. The rows of a group run in
turns, and its first row is their peer. Subscriptions are in at most four processes: a machine has no hundred cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from ctypes import c_uint64
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import durable_roles
import relay_grid_roles as roles
from core_filter import GB
from core_rules import FIELDS, write_rules
from daemon_process import DaemonProcess
from measure import Row, rates, run_in_turns, speed_ratios
from playing import playing
from settings import Corpus, Settings

from flowd.errors import FlowdError
from flowd.wire.keys import Certificate, ClientKeys, make_key_pair, write_certificate
from flowd.wire.limits import BATCH_BYTES

READING_PROCESSES = 4
RING_BYTES = 256 << 20
CORPUS_BYTES = 32 << 20
PART = 8
"""Of what the relay's part sends: there are many rows here."""
HARD_RULES = 1_000
LANES = ("ingest", "live", "consume")
ANY_PORT = "tcp://127.0.0.1:*"


class Case(NamedTuple):
    """One way through a daemon: its row's name, and what it differs in."""

    what: str
    batch_bytes: int = BATCH_BYTES
    readers: int = 1
    is_secure: bool = False
    workers: int = 0
    rules: int = 1
    field: str = FIELDS["low"]


class Grid(NamedTuple):
    """What is varied: bytes of batches, numbers of subscribers, of consumers, and of workers that decide."""

    batches: tuple[int, ...]
    subscribers: tuple[int, ...]
    consumers: tuple[int, ...]
    workers: tuple[int, ...]


FULL = Grid((BATCH_BYTES, 64 << 10, 16 << 10, 4 << 10), (1, 4, 16, 100), (1, 4, 16), (0, 1, 2, 4))
QUICK = Grid((BATCH_BYTES, 4 << 10), (1, 16), (1,), (0, 2))


class Reached(NamedTuple):
    """A daemon's lanes, with the keys that they ask for."""

    daemon: DaemonProcess
    ingest: str
    live: str
    consume: str
    keys: ClientKeys | None


Once = Callable[[], tuple[float, int]]
"""A run: its seconds and bytes."""
Way = Callable[[Case, Corpus, int], AbstractContextManager[Once]]


def run(settings: Settings) -> list[Row]:
    """Rows of the live lane by size, subscribers, workers and security, and of the consume lane by readers and
    security."""
    batches, subscribers, consumers, workers = FULL if settings.scale.is_quotable else QUICK
    sizes = [Case(f"live, batches of {size >> 10} KiB", size) for size in batches]
    many = [Case(f"live, {number} subscriber{'s' if number > 1 else ''}", readers=number) for number in subscribers]
    decided = [Case(f"live, {number or 'no'} worker{'s' * (number != 1)}", workers=number) for number in workers]
    heavy = [
        case._replace(what=f"{case.what}, {HARD_RULES:,} rules on new values", rules=HARD_RULES, field=FIELDS["high"])
        for case in decided
    ]
    secure = [Case("live, ipc"), Case("live, tcp with CURVE", is_secure=True)]
    reading = [Case(f"consume, {number} consumer{'s' if number > 1 else ''}", readers=number) for number in consumers]
    reading.append(Case("consume, 1 consumer, tcp with CURVE", is_secure=True))
    corpus = settings.corpus_of("text24", min(CORPUS_BYTES, settings.scale.relay_batches * BATCH_BYTES // PART))
    rows = []
    for cases in (sizes, many, secure, decided):
        rows += _measure(settings, corpus, cases, _live_way)
    rows += _measure(settings, settings.corpus_of("text24", corpus.bytes, "high"), heavy, _live_way)
    return rows + _measure(settings, corpus, reading, _consume_way)


def _measure(settings: Settings, corpus: Corpus, cases: list[Case], way: Way) -> list[Row]:
    settings.say(f"relay-grid: {cases[0].what} to {cases[-1].what}")
    whole = settings.scale.relay_batches * BATCH_BYTES // PART
    amounts: dict[str, int] = {}
    with ExitStack() as stack:
        works = {}
        for case in cases:
            batches = max(16, whole // max(1, case.readers // 4) // case.batch_bytes)
            once = stack.enter_context(way(case, corpus, batches))
            works[case.what] = _counting(once, amounts, case.what)
        times = run_in_turns(works, settings.scale.rounds)
    first = cases[0].what
    a_byte = {what: [run_s / amounts[what] for run_s in taken] for what, taken in times.items()}
    return [
        Row(
            part="relay-grid",
            what=case.what,
            unit="GB/s",
            figure=rates(1 / GB, a_byte[case.what]),
            peer=first if case.what != first else "",
            peer_figure=rates(1 / GB, a_byte[first]) if case.what != first else None,
            ratio=speed_ratios(a_byte[case.what], a_byte[first]) if case.what != first else None,
            note=f"{amounts[case.what] / 1e6:,.0f} MB a run in batches of {case.batch_bytes >> 10} KiB; "
            f"delivered in all {rates(case.readers / GB, a_byte[case.what]).median:.2f} GB/s",
            is_own_peer=True,
        )
        for case in cases
    ]


def _counting(once: Once, amounts: dict[str, int], what: str) -> Callable[[], float]:
    def run_once() -> float:
        took_s, amounts[what] = once()
        return took_s

    return run_once


@contextmanager
def _live_way(case: Case, corpus: Corpus, batches: int) -> Iterator[Once]:
    """Batches from a producer until the slowest subscription has the last one."""
    counters = get_context("spawn").RawArray(c_uint64, case.readers)
    processes = min(case.readers, READING_PROCESSES)
    with ExitStack() as stack:
        reached = stack.enter_context(_serving(case))
        for number in range(processes):
            places = range(number, case.readers, processes)
            stack.enter_context(playing(roles.follow_many, reached.live, reached.keys, counters, places))
        producer = stack.enter_context(
            playing(roles.produce_ahead, reached.ingest, reached.keys, corpus.path, case.batch_bytes, counters)
        )
        yield lambda: producer.ask(batches)


@contextmanager
def _consume_way(case: Case, corpus: Corpus, batches: int) -> Iterator[Once]:
    """Durable readings of a journal that holds so many batches, all at once."""
    with ExitStack() as stack:
        reached = stack.enter_context(_serving(case))
        counters = get_context("spawn").RawArray(c_uint64, 1)
        counters[0] = 1 << 62  # nobody follows the live lane here
        producer = stack.enter_context(
            playing(roles.produce_ahead, reached.ingest, reached.keys, corpus.path, case.batch_bytes, counters)
        )
        producer.ask(batches)
        epoch = bytes.fromhex(reached.daemon.status()["epoch"])
        readers = [
            stack.enter_context(playing(durable_roles.read_durable, reached.consume, reached.keys))
            for _ in range(case.readers)
        ]

        def once() -> tuple[float, int]:
            began_s = time.perf_counter()
            for reader in readers:
                reader.tell((epoch, 1, batches))
            got = {reader.hear() for reader in readers}
            if len(got) != 1:
                raise FlowdError(f"not everyone got the same: {sorted(got)} bytes")
            return time.perf_counter() - began_s, got.pop()

        yield once


@contextmanager
def _serving(case: Case) -> Iterator[Reached]:
    """A daemon with one rule that drops nothing, over ipc or over TCP with keys."""
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as name:
        folder = Path(name)
        filters = folder / "rule.conf"
        filters.write_text(write_rules(case.rules, case.field))
        keys, config = _make_keys(folder) if case.is_secure else (None, "")
        config += f"[runtime]\nworkers = {case.workers}\n"
        journal: dict[str, int | str] = {"sync": "off", "max_bytes": RING_BYTES}
        with DaemonProcess(filters, journal, config) as daemon:
            if keys is None:
                lanes = [daemon.endpoint(lane) for lane in LANES]
            else:
                bound = daemon.status()["endpoints"]
                lanes = [next(each for each in bound[lane] if each.startswith("tcp://")) for lane in LANES]
            yield Reached(daemon, *lanes, keys)


def _make_keys(folder: Path) -> tuple[ClientKeys, str]:
    """A server's key, one of a client that may do everything, and the configuration that asks for them."""
    allowed, server_file = folder / "allowed", folder / "server.key_secret"
    allowed.mkdir()
    server, server_secret = make_key_pair()
    write_certificate(server_file, Certificate(server, server_secret, {}))
    public, secret = make_key_pair()
    write_certificate(allowed / "bench.key", Certificate(public, "", {"roles": "produce consume", "streams": "*"}))
    binds = "".join(f'[{section}]\nbind = ["{ANY_PORT}"]\n' for section in ("sources.ingest", "live", "consume"))
    curve = f'[curve]\nserver_secret_file = "{server_file}"\nallowed_keys_dir = "{allowed}"\n'
    return ClientKeys(server, public, secret), binds + curve
