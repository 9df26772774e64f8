"""What the daemon could not have at its start, an address or a folder, and whether starting again may help."""

from __future__ import annotations

import errno

from flowd.errors import EXIT_CONFIG, EXIT_IO, FlowdError

PASSING = frozenset(
    {
        errno.EADDRINUSE,
        errno.EADDRNOTAVAIL,
        errno.ENODEV,
        errno.EAGAIN,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOBUFS,
    }
)
"""What may be over by itself: somebody else's address, one of an interface that is not up yet, a full disk. All else,
as a permission or a folder that is missing, stays until somebody changes the configuration or the machine."""

_ADDRESS_HINTS = {
    errno.EADDRINUSE: "another process is there: `ss -ltnp` says which; end it, or take another port",
    errno.EADDRNOTAVAIL: "the address is none of this machine's: `ip address` lists them",
    errno.ENODEV: "the address is none of this machine's: `ip address` lists them",
    errno.EACCES: "ports below 1024 are root's: take another one",
}


class NotToBeHad(FlowdError):
    """An address or a folder that the system refuses; `number` is its errno.

    `exit_code` is 74 where starting again may help without anybody's doing, else 78: it is the configuration.
    """

    def __init__(self, message: str, number: int | None, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.number = number
        self.exit_code = EXIT_IO if number in PASSING else EXIT_CONFIG


def hint_of_address(number: int | None) -> str:
    """What to do about an internet address that cannot be bound."""
    return _ADDRESS_HINTS.get(number or 0, "is the address this machine's, and the port free?")


def hint_of_path(number: int | None) -> str:
    """What to do about a socket's path that cannot be bound."""
    if number == errno.EADDRINUSE:
        return "another process listens there: end it, or choose another path"
    return "its folder must be there, and be writable"
