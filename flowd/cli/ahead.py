"""Batches made by a thread of their own while the ones before are worked on: for what costs time to read, archives."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Thread

from flowd.archives.lines import Batch, Input, read_batches

BATCHES_AHEAD = 2
"""One is opened while another waits to be taken: more would only take memory, as one of both sides is the slower."""
PATIENCE_S = 1.0
"""How long a run that is given up waits for the thread: it may stand at a pipe that brings nothing."""


def read_ahead(source: Input, under_way: int = 1) -> Iterator[Batch]:
    """What `read_batches` gives, and raises. At most `under_way` may be unreleased when the next is asked for."""
    ready: SimpleQueue[Batch | BaseException | None] = SimpleQueue()
    has_ended = Event()

    def read() -> None:
        try:
            for batch in read_batches(source, under_way + BATCHES_AHEAD):
                ready.put(batch)
                if has_ended.is_set():
                    return
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    # A daemon: one that stands at a pipe that brings nothing must not keep an interrupted process.
    reader = Thread(target=read, name="flowd-open", daemon=True)
    reader.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        has_ended.set()
        while not ready.empty():
            left = ready.get()
            if isinstance(left, Batch):
                left.release()
        reader.join(PATIENCE_S)
