"""What runs under Callgrind: each job's lines once through a filter set of its own, with that alone counted.

    valgrind --tool=callgrind --instr-atstart=no ... python bench/instructions_job.py JOBS.json

JOBS.json holds the path of the library with Callgrind's client requests, and for each job its name, stream, filter text
and a file of lines. Start-up, reading and compiling are not counted: they run while Callgrind does not look. Nothing
here reads what was counted; `instructions.py` does.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

import flowd


def main() -> None:
    described = json.loads(Path(sys.argv[1]).read_text())
    callgrind = ctypes.CDLL(described["library"])
    for job in described["jobs"]:
        filters = flowd.compile(job["filters"], stream=job["stream"])
        lines = Path(job["lines"]).read_bytes()
        callgrind.begin()
        filters.filter(lines)
        callgrind.end(job["name"].encode())


if __name__ == "__main__":
    main()
