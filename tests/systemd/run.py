"""`make systemd`: boots a systemd of its own in a container and has it run flowd by the unit that is shipped.

The root is made of Debian's packages, flowd and its Python are those of this checkout, and systemd-nspawn boots it. What
the unit promises is then tried: ready, sandbox, reload, watchdog, restarts, the end. As root. A minute or two, and
nothing is left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
PACKAGES = "systemd,systemd-sysv,dbus,libonig5,libvectorscan5,libexpat1,libffi8,libssl3,zlib1g,libbz2-1.0,liblzma5"
WATCHDOG_S = 10
"""Instead of the unit's, so that nobody has to wait for a minute."""
BOOT_S = 240.0
COMMAND = """\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1 PYTHONHOME=/opt/python PYTHONPATH=/opt/checkout:/opt/packages
exec /opt/python/bin/{python} -m flowd "$@"
"""
STARTER = """\
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/opt/in/steps
ExecStopPost=/usr/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""
STEPS = r"""#!/bin/bash
exec > /opt/out/said 2>&1
log=/var/log/calico/flowlogs/flows.log
flows() { flowd status --runtime-dir /run/flowd -o json | grep -oE '"lines": [0-9]+' | head -n 1; }
fails() { echo "failed: $1"; systemctl status flowd --no-pager -l; journalctl -u flowd --no-pager | tail -n 40; exit 1; }
until_true() { for _ in $(seq 600); do eval "$2" && return; sleep 0.1; done; fails "$1"; }
show() { systemctl show flowd -P "$1"; }
well() { echo "well: $1"; }

# /etc/flowd as systemd makes it where it is missing: the user must be able to read what is put there.
mv /etc/flowd /etc/flowd.given
systemctl start flowd 2> /dev/null && fails "a start without a configuration"
[ "$(stat -c '%U %a' /etc/flowd)" = "flowd 750" ] || fails "/etc/flowd: $(stat -c "%U %a" /etc/flowd)"
cp -r /etc/flowd.given/. /etc/flowd
systemctl stop flowd
systemctl start flowd || fails "the start"
[ "$(show ActiveState) $(show SubState)" = "active running" ] || fails "ready"
flowd status --runtime-dir /run/flowd --check ready || fails "it answers as soon as it is ready"
well "ready is said when it answers: $(show StatusText)"

[ "$(stat -c '%U:%G %a' /run/flowd)" = "flowd:flowd 2750" ] || fails "the runtime directory"
[ "$(stat -c '%U:%G %a' /run/flowd/live.sock /run/flowd/admin.sock | xargs)" = "flowd:flowd 660 flowd:flowd 600" ] || fails "the sockets"
[ "$(stat -c '%U:%G %a' /var/lib/flowd)" = "flowd:flowd 750" ] || fails "the state directory"
pid=$(show MainPID)
[ "$(awk '/^(CapEff|CapBnd|CapPrm):/ {print $2}' /proc/$pid/status | sort -u)" = 0000000000000000 ] || fails "capabilities"
[ "$(awk '/^(NoNewPrivs|Seccomp):/ {print $2}' /proc/$pid/status | xargs)" = "1 2" ] || fails "the sandbox"
well "user, modes, no capabilities, system calls filtered, memory at most $(show MemoryMax) bytes"

echo '{"source_namespace":"shop"}' >> $log
until_true "a followed line" '[ "$(flows)" = "\"lines\": 1" ]'
well "a file is followed"

sed -i 's/pattern dev/pattern shop/' /etc/flowd/filters/flow
systemctl reload flowd || fails "the reload"
flowd status --runtime-dir /run/flowd -o json | grep -q '"generation": 2' || fails "the reload was not over"
well "reload waits until the new filters decide"
cp /etc/flowd/filters/flow /etc/flowd/good
echo '<filter' > /etc/flowd/filters/flow
systemctl reload flowd 2> /dev/null && fails "a reload of broken filters succeeds"
[ "$(show ActiveState)" = active ] || fails "broken filters ended the daemon"
cp /etc/flowd/good /etc/flowd/filters/flow
well "reload fails on broken filters, and the daemon goes on"

kill -STOP "$pid"
until_true "the watchdog" '[ "$(show NRestarts)" = 1 ] && [ "$(show ActiveState)" = active ]'
[ "$(show MainPID)" != "$pid" ] || fails "another process"
until_true "the line is still there" 'flowd observe --runtime-dir /run/flowd --last 1 -q | grep -q shop'
well "a daemon that stands still is replaced by the watchdog, and the journal is whole"

kill -KILL "$(show MainPID)"
until_true "the restart" '[ "$(show NRestarts)" = 2 ] && [ "$(show ActiveState)" = active ]'
well "a killed daemon is started again"

echo '<filter' > /etc/flowd/filters/flow
systemctl restart flowd 2> /dev/null && fails "broken filters start"
[ "$(show ExecMainStatus) $(show ActiveState)" = "78 failed" ] || fails "broken filters: $(show ExecMainStatus)"
well "broken filters end the start with 78, and it is not tried again"

cp /etc/flowd/good /etc/flowd/filters/flow
systemctl reset-failed flowd
systemctl start flowd || fails "the second start"
systemctl stop flowd || fails "the end"
[ "$(show Result) $(show ExecMainStatus)" = "success 0" ] || fails "the end: $(show Result)"
[ -d /var/lib/flowd/journal ] && [ ! -e /run/flowd ] || fails "what is left"
well "stop drains and ends with 0; the state stays, the sockets go"
echo all is well
"""


def make_root(root: Path) -> None:
    """A Debian with systemd, of the release of this machine, whose libraries flowd was built with."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = release["VERSION_CODENAME"].strip('"')
    options = ["--variant=minbase", f"--include={PACKAGES}", "--format=directory"]
    subprocess.run(["mmdebstrap", "-q", *options, codename, str(root)], check=True)


def install(root: Path, given: Path) -> None:
    """What docs/operations.md has one copy, in its places, and the steps."""
    unit = (DEPLOY / "systemd" / "flowd.service").read_text().replace("WatchdogSec=60", f"WatchdogSec={WATCHDOG_S}")
    places = {
        "etc/systemd/system/flowd.service": unit,
        "etc/systemd/system/steps.service": STARTER,
        "etc/sysusers.d/flowd.conf": (DEPLOY / "systemd" / "flowd.sysusers.conf").read_text(),
        "etc/flowd/flowd.toml": (DEPLOY / "flowd.toml").read_text(),
        "etc/flowd/filters/flow": (ROOT / "examples" / "filters" / "flow").read_text(),
        "usr/local/bin/flowd": COMMAND.format(python=f"python3.{sys.version_info.minor}"),
        "etc/hostname": "flowd-try\n",
    }
    for place, text in places.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    (root / "usr/local/bin/flowd").chmod(0o755)
    (root / "var/log/calico/flowlogs").mkdir(parents=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (wanted / "steps.service").symlink_to("/etc/systemd/system/steps.service")
    (given / "steps").write_text(STEPS)
    (given / "steps").chmod(0o755)


def boot(root: Path, given: Path, said: Path) -> str:
    """Boots it, waits until it powers itself off, and returns what the steps said."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    binds = {"/opt/python": sys.base_prefix, "/opt/checkout": str(ROOT), "/opt/packages": packages, "/opt/in": str(given)}
    command = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", "-b", "--console=pipe"]
    command += [f"--bind-ro={outside}:{inside}" for inside, outside in binds.items()]
    command += [f"--bind={said.parent}:/opt/out"]
    began_s = time.monotonic()
    with (said.parent / "console").open("wb") as console:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        try:
            child.wait(BOOT_S)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    print(f"booted and ended in {time.monotonic() - began_s:.0f} s")
    return said.read_text() if said.exists() else (said.parent / "console").read_text(errors="replace")


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="flowd-systemd-"))
    try:
        root, given, out = folder / "root", folder / "in", folder / "out"
        given.mkdir()
        out.mkdir()
        make_root(root)
        install(root, given)
        text = boot(root, given, out / "said")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text, end="")
    return 0 if text.rstrip().endswith("all is well") else 1


if __name__ == "__main__":
    sys.exit(main())
