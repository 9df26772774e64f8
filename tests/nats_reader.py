"""A durable consumer of JetStream as a process that can be killed: what it read and committed goes into a file, a line
each. Run with the URL and the file; SIGTERM or SIGKILL ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import flowd

NAME = "reader"


class Read(NamedTuple):
    """What all runs of a reader have told. `lost` lines never came; `again` came a second time although they were
    committed, or within one run; `disordered` batches came behind a later one of their node in one run."""

    runs: int
    lines: int
    lost: int
    again: int
    disordered: int


class Reader:
    """The process, and its runs so far."""

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory
        self._files: list[Path] = []
        self._said: list[list[dict[str, Any]]] = []
        self._offsets: list[int] = []
        self._seen: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._files.append(self._directory / f"read-{len(self._files)}")
        self._files[-1].touch()
        self._said.append([])
        self._offsets.append(0)
        command = [sys.executable, __file__, self._url, str(self._files[-1])]
        self._process = subprocess.Popen(command)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def again(self) -> None:
        self.kill()
        self.start()

    def seen(self) -> int:
        """How many different lines were read so far."""
        self._look()
        return len(self._seen)

    def judge(self, sent: set[int]) -> Read:
        """When everything sent was read."""
        self._look()
        counted: Counter[int] = Counter()
        again = disordered = 0
        done: set[tuple[str, int]] = set()
        for run in self._said:
            here: set[tuple[str, int]] = set()
            latest: dict[str, int] = {}
            for said in run:
                name = tuple(said.get("batch") or said["committed"])
                if "committed" in said:
                    done.update(here)
                    continue
                again += name in done or name in here
                disordered += name[1] < latest.get(name[0], 0)
                latest[name[0]] = max(name[1], latest.get(name[0], 0))
                here.add(name)
                counted.update(said["numbers"])
        return Read(len(self._files), len(counted), len(sent - counted.keys()), again, disordered)

    def _look(self) -> None:
        """Takes what the runs have said since, but for a last line that is cut."""
        for number, path in enumerate(self._files):
            with open(path, "rb") as file:
                file.seek(self._offsets[number])
                said = file.read()
            whole = said[: said.rfind(b"\n") + 1]
            self._offsets[number] += len(whole)
            for line in whole.splitlines():
                self._said[number].append(json.loads(line))
                self._seen.update(self._said[number][-1].get("numbers", ()))


def main(url: str, path: str) -> None:
    with open(path, "w") as out, flowd.Consumer(url, NAME) as consumer:
        committed_s = time.monotonic()
        for batch in consumer:
            name = batch.epoch.hex(), batch.seq
            numbers = [json.loads(line)["n"] for line in bytes(batch.lines).splitlines()]
            print(json.dumps({"batch": name, "numbers": numbers}), file=out, flush=True)
            if time.monotonic() - committed_s > 0.1:
                consumer.commit()
                committed_s = time.monotonic()
                print(json.dumps({"committed": name}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
