"""The linear engine says of values of every length what the reference says, or is not used."""

from __future__ import annotations

import random

import pytest

from flowd._core import HAS_LINEAR, LinearSet, Regex, engine_versions, find_linear_fault
from flowd.patterns.judge import judge_pattern

LONGEST = 300
"""Several of the widest registers: engines take the first and the last bytes of a value by ways of their own."""
LITTLE = "abcxyz019-"
MATCHES_A_PATTERN = 24

pytestmark = pytest.mark.skipif(not HAS_LINEAR, reason="built without the linear engine")


def make_pattern(chance: random.Random) -> str:
    """A few branches, anchored or not, whose repeats do not lie inside of each other."""

    def make_part() -> str:
        part = chance.choice(
            [
                chance.choice(LITTLE),
                chance.choice(LITTLE),
                "".join(chance.choices(LITTLE, k=chance.randint(2, 6))),
                chance.choice([".", "[a-c]", "[0-9]", "[^a]", "[x-z0]", "(?:a|9z)", "(?:yc)?"]),
            ]
        )
        is_single = len(part) == 1 or part.startswith("[")
        return part + chance.choice(["", "", "", "?", "*", "+", "{2}", "{1,3}"] if is_single else [""])

    def make_branch() -> str:
        parts = [make_part() for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.3:
            parts.insert(chance.randrange(len(parts) + 1), ".*")
        start, end = chance.choice(["", "", "^"]), chance.choice(["", "", "$"])
        return start + "".join(parts) + end

    return "|".join(make_branch() for _ in range(chance.choice([1, 1, 2, 3])))


def make_value(chance: random.Random) -> bytes:
    """Mostly one filling, with a few of the patterns' characters somewhere."""
    filling = chance.choice(["z", "y", "-", "qwe", LITTLE])
    value = chance.choices(filling, k=chance.choice([chance.randint(0, 40), chance.randint(41, LONGEST)]))
    for _ in range(chance.randint(0, 3)):
        place = chance.randint(0, len(value))
        value[place:place] = chance.choices(LITTLE, k=chance.randint(1, 8))
    return "".join(value).encode()


@pytest.mark.parametrize("seed", range(4))
def test_long_values_are_matched_as_by_the_reference(seed: int) -> None:
    chance = random.Random(seed)
    wrong = []
    looks = 0
    while looks < 4000:
        judged = [judge_pattern(make_pattern(chance)) for _ in range(chance.choice([1, 1, 4, 20]))]
        compiled = [pattern for pattern in judged if pattern.linear is not None]
        if not compiled:
            continue
        linear = LinearSet([(pattern.linear, pattern.linear_flags) for pattern in compiled])
        references = [Regex(pattern.reference, pattern.reference_options) for pattern in compiled]
        for _ in range(MATCHES_A_PATTERN):
            value = make_value(chance)
            found = [i for i, reference in enumerate(references) if reference.search(value)]
            looks += len(references)
            if linear.scan(value) != found:
                wrong.append(([pattern.linear for pattern in compiled], value))
    if not find_linear_fault():
        assert wrong == []


def test_versions_that_overlook_matches_are_not_used() -> None:
    """What the check knows of versions, said of the one that is loaded."""
    ((name, version),) = (found for found in engine_versions().items() if found[0] != "oniguruma")
    patch = int(version.split(".")[2])
    assert name == ("hyperscan" if patch < 6 else "vectorscan")
    if 6 <= patch <= 12:
        assert find_linear_fault() == "this version overlooks matches in long values"
