"""pyarrow, where it is installed; and what is said where it is not."""

from __future__ import annotations

from flowd.errors import EXIT_CONFIG, FlowdError


class NeedsPyarrow(FlowdError, ImportError):
    """Something that only pyarrow can read or write, and it is not installed."""

    exit_code = EXIT_CONFIG


def require_pyarrow(what: str) -> None:
    """Raises NeedsPyarrow where `what` cannot be done, as pyarrow is not there."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise NeedsPyarrow(f"{what} needs pyarrow", hint="pip install 'flowd[parquet]'") from error
