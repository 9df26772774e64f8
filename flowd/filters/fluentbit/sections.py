"""The sections that a Fluent Bit text is read into, in whatever form it is written: names and values, with places.

Plain data between the three readers (YAML, YAML through Calico's operator, classic) and the meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.filters.source import Place, Report

SPACES = " \t\n\v\f\r"
"""What C's isspace takes, and Fluent Bit trims."""


class Text(NamedTuple):
    """A piece of text and where it stands."""

    value: str
    place: Place


class Property(NamedTuple):
    """A line `name value`, or a name with a list of values. The name is as Fluent Bit takes it from its form."""

    name: str
    values: tuple[Text, ...]
    is_list: bool
    place: Place


@dataclass(slots=True)
class Section:
    """One filter. `default_tag` is what it is for where it does not say: a stream, `None` for the one that is asked
    for; without `has_default_tag` it must say. `is_from_operator` is one that Calico's operator has passed on.
    `shown_name` is its plugin's name as it is written, before variables are put in: Fluent Bit's messages show it."""

    place: Place
    properties: list[Property] = field(default_factory=list)
    has_default_tag: bool = False
    default_tag: str | None = None
    is_from_operator: bool = False
    shown_name: str = ""


@dataclass(slots=True)
class Sections:
    """All filters of a text, in order, and the variables that the text itself sets."""

    filters: list[Section] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def cut_at_nul(text: Text, report: Report) -> Text:
    """The text as Fluent Bit sees it: a NUL ends it."""
    kept, nul, _ = text.value.partition("\0")
    if nul:
        report.warning(
            text.place,
            "a NUL ends this value: Fluent Bit does not see what follows",
            hint="remove the \\0",
            code="cut-value",
        )
    return text._replace(value=kept)


def report_reaching_out(place: Place, what: str, report: Report) -> None:
    """A text that was sent names a file or a variable of this machine."""
    report.problem(
        place,
        f"{what!r}: a filter that is sent cannot read files or variables of the daemon's machine",
        hint="send the whole text; without includes, and without ${",
        code="reaches-out",
    )
