"""Arrow's values as JSON, a column at a time: pyarrow's kernels do the work, and no Python object is made per value.

A column becomes pieces (bytes, and arrays of bytes), and a row is its columns' pieces one behind the other: they are
joined once. What each type becomes stands in docs/archives.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from flowd.errors import EXIT_IO, FlowdError

TEXT = pa.large_binary()
"""Every text on its way: bytes, as strings need not be UTF-8, and large, as a batch's lines may be."""
NULL = b"null"
ESCAPED = bytes(range(0x20)) + b'"\\'
SHORT_ESCAPES = {b'"': b'\\"', b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}

Piece: TypeAlias = "bytes | pa.Array"
"""What a row is joined from: bytes are the same in every row."""


class NoRecord(FlowdError):
    """Rows that cannot be seen as records: a column's type that has no JSON, or a column that is not there."""

    exit_code = EXIT_IO


def json_texts(rows: pa.RecordBatch) -> pa.Array:
    """A JSON object and a newline for each row, in order: every column a member, under its name.

    Raises NoRecord for a column of a type that JSON has no value for.
    """
    return join(_object_pieces(rows.schema, rows.columns, b"", b"\n"), rows.num_rows)


def text_of(texts: pa.Array) -> pa.Buffer:
    """Texts that were just joined, one behind the other as they lie in memory."""
    if not len(texts):
        return pa.py_buffer(b"")
    _, offsets, content = texts.buffers()
    ends = memoryview(offsets).cast("q")
    begin, end = ends[texts.offset], ends[texts.offset + len(texts)]
    return content.slice(begin, end - begin) if content is not None else pa.py_buffer(b"")


def join(pieces: Iterable[Piece], n: int) -> pa.Array:
    """The pieces of `n` rows as one text a row."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += piece
        elif not isinstance(piece, bytes) or piece:
            joined.append(piece)
    if not any(isinstance(piece, pa.Array) for piece in joined):
        return pa.repeat(_scalar(b"".join(piece for piece in joined if isinstance(piece, bytes))), n)
    if len(joined) == 1:
        return joined[0]
    return pc.binary_join_element_wise(
        *(_scalar(piece) if isinstance(piece, bytes) else piece for piece in joined), _scalar(b"")
    )


def escape(texts: pa.Array) -> pa.Array:
    """Texts as they stand inside of JSON's quotes. What is not UTF-8 stays as it is."""
    found = ESCAPED
    for char in (b"\\", *(bytes((code,)) for code in ESCAPED if code != ord("\\"))):
        if char == b"\\":
            content = bytes(text_of(texts))
            without = content.translate(None, ESCAPED)
            if len(without) == len(content):
                return texts
            found = bytes(set(content) & set(ESCAPED))
        if char in found:
            replacement = SHORT_ESCAPES.get(char) or b"\\u%04x" % char[0]
            texts = pc.replace_substring(texts, char, replacement)
    return texts


def _object_pieces(fields: Iterable[pa.Field], columns: Sequence[pa.Array], before: bytes, after: bytes) -> list[Piece]:
    """An object with a member for each field."""
    pieces: list[Piece] = []
    named = list(zip(fields, columns, strict=True))
    if not named:
        return [before + b"{}" + after]
    for at, (field, column) in enumerate(named):
        opening = before + b"{" if at == 0 else b","
        closing = b"}" + after if at == len(named) - 1 else b""
        try:
            pieces += _pieces(column, opening + json.dumps(field.name, ensure_ascii=False).encode() + b":", closing)
        except NoRecord as error:
            raise NoRecord(f"{field.name}: {error.message}", hint=error.hint) from None
    return pieces


def _pieces(values: pa.Array, before: bytes, after: bytes) -> list[Piece]:
    """A column's values with what stands before and after each."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        if len(values.dictionary) > len(values):  # a few rows of many
            return _pieces(values.dictionary_decode(), before, after)
        # Each of the dictionary's values is written once, with what surrounds it.
        texts = join(_pieces(values.dictionary, before, after), len(values.dictionary))
        if values.null_count or texts.null_count:
            return [pc.fill_null(texts.take(values.indices), _scalar(before + NULL + after))]
        return [texts.take(values.indices)]
    if isinstance(values, pa.ExtensionArray):
        return _pieces(values.storage, before, after)
    if pa.types.is_run_end_encoded(kind):
        return _pieces(pc.run_end_decode(values), before, after)
    if values.null_count == len(values):
        return [before + NULL + after]
    pieces = _valid_pieces(values)
    if not values.null_count:
        return [before, *pieces, after]
    texts = pc.if_else(values.is_valid(), join(pieces, len(values)), _scalar(NULL))
    return [before, pc.fill_null(texts, _scalar(NULL)), after]


def _valid_pieces(values: pa.Array) -> list[Piece]:
    """A column's values; what comes of a null one is not looked at."""
    kind = values.type
    types = pa.types
    if is_text(kind):
        return [b'"', escape(values.cast(TEXT)), b'"']
    if types.is_boolean(kind):
        return [pc.if_else(values, _scalar(b"true"), _scalar(b"false"))]
    if types.is_integer(kind) or types.is_decimal(kind):
        return [_cast(values)]
    if types.is_floating(kind):
        return [_write_floats(values)]
    if types.is_timestamp(kind):
        written = pc.replace_substring(_cast(values.view(pa.timestamp(kind.unit))), b" ", b"T", max_replacements=1)
        return [b'"', written, b'Z"' if kind.tz else b'"']
    if types.is_date(kind) or types.is_time(kind):
        return [b'"', _cast(values), b'"']
    if types.is_duration(kind):
        return [_cast(values.cast(pa.int64()))]
    if types.is_struct(kind):
        return _object_pieces(kind.fields, values.flatten(), b"", b"")
    if types.is_map(kind):
        return _write_maps(values)
    if is_list(kind):
        items = values.flatten()
        return _write_lists(join(_pieces(items, b"", b""), len(items)), pc.list_value_length(values), b"[", b"]")
    raise NoRecord(f"flowd has no JSON for values of type {kind}", hint="leave the column out, or cast it")


def is_text(kind: pa.DataType) -> bool:
    """Whether a type's values are texts to flowd: strings, and bytes of any kind."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Whether a type's values are lists, however they lie in memory."""
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _cast(values: pa.Array) -> pa.Array:
    return values.cast(pa.large_string()).cast(TEXT)


def _write_floats(values: pa.Array) -> pa.Array:
    """Numbers with a point or an exponent, so that they stay floats; what JSON cannot say (NaN, infinity) is null."""
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    texts = values.cast(pa.large_string())
    has_mark = pc.match_substring_regex(texts, "[.en]")
    whole = pc.binary_join_element_wise(texts.cast(TEXT), _scalar(b".0"), _scalar(b""))
    written = pc.if_else(has_mark, texts.cast(TEXT), whole)
    return pc.if_else(pc.is_finite(values), written, _scalar(NULL))


def _write_maps(values: pa.Array) -> list[Piece]:
    """Objects. Keys that are no texts are their JSON as a text."""
    kind = values.type
    pairs = values.cast(pa.list_(pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])))
    keys, held = pairs.flatten().flatten()
    key = join(_pieces(keys, b"", b""), len(keys))
    if not is_text(keys.type):
        key = join([b'"', escape(pc.replace_substring(key, b'"', b"")), b'"'], len(keys))
    members = join([key, b":", *_pieces(held, b"", b"")], len(keys))
    return _write_lists(members, pc.list_value_length(pairs), b"{", b"}")


def _write_lists(texts: pa.Array, lengths: pa.Array, opening: bytes, closing: bytes) -> list[Piece]:
    """Texts gathered into lists of these lengths (null: none of them), with commas between."""
    counted = pc.fill_null(lengths, 0).cast(pa.int64())
    ends = pc.cumulative_sum(counted)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    return [opening, pc.binary_join(pa.LargeListArray.from_arrays(offsets, texts), _scalar(b",")), closing]


def _scalar(text: bytes) -> pa.Scalar:
    return pa.scalar(text, TEXT)
