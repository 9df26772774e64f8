"""Opens what answers over HTTP, where it is configured. Nothing of it is loaded elsewhere: a start-up would
be some ten milliseconds longer, and the daemon larger, for nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flowd.relay.config import Http
from flowd.relay.http.address import parse_address
from flowd.relay.metrics import Counters
from flowd.relay.overview import Overview

if TYPE_CHECKING:
    from flowd.relay.http.server import HttpServer

log = logging.getLogger(__name__)


def open_http(settings: Http, overview: Overview, counters: Counters) -> HttpServer | None:
    """A server that listens, to be started, and its address among the daemon's endpoints; None where there is to be
    none. Raises FlowdError."""
    if not settings.listen:
        return None
    from flowd.relay.http.desk import Desk
    from flowd.relay.http.server import HttpServer, listen

    address = parse_address(settings.listen)
    listening = listen(address)
    url = address.url(listening.getsockname()[1])
    overview.endpoints["http"] = [url]
    log.info("metrics and health: %s", url)
    if not address.is_loopback:
        log.warning("http: others than this machine reach %s, and can read the metrics, rules' names too", url)
    return HttpServer(listening, Desk(overview, settings.rules, counters), counters)
