"""The corpus: the same bytes everywhere, the samples' exact layouts, and shares in their bands."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
SAMPLES = Path(__file__).parent / "data" / "samples"
sys.path.insert(0, str(BENCH))

from corpus import FORMS, count_documented_drops, generate  # noqa: E402

# First 16 hex digits of the SHA-256 of 5,000 lines of seed 1: a change here changes every published benchmark.
DIGESTS = {
    ("json", "low"): "d8098586da01e1a6",
    ("json", "high"): "baee209bafb5ee5e",
    ("json2022", "low"): "3f3aed086cbaf375",
    ("text24", "low"): "3d6500ba90086664",
    ("text24", "high"): "9a4d6ac3ab0c2830",
    ("text24-labels", "low"): "358b92e69f4d42c8",
    ("text24-srcdst", "low"): "e16b8300485353b5",
    ("text27", "low"): "78dbf85a75002155",
    ("dns", "low"): "ca697f4d550241bd",
    ("dns", "high"): "065456caf94b3670",
}


@cache
def make(form: str, lines: int, seed: int = 1, cardinality: str = "low") -> bytes:
    return b"".join(generate(form, lines, seed, cardinality))  # type: ignore[arg-type]


@pytest.mark.parametrize(("form", "cardinality"), DIGESTS)
def test_same_seed_gives_same_bytes(form: str, cardinality: str) -> None:
    digest = hashlib.sha256(make(form, 5_000, 1, cardinality)).hexdigest()
    assert digest[:16] == DIGESTS[form, cardinality]


def test_other_seed_gives_other_bytes() -> None:
    assert make("text24", 100, 1) != make("text24", 100, 2)


@pytest.mark.parametrize("lines", [0, 1, 2_401, 20_000])
def test_gives_as_many_whole_lines_as_asked(lines: int) -> None:
    chunks = list(generate("text24", lines))
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    assert sum(chunk.count(b"\n") for chunk in chunks) == lines


def test_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="no form 'xml'"):
        next(generate("xml", 1))


@pytest.mark.parametrize(
    ("form", "sample"),
    [("json", "assembled-json.log"), ("json2022", "assembled-json-legacy.log"), ("dns", "assembled-dns.log")],
)
@pytest.mark.parametrize("cardinality", ["low", "high"])
def test_json_has_the_samples_keys_types_and_spelling(form: str, sample: str, cardinality: str) -> None:
    def shape(line: bytes) -> list[str]:
        return list(json.loads(line))

    def kinds(lines: list[bytes]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in lines:
            for key, value in json.loads(line).items():
                found.setdefault(key, set()).add(type(value).__name__)
        return found

    sampled = (SAMPLES / sample).read_bytes().splitlines()
    lines = make(form, 3_000, cardinality=cardinality).splitlines()
    assert {tuple(shape(line)) for line in lines} == {tuple(shape(line)) for line in sampled}
    seen = kinds(sampled)
    for key, types in kinds(lines).items():
        assert (
            types <= seen[key] | {"NoneType", "int", "str", "list"}
            if key.endswith(("_port", "_ip", "_ips", "_ports", "_num", "_domains", "rrsets"))
            else types <= seen[key]
        ), key
    plain = [line for line in lines if b"\\" not in line]
    assert len(plain) > 2_900
    assert all(json.dumps(json.loads(line), separators=(",", ":")).encode() == line for line in plain)


@pytest.mark.parametrize(
    ("form", "columns", "mean"),
    [("text24", 24, 141), ("text24-labels", 24, 255), ("text24-srcdst", 24, 142), ("text27", 27, 325)],
)
@pytest.mark.parametrize("cardinality", ["low", "high"])
def test_text_has_its_columns(form: str, columns: int, mean: int, cardinality: str) -> None:
    text = make(form, 6_000, cardinality=cardinality)
    for line in text.splitlines():
        head, bracket, policies = line.partition(b" [0|") if columns == 27 else (line, b"", b"")
        assert head.count(b" ") == 23 + (columns == 27) * 2, line
        assert bool(bracket) == (columns == 27)
        assert policies.endswith(b"]") == (columns == 27)
        assert b"  " not in line
    if cardinality == "low":
        assert mean * 0.93 < len(text) / 6_000 < mean * 1.07


def test_json_line_is_about_as_long_as_real_ones() -> None:
    assert 1_550 < len(make("json", 5_000)) / 5_000 < 1_750
    assert 1_350 < len(make("json2022", 5_000)) / 5_000 < 1_550
    assert 760 < len(make("dns", 5_000)) / 5_000 < 900


@pytest.mark.parametrize("form", [form for form in FORMS if form != "dns"])
def test_documented_filters_drop_what_they_drop_in_practice(form: str) -> None:
    drops = count_documented_drops(form, make(form, 20_000))
    assert 0.145 < drops["namespace dev"] / 20_000 < 0.19
    assert 0.009 < drops["internet to nginx-internet"] / 20_000 < 0.025


def test_documented_dns_filter_drops_most_lookups() -> None:
    drops = count_documented_drops("dns", make("dns", 20_000))
    assert 0.75 < drops["cluster-local names"] / 20_000 < 0.81


def test_shares_are_those_of_an_ordinary_cluster() -> None:
    records = [json.loads(line) for line in make("json", 20_000).splitlines()]
    share = {
        name: {value: count / len(records) for value, count in Counter(record[name] for record in records).items()}
        for name in ("reporter", "proto", "action", "source_namespace")
    }
    assert 0.54 < share["reporter"]["src"] < 0.62
    assert 0.38 < share["reporter"]["dst"] < 0.46
    assert 0 < share["reporter"]["fwd"] < 0.006
    assert 0.78 < share["proto"]["tcp"] < 0.84
    assert 0.14 < share["proto"]["udp"] < 0.20
    assert 0.045 < share["action"]["deny"] < 0.075
    assert 0.11 < share["source_namespace"]["hipstershop"] < 0.20
    for trap in ("devops", "dev-team-a", "my-dev"):
        assert share["source_namespace"][trap] > 0.001
    assert any(record["source_name_aggr"].startswith("publisher-") for record in records)
    for record in records:
        if record["action"] == "deny":
            assert 0 in (record["packets_in"], record["packets_out"])
            assert record["source_ip"] is not None
    overrun = sum(record["end_time"] - record["start_time"] > 300 for record in records) / len(records)
    assert 0.13 < overrun < 0.17


def test_a_flush_shares_one_start_time_and_repeats_its_values() -> None:
    chunks = list(generate("json", 12_000))
    starts = [{json.loads(line)["start_time"] for line in chunk.splitlines()} for chunk in chunks]
    assert all(len(times) == 1 for times in starts)
    assert sorted(set().union(*starts)) == [1_700_000_000 + 300 * flush for flush in range(len(chunks))]
    names = {json.loads(line)["source_name_aggr"] for line in b"".join(chunks).splitlines()}
    assert len(names) < 100


def test_high_cardinality_makes_names_ports_and_addresses_new() -> None:
    records = [json.loads(line) for line in make("json", 20_000, cardinality="high").splitlines()]
    pods = [record for record in records if re.search("-[0-9a-f]{9,10}-[a-z0-9]{5}$", record["source_name"])]
    assert len(pods) > 5_000
    assert len({record["source_name"] for record in pods}) > 0.98 * len(pods)
    assert len({record["source_ip"] for record in pods}) > 0.9 * len(pods)
    assert len({record["source_port"] for record in records}) > 15_000
    assert all(record["source_ip"].startswith(("10.48.", "10.49.", "10.50.", "10.51.")) for record in pods)


def test_command_writes_lines_and_describes_them() -> None:
    command = [sys.executable, str(BENCH / "corpus.py"), "--form", "text24", "--lines", "3000", "--seed", "9"]
    written = subprocess.run(command, capture_output=True, check=True).stdout
    assert written == make("text24", 3_000, 9)
    described = subprocess.run([*command, "--describe"], capture_output=True, check=True, text=True).stdout
    assert hashlib.sha256(written).hexdigest() in described
    assert "seed 9" in described
    assert f"{len(written):,} bytes" in described
    assert "dropped by the filter on namespace dev" in described
