"""Sentences mean what the filters do: read back by a reader that knows English and nothing of filters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowd
from flowd.filters.english import write_sentences

KEYS = ["k1", "k2", "k3"]
WORDS = ["dev", "devops", "prod"]
VALUES = [*WORDS, "my-dev", "", None, ...]
Value = str | None
Record = dict[str, Value]

_CONNECTIVE = re.compile(r" (and|or) (?=\(|k\d )")
_VERBS: dict[str, Callable[[str, str], bool]] = {
    "is": str.__eq__,
    "contains": str.__contains__,
    "starts with": str.startswith,
    "ends with": str.endswith,
}


def means(text: str, record: Record) -> bool:
    """Does what is said hold of the record? One level holds `and` or `or`, never both."""
    level, parts, start, words = 0, [], 0, set()
    for at, char in enumerate(text):
        level += (char == "(") - (char == ")")
        found = _CONNECTIVE.match(text, at) if level == 0 else None
        if found:
            words.add(found[1])
            parts.append(text[start:at])
            start = found.end()
    parts.append(text[start:])
    assert len(words) <= 1, f"and or or? {text}"
    if len(parts) > 1:
        other = " or " if words == {"and"} else " and "
        assert not any(other in part for part in parts if not part.startswith("(")), f"and or or? {text}"
        return (all if words == {"and"} else any)(means(part, record) for part in parts)
    if text.startswith("("):
        return means(text[1:-1], record)
    key, asked = text.split(" ", 1)
    return means_of(asked, record.get(key))


def means_of(asked: str, value: Value) -> bool:
    fixed = {
        "is anything, even null or missing": True,
        "is nothing at all, which cannot be": False,
        "is any text": value is not None,
        "is empty": value == "",
        "is not empty": value != "",
        "is empty, null or missing": not value,
        "is neither empty, nor null, nor missing": bool(value),
    }
    if asked in fixed:
        return fixed[asked]
    if asked.endswith(" or is null or missing"):
        return value is None or means_of(asked.removesuffix(" or is null or missing"), value)
    if asked.endswith(" and is neither null nor missing"):
        return value is not None and means_of(asked.removesuffix(" and is neither null nor missing"), value)
    opposite = asked
    for negative, verb in (("is not", "is"), ("does not contain", "contains"), ("does not start with", "starts with"),
                           ("does not end with", "ends with")):  # fmt: skip
        opposite = re.sub(rf"^{negative}\b", verb, opposite)
    if opposite != asked or " none of " in asked:
        return not means_of(opposite.replace(" none of ", " ").replace(" and ", " or "), value)
    verb = next(verb for verb in _VERBS if asked.startswith(f"{verb} "))
    words = [word.strip('"') for word in re.split(r", | or ", asked.removeprefix(f"{verb} "))]
    return value is not None and any(_VERBS[verb](value, word) for word in words)


def drops(sentence: str, record: Record) -> bool:
    found = re.fullmatch(r"drop a flow (when|unless) (.*)", sentence)
    assert found, sentence
    return means(found[2], record) == (found[1] == "when")


PATTERNS = ["dev", "^dev", "ops$", "^prod$", "^(dev|prod)$", "^$", ".*", "^(dev|)$", "dev|prod"]
TESTS = [
    "equals dev",
    "in dev, prod",
    "prefix dev",
    "suffix ops",
    "contains o",
    "equals ''",
    "pattern dev",
    "pattern ^$",
]


@st.composite
def grep_texts(draw: st.DrawFn) -> str:
    lines = ["<filter **>", "@type grep"]
    for group, kind in (("", "regexp"), ("or", "regexp"), ("and", "exclude"), ("", "exclude")):
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True)):
            rule = f"<{kind}>\nkey {key}\npattern /{draw(st.sampled_from(PATTERNS))}/\n</{kind}>"
            lines += [f"<{group}>", rule, f"</{group}>"] if group else [rule]
    return "\n".join([*lines, "</filter>"])


def own_rules(kind: str) -> st.SearchStrategy[str]:
    leaf = st.tuples(st.sampled_from(KEYS), st.sampled_from(TESTS)).map(
        lambda asked: f"<{kind}>\nkey {asked[0]}\n{asked[1]}\n</{kind}>"
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: "<and>\n" + "\n".join(parts) + "\n</and>"),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: "<or>\n" + "\n".join(parts) + "\n</or>"),
            inner.map(lambda part: f"<not>\n{part}\n</not>"),
        ),
        max_leaves=5,
    )


def own_texts() -> st.SearchStrategy[str]:
    rules = st.lists(st.sampled_from(["regexp", "exclude"]).flatmap(own_rules), max_size=3)
    return rules.map(lambda parts: "\n".join(["<filter **>", "@type flowd", *parts, "</filter>"]))


@st.composite
def fluentbit_texts(draw: st.DrawFn) -> str:
    filters = []
    for logic in draw(st.lists(st.sampled_from(["legacy", "and", "or"]), min_size=1, max_size=2)):
        kinds = ["regex", "exclude"] if logic == "legacy" else [draw(st.sampled_from(["regex", "exclude"]))]
        lines = ["- name: grep", f"  logical_op: {logic}"]
        drawn = draw(st.lists(st.tuples(*map(st.sampled_from, (kinds, KEYS, PATTERNS))), min_size=1, max_size=3))
        lines += [f"  {kind}: {key} {pattern}" for kind, key, pattern in drawn]
        filters.append("\n".join(lines))
    return "\n".join(filters)


TEXTS = {"fluentd": grep_texts(), "flowd": own_texts(), "fluentbit-yaml": fluentbit_texts()}


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(TEXTS)).flatmap(lambda dialect: st.tuples(st.just(dialect), TEXTS[dialect])),
    st.lists(st.fixed_dictionaries(dict.fromkeys(KEYS, st.sampled_from(VALUES))), min_size=5, max_size=20),
)
def test_what_is_said_is_what_is_done(written: tuple[str, str], drawn: list[dict[str, object]]) -> None:
    dialect, text = written
    filters = flowd.compile(text, dialect=dialect)
    sentences = [re.sub(r" \(the .* never decides?\)$", "", found.text) for found in write_sentences(filters.text)]
    records: list[Record] = [{key: value for key, value in row.items() if value is not ...} for row in drawn]  # type: ignore[misc]
    for record in records:
        said = any(drops(sentence, record) for sentence in sentences)
        done = filters.verdicts(json.dumps(record).encode())
        assert said == (done == b"D"), (sentences, record)


@pytest.mark.parametrize(
    ("sentence", "record", "is_dropped"),
    [
        ("drop a flow when (k1 is dev or prod) and k2 is none of dev and prod", {"k1": "prod"}, True),
        ("drop a flow unless k1 is empty, null or missing", {"k1": "x"}, True),
        ("drop a flow when k1 does not start with dev", {"k1": "devops"}, False),
    ],
)
def test_the_reader_of_english_can_read(sentence: str, record: Record, is_dropped: bool) -> None:
    assert drops(sentence, record) == is_dropped
