"""How a start ends that cannot have its addresses or folders: by the real command, for real reasons."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, FLOWD, environment
from curve_bed import Keys

from flowd.errors import EXIT_CONFIG, EXIT_IO
from flowd.relay.taken import NotToBeHad, hint_of_address, hint_of_path
from flowd.wire.sockets import IPC_PATH_MAX_BYTES

AS_USERS_ARE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
"""Root may write everywhere, but for this."""


def start(folder: Path, config: str = "", **places: Path) -> subprocess.CompletedProcess[str]:
    """A daemon that cannot start, as far as it comes."""
    (folder / "flow").write_text(DEV_FILTER)
    (folder / "flowd.toml").write_text(config)
    folders = {"runtime-dir": folder / "run", "state-dir": folder / "state"} | {
        name.replace("_", "-"): place for name, place in places.items()
    }
    options = [word for name, place in folders.items() for word in (f"--{name}", str(place))]
    command = [*AS_USERS_ARE, *FLOWD, "run", "-c", str(folder / "flowd.toml"), "-f", str(folder / "flow"), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=environment(), check=False)


def hint_in(said: str) -> str:
    """The last line, which is the hint of the only error."""
    return said.splitlines()[-1].removeprefix("hint: ")


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def over_tcp(section: str) -> Callable[[Path, str], str]:
    """The configuration of a lane over TCP at an address."""

    def write(folder: Path, address: str) -> str:
        keys = Keys(folder)
        curve = f'[curve]\nserver_secret_file = "{keys.server_file}"\nallowed_keys_dir = "{keys.allowed}"\n'
        return f'[{section}]\nbind = ["tcp://{address}"]\n{curve}'

    return write


LISTENERS: dict[str, Callable[[Path, str], str]] = {
    "http": lambda _, address: f'[http]\nlisten = "{address}"\n',
    "forward": lambda _, address: f'[sources.forward]\nlisten = ["{address}"]\nallow_insecure = true\n',
    "ingest": over_tcp("sources.ingest"),
    "live": over_tcp("live"),
    "consume": over_tcp("consume"),
}


@pytest.mark.parametrize("name", LISTENERS)
def test_an_address_in_use_may_become_free(tmp_path: Path, name: str) -> None:
    with taken_port() as port:
        done = start(tmp_path, LISTENERS[name](tmp_path, f"127.0.0.1:{port}"))
    assert (done.returncode, hint_in(done.stderr)) == (EXIT_IO, hint_of_address(errno.EADDRINUSE)), done.stderr
    assert f"127.0.0.1:{port}" in done.stderr
    assert not list((tmp_path / "run").glob("*.sock"))


@pytest.mark.parametrize("name", LISTENERS)
def test_an_address_of_another_machine_may_be_this_ones_later(tmp_path: Path, name: str) -> None:
    done = start(tmp_path, LISTENERS[name](tmp_path, "192.0.2.1:24224"))
    assert (done.returncode, hint_in(done.stderr)) == (EXIT_IO, hint_of_address(errno.EADDRNOTAVAIL)), done.stderr


def test_a_socket_in_a_folder_that_is_missing_is_configuration(tmp_path: Path) -> None:
    for config in ('[live]\nbind = ["ipc://{}"]\n', '[sources.forward]\nlisten = ["unix://{}"]\n'):
        done = start(tmp_path, config.format(tmp_path / "missing" / "one.sock"))
        assert (done.returncode, hint_in(done.stderr)) == (EXIT_CONFIG, hint_of_path(errno.ENOENT)), done.stderr
        assert str(tmp_path / "missing" / "one.sock") in done.stderr


def test_a_socket_in_a_folder_that_may_not_be_written_is_configuration(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    for config in ('[live]\nbind = ["ipc://{}"]\n', '[sources.forward]\nlisten = ["unix://{}"]\n'):
        done = start(tmp_path, config.format(closed / "one.sock"))
        assert (done.returncode, hint_in(done.stderr)) == (EXIT_CONFIG, hint_of_path(errno.EACCES)), done.stderr
        assert "Permission denied" in done.stderr


def test_a_path_that_is_too_long_is_configuration(tmp_path: Path) -> None:
    done = start(tmp_path, runtime_dir=tmp_path / ("x" * IPC_PATH_MAX_BYTES))
    assert (done.returncode, hint_in(done.stderr)) == (EXIT_CONFIG, "choose a shorter runtime directory")
    assert f"the system's limit is {IPC_PATH_MAX_BYTES}" in done.stderr


@pytest.mark.parametrize("name", ["runtime_dir", "state_dir"])
def test_a_folder_that_cannot_be_made_or_written_is_configuration(tmp_path: Path, name: str) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = start(tmp_path, **{name: closed / "flowd"})
    assert done.returncode == EXIT_CONFIG
    assert f"{closed / 'flowd'}: cannot be made: Permission denied" in done.stderr
    done = start(tmp_path, **{name: closed})
    assert done.returncode == EXIT_CONFIG
    assert f"{closed / 'flowd.lock'}: Permission denied" in done.stderr
    done = start(tmp_path, **{name: tmp_path / "flow"})
    assert done.returncode == EXIT_CONFIG
    assert f"{tmp_path / 'flow' / 'flowd.lock'}: Not a directory" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, EXIT_IO), (errno.EROFS, EXIT_CONFIG), (errno.EACCES, EXIT_CONFIG), (None, EXIT_CONFIG)],
)
def test_only_what_may_pass_is_worth_another_start(number: int | None, code: int) -> None:
    assert NotToBeHad("somewhere", number, hint="").exit_code == code
