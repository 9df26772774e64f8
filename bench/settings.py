"""What every part of the benchmarks is given: how large the run is, and the corpora, made once and kept in bench/data/.

A corpus is known by its form, lines, seed and cardinality, and its SHA-256 is noted beside it: what was measured can be
made again elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from flowd.corpus import Cardinality, generate

BENCH: Final = Path(__file__).resolve().parent
DATA: Final = BENCH / "data"
SEED: Final = 1
BATCH_BYTES: Final = 1 << 20

NAMESPACE_FILTER: Final = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern dev
  </exclude>
  <exclude>
    key dest_namespace
    pattern dev
  </exclude>
</filter>
"""
"""The documented namespace filter."""
NAMES_FILTER: Final = """\
<filter dns>
  @type grep
  <exclude>
    key qname
    pattern /\\.cluster\\.local$/
  </exclude>
</filter>
"""
"""The documented filter on the cluster's own names."""

POD_FILTER: Final = """\
<filter flows>
  @type grep
  <exclude>
    key source_name
    pattern /^(?:ledger|frontend)-[0-9a-f]+-/
  </exclude>
</filter>
"""
"""A filter on two deployments' pods by name, of which aggregation level 0 has new ones on nearly every line."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done. Lines of a form by its mean length make what a part walks through."""

    name: str
    is_quotable: bool
    rounds: int
    core_bytes: int
    rules: tuple[int, ...]
    rules_bytes: int
    text_lines: int
    json_lines: int
    slow_lines: int
    relay_batches: int
    memory_bytes: int


FULL: Final = Scale(
    name="full", is_quotable=True, rounds=5, core_bytes=256 << 20, rules_bytes=128 << 20,
    rules=(1, 10, 100, 1_000, 10_000), text_lines=10_000_000, json_lines=1_000_000, slow_lines=50_000,
    relay_batches=4_096, memory_bytes=512 << 20,
)  # fmt: skip
QUICK: Final = Scale(
    name="quick", is_quotable=False, rounds=3, core_bytes=4 << 20, rules=(1, 10, 100), rules_bytes=4 << 20,
    text_lines=100_000, json_lines=20_000, slow_lines=2_000, relay_batches=128, memory_bytes=8 << 20,
)  # fmt: skip
"""Shows that the benchmarks work. Its figures are none to quote: start-up alone outweighs such little work."""

MEAN_BYTES: Final = {"json": 1640, "text24": 141, "text24-labels": 250, "text27": 324, "dns": 810}


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file of lines, and what it was made of."""

    path: Path
    form: str
    cardinality: str
    seed: int
    lines: int
    bytes: int
    sha256: str


@dataclass(slots=True)
class Settings:
    """The run: its scale, the corpora used so far, and `say`, which shows what is being done."""

    scale: Scale
    say: Callable[[str], None]
    data: Path = DATA
    corpora: dict[str, Corpus] = field(default_factory=dict)

    def corpus(self, form: str, lines: int, cardinality: Cardinality = "low") -> Corpus:
        """The corpus of this form; made where bench/data/ does not have it."""
        name = f"{form}-{cardinality}-{SEED}-{lines}"
        path, note = self.data / f"{name}.log", self.data / f"{name}.json"
        if not note.exists():
            self.say(f"making {lines:,} lines of {form}, {cardinality} cardinality")
            self.data.mkdir(parents=True, exist_ok=True)
            made = _write(path, form, lines, cardinality)
            note.write_text(json.dumps(made))
        known = Corpus(path, form, cardinality, SEED, lines, **json.loads(note.read_text()))
        self.corpora[name] = known
        return known

    def corpus_of(self, form: str, size_bytes: int, cardinality: Cardinality = "low") -> Corpus:
        """A corpus of about so many bytes."""
        return self.corpus(form, max(1_000, size_bytes // MEAN_BYTES[form]), cardinality)

    def describe_corpora(self) -> list[dict[str, object]]:
        """What was used, as plain data."""
        return [{**asdict(corpus), "path": corpus.path.name} for corpus in self.corpora.values()]


def cut_batches(lines: bytes, batch_bytes: int = BATCH_BYTES) -> Iterator[bytes]:
    """The lines in batches of at most so many bytes, each ending with a line; no line may be longer."""
    start = 0
    while start < len(lines):
        end = len(lines) if len(lines) - start <= batch_bytes else lines.rindex(b"\n", start, start + batch_bytes) + 1
        yield lines[start:end]
        start = end


def _write(path: Path, form: str, lines: int, cardinality: Cardinality) -> dict[str, object]:
    digest, size = hashlib.sha256(), 0
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as sink:
        for chunk in generate(form, lines, SEED, cardinality):
            sink.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    unfinished.rename(path)
    return {"bytes": size, "sha256": digest.hexdigest()}
