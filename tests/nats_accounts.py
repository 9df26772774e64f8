"""A nats-server that asks for credentials, as NATS has them in operator mode: signed claims in place of passwords."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from typing import Any

import nkeys

LIMITED = "subs data payload imports exports conn leaf mem_storage disk_storage streams consumer"
UNLIMITED = dict.fromkeys(LIMITED.split(), -1)


@dataclass(frozen=True)
class Accounts:
    """What is added to a server's configuration, and the text of a user's `nats.creds`."""

    config: str
    creds: str


def make_accounts() -> Accounts:
    """An operator, the account that a server has for itself, and one with JetStream, which has a user."""
    _, operator = _make_key(nkeys.PREFIX_BYTE_OPERATOR)
    _, system = _make_key(nkeys.PREFIX_BYTE_ACCOUNT)
    _, account = _make_key(nkeys.PREFIX_BYTE_ACCOUNT)
    seed, user = _make_key(nkeys.PREFIX_BYTE_USER)
    limits = {"limits": UNLIMITED | {"wildcards": True}}
    owned = {
        _name(system): _sign(operator, system, {"type": "account", "limits": {}}),
        _name(account): _sign(operator, account, {"type": "account", **limits}),
    }
    claims = {"type": "user", "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1}
    preload = "\n".join(f"{name}: {token}" for name, token in owned.items())
    config = (
        f"operator: {_sign(operator, operator, {'type': 'operator'})}\nsystem_account: {_name(system)}\n"
        f"resolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
    )
    creds = (
        f"-----BEGIN NATS USER JWT-----\n{_sign(account, user, claims)}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return Accounts(config, creds)


def _make_key(prefix: int) -> tuple[str, nkeys.KeyPair]:
    seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
    return seed.decode(), nkeys.from_seed(bytearray(seed))


def _name(key: nkeys.KeyPair) -> str:
    return bytes(key.public_key).decode()


def _sign(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, claims: dict[str, Any]) -> str:
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {"jti": _name(subject), "iat": 1, "iss": _name(issuer), "sub": _name(subject), "name": "try"}
    said = ".".join(map(_encode, (header, body | {"nats": claims | {"version": 2}})))
    return f"{said}.{_shorten(issuer.sign(said.encode()))}"


def _encode(part: dict[str, Any]) -> str:
    return _shorten(json.dumps(part).encode())


def _shorten(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
