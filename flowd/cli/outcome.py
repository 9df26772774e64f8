"""How a command ends: what it raised, said on standard error, and the exit code. No tracebacks for users' errors."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

from flowd.cli.talk import say_error, say_failure
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_INTERRUPTED, EXIT_IO, EXIT_NO, FlowdError

_OS_HINTS = {
    errno.EISDIR: "it is a folder: name a file",
    errno.EACCES: "`ls -l` says who may; its folders must be open, too",
}
NOT_BUILT_HINT = "run `make build` in the checkout"


def run_to_exit_code(command: Callable[[], int | None]) -> int:
    """Runs a command to its exit code; its FlowdErrors and OSErrors become words and codes."""
    try:
        code = command()
    except FlowdError as error:
        say_failure(error)
        # 1 is an answer, not an error: what has no code of its own lies in how flowd was set up.
        return EXIT_CONFIG if error.exit_code == EXIT_NO else error.exit_code
    except BrokenPipeError:
        return _end_by_broken_pipe()
    except OSError as error:
        say_os_error(error)
        return EXIT_IO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ImportError as error:
        if not any(words in str(error) for words in ("flowd._core", "'_core' from 'flowd'", "native core")):
            raise
        say_error("flowd's native core is not built", NOT_BUILT_HINT)
        return EXIT_CONFIG
    return EXIT_DONE if code is None else code


def say_os_error(error: OSError) -> None:
    """Says it, with what can be done about the commonest mistakes."""
    say_error(describe_os_error(error), _OS_HINTS.get(error.errno or 0, ""))


def describe_os_error(error: OSError) -> str:
    """`name: what the system says`."""
    reason = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {reason}" if isinstance(error.filename, (str, bytes)) else reason


def _end_by_broken_pipe() -> int:
    """Ends the process as grep would: by the signal that Python turns into an exception, so that shells see it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return 128 + signal.SIGPIPE
