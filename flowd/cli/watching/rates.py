"""What happened in the daemon between two looks at it: rates a second, beside the totals and the state. Pure data.

Everything stands under stable names with its unit, as `flowd top --once -o json` prints it. A rate that cannot be told
from the two looks is null, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_STREAM_COUNTS = ("lines", "bytes", "kept_lines", "kept_bytes", "malformed_lines", "error_lines")
_DAEMON = (
    "version",
    "state",
    "process_id",
    "uptime_s",
    "generation",
    "bypass",
    "producers",
    "loaded_ns",
    "last_reload",
)
_LEAST_S = 1e-3
"""A shorter time than that between two looks is a clock's doing: nothing is divided by it."""


class Look(NamedTuple):
    """What a daemon said at one moment of this process's steady clock: its status, and its named consumers."""

    taken_s: float
    status: dict[str, Any]
    consumers: list[dict[str, Any]]

    @property
    def daemon(self) -> tuple[int, int]:
        """Which life of which daemon this is: its counters begin with it."""
        return self.status["process_id"], self.status["began_ns"]


def measure(before: Look, after: Look, now_ns: int) -> dict[str, Any]:
    """The rates between two looks. Where the daemon was restarted between them, those since it began: its counters
    stood at 0 then. `now_ns` is the time since 1970, for ages of what has a date."""
    is_restarted = before.daemon != after.daemon
    old: dict[str, Any] = {} if is_restarted else before.status
    interval_s = after.status["uptime_s"] if is_restarted else after.taken_s - before.taken_s
    per = _Rate(max(interval_s, _LEAST_S))
    status = after.status
    streams = [_measure_stream(name, one, old, per) for name, one in status["streams"].items()]
    return {
        "interval_s": round(per.interval_s, 3),
        "is_restarted": is_restarted,
        "daemon": {
            **{name: status[name] for name in _DAEMON},
            "reasons": status.get("reasons", []),
            "loaded_ago_s": round(max(0.0, (now_ns - status["loaded_ns"]) / 1e9), 3),
        },
        "journal": _measure_journal(status["journal"], old, per),
        "streams": streams,
        "rules": [rule for name, one in status["streams"].items() for rule in _measure_rules(name, one, old, per)],
        "rules_left_off": sum(one["rules_left_off"] for one in status["streams"].values()),
        "views": [{"view": name, **view} for name, view in sorted(status["views"].items())],
        "consumers": _measure_consumers(after, {} if is_restarted else _attached(before), per, now_ns),
        "sinks": _measure_sinks(status.get("sinks"), old.get("sinks"), per),
        "tail": {name: status["tail"][name] for name in ("followed_files", "lag_bytes")} if "tail" in status else None,
        "counters": _measure_counters(status["counters"], old.get("counters", {}), per),
    }


class _Rate:
    """Divides what came between two looks by the time between them."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s

    def __call__(self, before: float, after: float) -> float:
        """How much a second, with three digits behind the point."""
        return round((after - before) / self.interval_s, 3)

    def known(self, before: float | None, after: float) -> float | None:
        """The same, and None where nothing is known of before, or where it was more than now."""
        return None if before is None or after < before else self(before, after)


def _measure_stream(name: str, one: Mapping[str, Any], old: Mapping[str, Any], per: _Rate) -> dict[str, Any]:
    before = old.get("streams", {}).get(name, dict.fromkeys(_STREAM_COUNTS, 0))
    rates = {f"{count}_per_s": per(before[count], one[count]) for count in _STREAM_COUNTS}
    for unit in ("lines", "bytes"):
        dropped = one[unit] - one[f"kept_{unit}"]
        rates[f"dropped_{unit}_per_s"] = per(before[unit] - before[f"kept_{unit}"], dropped)
    totals = {count: one[count] for count in _STREAM_COUNTS}
    return {
        "stream": name,
        **rates,
        **totals,
        "dropped_lines": one["lines"] - one["kept_lines"],
        "dropped_bytes": one["bytes"] - one["kept_bytes"],
        "generation": one["generation"],
        "subscribers": one["subscribers"],
    }


def _measure_rules(stream: str, one: Mapping[str, Any], old: Mapping[str, Any], per: _Rate) -> list[dict[str, Any]]:
    """Names belong to a generation: where another one decides now, nothing is known of a name's past."""
    past = old.get("streams", {}).get(stream)
    if past is None:
        unknown: Mapping[str, int | None] = {"lines": 0, "bytes": 0}
    elif past["generation"] != one["generation"] or past["rules_left_off"]:
        unknown = {"lines": None, "bytes": None}
    else:
        unknown = {"lines": 0, "bytes": 0}
    is_same = past is not None and past["generation"] == one["generation"]
    known = {rule["name"]: rule for rule in past["rules"]} if past is not None and is_same else {}
    return [
        {
            "stream": stream,
            "rule": rule["name"],
            "file": rule["file"],
            "line": rule["line"],
            "lines_per_s": per.known(known.get(rule["name"], unknown)["lines"], rule["lines"]),
            "bytes_per_s": per.known(known.get(rule["name"], unknown)["bytes"], rule["bytes"]),
            "lines": rule["lines"],
            "bytes": rule["bytes"],
            "is_shadow": rule["is_shadow"],
            "sample": rule["sample"],
            "until_ns": rule["until_ns"],
        }
        for rule in one["rules"]
    ]


def _measure_journal(journal: Mapping[str, Any], old: Mapping[str, Any], per: _Rate) -> dict[str, Any]:
    before = old.get("journal", {}).get("commits", 0)
    return {
        "used_bytes": journal["used_bytes"],
        "max_bytes": journal["max_bytes"],
        "fill": round(journal["used_bytes"] / journal["max_bytes"], 4) if journal["max_bytes"] else 0.0,
        "batches": journal["batches"],
        "is_full": journal["is_full"],
        "commits_per_s": per(before, journal["commits"]),
    }


def _attached(look: Look) -> dict[tuple[str, str], dict[str, Any]]:
    """The attached consumers that have a name, which nobody else has at the same time."""
    return {(one["consumer"], one["stream"]): one for one in look.status["consumers"] if one["consumer"]}


def _measure_consumers(
    after: Look, before: Mapping[tuple[str, str], dict[str, Any]], per: _Rate, now_ns: int
) -> list[dict[str, Any]]:
    """Those with a name, then those without, which have no cursor: nothing is known of what they are done with."""
    found = []
    for one in after.consumers:
        attached = one["attached"] or {}
        past = before.get((one["consumer"], one["stream"]))
        lag_lines = None if one["lag_lines"] is None else max(0, one["lag_lines"])
        committed_ns = one["committed_ns"]
        found.append(
            {
                "consumer": one["consumer"],
                "stream": one["stream"],
                "view": attached.get("view", ""),
                "is_attached": bool(attached),
                "lag_batches": max(0, one["lag_batches"]),
                "lag_lines": lag_lines,
                "lag_bytes": _estimate_bytes(lag_lines, after.status["streams"].get(one["stream"])),
                "lag_s": one["lag_s"],
                "committed_ago_s": None if not committed_ns else round(max(0.0, (now_ns - committed_ns) / 1e9), 3),
                "gone_batches": one["gone_batches"],
                "lost_lines": attached.get("lost_lines", 0),
                "sent_bytes_per_s": per.known(past["sent_bytes"] if past else None, attached.get("sent_bytes", 0)),
            }
        )
    return found + [_measure_nameless(one) for one in after.status["consumers"] if not one["consumer"]]


def _measure_nameless(attached: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "consumer": "",
        "stream": attached["stream"],
        "view": attached["view"],
        "is_attached": True,
        "lag_batches": max(0, attached["lag_batches"]),
        **dict.fromkeys(("lag_lines", "lag_bytes", "lag_s", "committed_ago_s")),
        "gone_batches": 0,
        "lost_lines": attached["lost_lines"],
        "sent_bytes_per_s": None,
    }


def _estimate_bytes(lag_lines: int | None, stream: Mapping[str, Any] | None) -> int | None:
    """Stored lines in bytes, by the mean of the stream's kept lines since the daemon began; None where it kept none."""
    if not lag_lines:
        return lag_lines
    if stream is None or not stream["kept_lines"]:
        return None
    mean_bytes: float = stream["kept_bytes"] / stream["kept_lines"]
    return round(lag_lines * mean_bytes)


def _measure_sinks(sinks: object, before: object, per: _Rate) -> list[dict[str, Any]]:
    """Whatever a status tells of sinks, each with its name, and how much what is counted grows a second."""
    return [
        {"sink": name, **one, **_grow(one, dict(_name_sinks(before)).get(name), per)}
        for name, one in _name_sinks(sinks)
    ]


def _name_sinks(sinks: object) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(sinks, dict):
        return [(str(name), one) for name, one in sorted(sinks.items()) if isinstance(one, dict)]
    if isinstance(sinks, list):
        named = [one for one in sinks if isinstance(one, dict)]
        return [(str(one.get("sink") or one.get("name") or at), one) for at, one in enumerate(named)]
    return []


def _grow(one: Mapping[str, Any], before: Mapping[str, Any] | None, per: _Rate) -> dict[str, float | None]:
    counted = [name for name, value in one.items() if name.startswith("sent_") and type(value) is int]
    return {f"{name}_per_s": per.known((before or {}).get(name), one[name]) for name in counted}


def _measure_counters(counters: Mapping[str, int], before: Mapping[str, int], per: _Rate) -> list[dict[str, Any]]:
    """The counters that have counted in this time, by their names."""
    grown = {name: value - before.get(name, 0) for name, value in sorted(counters.items())}
    return [
        {"counter": name, "per_s": per(0, more), "value": counters[name]} for name, more in grown.items() if more > 0
    ]
