"""Stored lines replayed against new filters, a file at a time, here or on a cluster, and told as they are done.

What a file gives can be pickled and added up in any order: days to months, files to a year.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import Input, read_batches
from flowd.comparison import Change, Comparison, Pair, Sum

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

AHEAD = 2
"""So many files for each of a cluster's threads wait there: no thread is idle, and a year of files is no crowd."""


class Replayed(NamedTuple):
    """What new filters decide otherwise than old ones on the lines of a file, or of many.

    Sums are lines and their bytes with newlines. `failures` say what could not be read, and why; what was read before
    counts.
    """

    lines: int = 0
    bytes: int = 0
    old_dropped: Sum = Sum(0, 0)
    new_dropped: Sum = Sum(0, 0)
    changes: tuple[Change, ...] = ()
    failures: tuple[str, ...] = ()

    def plus(self, other: Replayed) -> Replayed:
        """Both together. Of each pair of rules as many examples stay as one of both had."""
        changes: dict[Pair, Change] = {change.pair: change for change in self.changes}
        for change in other.changes:
            known = changes.get(change.pair)
            if known is not None:
                most = max(len(known.examples), len(change.examples))
                examples = (*known.examples, *change.examples)[:most]
                change = Change(*known.pair, known.lines + change.lines, known.bytes + change.bytes, examples)
            changes[change.pair] = change
        return Replayed(
            self.lines + other.lines,
            self.bytes + other.bytes,
            _add(self.old_dropped, other.old_dropped),
            _add(self.new_dropped, other.new_dropped),
            tuple(sorted(changes.values(), key=lambda change: (-change.lines, change.pair))),
            (*self.failures, *other.failures),
        )


def replay_file(
    path: str, old: FilterSet, new: FilterSet, *, examples: int = 0, line_column: str | None = None
) -> Replayed:
    """Replays one file: plain, gzip, zstd or Parquet. What cannot be read is told in `failures`, not raised."""
    comparison = Comparison(old, new, examples=examples)
    failures: tuple[str, ...] = ()
    try:
        with Input(path, line_column) as source:
            for batch in read_batches(source):
                comparison.add(batch.lines)
                batch.release()
    except BadArchive as error:
        failures = (error.message,)
    except OSError as error:
        failures = (f"{path}: {error.strerror or error}",)
    return Replayed(
        comparison.lines,
        comparison.bytes,
        comparison.old_dropped,
        comparison.new_dropped,
        tuple(comparison.changes),
        failures,
    )


def replay(
    paths: Iterable[str],
    old: FilterSet,
    new: FilterSet,
    *,
    client: Any = None,
    examples: int = 0,
    line_column: str | None = None,
) -> Iterator[tuple[str, Replayed]]:
    """Each file with what came of it, as soon as it is done.

    With `client`, a `dask.distributed.Client`, the files are replayed by its workers, who must be able to read them
    under these paths, and come in the order in which they are done; without, here, one after the other.
    """
    if client is None:
        for path in paths:
            yield path, replay_file(path, old, new, examples=examples, line_column=line_column)
        return
    from distributed import as_completed

    # Sent and compiled once a worker, not once a file. Under the names that Dask makes of what is in them, sets that
    # were just given back are waited for without end when they are sent again.
    sets = client.scatter([old, new], broadcast=True, hash=False)
    left = iter(paths)
    under_way = {}

    def submit(path: str) -> Any:
        future = client.submit(replay_file, path, *sets, examples=examples, line_column=line_column, pure=False)
        under_way[future.key] = path
        return future

    most = AHEAD * max(1, sum(client.nthreads().values()))
    done = as_completed([submit(path) for path in islice(left, most)])
    for future in done:
        path = under_way.pop(future.key)
        result: Replayed = future.result()
        following = next(left, None)
        if following is not None:
            done.add(submit(following))
        yield path, result


def _add(one: Sum, other: Sum) -> Sum:
    return Sum(one.lines + other.lines, one.bytes + other.bytes)
