"""The module kafka with the real broker (.ci/install-kafka)."""

from __future__ import annotations

import json
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
from tests.support.kafka_server import KAFKA_PATIENCE, TEST_SECONDS, TOPIC, KafkaServer, until
from tests.support.servers import running

pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(TEST_SECONDS)]


def seqs(server: KafkaServer) -> list[int]:
    """Return the seqs of the messages that it has, all of one machine, in order."""
    return [json.loads(value)["seq"] for value in server.values()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KafkaServer]:
    """A running broker."""
    server = KafkaServer(tmp_path / "server")
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
    module = started(tmp_path, server, timeout=f"{2 * KAFKA_PATIENCE:g}s")
    try:
        give(module, 0, 5000)
        until(lambda: number(module, "sent_records") > 1000, "some messages")
        server.kill()
        give(module, 5000, 8000)
        server.start()
        until(lambda: number(module, "sent_records") == 8000, "all messages")
    finally:
        module.finish()
    assert seqs(server) == list(range(8000))


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
    """While the broker is away for longer than ``timeout``, and when it hangs for as long, the stream gives up no
    message: each is there once, in order."""
    module = started(tmp_path, server, timeout="5s")
    try:
        give(module, 0, 1000)
        until(lambda: number(module, "sent_records") == 1000, "the first messages")
        server.kill()
        give(module, 1000, 3000)
        until(lambda: number(module, "retried_batches") > 1, "retries")
        server.start()
        until(lambda: number(module, "sent_records") == 3000, "all messages")
        server.pause()
        before = number(module, "retried_batches")
        give(module, 3000, 5000)
        until(lambda: number(module, "retried_batches") > before + 1, "retries")
        server.resume()
        until(lambda: number(module, "sent_records") == 5000, "all messages")
    finally:
        module.finish()
    assert seqs(server) == list(range(5000))
    assert number(module, "dead_records") == 0


def test_a_topic_that_is_made_again(tmp_path: Path, server: KafkaServer) -> None:
    """The topic is deleted under load, and made again with fewer partitions: blocks go to the new one."""
    from confluent_kafka.cimpl import NewTopic

    module = started(tmp_path, server, format="blocks", largest="20000", timeout="5s")
    try:
        give(module, 0, 1000)
        until(lambda: number(module, "sent_records") == 1000, "the first messages")
        server.admin.delete_topics([TOPIC])[TOPIC].result(KAFKA_PATIENCE)
        until(lambda: TOPIC not in server.admin.list_topics(timeout=KAFKA_PATIENCE).topics, "the deletion")
        server.admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(KAFKA_PATIENCE)
        give(module, 1000, 3000)
        until(lambda: module.lag == 0 and number(module, "sent_records") == 3000, "all messages")
    finally:
        module.finish()
    blocks = dict(map(unpack, server.values(1)))
    found = [
        message.seq for messages in blocks.values() for message in messages if isinstance(message, ExtendedMessage)
    ]
    assert found == list(range(1000, 3000))


def test_records_that_it_refuses(tmp_path: Path) -> None:
    """A record that the topic is too small for is a dead letter; those that the producer sent with it arrive once."""
    server = KafkaServer(tmp_path / "server", properties="message.max.bytes=20000")
    with running(server):
        module = started(tmp_path, server, batch_seconds="0.5s")
        texts = ["x" * 30_000 if seq % 50 == 7 else "x" for seq in range(200)]
        now = time.time()
        try:
            module.handle_batch(0, [extended_message(text, seq=n, received_at=now) for n, text in enumerate(texts)])
            until(lambda: number(module, "sent_records") == 196, "the good records")
        finally:
            module.finish()
        bad = [7, 57, 107, 157]
        letters = [json.loads(each) for each in (tmp_path / "stream" / FILE).read_bytes().splitlines()]
        assert sorted(each["record"]["seq"] for each in letters) == bad
        assert "too large" in letters[0]["answer"]
        assert sorted(seqs(server)) == [seq for seq in range(200) if seq not in bad]


def test_the_test_record(tmp_path: Path, server: KafkaServer) -> None:
    """``netconsd check --send`` shows where the record is."""
    typed = {"servers": ModuleSetting([server.address], "servers", tmp_path)}
    answer = load(["kafka"], {"kafka": typed}).loaded[0].module.send_test()
    assert answer.startswith("stored in partition ")
    assert seqs(server) == [0]


def test_a_password(tmp_path: Path) -> None:
    """A user and a password of SASL; a wrong one is named, and not shown."""
    server = KafkaServer(tmp_path / "server", sasl=True)
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
