"""Sends messages, crash reports and events as syslog (RFC 5424) with structured data, to rsyslog or syslog-ng.

Over TCP (RFC 6587, octet counting), TLS (RFC 5425) or UDP (RFC 5426). Syslog has no answers: over TCP and TLS, a batch
counts as accepted when the server's kernel has acknowledged its bytes, and the batches of the last seconds are sent
again if the connection is lost. Over UDP, losses on the way cannot be seen.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from fcntl import ioctl
from pathlib import Path
from termios import TIOCOUTQ
from typing import Any, Final, Literal

from netconsd.protocol.message import Message
from netconsd.rendering import printable
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater
from netconsd.units import Duration, Size

#: Seconds in which a server reads what its kernel has acknowledged: if it is killed before, that is lost.
SETTLE_SECONDS: Final = 5.0
#: rsyslog cuts a message at 8096 bytes and makes others of the rest (maxMessageSize); syslog-ng closes the connection
#: at 64 KiB (log-msg-size).
LARGEST: Final = Size("8000")
TIMEOUT: Final = Duration("30s")
#: Bytes of a value in the structured data: others must have room.
VALUE_BYTES: Final = 1000
#: The names of the elements have the enterprise number that is reserved for documentation (RFC 5612), as netconsd has
#: none of its own.
ENTERPRISE: Final = "32473"
#: Seconds between two looks at the bytes that the server's kernel has not acknowledged.
_LOOK_SECONDS: Final = 0.005
#: The highest facility of RFC 5424.
_FACILITY_LIMIT: Final = 23
#: Fields that are in the header or the text, and the lines of a report, which are messages of their own.
_ELSEWHERE: Final = frozenset(("kind", "host", "level", "severity", "text", "caller", "lines", "frames"))
#: PARAM-NAME, and the characters of a PARAM-VALUE that are escaped (RFC 5424, sections 6 and 6.3.3).
_NAME: Final = re.compile(r"[!#-<>-\\^-~]{1,32}")
_SPECIAL: Final = re.compile(r'(["\\\]])')
#: The names of parameters that have a name in their value.
_PAIR: Final = re.compile(r"pair\d*")
_PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}


class Syslog(Stream):
    """Sends each record as a syslog message."""

    def __init__(
        self,
        *,
        host: str,
        transport: Literal["tcp", "tls", "udp"] = "tcp",
        port: int | None = None,
        largest: Size = LARGEST,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param host: the server's name or address.
        :param transport: tcp, tls or udp.
        :param port: by default 601 for TCP, 6514 for TLS, 514 for UDP.
        :param largest: the most bytes of a syslog message; the text is cut, and the message says so.
        :param ca_file: the certificates that are trusted for TLS, instead of the system's.
        :param certificate: the key and the certificate that the server asks for, in one file.
        :param timeout: how long the server may take to acknowledge a batch.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if port is not None and not 1 <= port <= 65_535:
            raise ValueError(f"port: {port} is not from 1 to 65535")
        if not 480 <= largest <= 1 << 20:
            # RFC 5424, section 6.1: every receiver takes 480 bytes.
            raise ValueError(f"largest: {largest} is not from 480 to 1M")
        if transport == "udp" and largest > 65_000:
            raise ValueError(f"largest: {largest} is more than a UDP datagram can have, 65000")
        for name, path in (("ca_file", ca_file), ("certificate", certificate)):
            if path is not None and transport != "tls":
                raise ValueError(f"{name}: needs transport = tls")
        self._address = host, port or _PORTS[transport]
        self._transport = transport
        self._largest = int(largest)
        self._ca_file = ca_file
        self._certificate = certificate
        self._timeout = float(timeout)
        self._socket: socket.socket | None = None
        # Whether a connection was lost over which records were sent.
        self._broken = False
        self._used = False
        self.settle = 0.0 if transport == "udp" else SETTLE_SECONDS
        self.monotonic: Callable[[], float] = time.monotonic

    def encode(self, record: Record) -> bytes:
        """Return a syslog message, with its length before it for TCP and TLS.

        :raises ValueError: if the structured data alone are too large.
        """
        body = record.body
        facility = (body.facility or 0) if isinstance(body, Message) else 0
        facility = facility if facility <= _FACILITY_LIMIT else 0
        caller = body.caller if isinstance(body, Message) else None
        head = (
            f"<{facility * 8 + record.level}>1 {_time(record.received_at)} {_word(record.name or record.address, 255)} "
            f"{'kernel' if isinstance(body, Message) else 'netconsd'} {_word(caller or '', 128)} {record.kind} "
        )
        text = printable(record.text).encode()
        data = _structured(record, {}).encode()
        room = self._largest - len(head) - len(data) - 1
        if len(text) > room:
            data = _structured(record, {"text_bytes": len(text)}).encode()
            room = self._largest - len(head) - len(data) - 1
            if room < 0:
                raise ValueError(f"its fields have more than {self._largest} bytes, the setting largest")
            # Not in the middle of a character.
            text = text[:room].decode(errors="ignore").encode()
        line = b"%b%b %b" % (head.encode("ascii"), data, text)
        return line if self._transport == "udp" else b"%d %b" % (len(line), line)

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Send a batch, and wait until the server's kernel has it."""
        connection = self._connected()
        size = sum(len(each.data) for each in batch)
        if self._transport == "udp":
            for each in batch:
                connection.send(each.data)
            return Answer(f"{size} bytes sent by UDP; there is no answer")
        if _closed(connection):
            raise TryLater("the server closed the connection")
        self._used = True
        connection.sendall(b"".join([each.data for each in batch]))
        end = self.monotonic() + self._timeout
        while _unacknowledged(connection):
            if self.monotonic() >= end:
                raise TryLater(f"the server has not acknowledged the batch in {self._timeout:g} s")
            if _closed(connection):
                break
            select.select([], [], [], _LOOK_SECONDS)
        if _closed(connection):
            raise TryLater("the server closed the connection")
        return Answer(f"{size} bytes acknowledged by the server's kernel; syslog has no answer")

    def _connected(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = self._opened()
            except OSError as error:
                host, port = self._address
                raise TryLater(f"{host} port {port}: {error.strerror or error}") from error
        return self._socket

    def _opened(self) -> socket.socket:
        if self._transport == "udp":
            family, _, _, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)[0]
            connection = socket.socket(family, socket.SOCK_DGRAM)
        else:
            connection = socket.create_connection(self._address, self._timeout)
        try:
            if self._transport == "udp":
                connection.connect(address)
            return self._secured(connection) if self._transport == "tls" else connection
        except BaseException:
            connection.close()
            raise

    def _secured(self, connection: socket.socket) -> socket.socket:
        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        if self._certificate is not None:
            context.load_cert_chain(self._certificate)
        return context.wrap_socket(connection, server_hostname=self._address[0])

    def survived(self) -> bool:
        """Return false if a connection was lost since the last call."""
        if self._socket is not None and self._transport != "udp" and _closed(self._socket):
            self.close()
        lost, self._broken = self._broken, False
        return not lost

    def kept(self) -> bool:
        """End the connection in order: a server closes its side when it has read everything."""
        connection = self._socket
        if connection is None:
            return self.survived()
        if isinstance(connection, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                connection = connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(self.settle)
        while connection.recv(4096):
            pass
        self._used = False
        return self.survived()

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._broken = self._broken or self._used
            self._socket.close()
            self._socket = None
            self._used = False


def _closed(connection: socket.socket) -> bool:
    """Return whether the server closed a connection. It sends nothing otherwise, except the records of TLS."""
    readable, _, _ = select.select([connection], [], [], 0)
    if not readable:
        return False
    if isinstance(connection, ssl.SSLSocket):
        timeout = connection.gettimeout()
        connection.settimeout(0.0)
        try:
            return connection.recv(4096) == b""
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(timeout)
    try:
        return connection.recv(4096, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _unacknowledged(connection: socket.socket) -> int:
    """Return the bytes that the server's kernel has not acknowledged (tcp(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", ioctl(connection.fileno(), TIOCOUTQ, bytes(4)))[0]
    return count


def _time(received_at: float) -> str:
    return datetime.fromtimestamp(received_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _word(text: str, most: int) -> str:
    """Return a text as a field of the header: printable ASCII without a space, ``-`` for none."""
    return re.sub(r"[^!-~]", "_", text)[:most] or "-"


def _structured(record: Record, more: dict[str, Any]) -> str:
    """Return the structured data: an element with the fields, one with the userdata, one with the dictionary.

    A name that RFC 5424 does not allow is in the value of the parameter ``pair``, ``pair2`` and so on: syslog-ng and
    rsyslog keep the last one only of parameters with one name, and rsyslog does not tell capitals from small letters.
    """
    elements: dict[str, dict[str, str]] = {}
    pairs: Counter[str] = Counter()
    for name, value in {**record.fields(), **more}.items():
        if name in _ELSEWHERE:
            continue
        prefix, dot, key = name.partition(".")
        text = str(value)
        if not dot:
            elements.setdefault("netconsd", {})[name] = _parameter(name, text)
            continue
        parameters = elements.setdefault(prefix, {})
        small = key.lower()
        if not _NAME.fullmatch(key) or small in parameters or _PAIR.fullmatch(small):
            pairs[prefix] += 1
            text = f"{key}={text}"
            key = small = f"pair{pairs[prefix]}" if pairs[prefix] > 1 else "pair"
        parameters[small] = _parameter(key, text)
    return "".join([f"[{name}@{ENTERPRISE} {' '.join(found.values())}]" for name, found in elements.items()])


def _parameter(name: str, value: str) -> str:
    value = printable(value).encode()[:VALUE_BYTES].decode(errors="ignore")
    escaped = _SPECIAL.sub(r"\\\1", value)
    return f'{name}="{escaped}"'
