"""The sections that a Fluent Bit text is read into, in whatever form it is written: names and values, with places.

Plain data between the three readers (YAML, YAML through Calico's operator, classic) and the meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from flowd.filters.source import Place


class Text(NamedTuple):
    """A piece of text and where it stands."""

    value: str
    place: Place


class Property(NamedTuple):
    """A line `name value`, or a name with a list of values."""

    name: str
    values: tuple[Text, ...]
    is_list: bool
    place: Place


@dataclass(slots=True)
class Section:
    """One filter. `default_tag` is what it is for where it does not say: a stream, `None` for the one that is asked
    for; without `has_default_tag` it must say. `is_from_operator` is one that Calico's operator has passed on."""

    place: Place
    properties: list[Property] = field(default_factory=list)
    has_default_tag: bool = False
    default_tag: str | None = None
    is_from_operator: bool = False


@dataclass(slots=True)
class Sections:
    """All filters of a text, in order, and the variables that the text itself sets."""

    filters: list[Section] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
