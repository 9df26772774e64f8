"""`make systemd`: boots a systemd of its own in a container and has it run flowd by the unit that is shipped.

The root is made of Debian's packages, flowd and its Python are those of this checkout, and systemd-nspawn boots it.
There docs/operations.md's own commands install the unit. What it promises is then tried (steps.sh): ready, sandbox,
reload, watchdog, restarts, the end. As root. A minute or two, and nothing is left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from docs_bed import BLOCKS, read_commands  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"
PACKAGES = "systemd,systemd-sysv,dbus,libonig5,libhyperscan5,libexpat1,libffi8,libssl3,zlib1g,libbz2-1.0,liblzma5"
WATCHDOG_S = 10
"""Instead of the unit's, so that nobody has to wait for a minute."""
BOOT_S = 240.0
COMMAND = """\
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONHOME=/opt/python PYTHONPATH=/opt/checkout:/opt/packages
export PYTHONDONTWRITEBYTECODE=1
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
STEPS = Path(__file__).with_name("steps.sh")
"""What is tried, in the container."""
AS_ROOT = 'sudo() { "$@"; }\n'
"""Who types there is root."""


def make_root(root: Path) -> None:
    """A Debian with systemd, of the release of this machine, whose libraries flowd was built with."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = release["VERSION_CODENAME"].strip('"')
    options = ["--variant=minbase", f"--include={PACKAGES}", "--format=directory"]
    subprocess.run(["mmdebstrap", "-q", *options, codename, str(root)], check=True)


def read_installation() -> str:
    """The commands by which docs/operations.md makes the service, as a script."""
    (block,) = (block for block in BLOCKS[PAGE] if "`make systemd`" in block.not_run)
    return AS_ROOT + "".join(command.text + "\n" for command in read_commands(block))


def prepare(root: Path, given: Path) -> None:
    """What is there before: the command, a shorter watchdog, the commands that install the unit, and the steps."""
    places = {
        "etc/systemd/system/flowd.service.d/watchdog.conf": f"[Service]\nWatchdogSec={WATCHDOG_S}\n",
        "etc/systemd/system/steps.service": STARTER,
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
    (given / "install").write_text(read_installation())
    (given / "steps").write_text(STEPS.read_text())
    (given / "steps").chmod(0o755)


def boot(root: Path, given: Path, said: Path) -> str:
    """Boots it, waits until it powers itself off, and returns what the steps said."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    binds = {"/opt/python": sys.base_prefix, "/opt/checkout": ROOT, "/opt/packages": packages, "/opt/in": given}
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
        prepare(root, given)
        text = boot(root, given, out / "said")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(text, end="")
    return 0 if text.rstrip().endswith("all is well") else 1


if __name__ == "__main__":
    sys.exit(main())
