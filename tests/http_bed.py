"""What the tests of metrics and health stand on: requests as a client makes them, and pages of metrics read back."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from relay_bed import DEADLINE_S, wait_until

from flowd.client import request
from flowd.relay.config import Config

ANYWHERE = {"http__listen": "127.0.0.1:0"}
ROOT = Path(__file__).resolve().parent.parent
UNPACKED = ROOT / "build" / "prometheus" / "usr" / "bin" / "promtool"
PROMTOOL = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else None)
"""`make test` unpacks it: installed, the package would start a server."""
Values = dict[str, dict[tuple[tuple[str, str], ...], float]]
"""A page's values by name, and by the labels in the order of their names."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def find_url(config: Config) -> str:
    """Where a running daemon says that it answers."""
    found: str = request(config.endpoint("admin"), "status", DEADLINE_S)["endpoints"]["http"][0]
    return found


def connect(url: str) -> socket.socket:
    """A bare connection."""
    place = urlsplit(url)
    assert place.hostname is not None
    return socket.create_connection((place.hostname, place.port or 0), DEADLINE_S)


def ask(url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())
    finally:
        connection.close()


def hear_all(channel: socket.socket) -> bytes:
    """What comes until the other closes."""
    heard = b""
    channel.settimeout(DEADLINE_S)
    try:
        while more := channel.recv(65536):
            heard += more
    except ConnectionResetError:
        pass
    return heard


def scrape(url: str, *, is_open: bool = False) -> Values:
    """A page, read by the client's own parsers: that of OpenMetrics refuses much that the other passes over."""
    accept = "application/openmetrics-text; version=1.0.0" if is_open else "text/plain"
    text = ask(url, "/metrics", Accept=accept).body.decode()
    families = openmetrics.text_string_to_metric_families(text) if is_open else text_string_to_metric_families(text)
    values: Values = {}
    for family in families:
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            series = values.setdefault(sample.name, {})
            assert labels not in series, f"{sample.name}{labels} is there twice"
            series[labels] = sample.value
    return values


def wait_for(url: str, name: str, number: float, **labels: str) -> Values:
    """The page as soon as a value is there and is so large: for a moment a page is answered again."""
    at = tuple(sorted(labels.items()))
    page: Values = wait_until(
        lambda: found if (found := scrape(url)).get(name, {}).get(at, -1) >= number else {}, f"{name} of {number}"
    )
    return page


def value_of(values: Values, name: str, **labels: str) -> float:
    """One value; that of a series that is not there is an error."""
    return values[name][tuple(sorted(labels.items()))]
