"""Messages that a processor may process a second time are counted: with nats-server, and librdkafka's mock cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats_server import StreamServer
from tests.support.processors import Processor, blocks, processed
from tests.support.scripted_lane import PATIENCE
from tests.support.servers import running, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PARTITIONS = 4
#: A module that takes its time, and a short queue: a processor that ends has deliveries in all places.
SLOW = ("--queue", "200", "--set", "record.hold=0.02")
Start = Callable[..., Processor]
Publish = Callable[[int, int], set[tuple[str, int]]]


@pytest.fixture(params=["nats", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Start, Publish]]:
    """Functions that start a processor, and publish."""
    started: list[Processor] = []

    def start_at(source: str, name: str, *more: str) -> Processor:
        started.append(Processor(tmp_path, name, source, more=more, patience=4 * PATIENCE))
        return started[-1]

    if request.param == "nats":
        pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")
        server = StreamServer(tmp_path / "server")
        with running(server):
            server.make_stream()
            yield (
                lambda name, *more: start_at(server.source, name, "--partitions", str(PARTITIONS), *more),
                lambda first, last: published(first, last, server.publish),
            )
            for each in started:
                each.end()
        return
    kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")
    cluster = kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (at,) = cluster.list_topics(timeout=PATIENCE).brokers.values()
    producer = kafka.Producer({"bootstrap.servers": f"{at.host}:{at.port}", "log_level": 0})

    def produce(messages: list[tuple[int, bytes]]) -> None:
        for partition, data in messages:
            producer.produce("netconsd", data, partition=partition)
        assert producer.flush(PATIENCE) == 0

    producer.list_topics("netconsd", timeout=PATIENCE)
    yield (
        lambda name, *more: start_at(f"kafka://{at.host}:{at.port}/netconsd", name, *more),
        lambda first, last: published(first, last, produce),
    )
    for each in started:
        each.end()
    cluster.purge()


def published(first: int, last: int, publish: Callable[[list[tuple[int, bytes]]], Any]) -> set[tuple[str, int]]:
    """Publish messages of eight machines, and return their identities."""
    made = blocks(first, last, partitions=PARTITIONS)
    publish([(partition, data) for partition, data, _ in made])
    return {message for _, _, messages in made for message in messages}


def gated(gate: Path, free: int) -> tuple[str, ...]:
    """Return options with which the module waits for a file after a number of messages.

    A publisher may be slower than the module.
    """
    return (*SLOW, "--set", f"record.gate={gate}", "--set", f"record.free={free}")


def test_killed(broker: tuple[Start, Publish], tmp_path: Path) -> None:
    """At most as many messages are with modules twice as the next processor counts."""
    start, publish = broker
    one = start("one", *gated(tmp_path / "gate", 500)).takes(PARTITIONS)
    messages = publish(0, 500)
    until(lambda: one.number("queued") > 0 and len(one.messages()) >= 500, "messages in all places")
    one.kill()
    two = start("two")
    messages |= publish(500, 600)
    until(lambda: set(processed([one, two])) >= messages, "all messages")
    found = processed([one, two])
    assert set(found) == messages
    until(lambda: two.number("unfinished") == 0, "the acknowledgements")
    assert sum(found.values()) - len(found) <= two.number("repeated_kernel_messages")
    assert 0 < two.number("repeated_kernel_messages") < len(messages)


@pytest.mark.parametrize("broker", ["nats"], indirect=True)
def test_stopped(broker: tuple[Start, Publish], tmp_path: Path) -> None:
    """A processor that stops under load gives back what it did not process, and tells the other members: nothing comes
    twice, nothing is counted."""
    start, publish = broker
    gate = tmp_path / "gate"
    one = start("one", *gated(gate, 100)).takes(PARTITIONS)
    messages = publish(0, 500)
    until(lambda: one.number("queued") > 0 and len(one.messages()) >= 100, "messages in all places")
    gate.touch()
    two = start("two").takes(PARTITIONS // 2)
    one.stop()
    until(lambda: set(processed([one, two])) >= messages, "all messages")
    assert processed([one, two]) == dict.fromkeys(messages, 1), f"{one.log}\n{two.log}"
    assert two.number("repeated_kernel_messages") == 0


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_stopped_before_the_next_one_starts(broker: tuple[Start, Publish], tmp_path: Path) -> None:
    """The same for the topic's commits. Two members of one group need a real broker: the mock cluster takes 10 to 40
    seconds until the second one has partitions."""
    start, publish = broker
    gate = tmp_path / "gate"
    one = start("one", *gated(gate, 100), "--set", "record.hold=0.1").takes(PARTITIONS)
    messages = publish(0, 2000)
    until(lambda: one.number("queued") > 0 and len(one.messages()) >= 100, "messages in all places")
    gate.touch()
    one.stop()
    assert set(processed([one])) < messages, "it stopped while there was more to process"
    two = start("two").takes(PARTITIONS)
    until(lambda: set(processed([one, two])) >= messages, "all messages")
    assert processed([one, two]) == dict.fromkeys(messages, 1), f"{one.log}\n{two.log}"
    assert two.number("repeated_kernel_messages") == 0
