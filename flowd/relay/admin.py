"""The admin lane: questions about the daemon, answered by a thread of its own so that load never hides an answer.

Knows how to ask and answer, not what the answers are: the operations are given to it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import zmq

from flowd.errors import FlowdError
from flowd.relay.answers import ID_MAX_BYTES, cut_text, packed_bytes
from flowd.relay.metrics import Counters
from flowd.relay.reception import Reception
from flowd.wire import Reply, Request
from flowd.wire.limits import LARGE_HEADER_MAX_BYTES
from flowd.wire.sockets import Wake

Operation = Callable[[Mapping[str, Any]], dict[str, Any] | None]
"""Takes the request's arguments, returns the answer's body; raises FlowdError to say no. None: answered at the end."""
WAITING_MAX = 64
"""Requests that may wait for the end; more are refused."""
LINGER_MS = 1000
"""How long the last answers may take to leave."""
SAID_BYTES = 16 << 10
"""What is said to whoever is refused, at most: an error may quote what it was given."""
TOO_BIG_HINT = "ask for less: one stream by its name, or a page (`first`); `flowd check` and the log tell the rest"

log = logging.getLogger(__name__)


def read_switch(arguments: Mapping[str, Any], name: str, *, is_required: bool = False) -> bool:
    """A request's argument that is true or false; false where it may be missing. Raises FlowdError."""
    value = arguments.get(name, None if is_required else False)
    if not isinstance(value, bool):
        raise FlowdError(f"{name} is {value!r}"[:200], hint=f"give {name} as true or false")
    return value


class AdminLane(threading.Thread):
    """Answers REQUESTs until `end`. Owns its socket from `start` on and closes it."""

    def __init__(self, socket: zmq.Socket[bytes], operations: Mapping[str, Operation], counters: Counters) -> None:
        super().__init__(name="flowd-admin", daemon=True)
        self._socket = socket
        self._operations = operations
        self._counters = counters
        self._reception = Reception(socket, "admin", counters)
        self._wake = Wake()
        self._is_ending = False
        self._waiting: list[tuple[bytes, Request]] = []
        self._last_words: dict[str, Any] = {}

    def end(self, last_words: dict[str, Any]) -> None:
        """Answers those who wait for the end, ends the thread, and waits for it."""
        self._last_words = last_words
        self._is_ending = True
        self._wake.ring()
        self.join()
        self._wake.close()

    def run(self) -> None:
        """The loop."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake.fd, zmq.POLLIN)
        with self._socket:
            while not self._is_ending:
                poller.poll()
                self._answer_all()
            for peer, request in self._waiting:
                self._reception.reply(peer, Reply(request.id, True, self._last_words))
            self._socket.linger = LINGER_MS

    def _answer_all(self) -> None:
        now_s = time.monotonic()
        while not self._is_ending and (received := self._reception.receive(now_s)) is not None:
            peer, message = received
            request = message.header
            if not isinstance(request, Request):
                self._reception.blame(peer, "type", now_s)
            elif packed_bytes(request.id) > ID_MAX_BYTES:  # no answer would have room beside it
                self._reception.blame(peer, "id", now_s)
            else:
                reply = self._answer(request)
                if reply is None:
                    self._waiting.append((peer, request))
                else:
                    self._reception.reply(peer, self._bound(request, reply))

    def _bound(self, request: Request, reply: Reply) -> Reply:
        """The answer, or what is said instead where it cannot be sent: that is never silence."""
        try:
            size_bytes = packed_bytes({"id": reply.id, "ok": reply.ok} | reply.body)
        except (TypeError, ValueError, OverflowError) as error:
            log.exception("admin: the answer to %s cannot be written", request.op[:80])
            return _refuse(
                request, "failed", f"the answer cannot be written: {type(error).__name__}", "see the daemon's log"
            )
        if size_bytes <= LARGE_HEADER_MAX_BYTES:
            return reply
        op = request.op if request.op in self._operations else "unknown"
        self._counters.add("flowd_oversized_answers_total", op=op)
        text = f"the answer to {op} has {size_bytes} bytes; an answer has at most {LARGE_HEADER_MAX_BYTES}"
        log.warning("admin: %s", text)
        return _refuse(request, "too_big", text, TOO_BIG_HINT)

    def _answer(self, request: Request) -> Reply | None:
        operation = self._operations.get(request.op)
        if operation is None:
            near = get_close_matches(request.op, self._operations, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(self._operations))}"
            return _refuse(request, "unknown", f"this daemon has no operation {request.op[:80]!r}", hint)
        try:
            body = operation(request.args)
            if body is not None:
                return Reply(request.id, True, body)
            if len(self._waiting) < WAITING_MAX:
                return None
            return _refuse(request, "busy", f"{WAITING_MAX} others wait for the end already", "ask for the health")
        except FlowdError as error:
            return _refuse(request, "failed", error.message, error.hint)
        except Exception as error:  # an operation that fails must not end the others
            log.exception("admin: %s failed", request.op)
            return _refuse(request, "failed", f"{type(error).__name__}: {error}", "see the daemon's log")


def _refuse(request: Request, code: str, text: str, hint: str) -> Reply:
    return Reply(
        request.id, False, {"code": code, "text": cut_text(text, SAID_BYTES), "hint": cut_text(hint, SAID_BYTES)}
    )
