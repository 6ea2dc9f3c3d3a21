"""The module redis with a scripted server: errors of a transaction, answers that are cut, identities that it has."""

from __future__ import annotations

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
from netconsd.streams.sink import Encoded, TryLater
from netconsd.testing import extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.scripted_stream import made

pytest.importorskip("redis", reason="needs redis: pip install 'netconsd[redis]'")


def bulk(*texts: bytes) -> bytes:
    """Return an array of the protocol."""
    return b"*%d\r\n" % len(texts) + b"".join([b"$%d\r\n%b\r\n" % (len(text), text) for text in texts])


class Server:
    """The protocol of Redis as far as the module uses it."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        #: The answer to XADD in a transaction, to its EXEC, and to XREVRANGE. None: none; "" ends the connection.
        self.queued = b"+QUEUED\r\n"
        self.executed: Callable[[], bytes | None] = lambda: bulk(*[b"1-%d" % n for n in range(len(self.added))])
        self.pages: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def added(self) -> list[list[bytes]]:
        """The commands that add an entry."""
        return [words for words in self.commands if words[0] == b"XADD"]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            with connection, connection.makefile("rb") as lines, suppress(OSError):
                for head in lines:
                    words = [lines.read(int(lines.readline()[1:]) + 2)[:-2] for _ in range(int(head[1:]))]
                    self.commands.append(words)
                    answer = self._answer(words[0])
                    if answer == b"":
                        break
                    if answer is not None:
                        connection.sendall(answer)

    def _answer(self, verb: bytes) -> bytes | None:
        if verb == b"XADD":
            return self.queued
        if verb == b"EXEC":
            return self.executed()
        return self.pages.pop(0) if verb == b"XREVRANGE" else b"+OK\r\n"

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
        values = {"url": server.url, **settings}
        modules.append(made("redis", tmp_path, **values))
        return modules[-1]

    yield module_of
    for module in modules:
        module.close()


def batch_of(module: Any, count: int) -> list[Encoded]:
    """Return messages with their bytes."""
    records = [
        Record(extended_message("x", seq=seq, received_at=1000.0 + seq), f"192.0.2.1/7/{seq}", 7)
        for seq in range(count)
    ]
    return [Encoded(record, module.encode(record)) for record in records]


def test_a_batch(server: Server, make: Callable[..., Any]) -> None:
    """A batch is one transaction, with an entry for each record."""
    module = make(key="logs", length=5000)
    batch = batch_of(module, 2)
    assert module.send(batch).text == "stored as 1-1 in logs"
    assert [words[0] for words in server.commands][-4:] == [b"MULTI", b"XADD", b"XADD", b"EXEC"]
    assert server.added[1] == [
        *(b"XADD", b"logs", b"MAXLEN", b"~", b"5000", b"*", b"id", b"192.0.2.1/7/1", b"kind", b"message"),
        *(b"host", b"192.0.2.1", b"record", batch[1].data),
    ]


@pytest.mark.parametrize(
    ("queued", "executed", "text"),
    [
        (b"-OOM command not allowed\r\n", b"-EXECABORT Transaction discarded\r\n", "command not allowed"),
        (b"-READONLY You can't write\r\n", b"-EXECABORT Transaction discarded\r\n", "You can't write"),
        (b"+QUEUED\r\n", b"*2\r\n$3\r\n1-0\r\n-WRONGTYPE no stream\r\n", "no stream"),
        (b"+QUEUED\r\n", b"-MISCONF no disk\r\n", "no disk"),
        (b"+QUEUED\r\n", b"*2\r\n$3\r\n1-", "(?i)timeout"),
        (b"+QUEUED\r\n", None, "(?i)timeout"),
        (b"+QUEUED\r\n", b"", "(?i)closed"),
    ],
)
def test_errors(server: Server, make: Callable[..., Any], queued: bytes, executed: bytes | None, text: str) -> None:
    """Each error has the batch sent again, once only by the stream: the library does not retry."""
    module = make(timeout="0.3s" if "timeout" in text else "30s")
    server.queued = queued
    server.executed = lambda: executed
    with pytest.raises(TryLater, match=text):
        module.send(batch_of(module, 2))
    module.close()
    server.close()
    # The time may be over before a slow server has the batch.
    assert len(server.added) == 2 or ("timeout" in text and len(server.added) < 2)


def test_records_that_it_has(server: Server, make: Callable[..., Any]) -> None:
    """The end of the stream is searched, a page at a time, back to a minute before the oldest record."""

    def page(*names: bytes) -> bytes:
        entries = [b"*2\r\n$3\r\n9-1\r\n" + bulk(b"id", name) for name in names]
        return b"*%d\r\n" % len(entries) + b"".join(entries)

    module = make()
    server.pages = [page(*[b"other"] * 1000), page(b"192.0.2.1/7/1", b"other")]
    assert module.stored(batch_of(module, 3)) == {1}
    asked = [words[1:] for words in server.commands if words[0] == b"XREVRANGE"]
    assert asked == [
        [b"netconsd", b"+", b"940000", b"COUNT", b"1000"],
        [b"netconsd", b"(9-1", b"940000", b"COUNT", b"1000"],
    ]
    server.pages = [b"-WRONGTYPE no stream\r\n"]
    with pytest.raises(TryLater, match="no stream"):
        module.stored(batch_of(module, 1))


def test_the_end_of_the_search(server: Server, make: Callable[..., Any]) -> None:
    """The search ends after 100,000 entries."""
    entries = [b"*2\r\n$3\r\n9-1\r\n" + bulk(b"id", b"other")] * 1000
    server.pages = [b"*1000\r\n" + b"".join(entries)] * 101
    module = make()
    assert module.stored(batch_of(module, 1)) == frozenset()
    assert len(server.pages) == 1


def test_a_server_that_is_away(server: Server, make: Callable[..., Any]) -> None:
    """A server that is away is named with the reason."""
    module = make()
    server.close()
    with pytest.raises(TryLater, match="refused"):
        module.send(batch_of(module, 1))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "127.0.0.1:6379"}, 'url: "127.0.0.1:6379" is not a URL'),
        ({"url": "http://u:secret@host"}, 'url: "host" is not a URL'),
        ({"url": "redis://host:x"}, 'url: "redis://host:x" is not a URL'),
        ({"key": ""}, "key: is empty"),
        ({"length": 999}, "length: 999 is less than 1000"),
        ({"ca_file": "x"}, "ca_file: needs a url that begins with rediss://"),
    ],
)
def test_wrong_settings(make: Callable[..., Any], settings: dict[str, object], text: str) -> None:
    """A wrong setting is named, and no password is shown."""
    with pytest.raises(ModuleError, match=f"^{re.escape(text)}"):
        make(**settings)
