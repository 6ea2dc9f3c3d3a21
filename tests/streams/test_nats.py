"""The module nats with a scripted server: acknowledgements, errors, servers that end or hang."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater
from netconsd.testing import event, extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import made

pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")

#: The end of a connection, in the place of an answer.
CLOSE = b"close"


def ack(number: int) -> bytes:
    """Return the acknowledgement of a stored message."""
    return json.dumps({"stream": "logs", "seq": number}).encode()


def error(code: int, text: str) -> bytes:
    """Return an answer with an error."""
    return json.dumps({"error": {"code": 400, "err_code": code, "description": text}, "stream": "logs"}).encode()


class Server:
    """The protocol of NATS as far as a publisher uses it. Answers each message, the first with number 1."""

    def __init__(self) -> None:
        self.answer: Callable[[int], bytes | None] = ack
        self.published: list[tuple[str, str, bytes]] = []
        #: Of the stream; -1 for no limit.
        self.max_bytes = -1
        self.connects: list[dict[str, Any]] = []
        self.info: dict[str, Any] = {"server_id": "X", "version": "2.15.1", "headers": True, "max_payload": 1000}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            with connection, connection.makefile("rb") as lines, suppress(OSError):
                self._serve(connection, lines)

    def _serve(self, connection: socket.socket, lines: Any) -> None:
        connection.sendall(b"INFO %b\r\n" % json.dumps(self.info).encode())
        # By the subject before its last word.
        sids: dict[bytes, bytes] = {}
        for each in lines:
            # The greeting of a client with TLS is random bytes: a line can be empty.
            verb, *words = each.split() or [b""]
            if verb == b"CONNECT":
                self.connects.append(json.loads(each[8:]))
            elif verb == b"PING":
                connection.sendall(b"PONG\r\n")
            elif verb == b"SUB":
                sids[words[0].rpartition(b".")[0]] = words[-1]
            elif verb == b"PUB":
                # A question to JetStream about the stream.
                subject, reply, size = words
                lines.read(int(size) + 2)
                config = json.dumps({"config": {"max_bytes": self.max_bytes, "storage": "file"}}).encode()
                assert subject == b"$JS.API.STREAM.INFO.logs"
                sid = sids[reply.rpartition(b".")[0]]
                connection.sendall(b"MSG %b %b %d\r\n%b\r\n" % (reply, sid, len(config), config))
            elif verb == b"HPUB":
                subject, reply, head, size = words
                data = lines.read(int(size) + 2)[:-2]
                header = data[: int(head)].decode()
                name = re.search("Nats-Msg-Id: (.*)\r\n", header)
                assert name is not None, header
                self.published.append((subject.decode(), name[1], data[int(head) :]))
                sid = sids[reply.rpartition(b".")[0]]
                answer = self.answer(len(self.published))
                if answer is not None and answer.startswith(CLOSE):
                    connection.sendall(answer[len(CLOSE) :])
                    return
                if answer == b"":
                    status = b"NATS/1.0 503\r\n\r\n"
                    connection.sendall(b"HMSG %b %b %d %d\r\n%b\r\n" % (reply, sid, len(status), len(status), status))
                elif answer is not None:
                    connection.sendall(b"MSG %b %b %d\r\n%b\r\n" % (reply, sid, len(answer), answer))

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
        values = {"servers": [server.url], **settings}
        modules.append(made("nats", tmp_path, **values))
        return modules[-1]

    yield module_of
    for module in modules:
        module.close()


def batch_of(module: Any, *texts: str) -> list[Encoded]:
    """Return messages with their bytes."""
    records = [Record(extended_message(text, seq=seq), f"192.0.2.1/7/{seq}", 7) for seq, text in enumerate(texts)]
    return [Encoded(record, module.encode(record)) for record in records]


def test_a_batch(server: Server, make: Callable[..., Any]) -> None:
    """Each record is published under its kind, with its identity; further batches use the same connection."""
    module = make(subject="site.logs")
    batch = batch_of(module, "a", "b")
    found = Record(event(), "192.0.2.1/event/1/2")
    batch.append(Encoded(found, module.encode(found)))
    assert module.send(batch) == Answer("stored in the stream logs as number 3")
    assert [(subject, name) for subject, name, _ in server.published] == [
        ("site.logs.message", "192.0.2.1/7/0"),
        ("site.logs.message", "192.0.2.1/7/1"),
        ("site.logs.event", "192.0.2.1/event/1/2"),
    ]
    assert [data for _, _, data in server.published] == [each.data for each in batch]
    module.send(batch)
    assert [each["name"] for each in server.connects] == ["netconsd nats"]


def test_an_idle_connection(server: Server, make: Callable[..., Any]) -> None:
    """After a minute without a batch, in which nothing answered the server's pings, there is a new connection."""
    module = make()
    now = [0.0]
    module.monotonic = lambda: now[0]
    for now[0] in (0.0, 60.0, 121.0):
        module.send(batch_of(module, "a"))
    assert len(server.connects) == 2


def test_errors_of_single_records(server: Server, make: Callable[..., Any]) -> None:
    """A record that is too large for the server or the stream is refused; another error has a record sent again."""
    module = make()
    answers = [
        ack(1),
        error(10054, "message size exceeds maximum allowed"),
        error(10077, "maximum messages exceeded"),
    ]
    server.answer = lambda number: answers[number - 1]
    answer = module.send(batch_of(module, "a", "b", "c", "x" * 1000))
    assert answer.text == "the stream logs is full: maximum messages exceeded"
    assert answer.later == {2}
    assert {place: reason.lstrip("0123456789") for place, reason in answer.refused.items()} == {
        1: "message size exceeds maximum allowed", 3: " bytes are more than the server's max_payload",
    }  # fmt: skip


def test_the_limit_of_the_server(server: Server, make: Callable[..., Any]) -> None:
    """Exactly max_payload, header included, is sent."""
    module = make()
    (each,) = batch_of(module, "")
    room = 1000 - len(f"NATS/1.0\r\nNats-Msg-Id: {each.record.id}\r\n\r\n")
    for size, refused in ((room, 0), (room + 1, 1)):
        assert len(module.send([Encoded(each.record, b"x" * size)]).refused) == refused
    assert len(server.published) == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "no stream of the server takes the subject netconsd.message"),
        (b"{}", "no stream of the server"),
        (CLOSE, "closed the connection"),
        (CLOSE + b"MSG _INBOX.x 1 100\r\n{", "closed the connection"),
        (None, "no acknowledgement of the batch in 0.2 s"),
        (b"not JSON", "no acknowledgement of the batch in 0.2 s"),
    ],
)
def test_no_acknowledgement(server: Server, make: Callable[..., Any], answer: bytes | None, text: str) -> None:
    """Without an acknowledgement, a batch is to be sent again: also by a new connection."""
    module = make()
    # It connects, and has its own time for that.
    module.shape()
    if "0.2 s" in text:
        module._timeout = 0.2
    server.answer = lambda number: answer if number == 2 else ack(number)
    with pytest.raises(TryLater, match=re.escape(text)):
        module.send(batch_of(module, "a", "b"))
    module.close()
    module._timeout = PATIENCE
    assert module.send(batch_of(module, "a", "b")).later == frozenset()
    assert len(server.connects) == 2


def test_a_server_that_is_away(server: Server, make: Callable[..., Any]) -> None:
    """A server that is away has the batch sent again, with the reason."""
    module = make()
    server.close()
    with pytest.raises(TryLater, match="Connect call failed"):
        module.send(batch_of(module, "a"))


@pytest.mark.parametrize(("spare", "waits"), [(None, True), (0, True), (-1, False)])
def test_a_full_stream(server: Server, make: Callable[..., Any], spare: int | None, waits: bool) -> None:
    """A record waits for room in a full stream, except one for which the stream has no room when it is empty."""
    module = make()
    (encoded,) = batch = batch_of(module, "a")
    # fileStoreMsgSizeRaw of nats-server: the subject, a header with the id, the data, and 34 bytes.
    header = f"NATS/1.0\r\nNats-Msg-Id: {encoded.record.id}\r\n\r\n"
    exact = len("netconsd.message") + len(header) + len(encoded.data) + 34
    server.max_bytes = -1 if spare is None else exact + spare
    server.answer = lambda number: error(10077, "maximum bytes exceeded")
    answer = module.send(batch)
    assert answer.later == ({0} if waits else set())
    assert answer.refused == (
        {} if waits else {0: f"{exact} bytes are more than max_bytes of the stream logs, {exact - 1}"}
    )


@pytest.mark.parametrize("info", [{}, {"tls_required": False, "tls_available": True}])
def test_a_server_without_tls(server: Server, make: Callable[..., Any], info: dict[str, Any]) -> None:
    """Without TLS, nothing is sent to a server of an address tls://, and no password: its first line, which anyone on
    the way can write, does not decide about that."""
    server.info |= info
    module = make(servers=[server.url.replace("nats://", "tls://u:secret@")])
    with pytest.raises(TryLater) as caught:
        module.send(batch_of(module, "x"))
    assert server.connects == []
    assert "has no TLS" in str(caught.value) or info


def test_lines(server: Server, make: Callable[..., Any]) -> None:
    """With ``lines``, a message has as many records as the server allows, and an identity of its own."""
    module = make(format="lines", partitions=1)
    batch = batch_of(module, "a", "b", "c")
    most = max(len(each.data) for each in batch)
    assert most * 2 + 62 > 1000 > most + 62
    assert module.send(batch).refused == {}
    assert [(subject, data) for subject, _, data in server.published] == [
        ("netconsd.lines.0", each.data + b"\n") for each in batch
    ]
    assert len({name for _, name, _ in server.published}) == 3


def test_lines_that_are_refused(server: Server, make: Callable[..., Any]) -> None:
    """A message of several records that the stream refuses refuses the batch, which is sent in halves then."""
    module = make(format="lines", partitions=1)
    server.answer = lambda number: error(10054, "message size exceeds maximum allowed")
    batch = [Encoded(each.record, b"{}") for each in batch_of(module, "a", "b")]
    with pytest.raises(Refused, match="message size"):
        module.send(batch)
    assert module.send(batch[:1]).refused == {0: "message size exceeds maximum allowed"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"servers": []}, "servers: write at least one"),
        ({"servers": ["127.0.0.1:4222"]}, 'servers: "127.0.0.1:4222" is not a URL'),
        ({"servers": ["nats://u:secret@host:x"]}, 'servers: "host:x" is not a URL'),
        ({"servers": ["nats://a", "tls://b"]}, "servers: all or none"),
        ({"subject": "a.*"}, "subject: "),
        ({"subject": "a..b"}, "subject: "),
        ({"partitions": 0}, "partitions: 0 is not from 1 to 1024"),
        ({"ca_file": "x"}, "ca_file: needs servers that begin with tls://"),
        ({"certificate": "x"}, "certificate: needs servers that begin with tls://"),
    ],
)
def test_wrong_settings(make: Callable[..., Any], settings: dict[str, object], text: str) -> None:
    """A wrong setting is named, and no password is shown."""
    with pytest.raises(ModuleError, match=f"^{re.escape(text)}"):
        make(**settings)


def test_missing_libraries(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing library is named, with the command that installs it."""
    monkeypatch.setattr("netconsd.streams.module.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'netconsd\[nats\]'"):
        make().check()
    monkeypatch.undo()
    module = make(credentials=__file__)
    monkeypatch.setitem(type(module).check.__globals__, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install nkeys"):
        module.check()
