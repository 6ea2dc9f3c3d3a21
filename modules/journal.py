"""Sends messages, crash reports and events to a journal of systemd: the local one, or systemd-journal-remote by HTTP.

Locally by the native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram for each record, or a memfd if a
datagram cannot hold it; journald has no answers. Remotely in the journal export format
(https://systemd.io/JOURNAL_EXPORT_FORMATS). systemd-journal-remote answers 202 to entries and fields that it drops, and
closes the connection without an answer over others: none of these is made here.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from hashlib import blake2b
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, send_fds
from socket import socket as new_socket
from typing import Any, Final

from netconsd.protocol.message import Message
from netconsd.rendering import printable
from netconsd.streams.http import Http, header_lines
from netconsd.streams.module import Stream
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, TryLater, reason_of
from netconsd.units import Duration

SOCKET: Final = Path("/run/systemd/journal/socket")
TIMEOUT: Final = Duration("30s")
#: systemd ends a connection, or ignores a datagram, over an entry of more than 1024 fields (ENTRY_FIELD_COUNT_MAX);
#: journald's own are some twenty.
FIELDS_LIMIT: Final = 1000
#: journald ignores a larger entry of an unprivileged process (ENTRY_SIZE_UNPRIV_MAX).
ENTRY_BYTES: Final = 32 << 20
#: systemd-journal-remote closes the connection over a stamp of more microseconds (VALID_REALTIME, VALID_MONOTONIC).
STAMP_LIMIT: Final = 1 << 55
#: Bytes of a field's name (journal_field_valid).
_NAME_LIMIT: Final = 64
#: journalctl searches a file by time as if its entries were in order: it ends at the first one after --until, and
#: --since can pass over any number of entries around one that is out of order. A record that was received up to so many
#: seconds before one that is there already has the other's time: a report is made after its first lines, and workers
#: differ by milliseconds. A clock that was set back further is left alone.
LATE_USEC: Final = 60_000_000
#: The same for the uptime of one boot: processors stamp their lines microseconds apart, and journalctl --verify takes
#: that for a damaged file.
LATE_UPTIME_USEC: Final = 1_000_000
#: Fields that have names of the journal's own.
_ELSEWHERE: Final = frozenset(("level", "severity", "text", "facility"))
#: The errors of a datagram that the socket cannot hold.
_TOO_LARGE: Final = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS: Final = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


class Journal(Stream):
    """Sends each record as an entry of a journal."""

    def __init__(
        self,
        *,
        url: str | None = None,
        socket: Path | None = None,
        headers: list[str] | None = None,
        ca_file: Path | None = None,
        certificate: Path | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param url: systemd-journal-remote, as http://logs.example.net:19532; by default the local journal is used.
        :param socket: the socket of the local journal, by default /run/systemd/journal/socket.
        :param headers: of each request, each as NAME: VALUE, for a proxy with a password for example.
        :param ca_file: the certificates that are trusted for https, instead of the system's.
        :param certificate: the key and the certificate that the server asks for, in one file.
        :param timeout: how long the server may take for an answer, or journald for a record.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if url is None:
            for name, value in (("headers", headers), ("ca_file", ca_file), ("certificate", certificate)):
                if value is not None:
                    raise ValueError(f"{name}: needs url, a server to which it is sent")
        elif socket is not None:
            raise ValueError("socket: is that of the local journal; url is set, so that records are sent there")
        try:
            sent = header_lines(headers or [])
        except ValueError as error:
            raise ValueError(f"headers: {error}") from None
        self._http: Http | None = None
        # The stamps of the last remote entry: the time, the boot and the uptime.
        self._last = 0, "", 0
        self.by_time = url is not None
        if url is not None:
            try:
                self._http = Http(url, timeout=timeout, headers=sent, ca_file=ca_file, certificate=certificate)
            except ValueError as error:
                raise ValueError(f"url: {error}") from None
        self._path = socket or SOCKET
        self._timeout = float(timeout)
        self._socket: new_socket | None = None

    def encode(self, record: Record) -> bytes:
        """Return an entry of the native protocol, or of the export format.

        :raises ValueError: if systemd would ignore it, or end the connection over it.
        """
        entry = _Entry()
        found = record.fields()
        message = record.kind == "message"
        if self._http is not None:
            self._add_stamps(entry, record, found)
        shown = record.name or record.address
        entry.add("MESSAGE", record.text)
        entry.add("PRIORITY", record.level)
        # The journal of this machine shows its own name before each line: the sender's is the second word.
        program = "kernel" if message else "netconsd"
        entry.add("SYSLOG_IDENTIFIER", (program if self._http is not None else shown) or program)
        if isinstance(record.body, Message):
            entry.add("SYSLOG_FACILITY", record.body.facility or 0)
        entry.add("NETCONSD_RECEIVED_AT", _time(record.received_at))
        for name, value in found.items():
            if name not in _ELSEWHERE:
                entry.add_named(name, value, remote=self._http is not None)
        if len(entry.names) > FIELDS_LIMIT:
            raise ValueError(f"it has {len(entry.names)} fields; an entry of a journal can have {FIELDS_LIMIT}")
        if self._http is not None:
            entry.end()
        if len(entry.data) > ENTRY_BYTES:
            raise ValueError(f"it has {len(entry.data)} bytes; an entry of a journal can have {ENTRY_BYTES}")
        return bytes(entry.data)

    def _add_stamps(self, entry: _Entry, record: Record, found: dict[str, Any]) -> None:
        """Add the fields that only a remote entry can have: those of journald have a ``_``."""
        received_at = round(record.received_at * 1e6)
        if not 0 < received_at < STAMP_LIMIT:
            raise ValueError(f"the time of receipt, {record.received_at:g}, is none that a journal can have")
        uptime = found.get("ts_usec")
        if uptime is None and record.boot:
            uptime = max(0, received_at - record.boot * 1_000_000)
        if uptime is None or not 0 <= uptime < STAMP_LIMIT:
            # A sender can write any number. NETCONSD_TS_USEC has it.
            uptime = 0
        boot = boot_id(record.address, record.boot)
        time, last_boot, monotonic = self._last
        if not received_at < time <= received_at + LATE_USEC:
            time = received_at
        if boot != last_boot or not uptime < monotonic <= uptime + LATE_UPTIME_USEC:
            monotonic = uptime
        self._last = time, boot, monotonic
        entry.add("__REALTIME_TIMESTAMP", time)
        entry.add("__MONOTONIC_TIMESTAMP", monotonic)
        entry.add("_BOOT_ID", boot)
        entry.add("_TRANSPORT", "kernel" if record.kind == "message" else "journal")
        entry.add("_HOSTNAME", record.name or record.address or "-")
        if "ts_usec" in found:
            entry.add("_SOURCE_MONOTONIC_TIMESTAMP", uptime)

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Send a batch."""
        if self._http is None:
            return self._send_locally(batch)
        answered = self._http.request(
            "POST",
            "/upload",
            b"".join([each.data for each in batch]),
            {"Content-Type": "application/vnd.fdo.journal"},
        )
        if answered.status != 202:
            raise TryLater(f"{self._http.url}: {answered.text}, and not 202: is it systemd-journal-remote?")
        return Answer(answered.text)

    def stored(self, batch: Sequence[Encoded]) -> frozenset[int]:
        """Wait until systemd-journal-remote answers: it cannot say which records it has."""
        if self._http is not None:
            self._http.wait_for_answer("/upload")
        return frozenset()

    def _send_locally(self, batch: Sequence[Encoded]) -> Answer:
        for place, each in enumerate(batch):
            try:
                self._send_entry(each.data)
            except OSError as error:
                self.close()
                text = f"{self._path}: {reason_of(error)}"
                if not place:
                    raise TryLater(text) from error
                return Answer(text, later=frozenset(range(place, len(batch))))
        return Answer(f"{self._path} took it; journald has no answer")

    def _send_entry(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = new_socket(AF_UNIX, SOCK_DGRAM)
            self._socket.settimeout(self._timeout)
            self._socket.connect(str(self._path))
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            memory = os.memfd_create("netconsd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                with open(memory, "wb", buffering=0, closefd=False) as file:
                    written = 0
                    while written < len(data):
                        written += file.write(data[written:])
                # journald takes no other memfd: its writer could change it.
                fcntl(memory, F_ADD_SEALS, _SEALS)
                send_fds(self._socket, [b""], [memory])
            finally:
                os.close(memory)

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Entry:
    """The fields of an entry, in the form that both transports share."""

    def __init__(self) -> None:
        self.data = bytearray()
        #: A name for each field, also those that are there again.
        self.names: list[str] = []

    def add(self, name: str, value: object) -> None:
        """Add a field. A control character of its value is an escape; its lines stay lines."""
        text = "\n".join([printable(line) for line in str(value).removesuffix("\n").split("\n")])
        if name == "MESSAGE":
            text = printable(str(value))
        data = text.encode()
        self.names.append(name)
        if "\n" in text:
            self.data += b"%b\n%b%b\n" % (name.encode("ascii"), struct.pack("<Q", len(data)), data)
        else:
            self.data += b"%b=%b\n" % (name.encode("ascii"), data)

    def add_named(self, name: str, value: object, *, remote: bool) -> None:
        """Add a field of a record. A key that no field of a journal can have, or that another one has already, is in
        the value of ``..._PAIR``."""
        prefix, dot, key = name.partition(".")
        begin = f"NETCONSD_{prefix}".upper()
        if not dot:
            self.add(begin, value)
            return
        # As journald names the dictionary of the kernel's records.
        begin = "_KERNEL_" if remote and prefix == "dictionary" else f"{begin}_"
        field = begin + key.upper()
        if re.fullmatch(r"[A-Za-z0-9_]+", key) and len(field) <= _NAME_LIMIT and field not in self.names:
            self.add(field, value)
        else:
            self.add(f"{begin}PAIR", f"{key}={value}")

    def end(self) -> None:
        """End an entry of the export format."""
        self.data += b"\n"


def boot_id(host: str, boot: int | None) -> str:
    """Return the id of a machine's boot, as 32 hexadecimal digits: the same each time.

    Not the machine's own, which it does not send. Reports and events, whose boot is unknown, have one per machine.
    """
    return blake2b(f"netconsd boot {host} {boot}".encode(), digest_size=16).hexdigest()


def _time(received_at: float) -> str:
    return datetime.fromtimestamp(received_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
