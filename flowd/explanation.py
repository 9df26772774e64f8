"""Why a line is kept or dropped: the trace of everything that a filter set looked at, and what decided.

Replays the filters' steps on what the core saw in the line, so that what is told is what is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flowd.filters.model import Filter, FilterText, Step
from flowd.program import DEFAULT_RULE, CompiledProgram, CompiledRule

Result = Literal["yes", "no", "error", "not looked at"]

VERDICTS = {"K": "keep", "D": "drop", "M": "malformed", "E": "error"}


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One rule as it went: what it saw, and what came of it.

    `raw` is the field as it stands in the line (None where it is missing), `text` what the pattern was matched
    against, `result` whether it matched. `effect` says what followed, in words.
    """

    filter: str
    rule: str
    kind: Literal["regexp", "exclude"]
    field: str
    pattern: str
    raw: bytes | None
    text: str
    result: Result
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on a line and how it came about.

    `verdict` is a letter as from FilterSet.verdicts; `rule` is what decided (`default` where nothing did), `filter`,
    `field` and `value` are its section, its field and the text that it saw (empty where a group or nothing decided).
    """

    verdict: str
    rule: str
    filter: str
    field: str
    value: str
    form: str
    trace: tuple[TraceLine, ...]

    def __str__(self) -> str:
        words = f"{VERDICTS[self.verdict]} by {self.rule}"
        return words + (f": {self.field} is {self.value!r}" if self.field else "")


def explain_line(text: FilterText, compiled: CompiledProgram, traced: tuple[object, ...]) -> Explanation:
    """The explanation of what `_core.Evaluator.trace` returned."""
    verdict, rule, _, form, subjects, states = traced
    decider = compiled.deciders[rule]  # type: ignore[call-overload]
    if subjects is None:
        return Explanation(str(verdict), decider, "", "", "", str(form), ())
    trace = _Replay(compiled, subjects, states).run(text.filters)  # type: ignore[arg-type]
    by_name = {line.rule: line for line in trace}
    groups = {step.group: section.name for section in text.filters for step in section.steps if step.group}
    deciding = by_name.get(decider)
    if deciding is not None:
        return Explanation(
            str(verdict), decider, deciding.filter, deciding.field, deciding.text, str(form), tuple(trace)
        )
    return Explanation(str(verdict), decider, groups.get(decider, ""), "", "", str(form), tuple(trace))


class _Replay:
    def __init__(
        self, compiled: CompiledProgram, subjects: list[tuple[bytes | None, str, bytes]], states: list[str]
    ) -> None:
        self.compiled = compiled
        self.subjects = subjects
        self.states = states
        self.rules: dict[str, CompiledRule] = {rule.name: rule for rule in compiled.rules}

    def run(self, filters: tuple[Filter, ...]) -> list[TraceLine]:
        trace: list[TraceLine] = []
        is_over = False
        for section in filters:
            section_over = is_over
            for step in section.steps:
                outcome = self.run_step(section.name, step, section_over, trace)
                if outcome == "drop":
                    is_over = section_over = True
                elif outcome in ("error", "keep"):
                    section_over = True
        return trace

    def run_step(self, section: str, step: Step, is_over: bool, trace: list[TraceLine]) -> str:
        """Appends the step's lines; "pass", "drop", "error" or "keep"."""
        outcome = ""
        for rule in step.rules:
            predicate = self.compiled.predicates[rule.name]
            raw, _, text = self.subjects[self.compiled.subjects[predicate]]
            state = self.states[predicate]
            result: Result = "not looked at"
            effect = ""
            if not is_over and not outcome:
                result = state  # type: ignore[assignment]
                outcome, effect = _effect(step, rule.kind, state)
            compiled = self.rules[rule.name]
            shown = text.decode("utf-8", "replace")
            trace.append(
                TraceLine(section, rule.name, rule.kind, rule.key, compiled.pattern, raw, shown, result, effect)
            )
        if is_over or outcome or not step.rules:
            return outcome or "pass"
        if step.kind == "any" or step.kind == "not_all":
            last = trace.pop()
            effect = f"{step.group} drops: " + ("none matched" if step.kind == "any" else "all matched")
            trace.append(_with_effect(last, effect))
            return "drop"
        return "pass"


def _effect(step: Step, kind: str, state: str) -> tuple[str, str]:
    """What a rule's state means for its step: the outcome where it is settled, and the words for it."""
    if state == "error":
        return "error", "an error ends this filter, the line goes on"
    matched = state == "yes"
    if step.kind == "all":
        return ("", "") if matched else ("drop", "drops: a regexp that does not match")
    if step.kind == "any":
        return ("pass", f"{step.group} is satisfied") if matched else ("", "")
    if step.kind == "not_all":
        return ("", "") if matched else ("pass", f"{step.group} does not apply")
    if step.kind == "not_any":
        return ("drop", "drops: an exclude that matches") if matched else ("", "")
    if kind == "exclude":
        return ("drop", "drops: an exclude that matches") if matched else ("", "")
    return ("keep", "keeps at once") if matched else ("drop", "drops: the first regexp does not match")


def _with_effect(line: TraceLine, effect: str) -> TraceLine:
    return TraceLine(
        line.filter, line.rule, line.kind, line.field, line.pattern, line.raw, line.text, line.result, effect
    )


__all__ = ["DEFAULT_RULE", "VERDICTS", "Explanation", "TraceLine", "explain_line"]
