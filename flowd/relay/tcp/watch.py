"""Counts what happens at the doors of the TCP endpoints: connections, and handshakes that came to nothing.

ZeroMQ tells through monitors, and waits where nobody listens to one: so this thread does nothing else, and its
ends have no bound on what is queued.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading

import zmq
from zmq.utils.monitor import recv_monitor_message

from flowd.relay.metrics import Counters
from flowd.wire.sockets import Wake

_FAILURES: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "protocol",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "key",
}
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_ACCEPT_FAILED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_MONITOR_STOPPED
for _event in _FAILURES:
    _EVENTS |= _event

log = logging.getLogger(__name__)


class Watch(threading.Thread):
    """Reads monitors until `end`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], counters: Counters) -> None:
        super().__init__(name="flowd-watch", daemon=True)
        self._zmq_context = context
        self._counters = counters
        self._wake = Wake()
        self._numbers = itertools.count()
        self._new: queue.SimpleQueue[tuple[str, zmq.Socket[bytes]]] = queue.SimpleQueue()
        self._lanes: dict[zmq.Socket[bytes], str] = {}
        self._is_ending = False

    def add(self, lane: str, socket: zmq.Socket[bytes]) -> None:
        """Watches a socket, which must not be bound yet. To be called by the thread that has the socket."""
        address = f"inproc://flowd.watch.{next(self._numbers)}"
        socket.monitor(address, _EVENTS)
        monitor = self._zmq_context.socket(zmq.PAIR)
        monitor.setsockopt(zmq.RCVHWM, 0)
        monitor.setsockopt(zmq.LINGER, 0)
        monitor.connect(address)
        self._new.put((lane, monitor))
        self._wake.ring()

    def end(self) -> None:
        """Ends the thread and waits for it; the sockets that it watched must be closed by then."""
        self._is_ending = True
        self._wake.ring()
        if self.is_alive():
            self.join()
        while not self._new.empty():
            self._new.get()[1].close()
        self._wake.close()

    def run(self) -> None:
        """The loop."""
        poller = zmq.Poller()
        poller.register(self._wake.fd, zmq.POLLIN)
        while not self._is_ending:
            ready = dict(poller.poll())
            self._wake.clear()
            while not self._new.empty():
                lane, monitor = self._new.get()
                self._lanes[monitor] = lane
                poller.register(monitor, zmq.POLLIN)
            for monitor in [socket for socket in self._lanes if socket in ready]:
                if not self._read(monitor):
                    poller.unregister(monitor)
                    del self._lanes[monitor]
                    monitor.close()
        for monitor in self._lanes:
            monitor.close()

    def _read(self, monitor: zmq.Socket[bytes]) -> bool:
        """Counts what a monitor tells; False when the socket it watched was closed."""
        lane = self._lanes[monitor]
        while monitor.poll(0):
            told = recv_monitor_message(monitor)
            event = told["event"]
            if event == zmq.EVENT_MONITOR_STOPPED:
                return False
            if event == zmq.EVENT_ACCEPTED:
                self._counters.add("flowd_accepted_connections_total", lane=lane)
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._counters.add("flowd_authenticated_connections_total", lane=lane)
            elif event == zmq.EVENT_ACCEPT_FAILED:
                self._counters.add("flowd_failed_accepts_total", lane=lane)
            elif event in _FAILURES:
                # Without keys on one side, whoever sees it first hangs up: one reason, whichever side that was.
                is_keyless = told["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
                reason = "handshake" if is_keyless else _FAILURES[event]
                self._counters.add("flowd_refused_handshakes_total", lane=lane, reason=reason)
        return True
