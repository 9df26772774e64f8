"""Outcomes and problems as JUnit XML, which CI systems read: a suite for each tests file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.etree import ElementTree

from flowd.errors import Problem
from flowd.filter_tests.model import Outcome
from flowd.readable import make_readable

NAME = "flowd test"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(outcomes: Iterable[Outcome], problems: Sequence[Problem] = ()) -> bytes:
    """The XML. A problem, of filters or tests that cannot be used, is a case with an error; then nothing was run."""
    root = ElementTree.Element("testsuites", name=NAME)
    totals = [0, 0, 0, 0.0]
    for file, ran in groupby(outcomes, key=lambda outcome: outcome.test.file):
        cases = list(ran)
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(file))
        for outcome in cases:
            _add_case(suite, outcome)
        failed = sum(not outcome.has_passed for outcome in cases)
        time_s = sum(outcome.time_s for outcome in cases)
        _set_totals(suite, len(cases), failed, 0, time_s)
        totals = [totals[0] + len(cases), totals[1] + failed, totals[2], totals[3] + time_s]
    for file, found in groupby(sorted(problems), key=lambda problem: problem.file):
        told = list(found)
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(file))
        for problem in told:
            case = _add_element(suite, problem.message, file, problem.line, 0.0)
            error = ElementTree.SubElement(case, "error", message=_clean(problem.message), type="problem")
            error.text = _clean(f"{problem}\n{problem.hint}".strip())
        _set_totals(suite, len(told), 0, len(told), 0.0)
        totals = [totals[0] + len(told), totals[1], totals[2] + len(told), totals[3]]
    _set_totals(root, int(totals[0]), int(totals[1]), int(totals[2]), totals[3])
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _add_case(suite: ElementTree.Element, outcome: Outcome) -> None:
    test = outcome.test
    case = _add_element(suite, test.name, test.file, test.line, outcome.time_s)
    if not outcome.has_passed:
        failure = ElementTree.SubElement(case, "failure", message=_clean(outcome.failure), type="verdict")
        failure.text = _clean(f"{test.place}: {test.name}: {outcome.failure}")


def _add_element(suite: ElementTree.Element, name: str, file: str, line: int, time_s: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite,
        "testcase",
        name=_clean(name),
        classname=_clean(file.removesuffix(".toml").replace("/", ".").strip(".")),
        file=_clean(file),
        line=str(line),
        time=f"{time_s:.6f}",
    )


def _set_totals(element: ElementTree.Element, tests: int, failures: int, errors: int, time_s: float) -> None:
    element.set("tests", str(tests))
    element.set("failures", str(failures))
    element.set("errors", str(errors))
    element.set("skipped", "0")
    element.set("time", f"{time_s:.6f}")


def _clean(text: str) -> str:
    """Without what XML cannot hold, in any spelling."""
    return _NO_XML.sub("�", make_readable(text))
