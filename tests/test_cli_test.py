"""`flowd test` as users run it: what passes and fails, what is wrong in tests files, what was not reached, JUnit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_bed import DEV_FILTER, flowd, text_line
from test_cli_commands import examples_of, prepare_examples, run_example

TWO = DEV_FILTER + DEV_FILTER.replace("dev", "/^web$/").replace("source_namespace", "dest_namespace")
DNS_FILTER = DEV_FILTER.replace("flows", "dns").replace("source_namespace", "qname").replace("dev", "web")
GROUPED = """\
<filter flows>
  @type grep
  <and>
    <exclude>
      key source_namespace
      pattern x
    </exclude>
    <exclude>
      key dest_namespace
      pattern y
    </exclude>
  </and>
</filter>
"""
TESTS = """\
[[test]]
name = "dev is dropped"
line = '{"source_namespace":"dev"}'
expect = "drop"
rule = "filter1.exclude1"

[[test]]
name = "records become lines"
record = { source_namespace = "shop", dest_port = 443, labels = ["é", { a = true }] }
expect = "keep"
rule = "default"

[[test]]
name = "what is no record is malformed"
lines = ["no record", ""]
expect = "malformed"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow.conf").write_text(DEV_FILTER)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "flows.toml").write_text(TESTS)
    return tmp_path


def run(folder: Path, tests: str = "", *options: str, filters: str = "flow.conf") -> tuple[int, list[str], list[str]]:
    """Exit code and lines of both outputs of `flowd test` on a tests file with this text; on the folder without."""
    if tests:
        (folder / "given.toml").write_text(tests)
    done = flowd("test", "-f", filters, *options, "given.toml" if tests else "tests", cwd=folder)
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines()


def test_tests_that_pass_are_counted(folder: Path) -> None:
    assert run(folder) == (0, ["3 passed, 0 failed"], [])


def test_a_failed_test_is_told_with_its_place_and_why(folder: Path) -> None:
    tests = '\n[[test]]\nname = "devops"\nline = \'{"source_namespace":"devops"}\'\nexpect = "keep"\n'
    assert run(folder, tests) == (
        1,
        [
            "given.toml:2: devops: expected keep, got drop by filter1.exclude1: source_namespace is 'devops'",
            "0 passed, 1 failed",
        ],
        [],
    )


def test_the_deciding_rule_is_part_of_what_is_expected(folder: Path) -> None:
    (folder / "flow.conf").write_text(TWO)
    tests = '[[test]]\nrecord = { dest_namespace = "web" }\nexpect = "drop"\nrule = "filter1.exclude1"\n'
    code, said, _ = run(folder, tests)
    assert (code, said[0]) == (
        1,
        "given.toml:1: test 1: expected drop by filter1.exclude1, got drop by filter2.exclude1: "
        "dest_namespace is 'web'",
    )


def test_of_many_lines_the_first_that_is_wrong_is_told(folder: Path) -> None:
    tests = """\
[[test]]
lines = ['{"source_namespace":"dev"}', '{"source_namespace":"shop"}', '{}']
expect = "drop"
"""
    code, said, _ = run(folder, tests)
    assert (code, said[0]) == (
        1, "given.toml:1: test 1: line 2 of 3: expected drop, got keep by default (and 1 more)"
    )  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_a_file_are_counted(folder: Path, packed: bool) -> None:
    lines = text_line("dev") * 2 + text_line("shop") * 3 + b"no record\n"
    (folder / "tests" / "sample.log").write_bytes(gzip.compress(lines) if packed else lines)
    (folder / "tests" / "flows.toml").write_text("""\
[[test]]
name = "right"
file = "sample.log"
kept = 4
dropped = 2
malformed = 1
errors = 0

[[test]]
name = "wrong"
file = "sample.log"
kept = 3
dropped = 2
""")
    assert run(folder)[:2] == (
        1,
        [
            "tests/flows.toml:9: wrong: expected kept = 3, got kept = 4 (decided by default 4, filter1.exclude1 2)",
            "1 passed, 1 failed",
        ],
    )


def test_an_empty_file_of_lines_is_no_success(folder: Path) -> None:
    (folder / "empty.log").touch()
    code, said, _ = run(folder, '[[test]]\nfile = "empty.log"\nexpect = "drop"\n')
    assert (code, said[0]) == (1, "given.toml:1: test 1: expected drop, but there are no lines")
    assert run(folder, '[[test]]\nfile = "empty.log"\nkept = 0\n')[0] == 0


def test_streams_and_forms_are_the_files_or_the_tests_own(folder: Path) -> None:
    (folder / "flow.conf").write_text(DEV_FILTER + DNS_FILTER)
    tests = """\
stream = "dns"
format = "json"

[[test]]
line = '{"qname":"web"}'
expect = "drop"
rule = "filter2.exclude1"

[[test]]
line = '{"source_namespace":"dev"}'
stream = "flows"
expect = "drop"

[[test]]
line = "1700000000 1700000300 wep dev p - wep web s - - - 6 - 443 1 1 0 src 7 11 1745 7041 allow"
expect = "malformed"

[[test]]
line = "1700000000 1700000300 wep dev p - wep web s - - - 6 - 443 1 1 0 src 7 11 1745 7041 allow"
format = "text24"
expect = "keep"
"""
    assert run(folder, tests) == (0, ["4 passed, 0 failed"], [])


def test_rules_that_no_test_reached_are_listed(folder: Path) -> None:
    (folder / "flow.conf").write_text(TWO + DNS_FILTER)
    unreached = [
        "3 passed, 0 failed",
        "2 rules that no test reached:",
        "  filter2.exclude1 (flow.conf:10)",
        "  filter3.exclude1 (flow.conf:17)",
    ]
    assert run(folder) == (0, unreached, [])
    assert run(folder, "", "--fail-unreached") == (1, unreached, [])
    assert run(folder, "", "-k", "dev")[1] == ["1 passed, 0 failed"]
    assert run(folder, "", "-k", "dev", "--fail-unreached")[0] == 2


def test_a_group_is_reached_as_a_whole(folder: Path) -> None:
    (folder / "flow.conf").write_text(GROUPED)
    tests = '[[test]]\nrecord = { source_namespace = "x", dest_namespace = "y" }\nexpect = "drop"\n'
    assert run(folder, tests, "--fail-unreached")[:2] == (0, ["1 passed, 0 failed"])
    assert run(folder, tests.replace('"x"', '"z"').replace("drop", "keep"))[1] == [
        "1 passed, 0 failed", "1 rule that no test reached:", "  filter1.and (flow.conf:4)",
    ]  # fmt: skip


def test_every_problem_of_every_file_is_told_with_its_place(folder: Path) -> None:
    (folder / "given.toml").write_text('''\
strem = "flows"

[[test]]
name = "misspelt"
lin = "{}"
expct = "drop"

[[test]]
record = { a = 2020-01-01 }
expect = "dropp"

[[test]]
line = """
expect = 3
"""
dropped = -1
kept = true

[[test]]
line = "{}"
lines = ["{}"]
rule = "filter1.exclude1"
''')
    (folder / "torn.toml").write_text('[[test]]\nline = "a\n')
    done = flowd("test", "-f", "flow.conf", "given.toml", "torn.toml", cwd=folder)
    assert (done.returncode, done.stdout) == (78, b"")
    said = done.stderr.decode().splitlines()
    assert [line.removeprefix("flowd: ") for line in said if line.startswith("flowd: ")] == [
        "given.toml:1:1: unknown key 'strem'",
        "given.toml:5:1: unknown key 'lin'",
        "given.toml:6:1: unknown key 'expct'",
        "given.toml:10:1: expect is 'dropp'",
        "given.toml:9:1: record.a has no form in JSON",
        "given.toml:17:1: kept is True",
        "given.toml:16:1: dropped is -1",
        "given.toml:13:1: line has a newline in it",
        "given.toml:19:1: the test expects nothing",
        "given.toml:22:1: rule is about lines of one verdict",
        "given.toml:21:1: line, lines are given",
        "torn.toml:2:10: not TOML: Illegal character '\\n' (at line 2, column 10)",
    ]
    assert said[1:8:2] == [
        "hint: did you mean 'stream'?",
        "hint: did you mean 'line'?",
        "hint: did you mean 'expect'?",
        "hint: did you mean 'drop'?",
    ]


def test_a_rule_that_does_not_exist_is_a_problem(folder: Path) -> None:
    (folder / "flow.conf").write_text(DEV_FILTER + GROUPED)
    test = '[[test]]\nline = "{}"\nexpect = "keep"\nrule = "%s"\n'
    assert run(folder, test % "filter1.exclude3" + test % "filter2.exclude1" + test % "nosuch") == (
        78,
        [],
        [
            "flowd: given.toml:4:1: there is no rule 'filter1.exclude3' for the stream 'flows'",
            "hint: did you mean 'filter1.exclude1'?",
            "flowd: given.toml:8:1: rule 'filter2.exclude1' is in the group 'filter2.and', which decides as a whole",
            "hint: write 'filter2.and'",
            "flowd: given.toml:12:1: there is no rule 'nosuch' for the stream 'flows'",
            "hint: `flowd explain -f PATH` lists the rules",
        ],
    )


def test_missing_and_useless_paths_have_their_exit_codes(folder: Path) -> None:
    missing = flowd("test", "-f", "flow.conf", "nosuch.toml", cwd=folder)
    assert (missing.returncode, missing.stderr) == (74, b"flowd: nosuch.toml: No such file or directory\n")
    code, _, said = run(folder, '[[test]]\nfile = "nosuch.log"\nkept = 0\n')
    assert (code, said) == (74, ["flowd: nosuch.log: No such file or directory"])
    assert flowd("test", "-f", "nosuch", "tests", cwd=folder).returncode == 74
    (folder / "none").mkdir()
    nothing = flowd("test", "-f", "flow.conf", "none", cwd=folder)
    assert (nothing.returncode, nothing.stderr.splitlines()[0]) == (
        2, b"flowd: there are no tests in none: they are [[test]] in files that end in .toml",
    )  # fmt: skip
    assert run(folder, "", "-k", "nosuch")[0] == 2
    assert flowd("test", "-f", "flow.conf", cwd=folder).returncode == 2
    (folder / "flow.conf").write_text(DEV_FILTER.replace("dev", "de[v"))
    assert run(folder)[0] == 78


def test_as_json(folder: Path) -> None:
    (folder / "flow.conf").write_text(TWO)
    done = flowd("test", "-f", "flow.conf", "-o", "json", "-k", "FLOWS", "tests", cwd=folder)
    report = json.loads(done.stdout)
    assert (report["passed"], report["failed"], report["unreached"]) == (3, 0, [])
    first = report["tests"][0]
    assert first.pop("time_s") >= 0
    assert first == {
        "file": "tests/flows.toml",
        "line": 1,
        "name": "dev is dropped",
        "stream": "flows",
        "lines": 1,
        "passed": True,
        "failure": "",
    }
    report = json.loads(flowd("test", "-f", "flow.conf", "-o", "json", "tests", cwd=folder).stdout)
    assert report["unreached"] == [{"rule": "filter2.exclude1", "file": "flow.conf", "line": 10}]


def test_junit_has_a_case_for_each_test(folder: Path) -> None:
    (folder / "tests" / "odd.toml").write_text(
        '[[test]]\nname = "a <b> \\u0001"\nline = \'{"source_namespace":"dev\\u0000"}\'\nexpect = "keep"\n'
    )
    assert run(folder, "", "--junit", "report.xml")[0] == 1
    root = ElementTree.parse(folder / "report.xml").getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "4", "1", "0")
    flows, odd = root
    assert [(suite.tag, suite.get("name"), suite.get("tests")) for suite in root] == [
        ("testsuite", "tests/flows.toml", "3"),
        ("testsuite", "tests/odd.toml", "1"),
    ]
    assert [(case.get("name"), case.get("file"), case.get("line"), len(case)) for case in flows] == [
        ("dev is dropped", "tests/flows.toml", "1", 0),
        ("records become lines", "tests/flows.toml", "7", 0),
        ("what is no record is malformed", "tests/flows.toml", "13", 0),
    ]
    (case,) = odd
    (failure,) = case
    assert (case.get("name"), case.get("classname"), failure.tag) == ("a <b> �", "tests.odd", "failure")
    assert failure.get("message", "").startswith("expected keep, got drop by filter1.exclude1: source_namespace is ")
    assert float(case.get("time", "")) >= 0


def test_junit_tells_problems_as_errors(folder: Path) -> None:
    assert run(folder, '[[test]]\nline = "{}"\nexpct = "keep"\n', "--junit", "report.xml")[0] == 78
    root = ElementTree.parse(folder / "report.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("1", "0", "1")
    (error,) = root[0][0]
    assert (error.tag, error.get("message")) == ("error", "unknown key 'expct'")


def test_the_examples_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "flows.toml").write_text(TESTS)
    for example in examples_of("test"):
        done = run_example(tmp_path, example)
        assert done.returncode == 0, (example, done.stderr)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("record = " + "{ a = " * 5_000 + "1" + " }" * 5_000, "deep.toml:1:1: the tables are nested too deeply"),
        ("record." + ".".join("a" * 5_000) + " = 1", "deep.toml:2:1: record is nested too deeply"),
    ],
)
def test_records_nested_beyond_reason_are_refused(folder: Path, record: str, message: str) -> None:
    (folder / "deep.toml").write_text(f'[[test]]\n{record}\nexpect = "keep"\n')
    done = flowd("test", "-f", "flow.conf", "deep.toml", cwd=folder)
    assert done.returncode == 78
    assert message in done.stderr.decode()
