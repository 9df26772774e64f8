"""A client's connection to a consume socket: messages out and in, and whether it broke.

Knows nothing of what the messages mean. For one thread.
"""

from __future__ import annotations

import logging
from math import ceil

import zmq
from zmq.utils.monitor import recv_monitor_message

from flowd.client.refusal import is_key_refused, key_refused
from flowd.errors import WireError
from flowd.memory import keep_freed_memory
from flowd.wire import Batch as StoredBatch
from flowd.wire import Header, Message, checksum, encode, open_payload, parse
from flowd.wire.keys import ClientKeys
from flowd.wire.sockets import connect, open_socket, secure_client

log = logging.getLogger(__name__)


class LinkBroken(Exception):
    """The connection ended: what was said on it may not have arrived."""


class Link:
    """A DEALER, opened when it is first used, and again after `close`."""

    def __init__(self, endpoint: str, keys: ClientKeys | None) -> None:
        self.endpoint = endpoint
        self.malformed = 0
        """Messages that were none of FLW/1, and were skipped."""
        self._keys = keys
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._socket is not None

    def open(self) -> None:
        """Makes the socket; connecting goes on by itself."""
        if self._socket is not None:
            return
        keep_freed_memory()
        socket = open_socket(zmq.Context.instance(), zmq.DEALER)
        secure_client(socket, self._keys, self.endpoint)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        connect(socket, self.endpoint)
        self._socket = socket

    def close(self) -> None:
        """Gives the socket back. May be called twice."""
        if self._socket is None or self._monitor is None:
            return
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._socket = self._monitor = None

    def say(self, header: Header, linger_ms: int = 0) -> bool:
        """Sends a message; False where the queue is full, which it never is for long."""
        assert self._socket is not None
        if linger_ms:
            self._socket.linger = linger_ms
        try:
            self._socket.send_multipart(encode(header), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def hear(self, wait_s: float) -> Message[Header] | None:
        """The next message; None where none came in this time. Raises LinkBroken, and Refused for a key that is not
        let in."""
        assert self._socket is not None
        assert self._monitor is not None
        message = self._read()
        if message is not None:
            return message
        ready = dict(self._poller.poll(ceil(max(0.0, wait_s) * 1000)))
        if self._socket in ready:
            return self._read()
        if self._monitor in ready:
            if is_key_refused(recv_monitor_message(self._monitor)):
                self.close()
                raise key_refused(self.endpoint)
            self.close()
            raise LinkBroken(f"{self.endpoint} closed the connection")
        return None

    @staticmethod
    def open_lines(header: StoredBatch, message: Message[Header]) -> bytes:
        """The lines of a batch. Raises WireError where they are not what was sent."""
        if len(message.payload) and checksum(message.payload) != header.crc:
            raise WireError("crc", "the checksum is wrong")
        return bytes(open_payload(message.flags, message.payload))

    def _read(self) -> Message[Header] | None:
        assert self._socket is not None
        while True:
            try:
                return parse(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return None
            except WireError as error:
                self.malformed += 1
                log.warning("%s sent no message of this protocol: %s", self.endpoint, error)
