"""Parameters that the clients have by name and this version cannot serve: refused at once, never ignored."""

from __future__ import annotations

from flowd.errors import FlowdError


def refuse_unavailable(**parameters: object) -> None:
    """Raises FlowdError for the first of these parameters that is not None."""
    for name, value in parameters.items():
        if value is not None:
            raise FlowdError(f"{name}= is not available in this version", hint=f"leave {name} out")
