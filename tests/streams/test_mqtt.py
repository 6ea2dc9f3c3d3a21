"""The module mqtt with a scripted server: reason codes, answers out of the ordinary, limits, topics."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded, TryLater
from netconsd.testing import crash_report, extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import encoded, made

pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'netconsd[mqtt]'")

#: Of the module.
ENDS = 3
CONNECT, PUBLISH, PING, DISCONNECT = 1, 3, 12, 14
#: An answer that ends the connection without a word.
END = b""


def accepted(properties: bytes = b"", reason: int = 0) -> bytes:
    """Return a CONNACK."""
    return bytes((0x20, 3 + len(properties), 0, reason, len(properties))) + properties


def acknowledged(number: int, reason: int = 0, words: str = "") -> bytes:
    """Return a PUBACK."""
    properties = b"\x1f" + len(words).to_bytes(2) + words.encode() if words else b""
    return bytes((0x40, 4 + len(properties))) + number.to_bytes(2) + bytes((reason, len(properties))) + properties


class Server:
    """The protocol of MQTT as far as the module uses it."""

    def __init__(self) -> None:
        #: The topic and the payload of each message, and the number of messages at the start of each connection.
        self.published: list[tuple[str, bytes]] = []
        self.connections: list[int] = []
        self.in_order = 0
        self.most_flying = 0
        self.welcome = accepted()
        #: Returns the answer to a message by its number and topic.
        self.answer: Callable[[int, str], bytes | None] = lambda number, topic: acknowledged(number)
        #: Messages that are collected before all are answered.
        self.patience = 1
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            self.connections.append(len(self.published))
            with connection, connection.makefile("rb") as file, suppress(OSError, IndexError):
                self._serve(connection, file)

    def _serve(self, connection: socket.socket, file: Any) -> None:
        flying: list[tuple[int, str]] = []
        while True:
            kind = file.read(1)[0] >> 4
            size = shift = 0
            more = 0x80
            while more & 0x80:
                more = file.read(1)[0]
                size |= (more & 0x7F) << shift
                shift += 7
            body = file.read(size)
            if kind == CONNECT:
                connection.sendall(self.welcome)
            elif kind == DISCONNECT:
                self.in_order += 1
            elif kind == PUBLISH:
                end = 2 + int.from_bytes(body[:2])
                topic = body[2:end].decode()
                # The properties are shorter than 128 bytes.
                self.published.append((topic, body[end + 3 + body[end + 2] :]))
                flying.append((int.from_bytes(body[end : end + 2]), topic))
                self.most_flying = max(self.most_flying, len(flying))
                if len(flying) < self.patience:
                    continue
                for number, name in flying:
                    answer = self.answer(number, name)
                    if answer == END:
                        return
                    if answer is not None:
                        connection.sendall(answer)
                flying.clear()

    def close(self) -> None:
        """Accept no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def make(tmp_path: Path, server: Server) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a module for the server."""
    modules: list[Any] = []

    def module_of(**settings: object) -> Any:
        modules.append(made("mqtt", tmp_path, **{"url": server.url, **settings}))
        return modules[-1]

    yield module_of
    for module in modules:
        module.close()


def batch_of(module: Any, count: int) -> list[Encoded]:
    """Return messages of as many machines with their bytes."""
    return [
        encoded(module, Record(extended_message("x", seq=seq, address=f"192.0.2.{seq}"), f"192.0.2.{seq}/7/{seq}", 7))
        for seq in range(count)
    ]


def of(seq: int) -> str:
    """Return the topic of a message of :func:`batch_of`."""
    return f"netconsd/192.0.2.{seq}/message"


def test_a_batch(server: Server, make: Callable[..., Any]) -> None:
    """Each record is published once, in order."""
    module = make()
    batch = batch_of(module, 50)
    answer = module.send(batch)
    assert (answer.text, answer.refused, answer.later) == ("acknowledged", {}, frozenset())
    assert server.published == [(of(seq), batch[seq].data) for seq in range(50)]
    assert module.survived()


def test_the_window(server: Server, make: Callable[..., Any]) -> None:
    """Not more messages are without acknowledgement than the server takes."""
    server.welcome = accepted(b"\x21\x00\x07")
    server.patience = 7
    module = make()
    module.send(batch_of(module, 70))
    assert (server.most_flying, len(server.published)) == (7, 70)


def test_a_packet_over_the_limit(server: Server, make: Callable[..., Any]) -> None:
    """A record over the server's Maximum Packet Size is not sent."""
    server.welcome = accepted(b"\x27" + (1000).to_bytes(4))
    module = make()
    long = encoded(module, Record(extended_message("x" * 900, seq=1), "a", 7))
    answer = module.send([*batch_of(module, 1), long, *batch_of(module, 1)])
    assert list(answer.refused) == [1]
    assert "more than the server's Maximum Packet Size" in answer.refused[1]
    assert len(server.published) == 2


@pytest.mark.parametrize("code", [0x90, 0x95, 0x99])
def test_codes_that_refuse(server: Server, make: Callable[..., Any], code: int) -> None:
    """A code about the message makes a dead letter, with the server's words; also 0x95, which MQTT does not have there,
    and Mosquitto sends for a message over message_size_limit."""
    server.answer = lambda number, topic: acknowledged(number, code if topic == of(2) else 0, "not so")
    module = make()
    answer = module.send(batch_of(module, 5))
    assert list(answer.refused) == [2]
    assert re.fullmatch(rf"0x{code:x} .*: not so", answer.refused[2])
    assert answer.later == frozenset()


@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x97])
def test_codes_that_wait(server: Server, make: Callable[..., Any], code: int) -> None:
    """With a code about the server, the record waits and those after it that were not sent; the connection stays, so
    that nothing before is sent again."""
    server.welcome = accepted(b"\x21\x00\x01")
    server.answer = lambda number, topic: acknowledged(number, code if topic == of(2) else 0)
    module = make()
    answer = module.send(batch_of(module, 5))
    assert (answer.refused, answer.later) == ({}, {2, 3, 4})
    assert answer.text.startswith(f"0x{code:x} ")
    module.close()
    assert module.survived()
    server.answer = lambda number, topic: acknowledged(number)
    assert module.send(batch_of(module, 5)[2:]).later == frozenset()
    assert len(server.connections) == 1


def test_nobody_listens(server: Server, make: Callable[..., Any]) -> None:
    """Records for which there is no subscription are accepted, and counted."""
    server.answer = lambda number, topic: acknowledged(number, 0x10 if topic in (of(1), of(3)) else 0)
    module = make()
    answer = module.send(batch_of(module, 5))
    assert (answer.text, answer.later) == ("acknowledged; no subscription matches", frozenset())
    assert module.numbers == {"unmatched": 2}
    module.send(batch_of(module, 2))
    assert module.numbers == {"unmatched": 3}


def unknown(number: int) -> bytes:
    """Return a PUBACK with a code that MQTT has for other packets only."""
    return acknowledged(number, 0x8E)


def too_large(number: int) -> bytes:
    """Return the server's DISCONNECT with the same code, by which it may answer as well."""
    return b"\xe0\x02\x95\x00"


@pytest.mark.parametrize("answer", [unknown, too_large])
def test_answers_that_end_the_connection(
    server: Server, make: Callable[..., Any], answer: Callable[[int], bytes]
) -> None:
    """A record for which the connection ends is found by sending each alone; the others are delivered, and what was
    delivered before is not lost."""
    server.patience = 5
    server.welcome = accepted(b"\x21\x00\x05")
    bad = {of(2), of(8)}

    def answered(number: int, topic: str) -> bytes:
        server.patience = 1
        return answer(number) if topic in bad else acknowledged(number)

    server.answer = answered
    module = make()
    found = module.send(batch_of(module, 10))
    assert (sorted(found.refused), found.later) == ([2, 8], frozenset())
    assert {topic for topic, _ in server.published} == {of(seq) for seq in range(10)}
    assert module.survived()


def test_a_record_that_ends_the_connection(server: Server, make: Callable[..., Any]) -> None:
    """A server that ends the connection without a reason at the same batch again and again, as Mosquitto does for a
    message that it refuses while max_queued_messages is 0, does not stop the stream for ever."""
    server.answer = lambda number, topic: END if topic == of(2) else acknowledged(number)
    module = make()
    for _ in range(ENDS):
        with pytest.raises(TryLater, match="the server closed the connection"):
            module.send(batch_of(module, 5))
        module.close()
    answer = module.send(batch_of(module, 5))
    assert (answer.refused, answer.later) == ({2: "the server closed the connection"}, frozenset())
    # It may have been killed as well: what it acknowledged before is sent again.
    assert not module.survived()
    with pytest.raises(TryLater):
        module.send(batch_of(module, 5))


def test_the_connection_is_lost(server: Server, make: Callable[..., Any]) -> None:
    """If the connection ends, the batch is sent again, and so is what the server had acknowledged before."""
    module = make()
    module.send(batch_of(module, 3))
    server.answer = lambda number, topic: END
    with pytest.raises(TryLater, match="the server closed the connection"):
        module.send(batch_of(module, 3))
    module.close()
    assert not module.survived()
    assert module.survived()


def test_a_connection_that_ends_between_batches(server: Server, make: Callable[..., Any]) -> None:
    """The end of a connection is noticed without a batch."""
    module = make()
    server.answer = lambda number, topic: acknowledged(number) + b"\xe0\x02\x8b\x00"
    module.send(batch_of(module, 1))
    deadline = module.monotonic() + PATIENCE
    while module.survived():
        assert module.monotonic() < deadline
    assert module.survived()


def test_a_server_that_hangs(server: Server, make: Callable[..., Any]) -> None:
    """Without acknowledgement, the batch is sent again after the timeout."""
    server.answer = lambda number, topic: None
    module = make()
    # The connection has its own time.
    module._opened(module.monotonic() + PATIENCE)
    module._timeout = 0.1
    with pytest.raises(TryLater, match=r"no acknowledgement in 0\.1 s"):
        module.send(batch_of(module, 3))
    module.close()
    assert not module.survived()


@pytest.mark.parametrize(("count", "accepted_now"), [(5, 5), (20, 12)])
def test_a_slow_line(server: Server, make: Callable[..., Any], count: int, accepted_now: int) -> None:
    """A server that acknowledges a message each 20 seconds does not hang: nothing is sent twice, and after four minutes
    the rest is the next batch."""
    time = [0.0]

    def answer(number: int, topic: str) -> bytes:
        time[0] += 20.0
        return acknowledged(number)

    server.welcome = accepted(b"\x21\x00\x01")
    server.answer = answer
    module = make(timeout="30s")
    module.monotonic = lambda: time[0]
    batch = batch_of(module, count)
    assert len(module.send(batch).later) == count - accepted_now
    module.close()
    assert module.survived()
    assert len(server.published) == accepted_now


@pytest.mark.parametrize(
    ("welcome", "text"),
    [
        (accepted(reason=0x86), "refuses the connection: 0x86 Bad user name or password"),
        (accepted(b"\x24\x00"), "refuses the connection: the server has no QoS 1"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", r"127\.0\.0\.1 port \d+: "),
    ],
)
def test_a_server_that_does_not_take_us(server: Server, make: Callable[..., Any], welcome: bytes, text: str) -> None:
    """A refused connection is named, and nothing is refused."""
    server.welcome = welcome
    # The last one waits for the rest of a packet.
    module = make(timeout="1s" if welcome.startswith(b"HTTP") else "30s")
    with pytest.raises(TryLater, match=text):
        module.send(batch_of(module, 3))
    assert server.published == []


def test_a_server_that_is_away(server: Server, make: Callable[..., Any]) -> None:
    """A server that is away is named with the reason; nothing was lost."""
    module = make()
    server.close()
    with pytest.raises(TryLater, match="refused"):
        module.send(batch_of(module, 1))
    assert module.survived()


def test_the_end_in_order(server: Server, make: Callable[..., Any]) -> None:
    """At the stop, the connection is closed in order, and what was acknowledged counts."""
    module = make()
    module.send(batch_of(module, 3))
    assert module.kept()
    module.close()
    server.close()
    assert server.in_order == 1


@pytest.mark.parametrize(
    ("topic", "name", "expected"),
    [
        ("netconsd/{host}/{kind}", "web01", "netconsd/192.0.2.1/message"),
        ("{name}/{level}", "web01", "web01/6"),
        ("{name}", "", "192.0.2.1"),
        ("{name}/x", "a/b+c#d\0e", "a_b_c_d_e/x"),
        ("{name}/x", "$SYS", "_SYS/x"),
        ("x/{name}", "$SYS", "x/$SYS"),
        ("{name}", "\ud800\ufffe\U0010ffff\x85", "____"),
        ("{name}", "é" * 300, "é" * 255),
    ],
)
def test_topics(make: Callable[..., Any], topic: str, name: str, expected: str) -> None:
    """A name cannot make another topic than its own part, nor one over which the server ends the connection."""
    record = Record(extended_message("x", seq=1, level=6, address="192.0.2.1"), "a", 7, name)
    assert make(topic=topic).topic_of(record) == expected


def test_the_topic_of_a_finding_without_a_host(make: Callable[..., Any]) -> None:
    """The report of a file has no address: a part of a topic is not empty."""
    report = replace(crash_report(received_at=1.0), source=None)
    assert make(topic="{kind}/{host}").topic_of(Record(report, "a")) == "report/_"


def test_the_longest_topic(server: Server, make: Callable[..., Any]) -> None:
    """The longest template with the longest names is a topic."""
    module = make(topic="{name}" * 33)
    record = Record(extended_message("x", seq=1), "a", 7, "\U0001f600" * 300)
    assert len(module.topic_of(record).encode()) < 65_535
    assert module.send([encoded(module, record)]).refused == {}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "127.0.0.1:1883"}, 'url: "127.0.0.1:1883" is not a URL'),
        ({"url": "http://u:secret@host"}, 'url: "host" is not a URL'),
        ({"url": "mqtt://host:x"}, 'url: "mqtt://host:x" is not a URL'),
        ({"url": "mqtt://u:secret@host"}, "url: write the user and the password as user and password_file"),
        ({"topic": ""}, 'topic: "" is not up to 200 characters'),
        ({"topic": "a/#"}, 'topic: "a/#" is not up to 200 characters'),
        ({"topic": "$SYS/{host}"}, 'topic: "$SYS/{host}" is not up to 200 characters'),
        ({"topic": "x" * 201}, f'topic: "{"x" * 201}" is not up to 200 characters'),
        ({"topic": "a/{seq}"}, 'topic: "a/{seq}" has other fields than {host}, {name}, {kind} and {level}'),
        ({"password_file": "x"}, "password_file: needs user"),
        ({"user": "a\0"}, "user: has a control character"),
        ({"client_id": "x" * 256}, "client_id: has a control character, or more than 255 characters"),
        ({"expiry": "0.5s"}, "expiry: 0.5s is not from 1s"),
        ({"ca_file": "x"}, "ca_file: needs a url that begins with mqtts://"),
        ({"certificate": "x"}, "certificate: needs a url that begins with mqtts://"),
        ({"timeout": "0.05s"}, "timeout: 0.05s is not from 0.1s to 300s"),
    ],
)
def test_wrong_settings(make: Callable[..., Any], settings: dict[str, object], text: str) -> None:
    """A wrong setting is named, and no password is shown."""
    with pytest.raises(ModuleError, match=f"^{re.escape(text)}"):
        make(**settings)
