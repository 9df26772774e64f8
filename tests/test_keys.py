"""Keys in files: what is written and read, what is refused, what a grant allows, and `flowd keys`."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from cli_bed import flowd

from flowd.errors import ConfigError, FlowdError
from flowd.relay.config import load_config
from flowd.relay.tcp.allowed import AllowedKeys, read_grant
from flowd.wire.keys import Certificate, load_client_keys, make_key_pair, read_public, read_secret, write_certificate

BAD_GRANTS = {
    'curve\n    public-key = "short"\n': "holds no CURVE key",
    'metadata\n    roles = "produce"\n': "holds no CURVE key",
    'curve\n    public-key = "{key}"\n': "has no roles",
    'metadata\n    roles = "root"\n    streams = "*"\ncurve\n    public-key = "{key}"\n': "unknown role 'root'",
    'metadata\n    roles = "produce"\ncurve\n    public-key = "{key}"\n': "does not say which streams",
    'metadata\n    roles = "produce"\n    streams = "* a"\ncurve\n    public-key = "{key}"\n': "which streams",
    'metadata\n    roles = "produce"\n    streams = "a/b"\ncurve\n    public-key = "{key}"\n': "no legal name",
    "garbage!\n": ":1: not a line of a certificate",
    'curve\n    public-key = "{key}"\n    public-key = "{key}"\n': ":3: not a line of a certificate",
}


def write_grant(path: Path, key: str, roles: str = "produce", streams: str = "*") -> None:
    write_certificate(path, Certificate(key, "", {"roles": roles, "streams": streams}))


def test_a_certificate_is_read_as_it_was_written(tmp_path: Path) -> None:
    public, secret = make_key_pair()
    certificate = Certificate(public, secret, {"name": "x", "roles": "produce"})
    write_certificate(tmp_path / "a", certificate)
    assert read_secret(tmp_path / "a") == read_public(tmp_path / "a") == certificate
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_certificate(tmp_path / "a", certificate)


def test_certificates_of_pyzmq_are_read(tmp_path: Path) -> None:
    from zmq.auth import create_certificates, load_certificate

    public_file, secret_file = create_certificates(tmp_path, "theirs")
    Path(secret_file).chmod(0o600)
    public, secret = load_certificate(secret_file)
    assert secret is not None
    assert read_secret(secret_file)[:2] == (public.decode(), secret.decode())
    assert read_public(public_file).public == public.decode()
    write_certificate(tmp_path / "ours.key_secret", read_secret(secret_file))
    assert load_certificate(tmp_path / "ours.key_secret") == (public, secret)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key_secret"
    write_certificate(path, Certificate(*make_key_pair(), {}))
    path.chmod(mode)
    with pytest.raises(FlowdError, match=f"mode {mode:04o} lets others at a secret key") as caught:
        read_secret(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_what_is_no_secret_key_is_refused(tmp_path: Path) -> None:
    write_certificate(tmp_path / "public", Certificate(make_key_pair()[0], "", {}))
    (tmp_path / "public").chmod(0o600)
    with pytest.raises(FlowdError, match="holds no secret-key"):
        read_secret(tmp_path / "public")
    with pytest.raises(FlowdError, match="not a certificate"):
        read_secret("/dev/null")
    with pytest.raises(FlowdError, match=f"{tmp_path}: not a certificate"):
        read_secret(tmp_path)
    with pytest.raises(FlowdError, match="No such file"):
        read_secret(tmp_path / "absent")


def test_endpoint_and_keys_go_together(tmp_path: Path) -> None:
    server, _ = make_key_pair()
    own = Certificate(*make_key_pair(), {})
    write_certificate(tmp_path / "own", own)
    write_certificate(tmp_path / "server.key", Certificate(server, "", {}))
    tcp, ipc = "tcp://127.0.0.1:1", "ipc:///x"
    assert load_client_keys(ipc, None, None) is None
    assert load_client_keys(tcp, server, tmp_path / "own") == (server, own.public, own.secret)
    assert load_client_keys(tcp, str(tmp_path / "server.key"), tmp_path / "own") == (server, own.public, own.secret)
    for key, file in ((None, None), (server, None), (None, tmp_path / "own")):
        with pytest.raises(FlowdError, match="TCP needs CURVE keys"):
            load_client_keys(tcp, key, file)
    with pytest.raises(FlowdError, match="keys are for tcp"):
        load_client_keys(ipc, server, tmp_path / "own")


@pytest.mark.parametrize("text", BAD_GRANTS, ids=range(len(BAD_GRANTS)))
def test_what_does_not_say_what_is_allowed_allows_nothing(tmp_path: Path, text: str) -> None:
    key, _ = make_key_pair()
    path = tmp_path / "bad.key"
    path.write_text(text.replace("{key}", key))
    with pytest.raises(FlowdError, match=BAD_GRANTS[text]):
        read_grant(path)
    assert AllowedKeys(tmp_path).find(key) is None


def test_the_folder_is_the_truth_at_every_moment(tmp_path: Path) -> None:
    (one, _), (two, _) = make_key_pair(), make_key_pair()
    allowed = AllowedKeys(tmp_path)
    assert allowed.find(one) is None
    write_grant(tmp_path / "one.key", one, "produce", "flows dns")
    grant = allowed.find(one)
    assert grant is not None
    assert (grant.name, grant.roles, grant.streams) == ("one", {"produce"}, {"flows", "dns"})
    assert (grant.has_stream("dns"), grant.has_stream("audit")) == (True, False)
    assert allowed.find(two) is None
    (tmp_path / "one.key").unlink()
    write_grant(tmp_path / "one.key", two, "consume")
    assert allowed.find(one) is None
    found = allowed.find(two)
    assert found is not None
    assert (found.roles, found.has_stream("anything")) == ({"consume"}, True)
    (tmp_path / "one.key").unlink()
    assert allowed.find(two) is None
    tmp_path.rename(tmp_path.with_name("gone"))
    assert allowed.find(two) is None


def test_asking_for_a_key_that_is_not_there_is_cheap(tmp_path: Path) -> None:
    unknown, _ = make_key_pair()
    for number in range(200):
        write_grant(tmp_path / f"{number}.key", make_key_pair()[0])
    os.utime(tmp_path, (1, 1))
    allowed = AllowedKeys(tmp_path)
    began_s = time.monotonic()
    for _ in range(2_000):
        assert allowed.find(unknown) is None
    assert time.monotonic() - began_s < 1, "2,000 readings of 200 files take longer"
    write_grant(tmp_path / "new.key", unknown)
    assert allowed.find(unknown) is not None


def configure(folder: Path, curve: str, endpoint: str = "tcp://127.0.0.1:5755") -> Path:
    path = folder / "flowd.toml"
    path.write_text(f'[live]\nbind = ["{endpoint}"]\n[curve]\n{curve}')
    return path


def problems_of(path: Path) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, None, {})
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_tcp_is_accepted_with_a_server_key_and_a_folder_only(tmp_path: Path) -> None:
    secret, allowed = tmp_path / "s.key_secret", tmp_path / "allowed"
    write_certificate(secret, Certificate(*make_key_pair(), {}))
    allowed.mkdir()
    both = f'server_secret_file = "{secret}"\nallowed_keys_dir = "{allowed}"\n'
    assert load_config(configure(tmp_path, both), None, {}).has_tcp
    half, other = both.splitlines(keepends=True)
    needs = (2, "tcp://127.0.0.1:5755: TCP needs CURVE keys")
    assert problems_of(configure(tmp_path, "")) == [needs]
    assert problems_of(configure(tmp_path, half)) == [needs, (3, "curve.allowed_keys_dir is missing")]
    assert problems_of(configure(tmp_path, other)) == [needs, (3, "curve.server_secret_file is missing")]
    assert problems_of(configure(tmp_path, both, "tcp://nowhere")) == [(2, "tcp://nowhere: not an endpoint")]
    secret.chmod(0o644)
    allowed.chmod(0o777)
    assert problems_of(configure(tmp_path, both)) == [
        (4, f"{secret}: mode 0644 lets others at a secret key"),
        (5, f"{allowed}: others than its owner may write there"),
    ]
    allowed.rmdir()
    secret.unlink()
    assert problems_of(configure(tmp_path, both)) == [
        (4, f"{secret}: No such file or directory"),
        (5, f"{allowed}: No such file or directory"),
    ]


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    made = flowd("keys", "new", "server", "--server", "--keys-dir", "keys", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, b"keys/server.key_secret\nkeys/server.key\n")
    folder = ("--allowed-keys-dir", "allowed")
    new = ("keys", "new", "siem", "--role", "consume", "--stream", "flows", "--stream", "dns", "--keys-dir", "keys")
    assert flowd(*new, *folder, cwd=tmp_path).returncode == 0
    again = flowd(*new, *folder, cwd=tmp_path)
    assert (again.returncode, b"exists already" in again.stderr) == (78, True)
    key = read_secret(tmp_path / "keys" / "siem.key_secret").public
    (listed,) = map(json.loads, flowd("keys", "list", *folder, "-o", "json", cwd=tmp_path).stdout.splitlines())
    assert listed == {"name": "siem", "roles": ["consume"], "streams": ["dns", "flows"], "key": key}
    write_grant(tmp_path / "allowed" / "copy.key", key)
    revoked = flowd("keys", "revoke", "siem", *folder, cwd=tmp_path)
    assert (revoked.returncode, revoked.stdout) == (0, b"allowed/copy.key\nallowed/siem.key\n")
    assert flowd("keys", "list", *folder, cwd=tmp_path).stdout == b"NAME  ROLES  STREAMS  KEY\n"
    assert flowd("keys", "revoke", "siem", *folder, cwd=tmp_path).returncode == 78
    (tmp_path / "allowed" / "bad.key").write_text("?\n")
    bad = flowd("keys", "list", *folder, cwd=tmp_path)
    assert (bad.returncode, b"bad.key:1: not a line of a certificate" in bad.stderr) == (78, True)


@pytest.mark.parametrize(
    "arguments",
    [["x"], ["x", "--server", "--role", "consume"], ["x", "--server", "--stream", "a"], ["a/b", "--server"]],
)
def test_keys_that_make_no_sense_are_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    assert flowd("keys", "new", *arguments, cwd=tmp_path).returncode == 2
    assert not list(tmp_path.iterdir())
