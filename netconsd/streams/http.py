"""A connection to a server that speaks HTTP, for sinks: blocking, with limits of time and size. For one thread."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from netconsd.streams.sink import Refused, TryLater, reason_of

#: Bytes of an answer that are read, if the caller does not ask for more; a server's page of an error is longer.
ANSWER_BYTES: Final = 64 << 10
#: Bytes of an answer that are shown.
SHOWN_BYTES: Final = 300
#: The status codes that are about the records of a batch: bad, too large, not understood (RFC 9110, section 15.5).
ABOUT_RECORDS: Final = frozenset((400, 413, 422))


class Answered(NamedTuple):
    """A server's answer with a 2xx status."""

    status: int
    reason: str
    body: bytes

    @property
    def text(self) -> str:
        """The status for people: ``200 OK``."""
        return f"{self.status} {self.reason}".strip()


class Http:
    """One connection, which is kept open, and opened again after an error."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        :param url: ``http://HOST[:PORT][/PATH]``, or https; the path begins the paths of requests.
        :param timeout: seconds for the connection, and for each read and write.
        :param headers: of each request.
        :param ca_file: certificates of authorities, instead of the system's.
        :param certificate: the key and the certificate of this side, in one file.
        :raises ValueError: if the URL is none, or has a password.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
            # Without a password that is in it.
            raise ValueError(f'"{url.rpartition("@")[2]}" is not a URL such as http://127.0.0.1:9428')
        if "@" in parts.netloc:
            # It would be in the texts of errors, and http.client does not send it.
            raise ValueError(
                "a user and a password in it are not sent: write them in headers, as Authorization: Basic ..."
            )
        self.url = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._path = parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = dict(headers or {})
        self._ca_file = ca_file
        self._certificate = certificate
        self._clock = clock
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        most: int = ANSWER_BYTES,
    ) -> Answered:
        """Send a request, and return the answer if its status is 2xx.

        :param most: the bytes of the answer that are read; a longer one is an error.
        :raises Refused: for a status that is about the records.
        :raises TryLater: for any other status, with its Retry-After; and if there is no answer.
        """
        try:
            connection = self._connected()
            connection.request(method, self._path + path, body, {**self._headers, **(headers or {})})
            with connection.getresponse() as response:
                data = response.read(most + 1)
                # read() with a size returns the half of an answer without an error.
                if len(data) <= most and response.length:
                    raise http.client.IncompleteRead(data, response.length)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise TryLater(f"{self.url}: {reason_of(error)}") from error
        if len(data) > most or response.will_close:
            # What is left of it would be taken for the next answer.
            self.close()
        status, reason = response.status, response.reason
        if 200 <= status < 300:
            if len(data) > most:
                raise TryLater(f"{self.url}: the answer is longer than {most} bytes")
            return Answered(status, reason, data)
        shown = " ".join(data[:SHOWN_BYTES].decode(errors="replace").split())
        text = f"{status} {reason}: {shown}" if shown else f"{status} {reason}"
        if status in ABOUT_RECORDS:
            raise Refused(text)
        raise TryLater(f"{self.url}: {text}", self._retry_after(response.headers.get("Retry-After")))

    def wait_for_answer(self, path: str = "/") -> None:
        """Return when the server has answered a GET, whatever its status is.

        For a server that recognises no second copies, before a batch is sent again: while it hangs, each attempt would
        be in its socket, and be read when it continues.

        :raises TryLater: if there is no answer.
        """
        try:
            connection = self._connected()
            connection.request("GET", self._path + path, headers=self._headers)
            with connection.getresponse() as response:
                response.read(ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TryLater(f"{self.url}: {reason_of(error)}") from error
        finally:
            # The rest of a long answer would be taken for the next one.
            self.close()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            if self._secure:
                context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
                if self._certificate is not None:
                    context.load_cert_chain(self._certificate)
                self._connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return self._connection

    def _retry_after(self, value: str | None) -> float | None:
        """Return the seconds of a Retry-After (RFC 9110, section 10.2.3): a number, or a date."""
        if value is None:
            return None
        if value.strip().isdecimal():
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except ValueError:
            return None

    def close(self) -> None:
        """Close the connection; the next request opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def header_lines(lines: Iterable[str]) -> dict[str, str]:
    """Return the headers of a setting: a list of ``NAME: VALUE``.

    :raises ValueError: if one has another form.
    """
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or any(character in line for character in "\r\n"):
            raise ValueError("an entry is not NAME: VALUE")
        headers[name.strip()] = value.strip()
    return headers
