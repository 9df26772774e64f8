"""Why a line is kept or dropped: the trace of everything that a filter set looked at, and what decided.

Replays the filters' steps on what the core saw in the line, so that what is told is what is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from flowd.filters.model import Expression, Filter, FilterText, Step
from flowd.program import DEFAULT_RULE, SAMPLED, CompiledProgram, CompiledRule

Result = Literal["yes", "no", "error", "not looked at"]

VERDICTS = {"K": "keep", "D": "drop", "M": "malformed", "E": "error"}


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One rule as it went: what it saw, and what came of it.

    `raw` is the field as it stands in the line (None where it is missing), `text` what the pattern was matched
    against, `result` whether it matched. `effect` says what followed, in words. `group` names what decides as a whole
    where the rule is a part of it.
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
    group: str = ""


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


def explain_line(text: FilterText, compiled: CompiledProgram, traced: tuple[object, ...], now_ns: int) -> Explanation:
    """The explanation of what `_core.Evaluator.trace` returned, at this time."""
    verdict, rule, _, form, subjects, states = traced
    decider = compiled.deciders[rule]  # type: ignore[call-overload]
    if subjects is None:
        return Explanation(str(verdict), decider, "", "", "", str(form), ())
    trace = _Replay(compiled, subjects, states, decider, now_ns).run(text.filters)  # type: ignore[arg-type]
    by_name = {line.rule: line for line in trace}
    groups = {step.group: section.name for section in text.filters for step in section.steps if step.group}
    deciding = by_name.get(decider)
    if deciding is not None:
        return Explanation(
            str(verdict), decider, deciding.filter, deciding.field, deciding.text, str(form), tuple(trace)
        )
    section = groups.get(decider.removesuffix(SAMPLED), "")
    return Explanation(str(verdict), decider, section, "", "", str(form), tuple(trace))


class _Replay:
    """Goes through the steps as the core did, which says what every predicate answers and which rule decided."""

    def __init__(
        self,
        compiled: CompiledProgram,
        subjects: list[tuple[bytes | None, str, bytes]],
        states: list[str],
        decider: str,
        now_ns: int,
    ) -> None:
        self.compiled = compiled
        self.subjects = subjects
        self.states = states
        self.decider = decider
        self.now_ns = now_ns
        self.rules: dict[str, CompiledRule] = {rule.name: rule for rule in compiled.rules}
        self.trace: list[TraceLine] = []

    def run(self, filters: tuple[Filter, ...]) -> list[TraceLine]:
        is_over = False
        for section in filters:
            section_over = is_over
            for step in section.steps:
                outcome = self.run_step(section.name, step, section_over)
                if outcome == "drop":
                    is_over = section_over = True
                elif outcome in ("error", "keep"):
                    section_over = True
        return self.trace

    def run_step(self, section: str, step: Step, is_over: bool) -> str:
        """Appends the step's lines; "pass", "drop", "error" or "keep"."""
        if step.expression is not None:
            return self.run_expression(section, step, step.expression, is_over)
        outcome = ""
        for rule in step.rules:
            state = self.states[self.compiled.predicates[rule.name]]
            if is_over or outcome:
                self.add(section, rule.name, "not looked at")
                continue
            outcome, effect = _effect(step, rule.kind, state)
            self.add(section, rule.name, state, effect)
        if is_over or outcome or not step.rules:
            return outcome or "pass"
        if step.kind == "any" or step.kind == "not_all":
            effect = f"{step.group} drops: " + ("none matched" if step.kind == "any" else "all matched")
            self.trace[-1] = replace(self.trace[-1], effect=effect)
            return "drop"
        return "pass"

    def run_expression(self, section: str, step: Step, expression: Expression, is_over: bool) -> str:
        first = len(self.trace)
        is_ended = 0 < step.until_ns <= self.now_ns
        for rule in step.rules:
            self.add(section, rule.name, "not looked at", f"{step.group} has ended" if is_ended else "")
        if is_over or is_ended or not step.rules:
            return "pass"
        last = [first]
        holds = self.look(expression, step, first, last)
        outcome, effect = self.judge(step, holds)
        self.trace[last[0]] = replace(self.trace[last[0]], effect=effect)
        return outcome

    def look(self, expression: Expression, step: Step, first: int, last: list[int]) -> bool | None:
        """Whether the expression holds, None at an error; notes what was looked at, and where it ended in `last`."""
        if expression.kind == "is":
            state = self.states[self.compiled.predicates[step.rules[expression.rule].name]]
            last[0] = first + expression.rule
            self.trace[last[0]] = replace(self.trace[last[0]], result=state)  # type: ignore[arg-type]
            return None if state == "error" else state == "yes"
        if expression.kind == "not":
            holds = self.look(expression.parts[0], step, first, last)
            return None if holds is None else not holds
        ends_at = expression.kind == "or"
        for part in expression.parts:
            holds = self.look(part, step, first, last)
            if holds is None or holds == ends_at:
                return holds
        return not ends_at

    def judge(self, step: Step, holds: bool | None) -> tuple[str, str]:
        """What an expression's answer means: the outcome, and the words for it."""
        if holds is None:
            if step.is_shadow:
                return "pass", "an error, which counts for nothing here"
            return "error", "an error ends this filter, the line goes on"
        if holds != (step.kind == "when"):
            return "pass", f"{step.group} " + ("does not apply" if step.kind == "when" else "is satisfied")
        reason = "its conditions hold" if holds else "its conditions do not hold"
        if step.is_shadow:
            return "pass", f"{step.group} would drop: {reason}; as a shadow it only counts"
        # Which lines are in the sample is the core's to say: a later rule, or none, decided for one that is.
        if step.sample and self.decider != step.group:
            return "pass", f"{step.group} would drop: {reason}; the line is in its sample of 1/{step.sample}"
        return "drop", f"{step.group} drops: {reason}"

    def add(self, section: str, name: str, result: str, effect: str = "") -> None:
        compiled = self.rules[name]
        raw, _, text = self.subjects[self.compiled.subjects[self.compiled.predicates[name]]]
        self.trace.append(
            TraceLine(
                section,
                name,
                compiled.kind,
                compiled.field,
                compiled.pattern,
                raw,
                text.decode("utf-8", "replace"),
                result,  # type: ignore[arg-type]
                effect,
                compiled.group,
            )
        )


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


__all__ = ["DEFAULT_RULE", "VERDICTS", "Explanation", "TraceLine", "explain_line"]
