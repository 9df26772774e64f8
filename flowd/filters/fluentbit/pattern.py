"""The PATTERN of a Fluent Bit rule: plain, or `/…/` with options, as Fluent Bit 5.1 takes it."""

from __future__ import annotations

from typing import NamedTuple

from flowd.patterns import PatternError, compile_pattern

_OPTIONS = frozenset("imxo")
_KNOWN_OPTIONS = frozenset("imx")  # `o` is ignored, and alone makes the whole text literal


class FluentBitPattern(NamedTuple):
    """A regular expression in Onigmo's syntax that compiles.

    `literal_options` are letters behind a closing slash that are none of the options: the slashes are then a part of
    the pattern.
    """

    source: str
    ignore_case: bool = False
    dotall: bool = False
    literal_options: str = ""


def parse_pattern(text: str) -> FluentBitPattern:
    """The pattern that a rule's text says. Raises PatternError where Fluent Bit (or flowd) cannot compile it."""
    pattern = _split_options(text)
    compile_pattern(pattern.source, ignore_case=pattern.ignore_case, dotall=pattern.dotall, dialect="onigmo")
    return pattern


def _split_options(text: str) -> FluentBitPattern:
    end = text.rfind("/")
    if not text.startswith("/") or end < 1:
        return FluentBitPattern(text)
    options = text[end + 1 :]
    if options and (not _OPTIONS.issuperset(options) or not _KNOWN_OPTIONS.intersection(options)):
        return FluentBitPattern(text, literal_options=options)
    source = text[1:end]
    return FluentBitPattern(f"(?x){source}" if "x" in options else source, "i" in options, "m" in options)


__all__ = ["FluentBitPattern", "PatternError", "parse_pattern"]
