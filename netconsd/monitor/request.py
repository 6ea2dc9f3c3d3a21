"""Reads the head of an HTTP request (RFC 9112). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

# Parts of a query; the pages use two.
QUERY_LIMIT = 16
# token of RFC 9110, section 5.6.2.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(.*?)[ \t]*", re.DOTALL)
# A client that uses a proxy sends the whole address (section 3.2.2).
_ORIGIN = re.compile(rb"[hH][tT][tT][pP][sS]?://[^/?#]*")


class BadRequest(Exception):
    """A request that is answered with a status and a text, and ends its connection."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Request(NamedTuple):
    """The parts of a request that the pages use."""

    method: bytes
    path: bytes
    #: The last value of each name.
    query: dict[str, str]
    accept: str
    #: Whether the connection stays open after the answer. Not after a body, which is not read.
    keep_open: bool
    #: Whether the client speaks HTTP/1.0 and needs a field to know that the connection stays open.
    is_old: bool


def read(head: bytes) -> Request:
    """Read a request's line and fields, without the empty line after them.

    :raises BadRequest: if it is malformed, or of another version than HTTP/1.0 and 1.1.
    """
    line, *fields = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadRequest(400, "the request line is not METHOD PATH HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    values = _values(fields)
    is_old = minor == b"0"
    if not is_old and len(values.get(b"host", [])) != 1:
        raise BadRequest(400, "a request of HTTP/1.1 has one field Host")
    path, _, query = _ORIGIN.sub(b"", target, count=1).partition(b"?")
    options = {option.strip().lower() for option in b",".join(values.get(b"connection", [])).split(b",")}
    has_body = b"transfer-encoding" in values or any(size != b"0" for size in values.get(b"content-length", []))
    wants_open = b"keep-alive" in options if is_old else b"close" not in options
    return Request(
        method,
        unquote_to_bytes(path) or b"/",
        _query(query),
        b",".join(values.get(b"accept", [])).decode("latin-1"),
        wants_open and not has_body,
        is_old,
    )


def _query(text: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_LIMIT))
    except ValueError:
        raise BadRequest(400, f"the query has more than {QUERY_LIMIT} parts") from None


def _values(fields: list[bytes]) -> dict[bytes, list[bytes]]:
    """The values of each field, by its name in lower case."""
    values: dict[bytes, list[bytes]] = {}
    for field in fields:
        match = _FIELD.fullmatch(field)
        if match is None:
            raise BadRequest(400, "a field of the request is not NAME: VALUE")
        values.setdefault(match[1].lower(), []).append(match[2])
    return values
