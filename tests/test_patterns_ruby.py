"""Patterns against Ruby itself: what it accepts, what it says when it refuses, and what matches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from ruby_oracle import HAS_RUBY, VALUES, Ruby, plain_pattern, random_pattern

from flowd._core import HAS_LINEAR, LinearSet, Regex
from flowd.patterns import CompiledPattern, PatternError, compile_pattern

pytestmark = pytest.mark.skipif(not HAS_RUBY, reason="ruby is not installed: patterns cannot be compared with it")

SEED = 20240817


@pytest.fixture(scope="module")
def ruby() -> Iterator[Ruby]:
    with Ruby() as running:
        yield running


def literal_answer(compiled: CompiledPattern, value: bytes) -> bool:
    words = compiled.literals
    match compiled.kind:
        case "any":
            return True
        case "contains":
            return any(word in value for word in words)
        case "prefix":
            return value.startswith(words)
        case "suffix":
            return value.endswith(words)
        case _:
            return value in words


def wrong_answers(compiled: CompiledPattern, expected: list[bool], source: str, ignore_case: bool) -> list[object]:
    """Every engine's answers that differ from Ruby's, for the values that the engine may see."""
    regex = Regex(compiled.reference, compiled.reference_options)
    linear = None
    if HAS_LINEAR and compiled.linear is not None:
        linear = LinearSet([(compiled.linear, compiled.linear_flags)])
    wrong: list[object] = []
    for text, wanted in zip(VALUES, expected, strict=True):
        value = text.encode()
        # Ruby starts too near the end to find a long s or a Kelvin sign there where s or k is wanted.
        ruby_misses = ignore_case_end(source, ignore_case) and text.endswith(("ſ", "K"))
        if regex.search(value) not in (wanted, None) and not ruby_misses:
            wrong.append(("reference", text, wanted))
        plain = "\n" not in text
        if linear and plain and text.isascii() and bool(linear.scan(value)) != wanted:
            wrong.append(("linear", text, wanted))
        if compiled.engine == "literal" and (plain or compiled.any_value) and literal_answer(compiled, value) != wanted:
            wrong.append((compiled.kind, text, wanted))
    return wrong


def ignore_case_end(source: str, ignore_case: bool) -> bool:
    return (ignore_case or "i" in source) and ("\\Z" in source or "\\z" in source)


@pytest.mark.parametrize(("make", "count"), [(random_pattern, 2500), (plain_pattern, 2500)])
def test_generated_patterns_mean_what_ruby_says(ruby: Ruby, make: Callable[[random.Random], str], count: int) -> None:
    rng = random.Random(SEED)
    taken = 0
    for _ in range(count):
        source = make(rng)
        ignore_case, dotall = rng.random() < 0.3, rng.random() < 0.1
        answer = ruby.ask(source, VALUES, ignore_case=ignore_case, dotall=dotall)
        try:
            compiled = compile_pattern(source, ignore_case=ignore_case, dotall=dotall)
        except PatternError as error:
            if not isinstance(answer, str) and not error.message.startswith("flowd cannot evaluate"):
                pytest.fail(f"Ruby takes {source!r}: {error}")
            continue
        assert not isinstance(answer, str), f"Ruby refuses {source!r}: {answer}"
        assert wrong_answers(compiled, answer, source, ignore_case) == [], (source, ignore_case, dotall)
        taken += 1
    assert taken > count // 3


# Each row of Ruby's syntax, with its errors: accepted and refused alike, with the same words.
SPELLINGS = r"""
( ) a) (a *a +a ?a {1}a a|* (|*) (?i)* a** a++ a*+ a?+ a{2}+ a{2}? a{2,3}+ a{1,2}? ^* \b+ (?=a)+ (?!a)? \z? a{,2}
a{,} a{} a{ a{b a{1 {a } ] a{3,1} a{100000} a{100001} a{99999999999} [ [] []a [^] []a] [^]a] [a [a- [a-] [-a] [--a]
[a--] [!--] [b-a] [a-\d] [\d-a] [\w-z] [a-z-9] [a-b-c] [[] [[:alpha:] [[:alpha:]] [[:nope:]] [[:^digit:]]
[[:Alpha:]] [[:word:]] [[:alpha:]-z] [a&&] [&&a] [&&] [a&&b&&c] [a[bc]] [^[a]b] [a[b]-c] [a-&&b] \p{L} \p{^L} \P{L}
\p{Greek} \p{IsGreek} \p{Script=Greek} \p{Nope} \p{} \p{L \pL \p \P{alpha (?<n>a) (?<n (?<>a) (?<1>a) (?<-1>a)
(?'n'a) (?P<n>a) (?P=n) (?:a) (?i:a) (?i-m:a) (?s)a (?^a) (?|a) (?R) (?a:a) (?u:a) (?d:a) (?l:a) (?-a) (?i (? (?<
(?# (?#c)a (?>a) (?~a) (?@a) (?(1)a|b) (a)?(?(1)a|b) (a)?(?(1)a|b|c) (?<n>a)?(?(<n>)b) (?<n>a)?(?(n)b) (?(0)a) \1 \2
\8 \10 \18 (a)\1 (a)\2 (a)\k<1> (a)\k<-1> (a)\k<-2> \k<n> \k<0> \k< \k<> \k<a (?<n>a)\k<n> (?<n>a)\k<n+1> (?<n>a)\1
(?<n>a)(b)\1 (?<n>a)\g<1> (?<n>a)(?<n>b)\g<n> (?<n>a)(?<n>b)\k<n> \g<1> \g<n> \g<0> (\g<0>) (\g<1>a) (a|\g<1>)
(a|b\g<1>c) (a\g<2>)(b\g<1>) (a\g<2>?)(b\g<1>) a\g<0>? (a)\g<+1>(b) \g<-1>(a) (?<=a) (?<=a|bc) (?<!a|bc) (?<=a*)
(?<=a?) (?<=a{2}) (?<=a{1,2}) (?<=(a|bc)) (?<=(?:a|bc)d) (?<=(a)) (?<!(a)) (?<=(?=a)) (?<=\z) (?<=\b) (?<=^a)
(?<=(?>a)) (?<=\1)(a) (?<=\R) (?<=\X) (?<=(?i:a|bc)) \ \x \xg \x4 \x41 \x{41} \xff \xc3 \xc3\xa9 \u \u12 \u00e9
\u{61} \u{61_62} \u{} \u{110000} \ud800 \c \cA \C-a \C \M-a \400 \377 \141 \0 \08 \e \a \Q.\E \y \N \O \h
"""


@pytest.mark.parametrize(
    "source",
    [r"(?<!b)\z", r"\z(?<!b)", r"(?<!b)\Z", r"(?<=b)\z", r"(?<=b)\Z+", r"(?<!ab)\z", r"(?:(?<=a)|(?<!b))\z",
     r"(?a)\b\z", r"(?a)\B\Z", r"(?<!a)b?\z", r"(?<!b)\z{2}", r"[a-z](?<!b)\z", r"(?=(?<!b)\z)"],
)  # fmt: skip
def test_look_behind_at_the_end_means_what_ruby_says(ruby: Ruby, source: str) -> None:
    values = [*VALUES, "ab", "a.b", "xb", "a\nb", "ab\n", "éb", "cc"]
    regex = Regex(compile_pattern(source).reference, compile_pattern(source).reference_options)
    assert [regex.search(value.encode()) for value in values] == ruby.ask(source, values)


def test_each_spelling_is_taken_or_refused_in_rubys_words(ruby: Ruby) -> None:
    differences = []
    for source in SPELLINGS.split():
        answer = ruby.ask(source, [])
        try:
            compile_pattern(source)
            ours: object = []
        except PatternError as error:
            ours = error.message
            if ours.startswith("flowd cannot evaluate"):
                continue
        if ours != answer:
            differences.append((source, answer, ours))
    assert differences == []


ABSENCES = r"""
(?~ab) (?~ab|ba) (?~a|bc) (?~.) (?~..) (?~[ab]c) (?~\wb) (?~a{2}) (?~(ab)) (?~a(?:b|c)) (?~é) (?~\n) (?~abc)
(?~a|ab|abc)
"""
AROUND_ABSENCE = r"""
^%s$ ^%sb %sb$ a%sb ^%s(?=b) ^(?:%sb)+$ ^%s{2}$ (?>%s)a ^%s++$ (?=%sb$)a (?!%sb)a ^(?:%s|x)*?c$ %s\z (?<!a)%sb b%s\Z
"""


@pytest.mark.parametrize("absence", ABSENCES.split())
def test_what_must_be_absent_ends_where_ruby_ends_it(ruby: Ruby, absence: str) -> None:
    values = ["".join(chars) for n in range(5) for chars in itertools.product("abc", repeat=n)] + VALUES
    for around in AROUND_ABSENCE.split():
        source = around % absence
        regex = Regex(compile_pattern(source).reference, 0)
        answer = ruby.ask(source, values)
        assert [regex.search(value.encode()) for value in values] == answer, source
