"""A console without a daemon: the static files, and an API whose answers a test chooses.

For what a real daemon does not do on demand: 100,000 rows, a slow search, hostile text in every field, an error. The
headers are those of the console.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.scripted_lane import PATIENCE

STATIC: Final = Path(__file__).parents[2] / "netconsd" / "console" / "static"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

#: An answer: an object, or the lines of a stream, which may wait.
Answer = Callable[[dict[str, list[str]]], Any]


class ScriptedConsole:
    """Answers by path below /api/v1/; a test adds or replaces entries."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        #: The requests to the API, in order: method, path, query or body.
        self.requests: list[tuple[str, str, Any]] = []
        #: Set to end streams that wait.
        self.ended = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def served(self) -> Iterator[ScriptedConsole]:
        """Serve while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _request_of(self))
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            server.shutdown()
            server.server_close()
            thread.join(PATIENCE)


def _request_of(console: ScriptedConsole) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

        def do_GET(self) -> None:
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

        def _answer(self, given: Any) -> None:
            path = unquote(urlsplit(self.path).path)
            try:
                if path.startswith("/api/v1/"):
                    self._api(path.removeprefix("/api/v1/"), given)
                else:
                    self._file(path)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the page was left

        def _api(self, path: str, given: Any) -> None:
            console.requests.append((self.command, path, given))
            names = [path, *(f"{path.partition('/')[0]}/*",)]
            answer = next((console.answers[name] for name in names if name in console.answers), None)
            found = {"error": f"{path}: there is nothing"} if answer is None else answer(given)
            status = 404 if answer is None else 200
            if isinstance(found, tuple):
                status, found = found
            if isinstance(found, (dict, list)):
                self._head(status, "application/json")
                self.wfile.write(json.dumps(found).encode())
                return
            self._head(status, "text/event-stream" if path == "live" else "application/jsonl")
            for piece in found:
                self.wfile.write(piece)
                self.wfile.flush()

        def _file(self, path: str) -> None:
            file = STATIC / path.removeprefix("/static/") if path.startswith("/static/") else STATIC / "index.html"
            if not file.is_file():
                self._head(404, "text/plain")
                return
            self._head(200, _TYPES.get(file.suffix, "text/plain") + "; charset=utf-8")
            self.wfile.write(file.read_bytes())

        def _head(self, status: int, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", CSP)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()

    return Request
