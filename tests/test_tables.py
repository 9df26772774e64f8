"""Arrow's rows are read as the JSON lines that they mean, and a filter set keeps exactly those rows."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from cli_bed import DEV_FILTER, ROOT, json_line, text_line
from hypothesis import given
from hypothesis import strategies as st
from tables_bed import batches, plain_line, plain_row

import flowd
from flowd.errors import FlowdError
from flowd.tables.json_texts import NoRecord, json_texts, text_of
from flowd.tables.rows import ROWS_AT_ONCE, columns_read, filter_rows, keep_mask, lines_read

DEV = flowd.compile(DEV_FILTER)


def section(*rules: str) -> str:
    return "<filter flows>\n@type grep\n" + "".join(f"<exclude>\n{rule}\n</exclude>\n" for rule in rules) + "</filter>"


FILTERS = [
    flowd.compile(section("key a\npattern dev")),
    flowd.compile(section("key a\npattern /^$/", "key b\npattern /[5-9]|é/")),
    flowd.compile(section("key $.a.b\npattern /./", "key $.a[0]\npattern /^1/")),
    flowd.compile(section("key $['a.b']\npattern /0$/", "key c d\npattern /T|true|Z/")),
    flowd.compile(section("key a\npattern /nil|=>|\\{/", "key b\npattern /\\[|\\\\/")),
    flowd.compile("<filter flows>\n@type flowd\n<exclude>\nkey a\nnull true\n</exclude>\n</filter>", dialect=None),
    flowd.compile("<filter flows>\n@type flowd\n<exclude>\nkey a\n>= 1\n</exclude>\n</filter>", dialect=None),
    flowd.compile("<filter flows>\n@type flowd\n<exclude>\nkey a\nexists true\n</exclude>\n</filter>", dialect=None),
    flowd.compile(section()),
]


def lines_of(rows: pa.RecordBatch) -> bytes:
    return bytes(text_of(json_texts(rows)))


def read(line: bytes) -> Any:
    return json.loads(line.decode("utf-8", "surrogateescape"), parse_float=Decimal)


def as_decimals(value: Any) -> Any:
    """The same with numbers that compare by their digits."""
    if isinstance(value, dict):
        return {key: as_decimals(held) for key, held in value.items()}
    if isinstance(value, list):
        return [as_decimals(item) for item in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


@given(rows=batches())
def test_a_row_is_written_as_what_it_means(rows: pa.RecordBatch) -> None:
    lines = lines_of(rows).splitlines()
    assert [read(line) for line in lines] == [as_decimals(plain_row(row, rows.schema)) for row in rows.to_pylist()]


@given(rows=batches(), filters=st.sampled_from(FILTERS))
def test_a_row_is_kept_if_its_line_is(rows: pa.RecordBatch, filters: flowd.FilterSet) -> None:
    lines = [plain_line(row, rows.schema) for row in rows.to_pylist()]
    wanted = b"".join(filters.verdicts(line, format="json") for line in lines)
    as_lines = lines_read(filters, rows.schema)
    assert as_lines.judge(filters, as_lines.texts(rows)) == wanted == filters.verdicts(lines_of(rows), format="json")
    kept = filters.filter_table(rows)
    assert kept.schema.equals(rows.schema, check_metadata=True)
    assert lines_of(kept).splitlines() == [
        line for line, letter in zip(lines_of(rows).splitlines(), wanted, strict=True) if letter != ord("D")
    ]


def test_types_become_what_the_page_says() -> None:
    rows = pa.record_batch(
        {
            "whole": pa.array([1.0, float("nan"), None]),
            "half": pa.array([0.5, float("inf"), None], pa.float16()),
            "tiny": pa.array([1e-7, 1e300, -0.0]),
            "decimal": pa.array([Decimal("12.30"), Decimal("0.00"), None]),
            "stamp": pa.array([1_700_000_000_123_456_789, 0, None], pa.timestamp("ns", "UTC")),
            "naive": pa.array([1_700_000_000, 0, None], pa.timestamp("s")),
            "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int8())),
            "runs": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["x", None])),
            "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"abcdefghijklmnop"] * 3, pa.binary(16))),
        }
    )
    assert lines_of(rows).decode().splitlines() == [
        '{"whole":1.0,"half":0.5,"tiny":1e-7,"decimal":12.30,"stamp":"2023-11-14T22:13:20.123456789Z",'
        '"naive":"2023-11-14T22:13:20","map":{"a":1},"runs":"x","uuid":"abcdefghijklmnop"}',
        '{"whole":null,"half":null,"tiny":1e+300,"decimal":0.00,"stamp":"1970-01-01T00:00:00.000000000Z",'
        '"naive":"1970-01-01T00:00:00","map":{},"runs":"x","uuid":"abcdefghijklmnop"}',
        '{"whole":null,"half":null,"tiny":-0.0,"decimal":null,"stamp":null,"naive":null,"map":null,"runs":null,'
        '"uuid":"abcdefghijklmnop"}',
    ]


def test_bytes_that_are_no_text_stay_as_they_are() -> None:
    assert lines_of(pa.record_batch({"a": [b"\xff\x00dev", b"\xfe"]})) == b'{"a":"\xff\\u0000dev"}\n{"a":"\xfe"}\n'


def test_of_equal_names_the_last_counts() -> None:
    rows = pa.RecordBatch.from_arrays([pa.array(["dev"]), pa.array(["web"])], names=["source_namespace"] * 2)
    assert DEV.filter_table(rows).num_rows == 1
    assert DEV.filter_table(rows.select([1, 0])).num_rows == 0


def test_a_type_without_json_is_refused_by_its_place_where_it_is_read() -> None:
    strange = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    rows = pa.record_batch({"source_namespace": pa.StructArray.from_arrays([strange], names=["b"])})
    with pytest.raises(NoRecord, match=r"^source_namespace: b: flowd has no JSON for values of type month_day_nano"):
        DEV.filter_table(rows)
    beside = pa.record_batch({"source_namespace": ["web"], "strange": strange})
    assert DEV.filter_table(beside) == beside


def test_only_the_columns_that_decide_are_read() -> None:
    assert columns_read(DEV) == {"source_namespace"}
    rows = pa.record_batch({"x": ["y"], "source_namespace": ["dev"]})
    as_lines = lines_read(DEV, rows.schema)
    assert (as_lines.columns, bytes(text_of(as_lines.texts(rows)))) == (
        ["source_namespace"],
        b'{"source_namespace":"dev"}\n',
    )


SAMPLE = """
<filter flows>
  @type flowd
  <exclude>
    key a
    equals dev
    sample 1/3
  </exclude>
</filter>
"""


def test_samples_are_chosen_by_the_whole_row() -> None:
    filters = flowd.compile(SAMPLE, dialect=None)
    rows = pa.record_batch({"a": ["dev"] * 500, "number": list(range(500))})
    assert columns_read(filters) is None
    assert lines_of(filters.filter_table(rows)) == filters.twin().filter(lines_of(rows))
    assert 50 < filters.filter_table(rows).num_rows < 350


def test_a_column_of_lines_is_read_as_lines() -> None:
    lines = [text_line("dev"), json_line("web")[:-1], json_line("dev"), b"", b'{"a":\n1}', None, b'{"a":1}\n\n']
    rows = pa.record_batch({"log": pa.array(lines, pa.binary()), "n": list(range(7))})
    assert DEV.filter_table(rows, line_column="log").column("n").to_pylist() == [1, 3, 4, 5, 6]
    assert DEV.filter_table(rows, line_column="log", malformed="drop").column("n").to_pylist() == [1]
    assert DEV.filter_table(rows, line_column="log", invert=True).column("n").to_pylist() == [0, 2]
    encoded = pa.record_batch({"log": rows.column("log").dictionary_encode()})
    assert DEV.filter_table(encoded, line_column="log").num_rows == 5


@pytest.mark.parametrize(
    ("name", "said"), [("lines", "there is no column 'lines' to hold lines"), ("n", "the column 'n' holds no lines")]
)
def test_a_column_that_holds_no_lines_is_said(name: str, said: str) -> None:
    with pytest.raises(NoRecord, match=said):
        DEV.filter_table(pa.record_batch({"n": [1]}), line_column=name)


def test_tables_of_any_size_keep_their_kind_and_their_chunks_rows() -> None:
    n = ROWS_AT_ONCE + 10
    names = ["dev" if number % 3 == 0 else "web" for number in range(n)]
    batch = pa.record_batch({"source_namespace": names, "n": list(range(n))})
    table = pa.Table.from_batches([batch.slice(0, 7), batch.slice(7, 0), batch.slice(7)])
    kept = [number for number in range(n) if number % 3]
    assert DEV.filter_table(batch).column("n").to_pylist() == kept
    assert DEV.filter_table(table).column("n").to_pylist() == kept
    assert isinstance(DEV.filter_table(table), pa.Table)
    assert isinstance(filter_rows(DEV, batch), pa.RecordBatch)
    assert DEV.filter_table(table.slice(0, 0)).num_rows == DEV.filter_table(batch.slice(0, 0)).num_rows == 0


def test_hits_count_the_rows() -> None:
    filters = pickle.loads(pickle.dumps(DEV))
    filters.filter_table(pa.table({"source_namespace": ["dev", "web", "dev"]}))
    assert {name: hits.lines for name, hits in filters.hits.items()} == {"filter1.exclude1": 2, "default": 1}


def test_the_mask_of_verdicts() -> None:
    assert keep_mask(b"KDME").to_pylist() == [True, False, True, True]
    assert keep_mask(b"KDME", malformed="drop", invert=True).to_pylist() == [False, True, True, False]


def test_without_pyarrow_it_is_said_what_to_install() -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\nimport flowd\n"
        f"try: flowd.compile({DEV_FILTER!r}).filter_table(None)\n"
        "except flowd.FlowdError as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "filter_table needs pyarrow | pip install 'flowd[parquet]'\n"
    assert issubclass(NoRecord, FlowdError)
