"""A client's thread that could not begin, or ended by an error: how whoever waits for it is told."""

from __future__ import annotations

import threading

from flowd.errors import ClientFailed

LOOK_S = 1.0
"""How often whoever waits for a thread looks whether there is one: one that left no word would be waited for without
end."""
FORKED_HINT = "was the process forked? Make the client behind the fork"


def failed(what: str, error: BaseException) -> ClientFailed:
    """The error for callers, with its cause chained."""
    failure = ClientFailed(f"{what}: {type(error).__name__}: {error}", hint="the log has more; make another client")
    failure.__cause__ = error
    return failure


def start_thread(thread: threading.Thread, what: str) -> None:
    """Starts it. Raises ClientFailed where the system gives no thread."""
    try:
        thread.start()
    except RuntimeError as error:
        hint = "are there too many threads (`ulimit -u`, TasksMax), or is memory short?"
        raise ClientFailed(f"{what}: no thread can be started: {error}", hint=hint) from error
