"""Lines that nobody should write: each gets its documented verdict, is counted, and harms no other line."""

from __future__ import annotations

import ctypes
import mmap
import random
import threading
from pathlib import Path

import oracle
import pytest

import flowd

SAMPLES = Path(__file__).parent / "data" / "samples"

DROP_DEV = """
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
  <exclude>
    key dest_namespace
    pattern dev
  </exclude>
</filter>
"""


@pytest.fixture(params=["auto", "portable", "reference"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWD_ENGINE", request.param)
    return str(request.param)


def exclude(key: str, pattern: str) -> flowd.FilterSet:
    return flowd.compile(f"<filter flows>\n@type grep\n<exclude>\nkey {key}\npattern {pattern}\n</exclude>\n</filter>")


def json_line(value: bytes) -> bytes:
    return b'{"a":' + value + b"}\n"


def text_line(**columns: bytes) -> bytes:
    values = [b"0", b"0", b"wep", b"web", b"a", b"-", b"wep", b"web", b"b", b"-", b"-", b"-", b"6", b"-", b"80"]
    values += [b"1", b"1", b"1", b"src", b"1", b"1", b"1", b"1", b"allow"]
    for name, value in columns.items():
        values[int(name.removeprefix("c"))] = value
    return b" ".join(values) + b"\n"


@pytest.mark.parametrize("line", [b"", b" ", b"\t", b"\r", b" \t\r", b"\x00", b"x", b"[1]", b"null", b'"a"', b"5"])
def test_empty_blank_and_foreign_lines_are_malformed_and_kept(line: bytes) -> None:
    filter_set = flowd.compile(DROP_DEV)
    lines = line + b"\n" + text_line(c3=b"dev") + line + b"\n"
    assert filter_set.verdicts(lines) == b"MDM"
    applied = filter_set.apply(lines)
    assert (applied.kept, applied.lines, applied.malformed) == ((line + b"\n") * 2, 3, 2)
    assert filter_set.apply(lines, malformed="drop").kept == b""
    assert filter_set.hits["default"].lines == 6


def test_nothing_at_all_is_no_line() -> None:
    filter_set = flowd.compile(DROP_DEV)
    assert filter_set.verdicts(b"") == b""
    assert filter_set.filter(b"") == b""
    assert filter_set.apply(b"") == (b"", 0, 0, 0, 0)


@pytest.mark.parametrize("size", [(4 << 20) - 1, (4 << 20) + 1, 9 << 20])
def test_lines_have_no_limit_in_the_core(size: int) -> None:
    filter_set = exclude("a", "needle$")
    padding = b"x" * size
    lines = json_line(b'"' + padding + b'needle"') + json_line(b'"needle' + padding + b'"') + json_line(b'"needle"')
    assert filter_set.verdicts(lines) == b"DKD"
    assert filter_set.filter(lines) == json_line(b'"needle' + padding + b'"')
    wide = text_line(c3=b"dev" + padding) + text_line(c9=b"[" + padding + b"]")
    assert flowd.compile(DROP_DEV).verdicts(wide) == b"DK"
    assert exclude("a", "x").verdicts(padding + b"\n") == b"M"


def test_a_huge_value_that_is_not_valid_is_malformed() -> None:
    assert exclude("a", "x").verdicts(json_line(b'"' + b"x" * (5 << 20) + b'\x01"')) == b"M"
    assert exclude("b", "x").verdicts(json_line(b'"' + b"x" * (5 << 20) + b'\x01"')) == b"K"


def test_nul_bytes_are_ordinary_bytes() -> None:
    assert exclude("a", r"/^x\x00y$/").verdicts(json_line(b'"x\\u0000y"')) == b"D"
    assert exclude("a", "y").verdicts(json_line(b'"x\x00y"')) == b"M"
    assert exclude("b", "y").verdicts(json_line(b'"x\x00y"')) == b"K"
    assert exclude("source_namespace", "dev").verdicts(text_line(c3=b"\x00dev") + text_line(c3=b"\x00")) == b"DK"


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [(b"\xff\xff", "??"), (b"\xe3\x81", "?"), (b"\xf0\x9f\x98", "?"), (b"\xed\xa0\x80", "???"), (b"\xc0\x80", "??"),
     (b"\xc3\xa9\xff", "é?"), (b"a\x80b", "a?b")],
)  # fmt: skip
def test_invalid_utf8_is_matched_scrubbed_and_kept_as_it_is(text: bytes, scrubbed: str) -> None:
    filter_set = exclude("source_namespace", "/\\A" + scrubbed.replace("?", "\\?") + "\\z/")
    for line in (b'{"source_namespace":"' + text + b'"}\n', text_line(c3=text)):
        assert filter_set.verdicts(line) == b"D"
        assert exclude("source_namespace", "/\\Aother\\z/").filter(line) == line


def test_crlf_is_kept_and_no_part_of_a_value() -> None:
    lines = text_line(c23=b"allow\r") + text_line(c23=b"deny\r") + b'{"action":"deny"}\r\n' + b'{"action":"allow"}\r\n'
    filter_set = exclude("action", "/\\Adeny\\z/")
    assert filter_set.verdicts(lines) == b"KDDK"
    assert filter_set.filter(lines) == text_line(c23=b"allow\r") + b'{"action":"allow"}\r\n'


@pytest.mark.parametrize("line", [text_line(c3=b"dev"), text_line(), b'{"source_namespace":"dev"}\n', b"{}\n", b"x\n"])
def test_a_missing_final_newline_changes_nothing_and_none_is_added(line: bytes) -> None:
    filter_set = flowd.compile(DROP_DEV)
    letter = filter_set.verdicts(line)
    assert filter_set.verdicts(line[:-1]) == letter
    assert filter_set.filter(text_line() + line[:-1]) == text_line() + (b"" if letter == b"D" else line[:-1])
    assert filter_set.filter(line[:-1] + b"\n" + text_line()) == (b"" if letter == b"D" else line) + text_line()


BROKEN_STRUCTURE = [
    b'{"a":1', b'{"a":1}}', b'{"a":1} x', b'{"a" 1}', b'{"a":1,}', b'{,"a":1}', b'{"a":1,,"b":2}', b'{"a":1 "b":2}',
    b'{"a"}', b"{a:1}", b'{"a":}', b'{"b":[}]}', b'{"b":]}', b'{"b":"c}', b'{"b":1:2}', b'{"b":"c":"d"}', b"{", b'{"',
    b'{"b":[1}', b'{"b":"\\"}', b'{"b":1}{"c":2}', b'{"b":1},', b'{"b":1}\x00', b'{"b"x:1}', b'{x"b":1}', b"}",
    b'{"b":{}', b'{"b":[}', b'{"b":1}]', b'{"b":"', b'{"b":,"c":1}', b"{:1}", b'{"b":1"c":2}', b'{"b",1}', b"{[]:1}",
    b'{"\\q":1}', b'{"b": }', b'{"b": ,"c":12345678}', b'{"b":\t,"c":12345678}', b'{"b" "c":12345678}',
]  # fmt: skip


@pytest.mark.parametrize("line", BROKEN_STRUCTURE)
@pytest.mark.parametrize("padding", [0, 51, 200])
def test_broken_structure_is_malformed_whoever_reads(line: bytes, padding: int) -> None:
    padded = line.replace(b"{", b'{"padding":"' + b"p" * padding + b'",', 1) if padding and line[:2] == b'{"' else line
    for filter_set in (exclude("a", "x"), exclude("zz", "x"), flowd.compile("<filter other>\n@type grep\n</filter>")):
        assert filter_set.verdicts(padded + b"\n{}\n") == b"MK"


BROKEN_VALUES = [
    b"01", b"1.", b".5", b"-", b"1e", b"+1", b"NaN", b"-Infinity", b"tru", b"nulll", b"'x'", b'"\\q"', b'"\\u12"',
    b"[1,]", b'"\\u00g0"', b"[,1]", b"[1 2]", b'{"b"}', b'{"b":}', b'{"b":1,}', b"{b:1}", b"1 2", b'"x" "y"', b"//1",
    b'"\x01"', b'{"b":1 "c":2}', b'"\t"', b'"\\ud800"', b'"\\udc00x"', b'"\\ud83d\\u0041"', b'{"\x01":1}',
    b'["\\ud800"]', b"\x00", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("value", BROKEN_VALUES)
def test_broken_values_are_malformed_only_where_a_rule_reads_them(value: bytes) -> None:
    assert exclude("a", "zz").verdicts(json_line(value)) == b"M"
    assert exclude("$.a.b", "zz").verdicts(json_line(value)) == b"M"
    assert exclude("b", "zz").verdicts(json_line(value)) == b"K"
    assert exclude("a", "zz").verdicts(b'{"a":' + value + b',"a":1}\n') == b"M"


def test_deep_nesting_is_read_without_limit() -> None:
    for depth in (63, 64, 65, 10_000):
        opened = b"[" * depth + b"]" * depth
        assert exclude("b", "x").verdicts(json_line(opened)) == b"K"
        assert exclude("a", r"/\A\[\[/").verdicts(json_line(opened)) == b"D"
        assert exclude("a", "x").verdicts(json_line(opened[:-1])) == b"M"
        maps = b'{"a":' * depth + b"1" + b"}" * depth
        assert exclude("zz", "x").verdicts(maps + b"\n") == b"K"
        assert exclude("a", "=>1}").verdicts(maps + b"\n") == (b"D" if depth > 1 else b"K")
        assert exclude("a", "x").verdicts(maps + b"}\n") == b"M"


def test_a_number_of_ten_thousand_digits_is_matched_by_its_text() -> None:
    digits = b"1" * 9_999 + b"7"
    assert exclude("a", "/\\A1{9999}7\\z/").verdicts(json_line(digits)) == b"D"
    assert exclude("a", "/\\A-1/").verdicts(json_line(b"-" + digits)) == b"D"
    assert exclude("a", "/\\AInfinity\\z/").verdicts(json_line(digits + b"e1")) == b"D"
    assert exclude("a", "/\\A0\\.1111111111111111\\z/").verdicts(json_line(b"0." + digits)) == b"D"
    assert exclude("b", "x").verdicts(json_line(digits)) == b"K"


def test_the_last_of_equal_keys_counts_at_every_level() -> None:
    last = exclude("a", "/\\Adev\\z/")
    assert last.verdicts(b'{"a":"web","a":"dev"}\n{"a":"dev","a":"web"}\n') == b"DK"
    assert last.verdicts(b'{"a":"web","\\u0061":"dev"}\n{"\\u0061":"dev","a":null}\n') == b"DK"
    nested = exclude("$.a.b", "/\\Adev\\z/")
    assert nested.verdicts(b'{"a":{"b":"dev","b":"web"}}\n{"a":{"b":1,"\\u0062":"dev"}}\n') == b"KD"
    assert nested.verdicts(b'{"a":1,"a":{"b":"dev"}}\n{"a":{"b":"dev"},"a":null}\n') == b"DK"
    assert exclude("a", '/\\A{"b"=>2, "c"=>3}\\z/').verdicts(b'{"a":{"b":1,"c":3,"b":2}}\n') == b"D"


def test_escaped_keys_are_found() -> None:
    filter_set = flowd.compile(DROP_DEV)
    escaped = b'{"\\u0073ource_namespace":"dev"}\n{"source\\u005fnamespace":"web"}\n{"source_namespace\\u0000":"dev"}\n'
    assert filter_set.verdicts(escaped) == b"DKK"
    assert exclude('a"b', "dev").verdicts(b'{"a\\"b":"dev"}\n{"a\\u0022b":"dev"}\n{"a":"dev"}\n') == b"DDK"
    assert exclude("é", "dev").verdicts('{"é":"dev"}\n{"\\u00e9":"dev"}\n{"e":"dev"}\n'.encode()) == b"DDK"


@pytest.mark.parametrize("columns", [1, 2, 22, 23, 25, 26, 28, 29, 33, 37, 48, 500])
def test_other_column_counts_are_malformed(columns: int) -> None:
    line = b" ".join([b"dev"] * columns) + b"\n"
    assert flowd.compile(DROP_DEV).verdicts(line + text_line()) == b"MK"


def test_brackets_hold_their_blanks_in_27_columns() -> None:
    line = (SAMPLES / "assembled-text27.log").read_bytes().splitlines(keepends=True)[3]
    assert line.count(b" ") > 26
    policies = exclude("policies", "tenant-isolation")
    assert policies.verdicts(line) == b"D"
    assert policies.verdicts(line.replace(b"\n", b"\r\n")) == b"D"
    assert policies.verdicts(line.replace(b" [0|", b" x[0|")) == b"M"
    assert policies.verdicts(line.replace(b"]\n", b"\n")) == b"M"
    assert policies.verdicts(line.replace(b"]\n", b"] x\n")) == b"M"


@pytest.mark.parametrize(
    ("form", "letters"), [("json", b"MMD"), ("text24", b"DMM"), ("text27", b"MMM"), ("auto", b"DMD")]
)
def test_a_fixed_format_takes_no_other(form: str, letters: bytes) -> None:
    lines = text_line(c3=b"dev") + b"x y\n" + b'{"source_namespace":"dev"}\n'
    assert flowd.compile(DROP_DEV).verdicts(lines, format=form) == letters  # type: ignore[arg-type]


def corpus() -> bytes:
    """Lines of every kind: samples, edge cases, broken lines."""
    names = ["assembled-json.log", "assembled-json-legacy.log", "assembled-text24.log", "assembled-text24-labels.log",
             "assembled-text27.log", "assembled-dns.log", "edge-cases.jsonl", "edge-cases.text24.log"]  # fmt: skip
    return b"".join((SAMPLES / name).read_bytes() for name in names) + b"\n".join(BROKEN_STRUCTURE) + b"\n"


def test_every_split_of_a_batch_gives_the_same_lines() -> None:
    filter_set = flowd.compile(DROP_DEV)
    lines = corpus()
    pieces = lines.splitlines(keepends=True) if b"\r" not in lines else oracle.split_lines(lines)
    letters = filter_set.verdicts(lines)
    kept = filter_set.filter(lines)
    assert letters.count(b"D") > 40
    assert letters.count(b"M") > 20
    assert kept == b"".join(piece for piece, letter in zip(pieces, letters, strict=True) if chr(letter) != "D")
    for size in (1, 2, 3, 7, 64, 127, 128, 129, 200):
        parts = [b"".join(pieces[at : at + size]) for at in range(0, len(pieces), size)]
        assert b"".join(map(filter_set.verdicts, parts)) == letters, size
        assert b"".join(map(filter_set.filter, parts)) == kept, size


class GuardedPage:
    """Memory whose last byte is followed by a page that may not be touched."""

    def __init__(self, size: int) -> None:
        self.room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, self.room + mmap.PAGESIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.protect(0)

    def protect(self, mode: int) -> None:
        page = ctypes.c_void_p(self.address + self.room)
        if self.libc.mprotect(page, ctypes.c_size_t(mmap.PAGESIZE), mode) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")

    def put(self, text: bytes) -> memoryview:
        """The text at the very end of what may be read."""
        return self._place(self.room - len(text), text)

    def put_first(self, text: bytes) -> memoryview:
        """The text at the very start of the memory."""
        return self._place(0, text)

    def _place(self, at: int, text: bytes) -> memoryview:
        self.memory[at : at + len(text)] = text
        return memoryview(self.memory)[at : at + len(text)]


def test_no_byte_behind_a_buffer_is_read() -> None:
    guarded = GuardedPage(1 << 16)
    filter_set = flowd.compile(DROP_DEV)
    edges = [line for line in oracle.split_lines(corpus()) if len(line) < 4_000]
    edges += [b"{" * n for n in range(1, 70)] + [b'{"source_namespace":"' + b"d" * n for n in range(70)]
    edges += [b"1 " * n for n in range(70)] + [text_line(c3=b"x" * n) for n in range(64)]
    edges += [b'{"source_namespace' + b"x" * n + b'":"dev"}' for n in range(64)]
    for line in edges:
        for text in (line, line.rstrip(b"\n"), line[: len(line) // 2], line[:-2]):
            assert filter_set.verdicts(guarded.put(text)) == filter_set.verdicts(text)
            assert filter_set.filter(guarded.put(text)) == filter_set.filter(text)
    guarded.protect(1 | 2)  # the page is given back readable and writable


def test_the_place_of_a_line_in_memory_does_not_matter() -> None:
    filter_set = flowd.compile(DROP_DEV)
    lines = oracle.split_lines(corpus())
    letters = filter_set.verdicts(b"".join(lines))
    for shift in range(0, 64, 7):
        buffer = bytearray(b"\xaa" * shift + b"".join(lines) + b"{" * 64)
        assert filter_set.verdicts(memoryview(buffer)[shift:-64]) == letters


def test_random_bytes_harm_nobody() -> None:
    rng = random.Random(11)
    filter_set = flowd.compile(DROP_DEV)
    good = text_line(c3=b"dev") + b'{"dest_namespace":"dev"}\n' + text_line()
    for size in (1, 10, 100, 1_000, 50_000):
        noise = rng.randbytes(size).replace(b"{", b"[") + b"\n"
        letters = filter_set.verdicts(noise + good)
        assert letters == b"M" * (len(letters) - 3) + b"DDK"
        assert filter_set.filter(noise + good) == noise + text_line()


def test_damaged_real_lines_get_the_verdict_of_the_exact_way() -> None:
    """The fast walk and the exact one must agree: a blank before the brace sends a line to the exact way."""
    rng = random.Random(12)
    filter_set = flowd.compile(DROP_DEV)
    samples = (SAMPLES / "assembled-json.log").read_bytes().splitlines()
    for _ in range(3_000):
        line = bytearray(rng.choice(samples))
        for _ in range(rng.randrange(1, 3)):
            at = rng.randrange(len(line))
            kind = rng.randrange(3)
            if kind == 0:
                del line[at]
            elif kind == 1:
                line[at] = rng.choice(b'{}[]:," \\x0\x00\xff')
            else:
                line.insert(at, rng.choice(b'{}[]:," \\x0\x00\xff'))
        text = bytes(line)
        if text.startswith(b"{"):
            assert filter_set.verdicts(text) == filter_set.verdicts(b" " + text), text


def test_a_flood_of_distinct_values_stays_within_bounds_and_right() -> None:
    filter_set = exclude("a", "7$")
    for start in range(0, 600_000, 100_000):
        lines = b"".join(b'{"a":"value-%d"}\n' % number for number in range(start, start + 100_000))
        assert filter_set.verdicts(lines).count(b"D") == 10_000
    stat = filter_set.cache_stat
    assert stat["bytes"] <= stat["contexts"] * (64 << 20)


def test_threads_see_their_own_lines_only() -> None:
    filter_set = flowd.compile(DROP_DEV)
    lines = corpus()
    letters, kept = filter_set.verdicts(lines), filter_set.filter(lines)
    before = sum(hit.lines for hit in filter_set.hits.values())
    right: list[bool] = []

    def work() -> None:
        right.append(all(filter_set.verdicts(lines) == letters and filter_set.filter(lines) == kept for _ in range(20)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6
    assert sum(hit.lines for hit in filter_set.hits.values()) == before + 6 * 20 * 2 * len(letters)


def test_buffers_of_every_kind_are_taken_and_others_refused() -> None:
    filter_set = flowd.compile(DROP_DEV)
    for buffer in (text_line(), bytearray(text_line()), memoryview(text_line())):
        assert filter_set.verdicts(buffer) == b"K"
    with pytest.raises(TypeError):
        filter_set.verdicts("text")  # type: ignore[arg-type]
    spread = bytearray(2 * len(text_line()))
    spread[::2] = text_line()
    assert filter_set.verdicts(memoryview(spread)[::2]) == b"K"
    with pytest.raises(ValueError, match="format is 'xml'"):
        filter_set.verdicts(b"", format="xml")  # type: ignore[arg-type]
