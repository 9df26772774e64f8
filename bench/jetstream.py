"""The JetStream sink beside a bare nats-py publisher: messages of 256 KiB into a nats-server, by turns, one window.

Both are timed by the server's own clock: from the first message of a run to the last, as its stream has them. The
sink's batches lie in the journal when its daemon starts, so that it is only the way out that is measured; its consumer,
its headers and its commits are in its figure.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from daemon_process import DaemonProcess
from measure import Row, Target, rates, run_in_turns, speed_ratios
from playing import playing
from settings import Settings

from flowd.client import Producer
from flowd.errors import FlowdError
from flowd.memory import keep_freed_memory
from flowd.wire.limits import BATCH_BYTES

WINDOW = 32
"""Messages under way, of both."""
MB = 1e6
START_S = 20.0
DELIVERY_S = 120.0
SINK_TARGET = Target(ratio=0.8)


def run(settings: Settings) -> list[Row]:
    """A row for each kind of storage. Raises FlowdError where nats-server or nats-py is missing."""
    if shutil.which("nats-server") is None:
        raise FlowdError("nats-server is not installed", hint="apt-get install nats-server")
    return [_measure(settings, storage) for storage in ("memory", "file")]


def _measure(settings: Settings, storage: str) -> Row:
    batches = settings.scale.relay_batches // 4
    settings.say(f"jetstream: {batches:,} messages of 256 KiB, storage {storage}")
    corpus = settings.corpus_of("text24", batches * BATCH_BYTES)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowd-nats-")))
        url, _ = stack.enter_context(server_process(directory))
        daemon = stack.enter_context(DaemonProcess(None, journal={"sync": "off", "max_bytes": 2 << 30}))
        with Producer(daemon.endpoint("ingest")) as producer:
            producer.send(corpus.path.read_bytes())
            producer.flush(DELIVERY_S)
        stored = int(daemon.status()["streams"]["flows"]["batches"])
        daemon.drain()
        bare = stack.enter_context(playing(publish, url, storage))
        runs = iter(range(1_000_000))

        def deliver() -> float:
            name = f"SINK{next(runs)}"
            daemon.config = (
                f'[sinks.{name}]\ntype = "nats"\nservers = ["{url}"]\njetstream = "{name}"\nstorage = "{storage}"\n'
                f'subject = "{name}.{{stream}}.{{node}}"\nnode = "bench"\nwindow = {WINDOW}\nwindow_bytes = "64MiB"\n'
                'max_bytes = "2GiB"\n'
            )
            daemon.start()
            took_s = asyncio.run(_time_stream(url, name, stored))
            daemon.drain()
            return took_s

        def publish_bare() -> float:
            name = f"BARE{next(runs)}"
            bare.ask((name, stored))
            return asyncio.run(_time_stream(url, name, stored))

        times = run_in_turns({"sink": deliver, "bare": publish_bare}, settings.scale.rounds)
    amount = (stored - 1) * BATCH_BYTES / MB
    return Row(
        part="jetstream",
        what=f"JetStream sink, messages of 256 KiB, one server, {storage} storage",
        unit="MB/s",
        figure=rates(amount, times["sink"]),
        peer=f"bare nats-py, publish_async, window {WINDOW}",
        peer_figure=rates(amount, times["bare"]),
        ratio=speed_ratios(times["sink"], times["bare"]),
        target=SINK_TARGET,
        note=f"{stored:,} messages a run, timed by the server's clock from the first to the last",
    )


@contextmanager
def server_process(directory: Path) -> Iterator[tuple[str, int]]:
    """A nats-server with JetStream; yields its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = directory / "nats.conf"
    config.write_text(
        f'port: {port}\nhost: "127.0.0.1"\n'
        f'jetstream {{ store_dir: "{directory / "store"}", max_mem: 4G, max_file: 16G }}\n'
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["nats-server", "-c", str(config)], stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError as error:
                if time.monotonic() > deadline_s or process.poll() is not None:
                    raise FlowdError("nats-server did not start", hint=(directory / "log").read_text()) from error
                time.sleep(0.01)
        yield f"nats://127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        process.wait()


async def _time_stream(url: str, name: str, messages: int) -> float:
    """Waits until a stream has so many messages; returns the seconds from its first to its last, and deletes it."""
    import nats
    from nats.js.errors import NotFoundError

    client = await nats.connect(url)
    jetstream = client.jetstream()
    try:
        deadline_s = time.monotonic() + DELIVERY_S
        while time.monotonic() < deadline_s:
            try:
                answer: dict[str, Any] = await jetstream._jsm._api_request(f"$JS.API.STREAM.INFO.{name}", b"")
            except NotFoundError:
                await asyncio.sleep(0.02)
                continue
            state = answer["state"]
            if state["messages"] >= messages:
                took_s = _nanoseconds(state["last_ts"]) - _nanoseconds(state["first_ts"])
                await jetstream.delete_stream(name)
                return took_s / 1e9
            await asyncio.sleep(0.05)
    finally:
        await client.close()
    raise FlowdError(f"the stream {name} had not all messages within {DELIVERY_S:g} s")


def _nanoseconds(text: str) -> int:
    """A time as the server writes it, with up to nine digits behind the point, in ns of its day and those before."""
    from datetime import UTC, datetime

    whole, _, fraction = text.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)


def publish(url: str, storage: str, control: Connection) -> None:
    """The peer: for each (stream, messages) it is asked for, makes the stream and publishes as fast as it can."""
    asyncio.run(_publish(url, storage, control))


async def _publish(url: str, storage: str, control: Connection) -> None:
    import nats
    from nats.js.api import StorageType, StreamConfig

    keep_freed_memory()  # as the daemon does: else chance decides, for a whole run, whether it is twice as slow
    client = await nats.connect(url)
    jetstream = client.jetstream(publish_async_max_pending=WINDOW)
    payload = b"x" * BATCH_BYTES
    control.send("ready")
    while True:
        name, messages = await asyncio.to_thread(control.recv)
        await jetstream.add_stream(
            StreamConfig(name=name, subjects=[f"{name}.*.*"], storage=StorageType(storage), max_bytes=2 << 30)
        )
        sent = [
            await jetstream.publish_async(f"{name}.flows.bench", payload, headers={"Nats-Msg-Id": f"{name}/{number}"})
            for number in range(messages)
        ]
        await asyncio.gather(*sent)
        control.send(messages)
