"""The core's objects in reference cycles: the garbage collector may come upon any of them first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, os, sys
import flowd
from flowd.fanout import FanOut
from flowd.joint import JointProgram

WORDS = "".join(
    f"<filter flows>\\n@type grep\\n<exclude>\\nkey a\\npattern ^word-{n}$\\n</exclude>\\n"
    f"<regexp>\\nkey b\\npattern /[0-{n % 10}]x.?y/\\n</regexp>\\n</filter>\\n"
    for n in range(60)
)
NETWORKS = "".join(
    f"<filter flows>\\n@type flowd\\n<exclude>\\nkey source_ip\\ncidr 10.{n}.0.0/16\\n</exclude>\\n</filter>\\n"
    for n in range(60)
)
LINES = b'{"a":"word-3","b":"0x1y","source_ip":"10.3.0.1"}\\n' * 3

def compile():
    made = [flowd.compile(WORDS), flowd.compile(NETWORKS, dialect="flowd")]
    for each in made:
        each.filter(LINES)
    return made

def a_set():
    words, networks = compile()
    return [words.evaluator, words.compiled.program, networks.evaluator, networks.compiled.program]

def a_fan_out():
    fan_out = FanOut(compile())
    fan_out.decide(LINES)  # and the batch is held
    return [fan_out._core]

def a_comparer():
    comparer = JointProgram(*compile()).comparer(2)
    comparer.add(LINES)
    return [comparer]

def a_file_run():
    with open(__file__, "rb") as source:
        run = compile()[0].run_over(source.fileno(), -1)
        run.work(1)
    return [run]

class Holder:
    "What leads from a core object back to itself."

gc.disable()
for make in (a_set, a_fan_out, a_comparer, a_file_run):
    for which in range(len(make())):
        for is_older in (False, True):  # the collector takes what is older first, but for what it came by before
            for collections in range(3):
                holder = Holder() if is_older else None
                held = make()[which]
                holder = holder or Holder()
                holder.held, holder.itself = held, holder
                for _ in range(collections):
                    gc.collect()
                del held, holder
                assert gc.collect() > 0
print("done")
"""


@pytest.mark.parametrize("perturbed", ["", "165"], ids=["as it is", "freed memory overwritten"])
def test_what_lies_in_a_cycle_is_freed_in_any_order(tmp_path: Path, perturbed: str) -> None:
    """In a process of its own: it may die of it. glibc overwrites what is freed where MALLOC_PERTURB_ says so."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = {**os.environ, "PYTHONPATH": os.getcwd(), "MALLOC_PERTURB_": perturbed}
    done = subprocess.run([sys.executable, script], env=told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
