"""flowd.relay.admin over a real socket: who may wait for the end, and what they hear."""

from __future__ import annotations

from pathlib import Path

import zmq
from relay_bed import Peer

from flowd.relay.admin import WAITING_MAX, AdminLane
from flowd.relay.metrics import Counters
from flowd.wire import Reply, Request


def test_who_waits_for_the_end_is_answered_then_and_too_many_are_refused(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/admin.sock"
    with zmq.Context() as context:
        socket = context.socket(zmq.ROUTER)
        socket.bind(endpoint)
        lane = AdminLane(socket, {"wait": lambda _: None, "ask": lambda _: {"x": 1}}, Counters())
        lane.start()
        with Peer(endpoint) as peer:
            for number in range(WAITING_MAX + 1):
                peer.say(Request(number, "wait", {}))
            peer.say(Request(WAITING_MAX + 1, "ask", {}))
            refused, answered = peer.hear(), peer.hear()
            assert (refused.id, refused.ok, refused.body["code"]) == (WAITING_MAX, False, "busy")
            assert (answered.ok, answered.body) == (True, {"x": 1})
            lane.end({"last": "words"})
            heard = [peer.hear() for _ in range(WAITING_MAX)]
    assert heard == [Reply(number, True, {"last": "words"}) for number in range(WAITING_MAX)]
