"""The head of an HTTP request."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.monitor.request import BadRequest, read


def test_a_request_of_prometheus() -> None:
    """Method, path, query and the accepted formats are read; names of fields have any case."""
    request = read(
        b"GET /senders?by=lost&count=%35&count=7&x= HTTP/1.1\r\nhost: x:9100\r\nACCEPT: text/plain \r\n"
        b"Accept:a/b;q=0.1\r\nX-Empty:\r\nUser-Agent: Prometheus/3.0"
    )
    assert (request.method, request.path) == (b"GET", b"/senders")
    assert request.query == {"by": "lost", "count": "7", "x": ""}
    assert request.accept == "text/plain,a/b;q=0.1"
    assert request.keep_open and not request.is_old


@pytest.mark.parametrize("target", [b"http://x:9100/a%20b?c=d", b"HTTPS://x/a%20b?c=d", b"/a%20b?c=d"])
def test_the_forms_of_a_target(target: bytes) -> None:
    """A proxy's client sends the whole address; the path is unquoted."""
    request = read(b"GET " + target + b" HTTP/1.1\r\nHost: x")
    assert (request.path, request.query) == (b"/a b", {"c": "d"})


@pytest.mark.parametrize(
    ("version", "fields", "keep_open"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"\r\nConnection: foo, Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"\r\nConnection: Keep-Alive", True),
        (b"1.1", b"\r\nContent-Length: 0", True),
        (b"1.1", b"\r\nContent-Length: 1", False),
        (b"1.1", b"\r\nContent-Length: 0\r\nContent-Length: 5", False),
        (b"1.1", b"\r\nTransfer-Encoding: chunked", False),
    ],
)
def test_connections_that_stay_open(version: bytes, fields: bytes, keep_open: bool) -> None:
    """A connection ends by the wish of the client, by the version's default, and after a body, which is not read."""
    assert read(b"GET / HTTP/" + version + b"\r\nHost: x" + fields).keep_open == keep_open


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: x", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1\r\nHost: x", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400),
        (b"GET / HTTP/1.1\r\nHost : x", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nnothing", 400),
        (b"GET /?" + b"a=b&" * 17 + b" HTTP/1.1\r\nHost: x", 400),
    ],
)
def test_bad_requests(head: bytes, status: int) -> None:
    """A malformed request has a status and a text."""
    with pytest.raises(BadRequest) as caught:
        read(head)
    assert caught.value.status == status
    assert str(caught.value)


@given(st.one_of(st.binary(), st.binary().map(lambda tail: b"GET /" + tail + b" HTTP/1.1\r\nHost: x\r\n" + tail)))
def test_any_bytes(head: bytes) -> None:
    """No other exception than BadRequest."""
    with suppress(BadRequest):
        read(head)
