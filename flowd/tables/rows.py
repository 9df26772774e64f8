"""Rows as a filter set sees them: which columns it reads, the lines that stand for rows, and which rows are kept.

A row means what the JSON line of it means. A filter set reads the columns that its rules name, so only those are
written: what the others hold cannot change a verdict, but where rules let samples go, which are chosen by the whole
line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from flowd.tables.json_texts import TEXT, NoRecord, is_text, join, json_texts, text_of

if TYPE_CHECKING:
    from flowd.filterset import FilterSet

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)

ROWS_AT_ONCE = 1 << 16
"""So many rows are written as lines at a time: memory is bounded, and a call costs little beside its rows."""
LINE_COLUMN_KEY = b"flowd.line_column"
"""In a schema's metadata: the column that holds lines. flowd writes it, so that it knows its own files."""


def columns_read(filters: FilterSet) -> frozenset[str] | None:
    """The names of the columns that decide, whatever a table has; None where all of them do."""
    steps = [step for section in filters.text.filters for step in section.steps]
    if any(step.sample for step in steps):
        return None
    first = {rule.condition.path[0] for step in steps for rule in step.rules}
    return frozenset(name for name in first if isinstance(name, str))


class RowLines:
    """How the rows of one schema become lines: JSON with the `wanted` columns (None: all of them) as its members.

    With `line_column`, or where the schema's metadata names one, a row is the line that this column holds.
    """

    def __init__(self, schema: pa.Schema, wanted: frozenset[str] | None = None, line_column: str | None = None) -> None:
        self.line_column = line_column if line_column is not None else find_line_column(schema)
        if self.line_column is not None:
            _check_line_column(schema, self.line_column)
            wanted = frozenset((self.line_column,))
        self.columns = [name for name in dict.fromkeys(schema.names) if wanted is None or name in wanted]
        """The names of the columns that have to be there."""
        self._names = frozenset(self.columns)

    def texts(self, rows: pa.RecordBatch) -> pa.Array:
        """A line with its newline for each row. The rows may have other columns, too."""
        if self.line_column is not None:
            return lines_held(rows.column(rows.schema.get_all_field_indices(self.line_column)[-1]))
        return json_texts(rows.select([at for at, name in enumerate(rows.schema.names) if name in self._names]))

    def judge(self, filters: FilterSet, lines: pa.Array) -> bytes:
        """A letter for each of these lines, as FilterSet.verdicts has them; counts as that does."""
        return filters.verdicts(text_of(lines), format=None if self.line_column is not None else "json")


def lines_read(filters: FilterSet, schema: pa.Schema, line_column: str | None = None) -> RowLines:
    """Rows as lines with as much in them as the filters read."""
    return RowLines(schema, columns_read(filters), line_column)


def find_line_column(schema: pa.Schema) -> str | None:
    """The column that holds lines, where whoever wrote the table has said so."""
    said = (schema.metadata or {}).get(LINE_COLUMN_KEY)
    return said.decode("utf-8", "replace") if said is not None else None


def lines_held(texts: pa.Array) -> pa.Array:
    """The lines that a column of texts holds. One newline at a text's end is the line's own; null is an empty line.

    A text with a newline inside is no line: an empty one, which is malformed, stands for it.
    """
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    lines = pc.fill_null(texts.cast(TEXT), pa.scalar(b"", TEXT))
    if bytes(text_of(lines)).find(b"\n") >= 0:
        lines = pc.replace_substring_regex(lines, rb"\n\z", b"")
        has_more = pc.match_substring(lines, b"\n")
        lines = pc.if_else(has_more, pa.scalar(b"", TEXT), lines)
    return join([lines, b"\n"], len(lines))


def keep_mask(letters: bytes, *, malformed: Literal["keep", "drop"] = "keep", invert: bool = False) -> pa.BooleanArray:
    """Which rows these verdicts keep; `malformed` and `invert` as FilterSet.apply has them."""
    verdicts = pa.Array.from_buffers(pa.uint8(), len(letters), [None, pa.py_buffer(letters)])
    kept = pc.not_equal(verdicts, ord("D"))
    if malformed == "drop":
        kept = pc.and_(kept, pc.not_equal(verdicts, ord("M")))
    return pc.invert(kept) if invert else kept


def filter_rows(
    filters: FilterSet,
    rows: Rows,
    *,
    line_column: str | None = None,
    malformed: Literal["keep", "drop"] = "keep",
    invert: bool = False,
) -> Rows:
    """The rows that the filters keep, of the same schema."""
    as_lines = lines_read(filters, rows.schema, line_column)
    batches = rows.to_batches(max_chunksize=ROWS_AT_ONCE) if isinstance(rows, pa.Table) else slices(rows)
    letters = (as_lines.judge(filters, as_lines.texts(batch)) for batch in batches)
    masks = [keep_mask(some, malformed=malformed, invert=invert) for some in letters]
    if isinstance(rows, pa.Table):
        return pa.Table.from_batches(map(select_rows, batches, masks), rows.schema)
    return select_rows(rows, pa.concat_arrays(masks) if masks else pa.array([], pa.bool_()))


def select_rows(rows: pa.RecordBatch, mask: pa.BooleanArray) -> pa.RecordBatch:
    """The rows that a mask keeps, copied as they are."""
    if mask.true_count == len(mask):
        return rows
    try:
        return rows.filter(mask)
    except pa.ArrowNotImplementedError:  # types that pyarrow selects no rows of: views, and what holds them
        return _select_runs(rows, mask)


def _select_runs(rows: pa.RecordBatch, mask: pa.BooleanArray) -> pa.RecordBatch:
    """The same by runs of rows that are all kept."""
    runs = pc.run_end_encode(mask, run_end_type=pa.int32())
    begin, kept = 0, [rows.slice(0, 0)]
    for end, is_kept in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        if is_kept:
            kept.append(rows.slice(begin, end - begin))
        begin = end
    columns = [pa.concat_arrays([run.column(at) for run in kept]) for at in range(rows.num_columns)]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def slices(rows: pa.RecordBatch) -> list[pa.RecordBatch]:
    """A record batch in parts of which each is written as lines at once."""
    return [rows.slice(at, ROWS_AT_ONCE) for at in range(0, rows.num_rows, ROWS_AT_ONCE)]


def _check_line_column(schema: pa.Schema, name: str) -> None:
    at = schema.get_all_field_indices(name)
    if not at:
        raise NoRecord(f"there is no column {name!r} to hold lines", hint=f"the columns are {', '.join(schema.names)}")
    kind = schema.field(at[-1]).type
    if not is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
        raise NoRecord(f"the column {name!r} holds no lines: it is of type {kind}", hint="name one of strings")
