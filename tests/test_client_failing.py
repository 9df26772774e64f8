"""A client's thread that fails, or cannot begin, for real reasons: whoever waits for it is told, with the cause."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from cli_bed import environment
from relay_bed import DEADLINE_S, KEPT

import flowd
from flowd.client import Consumer

NO_SOCKETS = """
import zmq
context = zmq.Context.instance()
context.max_sockets = 1
held = context.socket(zmq.PUSH)
"""
NO_THREADS = """
import threading
before = threading.stack_size(1 << 46)  # the system gives no such stack, and no thread
"""
FAILS = f"""
import sys
{NO_SOCKETS}
from flowd.client import Producer
from flowd.errors import ClientFailed
producer = Producer(sys.argv[1])
sends = lambda: producer.send(b"x"), lambda: producer.send(b"x\\n" * (1 << 22))
for call in (sends[0], producer.flush, sends[1], producer.flush):
    try:
        call()
    except ClientFailed as failure:
        print(type(failure.__cause__).__name__, failure.__cause__, failure.exit_code)
producer.close()
"""
FAILS_UNHEARD = f"""
import logging, sys
class Broken(logging.Filter):
    def filter(self, record):
        raise OSError("the log cannot be written")
logging.getLogger("flowd.client.conversation").addFilter(Broken())
{NO_SOCKETS}
from flowd.client import Producer
from flowd.errors import ClientFailed
producer = Producer(sys.argv[1])
try:
    producer.send(b"x")
    producer.flush()
except ClientFailed as failure:
    print(type(failure.__cause__).__name__)
"""
FORKS = """
import os, sys
from flowd.client import Producer
from flowd.errors import ClientFailed
producer = Producer(sys.argv[1])
producer.send(b"x")
with producer._lock:  # where its thread has it at that moment, the child waits for it for ever, as with every lock
    child = os.fork()
if not child:
    try:
        producer.flush()
    except ClientFailed as failure:
        print(failure.hint, flush=True)
    os._exit(0)
os.wait()
"""


def run(script: str, folder: Path) -> list[str]:
    """What a program says of a producer to which no daemon would answer; it must end."""
    command = [sys.executable, "-W", "ignore", "-c", script, f"ipc://{folder}/absent.sock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_who_sends_hears_why_the_thread_failed(tmp_path: Path) -> None:
    said = run(FAILS, tmp_path)
    assert set(said) == {"ZMQError Too many open files 74"}
    assert len(said) >= 3, "each call that had to wait"


def test_it_is_heard_where_not_even_the_log_works(tmp_path: Path) -> None:
    assert run(FAILS_UNHEARD, tmp_path) == ["ZMQError"]


def test_a_fork_leaves_the_thread_behind_and_says_so(tmp_path: Path) -> None:
    assert run(FORKS, tmp_path) == ["was the process forked? Make the client behind the fork"]


def test_where_no_thread_can_be_started_it_is_said_and_tried_again(tmp_path: Path) -> None:
    script = f"""
import sys
{NO_THREADS}
from flowd.client import Producer
from flowd.errors import ClientFailed
producer = Producer(sys.argv[1])
for _ in range(2):
    try:
        producer.send(b"x\\n")
    except ClientFailed as failure:
        print(failure.message.partition(": ")[2], type(failure.__cause__).__name__)
threading.stack_size(before)
producer.send(b"x\\n")
print(producer.unacknowledged_lines)
producer.close()
"""
    said = run(script, tmp_path)
    assert [line.startswith("the producer: no thread can be started") for line in said] == [True, True, False]
    assert [line.rpartition(" ")[2] for line in said] == ["RuntimeError", "RuntimeError", "1"]


def test_a_consumer_of_jetstream_whose_thread_cannot_begin_says_so(tmp_path: Path) -> None:
    script = f"""
{NO_THREADS}
from flowd.client import Consumer
from flowd.errors import ClientFailed
with Consumer("nats://127.0.0.1:1", "siem") as consumer:
    try:
        consumer.poll(10)
    except ClientFailed as failure:
        print("no thread can be started" in failure.message)
    threading.stack_size(before)
"""
    assert run(script, tmp_path) == ["True"]


def test_asyncios_producer_hears_it_too(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
{NO_SOCKETS}
from flowd import aio
async def main():
    producer = aio.Producer(sys.argv[1])
    try:
        await producer.send(b"x")
        await producer.flush()
    except Exception as failure:
        print(type(failure).__name__, type(failure.__cause__).__name__)
    await producer.close()
asyncio.run(main())
"""
    assert run(script, tmp_path) == ["ClientFailed ZMQError"]


def test_the_command_ends_and_says_why(tmp_path: Path) -> None:
    script = f"""
import sys
{NO_SOCKETS}
from flowd.cli import main
sys.stderr = sys.stdout
print(main(["send", "--runtime-dir", sys.argv[1].removeprefix("ipc://"), "-"]))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, input=KEPT, capture_output=True, timeout=DEADLINE_S, env=environment(), check=False)
    said = done.stdout.decode()
    assert said.endswith("\n74\n"), said
    assert "the producer's thread failed: ZMQError: Too many open files" in said


def test_readers_have_no_thread_that_could_fail_unheard(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    endpoint = f"ipc://{tmp_path}/absent.sock"
    with Consumer(endpoint, "siem") as consumer, flowd.Subscriber(endpoint) as subscriber:
        assert consumer.poll(0.05) is None
        assert subscriber.poll(0.05) is None
        assert set(threading.enumerate()) == before
