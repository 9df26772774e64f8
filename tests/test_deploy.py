"""What is shipped for service managers is what they understand."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, ROOT

from flowd.errors import EXIT_CONFIG
from flowd.relay.config import Runtime
from flowd.relay.directories import RUNTIME_MODE, STATE_MODE

UNIT = ROOT / "deploy" / "systemd" / "flowd.service"
EXPOSURE_MOST = 20
"""Tenths of what systemd calls exposure, from 0 to 100: as low as the network and what the daemon does allow."""
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
SYSUSERS = shutil.which("systemd-sysusers")


def settings() -> dict[str, str]:
    """The [Service] section; where a key is repeated, its last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return dict(parser["Service"])


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    command = tmp_path / "flowd"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    text = UNIT.read_text()
    assert "ExecStart=/usr/local/bin/flowd " in text
    unit = tmp_path / "flowd.service"
    unit.write_text(text.replace("/usr/local/bin/flowd ", f"{command} "))
    done = subprocess.run(
        [str(SYSTEMD_ANALYZE), "verify", "--man=no", unit], capture_output=True, timeout=DEADLINE_S, check=False
    )
    said = [line for line in done.stderr.decode().splitlines() if "flowd.service" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")
def test_systemd_rates_the_sandbox_as_tight() -> None:
    done = subprocess.run(
        [str(SYSTEMD_ANALYZE), "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MOST}", UNIT],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(SYSUSERS is None, reason="systemd-sysusers is not installed (Debian: systemd)")
def test_systemd_understands_the_user(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    users = UNIT.with_name("flowd.sysusers.conf")
    done = subprocess.run(
        [str(SYSUSERS), f"--root={tmp_path}", users], capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "\nflowd:" in "\n" + (tmp_path / "etc" / "passwd").read_text()


def test_the_unit_agrees_with_the_daemon() -> None:
    service = settings()
    assert int(service["TimeoutStopSec"]) > Runtime("", "").drain_s
    assert int(service["RuntimeDirectoryMode"], 8) == RUNTIME_MODE
    assert int(service["StateDirectoryMode"], 8) == STATE_MODE
    assert service["RestartPreventExitStatus"] == str(EXIT_CONFIG)
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["MemoryMax"] == "1G"
