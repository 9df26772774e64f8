"""flowd.relay.consume.inside: the daemon's own sinks as consumers, handed messages as they are."""

from __future__ import annotations

import threading

from flowd.relay.consume.inside import Inside
from flowd.relay.metrics import Counters
from flowd.wire import Batch, CaughtUp, GoneOk, Message

BATCH = Batch(b"e" * 16, 1, 1, 0, 0, 1, 1)


def ignore() -> None:
    """Nobody is to be woken."""


def test_what_a_link_says_comes_with_its_peer_and_wakes_who_serves() -> None:
    rung = threading.Event()
    inside = Inside(rung.set, Counters())
    link = inside.link("the journal")
    link.open()
    assert link.say(GoneOk())
    assert rung.is_set()
    received = inside.receive(0.0)
    assert received is not None
    assert received[1] == Message(GoneOk(), 0, b"")
    assert inside.receive(0.0) is None


def test_lines_are_handed_over_as_they_are() -> None:
    inside = Inside(ignore, Counters())
    link = inside.link("the journal")
    link.open()
    arrivals: list[int] = []
    link.on_arrival = lambda: arrivals.append(1)
    link.say(GoneOk())
    peer, _ = inside.receive(0.0) or (b"", None)
    lines = b"line\n" * 1000
    assert inside.send(peer, BATCH, lines) == ""
    assert arrivals == [1]
    message = link.hear(0.0)
    assert message is not None
    assert link.open_lines(BATCH, message) is lines
    assert link.hear(0.0) is None


def test_a_link_can_be_waited_for() -> None:
    inside = Inside(ignore, Counters())
    link = inside.link("the journal")
    link.open()
    link.say(GoneOk())
    peer, _ = inside.receive(0.0) or (b"", None)
    sender = threading.Thread(target=inside.send, args=(peer, CaughtUp(1)))
    sender.start()
    assert link.hear(20.0) == Message(CaughtUp(1), 0, b"")
    sender.join()
    assert link.hear(0.001) is None


def test_who_has_left_is_gone_and_comes_back_as_somebody_new() -> None:
    counters = Counters()
    inside = Inside(ignore, counters)
    link = inside.link("the journal")
    link.open()
    link.say(GoneOk())
    before, _ = inside.receive(0.0) or (b"", None)
    inside.send(before, CaughtUp(1))
    link.close()
    link.close()
    assert not link.is_open
    assert inside.send(before, CaughtUp(1)) == "gone"
    inside.reply(before, CaughtUp(1))
    assert counters.get("flowd_undelivered_replies_total", lane="consume", reason="gone") == 1
    link.open()
    link.say(GoneOk())
    after, _ = inside.receive(0.0) or (b"", None)
    assert after != before
    assert link.hear(0.0) is None  # what came for who it was before is forgotten
    assert inside.send(after, CaughtUp(2)) == ""
    assert link.hear(0.0) == Message(CaughtUp(2), 0, b"")
