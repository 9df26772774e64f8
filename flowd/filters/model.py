"""What a filter text says, as plain data: what every dialect's reader makes and what the compiler takes.

Nothing here reads files or matches anything; all objects are immutable and can be pickled.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from flowd.errors import Problem

StepKind = Literal["all", "any", "not_all", "not_any", "first", "when", "unless"]
Reading = Literal["ruby", "string", "value"]
Test = Literal["pattern", "equals", "prefix", "suffix", "contains", "cidr", "number", "labels", "exists", "null"]

WORD_TESTS: tuple[Test, ...] = ("equals", "prefix", "suffix", "contains")
"""Tests whose arguments are words, of which one must fit."""


class Condition(NamedTuple):
    """A test on a field of the record: one predicate.

    `path` is the resolved record accessor: one part is a plain look-up of a top-level key; several dig into nested
    values. A string part is a map's key, an int part a list's index (negative counts from the end).

    `reading` says what of a value is looked at: `ruby` its text as Ruby's `to_s` gives it (nothing is the empty text;
    fluentd), `string` only strings, anything else never matches (Fluent Bit), `value` the value itself: nothing and
    null never match, and a list matches where one of its elements does (flowd).

    `test` says what is asked:
    pattern   is `pattern`, a regular expression in Ruby's syntax without slashes and options, found in it?
    equals, prefix, suffix, contains   does one of the words in `arguments` fit? (`ignore_case` holds here, too)
    cidr      is it an address in one of the networks in `arguments` (texts such as `10.0.0.0/8`)?
    number    is it a number for which all of `arguments` hold, pairs of `<`, `<=`, `>`, `>=` and a number's text?
    labels    do the labels fulfil all of `arguments`: triples of a label, `in`, `notin`, `exists` or `absent`, and
              a tuple of values? (nothing and null are no labels)
    exists    is the field there, if only with null?
    null      is it there, with null?
    """

    path: tuple[str | int, ...]
    pattern: str = ""
    ignore_case: bool = False
    dotall: bool = False
    reading: Reading = "ruby"
    test: Test = "pattern"
    arguments: tuple[Any, ...] = ()


class Rule(NamedTuple):
    """A condition with what follows from it, and where it was written.

    `kind` is `regexp` (what does not match is dropped) or `exclude` (what matches is dropped). `key` is the field as
    it was written. `group` names the group that decides as a whole, or is empty.
    """

    name: str
    kind: Literal["regexp", "exclude"]
    key: str
    condition: Condition
    file: str
    line: int
    column: int
    group: str = ""


class Expression(NamedTuple):
    """A condition made of conditions: `and`, `or` (of any number of parts), `not` (of one), or `is`: a step's rule.

    Parts are looked at from left to right, only as far as it takes.
    """

    kind: Literal["and", "or", "not", "is"]
    parts: tuple[Expression, ...] = ()
    rule: int = 0


class Step(NamedTuple):
    """A part of a filter that can drop a line; a filter's steps run in order and the first that drops ends it.

    all      every rule must match, else drop (the first that did not match decides)
    any      at least one rule must match, else drop (`group` decides)
    not_all  drop if every rule matches (`group` decides)
    not_any  drop if any rule matches (the first that matched decides)
    first    in order: an exclude that matches drops; a regexp keeps if it matches and drops if not, at once
    when     drop if `expression` holds of the rules (`group` decides)
    unless   drop if it does not (`group` decides)

    The last two can be gentler. Where `is_shadow`, what the step would drop is counted and goes on. Of N lines that it
    would drop, `sample` N lets one go on, chosen by the line's own bytes; 0 lets none. From `until_ns` on (nanoseconds
    since 1970) the step does nothing; 0 is never.
    """

    kind: StepKind
    rules: tuple[Rule, ...]
    group: str = ""
    expression: Expression | None = None
    is_shadow: bool = False
    sample: int = 0
    until_ns: int = 0


class Filter(NamedTuple):
    """One filter section: for the tags that `tags` matches, its steps decide.

    `name` is unique in the whole text (the section's @id or alias, else `filter` and its number, from 1).
    """

    name: str
    tags: str
    steps: tuple[Step, ...]
    file: str
    line: int
    column: int


class FilterText(NamedTuple):
    """A text (with what it includes) that was read without problems, resolved for one stream.

    `filters` are the sections that apply to the stream, in the order they run. `dialect` names all that it is written
    in, joined by `+` where a folder or ConfigMap mixes them.
    """

    dialect: str
    stream: str
    filters: tuple[Filter, ...]
    warnings: tuple[Problem, ...] = ()
