"""The connection of sinks to HTTP servers: answers, Retry-After, limits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from netconsd.streams.http import ANSWER_BYTES, Http, header_lines
from netconsd.streams.sink import Refused, TryLater
from tests.support.http_server import Answers, serving


@pytest.fixture
def server() -> Iterator[Answers]:
    """A server."""
    with serving() as answers:
        yield answers


@pytest.fixture
def http(server: Answers) -> Iterator[Http]:
    """A connection to it."""
    connection = Http(f"{server.url}/base/", timeout=30.0, headers={"X-Key": "1"}, clock=lambda: 784_111_777.0)
    yield connection
    connection.close()


def test_a_request(server: Answers, http: Http) -> None:
    """Path, body and headers arrive, and the answer is returned; the connection is kept."""
    server.answer = lambda request: (204 if request.path == "/base/two" else 200, {}, b"")
    assert http.request("POST", "/one", b"body", {"Content-Type": "x/y"}).text == "200 OK"
    connection = http._connection
    assert http.request("GET", "/two").status == 204
    assert http._connection is connection
    first = server.requests[0]
    assert (first.method, first.path, first.body) == ("POST", "/base/one", b"body")
    assert (first.headers["X-Key"], first.headers["Content-Type"]) == ("1", "x/y")


@pytest.mark.parametrize("url", ["http://u:secret@host", "http://u@host:80/x", "https://u:secret@host?x=1"])
def test_a_password_in_the_url(url: str) -> None:
    """It would not be sent, and would be in the texts of errors: it is refused, and not shown."""
    with pytest.raises(ValueError, match=r"headers|is not a URL") as raised:
        Http(url, timeout=1.0)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_answer_about_the_records(server: Answers, http: Http, status: int) -> None:
    """These have the batch split; the text is the server's, in one line."""
    server.answer = lambda request: (status, {}, b"line 3:\n  too long" + b" " * 5000)
    with pytest.raises(Refused, match=f"^{status} [ A-Za-z]+: line 3: too long$"):
        http.request("POST", "/", b"x")


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 503])
def test_an_answer_about_the_server(server: Answers, http: Http, status: int) -> None:
    """A wrong password, a wrong path and an error of the server make no dead letters."""
    server.answer = lambda request: (status, {}, b"")
    with pytest.raises(TryLater, match=f": {status} ") as raised:
        http.request("POST", "/", b"x")
    assert raised.value.retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after(server: Answers, http: Http, value: str, seconds: float | None) -> None:
    """It is a number of seconds or a date; another text is none."""
    server.answer = lambda request: (503, {"Retry-After": value}, b"")
    with pytest.raises(TryLater) as raised:
        http.request("GET", "/")
    assert raised.value.retry_after == seconds


def test_a_long_answer_is_not_read(server: Answers, http: Http) -> None:
    """An answer beyond the limit is an error, and its rest is not taken for the next one."""
    server.answer = lambda request: (200, {}, b"x" * (3 * ANSWER_BYTES))
    with pytest.raises(TryLater, match="longer than"):
        http.request("GET", "/")
    server.answer = lambda request: (200, {}, b"fine")
    assert http.request("GET", "/").body == b"fine"


@pytest.mark.parametrize(
    "sent", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", None]
)
def test_a_server_that_is_none(sent: bytes | None) -> None:
    """A closed connection, another protocol, half an answer, and no answer at all mean to try later."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                if sent is None:
                    connection.recv(1)  # until the client closes
                else:
                    connection.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        http = Http(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.1 if sent is None else 30.0)
        with pytest.raises(TryLater, match=r"^http://127.0.0.1"):
            http.request("POST", "/", b"x")
        thread.join()


def test_waiting_for_an_answer(server: Answers) -> None:
    """Any answer shows that the server is there; the next request has a connection of its own."""
    http = Http(server.url, timeout=30.0, headers={"X-Key": "1"})
    server.answer = lambda request: (406, {}, b"Unsupported method" * 10_000)
    http.wait_for_answer("/upload")
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/upload")
    assert server.requests[0].headers["X-Key"] == "1"
    server.answer = lambda request: (200, {}, b"")
    assert http.request("POST", "/").body == b""
    http.close()


def test_waiting_for_a_server_that_hangs() -> None:
    """Without an answer, the batch is not sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        http = Http(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.1)
        with pytest.raises(TryLater, match=r"^http://127\.0\.0\.1:\d+: timed out"):
            http.wait_for_answer()


def test_nothing_listens() -> None:
    """The text names the URL and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(TryLater, match=f"^http://127.0.0.1:{port}: Connection refused$"):
        Http(f"http://127.0.0.1:{port}", timeout=30.0).request("GET", "/")


@pytest.mark.parametrize(
    "url", ["", "localhost:80", "ftp://x", "http://", "http://x:y", "http://x?q=1", "http://x:99999"]
)
def test_no_url(url: str) -> None:
    """A text that is no URL of a server is an error that shows one."""
    with pytest.raises(ValueError, match="is not a URL such as"):
        Http(url, timeout=1.0)


def test_headers() -> None:
    """A line is a name and a value; a line break would be another header."""
    assert header_lines(["A: b", "C:d:e"]) == {"A": "b", "C": "d:e"}
    for line in ("A", ": b", "A: b\r\nC: d"):
        with pytest.raises(ValueError, match="NAME: VALUE"):
            header_lines([line])
