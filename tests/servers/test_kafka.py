"""The module kafka with the real broker (.ci/install-kafka)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.protocol.message import ExtendedMessage
from netconsd.streams.blocks import Head, unpack
from netconsd.streams.deadletters import FILE
from netconsd.testing import extended_message
from tests.support.servers import KAFKA, ServerProcess, free_port, listens, running, until

kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CONFIGURATION = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={directory}/data
num.partitions=4
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
message.max.bytes=20000
"""


#: The user netconsd with the password ``secret``.
SASL = """
listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="admin" password="admin" user_admin="admin" user_netconsd="secret";
"""


class KafkaServer(ServerProcess):
    """A broker in KRaft mode, with its data in a directory."""

    def __init__(self, directory: Path, *, sasl: bool = False) -> None:
        java = shutil.which("java")
        if java is None or not (KAFKA / "lib").exists():
            pytest.skip("needs Java and Kafka: bash .ci/install-kafka")
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        configuration = directory / "properties"
        text = CONFIGURATION.format(port=port, controller=free_port(), directory=directory)
        if sasl:
            text = text.replace("=PLAINTEXT://", "=SASL_PLAINTEXT://") + SASL
        configuration.write_text(text)
        classes = [java, "-Xmx256m", "-cp", f"{KAFKA}/lib/*"]
        subprocess.run(
            [*classes, "kafka.tools.StorageTool", "format", "--standalone", "-t", "4L6g3nShT-eMCtK--X86sw", "-c",
             str(configuration)], check=True, capture_output=True,
        )  # fmt: skip
        super().__init__(
            [*classes, "kafka.Kafka", str(configuration)], directory / "log", listens(port), dict(os.environ)
        )

    def seqs(self) -> list[int]:
        """Return the seqs of the messages that it has, all of one machine, in order."""
        return [json.loads(value)["seq"] for value in self.values()]

    def values(self) -> list[bytes]:
        """Return all that it has, all of one machine, in order."""
        consumer = kafka.Consumer({"bootstrap.servers": self.address, "group.id": "test", "log_level": 0})
        try:
            consumer.assign([kafka.TopicPartition("netconsd", number, 0) for number in range(4)])
            found: list[bytes] = []
            partitions = [kafka.TopicPartition("netconsd", number) for number in range(4)]
            left = sum(consumer.get_watermark_offsets(each, timeout=10)[1] for each in partitions)
            while len(found) < left:
                some = consumer.consume(left - len(found), timeout=10)
                assert some, f"only {len(found)} of {left} messages"
                found += [each.value() for each in some if each.error() is None]
            return found
        finally:
            consumer.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running broker."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = KafkaServer(directory)
    with running(server):
        yield server


def started(tmp_path: Path, server: KafkaServer, **settings: object) -> Any:
    """Return a started module."""
    values = {
        "servers": [server.address], "directory": str(tmp_path / "stream"), "batch_seconds": "0.05s", **settings,
    }  # fmt: skip
    typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
    module = load(["kafka"], {"kafka": typed}).loaded[0].module
    module.start(1)
    return module


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


def test_killed_while_messages_arrive(tmp_path: Path, server: KafkaServer) -> None:
    """Killed by SIGKILL under load, and started again within ``timeout``: every message is there once, in order."""
    module = started(tmp_path, server)
    try:
        give(module, 0, 5000)
        until(lambda: number(module, "sent_records") > 1000, "some messages")
        server.kill()
        give(module, 5000, 8000)
        server.start()
        until(lambda: number(module, "sent_records") == 8000, "all messages")
    finally:
        module.finish()
    assert server.seqs() == list(range(8000))


def test_blocks_while_it_is_killed(tmp_path: Path, server: KafkaServer) -> None:
    """With blocks, killed by SIGKILL under load, and the stream's process with it: every message is there, those of a
    machine in one partition, in order but for blocks that are there twice, with the same identity."""
    module = started(tmp_path, server, format="blocks", largest="20000")
    try:
        give(module, 0, 5000)
        until(lambda: number(module, "sent_records") == 5000, "some messages")
        give(module, 5000, 8000)
        server.kill()
        module._process.kill()
        give(module, 8000, 10_000)
        server.start()
        until(lambda: module.lag == 0 and number(module, "sent_records") >= 10_000, "all messages")
    finally:
        module.finish()
    seen: set[Head] = set()
    seqs: list[int] = []
    for data in server.values():
        head, messages = unpack(data)
        if head not in seen:
            seen.add(head)
            seqs += [message.seq for message in messages if isinstance(message, ExtendedMessage)]
    assert seqs == list(range(10_000))


def test_away_for_longer(tmp_path: Path, server: KafkaServer) -> None:
    """While the broker is away for longer than ``timeout``, the producer gives messages up, and the stream none of
    them. A message that the broker had stored when it was killed can be there twice."""
    module = started(tmp_path, server, timeout="1s")
    try:
        give(module, 0, 1000)
        until(lambda: number(module, "sent_records") == 1000, "the first messages")
        server.kill()
        give(module, 1000, 3000)
        until(lambda: number(module, "retried_batches") > 1, "retries")
        server.start()
        until(lambda: number(module, "sent_records") == 3000, "all messages")
    finally:
        module.finish()
    assert list(dict.fromkeys(server.seqs())) == list(range(3000))
    assert number(module, "dead_records") == 0


def test_records_that_it_refuses(tmp_path: Path, server: KafkaServer) -> None:
    """A record that the topic is too small for is a dead letter; those that the producer sent with it arrive once."""
    module = started(tmp_path, server, batch_seconds="0.5s")
    now = time.time()
    try:
        module.handle_batch(
            0,
            [extended_message("x" * 30_000 if seq % 50 == 7 else "x", seq=seq, received_at=now) for seq in range(200)],
        )
        until(lambda: number(module, "sent_records") == 196, "the good records")
    finally:
        module.finish()
    bad = [7, 57, 107, 157]
    letters = [json.loads(each) for each in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
    assert sorted(each["record"]["seq"] for each in letters) == bad
    assert "too large" in letters[0]["answer"]
    assert sorted(server.seqs()) == [seq for seq in range(200) if seq not in bad]


def test_the_test_record(tmp_path: Path, server: KafkaServer) -> None:
    """``netconsd check --send`` shows where the record is."""
    typed = {"servers": ModuleSetting([server.address], "servers", tmp_path)}
    answer = load(["kafka"], {"kafka": typed}).loaded[0].module.send_test()
    assert answer.startswith("stored in partition ")
    assert server.seqs() == [0]


def test_a_password(tmp_path: Path) -> None:
    """A user and a password of SASL; a wrong one is named, and not shown."""
    directory = tmp_path / "server"
    directory.mkdir()
    server = KafkaServer(directory, sasl=True)
    with running(server):

        def answer(password: str) -> str:
            options = {
                "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "netconsd",
                "sasl.password": password,
            }  # fmt: skip
            values = {"servers": [server.address], "options": options, "timeout": "10s"}
            typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
            found: str = load(["kafka"], {"kafka": typed}).loaded[0].module.send_test()
            return found

        assert answer("secret").startswith("stored in partition ")
        with pytest.raises(RuntimeError, match="Authentication failed") as caught:
            answer("wrong-secret")
        assert "wrong-secret" not in str(caught.value)
