"""Any filter that is converted drops the same lines, of every kind that the logs have; records are made apart from the
proof's own."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import PythonMatcher
from strategies_own import PATHS, own_filter_lists

import flowd
from flowd.conversion.converting import TARGETS, convert_path
from flowd.conversion.flowd_writer import write_filter
from flowd.filters.load import read_text
from flowd.filters.model import Condition, Filter, FilterText
from flowd.filterset import FilterSet

KEYS = {
    "flows": ["action", "dest_namespace", "source_ip", "dest_port", "dest_domains", "dest_labels", "policies",
              "$.policies.all_policies[0]", "$.policies.all_policies", "$['dest_labels']['labels'][1]", "$.action",
              "$.dest_port.x", "$.dest_domains.x", "$.dest_domains[0]"],
    "dns": ["qname", "client_ip", "latency_count", "$.latency.count", "$.servers[0].name_aggr", "$.servers[0].labels",
            "$.servers[-1].name", "$['client_labels']['app.x']", "$.client_labels.app", "$.rrsets[0].rdata[0]"],
}  # fmt: skip
FLUENTBIT_KEYS = {
    "flows": ["action", "dest_namespace", "source_ip", "dest_port", "$policies['all_policies'][0]", "$action['x']"],
    "dns": ["qname", "client_ip", "latency_count", "$latency['count']", "$servers[0]['name_aggr']"],
}
PATTERNS = ["dev", "^dev$", "/DEV/i", "5", "^5$", "/^$/", "/.*/", "-", "x$", r"/\bdev/", "//", "/d.v/m", "'/[a-d]+/'",
            "/a b/", r"/\//", "/(dev)x?/", r"/(x)\1/", "^(?!dev)"]  # fmt: skip
TEXTS = st.sampled_from(["dev", "DEV", "devx", "", "-", "5", "55", "a b", "xx", "x", "dev\nx", "/", "é"])
NAMES = st.sampled_from(["app", "app.x", "b"])
NUMBERS = st.sampled_from([0, 5, 55, 1000])
MAPS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "flows": {
        "action": TEXTS, "dest_namespace": TEXTS, "source_ip": TEXTS | st.none(), "dest_port": NUMBERS | st.none(),
        "dest_domains": st.lists(TEXTS, max_size=2) | st.none(),
        "dest_labels": st.fixed_dictionaries({"labels": st.lists(TEXTS, max_size=3)}) | st.none(),
        "policies": st.fixed_dictionaries({}, optional={"all_policies": st.lists(TEXTS, max_size=2)}) | st.none(),
    },
    "dns": {
        "qname": TEXTS, "client_ip": TEXTS | st.none(), "latency_count": NUMBERS,
        "latency": st.fixed_dictionaries({"count": NUMBERS}) | st.none(),
        "client_labels": st.dictionaries(NAMES, TEXTS, max_size=2) | st.none(),
        "servers": st.lists(st.fixed_dictionaries(
            {"name": TEXTS, "name_aggr": TEXTS, "labels": st.dictionaries(NAMES, TEXTS, max_size=1) | st.none()}
        ), max_size=2) | st.none(),
        "rrsets": st.lists(st.fixed_dictionaries({"rdata": st.lists(TEXTS, max_size=2)}), max_size=2) | st.none(),
    },
}  # fmt: skip


def lines_of(stream: str) -> st.SearchStrategy[bytes]:
    records = st.lists(st.fixed_dictionaries({}, optional=MAPS[stream]), min_size=10, max_size=40)
    return records.map(lambda drawn: "".join(json.dumps(record) + "\n" for record in drawn).encode())


@st.composite
def fluentd_texts(draw: st.DrawFn, stream: str) -> str:
    """Sections of rules and groups; a key stands in a group once."""
    sections = []
    for _ in range(draw(st.integers(1, 2))):
        lines = [f"<filter {draw(st.sampled_from([stream, '**', '{flows,dns}']))}>", "@type grep"]
        for group, kind in (("", "regexp"), ("", "exclude"), ("or", "regexp"), ("and", "exclude")):
            keys = draw(st.lists(st.sampled_from(KEYS[stream]), max_size=2, unique=True))
            patterns = [draw(st.sampled_from(PATTERNS)) for _ in keys]
            rules = [f"<{kind}>\nkey {key}\npattern {pattern}\n</{kind}>"
                     for key, pattern in zip(keys, patterns, strict=True)]  # fmt: skip
            if rules and draw(st.booleans()):
                lines += [f"<{group}>", *rules, f"</{group}>"] if group else rules
        sections.append("\n".join([*lines, "</filter>"]))
    return "\n".join(sections) + "\n"


@st.composite
def fluentbit_texts(draw: st.DrawFn, stream: str) -> str:
    """A list of filters of every logic, with dead rules."""
    filters = []
    for _ in range(draw(st.integers(1, 3))):
        logic = draw(st.sampled_from(["legacy", "legacy", "AND", "OR"]))
        kinds = ["regex", "exclude"] if logic == "legacy" else [draw(st.sampled_from(["regex", "exclude"]))]
        lines = [f"- name: grep\n  match: '{draw(st.sampled_from([stream, '*']))}'\n  logical_op: {logic}"]
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4)):
            asked = f"{draw(st.sampled_from(FLUENTBIT_KEYS[stream]))} {draw(st.sampled_from(PATTERNS)).strip(chr(39))}"
            lines.append(f"  {kind}: {json.dumps(asked)}")
        filters.append("\n".join(lines))
    return "\n".join(filters) + "\n"


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(["flows", "dns"]), st.sampled_from(["fluentd", "fluentbit-yaml"]))
def test_what_is_converted_drops_the_same_and_nothing_is_only_found_by_running_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, stream: str, dialect: str
) -> None:
    text = data.draw(fluentd_texts(stream) if dialect == "fluentd" else fluentbit_texts(stream))
    path = tmp_path_factory.mktemp("convert") / "text"
    path.write_text(text)
    lines = data.draw(lines_of(stream))
    old = flowd.compile(text, stream=stream, dialect=dialect)
    for target in TARGETS:
        conversion = convert_path(path, target, dialect=dialect)
        assert conversion.counterexample is None
        assert all(reason.file == str(path) for reason in conversion.reasons)
        if conversion.is_exact:
            new = flowd.compile(conversion.text, stream=stream, dialect=target)
            there = with_fields(lines, conversion.presumed.get(stream, ()))
            assert new.filter(there) == old.filter(there)


def with_fields(lines: bytes, fields: Collection[str]) -> bytes:
    """The lines, as every one would be written: with these fields."""
    always = dict.fromkeys(fields, "-")
    return b"".join(json.dumps({**always, **json.loads(line)}).encode() + b"\n" for line in lines.splitlines())


def as_written(condition: Condition) -> Condition:
    """flowd's `pattern` has fluentd's reading, whatever else is asked of a field."""
    return condition._replace(reading="ruby") if condition.test == "pattern" else condition


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_filter_of_flowds_own_language_is_written_and_read_back(data: st.DataObject) -> None:
    filters = tuple(
        section._replace(
            steps=tuple(
                step._replace(rules=tuple(rule._replace(condition=as_written(rule.condition)) for rule in step.rules))
                for step in section.steps
            )
        )
        for section in data.draw(own_filter_lists(PythonMatcher(), [path for path in PATHS if path != (0,)]))
    )
    assume(any(section.steps for section in filters))
    records = data.draw(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3), max_size=20))
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    written = "".join(write(section) for section in filters)
    again = FilterSet(read_text(written, "flows", "flowd"))
    assert again.verdicts(lines) == FilterSet(FilterText("flowd", "flows", filters)).verdicts(lines)


def write(section: Filter) -> str:
    return write_filter(section, "**", section.steps)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["dev", "DEV", "", "a.b", "80", "10.0.0.1", "2001:db8::1", "a=b", None, True, 80, 1.1, "\n"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "labels"]), inner, max_size=2)
    ),
    max_leaves=3,
)
