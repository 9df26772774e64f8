"""A seeded generator of realistic flow and DNS lines, for benchmarks, demonstrations and tests.

    python bench/corpus.py --form json --lines 1000000 --seed 7 > flows.log
    python bench/corpus.py --form text24 --lines 5000000 --describe

This is its command; `flowd.corpus` makes the lines, so that an installed `flowd bench` has them, too.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

from flowd.corpus import FORMS, JSON_FORMS, Cardinality, generate

__all__ = ["FORMS", "count_documented_drops", "describe", "generate"]


def count_documented_drops(form: str, chunk: bytes) -> dict[str, int]:
    """How many lines of a chunk the filters of Calico's documentation drop, by plain Python."""
    if form == "dns":
        return {"cluster-local names": len(re.findall(rb'"qname":"[^"]*\.cluster\.local"', chunk))}
    if form in JSON_FORMS:
        namespace = rb'^(?=.*?"(?:source|dest)_namespace":"[^"]*dev)'
        internet = rb'^(?=.*?"source_name_aggr":"[^"]*pub)(?=.*?"dest_name_aggr":"nginx-internet)'
        return {
            "namespace dev": len(re.findall(namespace, chunk, re.MULTILINE)),
            "internet to nginx-internet": len(re.findall(internet, chunk, re.MULTILINE)),
        }
    dest = 8 if form == "text27" else 7
    counts = {"namespace dev": 0, "internet to nginx-internet": 0}
    for line in chunk.splitlines():
        columns = line.split(b" ", dest + 3)
        source_words = (columns[2], *columns[4 : dest - 2])
        counts["namespace dev"] += b"dev" in columns[3] or b"dev" in columns[dest]
        counts["internet to nginx-internet"] += any(b"pub" in word for word in source_words) and (
            columns[dest + 1].startswith(b"nginx-internet") or columns[dest + 2].startswith(b"nginx-internet")
        )
    return counts


def describe(form: str, lines: int, seed: int, cardinality: Cardinality) -> str:
    """What a corpus holds, without writing it: its hash, its size and what the documented filters drop."""
    digest, size = hashlib.sha256(), 0
    dropped: dict[str, int] = {}
    for chunk in generate(form, lines, seed, cardinality):
        digest.update(chunk)
        size += len(chunk)
        for name, count in count_documented_drops(form, chunk).items():
            dropped[name] = dropped.get(name, 0) + count
    shown = [f"form {form} · cardinality {cardinality} · seed {seed} · {lines:,} lines · {size:,} bytes"]
    shown.append(f"mean line {size / max(1, lines):.1f} bytes")
    shown.append(f"sha256 {digest.hexdigest()}")
    shown += [f"dropped by the filter on {name}: {count / max(1, lines):.2%}" for name, count in dropped.items()]
    return "\n".join(shown)


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes realistic flow or DNS lines to standard output.")
    parser.add_argument("--form", choices=FORMS, default="json")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cardinality", choices=("low", "high"), default="low")
    parser.add_argument("--describe", action="store_true", help="print what the corpus holds instead of its lines")
    chosen = parser.parse_args()
    if chosen.describe:
        print(describe(chosen.form, chosen.lines, chosen.seed, chosen.cardinality))
        return 0
    try:
        for chunk in generate(chosen.form, chosen.lines, chosen.seed, chosen.cardinality):
            sys.stdout.buffer.write(chunk)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has enough; Python would complain at exit
    return 0


if __name__ == "__main__":
    sys.exit(main())
