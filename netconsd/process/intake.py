"""Messages of a broker into lanes, and their acknowledgements back.

*Deliveries* are the broker's messages: blocks (:mod:`netconsd.streams.blocks`) or lines of JSON. A *partition* is a
part of the broker's messages, in order; a machine is in one of them.

1. **Lanes.** A partition has one lane, so that its machines stay in order and nothing is sorted by machine.
2. **Room.** A delivery waits as bytes until its lane has room. The lanes and the queues of the modules have a quarter
   of ``--queue`` in them, and the block that exceeded it: no module drops a message because its queue is full. Messages
   that the memory of copies holds take no room, which has a bound for them: the block of the other receiver, for which
   they wait, must not wait for them.
3. **Acknowledged** is a delivery when the modules of its lane have returned from all its messages, and every module
   that keeps messages (:class:`netconsd.interfaces.IKeeps`) has synced them since. An exception of a module is counted,
   as always, and does not hold it up.
4. **Redelivered.** A block with the receiver, run and number of one of the last :data:`WINDOW` blocks of the partition
   is dropped and counted. It is acknowledged as soon as the first one is. The last :data:`ENDED_WINDOW` are remembered
   when the partition is given away: it can return with blocks that were processed here.
   **Repeated.** Another processor may have processed a delivery that it did not acknowledge before it died. The client
   says of which deliveries that is possible (``again``): they are processed, and their messages counted.
5. **Copies** of messages that another receiver had as well are dropped by :mod:`netconsd.streams.copies`, for each
   partition on its own.
6. **Damaged** deliveries are counted, named in the log, and acknowledged: the broker would deliver them again for ever.
7. **A sync that fails** gives the deliveries back: the broker delivers them again, and they are processed again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol

from twisted.logger import Logger
from twisted.python.failure import Failure

from netconsd.interfaces import IKeeps, ModuleMetric
from netconsd.jsonl import from_json
from netconsd.process.handover import Handovers
from netconsd.protocol.message import Message
from netconsd.protocol.plural import plural
from netconsd.receive.lanes import Lane
from netconsd.store.records import Senders
from netconsd.streams.blocks import Damaged, unpack
from netconsd.streams.copies import RECEIVERS_LIMIT, Summary, together

#: Blocks of a partition whose identities are remembered: those of some minutes at 20 blocks a second.
WINDOW: Final = 4096
#: The same of a partition that was given away: more than a client processes between two acknowledgements.
ENDED_WINDOW: Final = 1024
#: Seconds between two syncs at least: each costs milliseconds of a disk, and is for all deliveries since the last one.
SYNC_SECONDS: Final = 0.05
#: Damaged deliveries are logged once in this time.
COMPLAINT_SECONDS: Final = 60.0
#: Seconds for which a receiver whose machines were in other partitions is a fault.
MISPLACED_SECONDS: Final = 60.0
#: Seconds between two summaries of the copies.
SUMMARY_SECONDS: Final = 1.0


class NotKeptError(Exception):
    """A module could not sync: the broker has to deliver again what is not acknowledged."""


class Done(NamedTuple):
    """A delivery to be acknowledged."""

    partition: int
    #: As given to :meth:`Intake.take`.
    token: Any
    is_damaged: bool


class Copying(Protocol):
    """The part of :class:`netconsd.streams.copies.Copies` that is used here."""

    def take(self, receiver: bytes, messages: list[Message], now: float) -> list[Message]: ...
    def flush(self, now: float = ...) -> list[Message]: ...
    def oldest(self) -> float: ...
    def summary(self) -> Summary: ...


class _Delivery:
    __slots__ = ("identity", "partition", "taken_at", "tokens")

    def __init__(self, partition: _Partition, token: Any, identity: Hashable, taken_at: float) -> None:
        self.partition = partition
        #: Of this one, and of those with the same identity that came meanwhile.
        self.tokens = [token]
        self.identity = identity
        self.taken_at = taken_at


class _Memory:
    """The identities of the blocks of a partition, also while another processor has it."""

    def __init__(self) -> None:
        #: Those in the lane and the modules.
        self.open: dict[Hashable, _Delivery] = {}
        #: Those that were processed, and synced.
        self.done: OrderedDict[Hashable, None] = OrderedDict()

    def forget_all_but(self, count: int) -> None:
        """Forget the oldest that were processed."""
        while len(self.done) > count:
            self.done.popitem(last=False)


class _Partition:
    def __init__(self, number: int, lane: Lane, copies: Copying | None, memory: _Memory) -> None:
        self.number = number
        self.memory = memory
        self.lane = lane
        self.copies = copies
        #: (token, data, again) of :meth:`Intake.take`, not yet decoded.
        self.waiting: deque[tuple[Any, bytes, bool]] = deque()
        #: Deliveries of which copies may hold messages.
        self.unmarked: deque[_Delivery] = deque()
        #: All that are decoded and not acknowledged.
        self.open: set[_Delivery] = set()
        self.is_leaving = False


class Intake:
    """The deliveries between a broker and the lanes. For the thread of the broker's client, except where it says so."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        outputs: Any,
        queue: int,
        *,
        copies: Callable[[], Copying] | None = None,
        handovers: Handovers | None = None,
        clock: Callable[[], float] = monotonic,
        thread: Callable[..., Any] = threading.Thread,
    ) -> None:
        """
        :param outputs: the modules, started (:class:`netconsd.outputs.runner.Outputs`).
        :param queue: the setting ``--queue``.
        :param copies: makes the memory of copies of a partition; None if there is only one receiver.
        :param handovers: receives the partitions that are taken over and given away.
        """
        self._lanes = lanes
        self._outputs = outputs
        self._room = max(1, queue // 4)
        self._copies = copies
        self._handovers = handovers
        self._clock = clock
        self._keepers = [output.module for output in outputs.started if IKeeps.providedBy(output.module)]
        # One object for a sender, so that messages before a crash are found by it.
        self._senders = Senders()
        self._partitions: dict[int, _Partition] = {}
        self._memories: dict[int, _Memory] = {}
        self._places = dict.fromkeys((lane.number for lane in lanes), 0)
        #: Called in any thread when :meth:`turn` has work.
        self.wake: Callable[[], object] = lambda: None
        # From the lanes and queues: deliveries, and places of a lane that are free again.
        self._handled: deque[tuple[list[_Delivery], int, int]] = deque()
        # For the thread of syncs, and from it.
        self._to_sync: deque[_Delivery] = deque()
        self._synced: deque[_Delivery] = deque()
        self._unsynced: deque[_Delivery] = deque()
        self._sync_wanted = threading.Event()
        self._ending = threading.Event()
        self._sync_fault = ""
        self._thread: Any = None
        #: What the messages of several receivers became, up to a second ago; for any thread.
        self.summary = together(())
        # Of the partitions that were given away.
        self._ended = together(())
        # Of the receivers, the one that was named last at the end.
        self._names: dict[bytes, str] = {}
        # The last receiver of which a machine was in another partition than its address has, and when that was.
        self._misplaced: tuple[bytes, float] | None = None
        self._summed_at = -SUMMARY_SECONDS
        self._complained = -COMPLAINT_SECONDS
        self._log = Logger("netconsd")
        # Each delivery is acknowledged, damaged or given back; or it is in ``unfinished`` or ``queued``.
        self.deliveries = 0
        #: Those that were decoded and not acknowledged; any thread may read it.
        self.unfinished = 0
        self.bytes = 0
        self.redelivered = 0
        #: Messages that may have been handed to modules before, by this or another processor (rule 4).
        self.repeated = 0
        self.damaged = 0
        self.acknowledged = 0
        self.given_back = 0
        self.messages = 0
        self.handed_on = 0
        #: Lines of JSON that are reports or events: this processor finds its own.
        self.findings = 0
        self.takeovers = 0
        #: Messages that the broker deleted before anybody had processed them, as far as their numbers tell.
        self.deleted = 0
        if self._keepers:
            self._thread = thread(target=self._sync, name="netconsd process sync", daemon=True)
            self._thread.start()

    @property
    def partitions(self) -> list[int]:
        """The numbers of the partitions that this processor has."""
        return sorted(self._partitions)

    def begin(self, number: int) -> None:
        """Take over a partition; a partition that it has is left as it is."""
        found = self._partitions.get(number)
        if found is not None:
            found.is_leaving = False
            return
        self.takeovers += 1
        lane = self._lanes[number % len(self._lanes)]
        memory = self._memories.setdefault(number, _Memory())
        self._partitions[number] = _Partition(number, lane, None if self._copies is None else self._copies(), memory)

    def leave(self, number: int) -> list[Any]:
        """Begin to give a partition away: return the tokens of what was not decoded, which are to be given back.

        What was decoded is processed to its end: :meth:`is_idle` tells.
        """
        partition = self._partitions.get(number)
        if partition is None:
            return []
        partition.is_leaving = True
        tokens = [token for token, _, _ in partition.waiting]
        partition.waiting.clear()
        self.given_back += len(tokens)
        if partition.copies is not None:
            self._put(partition, partition.copies.flush())
        self._mark(partition)
        return tokens

    def interrupted(self, number: int) -> None:
        """Forget what the machines of a partition said before, and what is not decoded: another processor had the
        partition meanwhile, and has processed what came after.

        What was decoded is processed to its end, and acknowledged.
        """
        partition = self._partitions.get(number)
        if partition is None:
            return
        self.leave(number)
        partition.is_leaving = False
        self.takeovers += 1
        self._end_copies(partition)
        if self._copies is not None:
            partition.copies = self._copies()
        if self._handovers is not None:
            self._handovers.ended(number, partition.lane)

    def _end_copies(self, partition: _Partition) -> None:
        if partition.copies is not None:
            ended = replace(partition.copies.summary(), held=0, hosts=0, cost=0)
            self._ended = together([self._ended, ended])

    def is_idle(self, number: int) -> bool:
        """Return whether everything of a partition that was decoded has been acknowledged."""
        partition = self._partitions.get(number)
        return partition is None or not (partition.open or partition.waiting)

    def end(self, number: int) -> None:
        """Give a partition away at once; what was not acknowledged is delivered to another processor.

        What is in the lane and the modules is processed to its end; this processor drops it if it gets it again.
        """
        partition = self._partitions.pop(number, None)
        if partition is None:
            return
        self._end_copies(partition)
        self.given_back += len(partition.waiting)
        held = set(partition.unmarked)
        for delivery in list(partition.open):
            self._give_back(delivery, is_processed=delivery not in held)
        partition.memory.forget_all_but(ENDED_WINDOW)
        if self._handovers is not None:
            self._handovers.ended(number, partition.lane)

    def take(self, number: int, token: Any, data: bytes, *, again: bool = False) -> None:
        """Take a delivery of a partition that was begun.

        :param token: is returned by :meth:`turn` when it is to be acknowledged.
        :param again: whether it may have been processed before, without an acknowledgement.
        """
        self.deliveries += 1
        self.bytes += len(data)
        self._partitions[number].waiting.append((token, data, again))

    def is_full(self, number: int) -> bool:
        """Return whether deliveries of a partition wait for room."""
        partition = self._partitions.get(number)
        return partition is not None and bool(partition.waiting)

    def tokens(self, number: int) -> list[Any]:
        """Return the tokens of a partition that are not acknowledged."""
        partition = self._partitions.get(number)
        if partition is None:
            return []
        found = [token for token, _, _ in partition.waiting]
        for delivery in partition.open:
            found += delivery.tokens
        return found

    def turn(self) -> list[Done]:
        """Give to the lanes what has room, and return what is to be acknowledged.

        :raises NotKeptError: if a module could not sync; the next call goes on.
        """
        if self._unsynced:
            # Before anything is done that the caller would not learn of.
            while self._unsynced:
                self._give_back(self._unsynced.popleft())
            raise NotKeptError(self._sync_fault)
        done: list[Done] = []
        while self._handled:
            deliveries, worker, places = self._handled.popleft()
            self._places[worker] -= places
            for delivery in deliveries:
                if self._keepers:
                    self._to_sync.append(delivery)
                    self._sync_wanted.set()
                else:
                    self._acknowledge(delivery, done)
        while self._synced:
            self._acknowledge(self._synced.popleft(), done)
        now = self._clock()
        if self._copies is not None and now - self._summed_at >= SUMMARY_SECONDS:
            self._summed_at = now
            self._sum()
        for partition in list(self._partitions.values()):
            if partition.copies is not None:
                self._put(partition, partition.copies.flush(now))
            while partition.waiting and self._places[partition.lane.number] < self._room:
                token, data, again = partition.waiting.popleft()
                self._feed(partition, token, data, again, now, done)
            self._mark(partition)
        return done

    def _feed(self, partition: _Partition, token: Any, data: bytes, again: bool, now: float, done: list[Done]) -> None:
        identity: Hashable = None
        receiver = b""
        try:
            if data[:1] == b"{":
                messages = self._from_lines(data)
            else:
                head, messages = unpack(data, self._senders)
                receiver = head.receiver
                if head.name != self._names.get(receiver, ""):
                    self._name(receiver, head.name)
                identity = (receiver, head.run, head.number)
        except (Damaged, ValueError) as error:
            self.damaged += 1
            self._complain(partition.number, token, error)
            done.append(Done(partition.number, token, True))
            return
        if identity is not None:
            earlier = partition.memory.open.get(identity)
            if earlier is not None:
                self.redelivered += 1
                self.unfinished += 1
                earlier.tokens.append(token)
                # It may have been given away, and be here again.
                earlier.partition = partition
                partition.open.add(earlier)
                return
            if identity in partition.memory.done:
                self.redelivered += 1
                self.acknowledged += 1
                done.append(Done(partition.number, token, False))
                return
        delivery = _Delivery(partition, token, identity, now)
        places = len(messages) + len(data) // 1024
        partition.open.add(delivery)
        self.unfinished += 1
        partition.unmarked.append(delivery)
        if identity is not None:
            partition.memory.open[identity] = delivery
        self._places[partition.lane.number] += places
        self.messages += len(messages)
        if again:
            self.repeated += len(messages)
        if messages and self._handovers is not None:
            self._handovers.heard(partition.number, messages[0].received_at)
            if self._handovers.partition_of(messages[0].source) != partition.number:
                self._misplaced = receiver, now
        if partition.copies is not None and receiver:
            messages = partition.copies.take(receiver, messages, now)
        self._put(partition, messages)
        self._mark(partition, places)

    def _name(self, receiver: bytes, name: str) -> None:
        self._names.pop(receiver, None)
        if len(self._names) >= RECEIVERS_LIMIT:
            del self._names[next(iter(self._names))]
        self._names[receiver] = name

    def _sum(self) -> None:
        found = [partition.copies.summary() for partition in self._partitions.values() if partition.copies is not None]
        self.summary = replace(together([self._ended, *found]), names=dict(self._names))

    def _put(self, partition: _Partition, messages: list[Message]) -> None:
        if messages:
            self.handed_on += len(messages)
            partition.lane.put_messages(messages, self._clock())

    def _mark(self, partition: _Partition, places: int = 0) -> None:
        """Have the deliveries reported whose messages have all been put.

        :param places: are free when the modules have returned from what was put.
        """
        if not partition.unmarked and not places:
            return
        oldest = float("inf") if partition.copies is None else partition.copies.oldest()
        whole: list[_Delivery] = []
        while partition.unmarked and partition.unmarked[0].taken_at < oldest:
            whole.append(partition.unmarked.popleft())
        if whole or places:
            worker = partition.lane.number
            reached = partial(self._reached, whole, worker, places)
            partition.lane.ask(lambda _: self._outputs.after(worker, reached))

    def _reached(self, deliveries: list[_Delivery], worker: int, places: int) -> None:
        """In the thread of a lane or a queue."""
        self._handled.append((deliveries, worker, places))
        self.wake()

    def _acknowledge(self, delivery: _Delivery, done: list[Done]) -> None:
        partition = delivery.partition
        tokens = self._forget(delivery)
        if delivery.identity is not None:
            partition.memory.done[delivery.identity] = None
            partition.memory.forget_all_but(WINDOW)
        # None if its partition was given away meanwhile.
        self.acknowledged += len(tokens)
        done += [Done(partition.number, token, False) for token in tokens]

    def _give_back(self, delivery: _Delivery, *, is_processed: bool = False) -> None:
        """Have the broker deliver something again; not twice, if its partition was given away meanwhile.

        :param is_processed: it is in the lane, and is dropped if it comes to this processor.
        """
        tokens = self._forget(delivery)
        self.given_back += len(tokens)
        if is_processed and delivery.identity is not None:
            delivery.partition.memory.open[delivery.identity] = delivery

    def _forget(self, delivery: _Delivery) -> list[Any]:
        """Return its tokens."""
        tokens, delivery.tokens = delivery.tokens, []
        self.unfinished -= len(tokens)
        delivery.partition.open.discard(delivery)
        if delivery.identity is not None:
            delivery.partition.memory.open.pop(delivery.identity, None)
        return tokens

    def _from_lines(self, data: bytes) -> list[Message]:
        """Return the messages in lines of JSON.

        :raises ValueError: if one is no such line.
        """
        messages: list[Message] = []
        findings = 0
        for line in data.splitlines():
            if line:
                if b'"format":"report"' in line[:4096] or b'"format":"event"' in line[:4096]:
                    findings += 1
                else:
                    messages.append(from_json(line))
        self.findings += findings
        return messages

    def _complain(self, number: int, token: Any, error: Exception) -> None:
        now = self._clock()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            self._log.error(
                "A message of the broker cannot be read, and is passed over: partition {number}, {token}: {error}. "
                "{count} since the start; a processor must not be older than the receivers",
                number=number,
                token=token,
                error=error,
                count=plural(self.damaged, "such message"),
            )

    # The thread of syncs.

    def _sync(self) -> None:
        while True:
            self._sync_wanted.wait()
            self._sync_wanted.clear()
            self._sync_once()
            if self._ending.is_set() and not self._to_sync:
                return
            self._ending.wait(SYNC_SECONDS)

    def _sync_once(self) -> None:
        count = len(self._to_sync)
        if not count:
            return
        deliveries = [self._to_sync.popleft() for _ in range(count)]
        try:
            for module in self._keepers:
                module.sync()
        except Exception as error:
            self._sync_fault = str(getattr(error, "strerror", None) or error) or type(error).__name__
            self._log.failure("A module could not sync; the broker delivers its messages again", Failure())
            self._unsynced.extend(deliveries)
        else:
            self._sync_fault = ""
            self._synced.extend(deliveries)
        self.wake()

    def close(self) -> None:
        """End the thread of syncs, after what was handled; any thread."""
        self._ending.set()
        self._sync_wanted.set()

    # For the thread of the reactor.

    @property
    def queued(self) -> int:
        """The number of deliveries that wait for room; any thread."""
        return sum(len(partition.waiting) for partition in list(self._partitions.values()))

    def metrics(self) -> list[ModuleMetric]:
        """Return the counters; docs/processing has the table."""
        return [
            ModuleMetric("broker_partitions", "Partitions that this processor has.", len(self._partitions)),
            ModuleMetric("broker_takeovers", "Partitions taken over.", self.takeovers, counter=True),
            ModuleMetric("broker_deliveries", "Messages received from the broker.", self.deliveries, counter=True),
            ModuleMetric("broker_bytes", "Bytes in the messages received from the broker.", self.bytes, counter=True),
            ModuleMetric(
                "broker_redelivered",
                "Messages of the broker dropped because the same block was received before.",
                self.redelivered,
                counter=True,
            ),
            ModuleMetric(
                "broker_damaged", "Messages of the broker that cannot be read, dropped.", self.damaged, counter=True
            ),
            ModuleMetric(
                "broker_acknowledged", "Messages of the broker acknowledged.", self.acknowledged, counter=True
            ),
            ModuleMetric(
                "broker_given_back",
                "Messages of the broker that another processor gets: not acknowledged when a partition was given away.",
                self.given_back,
                counter=True,
            ),
            ModuleMetric(
                "broker_deleted",
                "Messages of the broker that it deleted before they were processed, as far as offsets tell (Kafka).",
                self.deleted,
                counter=True,
            ),
            ModuleMetric("broker_unfinished", "Messages of the broker in the workers and modules.", self.unfinished),
            ModuleMetric("broker_queued", "Messages of the broker that wait for room.", self.queued),
            ModuleMetric(
                "broker_kernel_messages", "Kernel messages in the messages of the broker.", self.messages, counter=True
            ),
            ModuleMetric(
                "broker_handed_on",
                "Kernel messages given to the workers; the others are copies, or held for order.",
                self.handed_on,
                counter=True,
            ),
            ModuleMetric(
                "broker_repeated_kernel_messages",
                "Kernel messages that may have been processed before, without an acknowledgement: at most so many are "
                "with modules twice.",
                self.repeated,
                counter=True,
            ),
            ModuleMetric(
                "broker_passed_findings",
                "Reports and events in lines of JSON, which are passed over: the processor finds its own.",
                self.findings,
                counter=True,
            ),
        ]

    def faults(self) -> list[str]:
        """Return the reasons for which messages are not acknowledged."""
        found = [f"a module cannot sync: {self._sync_fault}"] if self._sync_fault else []
        misplaced = self._misplaced
        if misplaced is not None and self._clock() - misplaced[1] < MISPLACED_SECONDS:
            name = self._names.get(misplaced[0]) or misplaced[0].hex() or "a sender of lines"
            found.append(
                f"{name} has another number of partitions than this processor: its machines are in other ones, and "
                "their second copies are not recognised; write the same number for all"
            )
        return found
