"""Tests files → tests: TOML checked key by key, all problems of all files told together, each with its place.

Whether the rules that tests name exist is another question: `check_rules` answers it once the filters are compiled.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from flowd.errors import ConfigError, Problem
from flowd.filter_tests.model import COUNTS, VERDICT_WORDS, FilterTest
from flowd.filter_tests.places import FILE, Places, find_places
from flowd.filters.suggest import suggest_name
from flowd.filterset import FilterSet, Format

FORMATS: tuple[str, ...] = get_args(Format)
FILE_KEYS = ("stream", "format", "test")
LINE_KEYS = ("line", "lines", "record", "file")
"""What a test's lines are given as: one of these."""
TEST_KEYS = ("name", *LINE_KEYS, "expect", "rule", *COUNTS, "stream", "format")


class BadTests(ConfigError):
    """Tests that cannot be run; `problems` holds every problem of every file."""


def find_tests_files(paths: Iterable[str]) -> list[str]:
    """The files that these paths name: a folder stands for every `*.toml` below it. Raises FileNotFoundError."""
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            found += sorted(str(file) for file in Path(path).rglob("*.toml") if file.is_file())
        elif os.path.exists(path):
            found.append(path)
        else:
            raise FileNotFoundError(2, os.strerror(2), path)
    return list(dict.fromkeys(found))


def read_tests(files: Iterable[str]) -> list[FilterTest]:
    """The tests of these files, in their order. Raises BadTests with every problem, and OSError, also for a sample
    that is missing."""
    tests: list[FilterTest] = []
    problems: list[Problem] = []
    for file in files:
        reading = _Reading(file)
        tests += reading.read()
        problems += reading.problems
    if problems:
        raise BadTests(problems)
    for test in tests:
        if test.sample:
            os.stat(test.sample)
    return tests


def check_rules(tests: Iterable[FilterTest], sets: Mapping[str, FilterSet]) -> None:
    """Raises BadTests where a test names a rule that cannot decide; `sets` are the filters by stream."""
    problems = []
    for test in tests:
        filters = sets[test.stream]
        deciders = filters.hits
        if not test.rule or test.rule in deciders:
            continue
        groups = {rule.name: rule.group for rule in filters.rules}
        if test.rule in groups:
            message = f"rule {test.rule!r} is in the group {groups[test.rule]!r}, which decides as a whole"
            hint = f"write {groups[test.rule]!r}"
        else:
            near = suggest_name(test.rule, deciders)
            message = f"there is no rule {test.rule!r} for the stream {test.stream!r}"
            hint = f"did you mean {near!r}?" if near else "`flowd explain -f PATH` lists the rules"
        problems.append(Problem(test.file, test.rule_line, 1, message, hint, "unknown-rule"))
    if problems:
        raise BadTests(problems)


class _Reading:
    """One file: its tests and its problems."""

    def __init__(self, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._places = Places({}, {})

    def read(self) -> list[FilterTest]:
        table = self._parse(Path(self._file).read_bytes())
        if table is None:
            return []
        self._refuse_unknown(FILE, table, FILE_KEYS)
        stream = self._text(FILE, table, "stream") or "flows"
        form = self._choice(FILE, table, "format", FORMATS) or "auto"
        tests = table.get("test", [])
        if not isinstance(tests, list) or not all(isinstance(test, dict) for test in tests):
            self._add(FILE, "test", "test is no list of tables", "begin each test with [[test]]")
            return []
        return [self._test(number, test, stream, form) for number, test in enumerate(tests)]

    def _parse(self, raw: bytes) -> dict[str, Any] | None:
        try:
            text = raw.decode()
            table = tomllib.loads(text)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.problems.append(Problem(self._file, line, 1, "the file is not UTF-8", "save it as UTF-8"))
            return None
        except tomllib.TOMLDecodeError as error:
            line, column = _place_of(error, text)
            hint = "a text in quotes ends on its line; '…' takes backslashes as they are"
            if "[[test]]" not in text:
                hint = "this is no file of tests, which begin with [[test]]; filters are given with -f"
            self.problems.append(Problem(self._file, line, column, f"not TOML: {error}", hint))
            return None
        except RecursionError:
            hint = "give a deeply nested line as it is: line = '…'"
            self.problems.append(Problem(self._file, 1, 1, "the tables are nested too deeply", hint))
            return None
        self._places = find_places(text)
        return table

    def _test(self, number: int, table: dict[str, Any], stream: str, form: str) -> FilterTest:
        meant = self._refuse_unknown(number, table, TEST_KEYS) | table.keys()
        expect = self._choice(number, table, "expect", tuple(VERDICT_WORDS))
        counts = {key: count for key in COUNTS if (count := self._count(number, table, key)) is not None}
        rule = self._text(number, table, "rule")
        if "expect" not in meant and not meant & set(COUNTS):
            self._add(number, "", "the test expects nothing", f"write expect = one of {_list(VERDICT_WORDS)}")
        if rule and "expect" not in meant:
            self._add(number, "rule", "rule is about lines of one verdict", "write expect, too, or leave rule out")
        lines, sample = self._lines(number, table, meant)
        return FilterTest(
            self._file,
            self._places.find(number),
            self._text(number, table, "name") or f"test {number + 1}",
            self._text(number, table, "stream") or stream,
            self._choice(number, table, "format", FORMATS) or form,  # type: ignore[arg-type]
            lines,
            sample,
            VERDICT_WORDS.get(expect, ""),
            counts,
            rule,
            self._places.find(number, "rule"),
        )

    def _lines(self, number: int, table: dict[str, Any], meant: set[str]) -> tuple[bytes, str]:
        """The lines, or the path of the sample that holds them."""
        given = [key for key in LINE_KEYS if key in table]
        if not given and meant & set(LINE_KEYS):
            return b"", ""
        if len(given) != 1:
            found = f"{_list(given)} are given" if given else "the test has no lines"
            self._add(number, given[1] if given else "", found, f"give one of {_list(LINE_KEYS)}")
            return b"", ""
        (key,) = given
        value = table[key]
        if key == "file":
            name = self._text(number, table, key)
            return b"", os.path.join(os.path.dirname(self._file), name) if name else ""
        if key == "record":
            return self._record(number, value), ""
        lines = [value] if key == "line" else value
        if not isinstance(lines, list) or not lines or not all(isinstance(line, str) for line in lines):
            wanted = "a text" if key == "line" else "a list of texts"
            self._add(number, key, f"{key} is {_show(value)}", f"write {wanted}; a table goes into record")
            return b"", ""
        if any("\n" in line for line in lines):
            self._add(number, key, f"{key} has a newline in it", "give several lines as lines = [...]")
        return b"".join(line.encode("utf-8", "surrogatepass") + b"\n" for line in lines), ""

    def _record(self, number: int, record: object) -> bytes:
        if not isinstance(record, dict):
            self._add(number, "record", f"record is {_show(record)}", 'write { dest_namespace = "dev" }')
            return b""
        try:
            odd = _find_odd(record, "record")
            line = "" if odd else json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        except RecursionError:
            self._add(number, "record", "record is nested too deeply", "give the line itself: line = '…'")
            return b""
        if odd:
            self._add(number, "record", f"{odd} has no form in JSON", "give the line itself: line = '…'")
            return b""
        return line.encode() + b"\n"

    def _text(self, number: int, table: dict[str, Any], key: str) -> str:
        value = table.get(key)
        if key not in table or (isinstance(value, str) and value):
            return value or ""
        self._add(number, key, f"{key} is {_show(value)}", "write a text that is not empty")
        return ""

    def _choice(self, number: int, table: dict[str, Any], key: str, choices: Sequence[str]) -> str:
        value = table.get(key)
        if key not in table or (isinstance(value, str) and value in choices):
            return value or ""
        near = suggest_name(value, choices) if isinstance(value, str) else None
        hint = f"did you mean {near!r}?" if near else f"it is one of {_list(choices)}"
        self._add(number, key, f"{key} is {_show(value)}", hint)
        return ""

    def _count(self, number: int, table: dict[str, Any], key: str) -> int | None:
        value = table.get(key)
        if key not in table:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self._add(number, key, f"{key} is {_show(value)}", "write how many lines, 0 or more")
        return None

    def _refuse_unknown(self, number: int, table: dict[str, Any], known: Sequence[str]) -> set[str]:
        """Returns the keys that were probably meant: what is only misspelt is not missing, too."""
        meant = set()
        for key in table:
            if key not in known:
                near = suggest_name(key, known)
                hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}"
                self._add(number, key, f"unknown key {key!r}", hint)
                meant |= {near} if near else set()
        return meant

    def _add(self, number: int, key: str, message: str, hint: str) -> None:
        self.problems.append(Problem(self._file, self._places.find(number, key), 1, message, hint, key))


def _find_odd(value: object, name: str) -> str:
    """The name of what JSON cannot say, below this value; empty where there is nothing."""
    if isinstance(value, dict):
        return next((odd for key, inner in value.items() if (odd := _find_odd(inner, f"{name}.{key}"))), "")
    if isinstance(value, list):
        return next((odd for at, inner in enumerate(value) if (odd := _find_odd(inner, f"{name}[{at}]"))), "")
    if isinstance(value, float):
        return "" if math.isfinite(value) else name
    return "" if isinstance(value, str | int | bool) else name


def _place_of(error: tomllib.TOMLDecodeError, text: str) -> tuple[int, int]:
    """The place that tomllib's message ends with."""
    found = str(error).rpartition("(at line ")[2].rstrip(")").split(", column ")
    if len(found) == 2 and found[0].isdigit() and found[1].isdigit():
        return int(found[0]), int(found[1])
    return text.count("\n") + 1, 1


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:79] + "…"


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
