"""`@include`: which files are read, in which order, and what is said where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowd.errors import FilterError
from flowd.filters.load import read_path, read_text
from flowd.filters.model import FilterText


def section(name: str) -> str:
    return f"<filter flows>\n@type grep\n@id {name}\n</filter>\n"


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def names(found: FilterText) -> list[str]:
    return [section.name for section in found.filters]


@pytest.mark.parametrize(
    "line",
    [
        "@include d/*.conf",
        "@include 'd/*.conf' ",
        '@include "d/*.conf" # c',
        "@include\nd/*.conf",
        "@include d/%2A.conf",
        "include d/*.conf",
        "@include ./d/../d/*.conf",
        "@include **/*.conf",
    ],
)
def test_a_pattern_is_relative_to_the_including_file_and_sorted(line: str, tmp_path: Path) -> None:
    write(tmp_path, main=f"{section('m')}{line}\n{section('n')}", d__b_conf=section("b"), d__a_conf=section("a"))
    assert names(read_path(tmp_path / "main", "flows", "fluentd")) == ["m", "a", "b", "n"]


def test_absolute_paths_and_file_uris_and_blanks(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text(section("a"))
    assert names(read_text(f"@include {tmp_path}/a b\n", "flows")) == ["a"]
    assert names(read_text(f"@include file://{tmp_path}/a%20b\n", "flows")) == ["a"]


def test_includes_of_a_text_are_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, d__a=f"{section('a')}@include b\n", d__b=section("b"))
    monkeypatch.chdir(tmp_path)
    assert names(read_text("@include d/a\n", "flows")) == ["a", "b"]


def test_an_include_stands_inside_a_section(tmp_path: Path) -> None:
    write(
        tmp_path,
        main="<filter flows>\n@type grep\n<exclude>\n@include key\n</exclude>\nregexp1 b x\n@include more\n</filter>\n",
        key="key a\npattern x\n",
        more="<exclude>\nkey c\npattern x\n</exclude>\n",
    )
    (found,) = read_path(tmp_path / "main", "flows").filters
    assert [(rule.name, rule.key, Path(rule.file).name) for step in found.steps for rule in step.rules] == [
        ("filter1.regexp1", "b", "main"),
        ("filter1.exclude1", "a", "main"),
        ("filter1.exclude2", "c", "more"),
    ]


def test_problems_are_placed_in_the_file_that_has_them(tmp_path: Path) -> None:
    write(tmp_path, main=f"{section('m')}@include sub\n{section('m')}", sub="\n<filter\nk\n</filter>\n</x>\n")
    with pytest.raises(FilterError) as caught:
        read_path(tmp_path / "main", "flows", "fluentd")
    assert [(Path(p.file).name, p.line, p.column, p.message[:14]) for p in caught.value.problems] == [
        ("sub", 2, 1, "expected '>'"),
        ("sub", 2, 1, "Missing '@type"),
        ("sub", 5, 1, "unmatched end "),
        ("main", 8, 5, "Duplicated plu"),
    ]


def test_a_missing_file_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, main=f"@include nosuch\n@include no*.conf\n{section('m')}")
    found = read_path(tmp_path / "main", "flows")
    assert names(found) == ["m"]
    assert [(warning.line, warning.code) for warning in found.warnings] == [
        (1, "missing-include"),
        (2, "missing-include"),
    ]


def find_messages(path: Path) -> list[str]:
    with pytest.raises(FilterError) as caught:
        read_path(path, "flows", "fluentd")
    return [f"{Path(problem.file).name}:{problem.line}: {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ('""', "include error  - Is a directory"),
        ("file://host", "include error file://host - Is a directory"),
        ("a b|c", 'bad URI(is not URI?): "a+b|c"'),
        ("a\\b", 'bad URI(is not URI?): "a\\\\b"'),
        ("é😀", 'URI must be ascii only "\\u00E9\\u{1F600}"'),
        ("file:x", "include error file:x - a file: address has a whole path"),
    ],
)
def test_an_include_that_is_no_path_is_refused(uri: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, main=f"@include {uri}\n", x=section("x"))
    assert find_messages(tmp_path / "main") == [f"main:1: {message}"]


def test_includes_that_lead_back_are_refused(tmp_path: Path) -> None:
    write(tmp_path, main="@include a\n", a="@include b\n", b="@include main\n")
    assert find_messages(tmp_path / "main") == [f"b:1: {tmp_path}/main includes itself"]


def test_includes_without_end_are_bounded(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path, **{f"f{n}": f"@include f{n + 1}\n" * 10})
    write(tmp_path, f12=section("x").replace("@id x\n", ""))
    messages = find_messages(tmp_path / "f0")
    assert "too many includes" in messages[0]


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("folder", "main:1: include error x - Is a directory"),
        ("bytes", "x:2: not UTF-8: byte 0xff cannot stand here"),
        ("huge", "x:1: {path} is larger than 16 MiB"),
    ],
)
def test_files_that_hold_no_text_are_refused(prepare: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, main="@include x\n")
    path = tmp_path / "x"
    if prepare == "folder":
        path.mkdir()
    elif prepare == "bytes":
        path.write_bytes("# é\nk \xff\n".encode("latin-1").replace(b"\xe9", b"\xc3\xa9"))
    else:
        with path.open("wb") as file:
            file.truncate(64 * 2**20)
    assert find_messages(tmp_path / "main") == [message.format(path=path)]
