"""What is certain of the lines that come to a rule, from the rules before it.

An error while matching ends its section only. So what is learned behind a rule that can fail holds to that section's
end, and no further.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, NamedTuple

from flowd.filters.lint.implied import WordIndex, exclude_each_other, implies
from flowd.filters.lint.impossible import takes_no_text
from flowd.filters.lint.patterns import Words, find_words, takes_any_text
from flowd.filters.model import Condition, Expression, Rule, Step
from flowd.filters.schema import FIELDS, LISTS, OBJECTS

Subject = tuple[tuple[str | int, ...], str]
Why = Literal["any text", "no text", "same", "implied", "excluded", "elsewhere"]

_MOST_REQUIRED = 50  # regexps on one field, each of which is compared


class Certain(NamedTuple):
    """A condition's (or an expression's) answer for all lines that come to it, and the `leaf` that settles it.

    `leaf_holds` is the leaf's own answer, `why` its reason, `earlier` the rule that it follows from.

    `any text`, `no text`: its own pattern says so. `same`, `implied`: an earlier rule asked the same, or more.
    `excluded`: earlier excludes dropped all that it takes. `elsewhere`: an earlier regexp left other values only.
    """

    holds: bool
    leaf_holds: bool
    why: Why
    leaf: Rule
    earlier: Rule | None = None


class _Layer:
    """Facts that end together."""

    __slots__ = ("excluded", "excluded_words", "groups", "required", "required_words")

    def __init__(self) -> None:
        self.excluded: dict[Condition, Rule] = {}
        self.required: dict[Condition, Rule] = {}
        self.groups: dict[object, Rule] = {}
        self.excluded_words: defaultdict[Subject, WordIndex] = defaultdict(WordIndex)
        self.required_words: defaultdict[Subject, list[tuple[Words, Rule]]] = defaultdict(list)


class Facts:
    """What the filters so far have left of a stream's lines."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._lasting = _Layer()
        self._local: _Layer | None = None
        self._ended: Rule | None = None
        self._ended_locally: Rule | None = None

    # Sections

    def begin_section(self) -> None:
        """From here on nothing has failed."""
        self._local = None
        self._ended_locally = None

    def note_failing(self, rule: Rule) -> None:
        """What is learned behind a rule that can fail ends with its section."""
        if can_fail(rule.condition) and self._local is None:
            self._local = _Layer()

    @property
    def ended_by(self) -> Rule | None:
        """The rule that has dropped every line, if one has."""
        return self._ended or self._ended_locally

    # Learning

    def learn_end(self, rule: Rule) -> None:
        """Every line was dropped by this rule."""
        if self._local is None:
            self._ended = rule
        else:
            self._ended_locally = rule

    def learn_excluded(self, rule: Rule) -> None:
        """Nothing that the rule matches is left."""
        layer = self._top()
        layer.excluded.setdefault(rule.condition, rule)
        words = find_words(rule.condition)
        if words is not None:
            layer.excluded_words[_subject(rule.condition)].add(words, rule)

    def learn_required(self, rule: Rule) -> None:
        """Only what the rule matches is left."""
        layer = self._top()
        layer.required.setdefault(rule.condition, rule)
        words = find_words(rule.condition)
        if words is not None:
            self._add_required(layer, rule, words)

    def learn_any_of(self, rules: tuple[Rule, ...]) -> None:
        """Only what one of the rules matches is left: known for words on one field, of one kind."""
        found = [find_words(rule.condition) for rule in rules]
        subjects = {_subject(rule.condition) for rule in rules}
        kinds = {words.kind if words else "" for words in found}
        if len(subjects) == len(kinds) == 1 and "" not in kinds:
            together = tuple(word for words in found if words for word in words.words)
            self._add_required(self._top(), rules[0], Words(kinds.pop(), together))

    def find_group(self, key: object, rule: Rule) -> Rule | None:
        """The first rule of an earlier group of the same key; the group is known from now on."""
        for layer in self._layers():
            if key in layer.groups:
                return layer.groups[key]
        self._top().groups[key] = rule
        return None

    # Asking

    def judge(self, rule: Rule) -> Certain | None:
        """The condition's answer where it is the same for all lines that are left."""
        condition = rule.condition
        if takes_any_text(condition) and condition.reading == "ruby" and not can_fail(condition):
            return Certain(True, True, "any text", rule)
        if takes_no_text(condition):
            return Certain(False, False, "no text", rule)
        for layer in self._layers():
            if (same := layer.required.get(condition)) is not None:
                return Certain(True, True, "same", rule, same)
            if (same := layer.excluded.get(condition)) is not None:
                return Certain(False, False, "same", rule, same)
        words = find_words(condition)
        if words is None:
            return None
        return next(filter(None, (self._compare(layer, rule, words) for layer in self._layers())), None)

    def _compare(self, layer: _Layer, rule: Rule, words: Words) -> Certain | None:
        subject = _subject(rule.condition)
        if subject in layer.excluded_words and (found := layer.excluded_words[subject].find_all(words)) is not None:
            return Certain(False, False, "excluded", rule, found)
        for required, earlier in layer.required_words.get(subject, ()):
            if implies(required, words):
                return Certain(True, True, "implied", rule, earlier)
            if self._is_one_text(rule.condition) and exclude_each_other(required, words):
                return Certain(False, False, "elsewhere", rule, earlier)
        return None

    def judge_expression(self, expression: Expression, rules: tuple[Rule, ...]) -> Certain | None:
        """The same of an expression; the answer is that of the part that settles it."""
        if expression.kind == "is":
            return self.judge(rules[expression.rule])
        answers = [self.judge_expression(part, rules) for part in expression.parts]
        if expression.kind == "not":
            return answers[0] and answers[0]._replace(holds=not answers[0].holds)
        settles = expression.kind == "or"
        settled = next((answer for answer in answers if answer is not None and answer.holds == settles), None)
        if settled is not None:
            return settled
        return answers[0] if answers and all(answer is not None for answer in answers) else None

    # Parts of it

    def _top(self) -> _Layer:
        return self._lasting if self._local is None else self._local

    def _layers(self) -> tuple[_Layer, ...]:
        return (self._lasting,) if self._local is None else (self._lasting, self._local)

    def _add_required(self, layer: _Layer, rule: Rule, words: Words) -> None:
        known = layer.required_words[_subject(rule.condition)]
        if len(known) < _MOST_REQUIRED:
            known.append((words, rule))

    def _is_one_text(self, condition: Condition) -> bool:
        """Can one value only stand there? In flowd's reading a list fits where one of its elements does."""
        if condition.reading != "value":
            return True
        field, stream = condition.path[0], self._stream
        is_known = len(condition.path) == 1 and field in FIELDS.get(stream, ())
        return is_known and field not in LISTS[stream] and field not in OBJECTS[stream]


def can_fail(condition: Condition) -> bool:
    """Can looking at the field be an error? Looking into what is neither list nor map is one."""
    return len(condition.path) > 1 and condition.reading != "string"


def group_key(step: Step) -> object:
    """What is equal for two groups that say the same."""
    conditions = tuple(rule.condition for rule in step.rules)
    return (step.kind, step.expression, conditions if step.expression else frozenset(conditions))


def _subject(condition: Condition) -> Subject:
    return condition.path, condition.reading
