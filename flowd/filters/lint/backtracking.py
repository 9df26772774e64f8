"""Patterns that the reference engine can be kept busy with: a short value on which it meets its step limit.

Nothing is guessed. A repeat of what can itself be matched in several ways says which values to try; a pattern is told
only with a value on which the engine really gave up, and on which each character more multiplies the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, product

from flowd.filters.lint.patterns import compile_condition, each_rule, parse_condition, place_of
from flowd.filters.model import Condition, FilterText
from flowd.filters.source import Report
from flowd.patterns.nodes import (
    Alternation,
    AnyChar,
    Atomic,
    Capture,
    CodeClass,
    Literal,
    Look,
    Node,
    Options,
    Property,
    PropertyClass,
    Repeat,
    Sequence,
    walk,
)

_FEW = 8  # texts that stand for what a part of a pattern matches
_MANY_TIMES = 8  # a repeat that counts so far is as good as one without an end
_LONGEST_TEXT = 40
_LIKELY = "a0A-._ /:"  # of a class these characters are tried first
_BREAKS = ("!", "\0", "A")  # characters that hardly any pattern goes on with
_PUMPED = 60  # turns at most
# Steps at which the turns are counted: an exponential pattern needs as many turns more each time, any other ever more.
_GROWTH = (5_000, 50_000, 500_000)
_SHOWN = 40


def warn_backtracking(text: FilterText, report: Report) -> None:
    """Warn about each pattern that a short value brings to the step limit."""
    seen: dict[Condition, str] = {}
    for _, _, rule in each_rule(text):
        if rule.condition.test != "pattern":
            continue
        condition = rule.condition._replace(path=())
        if condition not in seen:
            seen[condition] = find_costly_value(condition)
        value = seen[condition]
        if value:
            shown = f"{value[:_SHOWN]!r}" + ("…" if len(value) > _SHOWN else "")
            report.warning(
                place_of(rule),
                f"the pattern takes exponential time: on {shown}, {len(value)} characters, the engine gives up",
                hint="a repeat inside a repeat can match one text in many ways: write (a+)+ as a+; lines with such a"
                " value are kept, and counted as errors",
                code="exponential-pattern",
            )


def find_costly_value(condition: Condition) -> str:
    """The shortest value of its kind on which the reference engine gives up; nothing where none was found."""
    compiled = compile_condition(condition)
    if compiled.engine == "literal" or ")" not in condition.pattern:
        return ""
    from flowd import _core

    regex = _core.Regex(compiled.reference, compiled.reference_options)
    for start, pump, end in _candidates(parse_condition(condition).root):
        turns = max(16, 32 // len(pump))
        if regex.search((start + pump * turns + end).encode(), _GROWTH[0]) is None:
            value = _confirm(regex.search, start, pump, end)
            if value:
                return value
    return ""


def _confirm(search: Callable[..., bool | None], start: str, pump: str, end: str) -> str:
    """The value with the fewest turns that the engine gives up on, if the work grows exponentially with them."""
    turns = 0
    needed = []
    for steps in (*_GROWTH, None):
        while turns <= _PUMPED:
            value = (start + pump * turns + end).encode()
            if (search(value) if steps is None else search(value, steps)) is None:
                break
            turns += 1
        else:
            return ""
        needed.append(turns)
    first, second, third = needed[:3]
    is_exponential = third - second <= second - first + 1
    return start + pump * turns + end if is_exponential else ""


def _candidates(root: Node) -> Iterator[tuple[str, str, str]]:
    """What stands before a repeat, what it repeats, and what makes the match fail behind it."""
    for start, repeat, rest in _repeats(root, "", ""):
        pumps = [text for text in _texts(repeat.body) if text]
        # What stands behind must be there, or the engine sees at once that nothing matches; it must not match, too.
        ends = dict.fromkeys(
            (*_BREAKS, "", rest, *(char + rest for char in _BREAKS), *(rest + char for char in _BREAKS))
        )
        yield from product((start,), pumps, ends)


def _repeats(node: Node, start: str, rest: str) -> Iterator[tuple[str, Repeat, str]]:
    """The repeats that may be ambiguous, outer ones first, with a text that leads to them and one for what follows."""
    match node:
        case Repeat(body):
            if (node.high is None or node.high >= _MANY_TIMES) and _is_ambiguous(body):
                yield start, node, rest
            yield from _repeats(body, start, rest)
        case Sequence(parts):
            before = start
            for i, part in enumerate(parts):
                after = "".join(_first_text(other) for other in parts[i + 1 :])
                yield from _repeats(part, before, (after + rest)[:_LONGEST_TEXT])
                before = (before + _first_text(part))[:_LONGEST_TEXT]
        case Alternation(branches):
            for branch in branches:
                yield from _repeats(branch, start, rest)
        case Capture(body=body) | Options(body) | Atomic(body) | Look(body=body):
            yield from _repeats(body, start, rest)
        case _:
            return


def _is_ambiguous(body: Node) -> bool:
    return any(isinstance(node, Alternation | Repeat) for node in walk(body))


def _first_text(node: Node) -> str:
    return next(iter(_texts(node)), "")


def _texts(node: Node) -> list[str]:
    """A few texts that the node matches, probably."""
    match node:
        case Literal(text):
            return [text]
        case AnyChar():
            return ["a"]
        case CodeClass(members, negated=negated):
            wanted = ~members if negated else members
            likely = [char for char in _LIKELY if char in wanted]
            return likely[:3] or [chr(low) for low, _ in wanted.ranges[:2] if not 0xD800 <= low < 0xE000]
        case Property() | PropertyClass():
            return ["a", "0", "é"]
        case Sequence(parts):
            found = islice(product(*(_texts(part)[:3] or [""] for part in parts)), _FEW)
            return list(dict.fromkeys("".join(texts)[:_LONGEST_TEXT] for texts in found))
        case Alternation(branches):
            return list(dict.fromkeys(text for branch in branches for text in _texts(branch)))[:_FEW]
        case Repeat(body, low, high):
            once = [text * max(low, 1) for text in _texts(body) if len(text) * low <= _LONGEST_TEXT]
            return [*once, ""] if low == 0 and high != 0 else once
        case Capture(body=body) | Options(body) | Atomic(body):
            return _texts(body)
        case _:
            return [""]
