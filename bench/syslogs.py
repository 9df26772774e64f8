"""`flowd filter` beside rsyslog and syslog-ng where they do the same: lines of a file filtered into another file.

Text of 24 columns by its two namespace columns, JSON lines by two of their values, all by whether `dev` is in them: all
three keep the same lines, byte for byte, which is checked. rsyslog (imfile, RainerScript, omfile) and syslog-ng (file
source, csv-parser or json-parser, match filters, file destination) are daemons that follow files and keep running:
their wall time is from their start until the last line is in the output, that on the processor until they end. Both
have large queues and buffers. One core.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from daemon_process import child_environment
from measure import WARM_UP_ROUNDS, Row, one_core, rates, run_in_turns, run_process, speed_ratios, spread
from settings import BENCH, NAMESPACE_FILTER, Corpus, Settings

from flowd.errors import FlowdError

MILLION = 1e6
PART_LINES = 20
"""Of the lines of `process`: these daemons are slower."""
DEADLINE_S = 300.0
GLANCE_S = 0.002
UNPACKED = BENCH / "peers" / "syslog-ng"
"""Debian's rsyslog and syslog-ng exclude each other: `make bench` unpacks the latter here, installed nowhere."""

RSYSLOG = """\
global(workDirectory="{folder}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
template(name="line" type="string" string="%msg%\\n")
input(type="imfile" file="{lines}" tag="flows" ruleset="kept")
ruleset(name="kept" queue.type="FixedArray" queue.size="100000" queue.dequeueBatchSize="1024") {{
{drop}
  action(type="omfile" file="{output}" template="line" ioBufferSize="64k")
}}
"""
RSYSLOG_DROP = {
    "text24": '  if field($msg, 32, 4) contains "dev" or field($msg, 32, 8) contains "dev" then stop',
    "json": '  action(type="mmjsonparse" cookie="")\n'
    '  if $!source_namespace contains "dev" or $!dest_namespace contains "dev" then stop',
}
SYSLOG_NG = """\
@version: 3.38
options {{ stats-freq(0); log-msg-size(65536); use-dns(no); dns-cache(no); keep-hostname(yes); }};
source in {{ file("{lines}" flags(no-parse) log-fetch-limit(10000) log-iw-size(100000) follow-freq(0.1)); }};
parser parsed {{ {parser} }};
filter dev {{ {match} }};
destination out {{ file("{output}" template("${{MSG}}\\n") log-fifo-size(200000) flush-lines(1000)); }};
log {{ source(in); parser(parsed); filter {{ not filter(dev); }}; destination(out); flags(flow-control); }};
"""
COLUMNS = ", ".join(f'"c{number}"' for number in range(1, 9))
SYSLOG_NG_PARSER = {
    "text24": f'csv-parser(columns({COLUMNS}, "rest") delimiters(" ") flags(greedy) quote-pairs(""));',
    "json": 'json-parser(prefix(".flow."));',
}
SYSLOG_NG_NAMES = {"text24": ("c4", "c8"), "json": (".flow.source_namespace", ".flow.dest_namespace")}
DOES = {
    "rsyslog": {
        "text24": "imfile, field() of columns 4 and 8 contains dev, omfile",
        "json": "imfile, mmjsonparse, two values contain dev, omfile",
    },
    "syslog-ng": {
        "text24": "file source, csv-parser, match on columns 4 and 8, file destination",
        "json": "file source, json-parser, match on two values, file destination",
    },
}


class Peer(NamedTuple):
    """A daemon: its command for a folder with `conf`, and its environment."""

    command: Callable[[Path], tuple[str, ...]]
    environment: dict[str, str]


def run(settings: Settings) -> list[Row]:
    """A row for each form and peer that is there."""
    peers = find_peers()
    for name in DOES.keys() - peers.keys():
        settings.say(f"syslogs: {name} is not installed here (`make bench` fetches it)")
    amounts = {"text24": settings.scale.text_lines // PART_LINES, "json": settings.scale.json_lines // PART_LINES}
    return [row for form, lines in amounts.items() for row in _run_form(settings, settings.corpus(form, lines), peers)]


def find_peers() -> dict[str, Peer]:
    """The peers that are there, by name."""
    found = {}
    if rsyslog := shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        found["rsyslog"] = Peer(
            lambda folder: (rsyslog, "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")), {}
        )
    if (program := UNPACKED / "usr/sbin/syslog-ng").exists():
        folders = ("usr/lib/syslog-ng", *(f"{root}/{UNPACKED_LIBRARIES}" for root in ("usr/lib", "lib")))
        modules = next((UNPACKED / "usr/lib/syslog-ng").glob("[0-9]*"))
        found["syslog-ng"] = Peer(
            lambda folder: (
                str(program), "--foreground", "--no-caps", "--module-path", str(modules), "-f", str(folder / "conf"),
                "-R", str(folder / "persist"), "-p", str(folder / "pid"), "-c", str(folder / "ctl"),
            ),
            {"LD_LIBRARY_PATH": ":".join(str(UNPACKED / each) for each in folders)},
        )  # fmt: skip
    return found


UNPACKED_LIBRARIES = f"{os.uname().machine}-linux-gnu"


def write_conf(peer: str, form: str, lines: Path, output: Path, folder: Path) -> None:
    """Writes the peer's configuration as `conf` into the folder."""
    if peer == "rsyslog":
        text = RSYSLOG.format(folder=folder, lines=lines, output=output, drop=RSYSLOG_DROP[form])
    else:
        matches = (f'match("dev" value("{name}") type(string) flags(substring))' for name in SYSLOG_NG_NAMES[form])
        text = SYSLOG_NG.format(
            lines=lines, output=output, parser=SYSLOG_NG_PARSER[form], match=" or ".join(matches) + ";"
        )
    (folder / "conf").write_text(text)


def _run_form(settings: Settings, corpus: Corpus, peers: dict[str, Peer]) -> list[Row]:
    settings.say(f"syslogs: {corpus.lines:,} lines of {corpus.form}")
    cpu: dict[str, list[float]] = {name: [] for name in ("flowd", *peers)}
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as name, one_core():
        folder = Path(name)
        filters, kept = folder / "namespace.conf", folder / "kept.log"
        filters.write_text(NAMESPACE_FILTER)
        command = (sys.executable, "-m", "flowd", "filter", "--quiet", "-f", str(filters), str(corpus.path))

        def filter_all() -> float:
            ended = run_process(command, child_environment(), kept)
            if ended.code:
                raise FlowdError(f"{' '.join(command)} ended with exit code {ended.code}")
            cpu["flowd"].append(ended.cpu_s)
            return ended.wall_s

        filter_all()
        cpu["flowd"].clear()
        size_bytes, wanted = kept.stat().st_size, _digest(kept)

        def contestant(peer: str) -> Callable[[], float]:
            return lambda: _run_peer(peer, peers[peer], corpus, size_bytes, wanted, cpu[peer])

        times = run_in_turns({"flowd": filter_all, **{peer: contestant(peer) for peer in peers}}, settings.scale.rounds)
    costs = {each: f"{spread(taken[WARM_UP_ROUNDS:]).median:.2f} s" for each, taken in cpu.items()}
    what = f"flowd filter, {corpus.lines:,} lines of {corpus.form} into a file"
    figure = rates(corpus.lines / MILLION, times["flowd"])
    if not peers:
        return [Row("syslogs", what, "M lines/s", figure, note="neither rsyslog nor syslog-ng is here")]
    return [
        Row(
            part="syslogs",
            what=what,
            unit="M lines/s",
            figure=figure,
            peer=f"{peer}: {DOES[peer][corpus.form]}",
            peer_figure=rates(corpus.lines / MILLION, times[peer]),
            ratio=speed_ratios(times["flowd"], times[peer]),
            note=f"on the processor: flowd {costs['flowd']}, {peer} {costs[peer]}; both wrote the same lines, byte for "
            f"byte (sha256 {wanted[:16]}…)",
        )
        for peer in peers
    ]


def _run_peer(name: str, peer: Peer, corpus: Corpus, size_bytes: int, wanted: str, cpu: list[float]) -> float:
    """Runs a daemon until all kept lines are in its output; returns wall seconds, notes those on the processor."""
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as directory:
        folder, output = Path(directory), Path(directory) / "out.log"
        write_conf(name, corpus.form, corpus.path, output, folder)
        with (folder / "said").open("w+b") as said:
            began_s = time.perf_counter()
            process = subprocess.Popen(
                peer.command(folder),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env={**os.environ, **peer.environment},
            )
            try:
                while not output.exists() or output.stat().st_size < size_bytes:
                    if process.poll() is not None or time.perf_counter() - began_s > DEADLINE_S:
                        said.seek(0)
                        raise FlowdError(
                            f"{name} did not write what flowd keeps of {corpus.path.name}",
                            hint=said.read().decode("utf-8", "replace")[-600:].strip(),
                        )
                    time.sleep(GLANCE_S)
                took_s = time.perf_counter() - began_s
                process.send_signal(signal.SIGTERM)
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                if process.returncode is None:
                    process.kill()
                    process.wait()
        found = _digest(output)
    if found != wanted:
        raise FlowdError(f"flowd and {name} keep different lines: {wanted} and {found}")
    cpu.append(usage.ru_utime + usage.ru_stime)
    return took_s


def _digest(path: Path) -> str:
    with path.open("rb") as lines:
        return hashlib.file_digest(lines, "sha256").hexdigest()
