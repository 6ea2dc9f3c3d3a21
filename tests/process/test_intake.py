"""The intake: what is acknowledged when, what is dropped and counted, and what is bounded. Lanes run in the test."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from zope.interface import implementer

from netconsd.interfaces import IBatchOutputModule, IKeeps
from netconsd.message import ExtendedMessage, Message
from netconsd.outputs.runner import Outputs
from netconsd.process.handover import Handovers
from netconsd.process.intake import ENDED_WINDOW, MISPLACED_SECONDS, SUMMARY_SECONDS, WINDOW, Done, Intake, NotKeptError
from netconsd.protocol.table import SourceTable
from netconsd.streams.blocks import pack
from netconsd.streams.copies import RECEIVERS_LIMIT, Copies
from netconsd.streams.lines import partition_of
from netconsd.testing import extended_message

ALICE, BOB = b"a" * 16, b"b" * 16


class ScriptedLane:
    """Does the work of a lane when :meth:`work` is called."""

    number = 0

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._todo: list[Callable[[], object]] = []

    def put_messages(self, messages: list[Message], now: float) -> None:
        self._todo.append(partial(self._outputs.deliver, 0, messages))

    def ask(self, question: Callable[[Any], object]) -> None:
        self._todo.append(partial(question, SourceTable))

    def abandon(self, whose: object, why: str) -> None:
        pass

    def work(self) -> None:
        """Do everything that was queued."""
        while self._todo:
            self._todo.pop(0)()


@implementer(IBatchOutputModule)
class Module:
    """Keeps the texts that it gets, and fails on request."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.missing = 0
        self.fails = False

    def start(self, worker_count: int) -> None:
        pass

    def handle_batch(self, worker: int, messages: list[Message]) -> None:
        if self.fails:
            raise ValueError("scripted")
        self.texts += [message.text for message in messages]
        self.missing += sum(message.missing for message in messages if isinstance(message, ExtendedMessage))

    def stop(self) -> None:
        pass


@implementer(IKeeps)
class Keeper(Module):
    """Counts its syncs, and how many texts it had at each; fails on request."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[int] = []
        self.cannot_sync = False

    def sync(self) -> None:
        if self.cannot_sync:
            raise OSError(5, "Input/output error")
        self.synced.append(len(self.texts))


class NoThread:
    """The thread of syncs: the test calls its work."""

    def __init__(self, **arguments: Any) -> None:
        pass

    def start(self) -> None:
        pass


class Rig:
    """An intake with one lane, a module, and partition 3."""

    def __init__(
        self, module: Module | None = None, *, queue: int = 4000, copies: Any = None, handovers: Any = None
    ) -> None:
        self.module = module or Module()
        self.now = 1000.0
        outputs = Outputs({"module": self.module}, 1)
        with pytest.raises(StopIteration):
            outputs.start(None).send(None)
        self.lane = ScriptedLane(outputs)
        lanes: list[Any] = [self.lane]
        thread: Any = NoThread
        self.intake = Intake(
            lanes, outputs, queue, copies=copies, handovers=handovers, clock=lambda: self.now, thread=thread
        )
        self.intake.begin(3)

    def take(self, token: int, data: bytes, *, again: bool = False) -> None:
        self.intake.take(3, token, data, again=again)

    def turn(self) -> list[int]:
        """Return the tokens that are to be acknowledged."""
        return [done.token for done in self.intake.turn()]


def block(number: int, *texts: str, receiver: bytes = ALICE, seq: int = 0) -> bytes:
    """Return a block of messages of one machine."""
    messages = [
        extended_message(text, seq=seq + place, ts_usec=seq + place + 1, received_at=1_795_000_000.0)
        for place, text in enumerate(texts)
    ]
    return pack(receiver, 1, number, messages)


def test_acknowledged_after_the_module() -> None:
    """A delivery is acknowledged when the module has returned, and not before."""
    rig = Rig()
    rig.take(7, block(0, "one", "two"))
    assert rig.turn() == []
    assert rig.turn() == []
    assert rig.intake.unfinished == 1
    rig.lane.work()
    assert rig.module.texts == ["one", "two"]
    assert rig.turn() == [7]
    assert (rig.intake.unfinished, rig.intake.acknowledged, rig.intake.handed_on) == (0, 1, 2)


def test_a_module_that_fails_is_acknowledged() -> None:
    """An exception of a module is counted as always, and the broker does not deliver again."""
    rig = Rig()
    rig.module.fails = True
    rig.take(7, block(0, "one"))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [7]


def test_acknowledged_after_the_sync() -> None:
    """What a module keeps is acknowledged after a sync that began when the module had it."""
    keeper = Keeper()
    rig = Rig(keeper)
    rig.take(7, block(0, "one"))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == []
    rig.take(8, block(1, "two"))
    rig.turn()
    rig.lane.work()
    rig.intake._sync_once()
    assert keeper.synced == [2]
    # The second one was not known to be handled when the sync began.
    assert rig.turn() == [7]
    rig.intake._sync_once()
    assert rig.turn() == [8]


def test_a_sync_that_fails_gives_back() -> None:
    """After a sync that failed, nothing is acknowledged; what is delivered again is processed again."""
    keeper = Keeper()
    rig = Rig(keeper)
    keeper.cannot_sync = True
    rig.take(7, block(0, "one"))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.intake._sync_once()
    with pytest.raises(NotKeptError, match="Input/output error"):
        rig.turn()
    assert rig.intake.faults() == ["a module cannot sync: Input/output error"]
    assert rig.intake.given_back == 1
    keeper.cannot_sync = False
    rig.take(9, block(0, "one"))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.intake._sync_once()
    assert rig.turn() == [9]
    assert keeper.texts == ["one", "one"]
    assert rig.intake.faults() == []


def test_redelivered() -> None:
    """A block that comes again is dropped: acknowledged with the first one, or at once if that was acknowledged."""
    rig = Rig()
    rig.take(1, block(0, "one"))
    rig.take(2, block(0, "one"))
    assert rig.turn() == []
    rig.lane.work()
    assert rig.turn() == [1, 2]
    rig.take(3, block(0, "one"))
    assert rig.turn() == [3]
    assert (rig.intake.redelivered, rig.intake.acknowledged, rig.module.texts) == (2, 3, ["one"])


def test_repeated() -> None:
    """What may have been processed before is processed, and counted by message; what is dropped or damaged is not."""
    rig = Rig()
    rig.take(1, block(0, "one", "two"), again=True)
    rig.take(2, block(0, "one", "two"), again=True)
    rig.take(3, block(1, "three"))
    rig.take(4, b"damaged", again=True)
    rig.turn()
    assert (rig.intake.repeated, rig.intake.redelivered, rig.intake.messages) == (2, 1, 3)


def test_blocks_of_two_receivers_are_two() -> None:
    """Blocks with one number of two receivers, or of two runs, are not the same block."""
    rig = Rig()
    rig.take(1, block(0, "one"))
    rig.take(2, block(0, "two", receiver=BOB))
    rig.take(3, pack(ALICE, 2, 0, [extended_message("three")]))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [1, 2, 3]
    assert rig.module.texts == ["one", "two", "three"]


def test_the_window_is_bounded() -> None:
    """The identities of the last WINDOW blocks are remembered, and no others."""
    rig = Rig(queue=10_000_000)
    for number in range(WINDOW + 1):
        rig.take(number, block(number, "one"))
    rig.turn()
    rig.lane.work()
    assert len(rig.turn()) == WINDOW + 1
    rig.take(0, block(1, "one"))
    assert rig.turn() == [0]
    rig.take(0, block(0, "one"))
    assert rig.turn() == []
    assert rig.intake.redelivered == 1


@pytest.mark.parametrize(
    "data", [b"", b"?", block(0, "one")[:-1], b"{}", b'{"version":1}', b"{" * 100_000, b'{"version":1}\n\xff']
)
def test_damaged(data: bytes) -> None:
    """A delivery that cannot be read is counted, and acknowledged as damaged at once."""
    rig = Rig()
    rig.take(7, data)
    assert rig.intake.turn() == [Done(3, 7, True)]
    assert (rig.intake.damaged, rig.intake.acknowledged, rig.intake.unfinished) == (1, 0, 0)


def test_room() -> None:
    """A delivery is decoded when less than a quarter of the queue is in the lane and the modules."""
    rig = Rig(queue=40)
    for number in range(5):
        rig.take(number, block(number, *["text"] * 6))
    rig.turn()
    assert rig.intake.queued == 3
    assert rig.intake.is_full(3)
    assert rig.turn() == []
    rig.lane.work()
    assert rig.turn() == [0, 1]
    assert rig.intake.queued == 1
    rig.lane.work()
    rig.turn()
    rig.lane.work()
    rig.turn()
    assert len(rig.module.texts) == 30
    assert not rig.intake.is_full(3)


def test_leaving() -> None:
    """A partition that is given away finishes what was decoded, and gives the rest back."""
    rig = Rig(queue=4)
    for number in range(3):
        rig.take(number, block(number, "text"))
    rig.turn()
    assert rig.intake.leave(3) == [1, 2]
    assert not rig.intake.is_idle(3)
    rig.lane.work()
    assert rig.turn() == [0]
    assert rig.intake.is_idle(3)
    rig.intake.end(3)
    assert rig.intake.partitions == []
    assert (rig.intake.deliveries, rig.intake.acknowledged, rig.intake.given_back) == (3, 1, 2)


def test_ended_with_messages_in_hand() -> None:
    """What the modules return from after a partition was taken away is not acknowledged."""
    rig = Rig()
    rig.take(7, block(0, "one"))
    rig.turn()
    rig.intake.end(3)
    rig.intake.begin(3)
    rig.lane.work()
    assert rig.turn() == []
    assert rig.intake.given_back == 1


def test_a_partition_that_returns() -> None:
    """Blocks that were processed when their partition was lost, or were in the modules, are dropped if they come again:
    the partition has returned, and the broker did not get their acknowledgement."""
    rig = Rig()
    rig.take(1, block(0, "one"))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [1]
    rig.take(2, block(1, "two"))
    rig.turn()
    rig.intake.end(3)
    assert (rig.intake.given_back, rig.intake.unfinished) == (1, 0)
    rig.intake.begin(3)
    for token, data in enumerate([block(0, "one"), block(1, "two"), block(2, "three")], 3):
        rig.take(token, data)
    assert rig.turn() == [3]
    assert not rig.intake.is_idle(3)
    rig.lane.work()
    assert rig.turn() == [4, 5]
    assert rig.module.texts == ["one", "two", "three"]
    assert (ledger(rig.intake), rig.intake.redelivered, rig.intake.is_idle(3)) == (0, 2, True)


def test_a_partition_that_returns_later() -> None:
    """What the modules return from while another processor has the partition is remembered, too; and forgotten if it
    could not be synced."""
    keeper = Keeper()
    rig = Rig(keeper)
    for number, cannot_sync in ((0, False), (1, True)):
        keeper.cannot_sync = cannot_sync
        rig.take(number, block(number, str(number)))
        rig.turn()
        rig.intake.end(3)
        rig.lane.work()
        rig.turn()
        rig.intake._sync_once()
        if cannot_sync:
            with pytest.raises(NotKeptError):
                rig.turn()
        else:
            assert rig.turn() == []
        rig.intake.begin(3)
    rig.take(7, block(0, "0"))
    rig.take(8, block(1, "1"))
    assert rig.turn() == [7]
    rig.lane.work()
    assert keeper.texts == ["0", "1", "1"]
    assert ledger(rig.intake) == 0


def test_a_held_message_of_a_lost_partition() -> None:
    """A block of which a message was held for the other receiver is processed if the partition returns with it."""
    rig = Rig(copies=Copies)
    for receiver in (ALICE, BOB):
        rig.take(1, block(0, "zero", receiver=receiver, seq=10))
    rig.take(3, block(1, "two", seq=12))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.intake.end(3)
    rig.intake.begin(3)
    rig.take(4, block(1, "two", seq=12))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [4]
    assert rig.module.texts == ["zero", "two"]


def test_the_memory_of_a_lost_partition_is_bounded() -> None:
    """The last ENDED_WINDOW blocks of a partition that was given away are remembered."""
    rig = Rig(queue=10_000_000)
    for number in range(ENDED_WINDOW + 1):
        rig.take(number, block(number, "one"))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.intake.end(3)
    rig.intake.begin(3)
    rig.take(0, block(1, "one"))
    assert rig.turn() == [0]
    rig.take(0, block(0, "one"))
    assert rig.turn() == []


def test_copies_of_two_receivers() -> None:
    """The second copy of a message is dropped, and the block that had it is acknowledged; the summary has both."""
    rig = Rig(copies=Copies)
    rig.take(1, block(0, "one", "two"))
    rig.take(2, block(0, "one", "two", receiver=BOB))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.now += 100
    rig.turn()
    rig.lane.work()
    rig.turn()
    assert rig.module.texts == ["one", "two"]
    assert rig.intake.acknowledged == 2
    assert [(heard.messages, heard.copies) for heard in rig.intake.summary.receivers] == [(2, 0), (2, 2)]
    rig.intake.end(3)
    rig.intake.begin(3)
    rig.now += 100
    rig.turn()
    assert [(heard.messages, heard.copies) for heard in rig.intake.summary.receivers] == [(2, 0), (2, 2)]


@pytest.mark.parametrize(("count", "is_fault"), [(16, False), (5, True)])
def test_a_receiver_with_other_partitions(count: int, is_fault: bool) -> None:
    """A machine in another partition than its address has is a fault for a minute, with the receiver's name: the second
    copy of its messages, in the right one, would be handed on."""
    rig = Rig(handovers=Handovers(lambda: 16))
    message = next(
        message
        for message in (extended_message("x", address=f"192.0.2.{host}") for host in range(256))
        if partition_of(message.source.address, count) == 3
        and (partition_of(message.source.address, 16) == 3) == (count == 16)
    )
    rig.take(1, pack(ALICE, 1, 0, [message], "hall-b"))
    rig.turn()
    assert [fault.partition(" has another number")[0] for fault in rig.intake.faults()] == ["hall-b"] * is_fault
    rig.now += MISPLACED_SECONDS
    assert rig.intake.faults() == []


def test_names_of_receivers() -> None:
    """The summary has the name in the last block of each receiver, of a bounded number of them."""
    rig = Rig(copies=Copies)
    for number, name in enumerate(["old", "new"]):
        rig.take(number, pack(ALICE, 1, number, [extended_message("x")], name))
    rig.take(2, block(0, "x", receiver=BOB))
    rig.turn()
    rig.now += SUMMARY_SECONDS
    rig.turn()
    assert rig.intake.summary.names == {ALICE: "new"}
    for number in range(RECEIVERS_LIMIT + 10):
        rig.take(number + 3, pack(number.to_bytes(16, "big"), 1, 0, [extended_message("x")], "name"))
    rig.turn()
    rig.now += SUMMARY_SECONDS
    rig.turn()
    assert len(rig.intake.summary.names) == RECEIVERS_LIMIT


def test_a_held_message_is_not_acknowledged() -> None:
    """A block of which a message waits for another receiver is acknowledged after that message was processed."""
    rig = Rig(copies=Copies)
    rig.take(1, block(0, "zero", seq=10))
    rig.take(2, block(0, "zero", receiver=BOB, seq=10))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [1, 2]
    rig.now += 0.1
    # 11 is missing: the other receiver may have it.
    rig.take(3, block(1, "two", seq=12))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == []
    assert rig.module.texts == ["zero"]
    rig.now += 0.1
    rig.take(4, block(1, "one", "two", receiver=BOB, seq=11))
    rig.turn()
    rig.lane.work()
    assert rig.turn() == [3, 4]
    assert rig.module.texts == ["zero", "one", "two"]


def test_room_while_a_message_is_held() -> None:
    """A message that waits for another receiver holds up no other block: the missing one is in a later block."""
    rig = Rig(queue=40, copies=Copies)
    rig.take(1, block(0, "zero", seq=10))
    rig.take(2, block(0, "zero", receiver=BOB, seq=10))
    rig.take(3, block(1, "two", seq=12))
    for number in range(2, 10):
        messages = [extended_message("x", seq=seq, ts_usec=seq, address="192.0.2.9") for seq in range(6)]
        rig.take(number + 2, pack(ALICE, 1, number, messages))
    for _ in range(8):
        rig.turn()
        rig.lane.work()
    assert rig.intake.queued == 0
    assert "two" not in rig.module.texts


def test_room_after_a_partition_was_taken_away() -> None:
    """The room of blocks with held messages is free again after their partition was taken away."""
    rig = Rig(queue=40, copies=Copies)
    for receiver in (ALICE, BOB):
        rig.take(0, block(0, "zero", seq=10, receiver=receiver))
    rig.take(1, block(1, *["text"] * 20, seq=12))
    for _ in range(3):
        rig.turn()
        rig.lane.work()
    rig.intake.end(3)
    rig.intake.begin(3)
    rig.take(2, block(2, "next", seq=50))
    for _ in range(3):
        rig.turn()
        rig.lane.work()
    assert rig.module.texts[-1] == "next"


def test_a_sync_that_fails_loses_no_acknowledgement() -> None:
    """What was acknowledged, or damaged, in the turn that tells of a failed sync is returned by the next one."""
    keeper = Keeper()
    rig = Rig(keeper)
    rig.take(1, block(0, "one"))
    rig.turn()
    rig.lane.work()
    rig.turn()
    rig.intake._sync_once()
    keeper.cannot_sync = True
    rig.take(2, block(1, "two"))
    rig.intake._feed(rig.intake._partitions[3], 2, rig.intake._partitions[3].waiting.popleft()[1], False, 0.0, [])
    rig.lane.work()
    rig.intake._to_sync.extend(rig.intake._handled.popleft()[0])
    rig.intake._sync_once()
    rig.take(3, b"?")
    with pytest.raises(NotKeptError):
        rig.turn()
    assert rig.turn() == [1, 3]


def ledger(intake: Intake) -> int:
    """Return the deliveries that are in no counter."""
    known = intake.acknowledged + intake.damaged + intake.given_back + intake.unfinished + intake.queued
    return intake.deliveries - known


def test_the_ledger() -> None:
    """Each delivery is acknowledged, damaged, given back, unfinished or queued; never two of these."""
    keeper = Keeper()
    rig = Rig(keeper, queue=8)
    keeper.cannot_sync = True
    for token, data in enumerate([block(0, "one"), block(0, "one"), b"?", block(1, "two"), block(2, "three")]):
        rig.take(token, data)
    rig.turn()
    assert ledger(rig.intake) == 0
    rig.lane.work()
    rig.turn()
    rig.intake._sync_once()
    # Taken away between the sync and the turn that learns of it.
    rig.intake.leave(3)
    assert ledger(rig.intake) == 0
    rig.intake.end(3)
    assert ledger(rig.intake) == 0
    with pytest.raises(NotKeptError):
        rig.turn()
    assert (ledger(rig.intake), rig.intake.deliveries, rig.intake.given_back) == (0, 5, 4)


def test_interrupted() -> None:
    """After another processor had the partition, its messages are no gap, and what waits as bytes is not processed."""
    rig = Rig(queue=40, copies=Copies)
    for receiver in (ALICE, BOB):
        rig.take(1, block(0, "one", receiver=receiver, seq=10))
    rig.take(2, block(1, *["text"] * 20, seq=11))
    rig.take(3, block(2, "old", seq=40))
    rig.turn()
    rig.intake.interrupted(3)
    rig.take(4, block(7, "new", seq=900))
    for _ in range(3):
        rig.turn()
        rig.lane.work()
    assert rig.module.texts == ["one", *["text"] * 20, "new"]
    assert rig.module.missing == 0
    assert (ledger(rig.intake), rig.intake.given_back, rig.intake.takeovers) == (0, 1, 2)
