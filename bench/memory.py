"""The daemon's peak memory, made as hard as an ordinary day can be.

Lines of both forms, aggregated and not (new pod names and addresses on every line), through flowd.Producer; one
subscriber that reads, and one that never does, so that all the daemon may queue for it is queued. The peak is VmHWM:
resident pages, with those of libraries that processes share.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import zmq
from core_rules import FIELDS, write_rules
from daemon_process import DaemonProcess, read_memory
from measure import Row, Target, spread
from settings import NAMESPACE_FILTER, Corpus, Settings

from flowd.client import Producer, Subscriber
from flowd.corpus import Cardinality
from flowd.errors import FlowdError
from flowd.wire.sockets import open_socket

MIB = 1 << 20
TARGET = Target(figure=150.0, is_upper=True)
MANY_TARGET = Target(figure=200.0, is_upper=True)
CORPORA: tuple[tuple[str, Cardinality], ...] = (
    ("json", "low"),
    ("text24", "low"),
    ("text24", "high"),
    ("json", "high"),
)
HIGH_PART = 4
"""High cardinality is made slowly: this part of the bytes must do."""
RULES = 1_000
READ_BYTES = 4 << 20
TIMEOUT_S = 60.0
POLL_S = 0.1
STREAM = "flows"


def run(settings: Settings) -> list[Row]:
    """A row with the documented filter, and two with many rules on a field whose values are nearly all new."""
    many = max(settings.scale.rules)
    filters = {
        "the documented namespace filter": (NAMESPACE_FILTER, NAMESPACE_FILTER.count("<exclude>"), TARGET),
        f"{RULES:,} rules on dest_name": (write_rules(RULES, FIELDS["high"]), RULES, TARGET),
        f"{many:,} rules on dest_name": (write_rules(many, FIELDS["high"]), many, MANY_TARGET),
    }
    share = settings.scale.memory_bytes // len(CORPORA)
    corpora = [
        settings.corpus_of(form, share if cardinality == "low" else share // HIGH_PART, cardinality)
        for form, cardinality in CORPORA
    ]
    rows = []
    for what, (text, rules, target) in filters.items():
        settings.say(f"memory: {what}")
        with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
            path = Path(directory) / "filters.conf"
            path.write_text(text)
            rows.append(_run_filters(what, path, rules, corpora, target))
    return rows


def _run_filters(what: str, filters: Path, rules: int, corpora: list[Corpus], target: Target) -> Row:
    with DaemonProcess(filters) as daemon, zmq.Context() as context, open_socket(context, zmq.SUB) as stalled:
        at_start = read_memory(daemon.process_id)["VmHWM"]
        stalled.subscribe(STREAM.encode() + b"\0")
        stalled.connect(daemon.endpoint("live"))
        subscriber = Subscriber(daemon.endpoint("live"), STREAM)
        subscriber.connect(TIMEOUT_S)
        ended = threading.Event()
        reader = threading.Thread(target=_read_all, args=(subscriber, ended))
        reader.start()
        try:
            with Producer(daemon.endpoint("ingest"), timeout_s=TIMEOUT_S) as producer:
                for corpus in corpora:
                    _send(producer, corpus)
        finally:
            ended.set()
            reader.join()
            subscriber.close()
        kept_lines = daemon.journal()["streams"][STREAM]["lines"]
        memory = read_memory(daemon.process_id)
    sent = sum(corpus.lines for corpus in corpora)
    sent_bytes = sum(corpus.bytes for corpus in corpora)
    if not 0 < kept_lines <= sent:
        raise FlowdError(f"the daemon kept {kept_lines} lines of {sent}")
    return Row(
        part="memory",
        what=f"the daemon's peak, {what}",
        unit="MiB",
        figure=spread([memory["VmHWM"] / MIB]),
        target=target,
        note=f"{sent:,} lines, {sent_bytes / MIB:,.0f} MiB, {kept_lines:,} kept; "
        f"{at_start / MIB:.0f} MiB before the first line, {memory['RssAnon'] / MIB:.0f} MiB of its own at the end",
        point=("the daemon's peak", rules),
    )


def _read_all(subscriber: Subscriber, ended: threading.Event) -> None:
    while not ended.is_set():
        subscriber.poll(POLL_S)


def _send(producer: Producer, corpus: Corpus) -> None:
    rest = b""
    with corpus.path.open("rb") as lines:
        while chunk := lines.read(READ_BYTES):
            end = chunk.rindex(b"\n") + 1
            producer.send(rest + chunk[:end], STREAM)
            rest = chunk[end:]
