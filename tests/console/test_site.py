"""The console's HTTP: who gets what, headers, and bounds. Each rule of netconsd/console/{site,access,api}.py."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from netconsd.console import limits
from netconsd.console.access import Access
from netconsd.console.failure import Refused
from netconsd.console.site import HEADERS
from tests.console.browser import PAGES, Browser, Response, lose, request
from tests.console.secrets_of_tests import LINE, PASSWORD, TOKEN, Clock, put
from tests.support.loggers import logged


@pytest.fixture
def browser() -> Browser:
    """A console for this machine alone."""
    return Browser(Access(None, None, [], Clock()))


@pytest.fixture
def guarded(tmp_path: Path) -> Browser:
    """A console with a password and a token."""
    passwords, tokens = put(tmp_path / "passwords", LINE), put(tmp_path / "tokens", TOKEN)
    return Browser(Access(passwords, tokens, [], Clock()))


def log_in(browser: Browser, **body: Any) -> Response:
    """Log in with the password, or another body."""
    channel, transport = browser.connect()
    channel.dataReceived(request("POST", "/api/v1/login", body or {"password": PASSWORD}))
    browser.turns()
    if browser.tried:
        function, done = browser.tried.pop()
        done.callback(function())
    return Response(transport.value())


def cookie_of(response: Response) -> str:
    """Return the cookie that a response sets."""
    return response.headers["set-cookie"].partition(";")[0]


PATHS = (
    "/",
    "/crashes/0123456789ab",
    "/static/js/app.js",
    "/static/none",
    "/api/v1/receiver",
    "/api/v1/none",
    "/api/v2/x",
)


@pytest.mark.parametrize("path", PATHS)
def test_headers(browser: Browser, path: str) -> None:
    """Every answer, an error as well, forbids scripts from elsewhere, frames, sniffing and referrers."""
    response = browser.ask("GET", path)
    for name, value in HEADERS.items():
        assert response.headers[name.lower()] == value
    assert "unsafe" not in response.headers["content-security-policy"]


def test_pages(browser: Browser) -> None:
    """Each path without /api/ and /static/ is the page; a static file is one that was there at the start."""
    for path in ("/", "/search?grep=x", "/machines/192.0.2.1", "/m/192.0.2.1/1/2"):
        response = browser.ask("GET", path)
        assert (response.status, response.body) == (200, PAGES["index.html"].data)
    assert browser.ask("GET", "/static/js/app.js").headers["content-type"].startswith("text/javascript")
    for path in (
        "/static/../index.html",
        "/static/js/../../api.py",
        "/static/%2e%2e/site.py",
        "/static//etc/passwd",
        "/static/",
    ):
        assert browser.ask("GET", path).status == 404
    assert browser.ask("POST", "/").status == 405


def test_a_page_starts_a_process(browser: Browser, guarded: Browser) -> None:
    """A page starts the process that its queries need, except for strangers."""
    for path in ("/", "/static/js/app.js"):
        browser.ask("GET", path)
        guarded.ask("GET", path)
    assert (browser.pool.warmed, guarded.pool.warmed) == (1, 0)
    guarded.ask("GET", "/", headers={"Cookie": cookie_of(log_in(guarded))})
    assert guarded.pool.warmed == 1


def test_compression_and_cache(browser: Browser) -> None:
    """A file is sent compressed to browsers that know it, and not again if it has not changed."""
    response = browser.ask("GET", "/", headers={"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(response.body) == PAGES["index.html"].data
    again = browser.ask("GET", "/", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert browser.ask("HEAD", "/").body == b""


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "a, localhost"])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/static/js/app.js"])
def test_a_rebound_name_gets_nothing(browser: Browser, host: str, path: str) -> None:
    """A request for a name that is not the console's is refused, whatever it asks for."""
    assert browser.ask("GET", path, host=host).status == 403
    assert browser.pool.queries == []


def test_two_host_fields(browser: Browser) -> None:
    """Two fields Host are refused."""
    data = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert browser.send(data).status in (400, 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_gets_nothing(browser: Browser, site: str) -> None:
    """A page of another site cannot make the console work."""
    assert browser.ask("GET", "/api/v1/messages", headers={"Sec-Fetch-Site": site}).status == 403
    assert browser.pool.queries == []
    assert browser.ask("GET", "/api/v1/receiver", headers={"Sec-Fetch-Site": "same-origin"}).status == 200


QUERIES = (
    "status",
    "messages",
    "messages/192.0.2.1/1/1",
    "context",
    "counts",
    "download",
    "live",
    "hosts",
    "hosts/::1",
    "crashes",
    "crashes/0123456789ab",
    "patterns",
    "receiver",
    "events",
)


@pytest.mark.parametrize("path", QUERIES)
def test_without_a_password_nothing_is_read(guarded: Browser, path: str) -> None:
    """A console with a password answers no query without a session or a token."""
    for headers in (
        {},
        {"Cookie": "netconsd=x"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
    ):
        response = guarded.ask("GET", f"/api/v1/{path}", headers=headers)
        assert response.status == 401
    assert (guarded.pool.queries, guarded.live.opened) == ([], [])


def test_login(guarded: Browser) -> None:
    """The right password gives a cookie that scripts and other sites do not get, and the token for changes."""
    response = log_in(guarded)
    assert response.status == 200
    attributes = response.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    cookie = cookie_of(response)
    assert guarded.ask("GET", "/api/v1/receiver", headers={"Cookie": cookie}).status == 200
    ended = guarded.ask("POST", "/api/v1/logout", {}, {"Cookie": cookie, "X-CSRF-Token": response.object["csrf"]})
    assert ended.status == 200
    assert guarded.ask("GET", "/api/v1/receiver", headers={"Cookie": cookie}).status == 401


def test_a_cookie_for_tls(tmp_path: Path) -> None:
    """With TLS the cookie is for TLS and this host alone, and browsers come back with TLS."""
    browser = Browser(Access(put(tmp_path / "passwords", LINE), None, [], Clock()), secure=True)
    response = log_in(browser)
    assert response.headers["set-cookie"].startswith("__Host-netconsd=")
    assert "Secure" in response.headers["set-cookie"]
    assert "strict-transport-security" in response.headers


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"password": ""}, {"password": PASSWORD[:-1]}])
def test_a_wrong_password(guarded: Browser, body: dict[str, Any]) -> None:
    """A wrong password gives nothing."""
    response = log_in(guarded, **body)
    assert response.status == 401
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"password": 5}',
        b'{"password": "x", "more": 1}',
        b'{"password": "' + b"x" * 2000 + b'"}',
        b'{"password": "x", "user": 7}',
        b"[" * 5000,
    ],
)
def test_a_login_of_another_form(guarded: Browser, body: bytes) -> None:
    """A body that is no login is refused, and no password is tried."""
    assert guarded.ask("POST", "/api/v1/login", body).status == 400
    assert guarded.tried == []


def test_tries_are_bounded(guarded: Browser) -> None:
    """After some wrong passwords no password is looked at, the right one neither, and the answer says how long."""
    for _ in range(limits.TRIES):
        assert log_in(guarded, password="wrong").status == 401
    response = log_in(guarded)
    assert response.status == 429
    assert int(response.headers["retry-after"]) > 0
    assert guarded.tried == []


def test_a_login_whose_client_is_gone(guarded: Browser) -> None:
    """A client that does not wait for the answer has no effect."""
    channel, _ = guarded.connect()
    channel.dataReceived(request("POST", "/api/v1/login", {"password": PASSWORD}))
    guarded.turns()
    lose(channel)
    function, done = guarded.tried.pop()
    done.callback(function())
    assert guarded.api._trying == 0


def test_changes_need_the_token(browser: Browser, guarded: Browser) -> None:
    """A change needs the token of the session, without a password as well; a script's bearer token is enough."""
    path, body = "/api/v1/crashes/0123456789ab", {"action": "mute"}
    for headers in ({}, {"X-CSRF-Token": "wrong"}):
        assert browser.ask("POST", path, body, headers).status == 403
    assert browser.pool.queries == []
    csrf = browser.api._access.open_session.csrf
    browser.ask("POST", path, body, {"X-CSRF-Token": csrf})
    assert browser.pool.queries[0].request["body"] == {"action": "mute", "who": "192.168.1.1"}
    session = log_in(guarded)
    cookie = cookie_of(session)
    assert guarded.ask("POST", path, body, {"Cookie": cookie}).status == 403
    assert guarded.ask("POST", path, body, {"Cookie": cookie, "X-CSRF-Token": csrf}).status == 403
    assert guarded.pool.queries == []
    guarded.ask("POST", path, body, {"Authorization": f"Bearer {TOKEN}"})
    assert guarded.pool.queries[0].request["body"]["who"] == "token"


def test_a_form_changes_nothing(browser: Browser) -> None:
    """A form, which any site can send, is no change."""
    headers = {"X-CSRF-Token": browser.api._access.open_session.csrf, "Content-Type": "text/plain"}
    assert browser.ask("POST", "/api/v1/crashes/0123456789ab", b'{"action":"mute"}', headers).status == 415
    assert browser.pool.queries == []


def test_read_only(tmp_path: Path) -> None:
    """A console with --read-only changes nothing."""
    browser = Browser(Access(None, None, [], Clock()), read_only=True)
    headers = {"X-CSRF-Token": browser.api._access.open_session.csrf}
    response = browser.ask("POST", "/api/v1/crashes/0123456789ab", {"action": "mute"}, headers)
    assert response.status == 403
    assert browser.pool.queries == []
    browser.state = None
    assert browser.ask("GET", "/api/v1/receiver").status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/login", "/api/v1/crashes/ab", "/api/v1/logout"])
def test_other_methods(browser: Browser, method: str, path: str) -> None:
    """Other methods are refused, with those that there are."""
    response = browser.ask(method, path)
    assert response.status == 405
    assert response.headers["allow"]


def test_queries(browser: Browser) -> None:
    """A query goes to a process with its parameters; its answer comes as it is made."""
    channel, transport = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/messages?host=a&host=b&grep=%C3%A9&limit="))
    browser.turns()
    (query,) = browser.pool.queries
    assert query.request["query"] == "messages"
    assert query.request["parameters"] == {"host": ["a", "b"], "grep": ["é"], "limit": [""]}
    query.client.head(200, "application/jsonl", {})
    query.client.data(b'{"a":1}\n')
    assert Response(transport.value()).body == b'{"a":1}\n'
    query.client.data(b'{"a":2}\n')
    query.client.end()
    response = Response(transport.value())
    assert response.body == b'{"a":1}\n{"a":2}\n'
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "query", "parameters"),
    [
        ("messages/192.0.2.1/5/7", "message", {"id": ["192.0.2.1/5/7"]}),
        ("messages/192.0.2.1%2F5%2F7", "message", {"id": ["192.0.2.1/5/7"]}),
        ("messages/fe80::1%25eth0/@5/0", "message", {"id": ["fe80::1%eth0/@5/0"]}),
        ("hosts/2001:db8::1?port=5", "host", {"address": ["2001:db8::1"], "port": ["5"]}),
        ("crashes/0123456789ab?format=text", "crash", {"id": ["0123456789ab"], "format": ["text"]}),
        ("crashes?state=new", "crash_list", {"state": ["new"]}),
    ],
)
def test_names_in_paths(browser: Browser, path: str, query: str, parameters: dict[str, list[str]]) -> None:
    """The rest of a path is a parameter, encoded or not."""
    browser.ask("GET", f"/api/v1/{path}")
    assert browser.pool.queries[0].request == {"query": query, "parameters": parameters, "body": None}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("messages?grep=%FF", 400),
        ("hosts/%FF", 400),
        ("none", 404),
        ("messages/", 400),
        ("status/x", 404),
        ("live/x", 404),
        ("crashes/a?id=b", 400),
        ("messages?" + "&".join(["host=a"] * 201), 400),
        ("messages?grep=" + "a" * 9000, 414),
        ("live?last=x", 400),
        ("live?last=999999", 400),
        ("", 404),
    ],
)
def test_wrong_paths(browser: Browser, path: str, status: int) -> None:
    """A path or query that is none is refused before a process is asked."""
    response = browser.ask("GET", f"/api/v1/{path}")
    if path == "messages/":
        # The list, as without the slash.
        assert browser.pool.queries[0].request["query"] == "messages"
        return
    assert response.status == status
    assert response.object["error"]
    assert browser.pool.queries == []


def test_a_client_that_goes_cancels_its_query(browser: Browser) -> None:
    """The query of a client that is gone is cancelled, before and after its answer began."""
    for begun in (False, True):
        channel, _ = browser.connect()
        channel.dataReceived(request("GET", "/api/v1/messages"))
        browser.turns()
        query = browser.pool.queries[-1]
        if begun:
            query.client.head(200, "application/jsonl", {})
            query.client.data(b"{}\n")
        lose(channel)
        assert query.calls == ["cancel"]


def test_a_slow_client_pauses_its_query(browser: Browser) -> None:
    """What a client does not take is not read from the process."""
    channel, _ = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/download"))
    browser.turns()
    (query,) = browser.pool.queries
    query.client.head(200, "text/plain", {})
    channel.pauseProducing()
    assert query.calls == ["pause"]
    channel.resumeProducing()
    assert query.calls == ["pause", "resume"]
    assert query.seconds == limits.DOWNLOAD_SECONDS
    lose(channel)


def test_one_download_at_a_time(browser: Browser) -> None:
    """A second download is refused while one runs, and accepted after its end or its client's."""
    channel, _ = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/download"))
    browser.turns()
    assert browser.ask("GET", "/api/v1/download").status == 429
    lose(channel)
    browser.ask("GET", "/api/v1/download")
    assert len(browser.pool.queries) == 2
    browser.pool.queries[1].object({})
    browser.ask("GET", "/api/v1/download")
    assert len(browser.pool.queries) == 3


def test_a_query_that_fails(browser: Browser) -> None:
    """A query that fails before its answer began is an error; afterwards the connection ends, so that nobody takes a
    part for the whole."""
    channel, transport = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/messages"))
    browser.turns()
    browser.pool.queries[0].client.failed(Refused(503, "too long"))
    assert Response(transport.value()).object == {"error": "too long"}
    channel, transport = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/messages"))
    browser.turns()
    browser.pool.queries[1].client.head(200, "application/jsonl", {})
    browser.pool.queries[1].client.data(b"{}\n")
    browser.pool.queries[1].client.failed(Refused(503, "too long"))
    assert transport.aborted


def test_too_many_queries(browser: Browser) -> None:
    """If no more queries may wait, the answer says when to try again."""
    browser.pool.full = True
    response = browser.ask("GET", "/api/v1/messages")
    assert (response.status, response.headers["retry-after"]) == (503, "5")


def test_status(browser: Browser) -> None:
    """The status is of the console, and of the store, which a process reads."""
    channel, transport = browser.connect()
    channel.dataReceived(request("GET", "/api/v1/status"))
    browser.turns()
    browser.pool.queries[0].object({"store": None})
    found = Response(transport.value()).object
    assert (found["store"], found["receiving"], found["read_only"]) == (None, True, False)
    assert found["csrf"] == browser.api._access.open_session.csrf


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body(browser: Browser, chunked: bool) -> None:
    """A body beyond the bound ends the connection, and is not kept: with its length, and in chunks."""
    channel, transport = browser.connect()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {limits.BODY_BYTES + 1}"
    channel.dataReceived(f"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
    piece = b"1000\r\n" + b"x" * 4096 + b"\r\n" if chunked else b"x" * 4096
    for _ in range(10):
        channel.dataReceived(piece)
    browser.turns()
    assert Response(transport.value()).status == 413
    assert transport.disconnecting
    assert browser.tried == []


def test_one_request_a_turn(browser: Browser) -> None:
    """Pipelined requests are answered one a turn, so that the reactor receives datagrams between them."""
    channel, transport = browser.connect()
    channel.dataReceived(request("GET", "/static/none") * 100)
    assert transport.value() == b""
    browser.clock.advance(0)
    assert transport.value().count(b"HTTP/1.1 404") == 1
    browser.clock.advance(limits.TURN_SECONDS / 2)
    assert transport.value().count(b"HTTP/1.1 404") == 1
    for _ in range(200):
        browser.clock.advance(limits.TURN_SECONDS)
    assert transport.value().count(b"HTTP/1.1 404") == 100


def test_connections_have_a_bound(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest idle connection ends; if all have a request in work, the new one."""
    monkeypatch.setattr(limits, "CONNECTIONS", 2)
    busy, busy_transport = browser.connect()
    busy.dataReceived(request("GET", "/api/v1/messages"))
    browser.turns()
    _, idle_transport = browser.connect()
    third, third_transport = browser.connect()
    assert (busy_transport.aborted, idle_transport.aborted, third_transport.aborted) == (False, True, False)
    third.dataReceived(request("GET", "/api/v1/messages"))
    _, fourth_transport = browser.connect()
    assert fourth_transport.aborted
    assert not third_transport.aborted


def test_an_unfinished_request_ends(browser: Browser) -> None:
    """A connection whose request does not arrive ends after a time."""
    channel, transport = browser.connect()
    channel.dataReceived(b"GET / HTTP/1.1\r\n")
    browser.clock.advance(limits.REQUEST_SECONDS + 1)
    assert transport.disconnecting


def test_a_defect_is_answered(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of ours is logged, and answered without its text."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(browser.site, "answer", fail)
    with logged() as lines:
        response = browser.ask("GET", "/")
    assert response.status == 500
    assert b"secret" not in response.body
    assert any("defect" in line for line in lines)


def test_a_live_tail_opens(browser: Browser) -> None:
    """The filter of a live tail is its parameters without `last`."""
    browser.ask("GET", "/api/v1/live?level=err&last=10")
    assert browser.live.opened == [{"level": ["err"]}]
