"""Where the daemon and its clients look when nobody says: the runtime and state directories, and a lane's socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def lane_endpoint(runtime_dir: str | os.PathLike[str], lane: str) -> str:
    """The address of a lane's socket in this runtime directory."""
    return f"ipc://{os.path.join(os.fspath(runtime_dir), lane)}.sock"


def default_runtime_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Where clients and the daemon look for sockets when nobody says: FLOWD_RUNTIME_DIR, else /run/flowd for root, else
    flowd under the user's runtime folder."""
    if environ.get("FLOWD_RUNTIME_DIR"):
        return environ["FLOWD_RUNTIME_DIR"]
    if os.geteuid() == 0:
        return "/run/flowd"
    return os.path.join(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}", "flowd")


def default_state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The state directory when nobody says: FLOWD_STATE_DIR, else /var/lib/flowd for root, else under the user's."""
    if environ.get("FLOWD_STATE_DIR"):
        return environ["FLOWD_STATE_DIR"]
    if os.geteuid() == 0:
        return "/var/lib/flowd"
    home = environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "flowd")


def node_name(environ: Mapping[str, str] = os.environ) -> str:
    """What this node is called where nobody says: NODE_NAME, as manifests set it, else the machine's name."""
    return environ.get("NODE_NAME") or socket.gethostname()
