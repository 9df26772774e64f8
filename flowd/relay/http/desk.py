"""What is answered to whom asks over HTTP: the metrics, whether the daemon lives, and whether it serves.

Knows nothing of connections. For one thread.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from flowd.readable import make_all_readable
from flowd.relay.health import is_live, is_ready
from flowd.relay.http.exposition import Exposition, Page, Told
from flowd.relay.http.heads import JSON, METHODS, Answer, Refused, Request
from flowd.relay.metrics import Counters

PATHS = ("/metrics", "/healthz", "/readyz")
REST_RATIO = 10
"""A page of metrics is answered again for so many times as long as it took to write: whoever asks without a pause gets
a tenth of a core, not all of it."""
OPEN_METRICS = "application/openmetrics-text"

log = logging.getLogger(__name__)


class Daemon(Told, Protocol):
    """Whom this desk speaks for."""

    def health(self) -> Mapping[str, Any]:
        """The state, with its reasons."""


class Desk:
    """Answers requests; `counters` are written by its thread alone."""

    def __init__(self, daemon: Daemon, rules: int, counters: Counters) -> None:
        self._daemon = daemon
        self._counters = counters
        self._exposition = Exposition(daemon, rules)
        self._pages: dict[str, tuple[Page | None, float]] = {}

    def answer(self, request: Request) -> Answer:
        """The answer to a request. Raises Refused."""
        if request.path not in PATHS:
            hint = f"there is nothing at this path; try {', '.join(PATHS)}"
            raise Refused(HTTPStatus.NOT_FOUND, "path", hint)
        if request.method not in METHODS:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "method", f"{request.path} is for GET and HEAD: it only tells")
        self._counters.add("flowd_http_requests_total", path=request.path)
        try:
            if request.path == "/metrics":
                return Answer(HTTPStatus.OK, *self._write_metrics(request.accept))
            if request.path == "/healthz":
                return tell_life(self._daemon.health())
            return tell_readiness(self._daemon.health())
        except Exception:
            log.exception("http: %s failed", request.path)
            raise Refused(
                HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "this failed; the daemon's log says why"
            ) from None

    def _write_metrics(self, accept: str) -> Page:
        form = OPEN_METRICS if OPEN_METRICS in accept else ""
        page, until_s = self._pages.get(form, (None, 0.0))
        began_s = time.monotonic()
        if page is None or began_s >= until_s:
            page = self._exposition.write(form)
            now_s = time.monotonic()
            self._pages[form] = page, now_s + REST_RATIO * (now_s - began_s)
        return page


def tell_life(health: Mapping[str, Any]) -> Answer:
    """Whether the daemon lives, as `flowd status --check live` has it."""
    return _tell(is_live(health), {**health, "is_live": is_live(health)})


def tell_readiness(health: Mapping[str, Any]) -> Answer:
    """Whether the daemon takes lines and serves them; where it is degraded it does, and says its reasons."""
    return _tell(is_ready(health), {**health, "is_ready": is_ready(health)})


def _tell(is_well: bool, body: dict[str, Any]) -> Answer:
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, JSON, json.dumps(make_all_readable(body)).encode() + b"\n")
