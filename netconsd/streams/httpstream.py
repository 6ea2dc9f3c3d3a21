"""A stream to a server that speaks HTTP: the settings of its connection, for modules that post batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from netconsd.streams.http import Http, header_lines
from netconsd.streams.module import Stream
from netconsd.units import Duration

TIMEOUT: Final = Duration("30s")


class HttpStream(Stream):
    """Has a connection that the first request opens."""

    #: The connection to the server.
    http: Http

    def __init__(
        self,
        *,
        url: str,
        headers: list[str] | None = None,
        ca_file: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param url: the server, as http://127.0.0.1:8080, or https.
        :param headers: of each request, each as NAME: VALUE, for a password for example.
        :param ca_file: the certificates that are trusted for https, instead of the system's.
        :param timeout: how long the server may take for an answer.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if not 0.1 <= timeout <= 300:
            # A call of HANG_SECONDS ends the process.
            raise ValueError(f"timeout: {timeout} is not from 0.1s to 300s")
        try:
            sent = header_lines(headers or [])
        except ValueError as error:
            raise ValueError(f"headers: {error}") from None
        try:
            self.http = Http(url, timeout=float(timeout), headers=sent, ca_file=ca_file)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None

    def close(self) -> None:
        """Close the connection."""
        self.http.close()
