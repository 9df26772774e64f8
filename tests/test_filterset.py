"""The compiled filter set: what its methods promise, alone and together."""

from __future__ import annotations

import array
import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import flowd
from flowd import _core

SAMPLES = Path(__file__).parent / "data" / "samples"

NAMESPACES = """
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
  <exclude>
    key dest_namespace
    pattern ^prod$
  </exclude>
</filter>
"""
KEPT = b'{"source_namespace":"web","dest_namespace":"db"}\n'
DROPPED = b'{"source_namespace":"devops","dest_namespace":"db"}\n'
DROPPED_LATER = b'{"source_namespace":"web","dest_namespace":"prod"}\n'
MALFORMED = b'{"source_namespace":"dev"\n'
SOME_LINES = KEPT + DROPPED + MALFORMED + DROPPED_LATER + KEPT


def text24(source_namespace: str = "web", **columns: str) -> bytes:
    fields = f"1 2 wep {source_namespace} a-* - wep db b-* - - - 6 - 80 1 1 1 src 1 1 1 1 allow".split(" ")
    for place, value in columns.items():
        fields[int(place[1:])] = value
    return " ".join(fields).encode() + b"\n"


@pytest.fixture
def namespaces() -> flowd.FilterSet:
    return flowd.compile(NAMESPACES)


def test_filter_keeps_the_kept_lines_byte_for_byte_in_order(namespaces: flowd.FilterSet) -> None:
    assert namespaces.filter(SOME_LINES) == KEPT + MALFORMED + KEPT


def test_verdicts_are_one_letter_a_line(namespaces: flowd.FilterSet) -> None:
    assert namespaces.verdicts(SOME_LINES) == b"KDMDK"


def test_nothing_in_nothing_out(namespaces: flowd.FilterSet) -> None:
    assert (namespaces.filter(b""), namespaces.verdicts(b"")) == (b"", b"")
    assert namespaces.apply(b"") == (b"", 0, 0, 0, 0)


def test_an_unfinished_last_line_counts_and_gets_no_newline(namespaces: flowd.FilterSet) -> None:
    assert namespaces.filter(DROPPED + KEPT[:-1]) == KEPT[:-1]
    assert namespaces.verdicts(KEPT + DROPPED[:-1]) == b"KD"


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda lines: array.array("B", lines)])
def test_lines_may_be_any_buffer(namespaces: flowd.FilterSet, wrap: object) -> None:
    assert namespaces.filter(wrap(SOME_LINES)) == KEPT + MALFORMED + KEPT  # type: ignore[operator]


@pytest.mark.parametrize("step", [2, -1])
def test_lines_may_lie_apart(namespaces: flowd.FilterSet, step: int) -> None:
    apart = bytearray(abs(step) * len(SOME_LINES))
    apart[::step] = SOME_LINES
    lines = memoryview(apart)[::step]
    assert not lines.contiguous
    assert namespaces.filter(lines) == KEPT + MALFORMED + KEPT
    assert namespaces.verdicts(lines) == namespaces.verdicts(SOME_LINES)
    assert namespaces.apply(lines, invert=True) == namespaces.apply(SOME_LINES, invert=True)
    assert namespaces.explain(lines[: SOME_LINES.index(b"\n")]) == namespaces.explain(SOME_LINES.split(b"\n")[0])


def test_text_is_no_buffer(namespaces: flowd.FilterSet) -> None:
    with pytest.raises(TypeError):
        namespaces.filter("text")  # type: ignore[arg-type]


def test_apply_counts_and_inverts_and_drops_malformed_lines(namespaces: flowd.FilterSet) -> None:
    assert namespaces.apply(SOME_LINES) == (KEPT + MALFORMED + KEPT, 5, 3, 1, 0)
    assert namespaces.apply(SOME_LINES, malformed="drop") == (KEPT + KEPT, 5, 2, 1, 0)
    assert namespaces.apply(SOME_LINES, invert=True) == (DROPPED + MALFORMED + DROPPED_LATER, 5, 3, 1, 0)


def test_write_puts_the_kept_lines_into_a_descriptor(namespaces: flowd.FilterSet, tmp_path: Path) -> None:
    many = (DROPPED + KEPT) * 5_000
    with (tmp_path / "kept").open("wb") as file:
        assert namespaces.write(file.fileno(), SOME_LINES) == (b"", len(KEPT + MALFORMED + KEPT), False, 5, 3, 1, 0)
        assert namespaces.write(file.fileno(), many)[:4] == (b"", len(KEPT) * 5_000, False, 10_000)
        assert namespaces.write(file.fileno(), DROPPED + KEPT[:-1])[:3] == (b"", len(KEPT) - 1, True)
        assert namespaces.write(file.fileno(), DROPPED, invert=True, malformed="drop").kept_lines == 1
    expected = KEPT + MALFORMED + KEPT + KEPT * 5_000 + KEPT[:-1] + DROPPED
    assert (tmp_path / "kept").read_bytes() == expected


def test_write_gives_back_what_a_descriptor_does_not_take(namespaces: flowd.FilterSet) -> None:
    many = (DROPPED + KEPT) * 20_000
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    written = namespaces.write(writer, many)
    os.close(writer)
    with open(reader, "rb") as file:
        taken = file.read()
    assert 0 < len(taken) < written.kept_bytes
    assert taken + written.rest == KEPT * 20_000
    assert namespaces.write(-1, KEPT).rest == KEPT


def test_hits_name_every_decider_and_add_up(namespaces: flowd.FilterSet) -> None:
    assert set(namespaces.hits) == {"default", "filter1.exclude1", "filter1.exclude2"}
    assert all(hits == (0, 0) for hits in namespaces.hits.values())
    namespaces.filter(SOME_LINES)
    assert namespaces.hits["filter1.exclude1"] == (1, len(DROPPED))
    assert namespaces.hits["filter1.exclude2"] == (1, len(DROPPED_LATER))
    assert sum(hits.lines for hits in namespaces.hits.values()) == 5
    assert sum(hits.bytes for hits in namespaces.hits.values()) == len(SOME_LINES)


def test_hits_never_show_half_a_batch(namespaces: flowd.FilterSet) -> None:
    lines = SOME_LINES * 4_000
    ended = threading.Event()

    def work() -> None:
        for _ in range(60):
            namespaces.filter(lines)
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    seen = set()
    while not ended.is_set():
        hits = namespaces.hits
        seen.add(hits["default"].lines)
        assert (hits["filter1.exclude1"].lines * 3, hits["filter1.exclude2"].lines * 3) == (hits["default"].lines,) * 2
    worker.join()
    assert {number % 12_000 for number in seen} == {0}
    assert namespaces.hits["default"].lines == 60 * 12_000


def test_rules_say_where_they_stand_and_who_evaluates_them() -> None:
    fs = flowd.compile(NAMESPACES.replace("pattern dev", r"pattern /(\w)\1/i"), origin="flow")
    first, second = fs.rules
    assert (first.name, first.file, first.line, first.field, first.pattern) == (
        "filter1.exclude1", "flow", 4, "source_namespace", r"/(\w)\1/i",
    )  # fmt: skip
    assert (first.engine, second.engine, second.pattern) == ("reference", "literal", "^prod$")


def test_a_stream_without_sections_keeps_everything() -> None:
    fs = flowd.compile(NAMESPACES, stream="dns")
    assert fs.verdicts(SOME_LINES) == b"KKMKK"
    assert (fs.rules, set(fs.hits)) == ((), {"default"})


def test_what_no_rule_reads_is_still_checked_for_its_structure() -> None:
    fs = flowd.compile(NAMESPACES, stream="dns")
    assert fs.verdicts(b'\n{"a":1\nx y\n{"a":tru}\n') == b"MMMK"


def test_the_format_can_be_fixed() -> None:
    fs = flowd.compile(NAMESPACES)
    both = KEPT + text24("dev")
    assert fs.verdicts(both) == b"KD"
    assert fs.verdicts(both, format="json") == b"KM"
    assert fs.verdicts(both, format="text24") == b"MD"
    assert fs.verdicts(both, format="text27") == b"MM"
    assert flowd.compile(NAMESPACES, format="json").verdicts(both) == b"KM"
    with pytest.raises(ValueError, match="text99"):
        fs.verdicts(both, format="text99")  # type: ignore[arg-type]


def test_a_pickle_holds_the_rules_and_starts_counting_at_0(
    namespaces: flowd.FilterSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMESPACE", "dev")
    from_environment = flowd.compile(NAMESPACES.replace("pattern dev", "pattern \"#{ENV['NAMESPACE']}\""))
    from_environment.filter(SOME_LINES)
    monkeypatch.delenv("NAMESPACE")
    again = pickle.loads(pickle.dumps(from_environment))
    assert again.hits["default"] == (0, 0)
    assert again.verdicts(SOME_LINES) == namespaces.verdicts(SOME_LINES)
    assert again.rules == from_environment.rules


def test_many_threads_share_one_set(namespaces: flowd.FilterSet) -> None:
    lines = SOME_LINES * 2_000
    kept = (KEPT + MALFORMED + KEPT) * 2_000
    start = threading.Barrier(8)

    def work(_: int) -> bool:
        start.wait(30)
        return all(namespaces.filter(lines) == kept for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sum(hits.lines for hits in namespaces.hits.values()) == 8 * 10 * 10_000
    assert namespaces.cache_stat["contexts"] <= (os.cpu_count() or 1)


def test_a_flood_of_new_values_costs_no_memory() -> None:
    fs = flowd.compile(NAMESPACES.replace("pattern dev", r"pattern /[0-9]{6}7$/"))
    long_value = "x" * 300
    for start in range(0, 400_000, 20_000):
        lines = b"".join(
            b'{"source_namespace":"%s%d","dest_namespace":"n%d"}\n' % (long_value.encode(), n, n)
            for n in range(start, start + 20_000)
        )
        assert fs.apply(lines).lines == 20_000
    assert fs.cache_stat["bytes"] <= 32 << 20


def test_values_over_the_cache_bound_are_evaluated_all_the_same() -> None:
    fs = flowd.compile(NAMESPACES)
    lines = b'{"source_namespace":"%sdev"}\n' % (b"x" * 200_000)
    assert [fs.verdicts(lines) for _ in range(3)] == [b"D"] * 3


def many_excludes(patterns: list[str]) -> str:
    section = "<filter **>\n@type grep\n<exclude>\nkey source_namespace\npattern {}\n</exclude>\n</filter>\n"
    return "".join(section.format(pattern) for pattern in patterns)


def namespace_lines(values: list[str]) -> bytes:
    return b"".join(b'{"source_namespace":"%s"}\n' % value.encode() for value in values)


def test_thousands_of_anchored_words_mean_what_each_means() -> None:
    numbers = range(2_000)
    patterns = [f"^exact-{n}$" for n in numbers] + [f"^pre-{n}-" for n in numbers] + [f"-{n}-suf$" for n in numbers]
    fs = flowd.compile(many_excludes(patterns))
    hit = [f"exact-{n}" for n in numbers] + [f"pre-{n}-x" for n in numbers] + [f"é-{n}-suf" for n in numbers]
    missed = ["exact-", "exact-2000", "xexact-1", "pre-1", "xpre-1-", "-1-sufx", "", "exact-1\\nx", "x\\npre-1x"]
    over_lines = ["a\\nexact-7", "pre-7-\\n", "a-7-suf\\nb"]  # `^` and `$` mean lines
    assert fs.verdicts(namespace_lines(hit)) == b"D" * 6_000
    assert fs.verdicts(namespace_lines(missed + over_lines)) == b"KKKKKKKDKDDD"
    assert [hits.lines for name, hits in fs.hits.items() if name != "default"].count(1) >= 5_990
    assert {rule.engine for rule in fs.rules} == {"literal"}


def test_more_words_anywhere_than_a_few_go_to_the_linear_engine_and_mean_the_same() -> None:
    words = [f"name-{n:04}" for n in range(2_500)]
    fs = flowd.compile(many_excludes(words))
    lines = namespace_lines([*(f"x{word}x" for word in words), "name", "name-2500", "é name-0001"])
    assert fs.verdicts(lines) == b"D" * 2_500 + b"KKD"
    expected = "linear" if not _core.find_linear_fault() and not os.environ.get("FLOWD_ENGINE") else "literal"
    assert {rule.engine for rule in fs.rules} <= {expected, "reference"}


def test_explain_says_what_decided(namespaces: flowd.FilterSet) -> None:
    told = namespaces.explain(DROPPED_LATER)
    assert (told.verdict, told.rule, told.filter) == ("D", "filter1.exclude2", "filter1")
    assert (told.field, told.value, told.form) == ("dest_namespace", "prod", "json")
    assert [(line.rule, line.text, line.result) for line in told.trace] == [
        ("filter1.exclude1", "web", "no"),
        ("filter1.exclude2", "prod", "yes"),
    ]
    assert namespaces.hits["filter1.exclude2"].lines == 0


def test_explain_shows_what_short_circuits_hid(namespaces: flowd.FilterSet) -> None:
    told = namespaces.explain(DROPPED)
    assert [line.result for line in told.trace] == ["yes", "not looked at"]


def test_explain_of_a_malformed_line_has_no_trace(namespaces: flowd.FilterSet) -> None:
    told = namespaces.explain(MALFORMED)
    assert (told.verdict, told.rule, told.trace) == ("M", "default", ())


def test_explain_takes_one_line_only(namespaces: flowd.FilterSet) -> None:
    with pytest.raises(ValueError, match="one line"):
        namespaces.explain(KEPT + KEPT)


GROUPS = r"""
<filter flows>
  @type grep
  <regexp>
    key action
    pattern allow|deny
  </regexp>
  <or>
    <regexp>
      key proto
      pattern tcp
    </regexp>
    <regexp>
      key proto2
      pattern tcp
    </regexp>
  </or>
  <and>
    <exclude>
      key $.source_labels.labels[0]
      pattern app
    </exclude>
    <exclude>
      key dest_type
      pattern wep
    </exclude>
  </and>
  <exclude>
    key dest_port
    pattern ^(?!8)\d+$
  </exclude>
</filter>
<filter flows>
  @type grep
  <exclude>
    key source_name_aggr
    pattern pub
  </exclude>
</filter>
"""


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.iterdir()))
def test_explain_and_verdicts_and_hits_agree(sample: str) -> None:
    lines = (SAMPLES / sample).read_bytes().split(b"\n")[:80]
    for text in (NAMESPACES, GROUPS):
        fs = flowd.compile(text)
        for line in lines:
            before = fs.hits
            verdict = fs.verdicts(line + b"\n").decode()
            counted = [name for name, hits in fs.hits.items() if hits != before[name]]
            told = fs.explain(line)
            assert ([told.rule], told.verdict) == (counted, verdict), line
            drops = [step for step in told.trace if "drops" in step.effect]
            assert bool(drops) == (verdict == "D")
            assert all(told.rule in (step.rule, step.effect.split(" ")[0]) for step in drops)


def test_text_and_json_forms_of_a_flow_get_one_verdict() -> None:
    fs = flowd.compile(GROUPS)
    json_line = (
        b'{"source_type":"net","source_name":"-","source_name_aggr":"pub","source_namespace":"-","source_labels":null,'
        b'"dest_type":"wep","dest_port":8080,"proto":"tcp","action":"allow"}\n'
    )
    text_line = text24("-", c2="net", c4="pub", c14="8080")
    assert fs.verdicts(json_line + text_line) == b"DD"
    assert fs.hits["filter2.exclude1"].lines == 2


def test_text_names_are_aliases_on_text_lines_only() -> None:
    fs = flowd.compile(NAMESPACES.replace("source_namespace", "srcNamespace"))
    assert fs.verdicts(text24("dev") + b'{"srcNamespace":"dev"}\n{"source_namespace":"dev"}\n') == b"DDK"


def test_an_unknown_engine_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWD_ENGINE", "pcre")
    with pytest.raises(flowd.FlowdError, match="FLOWD_ENGINE is 'pcre'"):
        flowd.compile(NAMESPACES)


def test_all_names_are_there() -> None:
    assert [name for name in flowd.__all__ if not hasattr(flowd, name)] == []
    assert set(flowd.__all__) <= set(dir(flowd))
    with pytest.raises(AttributeError, match="nosuch"):
        flowd.nosuch  # noqa: B018


def test_an_unbuilt_tree_says_what_to_do(tmp_path: Path) -> None:
    source = Path(flowd.__file__).parent
    copy = tmp_path / "flowd"
    for path in source.rglob("*.py"):
        target = copy / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    answer = subprocess.run(
        [sys.executable, "-c", "import flowd; flowd.load"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "make build" in answer.stderr.splitlines()[-1]


def test_memory_stays_bounded_with_very_many_fields() -> None:
    section = "<filter flows>\n@type grep\n<exclude>\nkey k{}\npattern /^drop$/\n</exclude>\n</filter>\n"
    fs = flowd.compile("".join(section.format(number) for number in range(1_000)))
    line = json.dumps({f"k{number}": f"value of {number}" for number in range(1_000)}, separators=(",", ":"))
    assert fs.verdicts(line.encode() + b"\n") == b"K"
    assert fs.cache_stat["bytes"] <= 32 << 20
