"""The documents tell the truth: their commands do what is shown, their links lead somewhere, what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_bed import ROOT, all_options
from docs_bed import BLOCKS, DOCUMENTS, NAMES, Block, Shell, code_of, fits, normalise, read_commands, text_of

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_TARGET = re.compile(r"(?<![\w/-])make (?P<target>[a-z][a-z-]*)\b")
_VARIABLE = re.compile(r"\b(?P<name>FLOWD_[A-Z][A-Z_]*)\b")
_COMMAND = re.compile(r"(?<![\w./-])flowd (?P<command>(?!cannot evaluate)[a-z]+)\b")  # how errors of patterns begin
_SOURCE = re.compile(r"`(?P<path>(?:flowd|tests|bench|docs|tools|examples)/[\w./-]*[\w/])`")
_OUTSIDE = re.compile(r"(?<![\w.<>~$-])/(?:work|home|root|Users)/|\bshared/|\bspec/|file://")


def console_blocks(document: Path) -> list[Block]:
    return [block for block in BLOCKS[document] if block.language == "console" and not block.not_run]


def anchors_of(document: Path) -> set[str]:
    """The fragments that its headings can be reached by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if console_blocks(d)], ids=lambda d: str(d.relative_to(ROOT))
)
def test_commands_print_what_is_shown(document: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    wrong = []
    try:
        for block in BLOCKS[document]:
            if block.file:
                place = tmp_path / block.file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("\n".join(block.lines) + "\n")
            if block.language != "console" or block.not_run:
                continue
            for command in read_commands(block):
                printed = shell.type(command)
                if not fits(command.shown, printed):
                    shown, got = "\n".join(map(normalise, command.shown)), "\n".join(printed)
                    wrong.append(f"{block.place}: $ {command.text}\n--- shown\n{shown}\n--- printed\n{got}\n")
    finally:
        shell.end()
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_what_is_not_run_says_why(document: Path) -> None:
    unexplained = [
        block.place
        for block in BLOCKS[document]
        if block.language == "console" and block.not_run and len(block.not_run.split()) < 2
    ]
    assert unexplained == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for link in _LINK.finditer(text_of(document)):
        target, _, fragment = link["target"].partition("#")
        if target.startswith(("https://", "http://")):
            continue
        place = (document.parent / target).resolve() if target else document
        leads_there = place.exists() and place.is_relative_to(ROOT)
        if not leads_there or (fragment and place.suffix == ".md" and fragment not in anchors_of(place)):
            dead.append(link["target"])
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {m["target"] for m in _TARGET.finditer(" ".join(code_of(document)))}
    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_variables_exist(document: Path) -> None:
    named = {m["name"] for m in _VARIABLE.finditer(document.read_text())}
    assert named - known_variables() == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_exist(document: Path) -> None:
    from flowd.cli.root import COMMANDS

    named = {m["command"] for m in _COMMAND.finditer(" \n".join(code_of(document)))}
    assert named - COMMANDS.keys() == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_exist(document: Path) -> None:
    missing = [m["path"] for m in _SOURCE.finditer(text_of(document)) if not (ROOT / m["path"]).exists()]
    made_later = [path for path in missing if path.startswith("bench/results") or path == "flowd/_core.cpp"]
    assert sorted(set(missing) - set(made_later)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_nothing_outside_is_named(document: Path) -> None:
    outside = [line for line in document.read_text().splitlines() if _OUTSIDE.search(line)]
    assert outside == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if page.name != "index.md" and page.name not in index] == []


def known_variables() -> set[str]:
    """The variables that the sources and the tests' beds name, and those that set options."""
    sources = [ROOT / "setup.py", *(ROOT / "flowd").rglob("*.py"), *(ROOT / "flowd" / "native").rglob("*.cpp")]
    sources += (ROOT / "tests").glob("*_bed.py")
    named = {m["name"] for source in sources for m in _VARIABLE.finditer(source.read_text())}
    return named.union(*(variables for _, _, variables in all_options()))


def test_the_figures_have_their_place() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count("<!-- figures -->") == readme.count("<!-- /figures -->") == 1
    assert readme.index("<!-- figures -->") < readme.index("<!-- /figures -->")


def test_output_is_compared_without_what_varies() -> None:
    assert fits(["sent in 0.11 s"], ["sent in 2.70 s"])
    assert fits(["one", "…", "three"], ["one", "two", "and more", "three"])
    assert not fits(["one", "three"], ["one", "two", "three"])
    assert not fits(["one"], [])
