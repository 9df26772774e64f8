"""What is shipped for service managers is what they understand."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, ROOT, flowd
from docs_bed import read_blocks, read_commands

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


def documented_drop_in() -> str:
    """What docs/operations.md adds to the unit for a sink's secret."""
    (block,) = [block for block in read_blocks(ROOT / "docs" / "operations.md") if block.language == "ini"]
    return "\n" + "\n".join(block.lines) + "\n"


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")
@pytest.mark.parametrize("more", ["", documented_drop_in()], ids=["plain", "credential"])
def test_systemd_understands_the_unit(more: str, tmp_path: Path) -> None:
    command = tmp_path / "flowd"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    text = UNIT.read_text()
    assert "ExecStart=/usr/local/bin/flowd " in text
    unit = tmp_path / "flowd.service"
    unit.write_text(text.replace("/usr/local/bin/flowd ", f"{command} ") + more)
    done = subprocess.run(
        [str(SYSTEMD_ANALYZE), "verify", "--man=no", unit], capture_output=True, timeout=DEADLINE_S, check=False
    )
    said = [line for line in done.stderr.decode().splitlines() if "flowd.service" in line]
    assert (done.returncode, said) == (0, [])


def test_the_documented_installation_puts_what_there_is_where_the_unit_looks() -> None:
    """`make systemd` types it in a machine of its own, which takes root and minutes."""
    (block,) = [block for block in read_blocks(ROOT / "docs" / "operations.md") if "`make systemd`" in block.not_run]
    words = [word for command in read_commands(block) for word in command.text.split()]
    sources = [word for word in words if word.startswith(("deploy/", "examples/"))]
    assert [source for source in sources if not (ROOT / source).is_file()] == []
    shipped = {"deploy/flowd.toml", "deploy/systemd/flowd.service", "deploy/systemd/flowd.sysusers.conf"}
    assert shipped <= set(sources)
    assert "/etc/flowd/flowd.toml" in words
    assert "-c /etc/flowd/flowd.toml" in settings()["ExecStart"]
    assert 'path = "/etc/flowd/filters"' in (ROOT / "deploy" / "flowd.toml").read_text()
    assert "/etc/flowd/filters" in words


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


@pytest.mark.parametrize("is_all", [False, True], ids=["as shipped", "with all that it suggests"])
def test_the_configuration_is_valid(is_all: bool, tmp_path: Path) -> None:
    etc = tmp_path / "etc" / "flowd"
    shutil.copytree(ROOT / "examples" / "filters", etc / "filters")
    text = (ROOT / "deploy" / "flowd.toml").read_text()
    if is_all:
        text = re.sub(r"^# (?=\[|\w+ = )", "", text, flags=re.MULTILINE)
        prepare_all(tmp_path)
    (etc / "flowd.toml").write_text(re.sub(r'"/(etc|run|var)/', rf'"{tmp_path}/\1/', text))
    done = flowd("run", "-c", etc / "flowd.toml", "--check")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"the configuration is valid: ")


def prepare_all(root: Path) -> None:
    """The files that the suggestions of deploy/flowd.toml name."""
    etc = root / "etc" / "flowd"
    (etc / "views").mkdir()
    (etc / "views" / "prod.conf").write_text("")
    credentials = root / "run" / "credentials" / "flowd.service"
    credentials.mkdir(parents=True)
    (credentials / "nats.creds").write_text("")
    keys = ("--keys-dir", etc / "keys")
    assert flowd("keys", "new", "server", "--server", *keys).returncode == 0
    assert (
        flowd("keys", "new", "siem", "--role", "consume", *keys, "--allowed-keys-dir", etc / "allowed").returncode == 0
    )
