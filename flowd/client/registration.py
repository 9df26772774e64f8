"""A subscriber's own view: its filter is given to the daemon, which publishes what it keeps under a name of its own.

The name follows from the filter, so it stays the same over restarts of the daemon; only the daemon has to be told.
"""

from __future__ import annotations

import time

from flowd.client.link import Link, LinkBroken
from flowd.errors import Refused
from flowd.wire import Err, View, ViewOk
from flowd.wire.keys import ClientKeys

ANSWER_S = 5.0
"""How long a daemon may take to compile the filter before it is asked again."""
AGAIN_S = 0.2
LATER = ("busy", "no_space")


class Registration:
    """Registers one filter of one stream, as often as it is asked to."""

    def __init__(self, endpoint: str, keys: ClientKeys | None, stream: str, text: str, dialect: str | None) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._header = View(stream, text, dialect)

    def register(self, deadline_s: float | None) -> str | None:
        """The view's name, as soon as the daemon has it; None where the deadline passes before. Raises Refused for a
        filter that cannot be compiled."""
        while deadline_s is None or time.monotonic() < deadline_s:
            link = Link(self._endpoint, self._keys)
            link.open()
            try:
                link.say(self._header)
                name = self._await_name(link, deadline_s)
                if name is not None:
                    return name
            except LinkBroken:
                time.sleep(AGAIN_S)
            finally:
                link.close()
        return None

    def _await_name(self, link: Link, deadline_s: float | None) -> str | None:
        until_s = time.monotonic() + ANSWER_S
        if deadline_s is not None:
            until_s = min(until_s, deadline_s)
        while (left_s := until_s - time.monotonic()) > 0:
            message = link.hear(left_s)
            if message is None:
                continue
            if isinstance(message.header, ViewOk):
                return message.header.vw
            if isinstance(message.header, Err) and message.header.code not in LATER:
                raise Refused(message.header.code, f"{self._endpoint} refused: {message.header.text}")
        return None
