"""Views decided in one pass: a daemon with a hundred of them gives and counts what each gives by itself, also while
views come and go."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from relay_bed import DEADLINE_S, DROP_DEV, counters, feed, running, wait_until, with_views

import flowd
from flowd.client import Producer, Subscriber
from flowd.filterset import FilterSet
from flowd.relay.deciding import together
from flowd.relay.deciding.together import Together
from flowd.relay.deciding.views import View
from flowd.relay.metrics import Counters

TOGETHER = 'flowd_decided_view_batches_total{way="together"}'
KEEP_ONE = DROP_DEV.replace("exclude", "regexp")
OTHER_LANGUAGE = "- name: grep\n  match: flows\n  exclude: source_namespace ^ns1$\n"
GENTLE = "<filter flows>\n@type flowd\n<exclude>\nkey source_namespace\nprefix ns\nsample 1/2\n</exclude>\n</filter>\n"


def keep_only(name: str) -> str:
    return KEEP_ONE.replace("dev", name)


def say(name: str) -> bytes:
    return b'{"source_namespace":"%s"}\n' % name.encode()


def make_views(*texts: str) -> list[View]:
    return [View(f"view{number}", "flows", flowd.compile(text, dialect=None), 1) for number, text in enumerate(texts)]


def decide(deciding: Together, views: list[View], lines: bytes) -> list[tuple[bytes, int]]:
    return [(bytes(kept), count) for kept, count in deciding.apply("flows", views, lines)]


def decide_alone(views: list[View], lines: bytes) -> list[tuple[bytes, int]]:
    alone = [view.filter_set.twin().apply(lines) for view in views]
    return [(applied.kept, applied.kept_lines) for applied in alone]


def count(deciding: Together, way: str) -> int:
    return deciding._counters.get("flowd_decided_view_batches_total", way=way)


def decide_until(deciding: Together, views: list[View], lines: bytes, joined: int) -> None:
    """Batches are decided, rightly each time, until this many of the views are in one pass."""

    def decide_one() -> bool:
        before = count(deciding, "together")
        assert decide(deciding, views, lines) == decide_alone(views, lines)
        return count(deciding, "together") - before == joined

    wait_until(decide_one, f"{joined} views to be decided in one pass")


LINES = b"".join(say(f"ns{number}") for number in range(8)) * 3


def test_views_come_and_go_and_are_joined_again() -> None:
    deciding = Together(Counters())
    views = make_views(*(keep_only(f"ns{number}") for number in range(8)))
    try:
        assert decide(deciding, views[:1], LINES) == decide_alone(views[:1], LINES)
        assert count(deciding, "alone") == 1
        decide_until(deciding, views[:2], LINES, 2)
        decide_until(deciding, views[1:4], LINES, 3)
        decide_until(deciding, views, LINES, 8)
        assert decide(deciding, views[3:5], LINES) == decide_alone(views[3:5], LINES)
        assert decide(deciding, views[3:4], LINES) == decide_alone(views[3:4], LINES)
        decide_until(deciding, list(reversed(views)), LINES, 8)
    finally:
        deciding.close()


def test_each_view_counts_its_hits_once_however_it_was_decided() -> None:
    deciding = Together(Counters())
    views = make_views(*(keep_only(f"ns{number}") for number in range(4)))
    batches = 0
    try:
        while count(deciding, "together") < 20:
            joined = views if batches % 3 else views[1:]
            assert decide(deciding, joined, LINES) == decide_alone(joined, LINES)
            batches += 1
    finally:
        deciding.close()
    lines = [sum(hits.lines for hits in view.filter_set.hits.values()) for view in views]
    assert lines == [24 * (batches - (batches + 2) // 3), 24 * batches, 24 * batches, 24 * batches]
    assert views[1].filter_set.hits["default"].lines == 3 * batches


def test_new_filters_decide_from_the_next_batch_on() -> None:
    """As after a reload: the same names, other filter sets, of which some say what the old ones said."""
    deciding = Together(Counters())
    old = make_views(keep_only("ns0"), keep_only("ns1"), keep_only("ns2"))
    new = make_views(keep_only("ns0"), keep_only("ns3"), keep_only("ns2"))
    try:
        decide_until(deciding, old, LINES, 3)
        before = [view.filter_set.hits for view in old]
        assert decide(deciding, new, LINES) == decide_alone(new, LINES)
        assert [view.filter_set.hits for view in old] == before
        decide_until(deciding, new, LINES, 3)
        assert [view.filter_set.hits for view in old] == before
    finally:
        deciding.close()


def test_whatever_comes_goes_and_is_reloaded_decides_and_counts_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "REST_SHARE", 0)
    monkeypatch.setattr(together, "REST_LEAST_S", 0.0)
    draw = random.Random(9)
    texts = [
        keep_only(name) + DROP_DEV.replace("dev", other) for name in ("ns1", "ns[1-4]", "ns.") for other in "12345"
    ]
    texts += [OTHER_LANGUAGE, OTHER_LANGUAGE.replace("1", "2"), "", GENTLE]
    views = make_views(*texts)
    twins = {view.name: view.filter_set.twin() for view in views}
    odd = [
        b"no line\n",
        b'{ "source_namespace":"ns1" }\n',
        b'{"source_namespace":nul}\n',
        b'{"source_namespace":"\\q"}\n',
    ]
    deciding = Together(Counters())
    wanted: list[View] = []
    deadline_s = time.monotonic() + 3 * DEADLINE_S
    try:
        while count(deciding, "together") < 1_000:
            assert time.monotonic() < deadline_s
            if draw.random() < 0.2:
                wanted = draw.sample(views, draw.randrange(len(views)))
            lines = b"".join(
                draw.choice(odd) if draw.random() < 0.1 else say(f"ns{draw.randrange(9)}")
                for _ in range(draw.randrange(40))
            )
            alone = [twins[view.name].apply(lines) for view in wanted]
            assert decide(deciding, wanted, lines) == [(applied.kept, applied.kept_lines) for applied in alone]
    finally:
        deciding.close()
    assert [view.filter_set.hits for view in views] == [twin.hits for twin in twins.values()]


def test_views_that_do_not_fit_together_are_decided_all_the_same() -> None:
    """Two languages, rules that let a sample go, and one alone of its kind."""
    views = make_views(keep_only("ns0"), GENTLE, OTHER_LANGUAGE, keep_only("ns1"), OTHER_LANGUAGE.replace("1", "2"))
    deciding = Together(Counters())
    try:
        decide_until(deciding, views, LINES + b'{"source_namespace":"\t"}\n', 4)
        decide_until(deciding, views[:4], LINES + b'{"source_namespace":"\t"}\n', 2)
    finally:
        deciding.close()


def test_too_many_rules_are_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "JOINT_RULES_MAX", 3)
    views = make_views(*(keep_only(f"ns{number}") for number in range(4)), keep_only("ns1") * 9)
    deciding = Together(Counters())
    try:
        decide_until(deciding, views, LINES, 3)
    finally:
        deciding.close()


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("no room")])
def test_what_cannot_be_compiled_together_is_said_and_decided_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(together, "FanOut", refuse)
    views = make_views(keep_only("ns0"), keep_only("ns1"))
    deciding = Together(Counters())
    try:
        wait_until(
            lambda: decide(deciding, views, LINES) == decide_alone(views, LINES) and "no room" in caplog.text,
            "the log's word",
        )
        assert count(deciding, "together") == 0
    finally:
        deciding.close()


def test_waiting_for_a_core_is_not_counted_as_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the views of a busy node would rest for minutes after each change."""

    def be_held_up(_: object) -> None:
        threading.Event().wait(0.3)
        raise ValueError("held up")

    monkeypatch.setattr(together, "FanOut", be_held_up)
    sets = [view.filter_set for view in make_views(keep_only("ns0"), keep_only("ns1"))]
    assert together._compile(sets)[1] < 0.2


def test_a_batch_that_takes_too_much_memory_together_is_decided_by_each_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    views = make_views(*(keep_only(f"ns{number}") for number in range(4)))
    deciding = Together(Counters())
    try:
        decide_until(deciding, views, LINES, 4)

        def give_up(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr("flowd.fanout.FanOut.apply", give_up)
        before = count(deciding, "together")
        for _ in range(2):
            assert decide(deciding, views, LINES) == decide_alone(views, LINES)
        assert count(deciding, "together") == before
        assert caplog.text.count("more memory") == 1
    finally:
        deciding.close()


def test_a_daemon_with_a_hundred_views_gives_each_subscriber_its_lines(tmp_path: Path) -> None:
    names = [f"ns{number}" for number in range(100)]
    configured = with_views(tmp_path, **{f"only-{name}": keep_only(name) for name in names[:60]})
    batch = b"".join(say(name) * (2 + number % 3) for number, name in enumerate(names)) + b"not a line\n"
    with running(tmp_path, **configured) as (daemon, config), ExitStack() as stack:
        live, consume = config.endpoint("live"), config.endpoint("consume")
        subscribers = [Subscriber(live, f"only-{name}", timeout_s=DEADLINE_S) for name in names[:60]]
        subscribers += [
            Subscriber(live, filter=keep_only(name), consume=consume, timeout_s=DEADLINE_S) for name in names[60:]
        ]
        for subscriber in subscribers:
            stack.enter_context(subscriber).connect()

        deadline_s = time.monotonic() + 3 * DEADLINE_S

        def carry_one() -> bool:
            feed(config, batch)
            for number, (name, subscriber) in enumerate(zip(names, subscribers, strict=True)):
                got = next(subscriber)
                assert (got.lines, got.missed) == (say(name) * (2 + number % 3) + b"not a line\n", 0)
            return counters(config).get(TOGETHER, 0) >= 300

        sequence = 0
        while not carry_one():  # how many batches that takes is up to the compiler, and to how busy the machine is
            sequence += 1
            assert time.monotonic() < deadline_s
        sequence += 1
        for view in daemon._streams.views.all():
            hits = view.filter_set.hits
            assert sum(decided.lines for decided in hits.values()) == (batch.count(b"\n")) * sequence
            assert hits["default"].lines in {(2 + rest + 1) * sequence for rest in range(3)}


def test_views_come_and_go_under_load(tmp_path: Path) -> None:
    names = [f"ns{number}" for number in range(6)]

    def lines_of(sequence: int) -> bytes:
        return b"".join(say(names[(at + sequence) % 6]) for at in range(4 + sequence % 5))

    sets: dict[str, FilterSet] = {name: flowd.compile(keep_only(name)) for name in names}
    stop = threading.Event()
    with running(tmp_path, **with_views(tmp_path, always=keep_only("ns0"))) as (_, config), ExitStack() as stack:
        live, consume = config.endpoint("live"), config.endpoint("consume")

        def load() -> None:
            with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
                sequence = 1
                while not stop.is_set():
                    producer.send(lines_of(sequence))
                    producer.flush()
                    sequence += 1

        always = stack.enter_context(Subscriber(live, "always", timeout_s=DEADLINE_S))
        always.connect()
        feeding = threading.Thread(target=load)
        feeding.start()
        try:
            for turn in range(4):
                mine = names[1 + turn : 3 + turn]
                with ExitStack() as passing:
                    guests = [
                        passing.enter_context(
                            Subscriber(live, filter=keep_only(name), consume=consume, timeout_s=DEADLINE_S)
                        )
                        for name in mine
                    ]
                    began = counters(config).get(TOGETHER, 0)

                    def read_on(guests: list[Subscriber] = guests, mine: list[str] = mine, began: int = began) -> bool:
                        for name, guest in zip(["ns0", *mine], [always, *guests], strict=True):
                            got = next(guest)
                            assert got.lines == sets[name].filter(lines_of(got.seq))
                        return counters(config).get(TOGETHER, 0) >= began + 6

                    wait_until(read_on, "views to be decided in one pass")
        finally:
            stop.set()
            feeding.join()
        assert always.missed_batches == 0
