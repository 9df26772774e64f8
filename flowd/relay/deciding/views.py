"""Views: a stream filtered further, by a filter set of its own on top of the node's.

Some are configured and have names; others are registered by subscribers and consumers with the filter's text, and live
as long as somebody uses them. Equal ones are one view. Any thread may call.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from flowd.errors import FlowdError

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

REGISTERED_MAX = 128
"""Registered views at a time: each has tables of some MiB at most."""
UNUSED_S = 60.0
"""How long a registered view is kept that nobody uses: its owner may be reconnecting."""
_REGISTERED = re.compile(r"view\.[0-9a-f]{32}")


class View(NamedTuple):
    """A view: its name, its stream, what decides on top of the node's filters, and as which generation."""

    name: str
    stream: str
    filter_set: FilterSet
    generation: int


def is_registered_name(name: str) -> bool:
    """Whether this is the name of a view that somebody registered, now or once."""
    return _REGISTERED.fullmatch(name) is not None


def name_registered(stream: str, text: str, dialect: str | None) -> str:
    """The name of the view that this filter of a stream makes: the same for the same."""
    spelled = b"\0".join(part.encode("utf-8", "surrogatepass") for part in (stream, dialect or "", text))
    return "view." + blake2b(spelled, digest_size=16).hexdigest()


class Views:
    """All views of the daemon."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._configured: dict[str, View] = {}
        self._registered: dict[str, View] = {}
        self._users: Counter[str] = Counter()
        self._used_s: dict[str, float] = {}
        self._by_name: Mapping[str, View] = {}
        self._by_stream: Mapping[str, tuple[View, ...]] = {}

    def find(self, name: str) -> View | None:
        """The view of this name."""
        return self._by_name.get(name)

    def of_stream(self, stream: str) -> tuple[View, ...]:
        """The views of a stream."""
        return self._by_stream.get(stream, ())

    def all(self) -> tuple[View, ...]:
        """Every view."""
        return tuple(self._by_name.values())

    def configure(self, views: Collection[View]) -> None:
        """These are the configured views from now on."""
        with self._lock:
            self._configured = {view.name: view for view in views}
            self._publish()

    def register(self, view: View) -> View:
        """Adds a view that somebody asked for, unless there is an equal one; returns the one there is.

        It is kept for a minute at least. Raises FlowdError where there are too many.
        """
        with self._lock:
            known = self._registered.get(view.name)
            if known is None:
                if len(self._registered) >= REGISTERED_MAX:
                    raise FlowdError(
                        f"there are {REGISTERED_MAX} views of subscribers and consumers already",
                        hint="configure views under [views] that many can share",
                    )
                known = self._registered[view.name] = view
                self._publish()
            self._used_s[view.name] = time.monotonic()
            return known

    def use(self, name: str) -> None:
        """Somebody uses the view, until `release`."""
        with self._lock:
            self._users[name] += 1

    def release(self, name: str) -> None:
        """Takes a `use` back."""
        with self._lock:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
            self._used_s[name] = time.monotonic()

    def sweep(self, now_s: float, subscribers: Mapping[str, int]) -> None:
        """Forgets registered views that nobody has used for a while; `subscribers` are the live lane's."""
        with self._lock:
            for name in list(self._registered):
                if self._users[name] or subscribers.get(name):
                    self._used_s[name] = now_s
                elif now_s - self._used_s.get(name, now_s) > UNUSED_S:
                    del self._registered[name]
                    self._used_s.pop(name, None)
                    self._publish()

    def _publish(self) -> None:
        self._by_name = {**self._registered, **self._configured}
        by_stream: dict[str, tuple[View, ...]] = {}
        for view in self._by_name.values():
            by_stream[view.stream] = (*by_stream.get(view.stream, ()), view)
        self._by_stream = by_stream
