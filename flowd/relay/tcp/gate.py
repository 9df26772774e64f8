"""The gate: the thread that ZeroMQ asks whether the holder of a CURVE key may come in (ZAP, RFC 27).

It answers for the TCP endpoints only. Where it does not run, nobody is let in: the sockets enforce their domains, and
the lanes look whether it lives before they take or give anything.
"""

from __future__ import annotations

import logging
import os
import threading

import zmq
from zmq.utils import z85

from flowd.relay.metrics import Counters
from flowd.relay.tcp.allowed import CONSUME, PRODUCE, AllowedKeys
from flowd.wire.sockets import Wake

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN_PREFIX = "flowd."
ROLE_OF_LANE = {"ingest": PRODUCE, "live": CONSUME, "consume": CONSUME}
"""What a key must be good for at each lane's door."""
ACCEPTED, REFUSED, FAILED = b"200", b"400", b"500"

log = logging.getLogger(__name__)


class Gate(threading.Thread):
    """Answers ZAP requests until `end`; owns its socket from `start` on. A key that is let in becomes the User-Id."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], allowed_keys_dir: str | os.PathLike[str], counters: Counters
    ) -> None:
        super().__init__(name="flowd-gate", daemon=True)
        self._allowed = AllowedKeys(allowed_keys_dir)
        self._counters = counters
        self._wake = Wake()
        self._is_ending = False
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(ZAP_ENDPOINT)

    def end(self) -> None:
        """Ends the thread and waits for it."""
        self._is_ending = True
        self._wake.ring()
        if self.is_alive():
            self.join()
        self._socket.close()
        self._wake.close()

    def run(self) -> None:
        """The loop."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake.fd, zmq.POLLIN)
        try:
            while not self._is_ending:
                if self._socket in dict(poller.poll()):
                    self._socket.send_multipart(self._answer(self._socket.recv_multipart()))
        except Exception:
            log.exception("the gate failed: nothing goes in or out over TCP until the daemon is restarted")
        finally:
            self._socket.close()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        _, number, domain, _, _, mechanism, *credentials = request
        lane = domain.decode("ascii", "replace").removeprefix(DOMAIN_PREFIX)
        try:
            key, reason = self._judge(lane, mechanism, credentials)
        except Exception:  # one request that cannot be judged must not end the thread
            log.exception("gate: a key could not be judged")
            return [b"1.0", number, FAILED, b"", b"", b""]
        if reason:
            self._counters.add("flowd_refused_keys_total", lane=lane, reason=reason)
            return [b"1.0", number, REFUSED, b"", b"", b""]
        return [b"1.0", number, ACCEPTED, b"", key.encode(), b""]

    def _judge(self, lane: str, mechanism: bytes, credentials: list[bytes]) -> tuple[str, str]:
        """The key in Z85, and why its holder is not let in ("" where he is)."""
        role = ROLE_OF_LANE.get(lane)
        if role is None or mechanism != b"CURVE" or len(credentials) != 1:
            return "", "mechanism"
        key = z85.encode(credentials[0]).decode()
        grant = self._allowed.find(key)
        if grant is None:
            return key, "unknown"
        return key, "" if role in grant.roles else "role"
