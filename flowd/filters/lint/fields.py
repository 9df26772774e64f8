"""Fields that the lines do not have: misspelt, another stream's, or added by the collector only later."""

from __future__ import annotations

from collections.abc import Sequence

from flowd.filters.model import Filter, Rule
from flowd.filters.schema import FIELDS, FIELDS_ADDED_LATER
from flowd.filters.source import Place, Report
from flowd.filters.suggest import suggest_name

_MEANINGS = {
    "ruby": "it is always missing, which matches as the empty text",
    "string": "it is always missing, which never matches",
    "value": "it is always missing",
}


def warn_fields(section: Filter, streams: Sequence[str], report: Report) -> None:
    """Warn about fields that none of the known streams that the section is for has."""
    if not streams:
        return
    known: set[str] = set()
    for name in streams:
        known |= FIELDS[name]
    for step in section.steps:
        for rule in step.rules:
            field = rule.condition.path[0]
            if isinstance(field, str) and field not in known:
                _warn_field(field, rule, streams, known, report)


def _warn_field(field: str, rule: Rule, streams: Sequence[str], known: set[str], report: Report) -> None:
    where = " or ".join(streams)
    place = Place(rule.file, rule.line, rule.column)
    meaning = _MEANINGS[rule.condition.reading]
    if field in FIELDS_ADDED_LATER:
        report.warning(
            place,
            f"field '{field}' is not in the lines of {where} yet: collectors add it later",
            hint=f"here {meaning}",
            code="field-added-later",
        )
        return
    others = [stream for stream, fields in FIELDS.items() if field in fields]
    if others:
        report.warning(
            place,
            f"'{field}' is a field of {' and '.join(others)}, and this filter is for {where}: {meaning}",
            hint=f"write the filter for {others[0]}, or name a field of {where}",
            code="other-stream-field",
        )
        return
    suggested = suggest_name(field, sorted(known))
    report.warning(
        place,
        f"{where} has no field '{field}': {meaning}",
        hint=f"did you mean {suggested}?" if suggested else "see the list of fields in the documentation",
        code="unknown-field",
    )
