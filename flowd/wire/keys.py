"""CURVE keys in files: certificates as CZMQ and pyzmq write them, and what flowd asks of them.

`NAME.key` is public and may say what its holder is allowed to do; `NAME.key_secret` holds the secret key as well, and
is read only where its mode keeps it from everybody but its owner. Nothing here opens a socket.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from flowd.errors import FlowdError

PUBLIC_SUFFIX = ".key"
SECRET_SUFFIX = ".key_secret"
SECRET_MODE = 0o600
PUBLIC_MODE = 0o644
FILE_MAX_BYTES = 64 << 10
"""A certificate has some hundred bytes; what is larger is something else."""

_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}", re.ASCII)
_SECTION = re.compile(r"(?P<name>[a-z-]+)\s*(#.*)?")
_VALUE = re.compile(r"""\s+(?P<name>[a-z-]+)\s*=\s*(["'])(?P<value>[^"'\\]*)\2\s*(#.*)?""")


class Certificate(NamedTuple):
    """A key pair, or its public half (`secret` is ""), in Z85; and the metadata that stands with it."""

    public: str
    secret: str
    metadata: Mapping[str, str]


class ClientKeys(NamedTuple):
    """What a client needs to speak CURVE: the server's public key, and a key pair of its own."""

    server: str
    public: str
    secret: str


def is_key(text: str) -> bool:
    """Whether this is a CURVE key in Z85: 40 characters."""
    return _KEY.fullmatch(text) is not None


def make_key_pair() -> tuple[str, str]:
    """A new public and secret key."""
    import zmq

    require_curve()
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def require_curve() -> None:
    """Raises FlowdError where libzmq was built without CURVE."""
    import zmq

    if not zmq.has("curve"):
        raise FlowdError("this libzmq was built without CURVE", hint="install pyzmq from its wheels, or with libsodium")


def read_public(path: str | os.PathLike[str]) -> Certificate:
    """The certificate in a file, of which only the public key is needed. Raises FlowdError."""
    return _read(Path(path))


def read_secret(path: str | os.PathLike[str]) -> Certificate:
    """The certificate with its secret key; refused where others than the owner may open the file. Raises FlowdError."""
    certificate = _read(Path(path), is_secret=True)
    if not certificate.secret:
        raise FlowdError(f"{path}: holds no secret-key", hint=f"name the {SECRET_SUFFIX} file")
    return certificate


def load_client_keys(
    endpoint: str, server_key: str | None, secret_file: str | os.PathLike[str] | None
) -> ClientKeys | None:
    """A client's keys for this endpoint, None where it takes none. `server_key` is the key in Z85, or the name of the
    server's public certificate. Raises FlowdError where endpoint and keys do not go together."""
    if not endpoint.startswith("tcp://"):
        if server_key is not None or secret_file is not None:
            raise FlowdError(f"{endpoint}: keys are for tcp:// endpoints", hint="leave server_key and secret_file out")
        return None
    if server_key is None or secret_file is None:
        raise FlowdError(f"{endpoint}: TCP needs CURVE keys", hint="give both a server_key and a secret_file")
    require_curve()
    own = read_secret(secret_file)
    return ClientKeys(server_key if is_key(server_key) else read_public(server_key).public, own.public, own.secret)


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Makes a file with this certificate: mode 0600 where it holds a secret. Raises FileExistsError."""
    lines = ["# A CURVE certificate of flowd. " + ("Keep it secret." if certificate.secret else "Public.")]
    if certificate.metadata:
        lines += ["metadata", *(f'    {name} = "{value}"' for name, value in certificate.metadata.items())]
    lines += ["curve", f'    public-key = "{certificate.public}"']
    if certificate.secret:
        lines.append(f'    secret-key = "{certificate.secret}"')
    mode = SECRET_MODE if certificate.secret else PUBLIC_MODE
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, *, is_secret: bool = False) -> Certificate:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FlowdError(f"{path}: {error.strerror}", hint="`flowd keys new` makes keys") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size > FILE_MAX_BYTES:
        os.close(fd)  # a folder cannot be made a file of
        raise FlowdError(f"{path}: not a certificate", hint="`flowd keys new` makes keys")
    with os.fdopen(fd, "rb") as file:
        if is_secret and found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise FlowdError(f"{path}: mode {mode:04o} lets others at a secret key", hint=f"chmod 600 {path}")
        try:
            text = file.read().decode()
        except UnicodeDecodeError:
            raise FlowdError(f"{path}: not a certificate: the file is not UTF-8") from None
    return _parse(path, text)


def _parse(path: Path, text: str) -> Certificate:
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        header, value = _SECTION.fullmatch(line), _VALUE.fullmatch(line)
        if header is not None:
            section = sections.setdefault(header["name"], {})
        elif value is not None and section is not None and value["name"] not in section:
            section[value["name"]] = value["value"]
        else:
            raise FlowdError(f"{path}:{number}: not a line of a certificate", hint="`flowd keys new` makes keys")
    curve = sections.get("curve", {})
    public, secret = curve.get("public-key", ""), curve.get("secret-key", "")
    if not is_key(public) or (secret and not is_key(secret)):
        raise FlowdError(f"{path}: holds no CURVE key", hint="a key has 40 characters; `flowd keys new` makes keys")
    return Certificate(public, secret, sections.get("metadata", {}))
