"""What is known of the journal, in a small file beside it: so that what is lost with a journal can be counted and told.

Written every few seconds and at the end, replaced as a whole. It is a memory, not a source: where the journal can be
read, the journal is right.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import msgspec

KNOWN_NAME = "journal.json"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger(__name__)


class Known(msgspec.Struct, omit_defaults=True):
    """What was known of the journal when this was written: its epoch; each stream's next sequence and the lines before
    it; consumers' places as (consumer, stream, last committed sequence, lines up to there).

    `is_safe`: a loss of power between then and now has not touched the file. `is_doubtful`: it was being opened, or an
    error was met in it, and nobody has said that this ended well.
    """

    epoch: str = ""
    boot_id: str = ""
    is_safe: bool = True
    is_doubtful: bool = False
    streams: dict[str, tuple[int, int]] = {}
    cursors: list[tuple[str, str, int, int]] = []

    def find_cursor(self, consumer: str, stream: str) -> tuple[int, int] | None:
        """A consumer's last committed sequence and the lines up to there."""
        for name, of_stream, sequence, lines in self.cursors:
            if (name, of_stream) == (consumer, stream):
                return sequence, lines
        return None


def read_boot_id() -> str:
    """Which start of the system this is; "" where it does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def read_known(state_dir: Path) -> Known | None:
    """What was written lately; None where nothing was, or nothing that can be read."""
    try:
        return msgspec.json.decode((state_dir / KNOWN_NAME).read_bytes(), type=Known)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("journal: %s cannot be read: %s", state_dir / KNOWN_NAME, error)
        return None


def write_known(state_dir: Path, known: Known) -> None:
    """Replaces what was known. Raises OSError, and leaves what was there."""
    path = state_dir / KNOWN_NAME
    passing = path.with_suffix(".new")
    fd = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(known) + b"\n")
        passing.replace(path)
    except OSError:
        passing.unlink(missing_ok=True)
        raise


def forget_known(state_dir: Path) -> None:
    """From now on nothing is known: a journal of which nothing is known is verified before it is opened."""
    with suppress(OSError):
        (state_dir / KNOWN_NAME).unlink()
