"""Where filters come from: files, folders, ConfigMaps, and which dialect a text is in."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_bed import FLOWD, environment

from flowd.errors import EXIT_IO, FilterError, Problem
from flowd.filters.load import read_path, read_text
from flowd.filters.model import FilterText
from flowd.filters.recognise import recognise_dialect

FLOW = """<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
</filter>
"""
DNS = "<filter dns>\n  @type grep\n  @id dns\n</filter>\n<filter **>\n@type grep\n@id both\n</filter>"
_FILTERS = Path(__file__).parent / "data" / "filters"


def names(found: FilterText) -> list[str]:
    return [section.name for section in found.filters]


def find_problems(path: Path, dialect: str | None = None) -> list[Problem]:
    with pytest.raises(FilterError) as caught:
        read_path(path, "flows", dialect)
    return list(caught.value.problems)


@pytest.mark.parametrize("path", sorted(_FILTERS.iterdir()), ids=lambda path: path.name)
def test_the_documented_filters_load_without_a_warning(path: Path) -> None:
    stream = "dns" if path.name.startswith("dns") else "flows"
    found = read_path(path, stream)
    assert len(found.filters) >= 1
    assert found.warnings == ()
    assert (found.dialect, found.stream) == ("fluentd", stream)


def test_indentation_does_not_matter() -> None:
    for name in ("flows-drop-namespace", "flows-drop-internet-to-deployment"):
        indented, plain = (read_path(_FILTERS / f"{name}{end}.conf", "flows") for end in ("", "-unindented"))
        assert [[rule.condition for rule in step.rules] for step in indented.filters[0].steps] == [
            [rule.condition for rule in step.rules] for step in plain.filters[0].steps
        ]


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (FLOW, "fluentd"),
        (f"# c\n\n  {FLOW}", "fluentd"),
        (f"\ufeff{FLOW}", "fluentd"),
        (FLOW.replace("\n", "\r"), "fluentd"),
        ("", "fluentd"),
        ("# only a comment", "fluentd"),
        ("@include flow\n", "fluentd"),
        ("@INCLUDE flow\n", "fluentd"),
        ("@include flow\n[FILTER]\n  name grep\n", "fluentbit-classic"),
        ("@SET a=b\n[FILTER]\n", "fluentbit-classic"),
        ("@include classic.conf\n", "fluentbit-classic"),
        ("[SERVICE]\n  flush 1\n", "fluentbit-classic"),
        ("- name: grep\n  exclude: a b\n", "fluentbit-yaml"),
        ("pipeline:\n  filters: []\n", "fluentbit-yaml"),
        ("[]", "fluentbit-yaml"),
        ("zork 1\n", None),
        ("a: 1\n", None),
        ("a: [", None),
        ("a: pipeline\n", None),
        ("a: {pipeline: 1}\n", None),
        ("---\n? x\n: y\npipeline:\n", "fluentbit-yaml"),
        ("just text\n", None),
    ],
)
def test_the_dialect_is_told_by_the_first_significant_line(text: str, dialect: str | None, tmp_path: Path) -> None:
    (tmp_path / "classic.conf").write_text("# c\n[FILTER]\n")
    assert recognise_dialect(text, str(tmp_path)) == dialect


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("- name: grep\n  exclude: a 1\n", "fluentbit-yaml"),
        ("[FILTER]\n  name grep\n  match *\n", "fluentbit-classic"),
        ("<filter>\n  @type flowd\n</filter>\n", "flowd"),
        ("<filter>\n  @type grep\n</filter>\n", "fluentd"),
    ],
)
def test_the_dialect_that_was_found_is_told(text: str, dialect: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    assert read_path(path, "flows").dialect == dialect


def test_a_text_of_no_dialect_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("zork 1\n")
    (problem,) = find_problems(path)
    assert problem.message == "this text is of no dialect that flowd knows"
    assert (problem.file, problem.line, problem.column, problem.code) == (str(path), 1, 1, "unsupported-dialect")
    assert problem.hint


GREP = "- name: grep\n  exclude: a 1\n"
SECTION = "<filter flows>\n  @type grep\n  <exclude>\n    key b\n    pattern 1\n  </exclude>\n</filter>\n"


def test_a_folder_may_hold_both_dialects_and_all_of_it_applies(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text(SECTION)
    (tmp_path / "dns").write_text(GREP + "  match: '*'\n")
    found = read_path(tmp_path, "flows")
    assert found.dialect == "fluentd+fluentbit-configmap"
    assert names(found) == ["filter1", "filter2"]
    assert names(read_path(tmp_path, "dns")) == ["filter2"]
    (tmp_path / "flow").write_text(GREP)
    (tmp_path / "dns").write_text(SECTION)
    found = read_path(tmp_path, "flows")
    assert (found.dialect, names(found)) == ("fluentbit-configmap+fluentd", ["filter1", "filter2"])


def test_problems_of_all_texts_in_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text(SECTION.replace("pattern 1", "pattern ("))
    (tmp_path / "dns").write_text("- name: grep\n  exclude: a (\n")
    assert [problem.code for problem in find_problems(tmp_path)] == ["bad-pattern", "bad-pattern"]


@pytest.mark.parametrize("name", ["flow", "flow.yaml", "flow.yml"])
def test_a_bare_list_is_for_the_stream_of_its_files_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(GREP)
    assert names(read_path(tmp_path / name, "flows")) == ["filter1"]
    assert names(read_path(tmp_path / name, "dns")) == []
    (tmp_path / "other").write_text(GREP)
    assert names(read_path(tmp_path / "other", "dns")) == ["filter1"]


def test_a_manifests_lists_are_for_the_streams_of_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("kind: ConfigMap\ndata:\n  flow: |\n    - name: grep\n      exclude: a (\n  dns: |\n    []\n")
    (problem,) = find_problems(path)
    assert (problem.file, problem.line, problem.column) == (str(path), 5, 16)
    path.write_text(path.read_text().replace("(", "1"))
    assert [names(read_path(path, stream)) for stream in ("flows", "dns")] == [["filter1"], []]


def test_fluentds_text_in_fluent_bits_configmap_is_told_to_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    text = "".join(f"    {line}\n" for line in SECTION.splitlines())
    path.write_text("kind: ConfigMap\nmetadata:\n  name: fluent-bit-filters\ndata:\n  flow: |\n" + text)
    (warning,) = [found for found in read_path(path, "flows").warnings if found.code == "leftover-fluentd"]
    assert warning.line == 6
    assert "flow unfiltered" in warning.message
    path.write_text(path.read_text().replace("fluent-bit-filters", "fluentd-filters"))
    assert "leftover-fluentd" not in [found.code for found in read_path(path, "flows").warnings]


def test_the_dialect_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(f"zork 1\n{FLOW}")
    assert names(read_path(path, "flows", "fluentd")) == ["filter1"]
    assert find_problems(path, "fluentbit-yaml")[0].code == "syntax"
    with pytest.raises(ValueError, match="unknown dialect 'zork'"):
        read_path(path, "flows", "zork")


def test_what_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_path(tmp_path / "nosuch", "flows")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_devices_are_refused(path: str) -> None:
    assert find_problems(Path(path))[0].message == f"{path} is no regular file"


def test_pipes_and_huge_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in find_problems(tmp_path / "pipe")[0].message
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(64 * 2**20)
    assert "is larger than 16 MiB" in find_problems(tmp_path / "huge")[0].message


def test_bytes_that_are_no_utf8_are_refused_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("<filter>\r\n# é".encode() + b"\xe9\n")
    (problem,) = find_problems(path)
    assert (problem.line, problem.column, problem.message) == (2, 4, "not UTF-8: byte 0xe9 cannot stand here")


# Folders


def test_a_folder_is_the_concatenation_of_flow_and_dns(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text(FLOW.removesuffix("\n"))
    (tmp_path / "dns").write_text(DNS)
    (tmp_path / "other").write_text("(")
    assert names(read_path(tmp_path, "flows")) == ["filter1", "both"]
    assert names(read_path(str(tmp_path), "dns")) == ["dns", "both"]
    (tmp_path / "flow").unlink()
    assert names(read_path(tmp_path, "flows")) == ["both"]


def test_problems_of_a_folder_name_the_key_and_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text("<filter flows>\n")
    (tmp_path / "dns").write_text("\n<filter>\n@type grep\n</filter>x\n")
    assert {(problem.file, problem.line) for problem in find_problems(tmp_path)} == {
        (str(tmp_path / "flow"), 1),
        (str(tmp_path / "dns"), 4),
    }


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path)
    assert "holds neither flow nor dns" in problem.message


def test_a_folder_that_may_not_be_entered_is_not_said_to_be_empty(tmp_path: Path) -> None:
    folder = tmp_path / "filters"
    folder.mkdir()
    (folder / "flow").write_text(FLOW)
    folder.chmod(0o600)
    drop = () if os.geteuid() else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # else modes hold for nobody
    ended = subprocess.run([*drop, *FLOWD, "check", str(folder)], capture_output=True, text=True, env=environment())
    folder.chmod(0o700)
    said = [f"flowd: {folder}/flow: Permission denied", "hint: `ls -l` says who may; its folders must be open, too"]
    assert (ended.returncode, ended.stderr.splitlines()) == (EXIT_IO, said)


def test_a_mount_is_read_through_its_data_link(tmp_path: Path) -> None:
    for version, text in (("..1", FLOW), ("..2", DNS)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "flow").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "flow").symlink_to("..data/flow")
    found = read_path(tmp_path, "flows")
    assert names(found) == ["filter1"]
    assert found.filters[0].file == str(tmp_path / "flow")
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert names(read_path(tmp_path, "flows")) == ["both"]


# ConfigMap manifests


def manifest(data: dict[str, str], part: str = "data") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fluentd-filters"}, part: data}


def as_block(text: str, indent: int = 4) -> str:
    return "".join(f"{' ' * indent}{line}\n" for line in text.splitlines())


YAML = f"""apiVersion: v1
data:
  flow: |
{as_block(FLOW)}  dns: |-
{as_block(DNS)}kind: ConfigMap
metadata:
  name: fluentd-filters
"""
LIST = "apiVersion: v1\nkind: List\nitems:\n" + "\n".join(
    ("- " if n == 0 else "  ") + line for n, line in enumerate(YAML.splitlines())
)


@pytest.mark.parametrize(
    "text",
    [
        YAML,
        YAML.replace("\n", "\r\n"),
        f"# a comment\n---\n{YAML}",
        f"kind: Secret\n---\n{YAML}---\n",
        f"{YAML}---\nkind: ConfigMap\ndata: {{}}\n",
        LIST,
        json.dumps(manifest({"flow": FLOW, "dns": DNS})),
        json.dumps(manifest({"flow": FLOW, "dns": DNS}), indent=2),
        json.dumps(manifest({"flow": FLOW, "dns": DNS}), indent="\t"),
        json.dumps({"kind": "List", "items": [{"kind": "Pod"}, manifest({"flow": FLOW, "dns": DNS})]}),
        json.dumps(
            manifest(
                {k: base64.b64encode(v.encode()).decode() for k, v in (("flow", FLOW), ("dns", DNS))}, "binaryData"
            )
        ),
    ],
)
def test_manifests_of_every_form_hold_the_same_filters(text: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest"
    path.write_text(text, newline="")
    for dialect in (None, "fluentd"):
        assert names(read_path(path, "flows", dialect)) == ["filter1", "both"]
        assert names(read_path(path, "dns", dialect)) == ["dns", "both"]
    assert names(read_text(text, "flows", None)) == ["filter1", "both"]


def test_places_in_a_manifest_are_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(YAML)
    (rule,) = read_path(path, "flows").filters[0].steps[0].rules
    assert (rule.file, rule.line, rule.column) == (str(path), 6, 7)
    path.write_text(YAML.replace("pattern dev", "pattern (").replace("@id dns", "@zork x"))
    assert [(problem.file, problem.line, problem.column) for problem in find_problems(path)] == [
        (str(path), 8, 17),
        (str(path), 14, 7),
    ]


def test_places_in_a_quoted_text_name_the_key(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(manifest({"flow": FLOW.replace("dev", "(")})))
    assert [(problem.file, problem.line, problem.column) for problem in find_problems(path)] == [
        (f"{path}:flow", 5, 13)
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(manifest({"other": "x"})), "the ConfigMap has neither the key flow nor dns"),
        (json.dumps(manifest({"flow": {}})), "the key flow is no text"),  # type: ignore[dict-item]
        (json.dumps(manifest({"flow": "%%"}, "binaryData")), "the key flow is not base64"),
        (json.dumps(manifest({"flow": "/w=="}, "binaryData")), "not UTF-8: byte 0xff cannot stand here"),
        (f"{YAML}---\n{YAML}", "2 ConfigMaps in one manifest"),
        ("kind: ConfigMap\ndata: [\n", "not YAML: "),
        ("kind: ConfigMap\ndata: " + "[" * 500_000, "the manifest is nested too deeply"),
        ("kind: ConfigMap\n" + "#" * 5_000_000, "the manifest is larger than 4 MiB"),
        ("[" * 500_000, "exceeded maximum nesting depth"),
        ("kind: List\nitems: &a [{kind: List, items: *a}]\n", "this text is of no dialect"),
        ("kind: ConfigMap\ndata:\n  flow: |\n    - grep\n", "this is no map"),
    ],
)
def test_manifests_that_hold_no_filters_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text(text)
    (problem,) = find_problems(path)
    assert problem.message.startswith(message)
    assert problem.hint
