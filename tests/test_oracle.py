"""The oracle itself: against Ruby where Ruby defines the answer, against the written rules where flowd does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from random import Random

import oracle_text
import pytest
from oracle import Judgement, Oracle, count_hits, keep, verdicts
from oracle_json import Integer, Malformed, Value, parse_value, split_members
from oracle_ruby import float_text, inspect_string, scrub, to_s

from flowd.filters.model import Condition, Filter, Rule, Step, StepKind

SAMPLES = Path(__file__).parent / "data" / "samples"

# Reads JSON documents, one a line in hex, and prints to_s of each as hex, as a fluentd worker would make it.
RUBY_TO_S = """
require "json"
STDIN.each_line do |line|
  value = JSON.parse([line.chomp].pack("H*").force_encoding("UTF-8"), max_nesting: false, decimal_class: nil)["v"]
  puts value.to_s.unpack1("H*")
end
"""
RUBY_SCRUB = """
STDIN.each_line { |line| puts [line.chomp].pack("H*").force_encoding("UTF-8").scrub("?").unpack1("H*") }
"""


def ask_ruby(program: str, texts: list[bytes]) -> list[bytes]:
    if shutil.which("ruby") is None:
        pytest.skip("ruby is not installed: what it prints cannot be compared")
    hexed = "".join(text.hex() + "\n" for text in texts)
    done = subprocess.run(
        ["ruby", "-Eascii-8bit:ascii-8bit", "-e", program], input=hexed, capture_output=True, text=True, check=True
    )
    return [bytes.fromhex(line) for line in done.stdout.split("\n")[:-1]]


def draw_number(rng: Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return str(rng.randrange(-(10**25), 10**25))
    if kind == 1:
        return repr(rng.uniform(-1, 1) * 10 ** rng.randrange(-12, 24))
    if kind == 2:
        return f"{rng.randrange(-99, 100)}.{rng.randrange(100)}e{rng.randrange(-330, 330)}"
    if kind == 3:
        return f"{rng.randrange(10)}E+{rng.randrange(20)}"
    return rng.choice(["-0", "0", "-0.0", "0.0001", "0.00001", "1e15", "1e14", "999999999999999.9", "1.10", "1e3",
                       "123456789012345.6", "9007199254740993.0", "1e400", "-1e400", "5e-324", "1e-400", "0e0",
                       "1000000000000000.5", "4503599627370495.5"])  # fmt: skip


def draw_string(rng: Random) -> str:
    alphabet = ["a", "é", "😀", "\x00", "\x07", "\b", "\t", "\n", "\v", "\f", "\r", "\x1b", "\x7f", "\x80", '"', "\\",
                "#", "{", "$", "@", "\u2028", "\ufeff", "\u200b", " ", "日", "}"]  # fmt: skip
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(8)))


def draw_document(rng: Random, depth: int = 0) -> str:
    kind = rng.randrange(6 if depth < 3 else 4)
    if kind == 0:
        return draw_number(rng)
    if kind in (1, 2):
        return json.dumps(draw_string(rng), ensure_ascii=rng.random() < 0.5)
    if kind == 3:
        return rng.choice(["null", "true", "false"])
    if kind == 4:
        return "[" + ", ".join(draw_document(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    keys = [json.dumps(rng.choice(["a", "b", draw_string(rng)])) for _ in range(rng.randrange(4))]
    return "{" + ",".join(f"{key} : {draw_document(rng, depth + 1)}" for key in keys) + "}"


def test_to_s_is_what_ruby_prints() -> None:
    rng = Random(7)
    documents = [draw_document(rng).encode() for _ in range(4_000)]
    ours = [to_s(parse_value(document, strict=True)) for document in documents]
    theirs = ask_ruby(RUBY_TO_S, [b'{"v":' + document + b"}" for document in documents])
    assert [
        (document, our, their) for document, our, their in zip(documents, ours, theirs, strict=True) if our != their
    ] == []


def test_scrubbing_is_rubys() -> None:
    rng = Random(8)
    parts = [b"a", b"\xff", b"\xe3\x81", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80", "é".encode(), b"\x80",
             b"\xf4\x90", b"\xe0\x9f", b"\xf5", b"\xc3", "\U0001f600".encode(), b"\xef\xbf\xbd",
             b"\xed\x9f\xbf"]  # fmt: skip
    texts = [b"".join(rng.choice(parts) for _ in range(rng.randrange(6))) for _ in range(3_000)]
    texts += [bytes(rng.randrange(256) for _ in range(rng.randrange(12))) for _ in range(3_000)]
    assert [scrub(text) for text in texts] == ask_ruby(RUBY_SCRUB, texts)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (b"null", b""), (b"true", b"true"), (b"-0", b"0"), (b"1.10", b"1.1"), (b"1e3", b"1000.0"),
        (b"1e400", b"Infinity"), (b"1000000000000000.5", b"1000000000000000.5"),
        (b"1e15", b"1.0e+15"), (b"0.00001234", b"1.234e-05"), (b"[]", b"[]"), (b"{}", b"{}"), (b"-0.0", b"-0.0"),
        (b'["x",1,null,true]', b'["x", 1, nil, true]'), (b'{"k":"v","n":null}', b'{"k"=>"v", "n"=>nil}'),
        (b'{"k":1,"l":2,"k":3}', b'{"k"=>3, "l"=>2}'), ('["é"]'.encode(), rb'["\u00E9"]'), (b'["\xff"]', rb'["\xFF"]'),
        (b'"\\u00e9"', "é".encode()), (b'"\xff"', b"\xff"), (b"1" * 10_000, b"1" * 10_000),
        (b"[" * 10_000 + b"]" * 10_000, b"[" * 10_000 + b"]" * 10_000),
    ],
)  # fmt: skip
def test_to_s_of_known_values(text: bytes, printed: bytes) -> None:
    assert to_s(parse_value(text, strict=True)) == printed


def test_floats_and_strings_print_as_documented() -> None:
    assert [float_text(value) for value in (100.0, 0.1, 1e20, 1e-5)] == ["100.0", "0.1", "1.0e+20", "1.0e-05"]
    assert inspect_string(b'#{a}"\x1b\n') == r'"\#{a}\"\e\n"'


@pytest.mark.parametrize(
    "text",
    [b"", b"01", b"1.", b".5", b"-", b"1e", b"+1", b"NaN", b"Infinity", b"tru", b"nul", b"'a'", b'"\\q"', b'"\\u12"',
     b'"\\u00g0"', b'"a', b"[1,]", b"[,1]", b"[1 2]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b"[1]]", b"1 2",
     b"[}", b"//1", b'{"a":1 "b":2}'],
)  # fmt: skip
@pytest.mark.parametrize("strict", [True, False])
def test_values_are_strict_json(text: bytes, strict: bool) -> None:
    with pytest.raises(Malformed):
        parse_value(text, strict=strict)


@pytest.mark.parametrize("text", [b'"\x01"', b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\n":1}', b'["\\ud83d\\u0041"]'])
def test_control_characters_and_lone_surrogates_are_refused_in_fluentds_dialect_only(text: bytes) -> None:
    with pytest.raises(Malformed):
        parse_value(text, strict=True)
    parse_value(text, strict=False)


@pytest.mark.parametrize(
    "line",
    [b'{"a":1', b'{"a":1}}', b'{"a":1} x', b'{"a" 1}', b'{"a":1,}', b'{,"a":1}', b'{"a":1,,"b":2}', b'{"a":1 "b":2}',
     b'{"a"}', b"{a:1}", b'{"a":}', b'{"a":[}]}', b'{"a":]}', b'{"a":"b}', b'{"a":1:2}', b'{"a":"b":"c"}', b"{", b'{"',
     b'{"a":[1}', b'{"a":"\\"}', b'{"a":1}{"b":2}', b'{"a":1},', b'{"a":1}\x00', b'{"a"x:1}', b'{x"a":1}'],
)  # fmt: skip
def test_broken_structure_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        split_members(line)


@pytest.mark.parametrize(
    ("line", "members"),
    [
        (b"{}", []),
        (b" \t{ }\r", []),
        (b'{"a":tru,"b":1 2,"c":[{"x"}],"d":"\\q\x01"}', [b"tru", b"1 2", b'[{"x"}]', b'"\\q\x01"']),
        (b'{ "a" : "}\\"{" , "a":{"b":[1,2]} }', [b'"}\\"{"', b'{"b":[1,2]}']),
    ],
)
def test_values_nobody_reads_are_only_walked_over(line: bytes, members: list[bytes]) -> None:
    assert [value for _, value in split_members(line)] == members


def test_both_spellings_of_24_columns_give_one_record() -> None:
    by_2018 = (SAMPLES / "assembled-text24.log").read_bytes().splitlines()
    by_type = (SAMPLES / "assembled-text24-srcdst.log").read_bytes().splitlines()
    for old, new in zip(by_2018, by_type, strict=True):
        old_record, new_record = oracle_text.map_record(old), oracle_text.map_record(new)
        for name in oracle_text.COLUMNS_24:
            if not name.endswith("_labels"):
                assert old_record[name.encode()] == new_record[name.encode()], name


def test_text27_has_both_names_and_policies() -> None:
    for line in (SAMPLES / "assembled-text27.log").read_bytes().splitlines():
        record = oracle_text.map_record(line)
        policies = record[b"policies"]
        assert isinstance(policies, dict)
        assert isinstance(policies[b"all_policies"], list)
        assert len(oracle_text.split_columns(line)) == 27


def text24(**columns: str) -> bytes:
    values = dict.fromkeys(oracle_text.COLUMNS_24, "x") | columns
    return " ".join(values.values()).encode()


@pytest.mark.parametrize(
    ("columns", "field", "value"),
    [
        ({"source_type": "pub", "source_name": "-"}, "source_name_aggr", b"pub"),
        ({"source_type": "pub", "source_name": "-"}, "source_type", b"net"),
        ({"source_type": "net", "source_name": "pvt"}, "source_name", b"-"),
        ({"source_type": "net", "source_name": "pvt"}, "source_name_aggr", b"pvt"),
        ({"source_type": "wep", "source_name": "pub"}, "source_name", b"pub"),
        ({"source_name": "a-*"}, "source_name", b"-"),
        ({"source_name": "*"}, "source_name_aggr", b"*"),
        ({"source_name": ""}, "source_name_aggr", b""),
        ({"source_ip": "-"}, "source_ip", None),
        ({"source_namespace": "-"}, "srcNamespace", b"-"),
        ({"dest_port": "-"}, "dstPort", None),
        ({"dest_port": "80"}, "dest_port", Integer("80")),
        ({"proto": "6"}, "proto", b"tcp"),
        ({"proto": "89"}, "proto", b"89"),
        ({"reporter": "out"}, "reporter", b"src"),
        ({"source_labels": "[]"}, "source_labels", {b"labels": []}),
        ({"source_labels": "[k=v,k2=]"}, "srcLabels", {b"labels": [b"k=v", b"k2="]}),
        ({"source_labels": "-"}, "source_labels", None),
        ({"action": "allow\r"}, "action", b"allow"),
    ],
)
def test_columns_become_json_values(columns: dict[str, str], field: str, value: Value) -> None:
    assert oracle_text.map_record(text24(**columns))[field.encode()] == value


@pytest.mark.parametrize("columns", [0, 1, 22, 23, 25, 26, 28, 29, 33, 37, 48])
def test_unknown_column_counts_are_malformed(columns: int) -> None:
    with pytest.raises(Malformed):
        oracle_text.map_record(b" ".join([b"x"] * columns))


def make_filter(name: str, *steps: Step) -> Filter:
    return Filter(name, "**", steps, "f", 1, 1)


def step(kind: StepKind, *rules: tuple[str, str], group: str = "", exclude: bool = True) -> Step:
    made = []
    for number, (key, pattern) in enumerate(rules):
        path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        condition = Condition(path, pattern)
        made.append(Rule(f"{kind}{number}", "exclude" if exclude else "regexp", key, condition, "f", 1, 1, group))
    return Step(kind, tuple(made), group)


def contains(condition: Condition, text: bytes) -> bool:
    return condition.pattern.encode() in text


def judge(line: bytes, *filters: Filter) -> Judgement:
    return Oracle(filters, contains).judge(line)


def test_steps_decide_as_documented() -> None:
    excludes = make_filter("x", step("not_any", ("a", "1"), ("b", "2")))
    assert judge(b'{"a":1}', excludes) == Judgement("D", "not_any0")
    assert judge(b'{"b":"12"}', excludes) == Judgement("D", "not_any1")
    assert judge(b'{"c":"1"}', excludes) == Judgement("K", "default")
    both = make_filter("x", step("not_all", ("a", "1"), ("b", "2"), group="and"))
    assert judge(b'{"a":1,"b":2}', both) == Judgement("D", "and")
    assert judge(b'{"a":1}', both) == Judgement("K", "default")
    required = make_filter("x", step("all", ("a", "1"), ("b", "2")))
    assert judge(b'{"a":1}', required) == Judgement("D", "all1")
    either = make_filter("x", step("any", ("a", "1"), ("b", "2"), group="or"))
    assert judge(b"{}", either) == Judgement("D", "or")
    assert judge(b'{"b":2}', either) == Judgement("K", "default")


def test_error_ends_its_filter_only() -> None:
    nested = make_filter("x", step("not_any", ("a.b", "1"), ("c", "1")))
    later = make_filter("y", step("not_any", ("c", "2")))
    assert judge(b'{"a":"text","c":1}', nested, later) == Judgement("E", "default", 1)
    assert judge(b'{"a":"text","c":2}', nested, later) == Judgement("D", "not_any0", 1)
    assert judge(b'{"a":null,"c":1}', nested) == Judgement("D", "not_any1")
    assert judge(b'{"a":[1],"c":1}', nested) == Judgement("E", "default", 1)
    assert judge(b'{"a":{"b":1}}', nested) == Judgement("D", "not_any0")


def test_missing_and_null_are_the_empty_text() -> None:
    anything = make_filter("x", step("not_any", ("a", "")))
    assert [judge(line, anything).letter for line in (b"{}", b'{"a":null}', b'{"b":1}')] == ["D", "D", "D"]


def test_batches_keep_their_bytes() -> None:
    oracle = Oracle([make_filter("x", step("not_any", ("a", "1")))], contains)
    lines = b'{"a":1}\n{"a":2}\r\n\n{"a":1}\n{"a":3}'
    assert verdicts(oracle, lines) == b"DKMDK"
    assert keep(oracle, lines) == b'{"a":2}\r\n\n{"a":3}'
    assert count_hits(oracle, lines) == {"not_any0": (2, 16), "default": (3, 17)}
