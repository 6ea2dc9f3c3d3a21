"""The module kafka with librdkafka's mock cluster, and with a scripted producer for errors of brokers."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netconsd.jsonl import from_json
from netconsd.outputs.loader import ModuleError, load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.streams.blocks import pack, unpack
from netconsd.streams.blockspool import Packed
from netconsd.streams.lines import partition_of
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater
from netconsd.testing import crash_report, extended_message
from tests.support.scripted_lane import PATIENCE

kafka = pytest.importorskip("confluent_kafka", reason="needs confluent-kafka: pip install 'netconsd[kafka]'")

#: Of a topic of the mock cluster.
PARTITIONS = 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster that lives in the threads of this producer."""
    producer = kafka.Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = producer.list_topics(timeout=PATIENCE).brokers.values()
    yield f"{broker.host}:{broker.port}"
    producer.purge()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that returns a module."""
    modules: list[Any] = []

    def made(**settings: object) -> Any:
        values = {"servers": ["127.0.0.1:1"], "timeout": "10s", **settings}
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in values.items()}
        modules.append(load(["kafka"], {"kafka": typed}).loaded[0].module)
        return modules[-1]

    yield made
    for module in modules:
        module.close()


def module_of(module: Any) -> Any:
    """Return the module of Python that a stream is from."""
    return sys.modules[type(module).__module__]


def batch_of(module: Any, *texts: str) -> list[Encoded]:
    """Return messages of three machines with their bytes."""
    records = [
        Record(
            extended_message(text, seq=seq, address=f"192.0.2.{seq % 3}", received_at=1_795_000_000.25),
            f"192.0.2.{seq % 3}/7/{seq}",
            7,
        )
        for seq, text in enumerate(texts)
    ]
    return [Encoded(record, module.encode(record)) for record in records]


def read(cluster: str, topic: str, count: int) -> list[Any]:
    """Return the messages of a topic."""
    consumer = kafka.Consumer({"bootstrap.servers": cluster, "group.id": "test", "log_level": 0})
    consumer.assign([kafka.TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[Any] = []
    while len(found) < count:
        some = consumer.consume(count - len(found), timeout=PATIENCE)
        assert some, f"only {len(found)} messages"
        found += [each for each in some if each.error() is None]
    consumer.close()
    return found


def test_a_batch(cluster: str, make: Callable[..., Any]) -> None:
    """Each record is a message with its machine as the key, in the partition of the machine, in order."""
    module = make(servers=[cluster], topic="batch")
    batch = batch_of(module, *[f"line {seq}" for seq in range(300)])
    answer = module.send(batch)
    assert re.fullmatch(r"stored in partition \d of batch at offset \d+", answer.text)
    assert (answer.refused, answer.later) == ({}, frozenset())
    found = read(cluster, "batch", 300)
    for host in range(3):
        of_host = [each for each in found if each.key() == b"192.0.2.%d" % host]
        assert {each.partition() for each in of_host} == {partition_of(f"192.0.2.{host}", PARTITIONS)}
        assert [from_json(each.value()).text for each in of_host] == [f"line {seq}" for seq in range(host, 300, 3)]
    first = found[0]
    assert first.timestamp() == (1, 1_795_000_000_250)
    assert dict(first.headers())["kind"] == b"message"
    assert dict(first.headers())["id"].startswith(first.key())


def test_lines(cluster: str, make: Callable[..., Any]) -> None:
    """With ``lines``, a message has the records of a partition, in order."""
    module = make(servers=[cluster], topic="lines", format="lines")
    batch = batch_of(module, *[f"line {seq}" for seq in range(300)])
    count = len({partition_of(f"192.0.2.{host}", PARTITIONS) for host in range(3)})
    assert module.send(batch).refused == {}
    found = read(cluster, "lines", count)
    for each in found:
        messages = [from_json(part) for part in each.value().splitlines()]
        assert {partition_of(message.source.address, PARTITIONS) for message in messages} == {each.partition()}
        for host in {message.source.address for message in messages}:
            seqs = [int(message.text.split()[1]) for message in messages if message.source.address == host]
            assert seqs == list(range(int(host[-1]), 300, 3))


def test_blocks(cluster: str, make: Callable[..., Any]) -> None:
    """With blocks, each is one message of its partition; the topic says how many there are."""
    module = make(servers=[cluster], topic="blocks", format="blocks", largest="5000")
    assert module.shape() == (PARTITIONS, 5000 - 512)
    blocks = []
    for number in range(6):
        message = extended_message("x", seq=number)
        data = pack(bytes(16), 1, number, [message])
        blocks.append(Packed(message, f"00/1/{number}", data=data, partition=number % PARTITIONS, messages=1))
    answer = module.send([Encoded(block, module.encode(block)) for block in blocks])
    assert (answer.refused, answer.later) == ({}, frozenset())
    found = read(cluster, "blocks", 6)
    assert {unpack(each.value())[0].number: each.partition() for each in found} == {n: n % PARTITIONS for n in range(6)}


def test_blocks_of_a_topic_with_fewer_partitions(cluster: str, make: Callable[..., Any]) -> None:
    """A block that was made for a topic with more partitions is sent nevertheless: the topic was made again."""
    module = make(servers=[cluster], topic="fewer", format="blocks")
    message = extended_message("x")
    data = pack(bytes(16), 1, 0, [message])
    block = Packed(message, "00/1/0", data=data, partition=PARTITIONS + 1, messages=1)
    answer = module.send([Encoded(block, data)])
    assert (answer.refused, answer.later) == ({}, frozenset())
    assert [each.partition() for each in read(cluster, "fewer", 1)] == [1]


def test_a_test_record_as_a_block(cluster: str, make: Callable[..., Any]) -> None:
    """``netconsd check --send`` sends its record as a block of one message, in the partition of 127.0.0.1."""
    assert make(servers=[cluster], topic="test", format="blocks").send_test().startswith("stored in partition")
    (each,) = read(cluster, "test", 1)
    assert each.partition() == partition_of("127.0.0.1", PARTITIONS)
    assert "test record" in unpack(each.value())[1][0].text


def test_blocks_that_are_too_large(make: Callable[..., Any]) -> None:
    """After a block that the topic does not take, the next ones are smaller."""
    module = make(format="blocks")
    module._partitions = 1
    module._producer = Producer(TOO_LARGE, TOO_LARGE)
    message = extended_message("x" * 20_000)
    block = Packed(message, "00/1/1", data=pack(bytes(16), 1, 1, [message] * 9), partition=0, messages=9)
    assert "too large" in module.send([Encoded(block, module.encode(block))]).refused[0]
    assert module.shape() == (1, len(block.data) // 2)


@pytest.fixture
def away() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_brokers_that_are_away(make: Callable[..., Any], away: str) -> None:
    """Without a broker, the batch is to be sent again, with the reason of the connection."""
    module = make(servers=[away], timeout="0.3s")
    batch = batch_of(module, "a", "b")
    end = module.monotonic() + PATIENCE
    text = ""
    # The threads of the library may be slower than the timeout.
    while "refused" not in text and module.monotonic() < end:
        with pytest.raises(TryLater) as caught:
            module.send(batch)
        text = str(caught.value)
    assert re.match(r"no acknowledgement of the batch in 0\.3 s: .*refused", text)


def test_brokers_that_are_away_with_lines(make: Callable[..., Any], away: str) -> None:
    """The number of partitions is not known without a broker."""
    module = make(servers=[away], timeout="0.3s", format="lines")
    with pytest.raises(TryLater, match=r"refused|metadata"):
        module.send(batch_of(module, "a"))


def test_too_long(make: Callable[..., Any]) -> None:
    """A record that has no room in a message is refused before it is sent; one that just has is not."""
    module = make(largest="4000")
    size = len(module.encode(Record(extended_message(""), "i")))
    room = 4000 - 512 - size
    assert len(module.encode(Record(extended_message("x" * room), "i"))) == 4000 - 512
    with pytest.raises(ValueError, match="largest"):
        module.encode(Record(extended_message("x" * (room + 1)), "i"))
    with pytest.raises(ValueError, match="largest"):
        module.encode(Record(crash_report(messages=(extended_message("x" * 4000),)), "i"))


def test_a_large_batch(cluster: str, make: Callable[..., Any]) -> None:
    """The producer's queue has room for the largest batch, of more records than its own default."""
    module = make(servers=[cluster], topic="large", timeout="30s")
    (each,) = batch_of(module, "x")
    answer = module.send([Encoded(each.record, b"{}")] * 100_001)
    assert (answer.refused, answer.later) == ({}, frozenset())


class Producer:
    """A scripted producer: messages are reported in order, each with the next error."""

    def __init__(self, *errors: int | None) -> None:
        self.errors = list(errors)
        self.values: list[bytes] = []
        self._waiting: list[Callable[[], None]] = []
        self._held: list[Callable[[Any, Any], None]] = []
        self.is_purged = False

    def produce(self, topic: str, value: bytes, *, on_delivery: Callable[[Any, Any], None], **rest: Any) -> None:
        """Take a message; an error under 0 is raised."""
        error = self.errors.pop(0)
        self.values.append(value)
        if error == BUFFER:
            raise BufferError("queue full")
        if error is not None and error < 0:
            raise kafka.KafkaException(kafka.KafkaError(-error))
        if error == HELD:
            self._held.append(on_delivery)
        elif error != SILENT:
            found = None if error is None else kafka.KafkaError(error)
            self._waiting.append(lambda: on_delivery(found, self))

    def partition(self) -> int:
        """Of the message that is reported."""
        return 1

    def topic(self) -> str:
        """Of the message that is reported."""
        return "t"

    def offset(self) -> int:
        """Of the message that is reported."""
        return len(self.values)

    def flush(self, seconds: float) -> int:
        """Report."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each()
        return len(self._held)

    def acknowledge(self) -> None:
        """Have the next flush report that everything is stored."""
        self._report_held(None)

    def purge(self) -> None:
        """Have the next flush report that the rest is given up."""
        self.is_purged = True
        self._report_held(kafka.KafkaError(kafka.KafkaError._PURGE_INFLIGHT))

    def _report_held(self, error: Any) -> None:
        self._waiting += [partial(each, error, self) for each in self._held]
        self._held = []


BUFFER, SILENT, HELD = 1001, 1002, 1003
TOO_LARGE = 10
INVALID_TIMESTAMP = 32
NOT_ENOUGH_REPLICAS = 19


@pytest.mark.parametrize(("error", "text"), [(TOO_LARGE, "too large"), (INVALID_TIMESTAMP, "timestamp")])
def test_an_error_for_a_neighbour(make: Callable[..., Any], error: int, text: str) -> None:
    """The brokers refuse what the producer sent together: each is sent alone, and only the bad one is refused."""
    module = make()
    module._producer = producer = Producer(None, error, error, error, None, error, NOT_ENOUGH_REPLICAS)
    batch = batch_of(module, "a", "b", "c", "d")
    answer = module.send(batch)
    assert list(answer.refused) == [2]
    assert text in answer.refused[2]
    assert answer.later == {3}
    assert producer.values == [each.data for each in (*batch, *batch[1:])]


def test_a_message_of_lines_that_is_refused(make: Callable[..., Any]) -> None:
    """If a message of several records is refused, the batch is, and is sent in halves then."""
    module = make(format="lines")
    module._partitions = 1
    module._producer = Producer(TOO_LARGE, TOO_LARGE)
    with pytest.raises(Refused, match="too large"):
        module.send(batch_of(module, "a", "b"))


@pytest.mark.parametrize(
    ("error", "text"), [(BUFFER, "queue full"), (SILENT, "no ack"), (-NOT_ENOUGH_REPLICAS, "replicas")]
)
def test_a_producer_that_cannot(make: Callable[..., Any], error: int, text: str) -> None:
    """A producer that takes no message, or does not report, has the batch sent again."""
    module = make()
    module._producer = Producer(None, error)
    with pytest.raises(TryLater, match=text):
        module.send(batch_of(module, "a", "b"))


def test_what_is_not_acknowledged_in_time(make: Callable[..., Any]) -> None:
    """After ``timeout`` the producer keeps the batch, also when the stream closes its connections: the next attempt
    waits for the same messages, which are there once then."""
    module = make()
    module._producer = producer = Producer(None, HELD, HELD)
    batch = batch_of(module, "a", "b", "c")
    for _ in range(2):
        with pytest.raises(TryLater, match="no acknowledgement of the batch in 10 s"):
            module.send(batch)
        module.close()
    producer.acknowledge()
    assert module.send(list(batch)) == Answer("stored in partition 1 of t at offset 3")
    assert len(producer.values) == 3
    module.close()
    assert module._producer is None


def test_no_acknowledgement_for_long(make: Callable[..., Any]) -> None:
    """After RENEW_SECONDS, the messages that are not acknowledged are to be sent again, by another producer, and no
    others: the producer itself never gives up one of them, and sends those behind it, which were out of order."""
    module = make()
    module._producer = Producer(None, HELD, HELD)
    now = 0.0
    module.monotonic = lambda: now
    batch = batch_of(module, "a", "b", "c")
    with pytest.raises(TryLater):
        module.send(batch)
    now = module_of(module).RENEW_SECONDS
    assert module.send(batch) == Answer("no acknowledgement of the batch in 10 s", {}, frozenset((1, 2)))
    module.close()
    assert module._producer is None


def test_another_batch_has_another_producer(make: Callable[..., Any]) -> None:
    """A batch that is not the one that the producer has is not sent behind it: that one was taken back."""
    module = make(timeout="0.1s")
    module._producer = old = Producer(HELD, HELD)
    batch = batch_of(module, "a", "b")
    with pytest.raises(TryLater):
        module.send(batch)
    module._opened = lambda: Producer(None)
    assert module.send(batch[1:]).later == frozenset()
    assert (old.is_purged, module._producer.values) == (True, [batch[1].data])


def test_a_message_that_the_producer_refuses(make: Callable[..., Any]) -> None:
    """A message that the producer itself finds too large is refused."""
    module = make()
    module._producer = Producer(None, -TOO_LARGE, -TOO_LARGE)
    assert list(module.send(batch_of(module, "a", "b")).refused) == [1]


def test_wrong_options(make: Callable[..., Any]) -> None:
    """An option that librdkafka does not have is named by it."""
    module = make(options={"no.such.option": "1"})
    with pytest.raises(TryLater, match=r'^options: No such configuration property: "no\.such\.option"'):
        module.send(batch_of(module, "a"))


def test_the_answer_of_a_success(make: Callable[..., Any]) -> None:
    """The answer has the place of the last message."""
    module = make()
    module._producer = Producer(None)
    assert module.send(batch_of(module, "a")) == Answer("stored in partition 1 of t at offset 1")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"servers": []}, "servers: write at least one"),
        ({"servers": ["kafka1"]}, 'servers: "kafka1" is not HOST:PORT'),
        ({"servers": ["a:1,b:2"]}, 'servers: "a:1,b:2" is not HOST:PORT'),
        ({"topic": "a b"}, 'topic: "a b" is not'),
        ({"largest": "1999"}, "largest: 1999 is not from 2000"),
        ({"options": {"acks": "1"}}, "options: acks is not to be changed"),
    ],
)
def test_wrong_settings(make: Callable[..., Any], settings: dict[str, object], text: str) -> None:
    """A wrong setting is named."""
    with pytest.raises(ModuleError, match=f"^{re.escape(text)}"):
        make(**settings)
