"""Where to listen for HTTP, as people write it: `127.0.0.1:9468`, `[::1]:9468`, `0.0.0.0:9468`."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from flowd.errors import FlowdError

HINT = "write ADDRESS:PORT, like 127.0.0.1:9468 or [::1]:9468; port 0 takes any that is free"
PORT_MAX = 65535


class Address(NamedTuple):
    """An IP address and a port; no names: what a name means can change, and here it decides who may ask."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether this is an address of IPv6."""
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host).is_loopback

    def url(self, port: int = 0) -> str:
        """`http://…`, with the port that was taken where this one left it open."""
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"http://{host}:{self.port or port}"


def parse_address(text: str) -> Address:
    """The address; raises FlowdError for what is none."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or int(port) > PORT_MAX:
        raise FlowdError(f"{text!r} is no address with a port", hint=HINT)
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise FlowdError(f"{text!r}: {host!r} is no IP address", hint=HINT) from None
    if is_bracketed != (address.version == 6):
        brackets = "needs brackets" if address.version == 6 else "has no brackets"
        raise FlowdError(f"{text!r}: an address of IPv{address.version} {brackets}", hint=HINT)
    return Address(host, int(port))
