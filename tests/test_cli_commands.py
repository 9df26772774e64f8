"""The commands beside `filter`: check, explain, completion, --version, and how all of them end."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_bed import DEV_FILTER, FLOWD, environment, flowd, json_line, text_line

import flowd as library
from flowd.cli.root import COMMANDS

KEPT, DROPPED = text_line("shop"), text_line("dev")
BROKEN = DEV_FILTER.replace("dev", "de[v") + DEV_FILTER.replace("dev", "pub(lic")


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


def test_version_names_engines_simd_level_and_python() -> None:
    done = flowd("--version")
    first, engines, simd, python = done.stdout.decode().splitlines()
    assert (done.returncode, first) == (0, f"flowd {library.__version__}")
    assert engines.startswith("engines: Oniguruma ")
    assert simd.removeprefix("SIMD: ") in ("avx512", "avx2", "sse42", "neon", "portable")
    assert python == f"Python {sys.version.split()[0]}"


def test_version_loads_neither_click_nor_what_reads_filters() -> None:
    script = "import sys; from flowd.cli import main; main(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment(), check=True)
    loaded = set(done.stdout.decode().splitlines()[-1].split())
    assert not loaded & {"click", "yaml", "zmq", "msgspec", "flowd.filterset", "flowd.filters"}


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_help_is_there(arguments: list[str]) -> None:
    done = flowd(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: flowd ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_in_two_examples(name: str) -> None:
    text = flowd(name, "--help").stdout.decode()
    examples = text.rpartition("Examples:\n")[2].strip().splitlines()
    assert len(examples) == 2
    assert all("flowd " + name in example for example in examples)


def test_a_near_miss_is_suggested() -> None:
    done = flowd("filtr")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2, b"flowd: No such command 'filtr'. Did you mean 'filter'?",
    )  # fmt: skip


ANCHORED = re.sub(r"pattern .*", "pattern /^dev$/", DEV_FILTER)


def test_check_tells_dialect_and_rules(filters: Path) -> None:
    filters.write_text(ANCHORED)
    done = flowd("check", filters)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (
        0, f"{filters}: fluentd, 1 rule for flows, 0 rules for dns\n", b"",
    )  # fmt: skip


def test_check_prints_every_problem_with_its_place(tmp_path: Path, filters: Path) -> None:
    path = tmp_path / "broken.conf"
    path.write_text(BROKEN)
    filters.write_text(ANCHORED)
    done = flowd("check", path, filters)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 78
    assert lines[0].startswith(f"{path}:5:13: error: ")
    assert lines[2].startswith(f"{path}:12:13: error: ")
    assert lines[1].strip().startswith("hint: ")
    assert lines[4:] == [f"{path}: 2 problems", f"{filters}: fluentd, 1 rule for flows, 0 rules for dns"]


def test_check_as_json(tmp_path: Path) -> None:
    path = tmp_path / "broken.conf"
    path.write_text(BROKEN)
    report = json.loads(flowd("check", "-o", "json", path).stdout)
    assert [(problem["line"], problem["column"]) for problem in report["problems"]] == [(5, 13), (12, 13)]
    assert report["path"] == str(path)


def test_check_passes_warnings_unless_denied(tmp_path: Path) -> None:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER.replace("source_namespace", "source_namespce"))
    done = flowd("check", path)
    assert done.returncode == 0
    assert f"{path}:3:3: warning: " in done.stdout.decode()
    assert ", 1 warning\n" in done.stdout.decode()
    assert flowd("check", "--deny-warnings", path).returncode == 78
    assert flowd("check", path, extra={"FLOWD_DENY_WARNINGS": "1"}).returncode == 78


def test_check_tries_a_sample(tmp_path: Path, filters: Path) -> None:
    sample = tmp_path / "flows.log"
    sample.write_bytes(KEPT + DROPPED + b"no record\n")
    done = flowd("check", "--sample", sample, filters)
    assert (done.returncode, done.stdout.decode().splitlines(), done.stderr) == (
        0,
        [
            f"{filters}: fluentd, 1 rule for flows, 0 rules for dns",
            f"{sample}: 3 lines of flows, 2 kept, 1 malformed, 0 with errors while matching",
        ],
        b"",
    )


def test_check_says_what_a_bare_word_hits_in_a_sample(tmp_path: Path, filters: Path) -> None:
    sample = tmp_path / "flows.log"
    sample.write_bytes(b"".join(json_line(name) for name in ("dev", "devops", "my-dev", "devops", "web")))
    filters.write_text(DEV_FILTER)
    report = json.loads(flowd("check", "-o", "json", "--sample", sample, filters).stdout)
    assert [(warning["code"], warning["message"]) for warning in report["warnings"]] == [
        ("unanchored-word", "dev also hits devops (2 lines), my-dev (1 line) in source_namespace")
    ]
    sample.write_bytes(json_line("dev") + json_line("web"))
    assert json.loads(flowd("check", "-o", "json", "--sample", sample, filters).stdout)["warnings"] == []
    found = json.loads(flowd("check", "-o", "json", "--sample", "-", filters, lines=json_line("devops")).stdout)
    assert [warning["message"] for warning in found["warnings"]] == [
        "dev also hits devops (1 line) in source_namespace"
    ]


def test_check_explains_a_code() -> None:
    done = flowd("check", "--explain", "unanchored-word")
    assert done.returncode == 0
    assert done.stdout.startswith(b"unanchored-word (warning): ")
    done = flowd("check", "--explain", "unanchored-wrod")
    assert (done.returncode, b"did you mean unanchored-word?" in done.stderr) == (2, True)
    assert flowd("check").returncode == 2


def test_check_warns_of_rules_that_decide_nothing_in_a_sample(filters: Path) -> None:
    idle = ANCHORED.replace("dev", "nosuch") + ANCHORED.replace("source_namespace", "process_name")
    filters.write_text(ANCHORED + idle)
    done = flowd("check", "-o", "json", "--deny-warnings", "--sample", "-", filters, lines=KEPT + DROPPED)
    report = json.loads(done.stdout)
    assert (done.returncode, report["sample"]) == (
        78, {"file": "-", "stream": "flows", "lines": 2, "kept_lines": 1, "malformed": 0, "errors": 0},
    )  # fmt: skip
    assert [(warning["line"], warning["message"], warning["hint"]) for warning in report["warnings"]] == [
        (
            10,
            "filter2.exclude1 decides none of the sample's 2 lines",
            "try `flowd explain` on a line that it is meant for",
        ),
        (
            17,
            "filter3.exclude1 decides none of the sample's 2 lines",
            "none of the first 2 lines has a value for process_name",
        ),
    ]


def test_check_says_which_sample_cannot_be_read(tmp_path: Path, filters: Path) -> None:
    done = flowd("check", "--sample", "nosuch", filters, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (74, b"flowd: nosuch: No such file or directory\n")
    assert flowd("check", "--sample", "-", filters, filters).returncode == 2


def test_check_of_what_is_missing_ends_with_74(tmp_path: Path, filters: Path) -> None:
    done = flowd("check", "nosuch", filters, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (74, b"flowd: nosuch: No such file or directory\n")
    assert done.stdout.startswith(str(filters).encode())


def test_check_reads_folders_and_configmaps(tmp_path: Path) -> None:
    folder = tmp_path / "filters"
    folder.mkdir()
    (folder / "flow").write_text(ANCHORED)
    (folder / "dns").write_text(ANCHORED.replace("flows", "dns").replace("source_namespace", "qname"))
    assert flowd("check", folder).stdout.decode() == f"{folder}: fluentd, 1 rule for flows, 1 rule for dns\n"


def test_explain_says_verdict_rule_and_value(filters: Path) -> None:
    done = flowd("explain", "-f", filters, lines=KEPT + DROPPED + b"no record\n")
    assert done.returncode == 0
    assert [row.split(maxsplit=3) for row in done.stdout.decode().splitlines()] == [
        ["LINE", "VERDICT", "RULE", "VALUE"],
        ["1", "keep", "default"],
        ["2", "drop", "filter1.exclude1", 'source_namespace is "dev"'],
        ["3", "malformed", "default"],
    ]


def test_explain_as_json_has_the_trace(filters: Path) -> None:
    done = flowd("explain", "-f", filters, "-o", "json", "-", lines=json_line("devops") + b"\xff\n")
    dropped, malformed = map(json.loads, done.stdout.splitlines())
    assert (dropped["line"], dropped["verdict"], dropped["rule"], dropped["value"]) == (
        1, "drop", "filter1.exclude1", "devops",
    )  # fmt: skip
    assert [(looked["rule"], looked["raw"], looked["result"]) for looked in dropped["trace"]] == [
        ("filter1.exclude1", '"devops"', "yes")
    ]
    assert (malformed["line"], malformed["verdict"], malformed["trace"]) == (2, "malformed", [])


def test_explain_in_plain_english_takes_no_lines(filters: Path) -> None:
    done = flowd("explain", "-f", filters, "--plain", "flows.log")
    assert (done.returncode, done.stdout) == (2, b"")
    assert "--plain speaks of the filters alone: give it no FILE" in done.stderr.decode()


def test_explain_traces_a_line_as_a_table_with_the_deciding_rule_marked(filters: Path) -> None:
    done = flowd("explain", "-f", filters, "--trace", "-", lines=DROPPED + KEPT + b"no record\n")
    assert done.returncode == 0
    dropped, kept, malformed = re.split(r"(?m)^(?=standard input:)", done.stdout.decode())[1:]
    assert dropped.startswith("standard input:1: drop by filter1.exclude1: ")
    marked = [line.split()[1] for line in dropped.splitlines() if line.strip().startswith(">")]
    assert marked == ["filter1.exclude1"]
    assert kept.rstrip().endswith("no rule decided")
    assert "malformed" in malformed


def test_a_trace_only_counts_the_many_rules_that_were_not_looked_at(tmp_path: Path) -> None:
    rules = "".join(f"<exclude>\nkey a\nequals {number}\n</exclude>\n" for number in range(100))
    (tmp_path / "own.conf").write_text(f"<filter flows>\n@type flowd\n{rules}</filter>\n")
    done = flowd("explain", "-f", tmp_path / "own.conf", "-t", "-", lines=b'{"a":"1"}\n')
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 5
    assert lines[3].split()[:2] == [">", "filter1.exclude2"]
    assert lines[4].split() == ["…", "98", "rules", "not", "looked", "at"]


def test_explain_numbers_the_lines_of_each_file(filters: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(KEPT * 2)
    done = flowd("explain", "-f", filters, "-o", "json", "a.log", "nosuch", "a.log", cwd=tmp_path)
    assert [json.loads(line)["line"] for line in done.stdout.splitlines()] == [1, 2, 1, 2]
    assert (done.returncode, done.stderr) == (74, b"flowd: nosuch: No such file or directory\n")


def test_explain_without_lines_lists_the_rules(filters: Path) -> None:
    done = subprocess.run(
        [*FLOWD, "explain", "-f", str(filters)], stdin=subprocess.DEVNULL, capture_output=True, env=environment(),
        check=True,
    )  # fmt: skip
    header, rule = (row.split() for row in done.stdout.decode().splitlines()[:2])
    assert header == ["RULE", "PLACE", "KIND", "FIELD", "PATTERN", "ENGINE", "GROUP"]
    assert rule == ["filter1.exclude1", f"{filters}:3", "exclude", "source_namespace", "dev", "literal", "-"]
    assert flowd("explain", "-f", filters).stdout == done.stdout
    (described,) = map(json.loads, flowd("explain", "-f", filters, "-o", "json").stdout.splitlines())
    assert (described["field"], described["pattern"]) == ("source_namespace", "dev")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str) -> None:
    done = flowd("completion", shell)
    assert (done.returncode, b"_FLOWD_COMPLETE" in done.stdout) == (0, True)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, check=True)


def test_completion_completes_commands() -> None:
    extra = {"_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": "flowd ob", "COMP_CWORD": "1"}
    assert flowd(extra=extra).stdout == b"plain,observe\n"


@pytest.mark.parametrize(
    "arguments", [["status"], ["send", "--timeout", "0.2"], ["observe", "--timeout", "0.2"]], ids=lambda a: a[0]
)
def test_without_a_daemon_it_ends_with_69(tmp_path: Path, arguments: list[str]) -> None:
    done = flowd(*arguments, "--runtime-dir", tmp_path, lines=KEPT)
    assert (done.returncode, done.stdout) == (69, b"")
    assert b"flowd: " in done.stderr
    assert b"\nhint: " in done.stderr


@pytest.mark.parametrize("arguments", [["send", "--stream", "a b"], ["observe", "a b"]])
def test_a_name_that_no_stream_can_have_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = flowd(*arguments, "--runtime-dir", tmp_path)
    assert (done.returncode, b"'a b' is no legal name" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--timeout", "nan"],
        ["send", "--timeout", "inf"],
        ["tap", "--timeout", "1e300"],
        ["send", "--rate", "nan"],
        ["top", "--once", "--interval", "nan"],
        ["bench", "--seconds", "nan"],
    ],
    ids=" ".join,
)
def test_a_number_that_nobody_can_wait_for_is_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = flowd(*arguments, extra={"FLOWD_RUNTIME_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout) == (2, b"")
    assert f"{arguments[-1]} is not in the range".encode() in done.stderr


def test_a_socket_path_that_is_too_long_is_a_configuration_error(tmp_path: Path) -> None:
    done = flowd("send", "--runtime-dir", tmp_path / ("x" * 120), lines=KEPT)
    assert (done.returncode, b"the system's limit is 107" in done.stderr) == (78, True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_descriptors_are_no_reason_for_a_traceback(filters: Path, tmp_path: Path, closed: str) -> None:
    (tmp_path / "a.log").write_bytes(KEPT)
    name = "-" if closed == "<&-" else "a.log"
    command = f"{shlex.join(FLOWD)} filter -f {filters} {name} {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, env=environment(), check=False)
    said = {
        "<&-": (74, b"", b"flowd: standard input: Bad file descriptor\n"),
        ">&-": (74, b"", b"flowd: standard output: Bad file descriptor\n"),
        "2>&-": (0, KEPT, b""),
    }
    assert (done.returncode, done.stdout, done.stderr) == said[closed]


def test_run_check_validates_and_ends(tmp_path: Path, filters: Path) -> None:
    done = flowd("run", "--check", "-f", filters, "--runtime-dir", tmp_path / "run")
    assert (done.returncode, done.stdout) == (0, b"the configuration is valid: 1 rule for flows\n")
    assert not (tmp_path / "run").exists()


def test_run_check_compiles_what_every_known_stream_and_view_has(tmp_path: Path, filters: Path) -> None:
    view = tmp_path / "view"
    view.write_bytes(filters.read_bytes())
    config = tmp_path / "flowd.toml"
    config.write_text(
        f'[filters]\npath = "{filters}"\n[views.calm]\nstream = "flows"\npath = "{view}"\n'
        f'[sources.tail]\ndns = ["{tmp_path}/dns.log"]\n'
    )
    done = flowd("run", "--check", "-c", config)
    assert done.stdout == b"the configuration is valid: 1 rule for flows, 0 rules for dns, 1 rule for calm\n"
    view.write_text("<filter flows>\n@type grep\n<exclude>\nkey a\npattern /(/\n</exclude>\n</filter>\n")
    done = flowd("run", "--check", "-c", config)
    assert (done.returncode, done.stdout) == (78, b"")
    assert f"{view}:".encode() in done.stderr


@pytest.mark.parametrize("check", [["--check"], []])
def test_run_tells_the_problems_of_the_configuration_and_of_all_filters_at_once(
    tmp_path: Path, check: list[str]
) -> None:
    for name, text in (("node", BROKEN), ("calm", BROKEN), ("bytes", "# \udcff\n"), ("list", "- name: grp\n")):
        (tmp_path / name).write_text(text, errors="surrogateescape")
    config = tmp_path / "flowd.toml"
    views = "".join(
        f'[views.{name}]\nstream = "flows"\npath = "{tmp_path}/{name}"\n' for name in ("calm", "bytes", "list")
    )
    filters = f'[filters]\npath = "{tmp_path}/node"\n'
    rest = ["-c", config, "--runtime-dir", tmp_path / "run", "--state-dir", tmp_path / "state", *check]
    of_filters = {f"{tmp_path}/{name}" for name in ("node", "calm", "bytes", "list")}
    config.write_text(filters + views)
    done = flowd("run", *rest)
    assert (done.returncode, places_of(done.stderr)) == (78, of_filters)
    config.write_text(filters + 'dialect = "fluent"\n' + views + '[views.gone]\nstream = "flows"\npath = "nosuch"\n')
    done = flowd("run", *rest)
    assert (done.returncode, places_of(done.stderr)) == (78, {*of_filters, str(config)})
    assert b"filters.dialect: 'fluent' is none of fluentd, " in done.stderr
    assert b"hint: did you mean 'fluentd'?" in done.stderr
    assert b"view path 'nosuch' does not exist" in done.stderr
    assert not (tmp_path / "state" / "journal").exists()


def places_of(said: bytes) -> set[str]:
    """The files that problems are told of."""
    return {line.removeprefix("flowd: ").split(":")[0] for line in said.decode().splitlines() if line[:5] == "flowd"}


def test_run_refuses_a_broken_configuration_with_78(tmp_path: Path, filters: Path) -> None:
    config = tmp_path / "flowd.toml"
    config.write_text("[runtime]\ndrain = 3\n[filters]\npath = 5\n")
    done = flowd("run", "--check", "-c", config)
    assert done.returncode == 78
    assert f"flowd: {config}:2:1: unknown key" in done.stderr.decode()
    assert f"flowd: {config}:4:1: " in done.stderr.decode()
    done = flowd("run", "--check", "-f", tmp_path / "nosuch")
    assert (done.returncode, done.stderr.startswith(b"flowd: --filters-path: ")) == (78, True)
    filters.write_text(BROKEN)
    assert flowd("run", "--check", "-f", filters).returncode == 78


def test_bench_measures_and_says_on_what() -> None:
    done = flowd("bench", "core", "--seconds", "0.1", "-o", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["seed"] == 1
    assert {figure["name"] for figure in report["figures"]} >= {"text24 filter", "json filter"}
    assert all(figure["bytes_per_second"] > 0 and figure["rounds"] >= 3 for figure in report["figures"])


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    def stderr_on_terminal(**extra: str) -> bytes:
        ours, theirs = pty.openpty()
        env = environment({"TERM": "xterm", **extra})
        if "NO_COLOR" not in extra:
            del env["NO_COLOR"]
        try:
            subprocess.run([*FLOWD, "check", str(tmp_path / "nosuch")], stderr=theirs, env=env, check=False)
            return os.read(ours, 4096)
        finally:
            os.close(ours)
            os.close(theirs)

    assert b"\x1b[31m" in stderr_on_terminal()
    assert b"\x1b" not in stderr_on_terminal(NO_COLOR="1")
    assert b"\x1b" not in flowd("check", tmp_path / "nosuch").stderr


def examples_of(name: str) -> list[str]:
    """The examples that the help ends in, read from the help itself."""
    text = subprocess.run([*FLOWD, name, "--help"], capture_output=True, env=environment(), check=True).stdout.decode()
    return [line.strip() for line in text.rpartition("Examples:\n")[2].strip().splitlines()]


@pytest.mark.parametrize("name", ["check", "filter", "explain", "keys", "bench", "completion"])
def test_the_examples_run(tmp_path: Path, name: str) -> None:
    prepare_examples(tmp_path)
    for example in examples_of(name):
        done = run_example(tmp_path, example)
        assert done.returncode == 0, (example, done.stderr)


def prepare_examples(folder: Path) -> None:
    """A folder with what the examples speak of: filters, logs, and `flowd` on the path."""
    (folder / "filters").mkdir()
    (folder / "filters" / "flow").write_text(DEV_FILTER)
    (folder / "filters" / "dns").write_text("")
    (folder / "flows.log").write_bytes((KEPT + DROPPED) * 100)
    subprocess.run(["gzip", "-k", "flows.log"], cwd=folder, check=True)
    command = folder / "bin" / "flowd"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.join(FLOWD)} "$@"\n')
    command.chmod(0o755)


def run_example(folder: Path, example: str, **extra: str) -> subprocess.CompletedProcess[bytes]:
    env = environment({"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **extra})
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {example.replace('--seconds 1', '--seconds 0.1')}"],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, env=env, timeout=60, check=False,
    )  # fmt: skip
