"""The entries of the module journal, a socket that takes them, and the answers of a scripted journal-remote."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.message import Message
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, Refused, TryLater
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.http_server import Answers, serving
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import certificate

T0 = 1_795_000_000.25
URL = "http://127.0.0.1:19532"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a module."""
    modules: list[Any] = []

    def make(**settings: object) -> Any:
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in settings.items()}
        modules.append(load(["journal"], {"journal": typed}).loaded[0].module)
        return modules[-1]

    yield make
    for module in modules:
        module.close()


def fields_of(entry: bytes) -> dict[str, list[str]]:
    """Return the fields of an entry, by the rules of the export format."""
    fields: dict[str, list[str]] = {}
    while entry and not entry.startswith(b"\n"):
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", entry)
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        fields.setdefault(name.decode(), []).append(value.decode())
    return fields


def record(body: Any = None, boot: int | None = 1_794_999_995, name: str = "") -> Record:
    """Return a record."""
    return Record(body or extended_message("x", received_at=T0), "192.0.2.1/1794999995/417", boot, name)


def test_a_remote_message(made: Callable[..., Any]) -> None:
    """A message has the fields that journald gives to the kernel's own, and everything else by its name."""
    message = extended_message(
        "link is down", seq=417, level=4, ts_usec=5_000_000, caller="C3", received_at=T0, lost=2,
        dictionary={"SUBSYSTEM": "net"}, userdata={"rack": "r7"},
    )  # fmt: skip
    entry = made(url=URL).encode(record(message, name="web01"))
    assert entry.endswith(b"\n\n")
    fields = fields_of(entry)
    assert len(fields.pop("_BOOT_ID")[0]) == 32
    assert {name: value for name, (value,) in fields.items()} == {
        "__REALTIME_TIMESTAMP": "1795000000250000", "__MONOTONIC_TIMESTAMP": "5000000", "_TRANSPORT": "kernel",
        "_HOSTNAME": "web01", "_SOURCE_MONOTONIC_TIMESTAMP": "5000000", "MESSAGE": "link is down", "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "kernel", "SYSLOG_FACILITY": "0", "NETCONSD_RECEIVED_AT": "2026-11-18T11:06:40.250000Z",
        "NETCONSD_ID": "192.0.2.1/1794999995/417", "NETCONSD_KIND": "message", "NETCONSD_HOST": "192.0.2.1",
        "NETCONSD_NAME": "web01", "NETCONSD_BOOT": "1794999995", "NETCONSD_PORT": "6665", "NETCONSD_TS_USEC": "5000000",
        "NETCONSD_CALLER": "C3", "NETCONSD_FORMAT": "extended", "NETCONSD_SEQ": "417", "NETCONSD_LOST": "2",
        "_KERNEL_SUBSYSTEM": "net", "NETCONSD_USERDATA_RACK": "r7",
    }  # fmt: skip


def test_a_local_message(made: Callable[..., Any]) -> None:
    """No field of a local entry begins with ``_``: journald ignores those. The sender's name is before the text."""
    message = extended_message("x", received_at=T0, dictionary={"SUBSYSTEM": "net"})
    entry = made().encode(record(message, name="web01"))
    assert not entry.endswith(b"\n\n")
    fields = fields_of(entry)
    assert [name for name in fields if name.startswith("_")] == []
    assert fields["SYSLOG_IDENTIFIER"] == ["web01"]
    assert fields["NETCONSD_DICTIONARY_SUBSYSTEM"] == ["net"]


def test_boots(made: Callable[..., Any]) -> None:
    """A boot of a machine has one id; other boots, other machines, reports and events have others."""
    module = made(url=URL)

    def boot(each: Record) -> str:
        found = fields_of(module.encode(each))["_BOOT_ID"]
        assert len(found) == 1
        return found[0]

    other = extended_message("x", received_at=T0, address="192.0.2.2")
    assert boot(record()) == boot(record(legacy_message("y", received_at=T0)))
    others = (record(), record(boot=7), record(other), record(event(received_at=T0), None))
    assert len({boot(each) for each in others}) == 4


@pytest.mark.parametrize(
    ("body", "boot", "uptime"),
    [
        (extended_message("x", ts_usec=7, received_at=T0), 1_794_999_995, "7"),
        (extended_message("x", ts_usec=(1 << 55) - 1, received_at=T0), 5, str((1 << 55) - 1)),
        (extended_message("x", ts_usec=1 << 55, received_at=T0), 5, "0"),
        (legacy_message("x", received_at=T0), 1_794_999_995, "5250000"),
        (legacy_message("x", received_at=T0), 1_795_000_009, "0"),
        (legacy_message("x", received_at=T0), 0, "0"),
        (event(received_at=T0), None, "0"),
    ],
)
def test_uptime(made: Callable[..., Any], body: Any, boot: int | None, uptime: str) -> None:
    """The uptime is the sender's, else that since its boot; a number that ends the connection is 0."""
    fields = fields_of(made(url=URL).encode(record(body, boot)))
    assert fields["__MONOTONIC_TIMESTAMP"] == [uptime]
    assert fields.get("NETCONSD_TS_USEC") == (
        [str(body.ts_usec)] if isinstance(body, Message) and body.ts_usec is not None else None
    )


@pytest.mark.parametrize("received_at", [0.0, -1.0, 1e12])
def test_times_that_end_the_connection(made: Callable[..., Any], received_at: float) -> None:
    """A time of receipt that no journal can have is refused here."""
    with pytest.raises(ValueError, match="time of receipt"):
        made(url=URL).encode(record(extended_message("x", received_at=received_at)))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((0, 5, 4, -50, 6), (0, 5, 5, 5, 6)),  # a report, made after its lines
        ((0, 100, 39, 101), (0, 100, 39, 101)),  # a clock that was set back
        ((0, 100, 40, 41), (0, 100, 100, 100)),
    ],
)
def test_times_do_not_decrease(made: Callable[..., Any], steps: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """A late record has the time of the last one, as journalctl passes over entries around one out of order.
    The time of receipt is there as well."""
    module = made(url=URL)
    found = [fields_of(module.encode(record(extended_message("x", received_at=T0 + step)))) for step in steps]
    assert [int(fields["__REALTIME_TIMESTAMP"][0]) - round(T0 * 1e6) for fields in found] == [
        step * 10**6 for step in expected
    ]
    assert found[2]["NETCONSD_RECEIVED_AT"] != found[1]["NETCONSD_RECEIVED_AT"]


def test_uptimes_do_not_decrease(made: Callable[..., Any]) -> None:
    """The uptime of a boot does not decrease by the microseconds of processors that log at once; a buffer that is sent
    again has its own."""
    module = made(url=URL)

    def uptime(boot: int, usec: int) -> tuple[str, str]:
        fields = fields_of(module.encode(record(extended_message("x", ts_usec=usec, received_at=T0), boot)))
        return fields["__MONOTONIC_TIMESTAMP"][0], fields["_SOURCE_MONOTONIC_TIMESTAMP"][0]

    assert uptime(7, 5_000_000) == ("5000000", "5000000")
    assert uptime(7, 4_999_990) == ("5000000", "4999990")
    assert uptime(8, 4_999_980) == ("4999980", "4999980")
    assert uptime(7, 4_999_970) == ("4999970", "4999970")
    assert uptime(7, 3_000_000) == ("3000000", "3000000")


def test_findings(made: Callable[..., Any]) -> None:
    """A report has its lines, with their newlines; an event its details."""
    module = made(url=URL)
    report = crash_report(title="BUG: x", lines=("BUG: x", "evil\x1b[2J\r"), received_at=T0)
    fields = fields_of(module.encode(record(report, None)))
    assert (fields["MESSAGE"], fields["PRIORITY"], fields["SYSLOG_IDENTIFIER"]) == (["BUG: x"], ["3"], ["netconsd"])
    assert fields["NETCONSD_LINES"] == ["BUG: x\nevil\\x1b[2J\\x0d"]
    assert (fields["_TRANSPORT"], fields["NETCONSD_REPORT"]) == (["journal"], ["memory-fault"])
    fields = fields_of(module.encode(record(event(received_at=T0, how="crash"), None)))
    assert (fields["NETCONSD_EVENT"], fields["NETCONSD_DETAILS_HOW"]) == (["rebooted"], ["crash"])
    assert fields["PRIORITY"] == ["5"]


def test_a_strangers_text(made: Callable[..., Any]) -> None:
    """A text is one line without control characters: it forges no field, and no entry."""
    text = "x\n\n__REALTIME_TIMESTAMP=1\nMESSAGE=forged \x1b[31m é"
    message = extended_message(text, received_at=T0, userdata={"k": "v\nNETCONSD_ID=forged"})
    for module in (made(), made(url=URL)):
        fields = fields_of(module.encode(record(message)))
        assert fields["MESSAGE"] == ["x\\x0a\\x0a__REALTIME_TIMESTAMP=1\\x0aMESSAGE=forged \\x1b[31m é"]
        assert fields["NETCONSD_ID"] == ["192.0.2.1/1794999995/417"]


def test_keys_that_no_field_can_have(made: Callable[..., Any]) -> None:
    """A key of the userdata that is no name of a field, too long a one, and one that differs only in its case, are in
    the value of another field: none is lost."""
    long = "k" * 60
    userdata = {"rack": "1", "Rack": "2", "a-b": "3", "ä": "4", "": "5", long: "6", "pair": "7"}
    message = extended_message("x", received_at=T0, userdata=userdata)
    fields = fields_of(made().encode(record(message)))
    assert fields["NETCONSD_USERDATA_RACK"] == ["1"]
    # An empty key is none for the decoder either.
    assert fields["NETCONSD_USERDATA_PAIR"] == [
        *(f"{key}={value}" for key, value in message.userdata.items() if key not in ("rack", "pair")), *["pair=7"]
    ]  # fmt: skip
    assert max(map(len, fields)) <= 64


def test_too_many_fields(made: Callable[..., Any]) -> None:
    """An entry of more fields than systemd takes is refused here; it would end the connection."""
    userdata = {f"k{number}": "v" for number in range(1000)}
    with pytest.raises(ValueError, match="1000"):
        made(url=URL).encode(record(extended_message("x", received_at=T0, userdata=userdata)))


def test_too_large(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of more bytes than journald takes is refused here."""
    module = made()
    monkeypatch.setitem(type(module).encode.__globals__, "ENTRY_BYTES", 5000)
    module.encode(record(extended_message("x" * 4000, received_at=T0)))
    with pytest.raises(ValueError, match="5000"):
        module.encode(record(extended_message("x" * 5000, received_at=T0)))


class Journald:
    """A socket as journald's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(PATIENCE)

    def entry(self) -> bytes:
        """Return the next entry."""
        data, handles, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
        if not handles:
            return data
        with open(handles[0], "rb") as file:
            file.seek(0)
            data = file.read()
            # Sealed: it cannot be written any more.
            with pytest.raises(PermissionError):
                os.pwrite(file.fileno(), b"x", 0)
        return data

    def close(self) -> None:
        """End."""
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    """A socket."""
    server = Journald(tmp_path / "socket")
    yield server
    server.socket.close()


def encoded(module: Any, text: str) -> Encoded:
    """Return a record with its bytes."""
    each = record(extended_message(text, received_at=T0))
    return Encoded(each, module.encode(each))


def test_a_datagram_for_each(made: Callable[..., Any], journald: Journald) -> None:
    """Each record is a datagram; one that is too large for a datagram is a sealed file in memory."""
    module = made(socket=str(journald.path))
    batch = [encoded(module, text) for text in ("a", "b" * 3_000_000, "c")]
    assert module.send(batch).later == frozenset()
    assert [journald.entry() for _ in batch] == [each.data for each in batch]


def test_journald_is_away(made: Callable[..., Any], journald: Journald) -> None:
    """Without journald, the batch is sent later; when it is there again, it gets it."""
    module = made(socket=str(journald.path))
    batch = [encoded(module, "a")]
    module.send(batch)
    journald.close()
    for _ in range(2):
        with pytest.raises(TryLater, match=str(journald.path)):
            module.send(batch)
    again = Journald(journald.path)
    module.send(batch)
    assert again.entry() == batch[0].data
    again.close()


def test_journald_hangs(made: Callable[..., Any], journald: Journald) -> None:
    """When the queue of the socket is full, the rest of the batch is sent later, and nothing twice."""
    module = made(socket=str(journald.path), timeout="0.05s")
    batch = [encoded(module, f"line {number}") for number in range(2000)]
    answer = module.send(batch)
    assert min(answer.later) > 0
    assert answer.later == frozenset(range(min(answer.later), 2000))
    with pytest.raises(TryLater, match="timed out"):
        module.send(batch)
    got = [journald.entry() for _ in range(min(answer.later))]
    assert got == [each.data for each in batch[: len(got)]]


@pytest.fixture
def remote() -> Iterator[Answers]:
    """A scripted journal-remote."""
    with serving() as http:
        http.answer = lambda request: (202, {}, b"OK.\n")
        yield http


def test_a_batch(made: Callable[..., Any], remote: Answers) -> None:
    """Entries are posted together; 202 is the answer."""
    module = made(url=remote.url, headers=["X-Key: 1"])
    batch = [encoded(module, "a"), encoded(module, "b")]
    assert module.send(batch).text.startswith("202")
    request = remote.requests[0]
    assert (request.method, request.path, request.headers["X-Key"]) == ("POST", "/upload", "1")
    assert request.headers["Content-Type"] == "application/vnd.fdo.journal"
    assert request.body == batch[0].data + batch[1].data
    assert [fields_of(entry + b"\n")["MESSAGE"] for entry in request.body.split(b"\n\n")[:2]] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("status", "headers", "error", "retry_after"),
    [
        (413, {}, Refused, None),
        (417, {}, TryLater, None),
        (200, {}, TryLater, None),
        (401, {}, TryLater, None),
        (503, {"Retry-After": "7"}, TryLater, 7.0),
        (202, {"Content-Length": "100", "Connection": "close"}, TryLater, None),
    ],
)
def test_answers(
    made: Callable[..., Any],
    remote: Answers,
    status: int,
    headers: dict[str, str],
    error: type[Exception],
    retry_after: float | None,
) -> None:
    """A batch that is too large is refused, and sent in halves; any other answer than 202 has it sent again, also the
    200 of another server, and half an answer."""
    remote.answer = lambda request: (status, headers, b"OK.\n")
    module = made(url=remote.url)
    with pytest.raises(error) as caught:
        module.send([encoded(module, "a")])
    assert getattr(caught.value, "retry_after", None) == retry_after


def test_before_a_second_copy(made: Callable[..., Any], remote: Answers) -> None:
    """Before a batch that may have been sent, the server has to answer: while it hangs, each attempt is a copy."""
    module = made(url=remote.url)
    remote.answer = lambda request: (406, {}, b"Unsupported method.\n")
    assert module.stored([encoded(module, "x")]) == frozenset()
    assert [request.method for request in remote.requests] == ["GET"]
    module.close()


def test_certificates(made: Callable[..., Any], tmp_path: Path) -> None:
    """A server that asks for a certificate gets the one of the setting; without it, nothing is sent."""
    cert, key = certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + cert.read_text())
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(cert))
    tls.load_cert_chain(both)
    tls.verify_mode = ssl.CERT_REQUIRED
    with serving(tls) as server:
        server.answer = lambda request: (202, {}, b"OK.\n")
        url = f"https://localhost:{server.port}"
        module = made(url=url, ca_file=str(cert), certificate=str(both))
        assert module.send([encoded(module, "a")]).text.startswith("202")
        stranger = made(url=url, ca_file=str(cert))
        with pytest.raises(TryLater):
            stranger.send([encoded(stranger, "a")])
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"headers": ["A: b"]}, "headers"),
        ({"ca_file": "x"}, "ca_file"),
        ({"certificate": "x"}, "certificate"),
        ({"url": "x"}, "url"),
        ({"url": URL, "headers": ["x"]}, "headers"),
        ({"url": URL, "socket": "/x"}, "socket"),
    ],
)
def test_wrong_settings(made: Callable[..., Any], settings: dict[str, object], name: str) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=f"^{name}: "):
        made(**settings)
