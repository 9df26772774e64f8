"""A text of one language → the same filters in another, or why that cannot be said; and the proof that it was done.

What a field holds is known of the streams flows and dns.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.conversion.flowd_writer import check_rule, write_filter
from flowd.conversion.fluentbit_writer import write_classic, write_yaml
from flowd.conversion.fluentd_writer import count_sections, write_form
from flowd.conversion.forms import Form, Reason, Unsayable, find_forms, say_reason
from flowd.conversion.proof import Comparing, generate_lines
from flowd.conversion.readings import find_difference as find_reading_difference
from flowd.conversion.readings import find_presumed
from flowd.conversion.sections import Section, find_sections, has_wildcard, say_match, say_tags
from flowd.conversion.values import can_fail, show_path
from flowd.errors import FilterError
from flowd.filters.load import open_path
from flowd.filters.model import Condition, FilterText, Reading, Rule, Step
from flowd.filterset import FilterSet, Format, compile
from flowd.readable import make_readable

TARGETS = ("fluentd", "fluentbit-yaml", "fluentbit-classic", "fluentbit-configmap", "flowd")
_READINGS: dict[str, Reading] = {"fluentd": "ruby", "flowd": "ruby"}


class Counterexample(NamedTuple):
    """A line that the two texts decide otherwise, which is a reason of its own."""

    stream: str
    line: str
    is_sampled: bool = False
    """Is it from the sample, and not generated?"""


@dataclass(slots=True)
class Conversion:
    """What came of it. `text` is what could be said; it means the same where there are no reasons and no
    counterexample. `compared_lines` were decided alike. `presumed` are fields that every line of a stream is taken to
    have, as Calico writes them: of a line without one, the two could decide otherwise."""

    target: str
    text: str = ""
    notes: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    counterexample: Counterexample | None = None
    compared_lines: int = 0
    presumed: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Does the text mean the same?"""
        return not self.reasons and self.counterexample is None


def convert_path(
    path: str | os.PathLike[str],
    target: str,
    *,
    dialect: str | None = None,
    skip_unsupported: bool = False,
    approximate: bool = False,
    sample: Iterable[bytes] = (),
    sample_stream: str = "flows",
    sample_format: Format = "auto",
    now_ns: int = 0,
) -> Conversion:
    """Converts the filters of a path and compares both on generated lines and on a sample. Raises OSError, FilterError.

    With `approximate` a rule that means something else there is written all the same, with a comment.
    """
    opened = open_path(path, dialect, skip_unsupported)
    found = find_sections(opened, (sample_stream,))
    conversion = Conversion(target)
    writer = _Writer(conversion, tuple(found.texts), approximate, now_ns)
    parts = [writer.write(section) for section in found.sections]
    conversion.text = make_readable("\n".join(part for part in parts if part))  # comments name files
    if not conversion.text and target == "fluentbit-yaml":
        conversion.text = "[]\n"  # where nothing at all is an error
    for lost in found.lost:
        text = f"it is for {lost.tags}, of which flowd knows no stream: name one with --stream"
        conversion.reasons.append(Reason(lost.file, lost.line, lost.name, text))
    if conversion.is_exact:
        _prove(conversion, found.texts, _Sample(sample_stream, sample_format, sample))
    return conversion


class _Sample(NamedTuple):
    """Lines of one stream, in one form."""

    stream: str
    form: Format
    lines: Iterable[bytes]


class _Writer:
    def __init__(self, conversion: Conversion, streams: Sequence[str], approximate: bool, now_ns: int) -> None:
        self._conversion = conversion
        self._streams = streams
        self._target = conversion.target
        self._reading: Reading = _READINGS.get(conversion.target, "string")
        self._approximate = approximate
        self._now_ns = now_ns

    def write(self, found: Section) -> str:
        """The filter in the target's language; nothing where it cannot be said."""
        section = found.section
        if has_wildcard(found) and self._say_streams(found) != section.tags:
            place, names = f"{section.file}:{section.line}", ", ".join(found.streams)
            text = f"{section.name} is for {section.tags}, and is written for what flowd knows of it: {names}"
            self._conversion.notes.append(f"{place}: {text}")
        if self._target == "flowd":
            return self._write_own(found)
        forms = find_forms(found.section, self._now_ns)
        self._conversion.notes += forms.notes
        self._conversion.reasons += forms.reasons
        texts = [_comment(str(reason)) for reason in forms.reasons] if self._approximate else []
        written = [text for form in forms.forms if (text := self._write_form(form, found))]
        if self._target == "fluentd" and sum(count_sections(text) for text in written) > 1:
            self._check_errors(forms.forms, found)
        return "\n".join([*(text for text in texts if text), *written])

    def _check_errors(self, forms: Sequence[Form], found: Section) -> None:
        """An error ends a filter and keeps the line: of two that were one, the second would be asked all the same."""
        for rule in (rule for form in forms for rule in form.rules):
            path = rule.condition.path
            if rule.condition.reading == "ruby" and len(path) > 1 and can_fail(path, found.streams):
                text = (
                    f"looking for {show_path(path)} can be an error, at which fluentd ends the filter and keeps the "
                    "line; this filter has to be written as several, and the next would still decide"
                )
                self._conversion.reasons.append(say_reason(rule, text))

    def _write_form(self, form: Form, found: Section) -> str:
        reasons = self._find_unsayable(form, found)
        unsayable = {(reason.line, reason.rule) for reason in reasons}
        text = ""
        if not reasons:
            text, reasons = self._say(form, found)
        elif self._approximate and form.kind in ("all", "not_any"):  # whose rules are there each for itself
            rules = tuple(rule for rule in form.rules if _place(rule) not in unsayable)
            text = self._say(form._replace(rules=rules), found)[0] if rules else ""
        reasons += [
            say_reason(rule, difference)
            for rule in form.rules
            if _place(rule) not in unsayable
            and (difference := find_reading_difference(rule.condition, self._reading, found.streams))
        ]
        self._conversion.reasons += reasons
        if not reasons:
            return self._presume(form.rules, found) + text
        return "".join(_comment(str(reason)) for reason in reasons) + text if self._approximate else ""

    def _presume(self, rules: Sequence[Rule], found: Section) -> str:
        """Comments at rules that mean the same only because every line has their field; they are noted, too."""
        comments = ""
        for rule in rules:
            name = str(rule.condition.path[0])
            streams = find_presumed(rule.condition, self._reading, found.streams)
            for stream in streams:
                fields = self._conversion.presumed.setdefault(stream, [])
                if name not in fields:
                    fields.append(name)
            if streams:
                text = f"{rule.name} means the same because every line of {' and '.join(streams)} has {name}"
                self._conversion.notes.append(f"{rule.file}:{rule.line}: {text}, which is never null")
                comments += f"# {text}, which is never null\n"
        return comments

    def _find_unsayable(self, form: Form, found: Section) -> list[Reason]:
        """The rules that the target has no words for, whatever the values are."""
        reasons = []
        for rule in form.rules:
            if _has_pattern(rule.condition):
                reasons += self._say(Form("not_any", (rule,)), found)[1]
            else:
                reasons.append(say_reason(rule, find_reading_difference(rule.condition, self._reading, ())))
        return reasons

    def _say(self, form: Form, found: Section) -> tuple[str, list[Reason]]:
        """The form in the target's words, and what it has no words for."""
        if self._target == "fluentd":
            return write_form(form, say_tags(found, self._streams))
        write = write_classic if self._target == "fluentbit-classic" else write_yaml
        return write(form, say_match(found))

    def _say_streams(self, found: Section) -> str:
        return say_match(found)[1] if self._reading == "string" else say_tags(found, self._streams)

    def _write_own(self, found: Section) -> str:
        """In flowd's language every step can be written as it is; Fluent Bit's list as the forms that it is."""
        section = found.section
        steps: list[Step] = []
        for step in section.steps:
            if step.kind == "first":
                forms = find_forms(section._replace(steps=(step,)), self._now_ns)
                self._conversion.notes += forms.notes
                steps += [Step(form.kind, form.rules, step.group or section.name) for form in forms.forms]
            else:
                steps.append(step)
        reasons = []
        for rule in (rule for step in steps for rule in step.rules):
            try:
                check_rule(rule)
            except Unsayable as unsayable:
                reasons.append(say_reason(rule, str(unsayable)))
        is_sayable = not reasons
        reasons += [
            say_reason(rule, reason)
            for step in steps
            for rule in step.rules
            if _reads_strings(rule) and (reason := find_reading_difference(rule.condition, "ruby", found.streams))
        ]
        self._conversion.reasons += reasons
        if reasons and not self._approximate:
            return ""
        comments = "".join(_comment(str(reason)) for reason in reasons)
        comments += self._presume([rule for step in steps for rule in step.rules if _reads_strings(rule)], found)
        if not is_sayable:
            return comments
        written = write_filter(section, say_tags(found, self._streams), steps)
        return f"{comments}# from {section.file}:{section.line}\n{written}"


def _reads_strings(rule: Rule) -> bool:
    return rule.condition.reading == "string"


def _place(rule: Rule) -> tuple[int, str]:
    return rule.line, rule.group or rule.name


def _has_pattern(condition: Condition) -> bool:
    return condition.test not in ("cidr", "number", "labels", "exists", "null")


def _comment(text: str) -> str:
    return f"# not the same: {text}\n"


def _prove(conversion: Conversion, texts: dict[str, FilterText], sample: _Sample) -> None:
    """Runs both on generated lines of every stream that has filters, and on the sample."""
    for stream, text in texts.items():
        try:
            new = compile(conversion.text, stream, conversion.target, "<converted>")
        except FilterError as error:
            for problem in error.problems:
                reason = f"there it is refused: {problem.message}"
                conversion.reasons.append(Reason(problem.file, problem.line, "what was written", reason))
            return
        if not text.filters and not new.text.filters and stream != sample.stream:
            continue
        comparing = Comparing(FilterSet(text), new)
        different = comparing.find_difference(
            generate_lines((text, new.text), stream, conversion.presumed.get(stream, ()))
        )
        is_sampled = different is None and stream == sample.stream
        if is_sampled:
            different = comparing.find_difference(iter(sample.lines), sample.form)
        if different is not None:
            conversion.counterexample = Counterexample(stream, different.decode("utf-8", "replace"), is_sampled)
            return
        conversion.compared_lines += comparing.line_count
