"""A YAML text as Calico's operator reads it: the first document's nodes, and what its scalars become in JSON.

The operator's reader is that of Go's YAML 1.1 (`yes` is true, `0o17` is a number), and its JSON is read by Fluent Bit,
to which everything is text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import yaml

from flowd.filters.recognise import YAML_LOADER
from flowd.filters.source import Place, Source

_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_NOT_IN_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INTEGER = re.compile(r"(?P<sign>[-+]?)(?:0(?P<base>[bBoOxX])(?P<digits>[0-9a-fA-F]+)|(?P<plain>[0-9]+))")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"b": 2, "o": 8, "x": 16}
_TAGS = "tag:yaml.org,2002:"
_LARGEST_INTEGER = 2**64 - 1
_SMALLEST_INTEGER = -(2**63)


class BadScalar(ValueError):
    """What the operator cannot write as JSON: it skips the whole text."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(slots=True)
class Node:
    """A value. A mapping's `items` are its names and values in turn. `is_plain` is a scalar without quotes and tag."""

    kind: Literal["scalar", "sequence", "mapping"]
    place: Place
    value: str = ""
    is_plain: bool = False
    tag: str = ""
    items: list[Node] = field(default_factory=list)


def compose_first(source: Source, deepest: int) -> tuple[Node | None, Place | None]:
    """The first document's root, and where a second document begins. An alias is the node that it names.

    Raises yaml.YAMLError, or BadScalar where the text is nested too deeply.
    """
    root: Node | None = None
    outer: list[Node] = []
    anchors: dict[str, Node] = {}
    events = yaml.parse(source.text, Loader=YAML_LOADER)
    for event in events:
        if isinstance(event, yaml.DocumentEndEvent):
            break
        if isinstance(event, yaml.CollectionEndEvent):
            outer.pop()
        elif isinstance(event, yaml.NodeEvent):
            node = _make_node(event, source, anchors, outer)
            if outer:
                outer[-1].items.append(node)
            else:
                root = node
            if isinstance(event, yaml.CollectionStartEvent):
                outer.append(node)
                if len(outer) > deepest:
                    raise BadScalar(node.place, "the text is nested too deeply")
    return root, _find_second(events, source)


def _make_node(event: yaml.NodeEvent, source: Source, anchors: dict[str, Node], outer: list[Node]) -> Node:
    place = _place_of(event, source)
    name = event.anchor or ""
    if isinstance(event, yaml.AliasEvent):
        found = anchors.get(name)
        if found is None:
            raise BadScalar(place, f"unknown anchor '{name}' referenced")
        if any(found is node for node in outer):
            raise BadScalar(place, f"anchor '{name}' value contains itself")
        return found
    if isinstance(event, yaml.ScalarEvent):
        node = Node("scalar", place, event.value, bool(event.implicit[0]), event.tag or "")
    else:
        node = Node("sequence" if isinstance(event, yaml.SequenceStartEvent) else "mapping", place)
    if name:
        anchors[name] = node
    return node


def _find_second(events: Iterator[yaml.Event], source: Source) -> Place | None:
    try:
        following = next(events, None)
        if isinstance(following, yaml.DocumentStartEvent):
            return _place_of(next(events, following), source)
    except yaml.YAMLError:
        pass  # the operator does not read that far
    return None


def _place_of(event: yaml.Event, source: Source) -> Place:
    mark: Any = event.start_mark
    return source.place(min(mark.index, len(source.text)))


def is_merge(key: Node) -> bool:
    """Is it the name `<<`, under which other maps are merged?"""
    return key.kind == "scalar" and key.value == "<<" and (key.is_plain or key.tag == f"{_TAGS}merge")


def name_text(key: Node) -> str:
    """The name that a map's key is in JSON. Raises BadScalar."""
    text = json_text(key) if key.kind == "scalar" else None
    if text is None:
        raise BadScalar(key.place, "a name that is no text")
    return text


def json_text(node: Node) -> str | None:
    """What Fluent Bit reads where the operator wrote the scalar as JSON; None is `null`. Raises BadScalar."""
    tag = node.tag.removeprefix(_TAGS)
    if tag not in ("", "bool", "int", "float", "null") or not (node.is_plain or tag):
        return node.value
    kind, text = _resolve(node.value)
    if kind == "no number":
        raise BadScalar(node.place, f"json: unsupported value: {node.value}")
    if tag not in ("", kind) and (tag, kind) != ("float", "int"):
        raise BadScalar(node.place, f"cannot decode !!{kind} `{node.value}` as a !!{tag}")
    return None if kind == "null" else text


def _resolve(value: str) -> tuple[str, str]:
    """What a plain scalar is, and its text in JSON."""
    if value in _NULLS:
        return "null", ""
    if value in _TRUE:
        return "bool", "true"
    if value in _FALSE:
        return "bool", "false"
    if _NOT_IN_JSON.fullmatch(value):
        return "no number", ""
    return _resolve_number(value)


def _resolve_number(value: str) -> tuple[str, str]:
    digits = value if value.startswith(".") else value.replace("_", "")
    if not value[0].isascii() or value[0] not in "+-.0123456789":
        return "str", value
    integer = _INTEGER.fullmatch(digits)
    number = _read_integer(integer) if integer else None
    if number is not None and _SMALLEST_INTEGER <= number <= _LARGEST_INTEGER:
        return "int", _go_number(float(number))
    if _FLOAT.fullmatch(digits):
        as_float = float(digits)
        if abs(as_float) != float("inf"):
            return "float", _go_number(as_float)
    return "str", value


def _read_integer(found: re.Match[str]) -> int | None:
    base = _BASES.get((found["base"] or "").lower(), 10)
    digits = found["digits"] or found["plain"]
    if found["plain"] and len(digits) > 1 and digits[0] == "0":
        base = 8
    if len(digits) > 100:
        return None
    try:
        return int(found["sign"] + digits, base)
    except ValueError:
        return None


def _go_number(number: float) -> str:
    """A number as Go's JSON writes it: the fewest digits that mean it, with an exponent only where it is far."""
    shortest = repr(number)
    if number == 0:
        return "-0" if shortest.startswith("-") else "0"
    if 1e-6 <= abs(number) < 1e21:
        written = format(Decimal(shortest), "f")
        return written.rstrip("0").rstrip(".") if "." in written else written
    mantissa, _, exponent = shortest.partition("e")
    sign, power = exponent[0], exponent[1:].lstrip("0")
    return f"{mantissa.removesuffix('.0')}e{sign}{power if sign == '-' else power.zfill(2)}"
