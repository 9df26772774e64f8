"""Answers of the admin lane that do not fit into one message, fetched page by page."""

from __future__ import annotations

import time
from typing import Any

from flowd.client.admin import request
from flowd.errors import FlowdError

ATTEMPTS = 5
"""How often the pages are begun again because other filters took over between two of them."""


def request_rules(endpoint: str, op: str, stream: str, timeout_s: float = 10.0) -> tuple[int, list[dict[str, Any]]]:
    """All rules of a stream (or, with `filters`, of a view), as `filters` or `decided` tell them, and the generation
    of the filters that they belong to.

    Raises what `request` raises, and FlowdError where the filters change all the time.
    """
    deadline_s = time.monotonic() + timeout_s
    for _ in range(ATTEMPTS):
        rules: list[dict[str, Any]] = []
        generation: int | None = None
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            answer = request(endpoint, op, left_s, stream=stream, first=len(rules))
            page = (answer["streams"] | answer.get("views", {}))[stream]
            if generation not in (None, page["generation"]):
                break
            generation = page["generation"]
            rules += page["rules"]
            if page["next"] is None:
                return page["generation"], rules
    raise FlowdError(f"{op}: the filters of {stream} change while they are read", hint="ask again a little later")


def request_consumers(endpoint: str, timeout_s: float = 10.0) -> list[dict[str, Any]]:
    """All durable consumers, as `consumers` tells them. Raises what `request` raises."""
    deadline_s = time.monotonic() + timeout_s
    found: list[dict[str, Any]] = []
    after: list[str] | None = None
    while True:
        answer = request(endpoint, "consumers", max(0.0, deadline_s - time.monotonic()), do="list", after=after)
        found += answer["consumers"]
        after = answer["next"]
        if after is None:
            return found
