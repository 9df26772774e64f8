"""A stream's filters, compiled: what users of the library hold. Immutable, shared by threads, picklable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowd import _core
from flowd.errors import Problem
from flowd.filters.load import read_path, read_text
from flowd.filters.model import FilterText
from flowd.messages import AppliedRecords, read_figures
from flowd.program import CompiledProgram, CompiledRule, build_program

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from flowd.explanation import Explanation
    from flowd.tables.rows import Rows

Format = Literal["auto", "json", "text24", "text27"]

STRETCH_BYTES = 1 << 20
"""How much of a file a thread reads and filters at once: little enough to stay in a core's own cache."""


class Hits(NamedTuple):
    """Lines, and their bytes with newlines, that a rule has decided."""

    lines: int
    bytes: int


class Applied(NamedTuple):
    """What one call of FilterSet.apply did: the kept lines, and numbers of lines."""

    kept: bytes
    lines: int
    kept_lines: int
    malformed: int
    errors: int


class Borrowed(NamedTuple):
    """What one call of FilterSet.apply_borrowing did: as Applied, but `kept` may be what was given."""

    kept: Buffer
    lines: int
    kept_lines: int
    malformed: int
    errors: int


class Written(NamedTuple):
    """What one call of FilterSet.write did: what is still to be written, the kept bytes, and numbers of lines.

    `is_line_open` says that the last kept line has no newline.
    """

    rest: bytes
    kept_bytes: int
    is_line_open: bool
    lines: int
    kept_lines: int
    malformed: int
    errors: int


class FilterSet:
    """The filters that apply to one stream, compiled.

    Every method may be called from many threads at once; the GIL is released while lines are walked. A pickle holds
    the resolved rules (includes and environment already read); counters start at 0 after unpickling.
    """

    __slots__ = ("_compiled", "_evaluator", "_format", "_text")

    def __init__(self, text: FilterText, *, format: Format = "auto") -> None:
        if format not in _core.FORMATS:
            raise ValueError(f"format is {format!r}; it must be one of {', '.join(_core.FORMATS)}")
        self._text = text
        self._format: Format = format
        self._compiled = build_program(text)
        self._evaluator = _core.Evaluator(self._compiled.program, os.cpu_count() or 1)

    def filter(self, lines: Buffer, *, format: Format | None = None) -> bytes:
        """The kept lines, byte for byte and in order.

        `lines` is any object with the buffer protocol that holds whole lines ending in newlines; the last may lack it,
        and none is added; what it holds must not change while the call runs, and is copied where its bytes do not lie
        together. Malformed lines and lines on which matching failed are kept. `format` fixes the lines' form.
        """
        return self.apply(lines, format=format).kept

    def verdicts(self, lines: Buffer, *, format: Format | None = None) -> bytes:
        """One letter a line: K kept, D dropped, M malformed (kept by policy), E error while matching (kept)."""
        letters: bytes
        try:
            letters = self._evaluator.verdicts(lines, format or self._format)
        except BufferError:
            letters = self._evaluator.verdicts(_join_bytes(lines), format or self._format)
        return letters

    def apply(
        self,
        lines: Buffer,
        *,
        format: Format | None = None,
        malformed: Literal["keep", "drop"] = "keep",
        invert: bool = False,
    ) -> Applied:
        """Filters like `filter` and says how many lines there were, were kept, malformed, or met errors.

        `malformed` says what becomes of malformed lines; `invert` keeps the dropped lines instead of the others.
        """
        drop_malformed = {"keep": False, "drop": True}[malformed]
        try:
            return Applied(*self._evaluator.apply(lines, format or self._format, drop_malformed, invert))
        except BufferError:
            return Applied(*self._evaluator.apply(_join_bytes(lines), format or self._format, drop_malformed, invert))

    def apply_borrowing(self, lines: Buffer) -> Borrowed:
        """Filters like `apply`, without a copy where all of it is kept: then the kept lines are `lines` itself."""
        return Borrowed(*self._evaluator.apply(lines, self._format, borrow=True))

    def apply_records(
        self,
        entries: Buffer,
        *,
        time_key: str | None = None,
        is_bare: bool = False,
        invert: bool = False,
        most_bytes: int = 0,
    ) -> AppliedRecords:
        """Filters the records of a run of Forward entries (msgpack, `[time, record]` one after the other), each as the
        JSON line that it becomes; keeps those lines. docs/forward.md says how a record is written.

        `time_key` adds the entry's time under this key, unless the record has it. `is_bare` is for one entry without
        its list's header. `invert` keeps the dropped lines instead. `most_bytes` ends the reading where one record more
        would make more bytes of lines, kept or not; at least one is read, and `read.unread_bytes` says how many bytes
        of entries are left. Entries that are not records are passed over and counted by their problem.
        """
        key = None if time_key is None else time_key.encode()
        kept, kept_records, errors, figures = self._evaluator.apply_records(entries, key, is_bare, invert, most_bytes)
        return AppliedRecords(kept, kept_records, errors, read_figures(figures))

    def filter_table(
        self,
        rows: Rows,
        *,
        line_column: str | None = None,
        malformed: Literal["keep", "drop"] = "keep",
        invert: bool = False,
    ) -> Rows:
        """The kept rows of a pyarrow Table or RecordBatch, as one of the same schema.

        A row is kept if the JSON line of it would be: columns are the keys. With `line_column` a row is the line which
        that column holds. docs/archives.md says what each type means. Raises NeedsPyarrow, and NoRecord for rows that
        cannot be seen as records. The GIL is released.
        """
        from flowd.tables.needed import require_pyarrow

        require_pyarrow("filter_table")
        from flowd.tables.rows import filter_rows

        return filter_rows(self, rows, line_column=line_column, malformed=malformed, invert=invert)

    def write(
        self,
        fd: int,
        lines: Buffer,
        *,
        format: Format | None = None,
        malformed: Literal["keep", "drop"] = "keep",
        invert: bool = False,
    ) -> Written:
        """Filters like `apply` and writes the kept lines to a descriptor from where they lie, without a copy.

        What the descriptor does not take at once (a full pipe, an error) comes back as `rest`: write that to learn why.
        """
        drop_malformed = {"keep": False, "drop": True}[malformed]
        return Written(*self._evaluator.write(fd, lines, format or self._format, drop_malformed, invert))

    def run_over(
        self,
        source: int,
        sink: int,
        start: int = 0,
        *,
        format: Format | None = None,
        malformed: Literal["keep", "drop"] = "keep",
        invert: bool = False,
        is_line_open: bool = False,
        stretch_bytes: int = STRETCH_BYTES,
    ) -> _core.FileRun:
        """A run over a file from the offset `start`, kept lines written to the descriptor `sink` (-1: to nobody).

        Call its `work` in each of the threads that are to do it. `is_line_open` says that the last line written before
        has no newline: one is put in if anything is kept.
        """
        return _core.FileRun(
            self._evaluator,
            source,
            sink,
            start,
            format or self._format,
            malformed == "drop",
            invert,
            is_line_open,
            stretch_bytes,
        )

    def explain(self, line: Buffer | str, *, format: Format | None = None) -> Explanation:
        """The verdict on one line, what decided it, and everything that was looked at. Counts nothing."""
        from time import time_ns

        from flowd.explanation import explain_line

        one = line.encode() if isinstance(line, str) else bytes(line)
        now_ns = time_ns()
        traced = self._evaluator.trace(one.removesuffix(b"\n"), format or self._format)
        return explain_line(self._text, self._compiled, traced, now_ns)

    def twin(self, threads: int = 0) -> FilterSet:
        """The same filters with counters and caches of their own: nothing is read or compiled again. So many threads
        may use it at once, or as many as there are cores where those are more; others wait for them."""
        twin = FilterSet.__new__(FilterSet)
        twin._text, twin._format, twin._compiled = self._text, self._format, self._compiled
        twin._evaluator = _core.Evaluator(self._compiled.program, max(threads, os.cpu_count() or 1))
        return twin

    @property
    def hits(self) -> dict[str, Hits]:
        """For every rule and group that can decide, and `default`, what it has decided so far, in all threads."""
        return {
            name: Hits(*counts)
            for name, counts in zip(self._compiled.deciders, self._evaluator.counters(), strict=True)
        }

    @property
    def rules(self) -> tuple[CompiledRule, ...]:
        """The rules in the order they are evaluated."""
        return self._compiled.rules

    def ended(self, now_ns: int) -> tuple[str, ...]:
        """The rules whose end has come by this time (nanoseconds since 1970): they do nothing any more."""
        return tuple(
            step.group for section in self._text.filters for step in section.steps if 0 < step.until_ns <= now_ns
        )

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What was doubtful in the text, with its places."""
        return self._text.warnings

    @property
    def stream(self) -> str:
        """The stream (tag) that the set was resolved for."""
        return self._text.stream

    @property
    def dialect(self) -> str:
        """The dialect that the text was read in."""
        return self._text.dialect

    @property
    def text(self) -> FilterText:
        """The filters as plain data."""
        return self._text

    @property
    def compiled(self) -> CompiledProgram:
        """The filters as the core has them, for those who run them otherwise than a set does."""
        return self._compiled

    @property
    def evaluator(self) -> _core.Evaluator:
        """What runs the set and counts its hits, for those who run it otherwise, too (flowd.fanout)."""
        return self._evaluator

    @property
    def cache_stat(self) -> dict[str, int]:
        """What the caches hold now: `contexts`, `bytes`, and `resets`, how often they were emptied at their bound."""
        stat: dict[str, int] = self._evaluator.cache_stat()
        return stat

    def __repr__(self) -> str:
        size = f"filters={len(self._text.filters)} rules={len(self.rules)}"
        return f"<FilterSet {self.dialect} stream={self.stream!r} {size}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._text, self._format)


def _join_bytes(lines: Buffer) -> bytes:
    """The bytes of what has them apart, as a slice with a step. Raises BufferError for what cannot be read."""
    return memoryview(lines).tobytes()


def _rebuild(text: FilterText, format: Format) -> FilterSet:
    return FilterSet(text, format=format)


def load(
    path: str | os.PathLike[str],
    stream: str = "flows",
    dialect: str | None = None,
    skip_unsupported: bool = False,
    *,
    format: Format = "auto",
) -> FilterSet:
    """Compiles the filters of a file, a folder with `flow` and `dns`, or a ConfigMap's manifest or mount.

    `dialect` None recognises it. Raises FileNotFoundError, or FilterError with every problem and its place.
    """
    return FilterSet(read_path(path, stream, dialect, skip_unsupported), format=format)


def compile(
    text: str,
    stream: str = "flows",
    dialect: str | None = "fluentd",
    origin: str = "<text>",
    skip_unsupported: bool = False,
    *,
    format: Format = "auto",
) -> FilterSet:
    """Compiles the filters in a text; `origin` is its name in problems. Includes are relative to the working directory.

    Raises FilterError with every problem and its place.
    """
    return FilterSet(read_text(text, stream, dialect, origin, skip_unsupported), format=format)
