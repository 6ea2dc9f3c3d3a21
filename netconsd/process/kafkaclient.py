"""Takes messages out of a topic of Kafka, as a member of a consumer group.

1. **Which partitions** a processor takes is decided by the group, cooperatively: those that stay with their processor
   are not interrupted when a member comes or goes.
2. **Commits.** The offset of a partition is committed up to the first message that is not done. Nothing is committed
   by the library on its own.
3. **A partition is given away** after what was taken is processed and committed, for at most :data:`REVOKE_SECONDS`.
4. **Back-pressure.** While the lanes are full, nothing is taken. After some seconds the partitions are paused, and the
   library is called again: a processor with a slow module stays in the group, and others can come and go.
5. A processor that dies is replaced after :data:`SESSION_SECONDS`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from netconsd.process.address import Address
from netconsd.process.announced import Announced, until_of
from netconsd.process.client import Client, LostError
from netconsd.process.intake import Done, Intake, NotKeptError
from netconsd.protocol.plural import plural

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

#: Seconds without a sign of life after which the group replaces a member: the least that brokers allow by default
#: (group.min.session.timeout.ms).
SESSION_SECONDS: Final = 6.0
#: Seconds for which a partition that is given away is processed to its end. All members wait for it, and the broker for
#: max.poll.interval.ms, 300 s.
REVOKE_SECONDS: Final = 30.0
#: Seconds between two commits.
COMMIT_SECONDS: Final = 0.2
#: Seconds of a call for messages: a turn when nothing happens.
POLL_SECONDS: Final = 0.1
#: The same while deliveries are in the lanes and modules, so that they are acknowledged soon.
BUSY_SECONDS: Final = 0.01
#: Seconds for which deliveries wait for room before the partitions are paused. Until then the library is not called,
#: and keeps what it has fetched ahead, which a pause throws away.
PAUSE_SECONDS: Final = 5.0
#: Messages of a call.
POLL_MESSAGES: Final = 64
#: KiB that the library fetches ahead; its default of 64 MiB is for each consumer as well.
AHEAD_KBYTES: Final = 16 << 10
#: Seconds for an answer of a broker.
ANSWER_SECONDS: Final = 10.0
#: Seconds for which an error is a fault: the library repeats it at least every 10 s (reconnect.backoff.max.ms).
FAULT_SECONDS: Final = 30.0
#: Why messages are deleted before they are processed.
TOO_SHORT: Final = "its retention is too short for the time that the processors were away"
#: Properties of librdkafka on which the promises of this file rest.
OWN: Final = frozenset(
    (
        *("bootstrap.servers", "metadata.broker.list", "group.id", "enable.auto.commit", "enable.auto.offset.store"),
        *("partition.assignment.strategy", "group.protocol", "auto.offset.reset", "max.poll.interval.ms"),
    )
)


class Offset(NamedTuple):
    """A delivery: its partition and offset."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"offset {self.offset}"


class Offsets:
    """The offsets of a partition that were taken, and those that are done, in any order."""

    def __init__(self, expected: int | None = None) -> None:
        """:param expected: the first offset; None if any is."""
        #: The next offset; None if any is.
        self.expected = expected
        self._done: set[int] = set()
        self._taken: deque[int] = deque()
        #: What :meth:`commit` returned last; None before.
        self.last: int | None = None

    def take(self, offset: int) -> int:
        """Note a delivery, and return the number of those before it that were never delivered.

        Offsets of a topic without compaction and transactions have no gaps.
        """
        missing = 0 if self.expected is None else max(0, offset - self.expected)
        self.expected = offset + 1
        self._taken.append(offset)
        return missing

    def done(self, offset: int) -> None:
        """Note that a delivery can be acknowledged."""
        self._done.add(offset)

    def commit(self) -> int | None:
        """Return the offset to commit, from which another processor would begin; None if it is the same as before."""
        found: int | None = None
        while self._taken and self._taken[0] in self._done:
            offset = self._taken.popleft()
            self._done.remove(offset)
            found = self.last = offset + 1
        return found

    def position(self) -> int | None:
        """Return the first offset that is not done, as far as :meth:`commit` knows; None before the first delivery."""
        return self._taken[0] if self._taken else self.last


class KafkaClient(Client):
    """Takes the partitions of a topic that the group gives to it."""

    def __init__(
        self,
        intake: Intake,
        address: Address,
        group: str,
        *,
        properties: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        """:param properties: of librdkafka, as security.protocol or sasl.username."""
        super().__init__(intake, **options)
        self._address = address
        self._group = group
        self._properties = dict(properties)
        self._clock = clock
        self._awake = threading.Event()
        self._offsets: dict[int, Offsets] = {}
        self._announced: dict[int, Announced] = {}
        self._committed_at = 0.0
        # None if some partitions may be paused and others not.
        self._is_paused: bool | None = False
        # Since when deliveries wait for room; now, if none does.
        self._full_since = 0.0
        self._error = ""
        self._error_at = 0.0
        # Why the session has to be begun again; empty while it goes on.
        self._broken = ""
        self._is_topic_gone = False
        # Whether the partitions were counted since some were assigned.
        self._is_counted = True

    def interrupt(self) -> None:
        self._awake.set()

    def faults(self) -> list[str]:
        # While nothing is to be taken, only an error tells that no broker answers.
        return [self._error] if self._error and self._clock() - self._error_at < FAULT_SECONDS else []

    def session(self) -> None:
        from confluent_kafka import KafkaException

        consumer = self._opened()
        try:
            self._find_topic(consumer)
            consumer.subscribe(
                [self._address.name], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._gone
            )
            self._connected(f"{self._address} as {self._group}")
            self._take(consumer)
        except NotKeptError as error:
            raise LostError(f"is asked to deliver again, because a module cannot sync: {error}") from error
        except KafkaException as error:
            raise LostError(error.args[0].str()) from error
        finally:
            # Gives the partitions away, by _revoked.
            consumer.close()
            self._forget(list(self._offsets))

    def _opened(self) -> Consumer:
        from confluent_kafka import Consumer, KafkaException

        def failed(error: KafkaError) -> None:
            self._failed(error)

        def answered(error: KafkaError | None, partitions: list[TopicPartition]) -> None:
            self._answered(error, partitions)

        self._error = self._broken = ""
        self._is_paused = self._is_topic_gone = False
        self._is_counted = True
        try:
            return Consumer(
                {
                    "session.timeout.ms": round(SESSION_SECONDS * 1000),
                    "heartbeat.interval.ms": round(SESSION_SECONDS * 1000 / 4),
                    "queued.max.messages.kbytes": AHEAD_KBYTES,
                    "client.id": "netconsd",
                    **self._properties,
                    "bootstrap.servers": ",".join(self._address.servers),
                    "group.id": self._group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "partition.assignment.strategy": "cooperative-sticky",
                    "error_cb": failed,
                    "on_commit": answered,
                    # Its lines on stderr repeat the errors above.
                    "log_level": 0,
                }
            )
        except KafkaException as error:
            raise LostError(f"--broker-config: {error.args[0].str()}") from error

    def _find_topic(self, consumer: Consumer) -> None:
        """Learn the number of partitions.

        :raises LostError: if the topic is not there.
        """
        topic = consumer.list_topics(self._address.name, timeout=ANSWER_SECONDS).topics[self._address.name]
        if topic.error is not None:
            raise LostError(f"{self._address}: {topic.error.str()}")
        self.partitions = len(topic.partitions)

    def _take(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            now = self._clock()
            if not self.intake.queued:
                self._full_since = now
            self._pause(consumer, now - self._full_since >= PAUSE_SECONDS)
            if self.intake.queued and not self._is_paused:
                self._awake.wait(POLL_SECONDS)
                self._awake.clear()
            else:
                for message in consumer.consume(
                    POLL_MESSAGES, BUSY_SECONDS if self.intake.unfinished else POLL_SECONDS
                ):
                    self._received(message)
            if not self._is_counted:
                # There can be more partitions than at the start of the session.
                self._is_counted = True
                self._find_topic(consumer)
                self._tell()
            if self._broken:
                if self._is_topic_gone:
                    self._count_deleted(consumer)
                raise LostError(self._broken)
            self._turn(consumer)

    def _failed(self, error: KafkaError) -> None:
        """Note an error, of a connection or of a partition."""
        from confluent_kafka import KafkaError

        self._error, self._error_at = f"the broker: {error.str()}", self._clock()
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            # The library would look for a new topic of this name once in five minutes.
            self._is_topic_gone = True
            self._broken = f"{self._address}: {error.str()}"

    def _count_deleted(self, consumer: Consumer) -> None:
        """Process what was taken of a topic that was deleted, and count what is known to have been behind it."""
        from confluent_kafka import TopicPartition

        while self.intake.queued and not self._stopping.is_set():
            self._awake.wait(POLL_SECONDS)
            self._awake.clear()
            self._note(self.intake.turn())
        for number, offsets in self._offsets.items():
            # As the broker said with the last messages.
            first, end = consumer.get_watermark_offsets(TopicPartition(self._address.name, number), cached=True)
            left = end - (first if offsets.expected is None else offsets.expected)
            if first >= 0 and left > 0:
                self._deleted(number, left, "the topic was deleted")

    def _received(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._failed(error)
            return
        self._error = ""
        partition, offset = message.partition(), message.offset()
        assert partition is not None and offset is not None, "it has been stored"
        offsets = self._offsets.get(partition)
        if offsets is None:
            return  # It was given away in the same call.
        deleted = offsets.take(offset)
        if deleted:
            self._deleted(partition, deleted, TOO_SHORT)
        again = self._announced[partition].take(offset)
        self.intake.take(partition, Offset(partition, offset), message.value() or b"", again=again)

    def _turn(self, consumer: Consumer) -> None:
        """Process, and commit now and then."""
        self._commit(consumer, [number for number, each in self._announced.items() if each.is_spent()], wait=False)
        self._note(self.intake.turn())
        now = self._clock()
        if now - self._committed_at >= COMMIT_SECONDS:
            self._committed_at = now
            self._commit(consumer, list(self._offsets), wait=False)

    def _note(self, found: list[Done]) -> None:
        for each in found:
            offsets = self._offsets.get(each.partition)
            if offsets is not None:
                offsets.done(each.token.offset)

    def _pause(self, consumer: Consumer, is_full: bool) -> None:
        """Pause all partitions, or resume them."""
        if is_full != self._is_paused:
            (consumer.pause if is_full else consumer.resume)(consumer.assignment())
            self._is_paused = is_full

    def _commit(
        self, consumer: Consumer, partitions: list[int], *, wait: bool, unprocessed: Mapping[int, int] | None = None
    ) -> None:
        """Commit what is done.

        :param wait: for the answer, because the partitions are given away.
        :param unprocessed: with ``wait``, by partition, as of :meth:`Announced.last_text`.
        """
        from confluent_kafka import KafkaException, TopicPartition

        offsets: list[TopicPartition] = []
        for number in partitions:
            known = self._offsets.get(number)
            offset = None if known is None else known.commit()
            if wait and known is not None:
                # The last chance: a commit that was not waited for may have failed.
                offset = known.last
            announced = self._announced.get(number)
            if known is None or announced is None:
                continue
            if offset is None and (wait or announced.is_due()):
                offset = known.position()
            if offset is not None:
                text = announced.last_text((unprocessed or {}).get(number)) if wait else announced.text()
                offsets.append(TopicPartition(self._address.name, number, offset, text))
        if not offsets:
            return
        try:
            if wait:
                self._answered(None, consumer.commit(offsets=offsets, asynchronous=False))
            else:
                consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._answered(error.args[0], [])

    def _answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Note the broker's answer to a commit, for the whole and for each partition.

        What was not committed is delivered again, to this processor or another one, unless a later commit covers it.
        """
        errors = [each for each in (error, *(partition.error for partition in partitions)) if each is not None]
        self._error, self._error_at = f"the broker: {errors[0].str()}" if errors else "", self._clock()

    # Called within consume() and close(), in the same thread.

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

        try:
            committed = consumer.committed(partitions, timeout=ANSWER_SECONDS)
            places = [self._place(consumer, each) for each in committed]
        except KafkaException as error:
            # Not in a callback of the library.
            self._broken = error.args[0].str()
            return
        # All of them, or none: what was taken of a partition without a begin has no place.
        for each, (first, again) in zip(committed, places, strict=True):
            if first is not None and first > each.offset:
                self._deleted(each.partition, first - each.offset, TOO_SHORT)
            self._offsets[each.partition] = Offsets(first)
            self._announced[each.partition] = Announced(again)
            self.intake.begin(each.partition)
        # The library begins where this processor counts from. On its own it would ask a second time.
        consumer.incremental_assign(
            [
                TopicPartition(each.topic, each.partition, OFFSET_BEGINNING if first is None else first)
                for each, (first, _) in zip(committed, places, strict=True)
            ]
        )
        # These are not paused; those that it had before may be.
        self._is_paused = None
        # Not here: after list_topics() in a callback, the library aborts the process at the next callback of the same
        # call, because it has forgotten the thread (confluent-kafka 2.16, CallState_get).
        self._is_counted = False

    def _place(self, consumer: Consumer, committed: TopicPartition) -> tuple[int | None, int]:
        """Return the offset of the next message of a partition, None if the group has never committed one; and the
        offset before which messages may have been processed, by the processor of the last commit.

        The first one is greater than what was committed if the broker has deleted those between: they are counted when
        the partition begins, because another message may not come for a long time.
        """
        if committed.error is not None:
            # Of this partition only: without it, the offset is as if there were none.
            from confluent_kafka import KafkaException

            raise KafkaException(committed.error)
        number, offset = committed.partition, committed.offset
        if offset < 0:
            return None, 0
        first, end = consumer.get_watermark_offsets(committed, timeout=ANSWER_SECONDS)
        if end < offset:
            self._log.error(
                "Partition {number}: the broker has fewer messages than were processed. It has lost some, or the topic "
                "was made again: this processor begins with the oldest",
                number=number,
            )
            return None, 0
        # What came to the broker after the other processor was gone was not processed.
        return max(first, offset), min(until_of(committed.metadata), end)

    def _deleted(self, number: int, count: int, why: str) -> None:
        self.intake.deleted += count
        self._log.error(
            "Partition {number}: the broker has deleted {count} before they were processed: {why}",
            number=number,
            count=plural(count, "message"),
            why=why,
        )

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        unprocessed: dict[int, int] = {}
        for number in numbers:
            left = [token.offset for token in self.intake.leave(number)]
            if left:
                unprocessed[number] = min(left)
        end = self._clock() + REVOKE_SECONDS
        try:
            while not all(map(self.intake.is_idle, numbers)):
                if self._given_up.is_set() or self._clock() >= end:
                    break
                self._awake.wait(POLL_SECONDS)
                self._awake.clear()
                self._note(self.intake.turn())
        except NotKeptError as error:
            self._log.warn("The broker delivers again what a module cannot sync: {error}", error=error)
        self._commit(consumer, numbers, wait=True, unprocessed=unprocessed)
        self._forget(numbers)
        if not self._stopping.is_set():
            self._tell()

    def _gone(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group has replaced this processor, or it had no broker for as long: nothing can be committed."""
        self._forget([each.partition for each in partitions])
        self._log.warn(
            "This processor has lost its partitions: it and the broker did not hear each other for {seconds:g} "
            "seconds. The next processor counts what may be processed twice",
            seconds=SESSION_SECONDS,
        )

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            self._offsets.pop(number, None)
            self._announced.pop(number, None)
            self.intake.end(number)

    def _tell(self) -> None:
        mine = self.intake.partitions
        self._log.info(
            "This processor takes {count} of {all} partitions: {numbers}",
            count=len(mine),
            all=self.partitions,
            numbers=", ".join(map(str, mine)) or "none",
        )
