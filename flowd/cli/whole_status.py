"""The daemon's status with what every rule has decided, however many there are."""

from __future__ import annotations

import time
from typing import Any

from flowd.errors import FlowdError

ATTEMPTS = 3
"""How often everything is asked for again because other filters took over meanwhile."""


def request_whole_status(endpoint: str, timeout_s: float) -> dict[str, Any]:
    """The answer to `status`, and in it the rules that it leaves off; they are counted a moment later.

    Raises as `flowd.client.request` does, and FlowdError where the filters change all the time.
    """
    from flowd.client import request
    from flowd.client.pages import request_rules

    deadline_s = time.monotonic() + timeout_s
    for _ in range(ATTEMPTS):
        status = request(endpoint, "status", max(0.0, deadline_s - time.monotonic()))
        cut = [name for name, stream in status["streams"].items() if stream["rules_left_off"]]
        for name in cut:
            stream = status["streams"][name]
            generation, rules = request_rules(endpoint, "decided", name, max(0.0, deadline_s - time.monotonic()))
            if generation != stream["generation"]:
                break
            stream |= {"rules": rules, "rules_left_off": 0, "lines_left_off": 0, "bytes_left_off": 0}
        else:
            return status
    raise FlowdError("status: the filters change while their rules are read", hint="ask again a little later")
