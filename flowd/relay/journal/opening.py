"""Opening the journal of a state directory: looked at before, set aside where it cannot be used, made where missing."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import NamedTuple

import lmdb

from flowd.errors import EXIT_IO, FlowdError
from flowd.relay.config import Journal
from flowd.relay.journal.inspection import Loss, describe_loss, examine, set_aside
from flowd.relay.journal.known import Known, read_boot_id, read_known, write_known
from flowd.relay.journal.store import Store

JOURNAL_NAME = "journal"
UNUSABLE = (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError, lmdb.PageNotFoundError, ValueError)
"""What LMDB, and the journal itself, raise for a file that is not what was written."""

log = logging.getLogger(__name__)


class JournalFailed(FlowdError):
    """The journal cannot be read or written: the disk, or the file's mode."""

    exit_code = EXIT_IO


class Opened(NamedTuple):
    """An open journal, and what was lost where it is not the one that was there before."""

    store: Store
    loss: Loss | None


def open_journal(state_dir: str | os.PathLike[str], settings: Journal) -> Opened:
    """The journal in this directory. Raises JournalFailed, and OtherFormat for one of another version."""
    state = Path(state_dir)
    directory = state / JOURNAL_NAME
    try:
        before = read_known(state)
        loss = examine(directory, before)
        if loss is None:
            if before is not None:
                before.is_doubtful = True  # until it is open: what ends the process there is met only once
                write_known(state, before)
            try:
                return _opened(state, directory, settings, None)
            except UNUSABLE as error:
                log.error("journal: %s: %s", directory, error)
                loss = Loss("damaged", before or Known())
        log.error("%s: %s; a new epoch begins", directory, describe_loss(loss))
        set_aside(directory)
        return _opened(state, directory, settings, loss)
    except lmdb.Error as error:
        raise JournalFailed(f"{directory}: {error}", hint=hint_for(str(error))) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise JournalFailed(f"{error.filename or directory}: {reason}", hint=hint_for(reason)) from error


def _opened(state: Path, directory: Path, settings: Journal, loss: Loss | None) -> Opened:
    store = Store(directory, max_bytes=settings.max_bytes, is_synced=settings.sync == "commit")
    try:
        write_known(state, describe_store(store, is_safe=settings.sync == "commit"))
    except BaseException:
        store.close()
        raise
    return Opened(store, loss)


def describe_store(store: Store, *, is_safe: bool) -> Known:
    """What is to be known of an open journal."""
    with store.read() as reading:
        cursors = reading.cursors()
    return Known(
        epoch=store.epoch.hex(),
        boot_id=read_boot_id(),
        is_safe=is_safe,
        streams={name: (row.next, row.lines) for name, row in store.streams().items()},
        cursors=[
            (consumer, stream, cursor.sequence, cursor.lines)
            for (consumer, stream), cursor in cursors.items()
            if cursor.sequence is not None
        ],
    )


def hint_for(reason: str) -> str:
    """What to do about an error of the disk."""
    if os.strerror(errno.ENOSPC) in reason:
        return "make room on the disk, or give another --state-dir"
    if os.strerror(errno.EACCES) in reason:
        return "the state directory must be writable by the daemon's user"
    return "look at the disk (dmesg), or give another --state-dir"
