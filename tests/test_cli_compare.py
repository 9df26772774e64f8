"""`flowd compare` as users run it: on files and standard input, and on a daemon's journal with an estimate."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cli_bed import DEV_FILTER, flowd, json_line, text_line
from relay_bed import DEADLINE_S, DaemonProcess
from test_cli_commands import examples_of, prepare_examples, run_example

import flowd as library
from flowd.cli.comparing.journal import Span, estimate_dropped
from flowd.client import request

WEB = DEV_FILTER.replace("dev", "/^(dev|web)$/")
LINES = text_line("dev") + text_line("devops") + text_line("web") * 2 + text_line("shop") * 6 + b"no record\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old.conf").write_text(DEV_FILTER)
    (tmp_path / "new.conf").write_text(WEB)
    (tmp_path / "flows.log").write_bytes(LINES)
    return tmp_path


def compare(folder: Path, *arguments: str, lines: bytes = b"") -> dict[str, Any]:
    done = flowd("compare", "-o", "json", *arguments, lines=lines, cwd=folder)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_changes_is_shown_with_rules_places_and_examples(folder: Path) -> None:
    done = flowd("compare", "--examples", "1", "old.conf", "new.conf", "flows.log", cwd=folder)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "flows: 11 lines (1.0 kB); old drops 2 (18.2 %), new 3 (27.3 %)",
        "",
        "CHANGE         OLD RULE                       NEW RULE                       LINES  BYTES   SHARE",
        "newly dropped  default                        filter1.exclude1 (new.conf:3)      2  200 B  18.2 %",
        "newly kept     filter1.exclude1 (old.conf:3)  default                            1  103 B   9.1 %",
        "",
        "newly dropped, default → filter1.exclude1 (new.conf:3):",
        "  " + text_line("web").decode().rstrip(),
        "",
        "newly kept, filter1.exclude1 (old.conf:3) → default:",
        "  " + text_line("devops").decode().rstrip(),
        "",
        "newly dropped: 2 lines (200 B); newly kept: 1 line (103 B)",
    ]


def test_as_json(folder: Path) -> None:
    found = compare(folder, "old.conf", "new.conf", "flows.log")
    changes = found.pop("changes")
    web, devops = text_line("web"), text_line("devops")
    assert found == {
        "stream": "flows",
        "old": "old.conf",
        "new": "new.conf",
        "lines": 11,
        "bytes": len(LINES),
        "old_dropped": {"lines": 2, "bytes": len(text_line("dev") + devops)},
        "new_dropped": {"lines": 3, "bytes": len(text_line("dev") + web + web)},
        "newly_dropped": {"lines": 2, "bytes": 2 * len(web)},
        "newly_kept": {"lines": 1, "bytes": len(devops)},
        "otherwise": {"lines": 0, "bytes": 0},
        "moves": [],
    }
    assert changes[0] == {
        "change": "newly dropped",
        "old_verdict": "keep",
        "old_rule": "default",
        "old_place": "",
        "new_verdict": "drop",
        "new_rule": "filter1.exclude1",
        "new_place": "new.conf:3",
        "lines": 2,
        "bytes": 2 * len(web),
        "examples": [web.decode().rstrip()] * 2,
    }


def test_the_exit_status_tells_whether_anything_changes(folder: Path) -> None:
    same = flowd("compare", "-e", "old.conf", "old.conf", "flows.log", cwd=folder)
    assert (same.returncode, same.stdout.decode().splitlines()[-1]) == (0, "no line is decided otherwise")
    assert flowd("compare", "-e", "old.conf", "new.conf", "flows.log", cwd=folder).returncode == 1


def test_standard_input_and_archives_are_read(folder: Path) -> None:
    (folder / "flows.log.gz").write_bytes(gzip.compress(LINES))
    assert compare(folder, "old.conf", "new.conf", lines=LINES)["lines"] == 11
    assert compare(folder, "old.conf", "new.conf", "flows.log.gz", "-", "flows.log", lines=LINES[:-1])["lines"] == 33


def test_a_file_that_cannot_be_read_is_passed_over(folder: Path) -> None:
    done = flowd("compare", "old.conf", "new.conf", "nosuch", "flows.log", cwd=folder)
    assert (done.returncode, done.stderr) == (74, b"flowd: nosuch: No such file or directory\n")
    assert done.stdout.startswith(b"flows: 11 lines")


def test_threads_find_the_same_and_the_same_examples(folder: Path) -> None:
    many = b"".join(text_line("web" if n % 7 == 0 else "shop", n) for n in range(30_000))
    (folder / "many.log").write_bytes(many)
    one = compare(folder, "--threads", "1", "old.conf", "new.conf", "many.log", "flows.log")
    assert compare(folder, "--threads", "3", "old.conf", "new.conf", "many.log", "flows.log") == one
    assert one["changes"][0]["lines"] == 4_286 + 2
    assert one["changes"][0]["examples"] == [text_line("web", n).decode().rstrip() for n in (0, 7, 14)]


def test_moves_are_told_where_they_are_asked_for(folder: Path) -> None:
    (folder / "new.conf").write_text(DEV_FILTER.replace("dev", "nosuch") + DEV_FILTER)
    assert compare(folder, "old.conf", "new.conf", "flows.log")["moves"] == []
    found = compare(folder, "--rules", "old.conf", "new.conf", "flows.log")
    (move,) = found["moves"]
    assert (move["change"], move["lines"], move["old_rule"], move["new_rule"]) == (
        "same", 2, "filter1.exclude1", "filter2.exclude1",
    )  # fmt: skip
    assert found["changes"] == []
    text = flowd("compare", "--rules", "old.conf", "new.conf", "flows.log", cwd=folder).stdout.decode()
    assert "drop    filter1.exclude1 (old.conf:3)  filter2.exclude1 (new.conf:10)" in text


def test_what_both_keep_otherwise_is_told(folder: Path) -> None:
    (folder / "new.conf").write_text(DEV_FILTER.replace("source_namespace", "dest_namespace"))
    broken = b'{"source_namespace":"web","dest_namespace":"\\q"}\n'
    done = flowd("compare", "-q", "--examples", "0", "old.conf", "new.conf", lines=broken, cwd=folder)
    assert done.stdout.decode().splitlines()[2:] == [
        "CHANGE            OLD RULE  NEW RULE  LINES  BYTES    SHARE",
        "keep → malformed  default   default       1   49 B  100.0 %",
        "",
        "newly dropped: 0 lines (0 B); newly kept: 0 lines (0 B); kept by both, otherwise: 1 line (49 B)",
    ]


def test_each_side_may_have_a_dialect_of_its_own(folder: Path) -> None:
    both = ("--old-dialect", "fluentd", "--new-dialect", "fluentd")
    found = compare(folder, "--dialect", "fluentbit-yaml", *both, "old.conf", "new.conf", "flows.log")
    assert (found["newly_dropped"]["lines"], found["newly_kept"]["lines"]) == (2, 1)
    done = flowd("compare", *both[:2], "--new-dialect", "fluentbit-yaml", "old.conf", "new.conf", cwd=folder)
    assert (done.returncode, b"old.conf" in done.stderr, b"new.conf" in done.stderr) == (78, False, True)


def test_wrong_usage_and_wrong_filters(folder: Path, tmp_path: Path) -> None:
    assert flowd("compare", "old.conf", cwd=folder).returncode == 2
    assert flowd("compare", "--journal", "old.conf", "new.conf", cwd=folder).returncode == 2
    assert flowd("compare", "--since", "5m", "old.conf", "new.conf", cwd=folder).returncode == 2
    assert flowd("compare", "old.conf", "nosuch", cwd=folder).returncode == 74
    (folder / "new.conf").write_text(DEV_FILTER.replace("dev", "de[v"))
    assert flowd("compare", "old.conf", "new.conf", cwd=folder).returncode == 78
    done = flowd("compare", "--journal", "--runtime-dir", tmp_path / "nosuch", "old.conf", cwd=folder)
    assert (done.returncode, b"no daemon has made this socket" in done.stderr) == (69, True)


def test_the_examples_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "flow").write_text(WEB)
    for example in examples_of("compare"):
        done = run_example(tmp_path, example)
        assert done.returncode == 0, (example, done.stderr)


def send(daemon: DaemonProcess, lines: bytes) -> None:
    assert flowd("send", "-q", "--runtime-dir", daemon.run_dir, lines=lines).returncode == 0


def test_a_journal_is_compared_with_new_filters(folder: Path) -> None:
    with DaemonProcess(folder) as daemon:
        where = ("--journal", "--runtime-dir", str(daemon.run_dir))
        done = flowd("compare", "-e", *where, "new.conf", cwd=folder)
        assert (done.returncode, done.stdout.decode().splitlines()[1:]) == (
            0,
            [
                "newly dropped: 0 lines (0 B), -",
                "newly kept: the daemon knows of no line that it has dropped meanwhile",
            ],
        )
        send(daemon, json_line("web") * 3 + json_line("shop") * 7 + json_line("dev") * 20)
        (folder / "new.conf").write_text(WEB.replace("dev", "nosuch"))
        found = compare(folder, *where, "--since", "1h", "new.conf")
        assert found["estimate"].pop("since_ns") > found.pop("since_ns")
        web, dev = json_line("web").decode().rstrip(), json_line("dev").decode().rstrip()
        change = {"old_rule": "", "old_place": ""}
        assert found == {
            "stream": "flows",
            "old": "",
            "new": "new.conf",
            "lines": 10,
            "bytes": len(json_line("web") * 3 + json_line("shop") * 7),
            "newly_dropped": {"lines": 3, "bytes": 3 * len(json_line("web"))},
            "changes": [
                {
                    **change,
                    "change": "newly dropped",
                    "old_verdict": "keep",
                    "new_verdict": "drop",
                    "new_rule": "filter1.exclude1",
                    "new_place": "new.conf:3",
                    "lines": 3,
                    "bytes": 3 * len(json_line("web")),
                    "examples": [web] * 3,
                }
            ],
            "moves": [],
            "estimate": {
                "is_estimate": True,
                "sampled_lines": 20,
                "stands_for_lines": 20,
                "scale": 1.0,
                "newly_kept": {"lines": 20, "plus_minus_lines": 0, "bytes": 20 * len(json_line("dev"))},
                "changes": [
                    {
                        **change,
                        "change": "newly kept",
                        "old_verdict": "drop",
                        "new_verdict": "keep",
                        "new_rule": "default",
                        "new_place": "",
                        "lines": 20,
                        "bytes": 20 * len(json_line("dev")),
                        "examples": [dev] * 3,
                    }
                ],
            },
        }
        assert flowd("compare", "-e", *where, "new.conf", cwd=folder).returncode == 1
        consumers = request(daemon.endpoint("admin"), "consumers", DEADLINE_S, do="list")["consumers"]
        assert consumers == [], "no cursor is left behind"


def test_what_a_journal_does_not_hold_is_estimated_and_called_so(folder: Path) -> None:
    """A quarter of 8,000 dropped lines would be kept: the estimate from 512 of them is that, give or take."""
    lines = b"".join(json_line("devops" if n % 4 == 0 else "dev", n) for n in range(8_000))
    with DaemonProcess(folder) as daemon:
        (folder / "flow").write_text(DEV_FILTER)
        assert flowd("reload", "--force", "--runtime-dir", daemon.run_dir).returncode == 0
        send(daemon, lines)
        where = ("--journal", "--runtime-dir", str(daemon.run_dir), "new.conf")
        estimate = compare(folder, *where)["estimate"]
        assert (estimate["sampled_lines"], estimate["stands_for_lines"], estimate["scale"]) == (512, 8_000, 15.625)
        kept = estimate["newly_kept"]
        assert 250 < kept["plus_minus_lines"] < 350
        assert abs(kept["lines"] - 2_000) < 3 * kept["plus_minus_lines"]
        text = flowd("compare", *where, cwd=folder).stdout.decode()
        assert f"newly kept: about {kept['lines']:,} ± {kept['plus_minus_lines']:,} lines (" in text
        assert "an ESTIMATE from a sample of 512 lines, which stand for 8,000 (1 for 15.6) dropped since " in text
        assert "newly kept  default   " in text


def test_an_estimate_holds_the_truth_as_often_as_it_says() -> None:
    """Over 300 seeded samples of two spans, in at least 90 of 100 cases."""
    random = Random(11)
    filters = library.compile(DEV_FILTER)
    spans_of = ((4_000, 0.1, 200), (30_000, 0.02, 200))
    truth = sum(lines * share for lines, share, _ in spans_of)
    hits = 0
    for _ in range(300):
        spans = []
        for lines, share, picked in spans_of:
            kept = set(range(round(lines * share)))
            sample = [json_line("shop" if n in kept else "dev") for n in random.sample(range(lines), picked)]
            spans.append(Span(0, lines, picked, sample))
        estimate = estimate_dropped(spans, filters, 0, "auto")
        assert math.isclose(estimate.stands_for_lines, 34_000)
        hits += abs(estimate.newly_kept_lines - truth) <= estimate.plus_minus_lines
    assert 0.9 <= hits / 300 < 1


def test_none_of_few_is_not_taken_for_none_of_all() -> None:
    spans = [Span(0, 10_000, 100, [json_line("dev")] * 100)]
    estimate = estimate_dropped(spans, library.compile(DEV_FILTER), 0, "auto")
    assert estimate.newly_kept_lines == 0
    assert 200 < estimate.plus_minus_lines < 400
