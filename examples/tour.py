"""flowd from Python: load filters, filter lines, ask what was decided and why. Run by the README's tour.

    python bench/corpus.py --form json --lines 20000 > flows.log
    python examples/tour.py

From the root of a checkout.
"""

from pathlib import Path

import flowd

fs = flowd.load("examples/filters")
lines = Path("flows.log").read_bytes()

kept = fs.filter(lines)
print(f"{len(kept):,} of {len(lines):,} bytes kept")

for name, hits in fs.hits.items():
    print(f"{name:18}{hits.lines:8,} lines, {hits.bytes:11,} bytes")

first = b"".join(lines.splitlines(keepends=True)[:12])
print(fs.verdicts(first).decode(), "are the verdicts on the first twelve lines")

print(fs.explain('{"source_namespace": "my-dev", "dest_namespace": "web"}'))
