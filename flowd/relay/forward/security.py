"""What keeps strangers out: the TLS context and the secrets, as the configuration's files have them."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

from flowd.errors import FlowdError
from flowd.relay.forward.handshake import Secrets
from flowd.wire.private import read_key, read_private, read_users

if TYPE_CHECKING:
    from flowd.relay.config.model import Forward


def make_tls(forward: Forward) -> ssl.SSLContext | None:
    """The context of what is listened to over TCP; None where no certificate is configured. Raises FlowdError.

    TLS 1.2 is the oldest version. With a CA for clients, each of them must show a certificate that it has signed.
    """
    if not forward.tls_cert_file:
        return None
    read_private(forward.tls_key_file)  # refused where others may read it
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(forward.tls_cert_file, forward.tls_key_file, password="")  # never asks a terminal
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        message = f"{forward.tls_cert_file}, {forward.tls_key_file}: no certificate with its key: {reason}"
        raise FlowdError(message, hint="both are PEM files; the key has no passphrase") from error
    if forward.tls_client_ca_file:
        try:
            context.load_verify_locations(forward.tls_client_ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or str(error)
            message = f"{forward.tls_client_ca_file}: no CA certificates: {reason}"
            raise FlowdError(message, hint="a PEM file") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def read_secrets(forward: Forward) -> Secrets | None:
    """What clients must know; None where nothing is asked for. Raises FlowdError.

    fluentd takes no answer from a server that has its own host's name, so that name is told with something before it.
    """
    if not forward.shared_key_file:
        return None
    hostname = forward.self_hostname or f"flowd-{socket.gethostname()}"
    users = read_users(forward.users_file) if forward.users_file else {}
    return Secrets(hostname.encode(), read_key(forward.shared_key_file), users)
