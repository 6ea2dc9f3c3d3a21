"""The module mqtt with Debian's mosquitto (.ci/install-servers)."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.jsonl import from_json
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.store.findings import report_of
from netconsd.streams.deadletters import FILE
from netconsd.testing import crash_report, event, extended_message
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import SERVERS, ServerProcess, certificate, free_port, libraries, listens, program, until

client = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'netconsd[mqtt]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Mosquitto(ServerProcess):
    """mosquitto with its data in a directory."""

    def __init__(self, directory: Path, *lines: str) -> None:
        found = program("mosquitto")
        directory.mkdir()
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        #: Its file, which it writes each ``autosave_interval``, and at its end.
        self.data = directory / "mosquitto.db"
        # Without root it stays the user that it is.
        configuration = directory / "conf"
        options = [f"listener {self.port} 127.0.0.1", *lines]
        if "allow_anonymous false" not in lines:
            options.append("allow_anonymous true")
        configuration.write_text(
            "\n".join(["user root", "persistence true", f"persistence_location {directory}/", *options]) + "\n"
        )
        self.log = directory / "log"
        super().__init__([str(found), "-c", str(configuration)], self.log, listens(self.port), libraries())


class Subscriber:
    """A subscriber whose session the server keeps, and the messages that it has got."""

    def __init__(self, port: int, topic: str = "#", *, acknowledges: bool = True) -> None:
        self.messages: list[Any] = []
        self._port = port
        self._topic = topic
        self._subscribed = False
        found = client.Client(
            client.CallbackAPIVersion.VERSION2, "reader", protocol=client.MQTTv5, manual_ack=not acknowledges
        )
        found.reconnect_delay_set(1, 1)
        found.on_connect = self._on_connect
        found.on_subscribe = lambda *arguments: setattr(self, "_subscribed", True)
        found.on_message = lambda _, __, message: self.messages.append(message)
        self.client = found

    def _on_connect(self, *arguments: Any) -> None:
        self.client.subscribe(self._topic, 1)

    def start(self) -> None:
        """Connect, and return when it is subscribed."""
        properties = client.Properties(client.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        self.client.loop_start()
        until(lambda: self._subscribed, "the subscription")

    def stop(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()

    def seqs(self) -> list[int]:
        """Return the seqs of the messages, in the order of their arrival."""
        return [json.loads(message.payload)["seq"] for message in list(self.messages)]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Return a function that returns a running server."""
    servers: list[Mosquitto] = []

    def started(*lines: str) -> Mosquitto:
        server = Mosquitto(tmp_path / f"server{len(servers)}", *lines)
        servers.append(server)
        server.start()
        return server

    yield started
    for server in servers:
        server.kill()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    """Return a function that returns a subscriber that is subscribed."""
    found: list[Subscriber] = []

    def subscribed(server: Mosquitto, topic: str = "#", **options: Any) -> Subscriber:
        subscriber = Subscriber(server.port, topic, **options)
        found.append(subscriber)
        subscriber.start()
        return subscriber

    yield subscribed
    for each in found:
        each.stop()


def made(tmp_path: Path, url: str, **settings: object) -> Any:
    """Return a module for a server."""
    values = {"url": url, "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", **settings}
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
    return load(["mqtt"], {"mqtt": typed}).loaded[0].module


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a started module."""
    modules: list[Any] = []

    def started(server: Mosquitto, **settings: object) -> Any:
        module = made(tmp_path, server.url, **settings)
        module.start(1)
        modules.append(module)
        return module

    yield started
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


def test_what_arrives(
    start: Callable[..., Mosquitto], subscribe: Callable[..., Subscriber], stream: Callable[..., Any]
) -> None:
    """A message, a report and an event arrive under their topics, equal to the original ones, with their properties; a
    subscriber that comes later gets nothing, as nothing is retained."""
    server = start()
    reader = subscribe(server)
    module = stream(server, expiry="1h")
    message = extended_message("x é \x1b", seq=417, ts_usec=5_000_000, received_at=1_795_000_000.25)
    report = crash_report(received_at=1_795_000_001.0, messages=(message,))
    module.handle_batch(0, [message])
    module.handle_report(0, report)
    module.handle_event(0, event(received_at=1_795_000_002.0, how="crash"))
    until(lambda: len(reader.messages) == 3, "three messages")
    found = {each.topic: each for each in reader.messages}
    assert set(found) == {"netconsd/192.0.2.1/message", "netconsd/192.0.2.1/report", "netconsd/192.0.2.1/event"}
    first = found["netconsd/192.0.2.1/message"]
    assert from_json(first.payload) == message
    assert report_of(found["netconsd/192.0.2.1/report"].payload) == report
    assert first.properties.UserProperty == [("id", "192.0.2.1/1794999995/417"), ("kind", "message")]
    assert (first.properties.ContentType, first.properties.PayloadFormatIndicator) == ("application/json", 1)
    assert 3000 < first.properties.MessageExpiryInterval <= 3600
    assert (first.qos, first.retain) == (1, False)
    until(lambda: number(module, "lag_seconds") is not None, "the account")


def test_names_that_no_topic_can_have(start: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """The server accepts the topics of all names that a machine can give itself."""
    from netconsd.streams.record import Record
    from netconsd.streams.sink import Encoded

    server = start()
    module = made(tmp_path, server.url, topic="{name}/x")
    names = ["a/b+c#d\0", "$SYS", "\x1b\x85", "\ud800", "\ufdd0\uffff", "\U0001fffe", "é" * 500, "/", " "]
    records = [Record(extended_message("x", seq=seq), f"id{name}", 7, name) for seq, name in enumerate(names)]
    answer = module.send([Encoded(record, module.encode(record)) for record in records])
    assert (answer.refused, answer.later) == ({}, frozenset())
    module.close()


def test_hanging_and_killed(
    start: Callable[..., Mosquitto], subscribe: Callable[..., Subscriber], stream: Callable[..., Any]
) -> None:
    """Hanging while it has a batch, then killed by SIGKILL, down for a while, and started again: a subscriber gets
    every message, and second copies with the same id."""
    server = start("autosave_interval 1", "max_queued_messages 100000")
    reader = subscribe(server)
    until(server.data.exists, "the file with the subscription")
    module = stream(server, timeout="2s")
    give(module, 0, 1000)
    until(lambda: len(reader.messages) > 200, "some messages")
    server.pause()
    give(module, 1000, 2000)
    until(lambda: number(module, "retried_batches") > 0, "a retry")
    server.kill()
    give(module, 2000, 3000)
    server.start()
    until(lambda: number(module, "sent_records") == 3000, "all messages")
    until(lambda: set(reader.seqs()) == set(range(3000)), "all messages at the subscriber")
    assert (number(module, "queued_records"), number(module, "dead_records")) == (3000, 0)


def test_not_authorised(
    start: Callable[..., Mosquitto],
    subscribe: Callable[..., Subscriber],
    stream: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Records wait while the server does not allow their topic, in order, and none arrives twice."""
    rules = tmp_path / "rules"
    rules.write_text("topic read #\n")
    server = start(f"acl_file {rules}")
    reader = subscribe(server)
    with pytest.raises(RuntimeError, match="0x87 Not authorized"):
        made(tmp_path, server.url).send_test()
    module = stream(server)
    give(module, 0, 1000)
    until(lambda: number(module, "retried_batches") > 1, "retries")
    rules.write_text("topic readwrite #\n")
    server.signal(signal.SIGHUP)  # it reads the file
    until(lambda: len(reader.messages) >= 1000, "all messages")
    assert reader.seqs() == list(range(1000))


def test_too_large(
    start: Callable[..., Mosquitto], subscribe: Callable[..., Subscriber], stream: Callable[..., Any], tmp_path: Path
) -> None:
    """A message that is larger than the server takes is a dead letter, the others arrive: with max_packet_size, which
    the server names, and with message_size_limit, for which its answer is none that MQTT has."""
    for limit in ("max_packet_size 2000", "message_size_limit 2000"):
        server = start(limit)
        reader = subscribe(server)
        module = stream(server, directory=str(tmp_path / limit[:7]))
        texts = ["x" * 3000 if seq % 20 == 7 else "good" for seq in range(100)]
        module.handle_batch(
            0, [extended_message(text, seq=seq, received_at=time.time()) for seq, text in enumerate(texts)]
        )
        until(lambda: len(set(reader.seqs())) == 95, "the good messages")  # noqa: B023
        until(lambda: number(module, "dead_records") == 5, "the dead letters")  # noqa: B023
        letters = [json.loads(each) for each in (tmp_path / limit[:7] / FILE).read_bytes().splitlines()]
        assert [each["record"]["seq"] for each in letters] == [7, 27, 47, 67, 87]
        assert all("Maximum Packet Size" in each["answer"] or "too large" in each["answer"] for each in letters)


def test_a_slow_subscriber(
    start: Callable[..., Mosquitto], subscribe: Callable[..., Subscriber], tmp_path: Path
) -> None:
    """Mosquitto acknowledges messages that it drops for a subscriber that is behind by more than max_queued_messages,
    as docs/streams says; its log is the only place that says so."""
    from netconsd.streams.record import Record
    from netconsd.streams.sink import Encoded

    server = start("max_queued_messages 100")
    reader = subscribe(server, acknowledges=False)
    module = made(tmp_path, server.url)
    records = [Record(extended_message("x", seq=seq), f"id{seq}", 7) for seq in range(500)]
    answer = module.send([Encoded(record, module.encode(record)) for record in records])
    assert (answer.text, answer.refused, answer.later) == ("acknowledged", {}, frozenset())
    module.close()
    acknowledged = 0
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and acknowledged < 120:
        for each in reader.messages[acknowledged:]:
            reader.client.ack(each.mid, 1)
            acknowledged += 1
        time.sleep(0.01)
    seqs = reader.seqs()
    # 20 under way, 100 in the queue, and in 2.0.21 20 more.
    assert seqs == list(range(len(seqs)))
    assert len(seqs) in (120, 140)
    assert b"Outgoing messages are being dropped" in server.log.read_bytes()


# The library leaves the socket of a failed handshake to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_and_password(start: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """TLS with a certificate of one's own, asked for on both sides, and a password; a wrong one is named, and not
    shown."""
    cert, key = certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + cert.read_text())
    passwords = tmp_path / "passwords"
    passwords.touch()
    tool = SERVERS / "usr/bin/mosquitto_passwd"
    subprocess.run([tool, "-b", passwords, "u", "secret"], check=True, env=libraries(), capture_output=True)
    server = start(
        *(f"cafile {cert}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"),
        *(f"password_file {passwords}", "allow_anonymous false"),
    )
    values = {"url": f"mqtts://localhost:{server.port}", "ca_file": str(cert), "user": "u"}
    word = tmp_path / "word"
    word.write_text("secret\n")
    values["password_file"] = str(word)
    with pytest.raises(RuntimeError, match="not delivered: localhost port"):
        made(tmp_path, **values).send_test()
    values["certificate"] = str(both)
    assert made(tmp_path, **values).send_test() == "acknowledged; no subscription matches"
    word.write_text("wrong-secret\n")
    with pytest.raises(RuntimeError, match="refuses the connection: 0x87 Not authorized") as caught:
        made(tmp_path, **values).send_test()
    assert "secret" not in str(caught.value)
    del values["ca_file"]
    with pytest.raises(RuntimeError, match="certificate verify failed"):
        made(tmp_path, **values).send_test()
