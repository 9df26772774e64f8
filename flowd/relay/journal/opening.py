"""Opening the journal of a state directory: looked at before, set aside where it cannot be used, made where missing."""

from __future__ import annotations

import errno
import logging
import os
import struct
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec

from flowd.errors import EXIT_IO, FlowdError
from flowd.relay.config import Journal
from flowd.relay.journal.inspection import Loss, describe_loss, examine, is_in_doubt, set_aside
from flowd.relay.journal.known import Known, forget_known, read_boot_id, read_known, write_known
from flowd.relay.journal.layout import OTHER_HINT, OtherFormat, StreamRow
from flowd.relay.journal.store import Store

JOURNAL_NAME = "journal"
UNUSABLE = (
    lmdb.InvalidError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.IncompatibleError,
    ValueError,
    struct.error,
)
"""What LMDB, and the journal itself, raise for a file that is not what was written."""

log = logging.getLogger(__name__)


class JournalFailed(FlowdError):
    """The journal cannot be read or written: the disk, or the file's mode."""

    exit_code = EXIT_IO


class Missing(NamedTuple):
    """Batches that were stored and are not any more, and their lines: so many at least."""

    batches: int = 0
    lines: int = 0


class Opened(NamedTuple):
    """An open journal, and what was lost where it is not the one that was there before. `before` is that, too, and
    lasts: for as long as this journal lives it is what was lost before it was made. `missing` are the batches that are
    known to be missing at the end of one that is there."""

    store: Store
    loss: Loss | None
    before: Loss | None
    missing: Missing


def open_journal(state_dir: str | os.PathLike[str], settings: Journal) -> Opened:
    """The journal in this directory. Raises JournalFailed, and OtherFormat for one of another version."""
    state = Path(state_dir)
    directory = state / JOURNAL_NAME
    try:
        return _open(state, directory, settings)
    except lmdb.VersionMismatchError as error:
        raise OtherFormat(f"{directory}: written by another version of LMDB: {error}", hint=OTHER_HINT) from error
    except lmdb.Error as error:
        raise JournalFailed(f"{directory}: {error}", hint=hint_for(str(error))) from error
    except OverflowError as error:
        text = f"{directory}: max_bytes = {settings.max_bytes} is more than a file can have"
        raise JournalFailed(text, hint="give a smaller max_bytes") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise JournalFailed(f"{error.filename or directory}: {reason}", hint=hint_for(reason)) from error


def _open(state: Path, directory: Path, settings: Journal) -> Opened:
    known = read_known(state)
    loss = examine(directory, known)
    if loss is None:
        if known is not None:  # until it is open: what ends the process there is met only once
            _keep_known(state, msgspec.structs.replace(known, is_doubtful=True))
        try:
            return _opened(state, directory, settings, None, known)
        except (OtherFormat, lmdb.VersionMismatchError):
            if known is not None:
                _keep_known(state, known)
            raise
        except UNUSABLE as error:
            log.error("journal: %s: %s", directory, error)
            loss = Loss("damaged", known or Known())
    log.error("%s: %s; a new epoch begins", directory, describe_loss(loss))
    set_aside(directory)
    return _opened(state, directory, settings, loss, known)


def _opened(state: Path, directory: Path, settings: Journal, loss: Loss | None, known: Known | None) -> Opened:
    is_synced = settings.sync == "commit"
    lost = b"" if loss is None else msgspec.json.encode(loss)
    store = Store(directory, max_bytes=settings.max_bytes, is_synced=is_synced, before=lost)
    try:
        missing = Missing() if loss is not None else _find_missing(known, store)
        if loss is None and store.streams() and (missing.batches or is_in_doubt(known)):
            log.warning("journal: nothing says that its last batches are there; a new epoch begins behind what is")
            store.renew()
        kept = describe_store(store, is_safe=is_synced)
        before = msgspec.json.decode(store.before, type=Loss) if store.before else None
    except BaseException:
        store.close()
        raise
    _keep_known(state, kept)
    return Opened(store, loss, before, missing)


def _find_missing(known: Known | None, store: Store) -> Missing:
    """Where commits are not synced, a loss of power takes the last ones: as much of it as is known is said."""
    missing = Missing()
    if known is None or known.epoch != store.epoch.hex():
        return missing
    for name, (next_sequence, lines) in known.streams.items():
        row = store.stream(name) or StreamRow(0)
        if row.next < next_sequence:
            batches, count = next_sequence - row.next, lines - row.lines
            log.error("journal: the last batches of %s are not there: at least %d, with %d lines", name, batches, count)
            missing = Missing(missing.batches + batches, missing.lines + count)
    return missing


def _keep_known(state: Path, known: Known) -> None:
    """Where it cannot be written (the disk is full, say), the journal can be used all the same. But nothing must be
    left that promises more than is true."""
    try:
        write_known(state, known)
    except OSError as error:
        log.warning("journal: what is known of it cannot be written: %s", error)
        if not known.is_safe:
            forget_known(state)


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
    hints = {
        errno.ENOSPC: "make room on the disk, or give another --state-dir",
        errno.EACCES: "the state directory must be writable by the daemon's user",
        errno.EROFS: "the state directory must be on a disk that can be written",
        errno.ENOMEM: "the journal's file is mapped as a whole: give a smaller max_bytes, or a higher limit",
    }
    for number, hint in hints.items():
        if os.strerror(number) in reason:
            return hint
    return "look at the disk (dmesg), or give another --state-dir"
