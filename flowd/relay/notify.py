"""What the service manager hears: systemd's notifications over a datagram socket, and its watchdog.

Outside of a service manager nothing is sent. A manager that does not listen is no reason to end: what cannot be sent is
left out.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from flowd.readable import make_readable

TURN_S = 2.5
"""A loop that has turned this lately is alive: it turns once a second where nothing comes."""
STATUS_S = 10.0
"""How often the status is renewed where there is no watchdog."""


class Notifier:
    """The way to the service manager that started this process, if one did. Any thread may call."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self.watchdog_s = watchdog_s
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """As NOTIFY_SOCKET and WATCHDOG_USEC say; the watchdog is for the process that WATCHDOG_PID names."""
        watchdog_us = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdecimal() and is_ours else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Producers and subscribers may come."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """New filters are being loaded; `reloaded` follows, whatever comes of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self) -> None:
        """The new filters decide, or the old ones go on."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1", "STATUS=draining")

    def say(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def pet(self) -> None:
        """The watchdog is told that all is well."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.sendto(make_readable("\n".join(assignments)).encode(), self._address)


class Watched(Protocol):
    """The daemon, as its watchdog sees it."""

    def turned_s(self) -> float:
        """When the loop that carries lines last moved on, by the steady clock."""

    def is_live(self) -> bool:
        """Whether a restart would not help."""

    def line(self) -> str:
        """How it is, on one line."""


class Watchdog(threading.Thread):
    """Tells the watchdog at half of its time that all is well: the loop that carries lines turns, and no restart would
    help. Says besides how the daemon is."""

    def __init__(self, notifier: Notifier, watched: Watched) -> None:
        super().__init__(name="flowd-watchdog", daemon=True)
        self._notifier = notifier
        self._watched = watched
        self._interval_s = notifier.watchdog_s / 2 or STATUS_S
        self._is_over = threading.Event()

    def end(self) -> None:
        """Ends the thread and waits for it."""
        self._is_over.set()
        self.join()

    def run(self) -> None:
        """The loop."""
        while not self._is_over.wait(self._interval_s):
            is_turning = time.monotonic() - self._watched.turned_s() < max(self._interval_s, TURN_S)
            if self._notifier.watchdog_s and is_turning and self._watched.is_live():
                self._notifier.pet()
            self._notifier.say(self._watched.line())
