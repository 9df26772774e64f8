"""What a filter text says, as plain data: what every dialect's reader makes and what the compiler takes.

Nothing here reads files or matches anything; all objects are immutable and can be pickled.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from flowd.errors import Problem

StepKind = Literal["all", "any", "not_all", "not_any", "first"]


class Condition(NamedTuple):
    """A pattern on a field of the record: one predicate.

    `path` is the resolved record accessor: one part is a plain look-up of a top-level key; several dig into nested
    values. A string part is a map's key, an int part a list's index (negative counts from the end).
    `pattern` is a regular expression in Ruby's syntax, without slashes and options.
    `reading` says what of a value is matched: `ruby` its text as Ruby's `to_s` gives it (nothing is the empty text),
    `string` only strings, anything else never matches (Fluent Bit).
    """

    path: tuple[str | int, ...]
    pattern: str
    ignore_case: bool = False
    dotall: bool = False
    reading: Literal["ruby", "string"] = "ruby"


class Rule(NamedTuple):
    """A condition with what follows from it, and where it was written.

    `kind` is `regexp` (what does not match is dropped) or `exclude` (what matches is dropped). `key` is the field as
    it was written. `group` names the `and` or `or` group that decides as a whole, or is empty.
    """

    name: str
    kind: Literal["regexp", "exclude"]
    key: str
    condition: Condition
    file: str
    line: int
    column: int
    group: str = ""


class Step(NamedTuple):
    """A part of a filter that can drop a line; a filter's steps run in order and the first that drops ends it.

    all      every rule must match, else drop (the first that did not match decides)
    any      at least one rule must match, else drop (`group` decides)
    not_all  drop if every rule matches (`group` decides)
    not_any  drop if any rule matches (the first that matched decides)
    first    in order: an exclude that matches drops; a regexp keeps if it matches and drops if not, at once
    """

    kind: StepKind
    rules: tuple[Rule, ...]
    group: str = ""


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

    `filters` are the sections that apply to the stream, in the order they run.
    """

    dialect: str
    stream: str
    filters: tuple[Filter, ...]
    warnings: tuple[Problem, ...] = ()
