"""A daemon as a process: made, told of signals, drained, and ended with its exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

from flowd import _core
from flowd.errors import EXIT_INTERRUPTED
from flowd.memory import keep_freed_memory
from flowd.relay.config import Config
from flowd.relay.daemon import Daemon
from flowd.relay.descriptors import raise_limit
from flowd.relay.notify import Notifier

log = logging.getLogger(__name__)


def run(config: Config) -> int:
    """Runs a daemon until SIGTERM or SIGINT, drains it, and returns the exit code. To be called from the main thread.

    A second signal ends the process at once with exit code 130: what is under way is not finished. SIGHUP reads the
    filters again. What is asked while the daemon is made, whose lanes answer before all is, is done when it is.
    """
    keep_freed_memory()
    raise_limit()
    daemon: Daemon | None = None
    signals = 0
    is_reload_due = False

    def end(_: int, __: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            sys.stderr.write("flowd: ended by a second signal, without draining\n")
            sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)
        if daemon is not None:
            daemon.drain()

    def read_again(_: int, __: FrameType | None) -> None:
        nonlocal is_reload_due
        if daemon is not None:
            daemon.reload()
        else:
            is_reload_due = True

    logging.basicConfig(level=logging.INFO, format="flowd: %(levelname)s: %(message)s")
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, read_again)
    try:
        daemon = Daemon(config, Notifier.from_environment())
        if _core.HAS_LINEAR and (fault := _core.find_linear_fault()):
            log.warning("the engine for many patterns is not used: %s; `flowd --version` names it", fault)
        if is_reload_due:
            daemon.reload()
        if signals:
            daemon.drain()
        else:
            daemon.announce()
        return daemon.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
