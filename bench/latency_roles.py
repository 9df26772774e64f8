"""The two ends of the latency's measurement, each a process of its own: a producer that keeps its rate whatever
happens, and a subscriber that notes when lines arrive. Nothing here computes figures.
"""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from flowd.cli.measuring.latency import note_arrivals, send_at_rate
from flowd.client import Producer, Subscriber

TIMEOUT_S = 60.0


def produce_at_rate(endpoint: str, corpus: Path, control: Connection) -> None:
    """Is asked for (lines a second, ticks), answers with the time when the first tick was due, once all is
    acknowledged."""
    lines = corpus.read_bytes().splitlines(keepends=True)
    with Producer(endpoint, timeout_s=TIMEOUT_S) as producer:
        control.send(None)
        while True:
            rate, ticks = control.recv()
            control.send(send_at_rate(producer, lines, rate, ticks))


def receive_lines(endpoint: str, control: Connection) -> None:
    """Is asked for a number of lines; says that it waits, then answers with (when, how many) of each batch of them."""
    with Subscriber(endpoint) as subscriber:
        subscriber.connect(TIMEOUT_S)
        control.send(None)
        while True:
            wanted = int(control.recv())
            control.send(None)
            control.send(note_arrivals(subscriber, wanted))
