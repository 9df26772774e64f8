"""The tree that a fluentd text is read into: sections with their parameters, each with its place.

Plain data between the grammar (`syntax`) and the meaning (`text`, `grep`).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from flowd.filters.source import Place


class Unset(Enum):
    """A parameter that is written but has no text as its value."""

    NIL = "nil"  # "#{use_nil}": as if not given, and an error where it is required
    DEFAULT = "default"  # "#{use_default}": the parameter's default
    BROKEN = "broken"  # its value has a problem that is already told


Value = str | Unset


class Parameter(NamedTuple):
    """A `name value` line. `order` counts parameters and sections over the whole text, includes in their place."""

    name: str
    value: Value
    place: Place
    value_place: Place
    order: int


class Element:
    """A section `<name argument>`; repeated parameters keep the last one's value."""

    __slots__ = ("argument", "children", "name", "order", "parameters", "place")

    def __init__(self, name: str, argument: Value, place: Place, order: int) -> None:
        self.name = name
        self.argument = argument
        self.place = place
        self.order = order
        self.parameters: dict[str, Parameter] = {}
        self.children: list[Element] = []

    def children_named(self, *names: str) -> list[Element]:
        """The sections directly inside, of these names, as they were written."""
        return [child for child in self.children if child.name in names]
