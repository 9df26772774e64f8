"""The columns of the text forms: which field each holds and how its text becomes the value that a rule sees.

Plain tables for the core. The numbers of the mappings are those of flowd/native/values/columns.hpp.
"""

from __future__ import annotations

from flowd.filters.schema import TEXT27_NAMES, TEXT_NAMES

# (the column's index, the index of the endpoint's type where the meaning depends on it or -1, the mapping)
Column = tuple[int, int, int]

STRING, INTEGER, NULLABLE_STRING, NULLABLE_INTEGER, LABELS = range(5)
PROTOCOL, REPORTER, TYPE, NAME, NAME_AGGR, POLICIES = range(5, 11)

_MAPPINGS = {
    "source_type": TYPE,
    "source_namespace": STRING,
    "source_labels": LABELS,
    "dest_type": TYPE,
    "dest_namespace": STRING,
    "dest_labels": LABELS,
    "source_ip": NULLABLE_STRING,
    "dest_ip": NULLABLE_STRING,
    "proto": PROTOCOL,
    "source_port": NULLABLE_INTEGER,
    "dest_port": NULLABLE_INTEGER,
    "reporter": REPORTER,
    "action": STRING,
    "policies": POLICIES,
}
_ENDPOINTS = ("source", "dest")


def _columns24() -> dict[str, Column]:
    fields = list(TEXT_NAMES.values())
    columns = {field: (i, -1, _MAPPINGS.get(field, INTEGER)) for i, field in enumerate(fields)}
    for endpoint in _ENDPOINTS:
        name, kind = fields.index(f"{endpoint}_name"), fields.index(f"{endpoint}_type")
        columns[f"{endpoint}_name"] = (name, kind, NAME)
        columns[f"{endpoint}_name_aggr"] = (name, kind, NAME_AGGR)
    return columns


def _columns27() -> dict[str, Column]:
    fields = list(TEXT_NAMES.values())
    for endpoint in _ENDPOINTS:
        fields.insert(fields.index(f"{endpoint}_name") + 1, f"{endpoint}_name_aggr")
    fields.append("policies")
    columns = {field: (i, -1, _MAPPINGS.get(field, INTEGER)) for i, field in enumerate(fields)}
    for endpoint in _ENDPOINTS:
        for field in (f"{endpoint}_name", f"{endpoint}_name_aggr"):
            columns[field] = (columns[field][0], -1, STRING)
    return columns


COLUMNS24 = _columns24()
COLUMNS27 = _columns27()


def find_columns(key: str) -> tuple[Column | None, Column | None]:
    """The columns of a field in the 24-column and the 27-column form, by either of its names, or None."""
    field = TEXT_NAMES.get(key) or TEXT27_NAMES.get(key) or key
    return COLUMNS24.get(field), COLUMNS27.get(field)
