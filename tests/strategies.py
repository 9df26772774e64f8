"""Generated patterns, filters and lines for the properties, weighted towards what is easy to get wrong.

A pattern is generated in two spellings at once, Ruby's and Python's, so that the oracle needs no engine of flowd's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from hypothesis import assume
from hypothesis import strategies as st
from oracle_text import COLUMNS_24, COLUMNS_27

from flowd.filters.model import Condition, Filter, Rule, Step, StepKind
from flowd.patterns import PatternError, compile_pattern

JSON_KEYS = ["a", "b", "key-longer-than-eight", "key-longer-than-seven", "d e", "é", "", "a.b"]
PATHS: list[tuple[str | int, ...]] = [
    ("a",), ("a",), ("b",), ("key-longer-than-eight",), ("d e",), ("é",), ("",), ("a.b",), ("missing",),
    ("a", "b"), ("a", 0), ("a", -1), ("a", "b", "c"), ("b", 1, "a"), ("b", "é"), (0,), (0, "a"),
]  # fmt: skip
TEXT_PATHS: list[tuple[str | int, ...]] = [
    *[(name,) for name in ("source_namespace", "dest_namespace", "source_name", "dest_name_aggr", "source_type")],
    *[(name,) for name in ("source_name_aggr", "proto", "reporter", "dest_port", "source_ip", "action", "end_time")],
    *[(name,) for name in ("srcNamespace", "srcName", "dstNameAggr", "srcLabels", "policies", "dest_labels")],
    *[(name,) for name in ("num_flows", "missing")],
    ("source_labels", "labels", 0), ("dest_labels", "labels", -1), ("policies", "all_policies"), ("proto", "x"),
]  # fmt: skip
WORDS = ["dev", "devops", "my-dev", "DEV", "Dev", "a", "b", "ab", "web", "", "-", "*", "a.b", "80", "pub", "é", "É",
         "x y", "dev-team-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "tcp"]  # fmt: skip
STRINGS = [*WORDS, "dev\n", "\ndev", "a\nb", "\n", "a\rb", "dev\x00", "\x1b", '"', "\\", "#{a}", "日本", "😀",
           "a\u2028"]  # fmt: skip


@dataclass(frozen=True)
class Pattern:
    """One meaning in two spellings."""

    ruby: str
    python: str


def literal(text: str) -> Pattern:
    return Pattern(re.sub(r"([^\w\s-])", r"\\\1", text, flags=re.ASCII) if text.isascii() else text, re.escape(text))


ATOMS = [
    Pattern(".", "."), Pattern("[a-d]", "[a-d]"), Pattern("[^a-d]", "[^a-d]"), Pattern(r"\d", "[0-9]"),
    Pattern(r"\w", "[0-9A-Za-z_]"), Pattern(r"\W", "[^0-9A-Za-z_]"), Pattern(r"\h", "[0-9a-fA-F]"),
    Pattern(r"\s", r"[ \t\n\v\f\r]"), Pattern(r"\S", r"[^ \t\n\v\f\r]"), Pattern("[dev]", "[dev]"), Pattern(r"\-", "-"),
    Pattern("[[:digit:]]", "[0-9]"), Pattern(r"\n", r"\n"),
]  # fmt: skip
ANCHORS = [
    Pattern("^", r"(?:\A|(?<=\n)(?!\Z))"), Pattern("$", r"(?:(?=\n)|\Z)"), Pattern(r"\A", r"\A"), Pattern(r"\z", r"\Z"),
    Pattern(r"\Z", r"(?=\n?\Z)"),
]  # fmt: skip
QUANTIFIERS = ["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?"]
FRAGMENTS = ["dev", "a", "b", "ab", "-", ".", "web", "80", "ops", "pub", "é", "dev-", "x y"]
literals = st.sampled_from(FRAGMENTS).map(literal)
atoms = st.one_of(literals, st.sampled_from(ATOMS))


@st.composite
def pieces(draw: st.DrawFn) -> Pattern:
    """A quantified atom, an alternation, a look-ahead or a back reference."""
    kind = draw(st.integers(0, 9))
    atom = draw(atoms)
    if kind < 4:
        return atom
    if kind < 7:
        quantifier = draw(st.sampled_from(QUANTIFIERS))
        return Pattern(f"(?:{atom.ruby}){quantifier}", f"(?:{atom.python}){quantifier}")
    other = draw(atoms)
    if kind == 7:
        return Pattern(f"(?:{atom.ruby}|{other.ruby})", f"(?:{atom.python}|{other.python})")
    if kind == 8:
        look = draw(st.sampled_from(["?=", "?!"]))
        return Pattern(f"({look}{atom.ruby}){other.ruby}", f"({look}{atom.python}){other.python}")
    return Pattern(f"(?:{atom.ruby}|{other.ruby})", f"(?:{atom.python}|{other.python})")


WHOLE = [
    Pattern("", ""), Pattern(".*", ".*"), Pattern(".", "."), Pattern(r"(a|b)\1", r"(a|b)\1"),
    Pattern("dev|web", "dev|web"), Pattern("^$", ANCHORS[0].python + ANCHORS[1].python),
]  # fmt: skip


@st.composite
def patterns(draw: st.DrawFn) -> Pattern:
    kind = draw(st.integers(0, 9))
    if kind < 3:  # what filters hold as a rule: a word, anchored or not
        word = draw(literals)
        before, after = draw(st.sampled_from([("", ""), ("^", ""), ("", "$"), ("^", "$"), (r"\A", r"\z")]))
        known = {anchor.ruby: anchor.python for anchor in ANCHORS} | {"": ""}
        return Pattern(before + word.ruby + after, known[before] + word.python + known[after])
    if kind == 3:
        return draw(st.sampled_from(WHOLE))
    parts = draw(st.lists(st.one_of(pieces(), pieces(), pieces(), st.sampled_from(ANCHORS)), min_size=1, max_size=4))
    return Pattern("".join(part.ruby for part in parts), "".join(part.python for part in parts))


def is_evaluated(condition: Condition) -> bool:
    """False where flowd says of a pattern that it cannot evaluate it as Ruby does; any other refusal is a failure."""
    try:
        compile_pattern(condition.pattern, ignore_case=condition.ignore_case, dotall=condition.dotall)
    except PatternError as error:
        if error.message.startswith("flowd cannot evaluate"):
            return False
        raise
    return True


class PythonMatcher:
    """Matches conditions by Python's re, from the Python spelling of every generated pattern."""

    def __init__(self) -> None:
        self.spelling: dict[str, str] = {}

    def __call__(self, condition: Condition, subject: bytes) -> bool:
        flags = (re.IGNORECASE if condition.ignore_case else 0) | (re.DOTALL if condition.dotall else 0)
        text = subject.decode("utf-8", "surrogateescape")  # in Fluent Bit a stray byte is one character
        return re.search(self.spelling[condition.pattern], text, flags) is not None


Reading = Literal["ruby", "string"]
RuleKind = Literal["regexp", "exclude"]
READINGS: list[Reading] = ["ruby", "ruby", "ruby", "string"]
RULE_KINDS: list[RuleKind] = ["regexp", "exclude"]
KINDS: list[StepKind] = ["all", "any", "not_all", "not_any", "not_any"]


@st.composite
def filter_lists(draw: st.DrawFn, matcher: PythonMatcher, paths: list[tuple[str | int, ...]]) -> tuple[Filter, ...]:
    """Up to three filters of up to three steps, all in Ruby's or all in Fluent Bit's reading."""
    reading = draw(st.sampled_from(READINGS))
    filters = []
    for number in range(draw(st.integers(0, 3))):
        steps = []
        for at in range(draw(st.integers(0, 3))):
            kind: StepKind = "first" if reading == "string" else draw(st.sampled_from(KINDS))
            group = f"filter{number}.step{at}" if kind in ("any", "not_all") else ""
            rules = []
            for place in range(draw(st.integers(1, 3))):
                pattern = draw(patterns())
                matcher.spelling[pattern.ruby] = pattern.python
                condition = Condition(
                    draw(st.sampled_from(paths)), pattern.ruby, draw(st.booleans()), draw(st.booleans()), reading
                )
                assume(is_evaluated(condition))
                shape: RuleKind = "regexp" if kind in ("all", "any") else "exclude"
                if kind == "first":
                    shape = draw(st.sampled_from(RULE_KINDS))
                name = f"filter{number}.step{at}.rule{place}"
                rules.append(Rule(name, shape, "key", condition, "f", 1, 1, group))
            steps.append(Step(kind, tuple(rules), group))
        filters.append(Filter(f"filter{number}", "**", tuple(steps), "f", 1, 1))
    return tuple(filters)


ODD_STRINGS = [
    b'"\xff"', b'"dev\xe3\x81"', b'"\xf0\x9f\x98dev"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00dev"', b'"a\x01b"',
    b'"\\q"', b'"\\u12"', b'"\t"', b'"\\/"', b'"a\\u0000b"', b'"\\ud83d\\ude00"', b'"\x7f"', b'"\xc3\xa9\xff"',
    b'"dev\xef\xbf\xbd"',
]  # fmt: skip


@st.composite
def json_strings(draw: st.DrawFn) -> bytes:
    """A string's JSON text: plain, escaped in part or throughout, with invalid UTF-8, or broken."""
    text = draw(st.one_of(st.sampled_from(STRINGS), st.text(st.sampled_from('devab-.é\n\\"\x00 😀'), max_size=6)))
    kind = draw(st.integers(0, 19))
    if kind < 10:
        return json.dumps(text, ensure_ascii=False).encode()
    if kind < 14:
        return json.dumps(text).encode()
    if kind < 16:
        units = text.encode("utf-16-be")
        return b'"' + b"".join(b"\\u" + units[at : at + 2].hex().encode() for at in range(0, len(units), 2)) + b'"'
    return draw(st.sampled_from(ODD_STRINGS))


SCALARS = [
    b"null", b"true", b"false", b"0", b"80", b"-0", b"1.10", b"1e3", b"-0.0", b"1e400", b"1e15", b"0.00001", b"1E5",
    b"1000000000000000.5", b"123456789012345678901234567890", b"01", b"1.", b"tru", b"NaN", b"-", b"1 2", b"'a'", b"",
    b"nulll", b"\x00", b"+1",
]  # fmt: skip
scalars = st.one_of(json_strings(), json_strings(), st.sampled_from(SCALARS[:15]), st.sampled_from(SCALARS))


def join_list(parts: list[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"


def join_map(members: list[tuple[bytes, bytes]]) -> bytes:
    return b"{" + b",".join(key + b":" + value for key, value in members) + b"}"


nested_keys = st.sampled_from([b'"a"', b'"b"', b'"c"', b'"\xc3\xa9"', b'"\\u0061"', b'"\\q"', b'"x\\n"'])
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(join_list), st.lists(st.tuples(nested_keys, inner), max_size=3).map(join_map)
    ),
    max_leaves=5,
)


ODD_KEYS = [b'"\\u0061"', b'"\\q"', b'"\xff"', b'"a\x01"', b'"a\\u0000"', b'"\\ud800"', b"a", b""]


@st.composite
def json_keys(draw: st.DrawFn) -> bytes:
    key = draw(st.sampled_from(JSON_KEYS))
    kind = draw(st.integers(0, 15))
    if kind == 0:
        return b'"' + b"".join(b"\\u%04X" % ord(c) for c in key) + b'"'
    if kind == 1:
        return draw(st.sampled_from(ODD_KEYS))
    return json.dumps(key, ensure_ascii=False).encode()


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """A JSON line, mostly well formed, spread out or compact; sometimes with its structure broken."""
    blank = st.sampled_from([b"", b"", b"", b"", b" ", b"\t", b"  ", b"\r"])
    spread = draw(st.integers(0, 3)) == 0
    parts = [draw(blank) if spread else b"", b"{"]
    members = draw(st.lists(st.tuples(json_keys(), json_values), max_size=5))
    for number, (key, value) in enumerate(members):
        around = [draw(blank) if spread else b"" for _ in range(4)]
        parts += [b"," if number else b"", around[0], key, around[1], b":", around[2], value, around[3]]
    parts += [b"}", draw(blank) if spread else b""]
    line = b"".join(parts)
    if draw(st.integers(0, 5)) == 0:
        line = draw(damaged(line))
    return line.replace(b"\n", b" ")


@st.composite
def damaged(draw: st.DrawFn, line: bytes) -> bytes:
    """The line cut, with a byte more, or with a byte changed."""
    at = draw(st.integers(0, len(line)))
    byte = draw(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b":", b",", b" ", b"\\", b"x", b"\x00", b"\xff", b"1"]))
    kind = draw(st.integers(0, 2))
    return line[:at] if kind == 0 else line[:at] + byte + line[at + (kind == 1) :]


VALUES_OF = {
    "type": ["wep", "net", "pub", "pvt", "hep", "ns"],
    "namespace": ["dev", "devops", "my-dev", "-", "", "web", "kube-system", "é", "\udcff"],
    "name": ["a-*", "*", "-", "", "pub", "pvt", "pod-1", "dev-*"],
    "labels": ["-", "[]", "[a=b]", "[a=b,c=]", "[app=dev,x=y]", "x", "[", "[]x"],
    "ip": ["-", "10.0.0.1", "2001:db8::1"],
    "proto": ["6", "17", "1", "58", "132", "4", "50", "89", "tcp", "-"],
    "port": ["-", "80", "0", "-0", "080", "x"],
    "reporter": ["src", "dst", "in", "out", "fwd"],
    "policies": ["-", "[]", "[0|a|b|allow|0]", "[0|a|dev|allow|0 1|b|c|deny|1]", "[a b c d]"],
    "action": ["allow", "deny"],
    "aggr": ["a-*", "-", "pub", "dev-*"],
    "number": ["0", "1", "80", "1700000000", "99999999999999999999", "-", "1.5"],
}


def kind_of(column: str) -> str:
    kind = column.rsplit("_", 1)[-1]
    return kind if kind in VALUES_OF else "number"


@st.composite
def text_lines(draw: st.DrawFn) -> bytes:
    """A line of 24 or 27 columns, sometimes of others, with brackets, empty columns and CRs."""
    names = draw(st.sampled_from([COLUMNS_24, COLUMNS_24, COLUMNS_27]))
    columns = [draw(st.sampled_from(VALUES_OF[kind_of(name)])) for name in names]
    shape = draw(st.integers(0, 11))
    if shape == 0:
        columns = columns[: draw(st.integers(0, len(columns)))]
    elif shape == 1:
        columns += draw(st.lists(st.sampled_from(["-", "x", "[a", "b]", ""]), max_size=8))
    line = " ".join(columns).encode("utf-8", "surrogateescape")
    return line + draw(st.sampled_from([b"", b"", b"", b"\r", b" ", b"\r\r"]))


ODD_LINES = [b"", b" ", b"\t\r", b"\r", b"x", b"\x00", b"[1,2]", b"null", b'"a"', b"{", b"}", b" {}", b"{}\r", b"{} "]
odd_lines = st.sampled_from(ODD_LINES)


def batches(lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A few lines, the last one with or without its newline."""
    many = st.lists(st.one_of(lines, lines, lines, lines, odd_lines), min_size=1, max_size=12)
    return st.tuples(many, st.booleans()).map(lambda drawn: b"\n".join(drawn[0]) + (b"\n" if drawn[1] else b""))
