"""flowd's own tests of a value, in plain Python: what they say of a record, and which lines a sample takes."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import oracle_ruby
from oracle_json import Integer, Value

from flowd.filters.model import Condition

MISSING = object()
MASK = (1 << 64) - 1


def holds(condition: Condition, record: dict[bytes, Value], matcher: Callable[[Condition, bytes], bool]) -> bool:
    """What the condition says of the record."""
    found = follow(record, condition.path)
    if condition.test == "exists":
        return found is not MISSING
    if condition.test == "null":
        return found is None
    if condition.test == "labels":
        labels = read_labels(found)
        return all(fulfils(labels, *argument) for argument in condition.arguments)
    if found is MISSING or found is None:
        return False
    elements = found if isinstance(found, list) else [found]
    return any(holds_of(condition, element, matcher) for element in elements if element is not None)


def follow(record: dict[bytes, Value], path: tuple[str | int, ...]) -> Any:
    """The value at a path; MISSING where it does not lead anywhere."""
    value: Any = record
    for part in path:
        if isinstance(value, dict) and isinstance(part, str) and part.encode() in value:
            value = value[part.encode()]
        elif isinstance(value, list) and isinstance(part, int) and -len(value) <= part < len(value):
            value = value[part]
        else:
            return MISSING
    return value


def holds_of(condition: Condition, element: Value, matcher: Callable[[Condition, bytes], bool]) -> bool:
    text = oracle_ruby.to_s(element)
    if condition.test == "cidr":
        return any(is_in_network(text, network) for network in condition.arguments)
    if condition.test == "number":
        number = read_number(element)
        return number is not None and all(compare(number, *bound) for bound in condition.arguments)
    if condition.test == "pattern":
        return matcher(condition, oracle_ruby.scrub(text))
    decoded = oracle_ruby.scrub(text).decode()
    words = list(condition.arguments)
    if condition.ignore_case:
        decoded, words = decoded.lower(), [word.lower() for word in words]
    ask = {
        "equals": lambda word: decoded == word,
        "prefix": decoded.startswith,
        "suffix": decoded.endswith,
        "contains": lambda word: word in decoded,
    }[condition.test]
    return any(ask(word) for word in words)


def is_in_network(text: bytes, network: str) -> bool:
    try:
        address: Any = ipaddress.ip_address(text.decode())
    except ValueError:
        return False
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    parsed = ipaddress.ip_network(network)
    return address.version == parsed.version and address in parsed


def read_number(element: Value) -> Fraction | float | None:
    """A number, or a string that holds one as JSON writes it."""
    if isinstance(element, bool):
        return None
    if isinstance(element, Integer):
        return Fraction(element.digits)
    if isinstance(element, float):
        return element
    if isinstance(element, bytes):
        try:
            text = element.decode()
            if text != text.strip() or not text:
                return None
            number = json.loads(text, parse_constant=lambda _: None, parse_int=Fraction)
        except ValueError:
            return None
        return number if isinstance(number, (Fraction, float)) and not isinstance(number, bool) else None
    return None


def compare(number: Fraction | float, comparison: str, bound: str) -> bool:
    limit: Fraction | float = float(bound) if any(char in bound for char in ".eE") else Fraction(bound)
    return {"<": number < limit, "<=": number <= limit, ">": number > limit, ">=": number >= limit}[comparison]


def read_labels(found: Any) -> dict[bytes, bytes]:
    labels: dict[bytes, bytes] = {}
    if isinstance(found, list):
        for text in found:
            if isinstance(text, bytes):
                key, _, value = text.partition(b"=")
                labels[key] = value
    elif isinstance(found, dict):
        for key, value in found.items():
            if key == b"labels" and isinstance(value, list):
                labels |= read_labels(value)
            else:
                labels[key] = value if isinstance(value, bytes) else b""
    return labels


def fulfils(labels: dict[bytes, bytes], label: str, operator: str, values: tuple[str, ...]) -> bool:
    value = labels.get(label.encode())
    if operator == "exists":
        return value is not None
    if operator == "absent":
        return value is None
    is_listed = value is not None and value.decode("utf-8", "replace") in values
    return is_listed if operator == "in" else not is_listed


def is_in_sample(line: bytes, name: str, one_in: int) -> bool:
    """Which lines a rule's sample takes: by the line's own bytes and the rule's name."""

    def mix(a: int, b: int) -> int:
        product = (a & MASK) * (b & MASK)
        return (product & MASK) ^ (product >> 64)

    odd = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    value = seed ^ (len(line) * odd[0] & MASK)
    padded = line + bytes(16 - len(line) % 16)
    for at in range(0, len(padded), 16):
        low, high = (int.from_bytes(padded[at + k : at + k + 8], "little") for k in (0, 8))
        value = mix(low ^ odd[1] ^ value, high ^ odd[2])
    value = mix(value ^ odd[0], odd[2])
    return value * one_in >> 64 == 0
