"""The paths of the console: who may ask what, and which process answers. For the reactor's thread.

docs/console and openapi.json describe the API. Rules: netconsd/console/access.py, for who may ask.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

import netconsd
from netconsd.build import KIND
from netconsd.console import limits
from netconsd.console.access import PASSWORD_BYTES, Access, Session
from netconsd.console.failure import Refused
from netconsd.console.files import INDEX, File, file_of
from netconsd.console.live import Channel, Live
from netconsd.console.pool import Pool, Query
from netconsd.console.replay import Cursor
from netconsd.console.site import ConsoleRequest

_PREFIX: Final = "/api/v1/"
OPENAPI: Final = Path(__file__).with_name("openapi.json")
#: Queries by their path: each is a method of netconsd.console.queries.Reader.
_QUERIES: Final = {
    "messages": "messages",
    "context": "context",
    "counts": "counts",
    "download": "download",
    "hosts": "hosts",
    "crashes": "crash_list",
    "patterns": "patterns",
    "events": "events",
}
#: Those with a name at the end of the path, and the parameter that it becomes.
_NAMED: Final = {"messages": ("message", "id"), "hosts": ("host", "address"), "crashes": ("crash", "id")}
#: Parameters of a request: hosts, and every other one.
_PARAMETERS: Final = 200
_SITES: Final = ("same-origin", "none")


class Api:
    """Answers requests."""

    def __init__(
        self,
        reactor: Any,
        access: Access,
        pool: Pool,
        live: Live,
        files: Mapping[str, File],
        *,
        read_only: bool,
        secure: bool,
        receiver: Callable[[], dict[str, Any] | None],
        in_thread: Callable[[Callable[[], bool]], Deferred[bool]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param files: of the pages.
        :param read_only: nothing is received, and nothing may be changed.
        :param secure: the connections have TLS.
        :param receiver: returns the state of the daemon; None if there is none.
        :param in_thread: calls a function in a thread.
        """
        self._reactor = reactor
        self._access = access
        self._pool = pool
        self._live = live
        self._files = files
        self._read_only = read_only
        self._secure = secure
        self._receiver = receiver
        self._in_thread = in_thread
        self._clock = clock
        self._started = clock()
        self._trying = 0
        self._openapi = file_of(OPENAPI.read_bytes(), "application/json") if OPENAPI.exists() else None

    @property
    def _cookie_name(self) -> str:
        # A browser takes this prefix only with TLS, and for this host alone.
        return "__Host-netconsd" if self._secure else "netconsd"

    def answer(self, request: ConsoleRequest) -> None:
        """Answer a request, now or later.

        :raises Refused: with the reason why not.
        """
        if len(request.uri) > limits.URI_BYTES:
            raise Refused(414, f"the path and query have more than {limits.URI_BYTES} bytes")
        hosts = request.requestHeaders.getRawHeaders("host", [])
        host = hosts[0] if len(hosts) == 1 else ""
        if not self._access.allows_host(host):
            raise Refused(403, "this name is not one of the console: use its address, or add the name to console.hosts")
        if self._secure:
            request.setHeader("Strict-Transport-Security", "max-age=31536000")
        try:
            path = request.path.decode("ascii")
        except UnicodeDecodeError:
            raise Refused(400, "the path is not ASCII") from None
        if path.startswith("/api/"):
            self._api(request, path)
            return
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            raise Refused(405, "pages are only read")
        if path.startswith("/static/"):
            file = self._files.get(unquote(path.removeprefix("/static/")))
        else:
            file = self._files.get(INDEX)
            if not self._access.required or self._access.session(self._cookie(request)) is not None:
                # The page asks at once, and a process needs half a second to start.
                self._pool.warm()
        if file is None:
            raise Refused(404, "there is no such file")
        request.file(file)

    def _api(self, request: ConsoleRequest, path: str) -> None:
        if not path.startswith(_PREFIX):
            raise Refused(404, f"the API is at {_PREFIX}")
        # A page of another site can make a browser ask, although it cannot read the answer: queries cost time.
        if (request.getHeader("sec-fetch-site") or "none") not in _SITES:
            raise Refused(403, "a page of another site may not use the console")
        name, _, rest = path.removeprefix(_PREFIX).partition("/")
        rest = unquote(rest, errors="strict") if _is_utf8(rest) else ""
        if name == "openapi.json" and not rest and self._openapi is not None:
            self._only(request, b"GET", b"HEAD")
            request.file(self._openapi)
            return
        if name == "login" and not rest:
            self._only(request, b"POST")
            self._login(request)
            return
        session, by_token = self._session(request)
        if request.method == b"POST":
            if not by_token and request.getHeader("x-csrf-token") != session.csrf:
                raise Refused(403, "X-CSRF-Token: is missing or wrong; GET /api/v1/status has it")
            if name == "logout" and not rest:
                self._access.end(self._cookie(request))
                self._set_cookie(request, "", 0)
                request.object({})
                return
            if name == "crashes" and rest:
                self._triage(request, session, rest)
                return
        if name == "logout":
            self._only(request, b"POST")
        self._only(request, b"GET", b"HEAD", *((b"POST",) if name == "crashes" and rest else ()))
        parameters = _parameters(request)
        if name == "status" and not rest:
            self._status(request, session, parameters)
        elif name == "receiver" and not rest:
            found = self._receiver()
            if found is None:
                raise Refused(404, "this console does not receive (--read-only)")
            request.object(found)
        elif name == "live" and not rest:
            self._live_tail(request, session, parameters)
        elif rest and name in _NAMED:
            query, parameter = _NAMED[name]
            if parameter in parameters:
                raise Refused(400, f"{parameter}: is in the path already", parameter)
            self._ask(request, query, {**parameters, parameter: [rest]})
        elif not rest and name in _QUERIES:
            self._ask(request, _QUERIES[name], parameters)
        else:
            raise Refused(404, f"there is no such path; GET {_PREFIX}openapi.json describes the API")

    def _only(self, request: ConsoleRequest, *methods: bytes) -> None:
        if request.method not in methods:
            allowed = b", ".join(methods).decode()
            request.setHeader("Allow", allowed)
            raise Refused(405, f"the methods here are {allowed}")

    # Who asks.

    def _cookie(self, request: ConsoleRequest) -> str:
        for header in request.requestHeaders.getRawHeaders("cookie", []):
            for part in header.split(";"):
                name, _, value = part.strip().partition("=")
                if name == self._cookie_name:
                    return value
        return ""

    def _session(self, request: ConsoleRequest) -> tuple[Session, bool]:
        """Return the session, and whether it is a script's token that allows the request."""
        if not self._access.required:
            return self._access.open_session, False
        authorization = request.getHeader("authorization") or ""
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer" and self._access.has_token(token.strip()):
            return Session("token"), True
        session = self._access.session(self._cookie(request))
        if session is None:
            request.setHeader("WWW-Authenticate", "Bearer")
            if self._access.has_names:
                raise Refused(401, "log in first, with a name and a password", "user")
            raise Refused(401, "log in first")
        return session, False

    def _login(self, request: ConsoleRequest) -> None:
        body = _body(request, {"password", "user"})
        password, user = body.get("password"), body.get("user", "")
        if not isinstance(password, str) or len(password.encode(errors="replace")) > PASSWORD_BYTES:
            raise Refused(400, f"password: is not a text of at most {PASSWORD_BYTES} bytes", "password")
        if not isinstance(user, str) or len(user) > 64:
            raise Refused(400, "user: is not a text of at most 64 characters", "user")
        if not self._access.passwords:
            raise Refused(400, "this console has no password (console.password_file)", "password")
        address = request.getClientAddress().host
        wait = self._access.tries.wait(address)
        if wait > 0 or self._trying >= 4:
            raise Refused(429, f"too many tries: wait {max(1, round(wait))} s", "password", retry=max(wait, 1.0))
        self._access.tries.begin(address)
        self._trying += 1
        found = self._access.password_of(user)
        # For a name that does not exist as long as for one that does.
        tried = found or self._access.passwords[0]

        def tell(matches: bool) -> None:
            if request.lost:
                return
            if not matches or found is None:
                request.refuse(Refused(401, "password: is wrong", "password"))
                return
            self._access.tries.right(address)
            value, session = self._access.new_session(found.user)
            self._set_cookie(request, value, int(limits.SESSION_SECONDS))
            request.object({"csrf": session.csrf, "user": session.user})

        def done(result: Any) -> None:
            self._trying -= 1
            tell(result is True)

        self._in_thread(lambda: tried.matches(password)).addBoth(done)

    def _set_cookie(self, request: ConsoleRequest, value: str, seconds: int) -> None:
        cookie: SimpleCookie = SimpleCookie()
        cookie[self._cookie_name] = value
        morsel = cookie[self._cookie_name]
        morsel["path"], morsel["httponly"], morsel["samesite"], morsel["max-age"] = "/", True, "Strict", seconds
        if self._secure:
            morsel["secure"] = True
        request.responseHeaders.addRawHeader("Set-Cookie", morsel.OutputString())

    # What is asked.

    def _status(self, request: ConsoleRequest, session: Session, parameters: dict[str, list[str]]) -> None:
        receiver = self._receiver()
        fields = {
            "version": netconsd.__version__,
            "build": KIND,
            "started": self._started,
            "now": self._clock(),
            "read_only": self._read_only,
            "receiving": receiver is not None,
            "port": None if receiver is None else receiver.get("port"),
            "user": session.user,
            "csrf": session.csrf,
            "login": bool(self._access.passwords),
            "limits": {
                "page": limits.PAGE_LIMIT,
                "context": limits.CONTEXT_LIMIT,
                "buckets": limits.BUCKETS,
                "live_per_second": round(limits.TICK_MESSAGES / limits.TICK_SECONDS),
                "replay": limits.REPLAY_MESSAGES,
                "why": limits.WHY_BYTES,
            },
        }
        Answered(self, request, fields).ask("status", parameters)

    def _ask(self, request: ConsoleRequest, query: str, parameters: dict[str, list[str]]) -> None:
        Answered(self, request).ask(query, parameters)

    def _triage(self, request: ConsoleRequest, session: Session, id_: str) -> None:
        if self._read_only:
            raise Refused(403, "this console was started with --read-only: nothing is changed")
        body = _body(request, {"action", "into", "report", "why"})
        body["who"] = session.user or request.getClientAddress().host
        Answered(self, request).ask("triage", {"id": [id_]}, body)

    def _live_tail(self, request: ConsoleRequest, session: Session, parameters: dict[str, list[str]]) -> None:
        last = parameters.pop("last", ["0"])[-1]
        if not re.fullmatch(r"\d{1,6}", last, re.ASCII) or int(last) > limits.REPLAY_MESSAGES:
            raise Refused(400, f"last: is not a whole number from 0 to {limits.REPLAY_MESSAGES}", "last")
        # A new EventSource, as after a refusal, cannot send the header.
        named = parameters.pop("last_event_id", [""])[-1]
        cursor = Cursor.read(request.getHeader("last-event-id") or named)

        def opened(channel: Channel | None, error: Refused | None) -> None:
            if request.lost:
                return
            if error is not None or channel is None:
                request.refuse(error or Refused(503, "the live tail ended"))
                return
            request.setHeader("Content-Type", "text/event-stream")
            request.setHeader("Cache-Control", "no-store")
            # nginx would keep the events.
            request.setHeader("X-Accel-Buffering", "no")
            if request.method == b"HEAD":
                request.finish()
                return
            viewer = self._live.view(channel, request)
            session.tails.add(viewer.finish)
            request.notifyFinish().addErrback(lambda _: viewer.close()).addBoth(
                lambda _: session.tails.discard(viewer.finish)
            )
            request.write(b"retry: 2000\n\n")
            request.registerProducer(viewer, True)
            viewer.begin(cursor, int(last), parameters)

        self._live.open(parameters, opened)


@implementer(IPushProducer)
class Answered:
    """Copies the answer of a query to a request, as fast as its client takes it."""

    def __init__(self, api: Api, request: ConsoleRequest, with_fields: dict[str, Any] | None = None) -> None:
        """
        :param with_fields: are joined with the object that is the answer.
        """
        self._api = api
        self._request = request
        self._fields = with_fields
        self._joined: list[bytes] = []
        self._query: Query | None = None
        self._registered = False
        self._download = False

    def ask(self, query: str, parameters: dict[str, list[str]], body: dict[str, Any] | None = None) -> None:
        """Begin.

        :raises Refused: if too many queries wait.
        """
        pool = self._api._pool
        self._download = query == "download"
        if self._download and pool.downloads >= limits.DOWNLOADS:
            raise Refused(429, "another download runs: wait until it ends", retry=10)
        seconds = limits.DOWNLOAD_SECONDS if self._download else limits.QUERY_SECONDS
        self._query = pool.ask({"query": query, "parameters": parameters, "body": body}, self, seconds)
        if self._download:
            pool.downloads += 1
        self._request.notifyFinish().addErrback(lambda _: self._lost())

    def _lost(self) -> None:
        query = self._over()
        if query is not None:
            query.cancel()

    def _over(self) -> Query | None:
        query, self._query = self._query, None
        if query is not None and self._download:
            self._api._pool.downloads -= 1
        if self._registered:
            self._registered = False
            if not self._request.lost:
                self._request.unregisterProducer()
        return query

    def head(self, status: int, kind: str, headers: dict[str, str]) -> None:
        request = self._request
        request.setResponseCode(status)
        if status != 200:
            self._fields = None
        request.setHeader("Content-Type", kind)
        request.setHeader("Cache-Control", "no-store")
        for name, value in headers.items():
            request.setHeader(name, value)
        if self._fields is None and request.method != b"HEAD":
            self._registered = True
            request.registerProducer(self, True)

    def data(self, data: bytes) -> None:
        if self._fields is not None:
            self._joined.append(data)
        elif self._request.method != b"HEAD":
            self._request.write(data)

    def note(self, fields: dict[str, Any]) -> None:
        """Nothing."""

    def end(self) -> None:
        self._over()
        if self._fields is not None:
            self._request.object(self._fields | json.loads(b"".join(self._joined)))
        else:
            self._request.finish()

    def failed(self, error: Refused) -> None:
        self._over()
        if self._request.startedWriting:
            self._request.abort()
        else:
            self._request.refuse(error)

    def pauseProducing(self) -> None:
        if self._query is not None:
            self._query.pause()

    def resumeProducing(self) -> None:
        if self._query is not None:
            self._query.resume()

    def stopProducing(self) -> None:
        self._registered = False
        self._lost()


def _is_utf8(text: str) -> bool:
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Refused(400, "the path is not UTF-8") from None
    return True


def _parameters(request: ConsoleRequest) -> dict[str, list[str]]:
    _, _, query = request.uri.partition(b"?")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=_PARAMETERS, errors="strict")
    except ValueError:
        raise Refused(400, f"the query is not percent-encoded UTF-8, or has more than {_PARAMETERS} parts") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _body(request: ConsoleRequest, names: set[str]) -> dict[str, Any]:
    kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "Content-Type: is not application/json")
    assert request.content is not None
    try:
        body = json.loads(request.content.read())
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body is not a JSON object")
    unknown = body.keys() - names
    if unknown:
        raise Refused(400, f"the body has an unknown name; there are: {', '.join(sorted(names))}")
    return body
