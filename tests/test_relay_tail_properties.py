"""flowd.relay.tail under whatever happens to files: each line that was written comes once, in its file's order."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tail_bed import Bed, LogFile, compress

EXAMPLES = 200
STEPS = 40


class Rotations(RuleBasedStateMachine):
    """A log, what rotates it, and a daemon that reads it, is killed and started again, in any order.

    The model has what each generation of the log holds. A line is one of the written lines or the partial line that a
    generation ends in. Nobody writes between a copy and its truncation: what is written there is lost to everybody.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.generations: list[list[bytes]] = [[]]
        self.number = 0
        self.is_partial = False
        self.is_copied = False
        self.is_running = True
        self.old: BinaryIO | None = None
        self.old_generation: list[bytes] = []

    @initialize(
        style=st.sampled_from(["number", "lumberjack", "date"]), pattern=st.sampled_from(["flows.log", "*.log*"])
    )
    def begin(self, style: str, pattern: str) -> None:
        self.log = LogFile(Path(self.directory.name) / "flows.log", style)
        self.bed = Bed({"flows": [str(self.log.path.parent / pattern)]})
        self.bed.settle()

    def write_line(self, is_whole: bool) -> bytes:
        self.number += 1
        text = b"line %06d" % self.number
        if self.is_partial:
            self.generations[-1][-1] += text
        else:
            self.generations[-1].append(text)
        self.is_partial = not is_whole
        return text + b"\n" if is_whole else text

    @precondition(lambda self: not self.is_copied)
    @rule(lines=st.integers(1, 200))
    def append_lines(self, lines: int) -> None:
        self.log.write(b"".join(self.write_line(True) for _ in range(lines)))

    @precondition(lambda self: not self.is_copied)
    @rule()
    def append_partial_line(self) -> None:
        self.log.write(self.write_line(False))

    def next_generation(self) -> None:
        self.generations.append([])
        self.is_partial = False

    @precondition(lambda self: not self.is_copied)
    @rule()
    def rotate_by_rename(self) -> None:
        if self.old is not None:
            self.old.close()
        self.old = None if self.is_partial else self.log.path.open("ab", buffering=0)
        self.old_generation = self.generations[-1]
        self.log.rotate()
        self.next_generation()

    @precondition(lambda self: self.old is not None and os.fstat(self.old.fileno()).st_nlink)
    @rule()
    def append_late_to_the_renamed_file(self) -> None:
        assert self.old is not None
        self.number += 1
        self.old_generation.append(b"late %06d" % self.number)
        self.old.write(self.old_generation[-1] + b"\n")

    @precondition(lambda self: not self.is_copied)
    @rule()
    def copy(self) -> None:
        self.log.copy()
        self.is_copied = True

    @precondition(lambda self: self.is_copied)
    @rule()
    def truncate(self) -> None:
        self.log.truncate()
        self.is_copied = False
        self.next_generation()

    @precondition(lambda self: not self.is_copied)
    @rule()
    def copy_and_truncate(self) -> None:
        self.log.copytruncate()
        self.next_generation()

    @precondition(lambda self: not self.is_copied and self.is_running and not self.is_partial)
    @rule()
    def delete_and_recreate(self) -> None:
        """What was not read before is lost to everybody, so all is read first."""
        self.bed.pass_linger()
        self.log.recreate()
        self.next_generation()

    @precondition(lambda self: not self.is_copied)
    @rule(which=st.integers(0, 5))
    def compress_a_rotated_file(self, which: int) -> None:
        rotated = sorted(
            path
            for path in self.log.path.parent.iterdir()
            if path != self.log.path and path.suffix != ".gz" and path.stat().st_size
        )
        if rotated:
            compress(rotated[which % len(rotated)])

    @precondition(lambda self: self.is_running)
    @rule()
    def read_and_store_nothing(self) -> None:
        self.bed.look()

    @precondition(lambda self: self.is_running)
    @rule()
    def store_one_chunk(self) -> None:
        self.bed.store()

    @precondition(lambda self: self.is_running)
    @rule()
    def read_and_store(self) -> None:
        self.bed.settle()

    @precondition(lambda self: self.is_running)
    @rule()
    def kill(self) -> None:
        self.bed.kill()
        self.is_running = False

    @precondition(lambda self: not self.is_running)
    @rule()
    def start(self) -> None:
        self.bed.start()
        self.is_running = True

    def teardown(self) -> None:
        try:
            if not self.is_running:
                self.bed.start()
            self.bed.pass_linger()
            last = self.generations[-1][:-1] if self.is_partial else self.generations[-1]
            written = [*(line for lines in self.generations[:-1] for line in lines), *last]
            found = self.bed.lines()
            assert sorted(found) == sorted(written)
            for lines in [*self.generations[:-1], last]:
                of_generation = set(lines)
                assert [line for line in found if line in of_generation] == lines
        finally:
            self.bed.kill()
            self.log.close()
            if self.old is not None:
                self.old.close()
            self.directory.cleanup()


TestRotations = Rotations.TestCase
TestRotations.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
