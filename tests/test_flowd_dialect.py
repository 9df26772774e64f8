"""flowd's own dialect as it is written: rules, their names, groups and ways to drop, and all that is refused."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

import flowd
from flowd.filters.model import Condition, Expression


def compile_rules(rules: str, stream: str = "flows") -> flowd.FilterSet:
    return flowd.compile(f"<filter flows>\n  @type flowd\n{rules}\n</filter>\n", stream=stream, dialect=None)


def verdict(filters: flowd.FilterSet, **record: object) -> str:
    return filters.verdicts(json.dumps(record).encode()).decode()


def problems(rules: str) -> list[tuple[str, int, int, str]]:
    with pytest.raises(flowd.FilterError) as caught:
        compile_rules(rules)
    assert all(problem.hint for problem in caught.value.problems)
    return [(problem.code, problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_a_section_of_type_flowd_makes_the_text_flowds_dialect() -> None:
    assert compile_rules("").dialect == "flowd"
    assert flowd.compile("<filter flows>\n@type grep\n</filter>", dialect=None).dialect == "fluentd"


def test_grep_sections_keep_their_meaning_beside_it() -> None:
    text = """<filter flows>
  @type grep
  <exclude>
    key a
    pattern ^$
  </exclude>
</filter>
<filter flows>
  @type flowd
  <exclude>
    key b
    equals x
  </exclude>
</filter>"""
    filters = flowd.compile(text, dialect=None)
    assert [verdict(filters, a="1"), verdict(filters), verdict(filters, a="1", b="x")] == ["K", "D", "D"]


def test_fluentds_dialect_refuses_it_as_fluentd_does() -> None:
    with pytest.raises(flowd.FilterError, match="Unknown filter plugin 'flowd'"):
        flowd.compile("<filter flows>\n@type flowd\n</filter>", dialect="fluentd")


def test_a_comparison_at_a_lines_start_is_fluentds_error_where_no_section_is_flowds() -> None:
    with pytest.raises(flowd.FilterError):
        flowd.compile("<filter flows>\n@type grep\n<exclude>\nkey a\n<= 5\n</exclude>\n</filter>", dialect=None)


def test_rules_decide_one_by_one_and_the_same_key_may_stand_in_many() -> None:
    filters = compile_rules("""
  <exclude>
    key a
    equals x
  </exclude>
  <exclude>
    key a
    equals y
  </exclude>
  <regexp>
    key b
    prefix k
  </regexp>
  <regexp>
    key b
    suffix s
  </regexp>""")
    assert [verdict(filters, a=a, b="ks") for a in "xyz"] == ["D", "D", "K"]
    assert [verdict(filters, b=b) for b in ("ks", "k", "s", "")] == ["K", "D", "D", "D"]
    assert [rule.name for rule in filters.rules] == [
        "filter1.exclude1", "filter1.exclude2", "filter1.regexp1", "filter1.regexp2",
    ]  # fmt: skip


def test_two_and_groups_are_two_rules() -> None:
    group = "<and>\n<exclude>\nkey {}\nequals 1\n</exclude>\n<exclude>\nkey {}\nequals 1\n</exclude>\n</and>\n"
    filters = compile_rules(group.format("a", "b") + group.format("c", "d"))
    assert [verdict(filters, a="1", b="1"), verdict(filters, c="1", d="1"), verdict(filters, a="1", c="1")] == list(
        "DDK"
    )


def test_groups_nest_and_not_turns_round() -> None:
    filters = compile_rules("""
  <or>
    name deep
    <and>
      <exclude>
        key a
        equals 1
      </exclude>
      <not>
        <or>
          <exclude>
            key b
            equals 1
          </exclude>
          <exclude>
            key c
            equals 1
          </exclude>
        </or>
      </not>
    </and>
    <exclude>
      key d
      equals 1
    </exclude>
  </or>""")
    assert filters.text.filters[0].steps[0].expression == Expression(
        "or",
        (
            Expression(
                "and",
                (
                    Expression("is", (), 0),
                    Expression("not", (Expression("or", (Expression("is", (), 1), Expression("is", (), 2))),)),
                ),
            ),
            Expression("is", (), 3),
        ),
    )
    assert [verdict(filters, a="1"), verdict(filters, a="1", b="1"), verdict(filters, d="1"), verdict(filters)] == [
        "D", "K", "D", "K",
    ]  # fmt: skip
    assert filters.hits["deep"].lines == 2


def test_a_group_of_regexps_drops_what_it_does_not_hold_for() -> None:
    filters = compile_rules("""
  <or>
    <regexp>
      key a
      equals 1
    </regexp>
    <regexp>
      key b
      equals 1
    </regexp>
  </or>""")
    assert [verdict(filters, a="1"), verdict(filters, b="1"), verdict(filters, a="2")] == ["K", "K", "D"]


def test_several_tests_of_one_section_must_all_hold() -> None:
    filters = compile_rules("<exclude>\nname some\nkey a\nprefix x\nsuffix y\n>= 0\n</exclude>")
    assert filters.text.filters[0].steps[0].group == "some"
    filters = compile_rules("<exclude>\nkey a\nprefix x\nsuffix y\n</exclude>")
    assert [verdict(filters, a="xy"), verdict(filters, a="x"), verdict(filters, a="y")] == ["D", "K", "K"]


@pytest.mark.parametrize(
    ("test", "dropped", "kept"),
    [
        ("equals dev", ["dev"], ["devops", "Dev", "", None, ["x"], 5]),
        ("equals 53", [53, "53"], [530, "053", 53.5]),
        ("equals true", [True, "true"], [False]),
        ("equals ''", [""], [None, [], "x"]),
        ("in a, b c", ["a", "b", "c", ["x", "c"]], ["d", "a, b c", None, [], ["d", None]]),
        ('in ["a b", "c,d"]', ["a b", "c,d"], ["a", "b"]),
        ("prefix web-", ["web-1", "web-"], ["web", "my-web-1", None]),
        ("suffix .local", ["a.local", ["x", "b.local"]], ["local", "a.local.", None]),
        ("contains dev", ["devops", "my-dev"], ["DEV", None]),
        ("equals dev\nignore_case true", ["DEV", "Dev"], ["devops"]),
        ("contains dev\nignore_case true", ["MY-DEV"], ["d"]),
        ("cidr 10.0.0.0/8", ["10.1.2.3", "::ffff:10.1.2.3", ["9.9.9.9", "10.0.0.1"]], ["11.0.0.1", "x", "10.1", None]),
        ("cidr 10.1.2.3, fd00::/8", ["10.1.2.3", "fd00::1"], ["10.1.2.4", "fe80::1", "fd00::1%eth0"]),
        ("cidr 0.0.0.0/0", ["1.2.3.4"], ["::1", ""]),
        ("> 1024", [1025, 1e9, "2000", [1, 2000]], [1024, 5, "x", None, True, "0x500"]),
        (">= 1024", [1024], [1023.9]),
        ("< 1.5", [1, -7, "1.25"], [1.5, 2, "", " 1"]),
        ("<= 1.5", [1.5], [1.6]),
        ("between 80 90", [80, 90, 85.5, "85"], [79, 91]),
        ("between 80 and 90", [80], [91]),
        ("> 9007199254740992", [9007199254740993], [9007199254740992]),
        ("labels app=web", [{"labels": ["app=web"]}, ["app=web"], {"app": "web"}], [{"labels": ["app=x"]}, None]),
        ("labels app", [{"app": 5}], ["app=web", 5]),
        ("labels app!=web", [{"labels": ["app=x"]}, None, {}, {"labels": []}], [{"labels": ["app=web"]}]),
        ("labels app in (a,b),!c", [{"labels": ["app=b"]}], [{"labels": ["app=b", "c=1"]}, {"labels": ["c=1"]}]),
        ("labels tier notin (db)", [{"labels": ["tier=web"]}, None], [{"labels": ["tier=db"]}]),
        ("labels example.com/role", [{"labels": ["example.com/role="]}], [{"labels": ["role=x"]}]),
        ("exists true", [None, "", 5, []], []),
        ("null true", [None], ["", 0, []]),
        ("null false", ["", 0, [], False], [None]),
        ("pattern ^$", ["", None], ["x"]),
        ("pattern /DEV/i", ["dev"], ["x"]),
    ],
)  # fmt: skip
def test_a_test_holds_for_these_values_and_not_for_those(test: str, dropped: list[object], kept: list[object]) -> None:
    filters = compile_rules(f"<exclude>\nkey a\n{test}\n</exclude>")
    assert [(value, verdict(filters, a=value)) for value in dropped] == [(value, "D") for value in dropped]
    assert [(value, verdict(filters, a=value)) for value in kept] == [(value, "K") for value in kept]


@pytest.mark.parametrize(
    ("test", "letter"),
    [("exists true", "K"), ("exists false", "D"), ("null true", "K"), ("null false", "D"), ("equals ''", "K"),
     ("pattern ^$", "D"), ("labels !a", "D"), ("labels a", "K")],
)  # fmt: skip
def test_a_missing_field_is_what_each_test_says(test: str, letter: str) -> None:
    assert verdict(compile_rules(f"<exclude>\nkey a\n{test}\n</exclude>")) == letter


def test_text_lines_have_the_values_of_their_json() -> None:
    line = b"1 2 wep dev pod-1 [app=web,tier=db] net - pub - 10.1.2.3 - 6 - 443 1 1 0 src 1 2 3 4 allow\n"
    for test, key in [("cidr 10.0.0.0/8", "source_ip"), ("between 400 500", "dest_port"), ("equals tcp", "proto"),
                      ("labels app=web,tier in (db)", "source_labels"), ("null true", "dest_ip")]:  # fmt: skip
        assert compile_rules(f"<exclude>\nkey {key}\n{test}\n</exclude>").verdicts(line) == b"D"


def test_keys_lead_into_nested_values() -> None:
    filters = compile_rules("<exclude>\nkey $.a.b[1]\nequals x\n</exclude>")
    assert verdict(filters, a={"b": ["y", "x"]}) == "D"
    assert [verdict(filters, a=value) for value in ("x", None, {"b": "x"}, {"b": ["x"]}, [1])] == ["K"] * 5


def test_a_shadow_rule_counts_and_drops_nothing() -> None:
    filters = compile_rules("<exclude>\nname quiet\nshadow true\nkey a\nequals x\n</exclude>")
    assert filters.verdicts(b'{"a":"x"}\n{"a":"y"}\n') == b"KK"
    assert filters.hits == {"default": (2, 20), "quiet": (1, 10)}
    assert filters.rules[0].is_shadow


def test_a_sample_keeps_a_share_by_the_lines_own_bytes_and_marks_it() -> None:
    rules = "<exclude>\nname {}\nsample 1/4\nkey a\nequals x\n</exclude>"
    lines = b"".join(b'{"a":"x","n":%d}\n' % number for number in range(4000))
    filters = compile_rules(rules.format("some"))
    kept = filters.filter(lines)
    again = b"".join(compile_rules(rules.format("some")).filter(line + b"\n") for line in lines.splitlines())
    assert kept == again
    assert 900 < kept.count(b"\n") < 1100
    assert filters.hits["some.sampled"] == (kept.count(b"\n"), len(kept))
    assert filters.hits["some"].lines == 4000 - kept.count(b"\n")
    other = compile_rules(rules.format("other")).filter(lines)
    both = set(kept.splitlines()) & set(other.splitlines())
    assert 200 < len(both) < 310  # a rule's share does not depend on another's


def test_what_a_sample_lets_go_meets_the_rules_behind_it() -> None:
    rule = "<exclude>\nkey a\nequals x\nname {}\n</exclude>\n"
    filters = compile_rules(rule.format("some\nsample 1/2") + rule.format("all"))
    lines = b"".join(b'{"a":"x","n":%d}\n' % number for number in range(200))
    assert filters.filter(lines) == b""
    assert filters.hits["some"].lines + filters.hits["all"].lines == 200
    assert filters.hits["some.sampled"].lines == 0
    assert 60 < filters.hits["all"].lines < 140


def test_a_rule_ends_at_its_time_without_being_loaded_again() -> None:
    line = b'{"a":"x"}\n'
    end = datetime.now(UTC) + timedelta(seconds=1)
    filters = compile_rules(f"<exclude>\nname short\nuntil {end.isoformat()}\nkey a\nequals x\n</exclude>")
    assert filters.verdicts(line) == b"D"
    assert filters.rules[0].until_ns == round(end.timestamp() * 1e6) * 1000
    deadline = time.monotonic() + 10
    while filters.verdicts(line) == b"D":
        assert time.monotonic() < deadline
    assert datetime.now(UTC) >= end
    assert filters.explain(line).trace[0].effect == "short has ended"


@pytest.mark.parametrize(("until", "letter"), [("2020-01-01", "K"), ("2200-12-31T23:59:59+01:00", "D")])
def test_until_takes_dates_and_times(until: str, letter: str) -> None:
    assert verdict(compile_rules(f"<exclude>\nuntil {until}\nkey a\nequals x\n</exclude>"), a="x") == letter


def test_a_filters_own_ways_hold_for_all_its_rules() -> None:
    filters = compile_rules(
        "shadow true\n<exclude>\nkey a\nequals x\n</exclude>\n<exclude>\nshadow no\nkey a\nequals y\n</exclude>"
    )
    assert [verdict(filters, a="x"), verdict(filters, a="y")] == ["K", "D"]


LEAF = "<exclude>\nkey a\n{}\n</exclude>"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (LEAF.format("equal x"), [("missing-test", 3, 1, "<exclude> asks nothing of its field"),
                                  ("unknown-parameter", 5, 1, "<exclude> has no parameter 'equal'")]),
        (LEAF.format("cidr 10.0.0.1/8"),
         [("bad-value", 5, 6, "cidr: '10.0.0.1/8' is no network: 10.0.0.1/8 has host bits set")]),
        (LEAF.format("cidr all"),
         [("bad-value", 5, 6, "cidr: 'all' is no network: 'all' does not appear to be an IPv4 or IPv6 network")]),
        (LEAF.format("> high"), [("bad-value", 5, 3, ">: 'high' is no number")]),
        (LEAF.format("equals x\nuntil 2999-01-01"),
         [("bad-value", 6, 7, "until: '2999-01-01' lies outside of the years 1970 to 2261")]),
        (LEAF.format("between 5"), [("bad-value", 5, 9, "between: '5' is no range")]),
        (LEAF.format("between 9 5"), [("bad-value", 5, 9, "between: nothing lies between 9 and 5")]),
        (LEAF.format("labels app=="), []),
        (LEAF.format("labels app=~x"), [("bad-value", 5, 8, "labels: '~x' stands where a label's value should")]),
        (LEAF.format("labels app in a"), [("bad-value", 5, 8, "labels: the values stand in no brackets")]),
        (LEAF.format("labels app > 5"), [("bad-value", 5, 8, "labels: '>' is no operator of label selectors")]),
        (LEAF.format("exists maybe"), [("bad-value", 5, 8, "exists: 'maybe' is neither true nor false")]),
        (LEAF.format("equals x\nsample 5"), [("bad-value", 6, 8, "sample: '5' is no share")]),
        (LEAF.format("equals x\nuntil soon"), [("bad-value", 6, 7, "until: 'soon' is no time")]),
        (LEAF.format("equals x\nname default"), [("bad-name", 6, 6, "'default' is no name for a rule")]),
        (LEAF.format("equals x\nname a b"), [("bad-name", 6, 6, "'a b' is no name for a rule")]),
        (LEAF.format("pattern ("), [("bad-pattern", 5, 9, "end pattern with unmatched parenthesis: /(/")]),
        (LEAF.format("equals x\n<exclude>\n</exclude>"),
         [("unknown-section", 6, 1, "a <exclude> cannot stand in <exclude>")]),
        ("<exclude>\nequals x\n</exclude>", [("missing-key", 3, 1, "no key says which field is meant")]),
        ('<exclude>\nkey ""\nequals x\n</exclude>', [("missing-key", 3, 1, "no key says which field is meant")]),
        (LEAF.format("cidr fe80::1%eth0"), [("bad-value", 5, 6, "cidr: 'fe80::1%eth0' names an interface")]),
        ("<exclude>\nkey $.\nequals x\n</exclude>", [("bad-key", 4, 5, "empty keys in dot notation")]),
        ("<and>\n</and>", [("empty-group", 3, 1, "<and> holds no condition")]),
        ("<not>\n" + LEAF.format("equals x") + "\n" + LEAF.format("equals y") + "\n</not>",
         [("ambiguous-not", 3, 1, "<not> holds 2 sections: which of them is to be false?")]),
        ("<and>\n<exclude>\nkey a\nequals x\n</exclude>\n<regexp>\nkey a\nequals x\n</regexp>\n</and>",
         [("mixed-group", 8, 1, "<regexp> and <exclude> stand in one <and>")]),
        ("<exclud>\n</exclud>", [("unknown-section", 3, 1, "<filter> has no section <exclud>")]),
        ("regexp1 a b", [("unknown-parameter", 3, 1, "<filter> has no parameter 'regexp1'")]),
        ("<exclude dev>\nkey a\nequals x\n</exclude>", [("ignored-argument", 3, 1, "<exclude dev> has an argument")]),
        ("<and>\n<exclude>\nname x\nkey a\nequals x\n</exclude>\n</and>",
         [("unknown-parameter", 5, 1, "<exclude> has no parameter 'name'")]),
        (LEAF.format("equals x\nname n") + "\n" + LEAF.format("equals y\nname n"),
         [("duplicate-name", 11, 6, "the name n is already used")]),
        (LEAF.format("equals x\nname filter2.exclude1") + "\n</filter>\n<filter flows>\n@type grep\n<exclude>\n"
         "key a\npattern b\n</exclude>",
         [("duplicate-name", 6, 6, "the name filter2.exclude1 is already used")]),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_place(rules: str, expected: list[tuple[str, int, int, str]]) -> None:
    if not expected:
        compile_rules(rules)
        return
    assert problems(rules) == expected


def test_rule_that_ended_with_1970_is_off_like_any_that_has_ended() -> None:
    assert verdict(compile_rules(LEAF.format("equals x\nuntil 1970-01-01")), a="x") == "K"


def test_all_problems_are_told_at_once() -> None:
    rules = LEAF.format("cidr x") + "\n" + LEAF.format("labels (") + "\n<or>\n</or>"
    assert [problem[0] for problem in problems(rules)] == ["bad-value", "bad-value", "empty-group"]


def test_groups_nested_beyond_reason_are_refused() -> None:
    rules = "<not>\n" * 60 + LEAF.format("equals x") + "\n</not>" * 60
    assert [problem[0] for problem in problems(rules)] == ["deep-nesting"]


def test_ten_thousand_plain_rules_are_one_step() -> None:
    filters = compile_rules("\n".join(LEAF.format(f"equals ns-{number}") for number in range(10_000)))
    assert [len(step.rules) for step in filters.text.filters[0].steps] == [10_000]
    assert verdict(filters, a="ns-9999") == "D"


def test_what_the_rules_list_says_of_other_tests() -> None:
    filters = compile_rules(
        LEAF.format("cidr 10.0.0.0/8") + "\n" + LEAF.format("in x, y") + "\n" + LEAF.format("pattern x")
    )
    assert [(rule.pattern, rule.engine) for rule in filters.rules] == [
        ("cidr 10.0.0.0/8", "value"),
        ("in x, y", "literal"),
        ("x", "literal"),
    ]
    assert filters.text.filters[0].steps[0].rules[1].condition == Condition(
        ("a",), reading="value", test="equals", arguments=("x", "y")
    )
