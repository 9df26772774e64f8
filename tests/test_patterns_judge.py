"""Which engine a pattern goes to, and what becomes of hostile ones."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowd._core import HAS_LINEAR, LinearSet, Regex
from flowd.patterns import CompiledPattern, PatternError, compile_pattern
from flowd.patterns.judge import judge_pattern
from flowd.patterns.words import compile_word


@pytest.mark.parametrize(
    ("source", "kind", "literals", "any_value"),
    [
        ("", "any", (), True),
        (".*", "any", (), True),
        ("^", "any", (), True),
        ("^.*$", "any", (), False),
        ("a|", "any", (), True),
        ("dev", "contains", (b"dev",), True),
        ("(?:dev)", "contains", (b"dev",), True),
        ("(?<name>dev)", "contains", (b"dev",), True),
        ("dev.*", "contains", (b"dev",), True),
        ("^.*dev", "contains", (b"dev",), False),
        (".*dev.*$", "contains", (b"dev",), False),
        ("dev|prod", "contains", (b"dev", b"prod"), True),
        ("dev|devops", "contains", (b"dev",), True),
        ("\\?", "contains", (b"?",), False),
        ("caf\\u00e9", "contains", ("café".encode(),), True),
        ("^dev", "prefix", (b"dev",), False),
        ("\\Adev-", "prefix", (b"dev-",), False),
        ("^dev.*$", "prefix", (b"dev",), False),
        ("\\.cluster\\.local$", "suffix", (b".cluster.local",), False),
        ("[.]local\\z", "suffix", (b".local",), False),
        ("^dev$", "exact", (b"dev",), False),
        ("^(?:dev|prod|test)$", "exact", (b"dev", b"prod", b"test"), False),
        ("^dev[12]?$", "exact", (b"dev1", b"dev2", b"dev"), False),
        ("^$", "exact", (b"",), False),
    ],
)
def test_plain_words_need_no_engine(source: str, kind: str, literals: tuple[bytes, ...], any_value: bool) -> None:
    compiled = compile_pattern(source)
    assert (compiled.kind, compiled.engine) == (kind, "literal")
    assert (compiled.literals, compiled.any_value) == (literals, any_value)


@pytest.mark.parametrize(
    "source",
    [
        "^ERROR|WARN$",
        "(?i)dev",
        "a.c",
        "[a-z]+",
        "\\d+",
        "\\bdev\\b",
        "a{2}+",
        "[[:alpha:]]",
        "x\\R",
        "^a(?i)b|c",
        "[a-z&&[^aeiou]]x",
    ],
)
def test_the_proven_subset_goes_to_the_linear_engine(source: str) -> None:
    compiled = compile_pattern(source)
    assert compiled.kind == "linear"
    assert compiled.linear is not None
    assert compiled.linear_flags == 26


@pytest.mark.parametrize(
    "source",
    [
        "(a)\\1",
        "(?=a)",
        "(?<!a)b",
        "(?>a+)b",
        "a++b",
        "(?~ab)",
        "\\g<1>?(a)",
        "(a)?(?(1)b|c)",
        "\\A\\X\\z",
        "(?i)é",
        "a{1001}",
        "(?:a{100}){100}",
        "a$b",
        "x\\p{Greek}",
        "(?i)[ß]x",
    ],
)
def test_all_else_goes_to_the_reference(source: str) -> None:
    compiled = compile_pattern(source)
    assert (compiled.kind, compiled.linear) == ("reference", None)


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("pub(lic", "end pattern with unmatched parenthesis", 3),
        ("*a", "target of repeat operator is not specified", 0),
        ("a)", "unmatched close parenthesis", 1),
        ("é[", "premature end of char-class", 1),
        ("a\\", "too short escape sequence", 1),
        ("(?s)a.c", "undefined group option", 0),
        ("\\p{Nope}", "invalid character property name {Nope}", 3),
        ("(?<1>a)", "invalid group name <1>", 3),
        ("a\\k<x>", "undefined name <x> reference", 1),
        ("a\\g<x>", "undefined name <x> reference", 1),
        ("(?<n>a)(?<n>b)\\g<n>", "multiplex definition name <n> call", 14),
        ("\\g<1>", "undefined group <1> reference", 0),
        ("(a)\\k<-2>", "invalid backref number/name", 3),
        ("\\k<>", "group name is empty", 3),
        ("(?<>a)", "group name is empty", 3),
        ("(?", "end pattern in group", 0),
        ("(?<", "end pattern with unmatched parenthesis", 0),
        ("(?i", "end pattern in group", 0),
        ("(?)", "undefined group option", 0),
        ("(?i#)", "undefined group option", 0),
        ("\\c", "too short control escape", 0),
        ("\\C1", "too short control escape", 0),
        ("\\M", "too short meta escape", 0),
        ("\\u", "too short escape sequence", 0),
    ],
)
def test_errors_have_rubys_words_a_place_and_a_hint(source: str, message: str, offset: int) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(source)
    assert (caught.value.message, caught.value.offset) == (message, offset)
    assert caught.value.hint


def test_errors_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(PatternError("message", 3, hint="hint")))
    assert (error.message, error.offset, error.hint) == ("message", 3, "hint")


@pytest.mark.parametrize(
    "source",
    [
        "(" * 30_000,
        "(" * 5000 + ")" * 5000,
        "[" * 30_000,
        "(?i)" * 10_000,
        "a" + "{2}" * 20_000,
        "(?:a|" * 9000,
        "\\g<1>" * 9000,
    ],
)
def test_deep_nesting_is_an_error_of_the_pattern(source: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(source)


@pytest.mark.parametrize(
    "source", ["a" * 65_536, "ab|" * 21_845 + "c", "a*" * 32_768, "[a-z]" * 13_000, "a" + "*" * 65_000]
)
def test_long_patterns_compile_in_bounded_time(source: str) -> None:
    started = time.thread_time()
    compiled = compile_pattern(source)
    assert time.thread_time() - started < 10
    assert compiled.reference


def test_onigmo_takes_braced_code_points_and_ruby_does_not() -> None:
    assert compile_pattern("\\x{41}", dialect="onigmo").literals == (b"A",)
    with pytest.raises(PatternError, match="invalid hex escape"):
        compile_pattern("\\x{41}")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("\\M-a", "á"),
        ("[\\M-\\C-a]", "\x81"),
        ("\\C-\\M-a", "\x81"),
        ("\\303\\251", "é"),
        ("[\\xe3\\201\\x82]", "あ"),
        ("a\\x", "ax"),
    ],
)
def test_onigmo_reads_escapes_of_bytes_in_its_own_way(source: str, found: str) -> None:
    regex = Regex(compile_pattern(source, dialect="onigmo").reference, 0)
    assert regex.search(found.encode())
    assert not regex.search(f"M-aC{source}".replace("ax", "").encode())


@pytest.mark.parametrize(
    ("source", "message"),
    [("\\M", "end pattern at meta"), ("\\Ma", "invalid meta-code syntax"), ("\\M-", "end pattern at meta")],
)
def test_onigmo_refuses_half_of_a_meta_escape(source: str, message: str) -> None:
    with pytest.raises(PatternError, match=message) as caught:
        compile_pattern(source, dialect="onigmo")
    assert caught.value.hint


@pytest.mark.parametrize(
    "source", ["(?~a+b)", "(?~bc|a)", "(?~a*)", "(?~(?i)ss)", "(?~(a))\\1", "(?~\\b)", f"(?~{'a' * 65})"]
)
def test_an_absence_that_cannot_be_written_out_is_refused(source: str) -> None:
    with pytest.raises(PatternError, match="flowd cannot evaluate") as caught:
        compile_pattern(source)
    assert caught.value.hint


def test_a_condition_on_several_groups_of_a_name_is_refused() -> None:
    with pytest.raises(PatternError, match="flowd cannot evaluate"):
        compile_pattern("(?:(?<n>a)|(?<n>b))(?(<n>)c|d)")


ascii_values = st.text(st.characters(min_codepoint=0, max_codepoint=127, exclude_characters="\n"), max_size=12)
pieces = st.sampled_from(
    [
        "a",
        "b",
        "dev",
        "-",
        "\\.",
        ".",
        "[ab]",
        "[^a]",
        "\\d",
        "\\w",
        "\\s",
        "\\h",
        "a?",
        "b*",
        "(?:a|b)",
        "(a|dev)+",
        "a{1,2}",
        "(?i:k)",
        "[[:punct:]]",
        "\\b",
        "\\R",
    ]
)
anchored = st.tuples(
    st.sampled_from(["", "^", "\\A"]), st.lists(pieces, max_size=5), st.sampled_from(["", "$", "\\z", "\\Z"])
).map(lambda parts: parts[0] + "".join(parts[1]) + parts[2])


def answers(compiled: CompiledPattern, value: bytes) -> dict[str, bool | None]:
    found: dict[str, bool | None] = {"reference": Regex(compiled.reference, compiled.reference_options).search(value)}
    if HAS_LINEAR and compiled.linear is not None:
        found["linear"] = bool(LinearSet([(compiled.linear, compiled.linear_flags)]).scan(value))
    words = compiled.literals
    if compiled.engine == "literal":
        found["literal"] = {
            "any": True,
            "contains": any(word in value for word in words),
            "prefix": value.startswith(words),
            "suffix": value.endswith(words),
            "exact": value in words,
        }[compiled.kind]
    return found


@settings(max_examples=300, deadline=None)
@given(anchored, ascii_values, st.booleans())
def test_all_ways_of_evaluating_agree(source: str, value: str, ignore_case: bool) -> None:
    found = answers(compile_pattern(source, ignore_case=ignore_case), value.encode())
    assert len(set(found.values())) == 1, found


@settings(max_examples=300, deadline=None)
@given(st.text("ab()[]{}?*+|\\^$.-&:<>=!~#k1gxuidpPé, ", max_size=20))
def test_any_text_compiles_or_is_an_error(source: str) -> None:
    offset = 0
    try:
        compile_pattern(source)
    except PatternError as error:
        offset = error.offset
    assert 0 <= offset <= len(source)


@settings(deadline=None)
@given(st.from_regex(r"\A\^?[A-Za-z0-9_-]{1,30}\$?\Z"))
def test_words_are_understood_as_the_grammar_understands_them(pattern: str) -> None:
    pattern = pattern.removesuffix("\n")
    assert compile_word(pattern) == judge_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "^", "$", "^$", "a.b", "a|b", "^a^", "a$b", "é", "a b", "dev\n", "a?", "\\w"])
def test_what_is_no_word_goes_to_the_grammar(pattern: str) -> None:
    assert compile_word(pattern) is None
