"""What fluentd accepts and its writer probably did not mean: names that nothing reads, with did-you-mean.

A warning never changes what a text means.
"""

from __future__ import annotations

from collections.abc import Collection

from flowd.filters.fluentd.elements import Element, Unset
from flowd.filters.model import Filter
from flowd.filters.schema import STREAMS
from flowd.filters.source import Place, Report
from flowd.filters.suggest import suggest_name
from flowd.filters.tags import TagPattern


def warn_unknown_parameters(element: Element, known: Collection[str], report: Report) -> None:
    """Warn about each parameter of a section that nothing reads."""
    for parameter in element.parameters.values():
        if parameter.name in known or parameter.value is Unset.BROKEN:
            continue
        where = f"in <{element.name}>" if element.name != "ROOT" else "outside all sections"
        suggested = suggest_name(parameter.name, known)
        report.warning(
            parameter.place,
            f"parameter '{parameter.name}' {where} is not used",
            hint=f"did you mean {suggested}? names are case sensitive" if suggested else "remove it",
            code="unknown-parameter",
        )


def warn_merged_groups(element: Element, report: Report) -> None:
    """Warn where several blocks count as one and would mean something else if they did not."""
    for group, kind, meaning in (
        ("and", "exclude", "a line is dropped only if the excludes of all of them match"),
        ("or", "regexp", "a line is kept if any regexp of any of them matches"),
    ):
        blocks = [block for block in element.children_named(group) if block.children_named(kind)]
        for block in blocks[1:]:
            report.warning(
                block.place,
                f"this <{group}> and the one on line {blocks[0].place.line} count as one: {meaning}",
                hint=f"for groups that decide apart use a <filter> section for each <{group}>",
                code="merged-groups",
            )


def warn_tags(section: Filter, tags: TagPattern, stream: str, report: Report) -> None:
    """Warn about a section that none of the known streams is meant by, if one is nearly."""
    if tags.matches(stream) or any(tags.matches(name) for name in STREAMS):
        return
    suggested = suggest_name(section.tags, STREAMS)
    if suggested:
        report.warning(
            Place(section.file, section.line, section.column),
            f"<filter {section.tags}> is for no known stream",
            hint=f"did you mean {suggested}?",
            code="unknown-stream",
        )
