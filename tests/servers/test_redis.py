"""The module redis with Debian's redis-server (.ci/install-servers)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.jsonl import from_json
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.record import Record
from netconsd.streams.sink import Encoded
from netconsd.testing import crash_report, event, extended_message
from tests.support.servers import SERVERS, ServerProcess, certificate, free_port, libraries, listens, running, until

redis = pytest.importorskip("redis", reason="needs redis: pip install 'netconsd[redis]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class RedisServer(ServerProcess):
    """redis-server that appends each write to a file in a directory."""

    def __init__(self, directory: Path, tls: tuple[Path, Path] | None = None) -> None:
        """
        :param tls: the certificate and the key, for TLS and the password ``secret``.
        """
        found = SERVERS / "usr/bin/redis-server"
        if not found.exists():
            pytest.skip("needs redis-server: bash .ci/install-servers")
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [
            *(str(found), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
            *("--appendonly", "yes", "--save", ""),
        ]
        if tls is not None:
            self.url = f"rediss://:secret@localhost:{port}/0"
            command += ["--port", "0", "--tls-port", str(port), "--requirepass", "secret", "--tls-auth-clients", "no"]
            command += ["--tls-cert-file", str(tls[0]), "--tls-key-file", str(tls[1])]
        super().__init__(command, directory / "log", listens(port), libraries())

    def entries(self) -> list[dict[bytes, bytes]]:
        """Return the entries of the stream, in order; none while it loads its file."""
        with redis.Redis.from_url(self.url) as client:
            try:
                return [fields for _, fields in client.xrange("netconsd")]
            except redis.exceptions.BusyLoadingError:
                return []

    def set(self, name: str, value: str) -> None:
        """Change a parameter."""
        with redis.Redis.from_url(self.url) as client:
            client.config_set(name, value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running server."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = RedisServer(directory)
    with running(server):
        yield server


@pytest.fixture
def stream(tmp_path: Path, server: RedisServer) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def start(**settings: object) -> Any:
        values = {
            "url": server.url, "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", "timeout": "2s",
            **settings,
        }  # fmt: skip
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
        module = load(["redis"], {"redis": typed}).loaded[0].module
        module.start(1)
        modules.append(module)
        return module

    yield start
    for module in modules:
        module.finish()


def give(module: Any, first: int, last: int) -> None:
    """Hand messages of one machine to the module."""
    now = time.time()
    for seq in range(first, last, 100):
        module.handle_batch(
            0, [extended_message(f"line {n}", seq=n, ts_usec=n, received_at=now) for n in range(seq, seq + 100)]
        )


def number(module: Any, name: str) -> float:
    """Return a metric of the module."""
    found: float = next(metric.value for metric in module.metrics() if metric.name == f"stream_{name}")
    return found


def seqs(server: RedisServer) -> list[int]:
    """Return the seqs of the messages."""
    return [json.loads(fields[b"record"])["seq"] for fields in server.entries()]


def test_what_arrives(server: RedisServer, stream: Callable[..., Any]) -> None:
    """A message, a report and an event are entries with their identity, kind and machine."""
    module = stream()
    message = extended_message("x é \x1b", seq=417, ts_usec=5_000_000, received_at=1_795_000_000.25)
    module.handle_batch(0, [message])
    module.handle_report(0, crash_report(received_at=1_795_000_001.0, messages=(message,)))
    module.handle_event(0, event(received_at=1_795_000_002.0, how="crash"))
    until(lambda: len(server.entries()) == 3, "three entries")
    found = {fields[b"kind"]: fields for fields in server.entries()}
    assert set(found) == {b"message", b"report", b"event"}
    assert from_json(found[b"message"][b"record"]) == message
    assert found[b"message"][b"id"] == b"192.0.2.1/1794999995/417"
    assert found[b"event"][b"host"] == b"192.0.2.1"


def test_hanging_and_killed(server: RedisServer, stream: Callable[..., Any]) -> None:
    """Hanging while it has a batch, then killed by SIGKILL, down for a while, and started again: every message is there
    once, in order."""
    # A batch of less than 16 KiB, which the server reads, and executes, whole after its pause.
    module = stream(batch_records=10)
    give(module, 0, 500)
    until(lambda: len(server.entries()) == 500, "the first messages")
    server.pause()
    give(module, 500, 1000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    # What is in its socket is stored now, without anybody for the answer.
    server.resume()
    until(lambda: len(server.entries()) > 600, "some messages of the pause")
    server.kill()
    give(module, 1000, 2000)
    server.start()
    until(lambda: number(module, "sent_records") == 2000, "all messages")
    module.finish()
    assert seqs(server) == list(range(2000))
    assert number(module, "queued_records") == 2000


def test_a_second_copy(server: RedisServer, tmp_path: Path) -> None:
    """Records that are there are found among those of other receivers."""
    settings = {"url": ModuleSetting(server.url, "url", tmp_path)}
    module = load(["redis"], {"redis": settings}).loaded[0].module
    records = [
        Record(extended_message("x", seq=seq, received_at=time.time()), f"192.0.2.1/7/{seq}", 7) for seq in range(3000)
    ]
    batch = [Encoded(record, module.encode(record)) for record in records]
    module.send(batch[:2500])
    assert module.stored(batch[:10]) == set(range(10))
    assert module.stored(batch[2400:2600]) == set(range(100))
    module.close()


# Handshakes that fail leave their sockets to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_and_password(tmp_path: Path) -> None:
    """TLS with a certificate of one's own, and a password; a wrong one is named, and not shown."""
    directory = tmp_path / "server"
    directory.mkdir()
    pair = certificate(directory)
    server = RedisServer(directory, pair)
    with running(server):

        def answer(**settings: object) -> str:
            typed = {name: ModuleSetting(value, name, tmp_path) for name, value in settings.items()}
            found: str = load(["redis"], {"redis": typed}).loaded[0].module.send_test()
            return found

        assert answer(url=server.url, ca_file=str(pair[0])).endswith(" in netconsd")
        with pytest.raises(RuntimeError, match="password") as caught:
            answer(url=server.url.replace("secret", "wrong-secret"), ca_file=str(pair[0]))
        assert "secret" not in str(caught.value)
        with pytest.raises(RuntimeError, match="certificate verify failed"):
            answer(url=server.url)
        # Another name than that of the certificate.
        with pytest.raises(RuntimeError, match=r"certificate is not valid for '127\.0\.0\.1'"):
            answer(url=server.url.replace("localhost", "127.0.0.1"), ca_file=str(pair[0]))


def test_without_memory(server: RedisServer, stream: Callable[..., Any]) -> None:
    """While the server has no memory, records wait; then they arrive."""
    server.set("maxmemory", "1mb")
    module = stream()
    give(module, 0, 1000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.set("maxmemory", "0")
    until(lambda: number(module, "sent_records") == 1000, "all messages")
    assert seqs(server) == list(range(1000))


def test_the_length(server: RedisServer, stream: Callable[..., Any]) -> None:
    """The oldest entries are removed beyond the length; Redis removes whole nodes of 100."""
    module = stream(length=1000)
    give(module, 0, 5000)
    until(lambda: number(module, "sent_records") == 5000, "all messages")
    found = seqs(server)
    assert 1000 <= len(found) < 1200
    assert found == list(range(5000 - len(found), 5000))
