"""Rules that decide nothing, or everything: dead, repeated, shadowed by others, impossible, ended."""

from __future__ import annotations

from datetime import UTC, datetime

from flowd.filters.lint.facts import Certain, Facts, can_fail, group_key
from flowd.filters.lint.patterns import place_of
from flowd.filters.model import Expression, FilterText, Rule, Step
from flowd.filters.source import Report


def warn_decisions(text: FilterText, report: Report, now_ns: int) -> None:
    """Warn about rules that can never decide, or that leave nothing for others."""
    _DecisionReader(text.stream, report, now_ns).read(text)


class _DecisionReader:
    """Follows the lines through the filters in their order: what is certain of those that are left."""

    def __init__(self, stream: str, report: Report, now_ns: int) -> None:
        self._report = report
        self._now_ns = now_ns
        self._facts = Facts(stream)

    def read(self, text: FilterText) -> None:
        for section in text.filters:
            self._facts.begin_section()
            for step in section.steps:
                if step.rules:
                    self._read_step(step)

    def _read_step(self, step: Step) -> None:
        if step.until_ns and step.until_ns <= self._now_ns:
            end = datetime.fromtimestamp(step.until_ns // 1_000_000_000, UTC)
            message = f"{step.group} ended on {end:%Y-%m-%d %H:%M} UTC: it does nothing"
            self._warn(step.rules[0], message, "remove it", "rule-ended")
            return
        if (ended := self._facts.ended_by) is not None:
            rule = step.rules[0]
            message = f"{step.group or rule.name} never decides: {ended.name} drops every line before"
            self._warn(rule, message, f"look at the rule at {place_of(ended)}", "never-decides")
            return
        if step.kind == "not_any":
            for rule in step.rules:
                self._read_exclude(rule)
        elif step.kind == "all":
            for rule in step.rules:
                self._read_regexp(rule)
        elif step.kind == "first":
            self._read_first(step)
        else:
            self._read_group(step)

    # Rules that decide alone

    def _read_first(self, step: Step) -> None:
        for number, rule in enumerate(step.rules):
            if rule.kind == "exclude":
                self._read_exclude(rule)
                continue
            self._read_regexp(rule, "drops no line")  # it decides: what it matches is kept at once
            for dead in step.rules[number + 1 :]:
                self._warn(
                    dead,
                    f"{dead.name} never decides: in Fluent Bit the first regex ends the filter",
                    f"the regex at {place_of(rule)} decides; put it into a filter of its own behind this one",
                    "dead-rule",
                )
            return

    def _read_exclude(self, rule: Rule) -> None:
        certain = self._facts.judge(rule)
        self._facts.note_failing(rule)
        if certain is None:
            self._facts.learn_excluded(rule)
        elif certain.holds:
            self._warn_drops(rule, rule.name, certain)
        else:
            self._warn_never(rule, rule.name, certain)

    def _read_regexp(self, rule: Rule, never: str = "never decides") -> None:
        certain = self._facts.judge(rule)
        self._facts.note_failing(rule)
        if certain is None:
            self._facts.learn_required(rule)
        elif certain.holds:
            self._warn_never(rule, rule.name, certain, never)
        else:
            self._warn_drops(rule, rule.name, certain)

    # Groups

    def _read_group(self, step: Step) -> None:
        """`and`, `or` and expressions: they drop where `expression` holds, or where it does not."""
        is_gentle = step.is_shadow or step.sample > 0 or step.until_ns > 0
        first = None if is_gentle else self._facts.find_group(group_key(step), step.rules[0])
        certain = self._facts.judge_expression(_expression_of(step), step.rules)
        for rule in step.rules:
            self._facts.note_failing(rule)
        if first is not None:
            message = f"{step.group} says the same as {first.group or first.name}"
            hint = f"remove one of them; the other is at {place_of(first)}"
            self._warn(step.rules[0], message, hint, "duplicate-rule")
        elif certain is None:
            if step.kind == "any":
                self._facts.learn_any_of(step.rules)
        elif certain.holds != (step.kind in ("when", "not_all")):
            self._warn_never(certain.leaf, step.group, certain)
        elif not is_gentle and not any(can_fail(rule.condition) for rule in step.rules):
            self._warn_drops(certain.leaf, step.group, certain)

    # Words

    def _warn_never(self, rule: Rule, name: str, certain: Certain, never: str = "never decides") -> None:
        """A rule (or the group of this name) decides no line."""
        earlier = certain.earlier
        is_alone = name == rule.name
        if earlier is None:
            what = "matches any text, and what is missing, too" if certain.why == "any text" else "matches no text"
            hint = "remove it, or write a pattern that some values match and some do not"
            self._warn(rule, f"{name} {never}: its pattern for {rule.key} {what}", hint, "never-decides")
        elif certain.why == "same" and is_alone:
            hint = f"remove one of them; the other is at {place_of(earlier)}"
            self._warn(rule, f"{name} says the same as {earlier.name}", hint, "duplicate-rule")
        elif certain.why in ("same", "excluded") and not certain.leaf_holds:
            what = "all that it matches" if is_alone else f"all that {rule.name} matches"
            hint = f"remove it, or the rule at {place_of(earlier)}"
            self._warn(rule, f"{name} {never}: {earlier.name} drops {what} before", hint, "shadowed-rule")
        else:
            what = "only values" if certain.leaf_holds else "no value"
            message = f"{name} {never}: {earlier.name} leaves {what} of {rule.key} that it matches"
            hint = f"remove it, or look at the rule at {place_of(earlier)}"
            self._warn(rule, message, hint, "never-decides")

    def _warn_drops(self, rule: Rule, name: str, certain: Certain) -> None:
        """A rule (or the group of this name) drops whatever comes to it."""
        earlier = certain.earlier
        hint = "write a pattern that some values match and some do not"
        if certain.why == "any text":
            message = f"{name} drops every line: its pattern matches any text, and what is missing, too"
        elif earlier is None:
            message = f"{name} drops every line: its pattern for {rule.key} matches no text"
        elif certain.leaf_holds:
            message = f"{name} drops every line: {earlier.name} leaves only values of {rule.key} that it matches"
            hint = f"remove one of them; the other is at {place_of(earlier)}"
        elif certain.why == "elsewhere":
            message = f"{name} drops every line: what {earlier.name} leaves is never what it asks for"
            hint = f"join the two patterns with |; the other is at {place_of(earlier)}"
        else:
            message = f"{name} drops every line: {earlier.name} has dropped all that it would keep"
            hint = f"remove one of them; the other is at {place_of(earlier)}"
        self._warn(rule, message, hint, "drops-everything")
        self._facts.learn_end(rule)

    def _warn(self, rule: Rule, message: str, hint: str, code: str) -> None:
        self._report.warning(place_of(rule), message, hint=hint, code=code)


def _expression_of(step: Step) -> Expression:
    """A group's rules as an expression: `not_all` drops where all hold, `any` where none does."""
    if step.expression is not None:
        return step.expression
    parts = tuple(Expression("is", (), number) for number in range(len(step.rules)))
    return Expression("and" if step.kind == "not_all" else "or", parts)
