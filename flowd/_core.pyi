"""Types of the native core. What the names mean stands in flowd/core/*.pxi; use flowd.filterset instead."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from typing_extensions import Buffer, disjoint_base

_EntryFigures = tuple[int, tuple[int, ...], int, int, int, int]
_Place = tuple[int, int]
_PackedColumns = Iterable[tuple[bytes, int, int, int]]
_MessageParts = tuple[str, int, _Place, _Place, _Place, int]

HAS_LINEAR: bool
FORMATS: dict[str, int]

class RegexError(ValueError): ...
class RefusedByLinearEngine(ValueError): ...

@disjoint_base
class Regex:
    source: bytes
    options: int
    def __new__(cls, source: bytes, options: int = 0) -> Self: ...
    def search(self, value: bytes, step_limit: int = ...) -> bool | None: ...

@disjoint_base
class LinearSet:
    count: int
    def __new__(cls, expressions: Sequence[tuple[bytes, int]]) -> Self: ...
    def scan(self, value: bytes) -> list[int]: ...

@disjoint_base
class Program:
    n_fields: int
    n_subjects: int
    n_predicates: int
    n_sections: int
    n_rules: int
    strict: bool
    def __new__(
        cls,
        fields: Sequence[tuple[Any, ...]],
        subjects: Sequence[tuple[Any, ...]],
        predicates: Sequence[tuple[Any, ...]],
        sections: Sequence[Any],
        rules: int,
        strict: bool,
    ) -> Self: ...

@disjoint_base
class Memory: ...

@disjoint_base
class Context:
    def __new__(cls, program: Program) -> Self: ...

@disjoint_base
class Evaluator:
    program: Program
    contexts: int
    def __new__(cls, program: Program, contexts: int) -> Self: ...
    def verdicts(self, lines: Buffer, form: str = "auto") -> bytes: ...
    def apply(
        self,
        lines: Buffer,
        form: str = "auto",
        drop_malformed: bool = False,
        invert: bool = False,
        borrow: bool = False,
    ) -> tuple[Any, int, int, int, int]: ...
    def write(
        self, fd: int, lines: Buffer, form: str = "auto", drop_malformed: bool = False, invert: bool = False
    ) -> tuple[bytes, int, bool, int, int, int, int]: ...
    def apply_records(
        self,
        entries: Buffer,
        time_key: bytes | None = None,
        is_bare: bool = False,
        invert: bool = False,
        most_bytes: int = 0,
    ) -> tuple[bytes, int, int, _EntryFigures]: ...
    def counters(self) -> list[tuple[int, int]]: ...
    def join(self, fan_out: FanOut, number: int) -> None: ...
    def leave(self, fan_out: FanOut) -> None: ...
    def cache_stat(self) -> dict[str, int]: ...
    def trace(self, line: bytes, form: str = "auto") -> tuple[Any, ...]: ...

class MalformedMessage(ValueError): ...

@disjoint_base
class MessageWalker:
    most_bytes: int
    def __new__(cls, most_bytes: int) -> Self: ...
    def walk(self, buffer: Buffer, start: int = 0) -> int | _MessageParts: ...
    def reset(self) -> None: ...

@disjoint_base
class EntryRun:
    def __new__(cls, time_key: bytes | None, is_bare: bool, most_bytes: int) -> Self: ...

@disjoint_base
class EntryPacker:
    def __new__(cls, time_key: bytes, columns24: _PackedColumns, columns27: _PackedColumns) -> Self: ...
    def pack(self, lines: Buffer, time_ns: int) -> tuple[bytes, int, int]: ...

@disjoint_base
class FileRun:
    is_line_open: bool
    end: int
    lines: int
    bytes: int
    kept_lines: int
    kept_bytes: int
    malformed: int
    errors: int
    read_error: int
    write_error: int
    def __new__(
        cls,
        evaluator: Evaluator,
        source: int,
        sink: int,
        begin: int = 0,
        form: str = "auto",
        drop_malformed: bool = False,
        invert: bool = False,
        is_line_open: bool = False,
        stretch_bytes: int = ...,
    ) -> Self: ...
    def work(self, most: int) -> bool: ...
    def stop(self) -> None: ...

@disjoint_base
class Turns: ...

@disjoint_base
class Comparer:
    def __new__(cls, joint: Program | None, old: Program, new: Program, old_sections: int, examples: int) -> Self: ...
    def add(self, lines: Buffer, form: str = "auto") -> None: ...
    def take(self) -> list[tuple[int, str, int, str, int, int, list[bytes]]]: ...

@disjoint_base
class Outcomes:
    def __new__(cls, rules: Sequence[int]) -> Self: ...

@disjoint_base
class Pieces:
    def __new__(cls, n_outputs: int) -> Self: ...

@disjoint_base
class FanOut:
    n_outputs: int
    def __new__(cls, program: Program, outputs: Sequence[tuple[int, int, Sequence[int]]]) -> Self: ...
    def choose(self, wanted: Sequence[int]) -> None: ...
    def decide(self, lines: Buffer, form: str = "auto") -> int: ...
    def gather(self) -> tuple[list[Any], list[int], list[int], list[int]]: ...
    def hits(self, number: int) -> list[tuple[int, int]]: ...
    def cache_stat(self) -> dict[str, int]: ...

VALUE_TESTS: dict[str, int]
MESSAGE_KINDS: tuple[str, ...]
ENTRY_PROBLEMS: tuple[str, ...]

def scan_newlines(lines: Buffer) -> int: ...
def engine_versions() -> dict[str, str]: ...
def find_linear_fault() -> str: ...
def write_records(
    entries: Buffer, time_key: bytes | None = None, is_bare: bool = False, most_bytes: int = 0
) -> tuple[bytes, _EntryFigures]: ...
def simd() -> tuple[str, tuple[str, ...]]: ...
