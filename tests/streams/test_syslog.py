"""The bytes that the module syslog sends, and a server that ends."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, TryLater
from netconsd.testing import crash_report, event, extended_message, legacy_message
from tests.support.scripted_lane import PATIENCE

T0 = 1_795_000_000.25


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a module."""
    modules: list[Any] = []

    def make(**settings: object) -> Any:
        typed = {
            name: ModuleSetting(value, name, tmp_path) for name, value in {"host": "127.0.0.1", **settings}.items()
        }
        modules.append(load(["syslog"], {"syslog": typed}).loaded[0].module)
        return modules[-1]

    yield make
    for module in modules:
        module.close()


def test_a_message(made: Callable[..., Any]) -> None:
    """A message with its fields, as RFC 5424 has them, and its length before it (RFC 6587)."""
    message = extended_message(
        "link is down", seq=417, level=4, ts_usec=5_000_000, caller="C3", received_at=T0, lost=2,
        dictionary={"SUBSYSTEM": "net"}, userdata={"rack": "r7"},
    )  # fmt: skip
    record = Record(message, "192.0.2.1/1794999995/417", 1_794_999_995, "web 01")
    line = (
        b"<4>1 2026-11-18T11:06:40.250000Z web_01 kernel C3 message "
        b'[netconsd@32473 id="192.0.2.1/1794999995/417" name="web 01" boot="1794999995" port="6665" facility="0" '
        b'ts_usec="5000000" format="extended" seq="417" lost="2"][dictionary@32473 SUBSYSTEM="net"]'
        b'[userdata@32473 rack="r7"] link is down'
    )
    assert made().encode(record) == b"%d %b" % (len(line), line)
    assert made(transport="udp").encode(record) == line


def test_a_legacy_message(made: Callable[..., Any]) -> None:
    """Text without a level has that of printk; the text is never taken for a host."""
    record = Record(legacy_message("usb 1-1: x", received_at=T0), "i", None)
    assert re.fullmatch(rb"<4>1 \S+ 192.0.2.1 kernel - message \[netconsd@32473 .*\] usb 1-1: x", made(
        transport="udp").encode(record))  # fmt: skip


@pytest.mark.parametrize(("facility", "shown"), [(1, 8), (23, 184), (24, 0), (255, 0)])
def test_facilities(made: Callable[..., Any], facility: int, shown: int) -> None:
    """A facility that syslog does not have is the kernel's in the header, and as it is in the data."""
    record = Record(extended_message("x", level=3, facility=facility), "i", 1)
    line = made(transport="udp").encode(record)
    assert line.startswith(b"<%d>1 " % (shown + 3))
    assert b'facility="%d"' % facility in line


def test_reports_and_events(made: Callable[..., Any]) -> None:
    """Their text is the title and the sentence; the lines of a report are messages of their own."""
    module = made(transport="udp")
    line = module.encode(Record(crash_report(received_at=T0, severity="dead"), "i"))
    assert line.startswith(b"<0>1 2026-11-18T11:06:40.250000Z 192.0.2.1 netconsd - report [")
    assert line.endswith(b"] BUG: unable to handle kernel NULL pointer dereference in widget_read")
    assert b"Call Trace" not in line
    line = module.encode(Record(event(received_at=T0, how="crash"), "i"))
    assert line.startswith(b"<5>1 ")
    assert b'[details@32473 how="crash"] rebooted' in line


def test_no_name_is_there_twice(made: Callable[..., Any]) -> None:
    """Servers keep one value of a name, and some do not tell capitals from small letters: each key has its own name."""
    userdata = {"a b": "1", "pair": "2", "é": "3", "Rack": "4", "rack": "5", "PAIR2": "6", "c": "7"}
    line = made(transport="udp").encode(Record(extended_message("x", userdata=userdata), "i", 1)).decode()
    assert (
        '[userdata@32473 pair="a b=1" pair2="pair=2" pair3="é=3" Rack="4" pair4="rack=5" pair5="PAIR2=6" c="7"]' in line
    )


def test_strangers_cannot_forge(made: Callable[..., Any]) -> None:
    """Control characters, quotes, brackets and odd names of userdata stay within their value."""
    message = extended_message(
        "a\n<0>1 - - - - - b\x1b\x00", userdata={"a": '"]\\[x y="z"]', 'q"]=': "v", "k" * 40: "w", "e": "\x1b[m"}
    )
    line = made(transport="udp").encode(Record(message, "i", 1)).decode()
    assert "\n" not in line
    assert line.isprintable()
    assert r'a="\"\]\\[x y=\"z\"\]"' in line
    assert r'e="\\x1b[m"' in line
    assert f'pair2="{"k" * 40}=w"' in line
    structured, text = line.split("] a\\x0a<0>1 ", 1)
    assert text == "- - - - - b\\x1b\\x00"
    # As a parser of RFC 5424 sees it.
    element = r'\[[!-~]+( [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")+\]'
    assert re.fullmatch(rf"<6>1 \S+ \S+ kernel \S+ message (?:{element})+", structured + "]")


@pytest.mark.parametrize("text", ["x" * 10_000, "é" * 10_000, "\x01" * 10_000])
def test_a_long_text_is_cut(made: Callable[..., Any], text: str) -> None:
    """A message has at most ``largest`` bytes, whole characters, and the length that the text had."""
    line = made(transport="udp", largest="2K").encode(Record(extended_message(text), "i", 1))
    assert 2040 <= len(line) <= 2048
    line.decode()
    length = {"x": 10_000, "é": 20_000, "\x01": 40_000}[text[0]]
    assert b'text_bytes="%d"' % length in line


def test_fields_that_are_too_large(made: Callable[..., Any]) -> None:
    """Userdata that leave no room for the text make a dead letter; one long value is cut."""
    many = {f"key{number}": "x" * 100 for number in range(16)}
    with pytest.raises(ValueError, match="more than 1024 bytes, the setting largest"):
        made(largest="1K").encode(Record(extended_message("x", userdata=many), "i", 1))
    made(largest="8K").encode(Record(extended_message("x", userdata={"key": "x" * 5000}), "i", 1))


@pytest.mark.parametrize(
    "settings",
    [{"port": 0}, {"largest": "100"}, {"largest": "70000", "transport": "udp"}, {"ca_file": "x"}, {"certificate": "x"}],
)
def test_wrong_settings(made: Callable[..., Any], settings: dict[str, object]) -> None:
    """A setting out of range is named."""
    with pytest.raises(ModuleError, match=f"^{next(iter(settings))}: "):
        made(**settings)


class Peer:
    """A server that reads, or not, and closes when the test says so."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(PATIENCE)
        self.port = self.listening.getsockname()[1]


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server."""
    peer = Peer()
    with peer.listening:
        yield peer


def encoded(module: Any, text: str = "x") -> Encoded:
    """Return a record."""
    record = Record(extended_message(text), "i", 1)
    return Encoded(record, module.encode(record))


def test_a_lost_connection_is_noticed(made: Callable[..., Any], peer: Peer) -> None:
    """A server that closed has perhaps not read the last seconds: once, until the next connection is lost."""
    module = made(port=peer.port)
    assert "acknowledged" in module.send([encoded(module)]).text
    connection, _ = peer.listening.accept()
    assert module.survived()
    connection.close()
    with pytest.raises(TryLater, match="closed"):
        module.send([encoded(module)])
    module.close()
    assert not module.survived()
    assert module.survived()
    module.send([encoded(module)])
    assert module.survived()


def test_a_connection_that_was_not_used_is_no_loss(made: Callable[..., Any], peer: Peer) -> None:
    """A connection over which nothing was sent can be lost."""
    module = made(port=peer.port)
    module._connected()
    module.close()
    assert module.survived()


def test_a_stop_in_order(made: Callable[..., Any], peer: Peer) -> None:
    """At the stop, the stream waits until the server has read everything and closes its side."""
    module = made(port=peer.port)
    module.send([encoded(module)])
    connection, _ = peer.listening.accept()
    read = bytearray()

    def serve() -> None:
        with connection:
            while data := connection.recv(1000):
                read.extend(data)

    thread = threading.Thread(target=serve)
    thread.start()
    assert module.kept()
    assert read.endswith(b"] x")
    thread.join()


def test_a_server_that_does_not_read(made: Callable[..., Any], peer: Peer) -> None:
    """The wait for a server that acknowledges nothing ends with the timeout."""
    module = made(port=peer.port, timeout="0.1s", largest="1M")
    large = encoded(module, "x" * 120_000)
    # More than the buffers of two kernels.
    with pytest.raises((TryLater, TimeoutError)):
        module.send([large] * 1000)
