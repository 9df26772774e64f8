"""The documents' site is whole: all pages are in its navigation, links lead somewhere, nothing comes from elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from cli_bed import ROOT

BUILD_DEADLINE_S = 60

# What a browser fetches by itself, and from which attribute; `a` only leads there.
_FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
_LINKS_FETCHED = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "modulepreload",
    "manifest",
    "preconnect",
    "dns-prefetch",
}
_IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?P<address>(?:https?:)?//[^"')\s]+)""")
# Left of Markdown that Python's reader does not take as GitHub does: a fence, an item, a row or a link in running text.
_NOT_READ = re.compile(r"^\s*(?:[-*] |\|)|```|\]\(", re.MULTILINE)


@dataclass(slots=True)
class Seen(HTMLParser):
    """What a page fetches, leads to, is called, and can be reached by."""

    title: str = ""
    heading: str = ""
    prose: str = ""
    fetched: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    nav: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        at = {name: value or "" for name, value in attrs}
        if tag not in {"meta", "link", "input", "img", "br", "hr", "source"}:
            self._open.append(tag)
        if "id" in at:
            self.anchors.add(at["id"])
        self.fetched += [at[name] for name in _FETCHED.get(tag, ()) if name in at]
        if tag == "link" and _LINKS_FETCHED & set(at.get("rel", "").split()):
            self.fetched.append(at.get("href", ""))
        if "style" in at:
            self.fetched += _IN_STYLES.findall(at["style"])
        if tag == "a" and "href" in at:
            self.links.append(at["href"])
            if "md-nav__link" in at.get("class", ""):
                self.nav.append(at["href"])

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.fetched += _IN_STYLES.findall(data)
        elif "title" in self._open and "svg" not in self._open:
            self.title += data
        elif "h1" in self._open:
            self.heading += data
        elif "article" in self._open and not {"pre", "code", "script"} & set(self._open):
            self.prose += data


@dataclass(frozen=True, slots=True)
class Site:
    folder: Path
    pages: dict[str, Seen]  # by their place from the site's root


def build_site(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, env=environment, timeout=BUILD_DEADLINE_S, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built once for all processes that test."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder = common / "site"
    with (common / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            built = build_site(ROOT, folder)
            assert built.returncode == 0, built.stderr
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        seen = Seen()
        seen.feed(path.read_text())
        pages[path.relative_to(folder).as_posix()] = seen
    return Site(folder, pages)


def page_of(document: Path) -> str:
    return document.relative_to(ROOT / "docs").with_suffix(".html").as_posix()


def test_every_document_is_a_page_with_a_title(site: Site) -> None:
    expected = {page_of(document) for document in ROOT.glob("docs/**/*.md")}
    assert expected <= site.pages.keys()
    assert [name for name, seen in site.pages.items() if not seen.title.strip()] == []
    assert [name for name in expected if not seen_heading(site, name)] == []


def seen_heading(site: Site, name: str) -> str:
    return site.pages[name].heading.replace("¶", "").strip()


def test_every_document_is_in_the_navigation(site: Site) -> None:
    nav = {posixpath.normpath(urlsplit(href).path) for href in site.pages["index.html"].nav if urlsplit(href).path}
    outside = {
        f"repository/{name}.html" for name in ("readme", "changelog", "contributing", "security", "bench/readme")
    }
    expected = {page_of(document) for document in ROOT.glob("docs/**/*.md")} | outside
    assert expected - nav - {"index.html"} == set()


def test_nothing_is_fetched_from_elsewhere(site: Site) -> None:
    fetched = [(name, address) for name, seen in site.pages.items() for address in seen.fetched]
    assert len(fetched) > len(site.pages)  # the theme's own files, on every page
    fetched += [
        (path.name, address) for path in site.folder.rglob("*.css") for address in _IN_STYLES.findall(path.read_text())
    ]
    assert [(name, address) for name, address in fetched if urlsplit(address).netloc] == []


def test_every_link_leads_somewhere(site: Site) -> None:
    # The page for what is not found is shown anywhere, and so names all from the server's root.
    dead = [
        (name, href)
        for name, seen in site.pages.items()
        for href in [*seen.links, *seen.fetched]
        if name != "404.html" and not leads_somewhere(site, name, href)
    ]
    assert dead == []


def leads_somewhere(site: Site, name: str, href: str) -> bool:
    """Is there the file, and the anchor in it? What leads out of the site is not looked at."""
    if is_elsewhere(href):
        return True
    parts = urlsplit(href)
    place = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path))) if parts.path else name
    if (site.folder / place).is_dir():
        place = posixpath.normpath(posixpath.join(place, "index.html"))
    if not (site.folder / place).is_file():
        return False
    return not parts.fragment or place not in site.pages or unquote(parts.fragment) in site.pages[place].anchors


def test_links_stay_in_the_site(site: Site) -> None:
    """A link to Markdown would show its source: all of them were turned."""
    links = [(name, href) for name, seen in site.pages.items() for href in seen.links]
    assert [
        (name, href) for name, href in links if not is_elsewhere(href) and urlsplit(href).path.endswith(".md")
    ] == []


def is_elsewhere(href: str) -> bool:
    return bool(urlsplit(href).scheme or urlsplit(href).netloc)


def test_lists_tables_and_blocks_are_read_as_such(site: Site) -> None:
    left = [(name, found[0]) for name, seen in site.pages.items() for found in _NOT_READ.finditer(seen.prose)]
    assert left == []


def test_files_have_their_names(site: Site) -> None:
    """What a comment before a block says to the tests is shown to the reader."""
    for document in ROOT.glob("docs/**/*.md"):
        named = re.findall(r"^<!-- file: (.+?) -->$", document.read_text(), re.MULTILINE)
        shown = re.findall(r'<span class="filename">(.+?)</span>', (site.folder / page_of(document)).read_text())
        assert shown == named, document.name


def test_the_search_knows_every_document(site: Site) -> None:
    index = json.loads((site.folder / "search" / "search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    documents = {page_of(document) for document in ROOT.glob("docs/**/*.md")}
    # The theme writes the first page's place as nothing.
    assert documents - found - {"index.html"} == set()
    assert found & {"", "index.html"}


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("[there](nowhere.md)", "'nowhere.md'"),
        ("[there](../NOWHERE.md)", "'../NOWHERE.md'"),
        ("[there](index.md#nowhere)", "'#nowhere'"),
        ("", ""),
    ],
)
def test_what_leads_nowhere_fails_the_build(page: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("mkdocs.yml", "tools/docs_site.py", "docs/site.css"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "index.md").write_text("# Documents\n\n**All.**\n[page.md](page.md) a page\n")
    (tmp_path / "docs" / "page.md").write_text(f"# Page\n\n{page}\n")
    built = build_site(tmp_path, tmp_path / "site")
    assert (built.returncode != 0, complaint in built.stderr) == (bool(complaint), True), built.stderr


def test_a_page_outside_of_the_index_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.md"))
    (tmp_path / "tools").mkdir()
    for name in ("mkdocs.yml", "tools/docs_site.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "index.md").write_text("# Documents\n")
    (tmp_path / "docs" / "lost.md").write_text("# Lost\n")
    built = build_site(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    assert "lost.md" in built.stderr
