"""rsyslog, as it ships with its ZeroMQ output, sends what it reads to flowd's raw lane."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli_bed import DEADLINE_S, DEV_FILTER, ROOT, json_line, started, text_line, wait_until
from test_daemon_cli import read_line, status_of

RSYSLOGD = shutil.which("rsyslogd", path="/usr/sbin:/sbin:/usr/local/sbin")
EXAMPLE = ROOT / "deploy" / "rsyslog" / "flowd.conf"


def has_zeromq_output(folder: Path) -> bool:
    """Whether this rsyslogd finds its module: it validates a configuration that loads it."""
    path = folder / "probe.conf"
    path.write_text('module(load="omczmq")\naction(type="omfile" file="/dev/null")\n')
    done = subprocess.run([str(RSYSLOGD), "-N1", "-f", path], capture_output=True, timeout=DEADLINE_S, check=False)
    return b"could not load module" not in done.stderr


@pytest.fixture(autouse=True)
def _require_rsyslog(tmp_path: Path) -> None:
    if RSYSLOGD is None:
        pytest.skip("rsyslogd is not installed (Debian: rsyslog)")
    if not has_zeromq_output(tmp_path):
        pytest.skip("rsyslogd has no ZeroMQ output (Debian: rsyslog-czmq)")


@contextmanager
def relaying(folder: Path) -> Iterator[None]:
    """`flowd run` with a raw lane at raw.sock."""
    (folder / "flow.conf").write_text(DEV_FILTER)
    (folder / "flowd.toml").write_text(
        f'[runtime]\ndir = "{folder}/run"\nstate_dir = "{folder}/state"\n[filters]\npath = "{folder}/flow.conf"\n'
        f'[sources.raw]\nbind = ["ipc://{folder}/raw.sock"]\n'
    )
    with started("run", "-c", folder / "flowd.toml") as child:
        assert b"ready in" in read_line(child)
        yield
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0


@contextmanager
def rsyslog(folder: Path) -> Iterator[None]:
    """rsyslogd as an ordinary process with the example's configuration, its file and socket in this folder."""
    (folder / "work").mkdir()
    text = EXAMPLE.read_text()
    for there, here in (
        ("/run/flowd/raw.sock", folder / "raw.sock"),
        ("/var/log/calico/flowlogs/flows.log", folder / "flows.log"),
    ):
        assert there in text
        text = text.replace(there, str(here))
    (folder / "rsyslog.conf").write_text(f'global(workDirectory="{folder}/work")\n{text}')
    command = [str(RSYSLOGD), "-n", "-f", str(folder / "rsyslog.conf"), "-i", str(folder / "rsyslog.pid")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            yield
            assert child.poll() is None, child.stderr.read() if child.stderr else ""
        finally:
            child.terminate()
            try:
                child.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                child.kill()


def test_lines_of_a_file_pass_the_filter(tmp_path: Path) -> None:
    lines = [form("dev" if n % 4 == 0 else "shop", n) for n in range(5_000) for form in (text_line, json_line)]
    kept = b"".join(line for n, line in enumerate(lines) if n // 2 % 4)
    first, later = b"".join(lines[:6_000]), b"".join(lines[6_000:])
    path = tmp_path / "flows.log"
    path.write_bytes(first)
    runtime = tmp_path / "run"
    with relaying(tmp_path), started("observe", "--runtime-dir", runtime, "-n", str(kept.count(b"\n"))) as observer:
        assert read_line(observer).startswith(b"flowd: following flows")
        with rsyslog(tmp_path):
            assert observer.stdout is not None
            seen = observer.stdout.read(1)
            with path.open("ab") as file:
                file.write(later)
            seen += observer.stdout.read()
            assert observer.wait(DEADLINE_S) == 0
        assert seen == kept
        assert status_of(runtime)["counters"] == {"flowd_raw_frames_total": 10_000}


def test_lines_wait_in_rsyslog_while_no_daemon_is_there(tmp_path: Path) -> None:
    lines = b"".join(text_line("shop", n) for n in range(100))
    path = tmp_path / "flows.log"
    path.write_bytes(b"")
    runtime = tmp_path / "run"
    with rsyslog(tmp_path):
        path.write_bytes(lines)
        wait_until(lambda: list((tmp_path / "work").glob("imfile-state:*")), "rsyslog has read the file")
        with relaying(tmp_path):
            wait_until(lambda: status_of(runtime)["streams"]["flows"]["lines"] == 100, "all lines came")
