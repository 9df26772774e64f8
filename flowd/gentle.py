"""Expressions and samples as the core takes them: plain numbers. Nothing here evaluates a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from flowd.filters.model import Expression

HOLDS, FAILS = -1, -2

Test = tuple[int, int, int]


def flatten_expression(expression: Expression, predicates: Sequence[int]) -> list[Test]:
    """An expression as tests in a row: (predicate, what comes next where it says yes, and where no).

    What comes next is the number of a later test, HOLDS or FAILS: parts are looked at from left to right, only as far
    as it takes, and negation costs nothing. `predicates` are those of the step's rules.
    """
    tests: list[Test] = []
    _write(expression, predicates, (HOLDS, FAILS), tests, count(FAILS - 1, -1))
    return tests


def _write(
    expression: Expression, predicates: Sequence[int], ways: tuple[int, int], tests: list[Test], marks: Iterator[int]
) -> None:
    """Appends an expression's tests, which lead to the first of `ways` where it holds and to the second where not.

    A mark stands for the test that follows a part and is not written yet; it is put right when it is.
    """
    if expression.kind == "is":
        tests.append((predicates[expression.rule], *ways))
        return
    if expression.kind == "not":
        _write(expression.parts[0], predicates, (ways[1], ways[0]), tests, marks)
        return
    for part in expression.parts[:-1]:
        begin, following = len(tests), next(marks)
        _write(
            part, predicates, (following, ways[1]) if expression.kind == "and" else (ways[0], following), tests, marks
        )
        for at in range(begin, len(tests)):
            predicate, yes, no = tests[at]
            tests[at] = (
                predicate,
                len(tests) if yes == following else yes,
                len(tests) if no == following else no,
            )
    _write(expression.parts[-1], predicates, ways, tests, marks)


def sample_seed(name: str) -> int:
    """64 bits that differ from rule to rule and are the same everywhere: which lines a rule's sample takes."""
    import hashlib  # takes longer to load than most filters to compile

    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
