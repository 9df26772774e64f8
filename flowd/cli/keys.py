"""`flowd keys`: CURVE keys made, listed and revoked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from flowd.cli.command import Command, F, Group, compose, option, output_option
from flowd.cli.output import write_json, write_text
from flowd.cli.runtime import require_stream_name
from flowd.cli.table import render_table
from flowd.cli.talk import say, say_error
from flowd.errors import EXIT_CONFIG, EXIT_DONE, FlowdError

EXAMPLES = (
    "flowd keys new agent --role produce --keys-dir keys --allowed-keys-dir allowed",
    "flowd keys list --allowed-keys-dir allowed",
)
NEW_EXAMPLES = (
    "flowd keys new server --server --keys-dir keys",
    "flowd keys new siem --role consume --stream flows --keys-dir keys --allowed-keys-dir allowed",
)
LIST_EXAMPLES = (
    "flowd keys list --allowed-keys-dir allowed",
    "flowd keys list --allowed-keys-dir allowed -o json",
)
REVOKE_EXAMPLES = ("flowd keys revoke siem --allowed-keys-dir allowed",)
ROLES = ("produce", "consume", "admin")


def allowed_option() -> Callable[[F], F]:
    """The folder whose keys the daemon lets in."""
    return option("--allowed-keys-dir", metavar="DIR", required=True, help="The folder of keys that are let in.")


@click.group(cls=Group, name="keys", examples=EXAMPLES)
def command() -> None:
    """Make, list and revoke the CURVE keys that TCP needs.

    A daemon has one key pair, and a folder of the public keys that it lets in; each client has a key pair of its own.
    """


@command.command(cls=Command, name="new", examples=NEW_EXAMPLES)
@click.argument("name")
@option("--server", "is_server", is_flag=True, help="A daemon's own key, which has no roles.")
@option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="What the key is good for; may be repeated.")
@option(
    "--stream",
    "streams",
    is_shared=False,
    metavar="STREAM",
    multiple=True,
    help="A stream it is good for; all if not given.",
)
@option("--keys-dir", metavar="DIR", default=".", help="Where the secret key goes.")
@option("--allowed-keys-dir", metavar="DIR", help="Where the public key goes; --keys-dir if not given.")
def new(
    name: str,
    is_server: bool,
    roles: tuple[str, ...],
    streams: tuple[str, ...],
    keys_dir: str,
    allowed_keys_dir: str | None,
) -> int:
    """Make a key pair: NAME.key_secret for its holder alone, and NAME.key for the others.

    Nothing that exists is overwritten. The daemon lets a key in as soon as its NAME.key is in the allowed folder.
    """
    if is_server == bool(roles):
        raise click.UsageError("give either --server or at least one --role")
    if is_server and (streams or allowed_keys_dir):
        raise click.UsageError("a daemon's own key has no streams, and is not among the allowed keys")
    from flowd.relay.tcp.allowed import ANY_STREAM, parse_grant
    from flowd.wire.keys import PUBLIC_SUFFIX, SECRET_SUFFIX, Certificate, make_key_pair, write_certificate

    if not name.isprintable() or not name or os.sep in name or '"' in name or name.startswith("."):
        raise click.UsageError(f"{name!r} is no name for a key: it becomes the name of a file")
    for stream in streams:
        if stream != ANY_STREAM:
            require_stream_name(stream, "stream")
    public_path = Path(allowed_keys_dir or keys_dir) / (name + PUBLIC_SUFFIX)
    secret_path = Path(keys_dir) / (name + SECRET_SUFFIX)
    public, secret = make_key_pair()
    metadata = {"name": name}
    if roles:
        metadata |= {"roles": " ".join(dict.fromkeys(roles)), "streams": " ".join(streams) or ANY_STREAM}
        parse_grant(public_path, Certificate(public, "", metadata))
    for path in (public_path, secret_path):
        _make_folder(path.parent)
        if path.exists():
            raise FlowdError(f"{path}: exists already", hint="revoke it first, or choose another name")
    write_certificate(secret_path, Certificate(public, secret, {"name": name}))
    write_certificate(public_path, Certificate(public, "", metadata))
    write_text(f"{secret_path}\n{public_path}\n")
    return EXIT_DONE


def _make_folder(folder: Path) -> None:
    """Makes it where it is missing. Raises FlowdError."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except FileExistsError:
        raise FlowdError(f"{folder}: there is a file of this name", hint="keys stand in a folder: name one") from None


@command.command(cls=Command, name="list", examples=LIST_EXAMPLES)
@compose(allowed_option(), output_option("text", "json"))
def list_keys(allowed_keys_dir: str, output: str) -> int:
    """Show the keys that are let in, with their roles and streams. Exits with 78 where a file cannot be read as one."""
    from flowd.relay.tcp.allowed import ANY_STREAM, check_folder, read_grant

    check_folder(allowed_keys_dir)
    has_failed = False
    grants = []
    for path in _certificates(allowed_keys_dir):
        try:
            grants.append(read_grant(path))
        except FlowdError as error:
            has_failed = True
            say_error(error.message, error.hint)
    rows = [
        (grant.name, " ".join(sorted(grant.roles)), " ".join(sorted(grant.streams or [ANY_STREAM])), grant.key)
        for grant in grants
    ]
    if output == "json":
        for name, roles, streams, key in rows:
            row = {"name": name, "roles": roles.split(), "streams": streams.split(), "key": key}
            write_json(row)
    else:
        write_text(render_table(("NAME", "ROLES", "STREAMS", "KEY"), rows))
    return EXIT_CONFIG if has_failed else EXIT_DONE


@command.command(cls=Command, name="revoke", examples=REVOKE_EXAMPLES)
@click.argument("name")
@compose(allowed_option())
def revoke(name: str, allowed_keys_dir: str) -> int:
    """Take a key out of the allowed folder, under whatever names it lies there; open connections are closed to it."""
    from flowd.wire.keys import PUBLIC_SUFFIX, read_public

    path = Path(allowed_keys_dir) / (name + PUBLIC_SUFFIX)
    if os.sep in name or not path.exists():
        raise FlowdError(f"{path}: no such key", hint="`flowd keys list` shows them")
    removed = {path}
    try:
        key = read_public(path).public
    except FlowdError as error:
        say(f"flowd: {error.message}")
    else:
        removed |= {other for other in _certificates(allowed_keys_dir) if _key_of(other) == key}
    for one in sorted(removed):
        one.unlink()
        write_text(f"{one}\n")
    return EXIT_DONE


def _certificates(directory: str) -> list[Path]:
    from flowd.wire.keys import PUBLIC_SUFFIX

    return sorted(Path(directory).glob(f"*{PUBLIC_SUFFIX}"))


def _key_of(path: Path) -> str:
    from flowd.wire.keys import read_public

    try:
        return read_public(path).public
    except FlowdError:
        return ""
