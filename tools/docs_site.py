"""What mkdocs asks while it builds the site (`make docs`): its navigation, and pages for files outside of docs/.

The documents are written to be read in the repository: they name files by where these lie, and docs/index.md lists all
pages in groups. The site follows them, so that there is no second list and no second way to write a link:

- the navigation is docs/index.md's groups, in their order;
- a file outside of docs/ that a document links to becomes a page of the site: Markdown as it is, other text in a block,
  pictures as they are. So the site needs neither the repository nor the network;
- the name of a file that a block shows, which stands in a comment before it, is shown above it;
- links are turned to where the site has the file. A link that leads nowhere is left as it is, and fails the build.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
OUTSIDE = "repository"  # the folder of the site with what lies outside of docs/

_FENCE = re.compile(r"^ *(?P<mark>`{3,}|~{3,})")
_FILE = re.compile(r"^ *<!-- file: (?P<name>.+?) -->$")
_GROUP = re.compile(r"^\*\*(?P<name>.+?)\.?\*\*$")
_TARGET = re.compile(r"(?<=\]\()(?P<path>[^)\s#]+)(?P<fragment>#[^)\s]*)?(?=\))")
_CODE = re.compile(r"`[^`\n]+`")
_OUTPUT_LINE = re.compile(r'(?P<line><span class="go">[^\n<]*)</span>\n')
_PICTURES = {".svg", ".png"}
_LANGUAGES = {".c": "c", ".json": "json", ".py": "python", ".service": "ini", ".toml": "toml", ".yaml": "yaml"}


def name_in_site(path: Path) -> str:
    """Where the site has a file of the repository: its source's name, as mkdocs counts them, from the site's root."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT)
    if name.suffix == ".md":
        name = name.with_name(name.name.lower())  # of a README.md mkdocs makes the index of a folder
    elif name.suffix not in _PICTURES:
        name = name.with_name(name.name + ".md")
    return f"{OUTSIDE}/{name.as_posix()}"


def read_text_lines(text: str) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is prose: outside of every fenced block."""
    mark = ""
    for line in text.splitlines():
        fence = _FENCE.match(line)
        yield not mark and not fence, line
        if fence and not mark:
            mark = fence["mark"]
        elif fence and fence["mark"].startswith(mark) and line.strip() == fence["mark"]:
            mark = ""


def find_target(document: Path, link: str) -> Path | None:
    """The file of the repository that a link of a document leads to; None for one to elsewhere, or to nothing."""
    if "://" in link or link.startswith("mailto:"):
        return None
    path = Path(os.path.normpath(document.parent / link))
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def find_linked_files(document: Path) -> list[Path]:
    """The files that a document links to, in the links' order."""
    prose = "\n".join(line for is_prose, line in read_text_lines(document.read_text()) if is_prose)
    targets = (find_target(document, link["path"]) for link in _TARGET.finditer(prose))
    return list(dict.fromkeys(path for path in targets if path))


def find_outside_files() -> list[Path]:
    """What the site holds besides docs/: all that its pages lead to, and the pages among these, and so on."""
    waiting = sorted(DOCS.rglob("*.md"))
    seen = set(waiting)
    outside = []
    while waiting:
        for path in find_linked_files(waiting.pop()):
            if path in seen or path.is_relative_to(DOCS):
                continue
            seen.add(path)
            outside.append(path)
            if path.suffix == ".md":
                waiting.append(path)
    return sorted(outside)


def read_groups() -> list[tuple[str, list[Path]]]:
    """The groups of docs/index.md with their pages; a page that is named twice is where it is named first."""
    groups: list[tuple[str, list[str]]] = []
    for is_prose, line in read_text_lines(INDEX.read_text()):
        if is_prose and (group := _GROUP.match(line)):
            groups.append((group["name"], []))
        elif is_prose and groups:
            groups[-1][1].extend(link["path"] for link in _TARGET.finditer(line))
    seen: set[Path] = set()
    found = []
    for name, links in groups:
        pages = [path for link in links if (path := find_target(INDEX, link)) and path.suffix == ".md"]
        found.append((name, [path for path in dict.fromkeys(pages) if path not in seen]))
        seen.update(pages)
    return found


def show_file(path: Path) -> str:
    """A page that shows a file which is no Markdown."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    language = _LANGUAGES.get(path.suffix, "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def show_in_nav(page: Path) -> str | dict[str, str]:
    """A page's place in the navigation, under its heading; the README's is the project's name, and says too little."""
    name = name_in_site(page)
    return {"README": name} if page == ROOT / "README.md" else name


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    groups = [{name: [show_in_nav(page) for page in pages]} for name, pages in read_groups()]
    config.nav = [name_in_site(INDEX), *groups]
    config.watch = [*config.watch, *map(str, find_outside_files())]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path in find_outside_files():
        name = name_in_site(path)
        if path.suffix in _PICTURES or path.suffix == ".md":
            files.append(File.generated(config, name, abs_src_path=str(path)))
        else:
            files.append(File.generated(config, name, content=show_file(path), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turns links, shows files' names, and writes a bar in a table's code as Python's Markdown wants it: bare."""
    document = ROOT / page.file.src_uri.removeprefix(f"{OUTSIDE}/")
    if page.file.generated_by is None:
        document = DOCS / page.file.src_uri
    elif page.file.abs_src_path:
        document = Path(page.file.abs_src_path)

    def turn(link: re.Match[str]) -> str:
        path = find_target(document, link["path"])
        if path is None:
            return link[0]
        there = os.path.relpath(name_in_site(path), os.path.dirname(page.file.src_uri))
        return there + (link["fragment"] or "")

    lines: list[str] = []
    for is_prose, line in read_text_lines(markdown):
        file = _FILE.match(lines[-1]) if lines else None
        if is_prose:
            line = _TARGET.sub(turn, line)
            if line.lstrip().startswith("|"):
                line = _CODE.sub(lambda code: code[0].replace("\\|", "|"), line)
        elif file:
            line = f'{line.rstrip()}{"" if line.strip("` ") else "text"} title="{file["name"]}"'
        lines.append(line)
    return "\n".join(lines)


def on_page_content(html: str, **_: object) -> str:
    """Takes the ends of lines of output into what is left out where commands are copied (docs/site.css)."""
    return _OUTPUT_LINE.sub(r"\g<line>\n</span>", html)
