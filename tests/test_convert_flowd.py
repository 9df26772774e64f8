"""Filters rewritten in flowd's own language keep more than their meaning: names, ends, shares."""

from __future__ import annotations

from pathlib import Path

import flowd
from flowd.conversion.converting import Conversion, convert_path

OWN = """<filter flows>
  @type flowd
  @id filtered
  <exclude>
    name filter-scanners
    key source_ip
    cidr 198.51.100.0/24
  </exclude>
  <and>
    name team.noise
    sample 1/100
    until 2200-01-01T10:20:30.456789+00:00
    <exclude>
      key action
      equals allow
    </exclude>
    <not>
      <exclude>
        key dest_port
        between 1024 65535
      </exclude>
    </not>
  </and>
  <regexp>
    key proto
    in tcp, udp
    shadow true
  </regexp>
</filter>
"""


def convert(folder: Path, text: str, name: str = "flow") -> Conversion:
    (folder / name).write_text(text)
    return convert_path(folder / name, "flowd")


def test_names_ends_and_shares_are_kept(tmp_path: Path) -> None:
    conversion = convert(tmp_path, OWN)
    assert conversion.is_exact
    old, new = flowd.compile(OWN, dialect="flowd"), flowd.compile(conversion.text, dialect="flowd")
    assert list(new.hits) == list(old.hits)
    assert [rule.until_ns for rule in new.rules] == [rule.until_ns for rule in old.rules]
    assert [(rule.name, rule.sample, rule.is_shadow) for rule in new.rules] == [
        (rule.name, rule.sample, rule.is_shadow) for rule in old.rules
    ]


def test_what_was_rewritten_once_is_rewritten_to_itself(tmp_path: Path) -> None:
    once = convert(tmp_path, OWN).text
    twice = convert(tmp_path, once).text
    assert once.splitlines()[1:] == twice.splitlines()[1:]  # the first says where it is from


def test_the_ids_of_fluentds_sections_go_on_naming_their_rules(tmp_path: Path) -> None:
    text = "<filter flows>\n@type grep\n@id quiet\n<exclude>\nkey action\npattern x\n</exclude>\n</filter>\n"
    conversion = convert(tmp_path, text)
    assert list(flowd.compile(conversion.text, dialect="flowd").hits) == ["default", "quiet.exclude1"]


def test_the_rule_that_cannot_be_said_is_the_one_that_is_named(tmp_path: Path) -> None:
    rules = "<exclude>\nkey action\npattern x\n</exclude>\n<exclude>\nkey $[0]\npattern y\n</exclude>\n"
    text = f"<filter flows>\n@type grep\n{rules}</filter>\n"
    reason = convert(tmp_path, text).reasons[0]
    assert (reason.line, reason.rule) == (7, "filter1.exclude2")
    approximate = convert_path(tmp_path / "flow", "flowd", approximate=True)
    assert approximate.text.startswith("# not the same: ")
