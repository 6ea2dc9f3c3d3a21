"""Streams to brokers: the setting format, and the delivery of blocks by a scripted broker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from netconsd.outputs.loader import ModuleError
from netconsd.protocol.message import Message
from netconsd.store.journal import Journal
from netconsd.streams.blocks import unpack
from netconsd.streams.blockspool import BlockSpool
from netconsd.streams.broker import LEAST_BYTES
from netconsd.streams.cursor import Cursor
from netconsd.streams.deadletters import FILE, DeadLetters
from netconsd.streams.delivery import Counts, Delivery, Limits
from netconsd.streams.journalspool import JOURNAL
from netconsd.streams.module import BATCH_BYTES
from netconsd.streams.process import Task, blocks_of
from netconsd.streams.record import Record
from netconsd.streams.sink import Answer, Encoded, Refused, Sink, TryLater
from netconsd.streams.spool import CURSOR
from netconsd.testing import extended_message
from tests.support.scripted_stream import made, messages

SERVERS = {"kafka": "127.0.0.1:9092", "nats": "nats://127.0.0.1"}


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"store": "/srv/store"}, 'store: with format = "blocks"'),
        ({"batch_records": 10}, 'batch_records: with format = "blocks"'),
        ({"kinds": ["messages", "reports"]}, 'kinds: with format = "blocks", write messages'),
        ({"kinds": ["events"]}, 'kinds: with format = "blocks", write messages'),
    ],
)
def test_settings_that_contradict_blocks(tmp_path: Path, name: str, settings: dict[str, object], text: str) -> None:
    """A setting that blocks do not have is named; the other formats have it."""
    with pytest.raises(ModuleError, match=f"^{re.escape(text)}"):
        made(name, tmp_path, servers=[SERVERS[name]], format="blocks", **settings)
    made(name, tmp_path, servers=[SERVERS[name]], format="lines", **settings)


@pytest.mark.parametrize("name", SERVERS)
def test_the_name_of_the_receiver(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's name, or that of the setting, as far as a name has it; only blocks have one."""
    monkeypatch.setattr("socket.gethostname", lambda: "host name." + 60 * "x")
    assert made(name, tmp_path, servers=[SERVERS[name]], format="blocks").receiver == "host-name." + 53 * "x"
    assert made(name, tmp_path, servers=[SERVERS[name]], format="blocks", receiver="hall-b").receiver == "hall-b"
    for value in ("a b", "x" * 64, "a/b"):
        with pytest.raises(ModuleError, match=r'^receiver: ".*" is not up to 63 letters'):
            made(name, tmp_path, servers=[SERVERS[name]], format="blocks", receiver=value)
    with pytest.raises(ModuleError, match=r'^receiver: needs format = "blocks"'):
        made(name, tmp_path, servers=[SERVERS[name]], receiver="hall-b")


@pytest.mark.parametrize("name", SERVERS)
def test_a_format_that_there_is_not(tmp_path: Path, name: str) -> None:
    """Another format is an error that names those that there are."""
    with pytest.raises(ModuleError, match=r"records.*lines.*blocks"):
        made(name, tmp_path, servers=[SERVERS[name]], format="block")


@pytest.mark.parametrize("name", SERVERS)
def test_blocks_have_messages_only(tmp_path: Path, name: str) -> None:
    """With blocks, the module takes no reports and no events: processors make them. Batches are larger."""
    module = made(name, tmp_path, servers=[SERVERS[name]], format="blocks")
    assert (module.wants_reports, module.wants_events, module.sends_blocks) == (False, False, True)
    assert module._limits.size > BATCH_BYTES
    assert (
        made(
            name, tmp_path, servers=[SERVERS[name]], format="blocks", batch_bytes="2M", kinds=["messages"]
        )._limits.size
        == 2 << 20
    )
    module = made(name, tmp_path, servers=[SERVERS[name]])
    assert (module.wants_reports, module.wants_events, module.sends_blocks) == (True, True, False)


def test_messages_become_smaller(tmp_path: Path) -> None:
    """After a refused message, the next ones have half of its bytes, but not less than the least."""
    module = made("kafka", tmp_path, servers=[SERVERS["kafka"]], format="blocks")
    assert module.bounded(100_000) == 100_000
    module.was_too_large(90_000)
    assert (module.bounded(100_000), module.bounded(9_000)) == (45_000, 9_000)
    module.was_too_large(10)
    assert module.bounded(100_000) == LEAST_BYTES


class Broker(Sink):
    """Keeps blocks, and answers as the test says."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.answer: Callable[[list[Message]], Answer | None] = lambda found: None
        self.partitions: Callable[[], int] = lambda: 1

    def shape(self) -> tuple[int, int]:
        return self.partitions(), 2000

    def encode(self, record: Record) -> bytes:
        return record.data  # type: ignore[attr-defined, no-any-return]

    def send(self, batch: Sequence[Encoded]) -> Answer:
        refused: dict[int, str] = {}
        for place, each in enumerate(batch):
            found = unpack(each.data)[1]
            answer = self.answer(found)
            if answer is None:
                self.blocks.append(each.data)
            else:
                refused[place] = answer.text
        return Answer(refused=refused)

    def messages(self) -> list[Message]:
        """Return all messages, in order."""
        return [message for block in self.blocks for message in unpack(block)[1]]


class Rig:
    """A delivery of blocks, which stops when nothing is left."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        (directory / JOURNAL).mkdir()
        self.directory = directory
        self.warnings: list[str] = []
        self.waits = 0
        self.journal = Journal(
            directory / JOURNAL, 1, first_number=1, part_bytes=8 << 20, part_seconds=1e9, most_bytes=1 << 30
        )
        spool = BlockSpool(directory, None, broker.shape, 1 << 20)
        self.delivery = Delivery(
            broker,
            spool,
            DeadLetters(directory / FILE, 1 << 20),
            Limits(size=1 << 20),
            clock=lambda: float(self.waits),
            wall=lambda: 1000.0,
            wait=self.wait,
            warn=self.warnings.append,
        )

    def wait(self, seconds: float) -> bool:
        """Stop when everything was delivered."""
        self.waits += 1
        return self.delivery.counts.oldest is None and self.delivery._failing_since is None

    def run(self) -> Counts:
        """Deliver everything."""
        self.delivery.run()
        return self.delivery.counts


def test_every_message_is_counted_once(tmp_path: Path) -> None:
    """The counts are those of messages, not of blocks."""
    broker = Broker()
    rig = Rig(tmp_path, broker)
    rig.journal.append(0, messages(500))
    counts = rig.run()
    assert broker.messages() == messages(500)
    assert (counts.queued, counts.sent, counts.dropped, counts.dead, counts.oldest) == (500, 500, 0, 0, None)
    assert len(broker.blocks) > 10


@pytest.mark.parametrize("raises", [False, True])
def test_refused_messages(tmp_path: Path, raises: bool) -> None:
    """A block that is refused, or the batch with it, is sent in halves until the bad messages are alone: these are dead
    letters, with what they have, and the others are there, in order."""
    broker = Broker()

    def answer(found: list[Message]) -> Answer | None:
        if not any(message.text in ("line 7", "line 333") for message in found):
            return None
        if raises:
            raise Refused("bad")
        return Answer("bad")

    broker.answer = answer
    rig = Rig(tmp_path, broker)
    rig.journal.append(0, messages(500))
    counts = rig.run()
    letters = [json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert [(letter["record"]["seq"], letter["answer"]) for letter in letters] == [(7, "bad"), (333, "bad")]
    assert {message.text for message in broker.messages()} == {
        message.text for message in messages(500) if message.text not in ("line 7", "line 333")
    }
    assert (counts.queued, counts.sent, counts.refused, counts.dead) == (500, 498, 2, 2)
    identities = [unpack(block)[0] for block in broker.blocks]
    assert len({(head.run, head.number) for head in identities}) == len(set(broker.blocks))


def test_a_broker_that_does_not_say_its_partitions(tmp_path: Path) -> None:
    """Until the broker answers, the stream asks again after pauses, and says why; then everything is sent."""
    broker = Broker()
    rig = Rig(tmp_path, broker)
    rig.journal.append(0, messages(100))

    def partitions() -> int:
        if rig.waits < 4:
            raise TryLater("no broker answers")
        return 3

    broker.partitions = partitions
    counts = rig.run()
    assert (counts.sent, counts.fault) == (100, "")
    assert rig.warnings == ["not delivered: no broker answers; records wait in the spool"]


def test_the_process_has_blocks(tmp_path: Path) -> None:
    """The stream's process reads the place of the cursor, and asks its sink for the partitions."""
    (tmp_path / JOURNAL).mkdir()
    journal = Journal(tmp_path / JOURNAL, 1, first_number=1, part_bytes=1 << 20, part_seconds=1e9, most_bytes=1 << 30)
    journal.append(0, messages(10))
    task = Task("", "", {}, str(tmp_path), None, 0.0, ["messages"], 0, blocks=True)
    task = Task.of(task.line())
    spool = blocks_of(task, Broker(), lambda text: None)
    blocks, position = spool.read(1)
    spool.commit(position, blocks)
    assert sum(block.count for block in blocks) == 10
    assert (Cursor(tmp_path / CURSOR).load() or {})["blocks"]["pending"] is None
    assert blocks_of(task, Broker(), lambda text: None).read(1)[0] == []


def test_a_record_is_one() -> None:
    """A record that is no block counts as one."""
    assert Record(extended_message("x"), "i").count == 1
