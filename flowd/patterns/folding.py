"""Case folding of classes by Ruby's rule, worked out character by character.

Ruby (Onigmo) folds a class when it compiles it, and its result is not the closure one would expect:
- a member is joined by every character with the same folding, but never by one of U+0080 to U+00FF (`[aé]` takes É only
  if it is named; a class of a single character is a literal, and folds in full);
- a step across the ASCII border (k and the Kelvin sign, s and the long s) is taken for some members only;
- a member that folds to several characters (ß to ss) matches those too, unless the class is negated.
"""

from __future__ import annotations

from functools import cache, lru_cache

from flowd.patterns.charset import ASCII, CharSet

LATIN_1 = CharSet.of([(0x80, 0xFF)])
CACHED_CLASSES = 128  # Filters repeat a few classes; the cache must not grow with reloads.
_LAST_CASED = 0x1E943  # The last character with a case folding.
_BORDER = (CharSet.chars("kK\u212a"), CharSet.chars("sS\u017f"))


@cache
def _families() -> dict[str, str]:
    """Folded text → the characters that fold to it, where there are several or the text is longer than one."""
    families: dict[str, str] = {}
    for code in range(_LAST_CASED + 1):
        char = chr(code)
        folded = char.casefold()
        if folded != char:
            families[folded] = families.get(folded, folded if len(folded) == 1 else "") + char
    return families


def _relatives(char: str) -> str:
    return _families().get(char.casefold(), "")


@lru_cache(CACHED_CLASSES)
def folded_class(members: CharSet, across: CharSet) -> CharSet:
    """The class as Ruby compiles it where case is ignored; `across` are the members that may cross the ASCII border."""
    letters = members & ASCII
    result = members
    for low, high in letters.ranges:
        result |= CharSet.chars("".join(chr(code).swapcase() for code in range(low, high + 1)))
    for family in _BORDER:
        if family & across & members:
            result |= family
    if members & ~ASCII:
        added = []
        for folded, family_chars in _families().items():
            if len(folded) == 1 and folded < "\x80":
                continue
            if any(char in members for char in family_chars):
                added.append(family_chars)
        result |= CharSet.chars("".join(added)) - LATIN_1
    return result


@lru_cache(CACHED_CLASSES)
def expansions(members: CharSet) -> tuple[str, ...]:
    """The texts of several characters that members fold to."""
    if not members & ~ASCII:
        return ()
    return tuple(
        folded for folded, family in _families().items() if len(folded) > 1 and any(char in members for char in family)
    )


@cache
def _several() -> tuple[str, ...]:
    return tuple(folded for folded in _families() if len(folded) > 1)


def folds_with_several(text: str) -> bool:
    """Whether a part of the text folds to, or is what folds to, several characters: `ß`, `ss`, `ff`, `st`."""
    folded = text.casefold()
    return len(folded) != len(text) or any(several in folded for several in _several())
