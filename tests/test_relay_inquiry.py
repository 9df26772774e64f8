"""What an administrator asks of the filters of a running daemon: its rules, and why a line is kept or dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, Peer, running

from flowd.client import request
from flowd.errors import Refused
from flowd.relay.config import Config

DROP_PROD = DROP_DEV.replace("dev", "prod")


def ask(config: Config, op: str, **arguments: Any) -> dict[str, Any]:
    return request(config.endpoint("admin"), op, DEADLINE_S, **arguments)


def with_view(directory: Path) -> dict[str, Any]:
    (directory / "view").write_text(DROP_PROD)
    return {"filters__watch": False, "views__calm__stream": "flows", "views__calm__path": str(directory / "view")}


def test_the_rules_of_streams_and_views_are_told_as_they_were_compiled(tmp_path: Path) -> None:
    with running(tmp_path, **with_view(tmp_path)) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, KEPT, "dns")
        told = ask(config, "filters")
        assert (told["generation"], told["bypass"], sorted(told["streams"])) == (1, False, ["dns", "flows"])
        rule = {
            "name": "filter1.exclude1",
            "kind": "exclude",
            "file": str(tmp_path / "flow"),
            "line": 3,
            "column": 3,
            "field": "source_namespace",
            "pattern": "^dev$",
            "engine": "literal",
            "group": "",
            "is_shadow": False,
            "sample": 0,
            "until_ns": 0,
        }
        rest = {"generation": 1, "next": None, "warnings": [], "more_warnings": 0}
        assert told["streams"] == {
            "flows": {"rules": [rule], "all_rules": 1, **rest},
            "dns": {"rules": [], "all_rules": 0, **rest},
        }
        seen = rule | {"file": str(tmp_path / "view"), "pattern": "^prod$"}
        assert told["views"] == {"calm": {"rules": [seen], "all_rules": 1, **rest}}
        assert ask(config, "filters", stream="calm") == told | {"streams": {}}
        assert ask(config, "filters", stream="dns") == told | {"streams": {"dns": told["streams"]["dns"]}, "views": {}}


@pytest.mark.parametrize("line", [DROPPED, DROPPED.decode(), DROPPED[:-1]])
def test_why_a_line_is_dropped_is_told_and_not_counted(tmp_path: Path, line: bytes | str) -> None:
    with running(tmp_path, **with_view(tmp_path)) as (_, config):
        told = ask(config, "explain", line=line)
        trace = told.pop("trace")
        assert told == {
            "generation": 1,
            "bypass": False,
            "verdict": "D",
            "rule": "filter1.exclude1",
            "filter": "filter1",
            "field": "source_namespace",
            "value": "dev",
            "form": "json",
            "trace_left_off": 0,
        }
        assert [(step["rule"], step["raw"], step["text"], step["result"]) for step in trace] == [
            ("filter1.exclude1", b'"dev"', "dev", "yes")
        ]
        assert ask(config, "explain", line=line, stream="calm")["verdict"] == "K"
        assert ask(config, "explain", line=KEPT, stream="calm")["verdict"] == "D"
        assert ask(config, "status")["streams"]["flows"]["lines"] == 0


def test_what_decides_now_is_what_is_told(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        (tmp_path / "flow").write_text(DROP_PROD)
        ask(config, "reload", force=True)
        told = ask(config, "explain", line=KEPT)
        assert (told["generation"], told["verdict"]) == (2, "D")
        ask(config, "bypass", on=True)
        told = ask(config, "explain", line=KEPT)
        assert (told["generation"], told["verdict"], told["rule"], told["bypass"]) == (3, "K", "default", True)
        assert [rule["pattern"] for rule in ask(config, "filters")["streams"]["flows"]["rules"]] == ["^prod$"]


@pytest.mark.parametrize(
    ("op", "arguments", "word"),
    [
        ("explain", {}, "line"),
        ("explain", {"line": 7}, "line"),
        ("explain", {"line": "a\nb"}, "one line"),
        ("explain", {"line": "x", "stream": "nobody"}, "nobody"),
        ("explain", {"line": "x", "stream": ["flows"]}, "flows"),
        ("filters", {"stream": "nobody"}, "nobody"),
        ("filters", {"stream": None}, "None"),
        ("filters", {"stream": {"a": 1}}, "a"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    tmp_path: Path, op: str, arguments: dict[str, Any], word: str
) -> None:
    with running(tmp_path) as (_, config):
        with pytest.raises(Refused, match=word):
            ask(config, op, **arguments)
        assert ask(config, "health")["state"] == "ok"


@pytest.mark.parametrize("line", [b"", b"\xff\xfe\0", b"[" * 10_000, b'{"source_namespace":"\xff"}', b"x" * 1_000_000])
def test_any_line_has_an_explanation(tmp_path: Path, line: bytes) -> None:
    with running(tmp_path) as (_, config):
        assert ask(config, "explain", line=line)["verdict"] in "KDME"
        assert ask(config, "health")["state"] == "ok"
