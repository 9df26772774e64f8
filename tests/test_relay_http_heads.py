"""flowd.relay.http.heads and address: what is taken as a request or an address, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.errors import FlowdError
from flowd.relay.http.address import Address, parse_address
from flowd.relay.http.heads import HEADERS_MAX, TEXT, Answer, Refused, Request, read_head, write_head


@pytest.mark.parametrize(
    ("head", "request_"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", Request("GET", "/metrics", "")),
        (b"HEAD /healthz HTTP/1.0\r\nHost: x\r\n\r\n", Request("HEAD", "/healthz", "")),
        (b"GET /readyz?verbose=1 HTTP/1.1\r\naccept: a\r\nACCEPT:b;q=1\r\n\r\n", Request("GET", "/readyz", "a,b;q=1")),
        (b"GET http://10.0.0.1:9468/metrics HTTP/1.1\r\n\r\n", Request("GET", "/metrics", "")),
        (b"GET http://10.0.0.1 HTTP/1.1\r\n\r\n", Request("GET", "/", "")),
        (b"DELETE * HTTP/1.1\r\nX: \xe9\t\xff\r\n\r\n", Request("DELETE", "*", "")),
    ],
)
def test_a_well_formed_head_is_read(head: bytes, request_: Request) -> None:
    assert read_head(head) == request_


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        (b"\r\n\r\n", 400, "malformed"),
        (b"GET /metrics\r\n\r\n", 400, "malformed"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400, "malformed"),
        (b"PRI * HTTP/2.0\r\n\r\n", 505, "malformed"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431, "too_large"),
    ],
)
def test_anything_else_is_refused_with_its_reason(head: bytes, status: int, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        read_head(head)
    assert (caught.value.answer.status.value, caught.value.answer.reason) == (status, reason)
    assert caught.value.answer.body.startswith(b"flowd: ")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    with suppress(Refused):
        request = read_head(noise + b"\r\n\r\n")
        assert " " not in request.method + request.path


def test_an_answer_is_whole_and_closes() -> None:
    answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"no\n", "method")
    assert write_head(answer).decode().split("\r\n") == [
        "HTTP/1.1 405 Method Not Allowed",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Length: 3",
        "Cache-Control: no-store",
        "Connection: close",
        "Allow: GET, HEAD",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("text", "address", "is_loopback", "url"),
    [
        ("127.0.0.1:9468", Address("127.0.0.1", 9468), True, "http://127.0.0.1:9468"),
        ("127.1.2.3:0", Address("127.1.2.3", 0), True, "http://127.1.2.3:7"),
        ("[::1]:9468", Address("::1", 9468), True, "http://[::1]:9468"),
        ("[::]:9468", Address("::", 9468), False, "http://[::]:9468"),
        ("0.0.0.0:65535", Address("0.0.0.0", 65535), False, "http://0.0.0.0:65535"),
        ("10.1.2.3:80", Address("10.1.2.3", 80), False, "http://10.1.2.3:80"),
    ],
)
def test_an_address_is_read(text: str, address: Address, is_loopback: bool, url: str) -> None:
    found = parse_address(text)
    assert (found, found.is_loopback, found.url(7)) == (address, is_loopback, url)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9468", "'9468' is no address with a port"),
        ("127.0.0.1", "'127.0.0.1' is no address with a port"),
        ("127.0.0.1:", "'127.0.0.1:' is no address with a port"),
        ("127.0.0.1:65536", "'127.0.0.1:65536' is no address with a port"),
        ("127.0.0.1:-1", "'127.0.0.1:-1' is no address with a port"),
        ("127.0.0.1:²", "'127.0.0.1:²' is no address with a port"),
        (":9468", "':9468': '' is no IP address"),
        ("localhost:9468", "'localhost:9468': 'localhost' is no IP address"),
        ("::1:9468", "'::1:9468': an address of IPv6 needs brackets"),
        ("[127.0.0.1]:1", "'[127.0.0.1]:1': an address of IPv4 has no brackets"),
        ("tcp://127.0.0.1:1", "'tcp://127.0.0.1:1': 'tcp://127.0.0.1' is no IP address"),
    ],
)
def test_what_is_no_address_is_told(text: str, message: str) -> None:
    with pytest.raises(FlowdError) as caught:
        parse_address(text)
    assert caught.value.message == message
    assert "127.0.0.1:9468" in caught.value.hint
