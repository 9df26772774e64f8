"""One producer's side of the ingest lane: the thread that owns its socket, and what it says.

The conversation is begun again (new socket, HELLO) when the connection breaks, when the daemon does not know us, and
when it is silent although it owes us an answer. Nothing here cuts lines or blocks a caller.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from math import ceil

import zmq
from zmq.utils.monitor import recv_monitor_message

from flowd.client.cutting import Outgoing
from flowd.client.failing import FORKED_HINT, failed
from flowd.client.refusal import is_key_refused, key_refused
from flowd.client.spool_folder import SpoolError, SpoolFull
from flowd.client.window import Window
from flowd.errors import ClientFailed, FlowdError, Refused, WireError
from flowd.memory import keep_freed_memory
from flowd.wire import Ack, Buffer, Bye, Data, Err, Header, Hello, Nak, Welcome, checksum, encode, parse
from flowd.wire.keys import ClientKeys
from flowd.wire.limits import VERSION
from flowd.wire.sockets import Wake, connect, open_socket, secure_client

WELCOME_WAIT_S = 1.0
"""How long a HELLO may stay unanswered before it is said again on a new socket; doubled up to the next one."""
WELCOME_WAIT_MAX_S = 5.0
SILENCE_S = 5.0
"""How long a daemon that owes an answer may say nothing: several of its drains, far less than a person's patience."""
AGAIN_S = 0.1
"""The pause after a conversation that nobody welcomed: who accepts connections and drops them is not hammered."""
SPOOL_FULL_S = 1.0
"""The pause where the spool has no room for a batch's sequence: others on its disk make room in no hurry."""
IDLE_S = 1.0
"""How often an idle conversation looks at its clock."""
BAD_MAX = 3
"""A batch damaged on its way thrice is damaged before it."""
RETRY_DEFAULT_MS = 100
RETRY_MAX_MS = 5000
BYE_LINGER_MS = 1000
NAMELESS = "hello"
"""The ERR code of a daemon that does not know this conversation (it was restarted): begin anew."""

log = logging.getLogger(__name__)


class Conversation(threading.Thread):
    """The background thread of one Producer.

    `lock` guards `window` and is also what callers wait on: it is notified when anything was acknowledged, when the
    daemon answered, and when `failure` was set. `seal_due` is called with the lock held, moves batches that waited long
    enough into the window, and returns the seconds until the next one is due (None: none is open).
    """

    def __init__(
        self,
        endpoint: str,
        identity: bytes,
        window: Window,
        lock: threading.Condition,
        seal_due: Callable[[int], float | None],
        keys: ClientKeys | None = None,
    ) -> None:
        super().__init__(name="flowd-producer", daemon=True)
        self.failure: FlowdError | None = None
        self.is_welcome = False
        self.wake = Wake()
        self._endpoint = endpoint
        self._keys = keys
        self._identity = identity
        self._incarnation = time.time_ns()
        self._window = window
        self._lock = lock
        self._seal_due = seal_due
        self._zmq_context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._is_ending = False
        self._is_spool_full = False
        self._welcome_wait_s = WELCOME_WAIT_S
        self._heard_s = 0.0
        self._pause_until_s = 0.0
        self._bad: tuple[int, int] = (0, 0)

    def end(self) -> None:
        """Says BYE and ends the thread; what is not acknowledged by now stays so, and who waits for it is told."""
        self._is_ending = True
        self.wake.ring()
        if self.is_alive():
            self.join()
        self.wake.close()
        if self.failure is None:
            self._fail(FlowdError("the producer is closed"))

    def run(self) -> None:
        """Talks until `end`, or until the daemon refuses for good."""
        try:
            while not self._is_ending and self.failure is None:
                if not self._talk():
                    self._pause(AGAIN_S)
        except BaseException as error:  # whatever it is, a caller that blocks must hear of it, and before the log does
            self._fail(failed(f"{self._endpoint}: the producer's thread failed", error))
            log.exception("producer: the thread that talks to %s failed", self._endpoint)

    def check(self) -> None:
        """Raises what made the conversation fail. A thread that is gone without a word counts, too: the process was
        forked, which leaves all threads but one behind."""
        if self.failure is None and not self._is_ending and not self.is_alive():
            self.failure = ClientFailed(f"{self._endpoint}: the producer's thread is gone", hint=FORKED_HINT)
        if self.failure is not None:
            raise self.failure

    def _pause(self, pause_s: float) -> None:
        """Waits, unless the end comes first."""
        poller = zmq.Poller()
        poller.register(self.wake.fd, zmq.POLLIN)
        until_s = time.monotonic() + pause_s
        while not self._is_ending and (left_s := until_s - time.monotonic()) > 0:
            if poller.poll(ceil(left_s * 1000)):
                self.wake.clear()

    def _talk(self) -> bool:
        """One conversation with a socket of its own; says whether the daemon welcomed us."""
        keep_freed_memory()
        socket = open_socket(self._zmq_context, zmq.DEALER)
        secure_client(socket, self._keys, self._endpoint)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        try:
            connect(socket, self._endpoint)
            self._say_hello(socket)
            self._exchange(socket, monitor)
            if self._is_ending and self.is_welcome:
                socket.setsockopt(zmq.LINGER, BYE_LINGER_MS)
                self._say(socket, Bye())
            return self.is_welcome
        finally:
            self.is_welcome = False
            socket.disable_monitor()
            monitor.close()
            socket.close()

    def _say_hello(self, socket: zmq.Socket[bytes]) -> None:
        with self._lock:
            first = self._window.first
        self._say(socket, Hello([VERSION], self._identity, self._incarnation, first))
        self._heard_s = time.monotonic()

    def _exchange(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """One conversation; returns when it is over for whatever reason."""
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        poller.register(self.wake.fd, zmq.POLLIN)
        while not self._is_ending and self.failure is None:
            with self._lock:
                open_s = self._seal_due(time.monotonic_ns())
            self._send_batches(socket)
            wait_s = self._next_wait_s(open_s)
            if wait_s is None:
                return
            ready = dict(poller.poll(ceil(wait_s * 1000)))
            if self.wake.fd in ready:
                self.wake.clear()
            if socket in ready and not self._listen(socket):
                return
            if monitor in ready:
                if is_key_refused(recv_monitor_message(monitor)):
                    self._fail(key_refused(self._endpoint))
                elif self.is_welcome or self._keys is None:
                    log.info("producer: %s closed the connection", self._endpoint)
                else:
                    continue  # a handshake came to nothing: ZeroMQ tries again by itself, and slower each time
                return

    def _next_wait_s(self, open_s: float | None) -> float | None:
        """Seconds to poll for, at most `open_s`; None when the daemon was silent for too long."""
        now_s = time.monotonic()
        with self._lock:
            owes_answer = not self._window.is_empty
        if not owes_answer and self.is_welcome:
            self._heard_s = now_s  # silence counts from when an answer is owed
        if not self.is_welcome:
            left_s = self._heard_s + self._welcome_wait_s - now_s
            if left_s <= 0:
                log.warning("producer: no daemon answers at %s, trying again", self._endpoint)
                self._welcome_wait_s = min(2 * self._welcome_wait_s, WELCOME_WAIT_MAX_S)
                return None
            return left_s if open_s is None else min(left_s, open_s)
        waits = [wait_s for wait_s in (open_s,) if wait_s is not None]
        if self._pause_until_s > now_s:
            waits.append(self._pause_until_s - now_s)
        elif owes_answer:
            left_s = self._heard_s + SILENCE_S - now_s
            if left_s <= 0:
                log.warning("producer: %s said nothing for %g s, beginning anew", self._endpoint, SILENCE_S)
                return None
            waits.append(left_s)
        return min(waits, default=IDLE_S)

    def _send_batches(self, socket: zmq.Socket[bytes]) -> None:
        if not self.is_welcome or self._pause_until_s > time.monotonic():
            return
        while True:
            batch = self._take_batch()
            if batch is None:
                break
            if not batch.crc:
                batch.crc = checksum(batch.payload)
            data = Data(batch.sequence, batch.stream, batch.lines, batch.crc, time.time_ns())
            if not self._say(socket, data, batch.payload):
                with self._lock:
                    self._window.rewind(batch.sequence)
                self._pause_until_s = time.monotonic() + RETRY_DEFAULT_MS / 1000
                return
        with self._lock:
            must_greet = self._window.must_greet
        if must_greet:
            self.is_welcome = False
            self._say_hello(socket)

    def _take_batch(self) -> Outgoing | None:
        """The next batch to send. Where the spool has no room to note its sequence, it has to wait."""
        try:
            with self._lock:
                batch = self._window.take()
                if batch is not None:
                    self._lock.notify_all()
        except SpoolFull as error:
            if not self._is_spool_full:
                log.warning("producer: nothing new is sent until there is room again: %s", error)
            self._is_spool_full = True
            self._pause_until_s = time.monotonic() + SPOOL_FULL_S
            return None
        except SpoolError as error:
            self._fail(error)
            return None
        self._is_spool_full = False
        return batch

    @staticmethod
    def _say(socket: zmq.Socket[bytes], header: Header, payload: Buffer | None = None) -> bool:
        try:
            socket.send_multipart(encode(header, payload), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _listen(self, socket: zmq.Socket[bytes]) -> bool:
        """Reads what the daemon says; False when this conversation is over."""
        while True:
            try:
                header = parse(socket.recv_multipart(zmq.NOBLOCK)).header
            except zmq.Again:
                return True
            except WireError as error:
                log.warning("producer: %s sent no message of this protocol: %s", self._endpoint, error)
                continue
            self._heard_s = time.monotonic()
            if not self._answer(header):
                return False

    def _answer(self, header: Header) -> bool:
        if isinstance(header, Welcome):
            with self._lock:
                self._window.welcome(header.last, header.cb, header.cm)
                self.is_welcome = True
                self._welcome_wait_s = WELCOME_WAIT_S
                self._lock.notify_all()
        elif isinstance(header, Ack):
            with self._lock:
                self._window.acknowledge(header.s, header.cb, header.cm)
                self._lock.notify_all()
        elif isinstance(header, Nak):
            return self._answer_refusal(header)
        elif isinstance(header, Err):
            if header.code == NAMELESS:
                return False
            self._fail(Refused(header.code, f"{self._endpoint} refused: {header.text or header.code}"))
            return False
        return True

    def _answer_refusal(self, nak: Nak) -> bool:
        if nak.code == "bad":
            sequence, times = self._bad
            self._bad = (nak.s, times + 1 if sequence == nak.s else 1)
        if nak.code in ("too_big", "stream") or self._bad[1] >= BAD_MAX:
            self._fail(Refused(nak.code, f"{self._endpoint} will not take batch {nak.s}: {nak.code}"))
            return False
        if nak.code in ("busy", "no_space"):
            self._pause_until_s = time.monotonic() + min(nak.retry or RETRY_DEFAULT_MS, RETRY_MAX_MS) / 1000
        with self._lock:
            return self._window.rewind(nak.s if nak.want is None else nak.want)

    def _fail(self, failure: FlowdError) -> None:
        with self._lock:
            self.failure = failure
            self._lock.notify_all()
