"""The README's figures: which rows of the report are shown there, and in which words. Nothing here measures.

They are read from the report that bench/README.md has, so that the two never say different things. A row that the last
run did not measure stays as it was, and is named as one of an earlier run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"
HEAD = "| one core, unless said otherwise | flowd | beside it, in the same run | ratio |\n|---|---|---|---|\n"
_CELL = re.compile(r"(?<!\\)\|")
_MACHINE = re.compile(r"^Machine: (?P<cpu>[^,]+), (?P<cores>\d+) cores?, .*, (?P<date>[\d-]{10}) [\d:]+ UTC\.$", re.M)


class Figure(NamedTuple):
    """A row of the README: its words, the report's row by its part and how its words begin, and its peer likewise."""

    words: str
    part: str
    what: str
    peer: str = ""
    beside: str = ""


FIGURES = (
    Figure(
        "`FilterSet.filter`, text of 24 columns, 140 B a line",
        "core", "FilterSet.filter, text24", "newline scan", "newline scan by `memchr`",
    ),
    Figure(
        "`FilterSet.filter`, JSON lines, 1.6 kB, every top-level key",
        "json", "FilterSet.filter, json", "simdjson", "simdjson On-Demand, which stops at the wanted keys",
    ),
    Figure(
        "the same text with 10,000 exclude patterns on each of two fields",
        "rules", "10,000 exclude patterns on each of two fields, text24", "1 pattern on each",
        "with one pattern on each",
    ),
    Figure("two threads, text", "threads", "FilterSet.filter, text24, 2 threads", "one thread", "one"),
    Figure(
        "100 views of five rules in one pass, text, copies included",
        "views", "100 views in one pass, realistic, text24", "one view by itself", "one view",
    ),
    Figure(
        "records of Forward in msgpack, filtered into JSON lines",
        "records", "the documented namespace filter, PackedForward", "msgspec", "msgspec's objects",
    ),
    Figure(
        "`flowd filter`, 10,000,000 text lines, whole process",
        "process", "flowd filter, 10,000,000 lines of text24", "rg -v dev", "`rg -v dev`, which knows no columns",
    ),
    Figure(
        "the same on two cores, as it runs by default",
        "process", "flowd filter, 10,000,000 lines of text24, all cores", "rg -v dev", "`rg -v dev`",
    ),
    Figure(
        "the same on one core",
        "process", "flowd filter, 10,000,000 lines of text24", "mawk", "`mawk` on the two columns",
    ),
    Figure(
        "`flowd filter`, 1,000,000 JSON lines, whole process",
        "process", "flowd filter, 1,000,000 lines of json", "jq", "`jq -c 'select(…)'`",
    ),
    Figure(
        "`flowd filter --count`, Parquet, whole process",
        "archives", "flowd filter --count", "pyarrow", "pyarrow, reading the two columns alone",
    ),
    Figure(
        "producer → daemon → subscriber over ipc, text, both cores, not synced",
        "relay", "Producer → daemon → Subscriber, text24", "PUSH",
        "PUSH → PULL → PUB, which filters, stores and confirms nothing",
    ),
    Figure(
        "Forward in → daemon → subscriber, both cores, msgpack, each chunk on the disk first",
        "forward", "PackedForward → daemon → subscriber, durable",
    ),
    Figure(
        "acknowledged ingest, each batch on the disk first, both cores",
        "durable", "acknowledged ingest", "bare LMDB loop", "a bare LMDB loop, without sockets",
    ),
    Figure(
        "16 durable consumers at once, in all, both cores",
        "durable", "16 durable consumers", "16 SUB", "16 subscribers of a bare PUB",
    ),
    Figure(
        "the sink into JetStream, one server beside it, files",
        "jetstream", "JetStream sink, messages of 256 KiB, one server, file storage", "bare nats-py",
        "a bare nats-py publisher",
    ),
    Figure(
        "the Forward sink, JSON lines, both cores",
        "forward-sink", "Forward sink, json, lines out", "a bare sender",
        "a bare sender of chunks that were packed before",
    ),
    Figure("`kill -9` to serving again, with 10 GB of journal", "durable", "kill -9 to serving again"),
    Figure("the daemon's peak memory", "memory", "the daemon's peak, the documented namespace filter"),
    Figure("the same with 1,000 rules", "memory", "the daemon's peak, 1,000 rules"),
    Figure("the same with 10,000 rules", "memory", "the daemon's peak, 10,000 rules"),
    Figure("a page of `/metrics` with 1,000 rules", "metrics", "scrape with 1,000 rules, 1,000"),
    Figure(
        "from when a line was due to a subscriber, 99 of 100 batches at 100,000 lines/s; 18.7 ms are the batch's own",
        "latency", "p99 from due to arrived, 100,000 lines/s",
    ),
)  # fmt: skip


def write_figures(readme: str, page: str) -> str:
    """The README with the figures of the page's report in place of those before."""
    before, _, rest = readme.partition(BEGIN)
    old, _, after = rest.partition(END)
    known = {split_cells(line)[0]: line for line in old.splitlines() if line.startswith("| ")}
    lines, earlier = [], []
    for figure in FIGURES:
        cells = find_row(figure, page)
        if cells is not None:
            lines.append(show_figure(figure, cells))
        elif figure.words in known:
            lines.append(known[figure.words])
            earlier.append(figure.words)
    return before + BEGIN + HEAD + "\n".join(lines) + "\n\n" + describe_run(page, earlier) + END + after


def find_row(figure: Figure, page: str) -> list[str] | None:
    """The cells of the report's row that a figure is of: the one whose words are nearest to its own, the shortest."""
    found = [
        cells
        for part, cells in read_rows(page)
        if part == figure.part and cells[0].startswith(figure.what) and cells[3].startswith(figure.peer)
    ]
    return min(found, key=lambda cells: len(cells[0]), default=None)


def read_rows(page: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of the report's tables, each with its part."""
    part = ""
    for line in page.splitlines():
        if line.startswith("### "):
            part = line.removeprefix("### ")
        elif line.startswith("| ") and not line.startswith(("| WHAT ", "| --- ")):
            cells = split_cells(line)
            if len(cells) == 8:
                yield part, cells


def split_cells(line: str) -> list[str]:
    """What stands between the bars of a table's row."""
    return [cell.strip() for cell in _CELL.split(line.strip())[1:-1]]


def show_figure(figure: Figure, cells: list[str]) -> str:
    """A row of the README."""
    _, value, _, _, peers, ratio, *_ = cells
    if not figure.beside:
        return f"| {figure.words} | {value} | | |"
    shown = f"{figure.beside}: {peers}" if peers != "-" else figure.beside
    return f"| {figure.words} | {value} | {shown} | {ratio.partition(' ')[0].replace('-', '')} |"


def describe_run(page: str, earlier: list[str]) -> str:
    """What the figures are of, and which are not of the last run."""
    machine = _MACHINE.search(page)
    where = f"the {machine['cpu']} with {machine['cores']} cores, on {machine['date']}" if machine else "one machine"
    text = f"Medians of one run of `make bench` on {where}: the documented namespace filter, a seeded corpus.\n"
    if earlier:
        text += f"Of an earlier run: {'; '.join(earlier)}.\n"
    return (
        text
        + "The whole report, with the spread of each figure and what did not reach its target:\n"
        + "[bench/README.md](bench/README.md).\n"
    )


def paste_figures(readme: Path, page: Path) -> None:
    """Puts the figures of a page's report into the README."""
    readme.write_text(write_figures(readme.read_text(), page.read_text()))
