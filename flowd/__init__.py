"""flowd filters and relays Calico's flow and DNS logs.

The public names, loaded when they are first used: `load`, `compile`, `FilterSet`, `Explanation`, `Hits`, `Applied`;
`Producer`, `Subscriber`, `Consumer`; `FlowdError` and its kinds. `flowd.aio` has the clients for asyncio.
"""

from __future__ import annotations

from flowd._version import __version__

TYPE_CHECKING = False  # typing itself takes longer to import than everything else that `flowd --version` needs
if TYPE_CHECKING:
    from typing import Any

    from flowd.client import Consumer, Producer, Subscriber
    from flowd.errors import (
        ClientFailed,
        ConfigError,
        Fenced,
        FilterError,
        FlowdError,
        LineTooLong,
        NotAcknowledged,
        Problem,
        Refused,
        Unreachable,
        WireError,
    )
    from flowd.explanation import Explanation
    from flowd.filterset import Applied, FilterSet, Hits, compile, load

_HOMES = {
    "Applied": "flowd.filterset",
    "ClientFailed": "flowd.errors",
    "ConfigError": "flowd.errors",
    "Consumer": "flowd.client",
    "Explanation": "flowd.explanation",
    "Fenced": "flowd.errors",
    "FilterError": "flowd.errors",
    "FilterSet": "flowd.filterset",
    "FlowdError": "flowd.errors",
    "Hits": "flowd.filterset",
    "LineTooLong": "flowd.errors",
    "NotAcknowledged": "flowd.errors",
    "Problem": "flowd.errors",
    "Producer": "flowd.client",
    "Refused": "flowd.errors",
    "Subscriber": "flowd.client",
    "Unreachable": "flowd.errors",
    "WireError": "flowd.errors",
    "compile": "flowd.filterset",
    "load": "flowd.filterset",
}

__all__ = [
    "Applied",
    "ClientFailed",
    "ConfigError",
    "Consumer",
    "Explanation",
    "Fenced",
    "FilterError",
    "FilterSet",
    "FlowdError",
    "Hits",
    "LineTooLong",
    "NotAcknowledged",
    "Problem",
    "Producer",
    "Refused",
    "Subscriber",
    "Unreachable",
    "WireError",
    "__version__",
    "compile",
    "load",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flowd' has no attribute {name!r}")
    import importlib
    import importlib.util

    try:
        value = getattr(importlib.import_module(home), name)
    except ImportError as error:
        if importlib.util.find_spec("flowd._core") is None:
            raise ImportError("flowd's native core is not built: run `make build` in the checkout") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
