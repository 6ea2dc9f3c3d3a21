"""Sends messages, crash reports and events to Apache Kafka (docs/streams), by librdkafka's idempotent producer.

A batch is accepted when the brokers have acknowledged each message of it. The library's own limits lose nothing: its
queue has room for the largest batch, and it never gives up a message by itself. If it did, it would send those behind
it, and the machine's messages would be out of order.

After ``timeout``, the batch counts as not delivered, and the producer keeps it: the brokers recognise a second copy as
long as it is the same producer's. Only after :data:`RENEW_SECONDS` the stream takes back what is not acknowledged, the
end of each partition, and another producer sends it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from netconsd.streams.blockspool import Packed
from netconsd.streams.broker import Broker
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, TryLater
from netconsd.units import Duration, Size

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

TIMEOUT: Final = Duration("30s")
#: The producer's own default; brokers take 48,588 bytes more (message.max.bytes).
LARGEST: Final = Size("1000000")
#: Bytes of a message beside its key and value, with its headers: an identity has less than 100 bytes.
_OVERHEAD_BYTES: Final = 512
#: More than a batch has (batch_records, batch_bytes): the producer's queue is never full.
_QUEUE_MESSAGES: Final = 1_000_000
_QUEUE_KBYTES: Final = 1 << 20
#: Seconds after which a producer that has no acknowledgement is replaced. A broker needs minutes for its start after a
#: power cut; a fault of the library would last for ever.
RENEW_SECONDS: Final = 600.0
#: Seconds in which the producer reports the messages that are taken back from it; nothing is sent for that.
_REPORT_SECONDS: Final = 5.0
#: Errors about a message, or about others that were sent with it: too large, a time that the topic does not take, or
#: refused by its validation (Kafka's protocol, error codes).
_TOO_LARGE: Final = 10
REFUSED: Final = frozenset((_TOO_LARGE, 32, 87))
#: Errors of a message that was taken back from the producer: not sent yet, or not acknowledged (librdkafka's
#: _PURGE_QUEUE and _PURGE_INFLIGHT).
_TAKEN_BACK: Final = frozenset((-152, -151))
#: Properties of librdkafka on which the promises of the stream rest.
OWN: Final = frozenset(
    (
        *("bootstrap.servers", "metadata.broker.list", "enable.idempotence", "acks", "request.required.acks"),
        *("message.timeout.ms", "delivery.timeout.ms", "message.max.bytes", "partitioner", "retries"),
        *("message.send.max.retries", "queue.buffering.max.messages", "queue.buffering.max.kbytes"),
        *("delivery.report.only.error", "max.in.flight", "max.in.flight.requests.per.connection"),
    )
)


class _Message(NamedTuple):
    """One message for the brokers."""

    value: bytes
    #: What :meth:`Producer.produce` takes beside it.
    arguments: Mapping[str, Any]
    #: The places of its records in the batch.
    places: list[int]


class _Attempt:
    """Messages in the producer, and what it has reported of them."""

    def __init__(self, batch: Sequence[Encoded], messages: Sequence[_Message], began_at: float) -> None:
        self.batch = list(batch)
        self.messages = messages
        self.began_at = began_at
        self.failed: dict[int, KafkaError] = {}
        self.reported = 0
        #: A text of those that were stored.
        self.text = "nothing stored"

    def is_of(self, batch: Sequence[Encoded]) -> bool:
        """Return whether it is the attempt of a batch: the same objects."""
        return len(batch) == len(self.batch) and all(a is b for a, b in zip(batch, self.batch, strict=True))

    def report(self, number: int, error: KafkaError | None, stored: Message) -> None:
        """Take a report of the producer."""
        self.reported += 1
        if error is not None:
            self.failed[number] = error
        else:
            self.text = f"stored in partition {stored.partition()} of {stored.topic()} at offset {stored.offset()}"


class Kafka(Broker):
    """Produces each record with its machine as the key, or the lines or the block of each partition."""

    library = "confluent_kafka"

    def __init__(
        self,
        *,
        servers: list[str],
        topic: str = "netconsd",
        largest: Size = LARGEST,
        options: dict[str, str] | None = None,
        timeout: Duration = TIMEOUT,
        **settings: Any,
    ) -> None:
        """
        :param servers: brokers, as kafka1.example.net:9092; the others are found by them.
        :param topic: the topic.
        :param largest: the most bytes of a message: that of the topic (max.message.bytes).
        :param options: further properties of librdkafka, as security.protocol, sasl.username or compression.type.
        :param timeout: how long the brokers may take to acknowledge a batch.
        :raises ValueError: if a setting is wrong, with a text that names the setting.
        """
        super().__init__(**settings)
        if not servers:
            raise ValueError("servers: write at least one, such as kafka1.example.net:9092")
        for server in servers:
            if not re.fullmatch(r"[^\s,/@]+:\d{1,5}", server):
                raise ValueError(f'servers: "{server}" is not HOST:PORT')
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
            raise ValueError(f'topic: "{topic}" is not up to 249 letters, digits, dots, "_" and "-"')
        if not 2000 <= largest <= 100_000_000:
            raise ValueError(f"largest: {largest} is not from 2000 to 100000000")
        for name in sorted(OWN & set(options or ())):
            raise ValueError(f"options: {name} is not to be changed: the delivery rests on it")
        self._servers = servers
        self._topic = topic
        self._largest = int(largest)
        self._options = dict(options or {})
        self._timeout = float(timeout)
        self._producer: Producer | None = None
        self._partitions = 0
        # The batch that the producer has, without the acknowledgement of all of it.
        self._attempt: _Attempt | None = None
        # The last error of a connection: the reason why messages are not acknowledged.
        self._connection_error = ""
        self.monotonic: Callable[[], float] = time.monotonic

    def encode(self, record: Record) -> bytes:
        """Return a line of JSON without its newline, or a block.

        :raises ValueError: if it is too long for a message.
        """
        data = super().encode(record)
        # A block that is too large has one message, or is sent in halves.
        if len(data) + _OVERHEAD_BYTES > self._largest and not isinstance(record, Packed):
            raise ValueError(f"{len(data)} bytes are more than the setting largest has room for")
        return data

    def shape(self) -> tuple[int, int]:
        """Return the number of partitions of the topic, and the most bytes of a message's value.

        :raises TryLater: if no broker says.
        """
        if self._producer is None:
            self._producer = self._opened()
        if not self._partitions:
            self._partitions = self._count_partitions(self._producer)
        return self._partitions, self.bounded(self._largest - _OVERHEAD_BYTES)

    def send(self, batch: Sequence[Encoded]) -> Answer:
        """Produce a batch, and wait until the brokers have acknowledged everything."""
        now = self.monotonic()
        end = now + self._timeout
        attempt, self._attempt = self._attempt, None
        if attempt is not None and not attempt.is_of(batch):
            attempt = None
            self.close()
        if self._producer is None:
            self._producer = self._opened()
        if attempt is None:
            attempt = self._produced(self._producer, batch, self._messages(batch))
        if self._producer.flush(max(0.0, end - self.monotonic())):
            if now - attempt.began_at < RENEW_SECONDS:
                self._attempt = attempt
                raise TryLater(self._no_answer())
            self._take_back(self._producer)
        if attempt.reported < len(attempt.messages):
            raise TryLater(self._no_answer())
        refused: dict[int, str] = {}
        later: list[int] = []
        text = attempt.text
        for number, error in attempt.failed.items():
            message = attempt.messages[number]
            if error.code() in REFUSED:
                # This error is also that of others that the producer sent with the message: once more, alone.
                alone = self._alone(self._producer, batch, message, end)
                if alone is None:
                    continue
                error = alone
            if error.code() == _TOO_LARGE:
                self.was_too_large(len(message.value))
            if error.code() not in REFUSED:
                later += message.places
                text = self._reason(error)
            elif len(message.places) > 1:
                raise Refused(error.str())
            else:
                refused[message.places[0]] = error.str()
        return Answer(text, refused, frozenset(later))

    def _produced(self, producer: Producer, batch: Sequence[Encoded], messages: Sequence[_Message]) -> _Attempt:
        """Hand messages to the producer.

        :raises TryLater: if it cannot take them.
        """
        from confluent_kafka import KafkaException

        attempt = _Attempt(batch, messages, self.monotonic())
        for number, each in enumerate(messages):
            report = partial(attempt.report, number)
            try:
                producer.produce(self._topic, each.value, on_delivery=report, **each.arguments)
            except KafkaException as error:
                found: KafkaError = error.args[0]
                if found.code() not in REFUSED:
                    raise TryLater(self._reason(found)) from error
                attempt.failed[number] = found
                attempt.reported += 1
            except BufferError as error:
                raise TryLater(str(error)) from error
        return attempt

    def _alone(self, producer: Producer, batch: Sequence[Encoded], message: _Message, end: float) -> KafkaError | None:
        """Produce one message, and return its error.

        :raises TryLater: if the producer does not report.
        """
        attempt = self._produced(producer, batch, [message])
        if producer.flush(max(0.0, end - self.monotonic())):
            self._take_back(producer)
        if not attempt.reported:
            raise TryLater(self._no_answer())
        return attempt.failed.get(0)

    def _take_back(self, producer: Producer) -> None:
        """Have the producer report that it gives up what is not acknowledged."""
        producer.purge()
        producer.flush(_REPORT_SECONDS)

    def _no_answer(self) -> str:
        return f"no acknowledgement of the batch in {self._timeout:g} s{self._connection_error}"

    def _reason(self, error: KafkaError) -> str:
        if error.code() in _TAKEN_BACK:
            return self._no_answer()
        return f"{error.str()}{self._connection_error}"

    def _messages(self, batch: Sequence[Encoded]) -> list[_Message]:
        if self.format != "records":
            partitions, most_bytes = self.shape()
            return [
                _Message(each.data, {"partition": each.partition}, each.places)
                for each in self.grouped(batch, partitions, most_bytes)
            ]
        return [
            _Message(
                each.data,
                {
                    "key": each.record.address.encode(errors="surrogatepass"),
                    "timestamp": round(each.record.received_at * 1000),
                    "headers": {"id": each.record.id, "kind": each.record.kind},
                },
                [place],
            )
            for place, each in enumerate(batch)
        ]

    def _count_partitions(self, producer: Producer) -> int:
        """Return the number of partitions of the topic.

        :raises TryLater: if it is not known.
        """
        from confluent_kafka import KafkaException

        try:
            topic = producer.list_topics(self._topic, timeout=self._timeout).topics[self._topic]
        except KafkaException as error:
            raise TryLater(self._reason(error.args[0])) from error
        if topic.error is not None:
            raise TryLater(self._reason(topic.error))
        return len(topic.partitions)

    def _opened(self) -> Producer:
        """Return a producer; it connects by itself.

        :raises TryLater: if ``options`` are wrong.
        """
        from confluent_kafka import KafkaError, KafkaException, Producer

        def failed(error: KafkaError) -> None:
            # That all brokers are down follows each other error, such as a wrong password, and says less.
            if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._connection_error:
                self._connection_error = f": {error.str()}"

        self._connection_error = ""
        try:
            return Producer(
                {
                    **self._options,
                    "bootstrap.servers": ",".join(self._servers),
                    "client.id": "netconsd",
                    # Which implies acks=all, and retries in order, without copies, for ever.
                    "enable.idempotence": True,
                    "message.timeout.ms": 0,
                    "message.max.bytes": self._largest,
                    # The CRC-32 of the key, as netconsd.streams.lines has it.
                    "partitioner": "consistent",
                    "queue.buffering.max.messages": _QUEUE_MESSAGES,
                    "queue.buffering.max.kbytes": _QUEUE_KBYTES,
                    "error_cb": failed,
                    # Its lines on stderr repeat the errors above.
                    "log_level": 0,
                }
            )
        except KafkaException as error:
            raise TryLater(f"options: {error.args[0].str()}") from error

    def close(self) -> None:
        """Give up the connections, except those of a producer that has a batch."""
        if self._attempt is not None:
            return
        producer, self._producer, self._partitions = self._producer, None, 0
        if producer is not None:
            producer.purge()
            producer.flush(0)
