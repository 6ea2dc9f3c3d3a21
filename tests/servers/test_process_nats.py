"""``netconsd process`` with the real nats-server: nothing is lost, whoever is killed, comes or goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netconsd.jsonl import finding_to_json, to_json
from netconsd.message import ExtendedMessage, Message
from netconsd.outputs.loader import load
from netconsd.outputs.setting_types import ModuleSetting
from netconsd.process.handover import TAKEN_OVER
from netconsd.store import layout
from netconsd.store.journal import parts, read
from netconsd.store.records import unpack
from netconsd.streams.blocks import pack
from netconsd.streams.lines import partition_of
from netconsd.testing import crash_report, extended_message
from tests.support.nats_server import StreamServer
from tests.support.processors import Processor, blocks, out_of_order, processed
from tests.support.servers import running, until

pytest.importorskip("nats", reason="needs nats-py: pip install 'netconsd[nats]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    """A running server with a stream."""
    server = StreamServer(tmp_path / "server")
    with running(server):
        server.make_stream()
        yield server


@pytest.fixture
def start(tmp_path: Path, server: StreamServer) -> Iterator[Callable[..., Processor]]:
    """Return a function that starts a processor."""
    started: list[Processor] = []

    def begin(name: str, *more: str, group: str = "g") -> Processor:
        started.append(Processor(tmp_path, name, server.source, group=group, more=more))
        return started[-1]

    yield begin
    for processor in started:
        processor.end()


def publish(server: StreamServer, first: int, last: int) -> set[tuple[str, int]]:
    """Publish messages of eight machines, and return their identities."""
    made = blocks(first, last)
    server.publish([(partition, data) for partition, data, _ in made])
    return {message for _, _, messages in made for message in messages}


def test_all_once_and_acknowledged(server: StreamServer, start: Callable[..., Processor]) -> None:
    """What was published before and after the start is processed once, in order, and acknowledged; the sums hold."""
    published = publish(server, 0, 500)
    one = start("one").takes(16)
    published |= publish(server, 500, 1000)
    until(lambda: len(one.messages()) >= len(published), "all messages")
    assert processed([one]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == []
    until(lambda: server.unacknowledged() == 0, "the acknowledgements")
    assert one.number("deliveries") == one.number("acknowledged") == 800
    assert one.number("kernel_messages") == one.number("handed_on") == len(published)
    one.stop()
    assert "800 messages received, 800 acknowledged, 0 given back" in one.log


def test_processors_come_and_go(server: StreamServer, start: Callable[..., Processor]) -> None:
    """Two share the partitions, a machine is with one; when one stops in order, nothing comes twice."""
    one = start("one").takes(16)
    published = publish(server, 0, 200)
    two = start("two").takes(8)
    one.takes(8)
    assert one.partitions | two.partitions == set(range(16))
    before = len(one.messages())
    published |= publish(server, 200, 400)
    until(lambda: len(one.messages()) + len(two.messages()) >= len(published), "all messages")
    assert {address for address, _ in one.messages()[before:]}.isdisjoint(address for address, _ in two.messages())
    assert two.messages()
    two.stop()
    one.takes(16)
    published |= publish(server, 400, 600)
    until(lambda: len(one.messages()) + len(two.messages()) >= len(published), "all messages")
    assert processed([one, two]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == out_of_order(two) == []


def test_one_killed(server: StreamServer, start: Callable[..., Processor], tmp_path: Path) -> None:
    """Killed by SIGKILL with messages in hand: the other one gets all that was not acknowledged, in order."""
    gate = tmp_path / "gate"
    one = start("one", "--set", f"record.gate={gate}").takes(16)
    published = publish(server, 0, 300)
    until(lambda: one.number("unfinished") > 0, "messages in hand")
    two = start("two").takes(8)
    one.kill()
    two.takes(16)
    published |= publish(server, 300, 400)
    until(lambda: len(two.messages()) >= len(published), "all messages")
    assert processed([two]) == dict.fromkeys(published, 1)
    assert out_of_order(two) == []
    until(lambda: server.unacknowledged() == 0, "the acknowledgements")


def test_one_hangs(server: StreamServer, start: Callable[..., Processor]) -> None:
    """Stopped by SIGSTOP: the other one replaces it within seconds; when it continues, they share again."""
    one, two = start("one").takes(16), start("two").takes(8)
    one.takes(8)
    one.pause()
    two.takes(16)
    published = publish(server, 0, 200)
    until(lambda: len(two.messages()) >= len(published), "all messages")
    one.resume()
    two.takes(8)
    one.takes(8)
    published |= publish(server, 200, 400)
    until(lambda: set(processed([one, two])) == published, "all messages")


def test_the_server_is_killed(server: StreamServer, start: Callable[..., Processor]) -> None:
    """The server is killed by SIGKILL and comes again: everything that it has is processed once."""
    one = start("one").takes(16)
    published = publish(server, 0, 300)
    until(lambda: len(one.messages()) > 100, "some messages")
    server.kill()
    until(lambda: "It is tried again" in one.log, "the loss of the connection")
    until(lambda: "broker" in one.health(), "the fault in /healthz")
    server.start()
    published |= publish(server, 300, 600)
    until(lambda: len(one.messages()) >= len(published), "all messages")
    assert processed([one]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == []
    until(lambda: server.unacknowledged() == 0, "the acknowledgements")


def test_damaged_and_redelivered(server: StreamServer, start: Callable[..., Processor]) -> None:
    """A damaged message is counted, named and passed over; a block that comes again is dropped and counted."""
    made = blocks(0, 20, hosts=1)
    partition, data, _ = made[0]
    server.publish([(partition, data), (partition, data[:-1]), (partition, b"{}"), (partition, data)])
    server.publish([(made[1][0], made[1][1])])
    one = start("one")
    until(lambda: len(one.messages()) >= 20, "the messages")
    until(lambda: server.unacknowledged() == 0, "the acknowledgements")
    assert processed([one]) == {("192.0.2.0", seq): 1 for seq in range(20)}
    assert (one.number("damaged"), one.number("redelivered"), one.number("deliveries")) == (2, 1, 5)
    assert f"partition {partition}, message 2 of the stream: its checksum is wrong" in one.log


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--subject", "other"), "the stream logs takes netconsd.>, and not other.blocks.0: write --subject"),
        (("--subject", "netconsd.more"), "the group g takes netconsd.blocks.0, and not netconsd.more.blocks.0: write"),
    ],
)
def test_a_wrong_subject(
    server: StreamServer, start: Callable[..., Processor], more: tuple[str, ...], text: str
) -> None:
    """A processor with another subject than its group takes nothing, says why, and takes nothing from the group."""
    one = start("one").takes(16)
    wrong = start("wrong", *more)
    until(lambda: text in wrong.health(), "the fault")
    assert text in wrong.log
    published = publish(server, 0, 50)
    until(lambda: set(processed([one])) == published, "all messages")
    assert wrong.messages() == []


def test_a_second_group(server: StreamServer, start: Callable[..., Processor]) -> None:
    """A stream with retention workqueue serves one group: a second one says what to change."""
    server.ask(lambda js: js.delete_stream("logs"))
    server.make_stream(retention="workqueue")
    start("one").takes(16)
    other = start("other", group="h")
    until(lambda: "has retention workqueue, and so serves one group" in other.health(), "the fault")


def test_lines(server: StreamServer, start: Callable[..., Processor]) -> None:
    """Messages in lines of JSON are processed as well; reports and events in them are passed over."""
    lines = [to_json(extended_message(f"line {n}", seq=n)).rstrip(b"\n") for n in range(3)]
    # As netconsd.streams.lines has them.
    lines = [line[:-1] + b',"id":"x","boot_id":7,"name":"n"}' for line in lines]
    lines.append(finding_to_json(crash_report()).rstrip(b"\n"))
    server.publish([(3, b"".join(line + b"\n" for line in lines))], "lines")
    one = start("one")
    until(lambda: len(one.messages()) == 3, "the messages")
    assert [seq for _, seq in one.messages()] == [0, 1, 2]
    assert one.number("passed_findings") == 1


def test_a_slow_module(server: StreamServer, start: Callable[..., Processor], tmp_path: Path) -> None:
    """A module that is slower than the stream holds it up, in bounded memory: nothing is dropped or comes twice."""
    gate = tmp_path / "gate"
    one = start("one", "--queue", "400", "--set", "record.hold=0.02", "--set", f"record.gate={gate}").takes(16)
    published = publish(server, 0, 500)
    until(lambda: one.number("queued") > 0, "messages that wait for room")
    gate.touch()
    until(lambda: len(one.messages()) >= len(published), "all messages")
    assert processed([one]) == dict.fromkeys(published, 1)
    assert out_of_order(one) == []


CRASH = (
    "------------[ cut here ]------------",
    "WARNING: CPU: 0 PID: 1 at fs/ext4/inode.c:1234 ext4_writepages+0x1/0x2",
    "CPU: 0 PID: 1 Comm: init Not tainted 6.12.0 #1",
    "RIP: 0010:ext4_writepages+0x1/0x2",
    "Call Trace:",
    " <TASK>",
    " do_writepages+0x1/0x2",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
)


def crash(server: StreamServer, number: int, address: str, at: float) -> None:
    """Publish the lines of a crash, and a message 5 s later that ends the report."""
    texts = (*CRASH, "the machine goes on")
    messages: list[Message] = [
        extended_message(
            text, seq=100 * number + place, ts_usec=10**8 * number + place, address=address, level=4,
            received_at=at + 6 * (place == len(CRASH)),
        )
        for place, text in enumerate(texts)
    ]  # fmt: skip
    server.publish([(partition_of(address, 16), pack(b"r" * 16, 1, 10**6 + number, messages))])


def test_crash_reports(server: StreamServer, start: Callable[..., Processor]) -> None:
    """A processor finds crashes; one of a machine that it has just taken over is marked as perhaps not whole."""
    one = start("one").takes(16)
    at = time.time() - 100
    crash(server, 1, "192.0.2.1", at)
    until(lambda: len(one.reports()) == 1, "the first report")
    crash(server, 2, "192.0.2.1", at + 60)
    # Another crash, or it is a repeat of the first one.
    until(lambda: len(one.messages()) == 2 * (len(CRASH) + 1), "the messages")
    one.stop()
    assert one.reports() == [f"WARNING in ext4_writepages|{TAKEN_OVER}"]
    two = start("two").takes(16)
    publish(server, 0, 10)
    until(lambda: len(two.messages()) == 80, "messages of all partitions")
    crash(server, 3, "192.0.2.1", time.time() + 10)
    until(lambda: len(two.reports()) == 1, "the report")
    assert two.reports() == ["WARNING in ext4_writepages|None"]


def test_the_store(tmp_path: Path, server: StreamServer) -> None:
    """With the store, everything that was acknowledged is in its journal, also if the processor is killed at once."""
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
    published = publish(server, 0, 200)
    store = tmp_path / "store"
    one = Processor(tmp_path, "one", server.source, more=("store", "--set", f"store.directory={store}"))
    try:
        one.takes(16)
        until(lambda: server.unacknowledged() == 0, "the acknowledgements")
        one.kill()
    finally:
        one.end()
    found = [
        (message.source.address, message.seq)
        for part in parts(store / layout.JOURNAL)
        for _, records, _ in read(part.path)
        for message in unpack(records)
        if isinstance(message, ExtendedMessage)
    ]
    assert sorted(found) == sorted(published)


def test_a_full_stream(tmp_path: Path) -> None:
    """The module nats of a receiver, a stream that is full, and a processor: published is processed, and all of it."""
    server = StreamServer(tmp_path / "server")
    with running(server):
        server.make_stream(max_bytes=100_000, discard="new", retention="workqueue")
        settings = {
            "servers": [f"nats://127.0.0.1:{server.port}"], "directory": str(tmp_path / "stream"), "format": "blocks",
            "batch_seconds": "0.05s", "batch_bytes": "20K",
        }  # fmt: skip
        typed = {name: ModuleSetting(value, name, tmp_path) for name, value in settings.items()}
        module = load(["nats"], {"nats": typed}).loaded[0].module
        module.start(1)
        gate = tmp_path / "gate"
        more = ("--set", "record.hold=0.005", "--set", f"record.gate={gate}")
        one = Processor(tmp_path, "one", server.source, more=more)
        try:
            made = [
                extended_message("x" * 900, seq=seq, ts_usec=seq, address=f"192.0.2.{seq % 8}", received_at=time.time())
                for seq in range(2000)
            ]
            for first in range(0, 2000, 50):
                module.handle_batch(0, made[first : first + 50])

            def metrics() -> dict[str, float]:
                return {metric.name: metric.value for metric in module.metrics()}

            until(lambda: metrics()["stream_retried_batches"] > 0, "a full stream")
            gate.touch()
            until(lambda: len(one.messages()) >= 2000, "all messages")
            assert processed([one]) == {(f"192.0.2.{seq % 8}", seq): 1 for seq in range(2000)}
            assert out_of_order(one) == []
            found = metrics()
            assert (found["stream_queued_records"], found["stream_dropped_records"]) == (2000, 0)
        finally:
            one.end()
            module.finish()


def test_partitions_that_nobody_takes(server: StreamServer, start: Callable[..., Processor]) -> None:
    """A stream with more partitions than --partitions is a fault that says so."""
    server.publish([(16, blocks(0, 10)[0][1])])
    one = start("one")
    until(lambda: "partition 16, which nobody takes" in one.health(), "the fault")


def test_no_stream(server: StreamServer, tmp_path: Path) -> None:
    """A stream that does not exist is a fault until it is made."""
    other = Processor(tmp_path, "other", server.source.replace("/logs", "/none"))
    try:
        until(lambda: "has no stream none" in other.health(), "the fault")
        assert other.is_running()
        other.stop()
    finally:
        other.end()
