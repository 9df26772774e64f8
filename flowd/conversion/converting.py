"""A text of one language → the same filters in another, or why that cannot be said; and the proof that it was done.

Meanings are judged for the streams whose fields are known, flows and dns.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.conversion.flowd_writer import write_filter
from flowd.conversion.fluentbit_writer import write_classic, write_yaml
from flowd.conversion.fluentd_writer import write_form
from flowd.conversion.forms import Form, Reason, Unsayable, find_forms, say_reason
from flowd.conversion.proof import find_difference, generate_lines
from flowd.conversion.readings import find_difference as find_reading_difference
from flowd.filters.load import open_path
from flowd.filters.model import Condition, Filter, FilterText, Reading, Step
from flowd.filters.schema import FIELDS, STREAMS
from flowd.filterset import FilterSet, compile

TARGETS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")
_READINGS: dict[str, Reading] = {"fluentd": "ruby", "flowd": "ruby"}


class Counterexample(NamedTuple):
    """A line that the two texts decide otherwise, which is a reason of its own."""

    stream: str
    line: str


@dataclass(slots=True)
class Conversion:
    """What came of it. `text` is what could be said; it means the same where there are no reasons and no
    counterexample. `compared_lines` were decided alike."""

    target: str
    text: str = ""
    notes: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    counterexample: Counterexample | None = None
    compared_lines: int = 0

    @property
    def is_exact(self) -> bool:
        """Does the text mean the same?"""
        return not self.reasons and self.counterexample is None


class _Section(NamedTuple):
    """A filter with the streams that it is for."""

    section: Filter
    streams: tuple[str, ...]


def convert_path(
    path: str | os.PathLike[str],
    target: str,
    *,
    dialect: str | None = None,
    skip_unsupported: bool = False,
    approximate: bool = False,
    sample: Iterable[bytes] = (),
    sample_stream: str = "flows",
    now_ns: int = 0,
) -> Conversion:
    """Converts the filters of a path and compares both on generated lines and on a sample. Raises OSError, FilterError.

    With `approximate` a rule that means something else there is written all the same, with a comment.
    """
    opened = open_path(path, dialect, skip_unsupported)
    texts = {stream: opened.resolve(stream) for stream in STREAMS}
    conversion = Conversion(target)
    writer = _Writer(conversion, approximate, now_ns)
    parts = [writer.write(found) for found in _merge_sections(texts)]
    conversion.text = "\n".join(part for part in parts if part)
    if not conversion.text and target == "fluentbit-yaml":
        conversion.text = "[]\n"  # where nothing at all is an error
    if conversion.is_exact:
        _prove(conversion, texts, sample, sample_stream)
    return conversion


def _merge_sections(texts: dict[str, FilterText]) -> list[_Section]:
    """The filters of all streams in the order of the text, each once."""
    merged: list[tuple[tuple[str, str, int], Filter]] = []
    streams: dict[tuple[str, str, int], list[str]] = {}
    for stream, text in texts.items():
        at = 0
        for section in text.filters:
            key = (section.name, section.file, section.line)
            if key in streams:
                at = next(n for n, (known, _) in enumerate(merged) if known == key) + 1
            else:
                # What is for other streams only may stand on either side: it stays where it was written.
                while at < len(merged) and merged[at][1].file == section.file and merged[at][1].line < section.line:
                    at += 1
                merged.insert(at, (key, section))
                at += 1
            streams.setdefault(key, []).append(stream)
    return [_Section(section, tuple(streams[key])) for key, section in merged]


class _Writer:
    def __init__(self, conversion: Conversion, approximate: bool, now_ns: int) -> None:
        self._conversion = conversion
        self._target = conversion.target
        self._reading: Reading = _READINGS.get(conversion.target, "string")
        self._approximate = approximate
        self._now_ns = now_ns

    def write(self, found: _Section) -> str:
        if self._target == "flowd":
            return self._write_own(found)
        forms = find_forms(found.section, self._now_ns)
        self._conversion.notes += forms.notes
        self._conversion.reasons += forms.reasons
        texts = [_comment(str(reason)) for reason in forms.reasons] if self._approximate else []
        texts += [self._write_form(form, found) for form in forms.forms]
        return "\n".join(text for text in texts if text)

    def _write_form(self, form: Form, found: _Section) -> str:
        text, reasons = self._say(form, found)
        streams = [stream for stream in found.streams if stream in FIELDS]
        reasons = reasons or [
            say_reason(rule, reason)
            for rule in form.rules
            if (reason := find_reading_difference(rule.condition, self._reading, streams))
        ]
        self._conversion.reasons += reasons
        if not self._approximate:
            return "" if reasons else text
        return "".join(_comment(str(reason)) for reason in reasons) + text

    def _say(self, form: Form, found: _Section) -> tuple[str, list[Reason]]:
        """The form in the target's words, and why not."""
        unsayable = [
            say_reason(rule, find_reading_difference(rule.condition, self._reading, ()))
            for rule in form.rules
            if not _has_pattern(rule.condition)
        ]
        if unsayable:
            return "", unsayable
        if self._target == "fluentd":
            return write_form(form, _tags(found))
        if self._target == "fluentbit-classic":
            return write_classic(form, _match(found))
        return write_yaml(form, _match(found))

    def _write_own(self, found: _Section) -> str:
        """In flowd's language every step can be written as it is; Fluent Bit's list as the forms that it is."""
        section = found.section
        streams = [stream for stream in found.streams if stream in FIELDS]
        steps: list[Step] = []
        for step in section.steps:
            if step.kind == "first":
                forms = find_forms(section._replace(steps=(step,)), self._now_ns)
                self._conversion.notes += forms.notes
                steps += [Step(form.kind, form.rules, step.group or section.name) for form in forms.forms]
            else:
                steps.append(step)
        reasons = [
            say_reason(rule, reason)
            for step in steps
            for rule in step.rules
            if rule.condition.reading == "string"
            and (reason := find_reading_difference(rule.condition, "ruby", streams))
        ]
        self._conversion.reasons += reasons
        if reasons and not self._approximate:
            return ""
        comments = "".join(_comment(str(reason)) for reason in reasons)
        try:
            return f"{comments}# from {section.file}:{section.line}\n{write_filter(section, _tags(found), steps)}"
        except Unsayable as unsayable:
            rule = steps[0].rules[0]
            self._conversion.reasons.append(say_reason(rule, str(unsayable)))
            return ""


def _has_pattern(condition: Condition) -> bool:
    return condition.test not in ("cidr", "number", "labels", "exists", "null")


def _comment(text: str) -> str:
    return f"# not the same: {text}\n"


def _tags(found: _Section) -> str:
    """The streams as fluentd's tag patterns."""
    if set(found.streams) == set(STREAMS):
        return "**"
    return " ".join(found.streams)


def _match(found: _Section) -> tuple[str, str]:
    """The streams as a Fluent Bit property and its value."""
    if set(found.streams) == set(STREAMS):
        return "match", "*"
    if len(found.streams) == 1:
        return "match", found.streams[0]
    names = "|".join(stream.replace(".", r"\.") for stream in found.streams)
    return "match_regex", f"^(?:{names})$"


def _prove(conversion: Conversion, texts: dict[str, FilterText], sample: Iterable[bytes], sample_stream: str) -> None:
    """Runs both on lines of every stream whose fields are known."""
    for stream in FIELDS:
        old = FilterSet(texts[stream])
        new = compile(conversion.text, stream, conversion.target, "<converted>")
        lines: Sequence[bytes] = list(generate_lines((texts[stream], new.text), stream))
        if stream == sample_stream:
            lines = [*lines, *sample]
        different = find_difference(old, new, lines)
        if different is not None:
            conversion.counterexample = Counterexample(stream, different.decode("utf-8", "replace"))
            return
        conversion.compared_lines += len(lines)
