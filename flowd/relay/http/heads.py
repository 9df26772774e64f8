"""The head of an HTTP request, as bytes → what is asked for; and answers as bytes. No sockets, no state.

Reads HTTP/1.0 and 1.1 strictly: what is not well formed is refused, never guessed.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

METHODS = ("GET", "HEAD")
HEADERS_MAX = 100
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0-\x08\x0a-\x1f\x7f]*)")
_ORIGIN = re.compile(r"http://[^/?#]*", re.IGNORECASE)
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Request(NamedTuple):
    """What is asked for: `path` without its query, `accept` as the headers have it."""

    method: str
    path: str
    accept: str


class Answer(NamedTuple):
    """What is answered. `reason` is the counter's word where a request was refused."""

    status: HTTPStatus
    content_type: str
    body: bytes
    reason: str = ""


class Refused(Exception):
    """A request that is not served; `answer` says why."""

    def __init__(self, status: HTTPStatus, reason: str, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, TEXT, f"flowd: {text}\n".encode(), reason)


def read_head(head: bytes) -> Request:
    """A head with its empty line. Raises Refused."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "malformed", "this is no request of HTTP/1.1")
    if found[3] != b"1":
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "malformed", "HTTP/1.1 is spoken here, nothing else")
    if len(lines) > HEADERS_MAX:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too_large", f"more than {HEADERS_MAX} headers")
    accept = []
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "malformed", "a header is not NAME: VALUE")
        if header[1].lower() == b"accept":
            accept.append(header[2].decode("latin-1"))
    target = _ORIGIN.sub("", found[2].decode("ascii"), count=1) or "/"
    return Request(found[1].decode("ascii"), target.partition("?")[0], ",".join(accept))


def write_head(answer: Answer) -> bytes:
    """The head of an answer. Each connection has one request and one answer: nobody waits for a second."""
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(f"Allow: {', '.join(METHODS)}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")
