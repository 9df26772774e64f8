"""The producer with a spool: what `send` took reaches the journal once, over kill -9, full disks and lost journals."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from relay_bed import DEADLINE_S, KEPT, DaemonProcess, wait_until
from spool_bed import (
    OWNER,
    FullDisk,
    Life,
    build,
    flip,
    place_of,
    recover,
    recover_copy,
    run_lines,
    sealed,
    segments,
)
from test_client import DaemonByHand

import flowd
from flowd.client import Consumer, Producer
from flowd.client.producer import WAITING_MAX_BYTES
from flowd.client.spool_record import BEGIN_BYTES
from flowd.errors import FlowdError, LineTooLong, NotAcknowledged, Unreachable
from flowd.wire import Ack, Data, Nak
from flowd.wire.limits import LINE_MAX_BYTES

ROOT = str(Path(flowd.__file__).parent.parent)


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[DaemonByHand]:
    daemon = DaemonByHand(tmp_path)
    yield daemon
    daemon.socket.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def test_folder_and_files_are_private(folder: Path) -> None:
    mask = os.umask(0)
    try:
        build(folder)
        with Producer(f"ipc://{folder}.sock", spool_dir=folder) as producer:
            producer.close()
    finally:
        os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"lock", "producer.id", "reserve"} <= modes.keys()


def hear_data(by_hand: DaemonByHand) -> Data:
    _, header = by_hand.hear()
    assert isinstance(header, Data)
    return header


def test_second_producer_on_a_folder_is_refused_with_a_hint(folder: Path, tmp_path: Path) -> None:
    with Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder) as first:
        for id_file in (None, tmp_path / "id"):
            with pytest.raises(FlowdError, match="another producer is using this spool") as caught:
                Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder, id_file=id_file)
            assert "spool_dir of its own" in caught.value.hint
        with pytest.raises(FlowdError, match="another producer is using this id"):
            Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=tmp_path / "other", id_file=folder / "producer.id")
        kept = first.id
    with Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder) as second:
        assert second.id == kept


def test_id_file_is_used_where_it_is_given(folder: Path, tmp_path: Path) -> None:
    with Producer("ipc:///x", spool_dir=folder, id_file=tmp_path / "id") as producer:
        assert (tmp_path / "id").read_text() == producer.id.hex() + "\n"
    assert not (folder / "producer.id").exists()


def test_lost_id_is_found_in_the_spool_and_another_one_is_refused(folder: Path, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/absent.sock"
    build(folder)
    with Producer(endpoint, spool_dir=folder) as producer:
        assert producer.id == OWNER
        producer.close()
    (folder / "producer.id").unlink()
    (tmp_path / "id").write_text("ff" * 16)
    with pytest.raises(FlowdError, match=f"lines of producer {OWNER.hex()}, not of {'ff' * 16}") as caught:
        Producer(endpoint, spool_dir=folder, id_file=tmp_path / "id")
    assert "id_file" in caught.value.hint
    with Producer(endpoint, spool_dir=folder) as producer:
        assert (producer.id, producer.unacknowledged_lines) == (OWNER, 40)
        producer.close()


def test_emptied_spool_may_go_to_another_id(folder: Path, tmp_path: Path) -> None:
    life = Life(folder)
    life.seal(*life.append(b"x\n"))
    life.spool.acknowledge(1)
    life.spool.close()
    (tmp_path / "id").write_text("ff" * 16)
    for _ in range(2):
        with Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder, id_file=tmp_path / "id") as producer:
            producer.send(b"y\n")
            producer.close()
    assert recover(folder).owner == b"\xff" * 16


@pytest.mark.parametrize("where", ["file", "missing parent"])
def test_folder_that_cannot_be_made_is_told_with_a_hint(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / ("file" if where == "file" else "missing/spool")
    with pytest.raises(FlowdError, match="the spool cannot be opened: N") as caught:
        Producer("ipc:///x", spool_dir=folder)
    assert "a folder that this producer may write to" in caught.value.hint


def test_producer_in_memory_leaves_no_files(tmp_path: Path) -> None:
    with Producer(f"ipc://{tmp_path}/absent.sock") as producer:
        producer.send(KEPT)
        producer.close()
    assert list(tmp_path.iterdir()) == []


def test_batches_of_an_earlier_life_come_again_under_their_sequences_and_new_ones_behind(
    folder: Path, by_hand: DaemonByHand
) -> None:
    build(folder)
    with Producer(by_hand.endpoint, spool_dir=folder) as producer:
        producer.send(b"new\n")
        assert producer.unacknowledged_lines == 41
        with pytest.raises(NotAcknowledged) as caught:
            producer.flush(0.01)
        assert caught.value.count == 41
        peer, hello = by_hand.hear_hello()
        assert (hello.pid, hello.first) == (OWNER, 1)
        by_hand.welcome(peer, last=0)
        heard = [hear_data(by_hand) for _ in range(5)]
        assert [(data.s, data.n) for data in heard] == [(1, 10), (2, 10), (3, 10), (4, 10), (5, 1)]
        by_hand.say(peer, Ack(5, 1 << 20, 8))
        producer.flush(DEADLINE_S)


def test_unknown_daemon_is_told_where_the_spool_goes_on(folder: Path, by_hand: DaemonByHand) -> None:
    for sequence in (1, 2):  # an emptied spool goes on behind the last sequence, whatever the daemon knows
        with Producer(by_hand.endpoint, spool_dir=folder) as producer:
            producer.send(KEPT)
            peer, hello = by_hand.hear_hello()
            assert hello.first == (None if sequence == 1 else 2)
            by_hand.welcome(peer, last=sequence - 1)
            assert hear_data(by_hand).s == sequence
            by_hand.say(peer, Ack(sequence, 1 << 20, 8))
            producer.flush(DEADLINE_S)


def test_daemon_that_is_ahead_of_the_spool_is_believed(folder: Path, by_hand: DaemonByHand) -> None:
    build(folder)
    with Producer(by_hand.endpoint, spool_dir=folder) as producer:
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer, last=2)
        assert [hear_data(by_hand).s for _ in range(2)] == [3, 4]
        by_hand.say(peer, Ack(4, 1 << 20, 8))
        producer.flush(DEADLINE_S)
        producer.close()
    with Producer(by_hand.endpoint, spool_dir=folder) as producer:
        producer.send(KEPT)
        peer, hello = by_hand.hear_hello()
        assert hello.first == 5
        by_hand.welcome(peer, last=99)
        assert hear_data(by_hand).s == 100
        producer.close()
    assert recover(folder).acknowledged == 99


def test_batch_that_is_lost_is_left_out_and_the_daemon_is_told(folder: Path, by_hand: DaemonByHand) -> None:
    segment = build(folder)
    flip(segment, place_of(segment, b"batch 1 line 5"))
    with Producer(by_hand.endpoint, spool_dir=folder) as producer:
        assert (producer.lost_lines, producer.unacknowledged_lines) == (10, 30)
        peer, hello = by_hand.hear_hello()
        assert hello.first == 1
        by_hand.welcome(peer, last=0)
        assert hear_data(by_hand).s == 1
        assert not by_hand.socket.poll(100)
        by_hand.say(peer, Ack(1, 1 << 20, 8))
        peer, hello = by_hand.hear_hello()
        assert hello.first == 3
        by_hand.welcome(peer, last=2)
        assert [hear_data(by_hand).s for _ in range(2)] == [3, 4]
        by_hand.say(peer, Ack(4, 1 << 20, 8))
        producer.flush(DEADLINE_S)


def test_refused_batch_is_still_there_in_the_next_life(folder: Path, by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint, spool_dir=folder) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer)
        hear_data(by_hand)
        by_hand.say(peer, Nak(1, "stream"))
        with pytest.raises(FlowdError, match="will not take batch 1"):
            producer.flush(DEADLINE_S)
        with pytest.raises(FlowdError, match="will not take batch 1"):
            producer.send(KEPT)
        producer.close()
    assert sealed(recover(folder)) == [(1, "flows", KEPT, 1)]


def test_call_is_taken_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    line = b"x" * 999 + b"\n"
    large = line * (WAITING_MAX_BYTES // 500)
    with Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder, timeout_s=0.05) as producer:
        producer.send(large)
        with pytest.raises(Unreachable):
            producer.send(KEPT)
        with pytest.raises(LineTooLong):
            producer.send(KEPT + b"x" * (LINE_MAX_BYTES + 1))
        assert producer.unacknowledged_lines == len(large) // len(line)
        producer.close()
    assert run_lines(recover(folder)) == {"flows": large}


def test_small_batches_wait_together_while_no_daemon_is_there(folder: Path, tmp_path: Path) -> None:
    with Producer(f"ipc://{tmp_path}/absent.sock", spool_dir=folder) as producer:
        for _ in range(200):
            producer.send(KEPT)
            wait_until(lambda: producer._window.waiting_batches >= 64 or not producer._open, "the batch's end")
        assert producer._window.waiting_batches == 64
        assert producer.unacknowledged_lines == 200
        producer.close()
    assert run_lines(recover(folder)) == {"flows": 200 * KEPT}


def test_file_that_may_not_grow_takes_nothing_of_a_call(folder: Path, tmp_path: Path) -> None:
    script = """
import resource, sys
from flowd.client import Producer
from flowd.errors import FlowdError
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
producer = Producer(sys.argv[1], spool_dir=sys.argv[2])
producer.send(b"first\\n")
try:
    producer.send(b"x" * 500_000 + b"\\n" + b"y" * 200_000 + b"\\n")
except FlowdError as error:
    print(type(error).__name__, error.hint)
producer.send(b"last\\n")
producer.close()
"""
    with run(script, f"ipc://{tmp_path}/absent.sock", str(folder)) as child:
        said = child.communicate(timeout=DEADLINE_S)[0]
    assert said == b"SpoolFull make room on its disk, or wait until more of the spool is acknowledged\n"
    assert run_lines(recover(folder)) == {"flows": b"first\nlast\n"}


# Real daemons, real ends


@contextmanager
def run(script: str, *args: str, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Python in a process of its own, ended with kill -9."""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [*prefix, sys.executable, "-c", script, *args]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def read_journal(daemon: DaemonProcess, stream: str = "flows") -> list[bytes]:
    """All lines of a stream, as they are stored."""
    lines: list[bytes] = []
    with Consumer(
        daemon.endpoint("consume"), "", stream, start="oldest", until="newest", timeout_s=DEADLINE_S
    ) as consumer:
        for batch in consumer:
            lines += batch.lines.splitlines()
        assert consumer.missed_lines == 0
    return lines


def numbered(first: int, count: int, life: int = 0) -> bytes:
    return b"".join(b'{"life":%d,"n":%d}\n' % (life, n) for n in range(first, first + count))


SEND_AND_WAIT = """
import sys
from flowd.client import Producer
producer = Producer(sys.argv[1], spool_dir=sys.argv[2])
for n in range(int(sys.argv[3])):
    producer.send(b'{"life":0,"n":%d}\\n' % n)
print("sent", flush=True)
sys.stdin.read()
"""


def test_what_send_took_survives_kill_9_while_no_daemon_is_there(folder: Path, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    with run(SEND_AND_WAIT, daemon.endpoint("ingest"), str(folder), "5000") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"sent\n"
    with daemon:
        with Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
            assert producer.unacknowledged_lines == 5000
        assert read_journal(daemon) == numbered(0, 5000).splitlines()
    assert [path.stat().st_size for path in segments(folder)] == [BEGIN_BYTES]


def test_producer_that_does_nothing_delivers_what_an_earlier_life_left(folder: Path, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        build(folder)
        with Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
            wait_until(lambda: not producer.unacknowledged_lines, "the earlier life's lines")
        assert len(read_journal(daemon)) == 40


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("is_empty", [True, False])
def test_sequences_go_on_whoever_has_forgotten(folder: Path, tmp_path: Path, is_known: bool, is_empty: bool) -> None:
    daemon = DaemonProcess(tmp_path)
    with daemon, Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
        for n in range(3):
            producer.send(numbered(n, 1))
            producer.flush(DEADLINE_S)
    assert recover(folder).last == 3
    if not is_empty:
        with Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
            producer.send(numbered(3, 1))
            producer.close()
    if not is_known:
        shutil.rmtree(tmp_path / "state")
    with daemon:
        with Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
            producer.send(numbered(4, 1))
        first = 0 if is_known else 3
        wanted = [n for n in range(first, 5) if n != 3 or not is_empty]
        assert [json.loads(line)["n"] for line in read_journal(daemon)] == wanted
        assert daemon.status()["counters"].get("flowd_duplicate_batches_total", 0) == 0
    assert recover(folder).acknowledged == (4 if is_empty else 5)


def test_acknowledgement_that_was_not_noted_makes_no_line_come_twice(folder: Path, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        build(folder, seal=4)
        copy = folder.with_name("copy")
        shutil.copytree(folder, copy)
        for spool_dir in (folder, copy):  # the copy is a life that ended just before it could note anything
            with Producer(daemon.endpoint("ingest"), spool_dir=spool_dir) as producer:
                assert producer.unacknowledged_lines == 40
        assert len(read_journal(daemon)) == 40


SEND_FOR_EVER = """
import os, random, sys
from flowd.client import Producer
endpoint, spool_dir, tally, life = sys.argv[1:]
random.seed(int(life))
tally = os.open(tally, os.O_WRONLY | os.O_APPEND)
producer = Producer(endpoint, spool_dir=spool_dir)
os.write(tally, b"begun flows 0\\n")
sent = {"flows": 0, "dns": 0}
while True:
    stream, count = random.choice(("flows", "flows", "dns")), random.choice((1, 7, 100, 2000, 15000))
    text = b"".join(b'{"life":%d,"n":%d}\\n' % (int(life), n) for n in range(sent[stream], sent[stream] + count))
    sent[stream] += count
    os.write(tally, b"sending %s %d\\n" % (stream.encode(), count))
    producer.send(text, stream)
    os.write(tally, b"sent %s %d\\n" % (stream.encode(), count))
"""
ROUNDS = 20


def test_nothing_is_lost_and_nothing_comes_twice_over_twenty_ends_under_load(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    tallies = [tmp_path / f"tally{life}" for life in range(ROUNDS)]
    with DaemonProcess(tmp_path) as daemon:
        daemon.kill()
        is_up = False
        for life, tally in enumerate(tallies):
            tally.touch()
            if life % 5 != 0 and not is_up:
                daemon.start()
                is_up = True
            with run(SEND_FOR_EVER, daemon.endpoint("ingest"), str(folder), str(tally), str(life)) as child:
                calls = chance.randrange(2, 60) if is_up else 2
                wait_until(lambda tally=tally, calls=calls: tally.read_text().count("\n") >= calls, "calls")
                if is_up and life % 3 == 0:
                    daemon.kill()
                    is_up = False
                child.kill()
            if is_up and life % 5 == 4:
                daemon.kill()
                is_up = False
        if not is_up:
            daemon.start()
        with Producer(daemon.endpoint("ingest"), spool_dir=folder) as producer:
            producer.flush(2 * DEADLINE_S)
            assert (producer.lost_lines, producer.unacknowledged_lines) == (0, 0)
        for stream in ("flows", "dns"):
            check_lives([json.loads(line) for line in read_journal(daemon, stream)], tallies, stream)
    assert sum(tallied(tally, "flows")[0] for tally in tallies) > 10_000


def check_lives(records: list[dict[str, int]], tallies: list[Path], stream: str) -> None:
    """Each life's lines are there once and in order: of all calls that returned, and of the last one all or none."""
    assert [record["life"] for record in records] == sorted(record["life"] for record in records)
    arrived: defaultdict[int, list[int]] = defaultdict(list)
    for record in records:
        arrived[record["life"]].append(record["n"])
    for life, tally in enumerate(tallies):
        assert arrived[life] == list(range(len(arrived[life])))
        assert len(arrived[life]) in tallied(tally, stream)


def tallied(tally: Path, stream: str) -> tuple[int, int]:
    """The lines of all calls that returned, and with the one that had not."""
    calls = [line.split() for line in tally.read_text().splitlines()]
    returned = sum(int(count) for what, of, count in calls if (what, of) == ("sent", stream))
    begun = sum(int(count) for what, of, count in calls if (what, of) == ("sending", stream))
    return returned, begun


FILL = """
import resource, subprocess, sys
from pathlib import Path
from flowd.client import Producer
from flowd.errors import FlowdError
endpoint, disk, means = sys.argv[1:]
if means == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (800_000, 800_000))
else:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
spool_dir = Path(disk) / "spool"
producer = Producer(endpoint, spool_dir=spool_dir)
sent = 0

def send(count):
    global sent
    producer.send(b"".join(b'{"life":0,"n":%d}\\n' % n for n in range(sent, sent + count)))
    sent += count

def fill(ballast):
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(bytes(512)):
                pass
        except OSError:
            pass

def send_until_full(count):
    try:
        while True:
            send(count)
    except FlowdError as error:
        assert "make room" in error.hint, error

send_until_full(2000)
assert sent >= 10_000, sent
if means == "tmpfs":
    fill(disk + "/ballast")
send_until_full(1)  # to the last byte of the last block
producer.close()
producer = Producer(endpoint, spool_dir=spool_dir)
assert producer.unacknowledged_lines == sent
print("full", flush=True)
sys.stdin.readline()
producer.flush(20)  # what is spooled can be delivered though nothing more fits on the disk
send(2000)  # and then there is room again
producer.flush(20)
producer.close()
print(sent, len(list(spool_dir.glob("*.segment"))), flush=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> tuple[tuple[str, ...], Path, str]:
    """How a process gets a disk of 1 MiB for itself: (what stands before its command, where, by which means). Where no
    file system may be mounted, a limit of the file's size stands for it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    prefix = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-r", "-m")
    mount = [*prefix, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    is_allowed = subprocess.run(mount, capture_output=True).returncode == 0
    return (prefix if is_allowed else ()), disk, ("tmpfs" if is_allowed else "limit")


def test_full_disk_takes_nothing_more_and_delivers_what_it_has(
    small_disk: tuple[tuple[str, ...], Path, str], tmp_path: Path
) -> None:
    prefix, disk, means = small_disk
    daemon = DaemonProcess(tmp_path)
    with run(FILL, daemon.endpoint("ingest"), str(disk), means, prefix=prefix) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"full\n"
        with daemon:
            sent, left = map(int, child.communicate(b"\n", timeout=2 * DEADLINE_S)[0].split())
            assert read_journal(daemon) == numbered(0, sent).splitlines()
    assert (child.returncode, left) == (0, 1)


def test_batch_whose_sequence_cannot_be_written_waits_for_room(
    folder: Path, by_hand: DaemonByHand, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    with patch("flowd.client.spool_segment.os", disk), Producer(by_hand.endpoint, spool_dir=folder) as producer:
        producer.send(KEPT)
        disk.is_full = True
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer)
        assert not by_hand.socket.poll(200)
        with pytest.raises(FlowdError, match="No space left on device"):
            producer.send(KEPT)
        assert "nothing new is sent until there is room again" in caplog.text
        assert producer.unacknowledged_lines == 1
        disk.is_full = False
        assert (hear_data(by_hand).s, sealed(recover_copy(folder))) == (1, [(1, "flows", KEPT, 1)])
        disk.is_full = True
        by_hand.say(peer, Ack(1, 1 << 20, 8))
        producer.flush(DEADLINE_S)
        assert "acknowledgements are not noted" in caplog.text
    assert [batch.sequence for batch in recover(folder).sealed] == [1]
