"""Which filters a text has for which streams, and how another language says that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from flowd.filters.mixed import OpenText
from flowd.filters.model import Filter, FilterText
from flowd.filters.schema import STREAMS
from flowd.filters.tags import TagError, parse_tags

# What a stream can be called.
_STREAM = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What cannot stand in a section's argument as it is.
_NOT_IN_ARGUMENTS = frozenset("<>\"'#\\")


class Section(NamedTuple):
    """A filter with the streams that it is for; `is_for_all` if these are all there are."""

    section: Filter
    streams: tuple[str, ...]
    is_for_all: bool


class Sections(NamedTuple):
    """All filters of a text in its order, each once; what each stream has; and those whose streams nobody knows."""

    sections: list[Section]
    texts: dict[str, FilterText]
    lost: list[Filter]


def find_sections(opened: OpenText, more_streams: Sequence[str] = ()) -> Sections:
    """The filters for the streams that flowd knows, those that the text names, and some more. Raises FilterError."""
    named = [tag.tag for tag in opened.tags if tag.is_named and _STREAM.fullmatch(tag.tag)]
    streams = dict.fromkeys((*STREAMS, *named, *more_streams))
    texts = {stream: opened.resolve(stream) for stream in streams}
    merged = _merge(texts)
    known = {_key(section.section) for section in merged}
    lost: dict[tuple[str, str, int], Filter] = {}
    for tag in opened.tags:
        if tag.tag not in texts:
            lost |= {_key(found): found for found in opened.resolve(tag.tag).filters if _key(found) not in known}
    return Sections(merged, texts, list(lost.values()))


def say_tags(found: Section, streams: Sequence[str]) -> str:
    """The streams as fluentd's tag patterns: the text's own, if they are for the same of these streams."""
    tags = found.section.tags or "**"
    is_fluentds = all(rule.condition.reading != "string" for step in found.section.steps for rule in step.rules)
    if is_fluentds and not set(tags) & _NOT_IN_ARGUMENTS:
        try:
            pattern = parse_tags(tags)
        except TagError:
            pass
        else:
            if tuple(stream for stream in streams if pattern.matches(stream)) == found.streams:
                return tags
    return "**" if found.is_for_all else " ".join(found.streams)


def say_match(found: Section) -> tuple[str, str]:
    """The streams as a Fluent Bit property and its value."""
    if found.is_for_all:
        return "match", "*"
    if len(found.streams) == 1:
        return "match", found.streams[0]
    names = "|".join(stream.replace(".", r"\.") for stream in found.streams)
    return "match_regex", f"^(?:{names})$"


def has_wildcard(found: Section) -> bool:
    """Is it for more streams than can be named, and not for all?"""
    return not found.is_for_all and bool(set(found.section.tags) & set("*/"))


def _key(section: Filter) -> tuple[str, str, int]:
    return section.name, section.file, section.line


def _merge(texts: dict[str, FilterText]) -> list[Section]:
    """The filters of all streams in the order of the text, each once."""
    merged: list[tuple[tuple[str, str, int], Filter]] = []
    streams: dict[tuple[str, str, int], list[str]] = {}
    for stream, text in texts.items():
        at = 0
        for section in text.filters:
            key = _key(section)
            if key in streams:
                at = next(n for n, (known, _) in enumerate(merged) if known == key) + 1
            else:
                # What is for other streams only may stand on either side: it stays where it was written.
                while at < len(merged) and merged[at][1].file == section.file and merged[at][1].line < section.line:
                    at += 1
                merged.insert(at, (key, section))
                at += 1
            streams.setdefault(key, []).append(stream)
    return [Section(section, tuple(streams[key]), len(streams[key]) == len(texts)) for key, section in merged]
