"""Which stream a tag's records belong to: what the configuration maps it to, else the stream of the tag's own name."""

from __future__ import annotations

from collections.abc import Mapping

from flowd.errors import FlowdError
from flowd.filters.tags import TagError, TagPattern, parse_tags
from flowd.wire.limits import is_stream_name

TAG_MAX_BYTES = 1024
"""Longer tags are refused: they would be kept in memory."""
REMEMBERED_TAGS = 4096
"""Tags whose stream is remembered: a node has dozens. With more of them, some are looked up anew."""
NAME_HINT = "1 to 128 of the characters A-Z a-z 0-9 . _ -"


def parse_route(pattern: str, stream: str) -> TagPattern:
    """A pattern of tags, as `<match>` of fluentd takes it. Raises FlowdError, with a hint, where it is none, or where
    the stream's name is not legal."""
    if not is_stream_name(stream):
        raise FlowdError(f"stream {stream!r} is no legal name", hint=NAME_HINT)
    if not pattern.strip():
        raise FlowdError("an empty pattern is for no tag", hint='write "**" for all tags')
    try:
        return parse_tags(pattern)
    except TagError as error:
        raise FlowdError(error.message, hint=error.hint) from error


class Routes:
    """Streams by tags. For one thread."""

    def __init__(self, streams: Mapping[str, str]) -> None:
        """`streams` by patterns: the first that is for a tag decides. Raises as `parse_route`."""
        self._routes = [(parse_route(pattern, stream), stream) for pattern, stream in streams.items()]
        self._known: dict[bytes, str | None] = {}

    def find(self, tag: bytes) -> str | None:
        """The stream; None where nothing maps a tag that is no stream's legal name."""
        try:
            return self._known[tag]
        except KeyError:
            pass
        if len(tag) > TAG_MAX_BYTES:
            return None
        stream = self._look_up(tag)
        if len(self._known) >= REMEMBERED_TAGS:
            self._known.clear()
        self._known[tag] = stream
        return stream

    def _look_up(self, tag: bytes) -> str | None:
        try:
            text = tag.decode()
        except UnicodeDecodeError:
            return None
        for pattern, stream in self._routes:
            if pattern.matches(text):
                return stream
        return text if is_stream_name(text) else None
