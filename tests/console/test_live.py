"""Live tails in the console's own process: rings, slow viewers, reconnects; and the process that makes the frames."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from netconsd.console import limits
from netconsd.console.failure import Refused
from netconsd.console.frames import NOTE, SHOWN
from netconsd.console.live import Channel, Live, Piece, Viewer
from netconsd.console.naming import Naming
from netconsd.console.replay import Cursor, frame
from netconsd.message import Message
from netconsd.names import Names
from netconsd.store import layout
from netconsd.store.journal import Journal
from netconsd.testing import crash_report, event, extended_message
from tests.console.browser import FakePool
from tests.console.stores import T0, add
from tests.support.loggers import logged

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'netconsd[store]'")
from netconsd.console.messages import Encoder
from netconsd.console.tail import Tail
from netconsd.store.follow import Follow
from tests.console.asking import asker


class FakeConnection:
    """A viewer's connection."""

    def __init__(self) -> None:
        self.data = b""
        self.finished = False
        self.aborted = False
        self.unregistered = False

    def write(self, data: bytes) -> None:
        self.data += data

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        assert not self.finished
        self.unregistered = True

    def abort(self) -> None:
        self.aborted = True

    def finish(self) -> None:
        assert self.unregistered, "twisted.web refuses to finish a response that has a producer"
        self.finished = True

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages that were sent."""
        return [int(line.split(b"~")[1]) for line in self.data.split(b"\n") if line.startswith(b"id: ")]

    @property
    def dropped(self) -> list[Any]:
        """The numbers of the events ``dropped``."""
        blocks = [block for block in self.data.split(b"\n\n") if block.startswith(b"event: dropped")]
        return [json.loads(block.partition(b"data: ")[2])["count"] for block in blocks]


def piece(first: int, count: int, size: int = 10) -> Piece:
    """Return a piece of messages."""
    data, ends = b"", []
    for number in range(first, first + count):
        data += frame(Cursor("aa-1", number, number, f"h/1/{number}"), b"x" * size)
        ends.append(len(data))
    numbers = range(first, first + count)
    return Piece(first, data, [f"h/1/{number}" for number in numbers], ends, list(numbers))


class Room:
    """A live tail with one channel."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pool = FakePool()
        pool: Any = self.pool
        self.live = Live(self.clock, "/nowhere", {}, pool)
        self.channel = Channel(1, "aa-1")
        self.channel.waiting = None
        self.live._channels["k"] = self.live._by_number[1] = self.channel

    def view(self, cursor: Cursor | None = None, last: int = 0) -> tuple[Viewer, FakeConnection]:
        connection = FakeConnection()
        viewer = self.live.view(self.channel, connection)
        viewer.begin(cursor, last, {"level": ["err"]})
        return viewer, connection


@pytest.fixture
def room() -> Room:
    """A live tail."""
    return Room()


def test_viewers_share_a_ring(room: Room) -> None:
    """Viewers get what is added after they came; the same bytes."""
    _, first = room.view()
    room.channel.add(piece(1, 2))
    _, second = room.view()
    room.channel.add(piece(3, 2))
    assert (first.numbers, second.numbers) == ([1, 2, 3, 4], [3, 4])


def test_nothing_is_written_to_a_viewer_who_does_not_read(room: Room) -> None:
    """A paused viewer gets nothing, and continues where it was."""
    viewer, connection = room.view()
    viewer.pauseProducing()
    for number in range(1, 9, 2):
        room.channel.add(piece(number, 2))
    assert connection.data == b""
    viewer.resumeProducing()
    assert connection.numbers == [1, 2, 3, 4, 5, 6, 7, 8]
    assert connection.dropped == []


def test_what_a_slow_viewer_misses_is_counted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring has a bound; a viewer that is behind it gets the number of messages that it missed, once."""
    monkeypatch.setattr(limits, "RING_BYTES", 4 * len(piece(10, 2).data))
    viewer, connection = room.view()
    viewer.pauseProducing()
    for number in range(11, 61, 2):
        room.channel.add(piece(number, 2))
        assert room.channel.bytes <= limits.RING_BYTES
    # Its first message was to be number 1.
    viewer.resumeProducing()
    assert connection.numbers == [53, 54, 55, 56, 57, 58, 59, 60]
    assert connection.dropped == [52]
    room.channel.add(piece(61, 1))
    assert connection.dropped == [52]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_reconnect_continues_in_the_ring(room: Room, number: int) -> None:
    """A viewer who reconnects gets exactly the messages after its last one."""
    for first in (1, 3, 5):
        room.channel.add(piece(first, 2))
    _, connection = room.view(Cursor("aa-1", number, number, f"h/1/{number}"))
    room.channel.add(piece(7, 1))
    assert connection.numbers == list(range(number + 1, 8))
    assert room.pool.queries == []


@pytest.mark.parametrize(
    "cursor", [Cursor("bb-1", 1, 5, "h/1/1"), Cursor("aa-1", 99, 5, "h/1/99"), Cursor("aa-1", 0, 5, "h/1/0")]
)
def test_an_older_place_is_searched_in_the_store(room: Room, cursor: Cursor) -> None:
    """A place that the ring does not have, of another run as well, is searched; the ring's copies are left out."""
    room.channel.add(piece(1, 2))
    _, connection = room.view(cursor)
    room.channel.add(piece(3, 3))
    (query,) = room.pool.queries
    assert query.request["parameters"] == {"level": ["err"], "stream": ["aa-1"], "last": ["0"], "cursor": [str(cursor)]}
    assert connection.data == b""
    query.client.head(200, "text/event-stream", {})
    query.client.data(piece(1, 4).data)
    query.client.note({"ids": [f"h/1/{number}" for number in range(1, 5)], "begin": 0})
    query.client.end()
    assert connection.numbers == [1, 2, 3, 4, 5]
    room.clock.advance(limits.SEAM_SECONDS + 1)
    room.channel.add(piece(6, 1))
    assert connection.numbers == [1, 2, 3, 4, 5, 6]


def test_the_last_messages_come_first(room: Room) -> None:
    """`last` gives the newest stored messages, then the tail; what the ring has from before them is left out."""
    _, connection = room.view(last=2)
    room.channel.add(piece(1, 4))
    (query,) = room.pool.queries
    query.client.data(piece(3, 2).data)
    query.client.note({"ids": ["h/1/3", "h/1/4"], "begin": 3})
    query.client.end()
    room.channel.add(piece(5, 1))
    assert connection.numbers == [3, 4, 5]


def test_a_search_that_fails(room: Room) -> None:
    """If the store cannot be searched, the viewer learns that an unknown number is missing, and follows."""
    _, connection = room.view(last=2)
    room.pool.queries[0].client.failed(Refused(503, "gone"))
    room.channel.add(piece(1, 1))
    assert (connection.dropped, connection.numbers) == ([None], [1])
    room.pool.full = True
    _, connection = room.view(last=2)
    assert connection.dropped == [None]


def test_a_dropped_count_stays_at_the_seam() -> None:
    """Leaving out known messages leaves the events between them."""
    made = piece(1, 3)
    head = b'event: dropped\ndata: {"count":5}\n\n'
    joined = Piece(1, head + made.data + b": \n\n", made.ids, [end + len(head) for end in made.ends], made.usecs)
    assert joined.without({"h/1/1", "h/1/3"}, 0) == head + piece(2, 1).data + b": \n\n"
    assert joined.without(set(), 3) == head + piece(3, 1).data + b": \n\n"
    assert joined.without({"h/1/9"}, 0) == joined.data


def test_comments(room: Room) -> None:
    """An idle viewer gets a comment every 15 seconds; one that does not read gets none."""
    viewer, connection = room.view()
    room.clock.advance(limits.COMMENT_SECONDS)
    assert connection.data == b": \n\n"
    room.clock.advance(limits.COMMENT_SECONDS - 1)
    room.channel.add(piece(1, 1))
    connection.data = b""
    room.clock.advance(2)
    assert connection.data == b""
    viewer.pauseProducing()
    room.clock.advance(limits.COMMENT_SECONDS)
    assert connection.data == b""
    viewer.close()
    assert room.clock.getDelayedCalls() == [room.channel.lingering]


def test_a_filter_is_followed_for_a_while_after_its_last_viewer(room: Room) -> None:
    """A reconnect finds the ring; after a time the filter is given up."""
    viewer, _ = room.view()
    viewer.close()
    viewer.close()
    assert room.live.viewers == 0
    room.clock.advance(limits.LINGER_SECONDS - 1)
    viewer, _ = room.view()
    room.clock.advance(limits.LINGER_SECONDS + 1)
    assert room.live._channels
    viewer.close()
    room.clock.advance(limits.LINGER_SECONDS + 1)
    assert not room.live._channels


def test_viewers_and_filters_have_a_bound(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bounds a viewer is refused, with the time after which it may come again."""
    monkeypatch.setattr(limits, "VIEWERS", 1)
    monkeypatch.setattr(limits, "CHANNELS", 1)
    viewer, _ = room.view()
    with pytest.raises(Refused, match="live tails are open") as error:
        room.live.open({}, lambda *_: None)
    assert (error.value.status, error.value.retry) == (429, 30)
    monkeypatch.setattr(limits, "VIEWERS", 2)
    with pytest.raises(Refused, match="filters"):
        room.live.open({"grep": ["x"]}, lambda *_: None)
    viewer.close()


def test_viewers_end_with_the_process(room: Room) -> None:
    """If the process of the tail ends, the responses end, so that browsers reconnect."""
    _, connection = room.view()
    room.live._ended()
    assert connection.finished
    assert (room.live.viewers, room.live._channels) == (0, {})
    assert room.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "text", ["", "x", "aa-1~1~2", "aa-1~1~2~a b", "aa-1~x~2~h", "a-1~1~2~" + "h" * 200, "A-1~1~2~h"]
)
def test_cursors_of_strangers(text: str) -> None:
    """A text that is no cursor is none; a cursor is read as it was written."""
    assert Cursor.read(text) is None
    cursor = Cursor("a1b2-3", 7, 1795859200000000, "fe80::1%eth0/@1795859200000000/2")
    assert Cursor.read(str(cursor)) == cursor


# The process that makes the frames, in the test's own.


class Frames:
    """Keeps the frames of a tail."""

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.pieces: list[tuple[dict[str, Any], bytes]] = []

    def note(self, kind: bytes, fields: dict[str, Any]) -> None:
        self.notes.append(fields)

    def send(self, kind: bytes, data: bytes) -> None:
        head, _, payload = data.partition(b"\n")
        fields = json.loads(head)
        assert fields.keys() == {"channel", "first", "ids", "ends", "usecs", "findings"}
        self.pieces.append((fields, payload))

    def events(self, kind: str, channel: int = 1) -> list[Any]:
        """Return the data of the events of a kind."""
        found = []
        for head, payload in self.pieces:
            for block in payload.split(b"\n\n"):
                lines = block.split(b"\n")
                if head["channel"] == channel and f"event: {kind}".encode() in lines:
                    found.append(json.loads(lines[-1].removeprefix(b"data: ")))
        return found

    def texts(self, channel: int = 1) -> list[str]:
        """Return the texts of the messages."""
        return [message["text"] for message in self.events("message", channel)]


class Following:
    """A tail over a store that the test writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / layout.JOURNAL).mkdir(parents=True)
        self.journal = Journal(
            directory / layout.JOURNAL, 2, first_number=1, part_bytes=1 << 30, part_seconds=1e9, most_bytes=1 << 40
        )
        self.frames = Frames()
        output: Any = self.frames
        self.tail = Tail(directory, "aa", Encoder(Names("host")), output)

    def add(self, number: int, **parameters: str) -> None:
        self.tail.take({"add": number, "filter": {name: [value] for name, value in parameters.items()}})

    def say(self, *messages: Message, worker: int = 0) -> None:
        self.journal.append(worker, list(messages))

    def ticks(self, count: int = 2) -> None:
        for _ in range(count):
            self.tail.tick()


@pytest.fixture
def following(tmp_path: Path) -> Any:
    """A tail."""
    made = Following(tmp_path / "store")
    yield made
    made.journal.close()


def test_each_filter_gets_its_messages(following: Following) -> None:
    """A filter gets the messages that match, with their identity, and no others; a removed one gets nothing."""
    following.say(extended_message("before", received_at=T0, seq=1))
    following.add(1, grep="link")
    following.add(2, level="err", caller="T*")
    following.say(
        extended_message("link up", received_at=T0 + 1, seq=2, level=6),
        extended_message("bad", received_at=T0 + 1, seq=3, level=3, caller="T1"),
        extended_message("bad cpu", received_at=T0 + 1, seq=4, level=3, caller="C1"),
    )
    following.ticks()
    assert (following.frames.texts(1), following.frames.texts(2)) == (["link up"], ["bad"])
    assert following.frames.events("message")[0]["id"].endswith("/2")
    following.tail.take({"remove": 1})
    following.say(extended_message("link down", received_at=T0 + 2, seq=5))
    following.ticks()
    assert following.frames.texts(1) == ["link up"]


def test_a_wrong_filter_is_refused(following: Following) -> None:
    """A filter that is none is refused with its field."""
    following.add(1, grep="(")
    assert (following.frames.notes[0]["refused"], following.frames.notes[0]["field"]) == (1, "grep")
    following.add(2, lines="5")
    assert following.frames.notes[1]["status"] == 400


def test_messages_are_in_the_order_of_time(following: Following) -> None:
    """Messages of several workers are in the order of time, although a worker is a tick later."""
    following.add(1)
    following.say(extended_message("b", received_at=T0 + 2, seq=1))
    following.ticks(1)
    following.say(extended_message("a", address="192.0.2.2", received_at=T0 + 1, seq=1), worker=1)
    following.say(extended_message("c", received_at=T0 + 3, seq=2))
    following.ticks(3)
    assert following.frames.texts() == ["a", "b", "c"]


def test_the_order_is_that_of_a_replay(following: Following) -> None:
    """From any message of the tail on, a replay from the store has exactly the messages that the tail had after it."""
    following.add(1)
    for number in range(12):
        following.say(
            *(
                extended_message(
                    f"m {number} {each}", address=f"192.0.2.{each}", received_at=T0 + number // 3, seq=number
                )
                for each in (3, 1, 2)
            ),
            worker=number % 2,
        )
        if number % 3 == 2:
            following.ticks(1)
    following.ticks(2)
    following.journal.sync()
    texts = following.frames.texts()
    assert len(texts) == 36
    ids = [
        line for _, payload in following.frames.pieces for line in payload.decode().split("\n") if line[:4] == "id: "
    ]
    ask = asker(following.directory)
    for at in range(0, 36, 5):
        again = ask("replay", stream="bb-1", cursor=ids[at].removeprefix("id: "))
        found = [
            json.loads(line.removeprefix(b"data: "))["text"]
            for line in again.data.split(b"\n")
            if line.startswith(b'data: {"version')
        ]
        assert found == texts[at + 1 :]


def test_a_flood_is_thinned_and_counted(following: Following) -> None:
    """At most so many messages a tick are encoded, the newest; the others are counted, and the rate has all."""
    following.add(1)
    count = limits.TICK_MESSAGES + 50
    following.say(*(extended_message(f"m {number}", received_at=T0, seq=number, level=4) for number in range(count)))
    following.ticks(12)
    assert following.frames.texts() == [f"m {number}" for number in range(50, count)]
    assert following.frames.events("dropped") == [{"count": 50}]
    assert following.frames.events("rate") == [{"levels": [0, 0, 0, 0, count, 0, 0, 0, 0]}]


def test_pieces_have_a_bound(following: Following) -> None:
    """Long messages are sent in several pieces; the places in a piece are right."""
    following.add(1)
    following.say(*(extended_message("x" * 8000, received_at=T0, seq=number) for number in range(60)))
    following.ticks()
    assert len(following.frames.pieces) > 1
    number = 1
    for head, payload in following.frames.pieces:
        assert len(payload) < limits.PIECE_BYTES + 20_000
        assert head["first"] == number
        number += len(head["ids"])
        assert head["ends"][-1] == len(payload)
        for end in head["ends"]:
            assert payload[end - 2 : end] == b"\n\n"
    assert number == 61


def test_reports_and_events(following: Following) -> None:
    """Crash reports and events come as they are written, to the filters that have their machine."""
    add(following.directory, crash_report("BUG: old", received_at=T0))
    following.add(1)
    following.add(2, host="192.0.2.99")
    add(following.directory, crash_report("BUG: new", received_at=T0 + 1), event(received_at=T0 + 2))
    following.ticks(1)
    found = following.frames.events("finding")
    assert [(each["kind"], each["finding"].get("title")) for each in found] == [("report", "BUG: new"), ("event", None)]
    assert "messages" not in found[0]["finding"]
    assert following.frames.events("finding", 2) == []


def test_hostile_text_is_one_event(following: Following) -> None:
    """A text with line ends cannot make events of its own: frames are ASCII without control characters."""
    following.add(1)
    text = "a\n\nevent: message\ndata: {}\r\r\u2028\u202e\x00\x1b"
    following.say(extended_message(text, received_at=T0))
    following.ticks()
    (_, payload), *_ = following.frames.pieces
    assert payload.count(b"\n\n") == 1
    assert payload.isascii()
    assert not {0x1B, 0x0D, 0}.intersection(payload)
    assert following.frames.texts() == [text]


def test_no_store(tmp_path: Path) -> None:
    """Without a store a filter is refused, and accepted when there is one."""
    frames = Frames()
    output: Any = frames
    tail = Tail(tmp_path / "store", "aa", Encoder(Names("host")), output)
    tail.take({"add": 1, "filter": {}})
    tail.tick()
    assert frames.notes[0]["status"] == 503
    (tmp_path / "store" / layout.JOURNAL).mkdir(parents=True)
    tail.take({"add": 2, "filter": {}})
    assert frames.notes[1] == {"added": 2}


# What a viewer misses, and a process that hangs.


def found_in(first: int, findings: int) -> Piece:
    """Return a piece of reports and events, before a message."""
    return Piece(first, b"event: finding\ndata: {}\n\n" * findings, [], [], [], findings)


def test_missed_reports_are_counted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports and events that a slow viewer misses are counted with the messages, once; also after a reconnect."""
    monkeypatch.setattr(limits, "RING_BYTES", 4 * len(piece(10, 2).data))
    viewer, connection = room.view()
    viewer.pauseProducing()
    room.channel.add(piece(1, 2))
    room.channel.add(found_in(3, 3))
    for number in range(3, 41, 2):
        room.channel.add(piece(number, 2))
    viewer.resumeProducing()
    assert connection.numbers[-1] == 40
    assert connection.dropped == [40 - len(connection.numbers) + 3]
    viewer.pauseProducing()
    room.channel.add(found_in(41, 2))
    _, again = room.view(Cursor("aa-1", 40, 40, "h/1/40"))
    assert again.data.count(b"event: finding") == 2
    viewer.resumeProducing()
    room.channel.add(piece(41, 1))
    assert (len(connection.dropped), again.dropped) == (1, [])


def test_filters_share_the_memory(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rings of all filters have a bound together."""
    monkeypatch.setattr(limits, "RINGS_BYTES", 8 * len(piece(10, 2).data))
    for number in range(11, 61, 2):
        room.channel.add(piece(number, 2), 4)
        assert room.channel.bytes <= limits.RINGS_BYTES / 4


def is_aborted(connection: FakeConnection) -> bool:
    """Return whether a connection was aborted until now."""
    return connection.aborted


def test_a_viewer_who_never_reads_ends(room: Room) -> None:
    """A viewer who takes nothing for a minute gives its place to others; one who reads a little does not."""
    viewer, connection = room.view()
    for _ in range(3 * limits.UNREAD_COMMENTS):
        viewer.pauseProducing()
        room.clock.advance(limits.COMMENT_SECONDS)
        viewer.resumeProducing()
    assert not is_aborted(connection)
    viewer.pauseProducing()
    room.clock.pump([limits.COMMENT_SECONDS] * limits.UNREAD_COMMENTS)
    assert is_aborted(connection)
    assert room.live.viewers == 0
    assert room.clock.getDelayedCalls() == [room.channel.lingering]


def test_a_slow_viewer_gets_nothing_twice(room: Room) -> None:
    """A viewer who does not read during the time of the seam gets no message of the search again."""
    viewer, connection = room.view(last=2)
    (query,) = room.pool.queries
    query.client.data(piece(1, 2).data)
    query.client.note({"ids": ["h/1/1", "h/1/2"], "begin": 1})
    query.client.end()
    viewer.pauseProducing()
    room.channel.add(piece(1, 3))
    room.clock.advance(limits.SEAM_SECONDS + 1)
    room.channel.add(piece(4, 1))
    viewer.resumeProducing()
    assert connection.numbers == [1, 2, 3, 4]
    assert viewer._known == set()


class Hanging:
    """A process that answers nothing."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.killed = False
        self.ended: Any = None

    def request(self, fields: dict[str, Any]) -> None:
        self.requests.append(fields)

    def kill(self) -> None:
        self.killed = True
        self.ended()


def was_killed(one: Hanging) -> bool:
    """Return whether a process was killed until now."""
    return one.killed


@pytest.fixture
def hanging(room: Room, monkeypatch: pytest.MonkeyPatch) -> Hanging:
    """The process of the room's tail."""
    made = Hanging()

    def start(reactor: Any, module: str, arguments: Any, frame: Any, ended: Any) -> Hanging:
        made.ended = ended
        return made

    monkeypatch.setattr("netconsd.console.process.start", start)
    return made


def test_a_process_that_hangs_is_replaced(room: Room, hanging: Hanging) -> None:
    """A process without a sign of life is killed: viewers reconnect, and those that wait for it learn why."""
    _, connection = room.view()
    got: list[Any] = []
    room.live.open({"grep": ["x"]}, lambda channel, error: got.append(error))
    with logged() as lines:
        for _ in range(5):
            room.clock.advance(limits.SILENT_SECONDS - 1)
            room.live._frame(SHOWN, b'{"addresses": []}')
        assert not was_killed(hanging)
        room.clock.pump([limits.LOOK_SECONDS] * round(limits.SILENT_SECONDS / limits.LOOK_SECONDS + 1))
    assert was_killed(hanging)
    assert connection.finished
    assert got[0].status == 503
    assert "stuck" in lines[0]
    assert room.clock.getDelayedCalls() == []


def test_the_tail_gets_the_names(room: Room, hanging: Hanging, tmp_path: Path) -> None:
    """The process of the tail gets the names of the hosts file before its first filter, then those that change."""
    path = tmp_path / "hosts"
    path.write_text("192.0.2.7 web01\n")
    names = Names(hosts_file=path)
    names.read()
    room.pool.naming = Naming(names, room.clock.seconds, room.clock.seconds)
    room.live.open({"grep": ["x"]}, lambda *_: None)
    assert [next(iter(each)) for each in hanging.requests] == ["names", "add"]
    path.write_text("192.0.2.7 db01\n")
    names.read()
    room.clock.advance(limits.LOOK_SECONDS)
    assert hanging.requests[2:] == [{"names": {"192.0.2.7": "db01"}}]
    room.live.close()
    assert room.clock.getDelayedCalls() == []


def test_viewers_have_to_come_again(room: Room) -> None:
    """After a change of the passwords the responses end, and the filters stay for those who may come again."""
    _, connection = room.view()
    room.live.end_viewers()
    assert connection.finished
    assert (room.live.viewers, len(room.live._channels)) == (0, 1)


def test_machines_by_name(following: Following) -> None:
    """The tail shows and chooses machines by the names of the daemon; reports and events by those of userdata too."""
    following.tail.take({"names": {"192.0.2.7": "db01", "192.0.2.8": "db02"}})
    following.add(1, host="db01")
    following.add(2, host="web*")
    following.add(3)
    following.say(
        extended_message("one", address="192.0.2.7", received_at=T0, seq=1),
        extended_message("two", address="192.0.2.8", received_at=T0, seq=1),
        extended_message("three", address="192.0.2.9", received_at=T0, seq=1, userdata={"host": "web09"}),
    )
    following.ticks(2)
    add(
        following.directory,
        event(address="192.0.2.7", received_at=T0 + 1),
        event(address="192.0.2.9", received_at=T0 + 2),
    )
    following.ticks(10)
    assert following.frames.texts(1) == ["one"]
    assert following.frames.texts(2) == ["three"]
    assert [message["name"] for message in following.frames.events("message", 3)] == ["db01", "db02", "web09"]
    found = [[each["finding"]["address"] for each in following.frames.events("finding", n)] for n in (1, 2)]
    assert found == [["192.0.2.7"], ["192.0.2.9"]]
    (note,) = [note for note in following.frames.notes if "addresses" in note]
    assert sorted(note["addresses"]) == ["192.0.2.7", "192.0.2.8", "192.0.2.9"]


def test_a_flood_of_events_is_thinned_and_counted(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many reports and events a tick are sent, the newest; the others are counted."""
    monkeypatch.setattr("netconsd.console.tail.TICK_FINDINGS", 5)
    following.add(1)
    add(following.directory, *(event(received_at=T0 + number) for number in range(12)))
    following.ticks(1)
    found = [each["finding"]["received_at"] - T0 for each in following.frames.events("finding")]
    assert found == [7, 8, 9, 10, 11]
    assert following.frames.events("dropped") == [{"count": 7}]
    assert following.frames.pieces[0][0]["findings"] == 5


def test_the_clock_is_set_back(following: Following) -> None:
    """After the clock was set back, places are at the new time; a message that is only late keeps the order."""
    following.add(1)
    for number, at in enumerate((T0, T0 - 5, T0 - 3600, T0 - 3599)):
        following.say(extended_message(f"m {number}", received_at=at, seq=number))
        following.ticks(2)
    usecs = [usec for head, _ in following.frames.pieces for usec in head["usecs"]]
    assert usecs == [round(at * 1e6) for at in (T0, T0, T0 - 3600, T0 - 3599)]


@pytest.mark.parametrize("made_again", [False, True])
def test_a_store_that_is_deleted(following: Following, made_again: bool) -> None:
    """Within a second the process ends, so that viewers come again: to the new store, or to the reason."""
    following.add(1)
    assert all(following.tail.tick() for _ in range(20))
    shutil.rmtree(following.directory)
    if made_again:
        (following.directory / layout.JOURNAL).mkdir(parents=True)
    assert not all(following.tail.tick() for _ in range(round(1 / limits.TICK_SECONDS)))


def test_a_store_that_cannot_be_read(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails for a moment costs nothing; after some seconds the process ends."""
    following.add(1)
    poll = Follow.poll
    failing = True

    def fail(self: Follow) -> Any:
        if failing:
            raise OSError(5, "Input/output error")
        return poll(self)

    monkeypatch.setattr(Follow, "poll", fail)
    assert all(following.tail.tick() for _ in range(limits.FAILED_TICKS))
    failing = False
    following.say(extended_message("again", received_at=T0, seq=1))
    following.ticks()
    assert following.frames.texts() == ["again"]
    failing = True
    assert not all(following.tail.tick() for _ in range(limits.FAILED_TICKS + 1))


def test_files_of_reports_that_are_made_again(following: Following) -> None:
    """Files of reports that are shorter than before are others, and are read from their begin."""
    add(following.directory, *(crash_report("BUG: old", received_at=T0) for _ in range(3)))
    following.add(1)
    following.ticks(1)
    for path in (following.directory / "reports").iterdir():
        path.unlink()
    add(following.directory, crash_report("BUG: new", received_at=T0 + 1))
    following.ticks(1)
    assert [each["finding"]["title"] for each in following.frames.events("finding")] == ["BUG: new"]


def test_filters_of_machines_between_others(following: Following) -> None:
    """A filter of a machine has its messages in order, although those of others are between them."""
    following.add(1, host="192.0.2.1")
    following.add(2, host="web2")
    following.add(3, host="role=db", level="err")
    following.say(
        *(
            extended_message(
                f"m {number}",
                address=f"192.0.2.{number % 3}",
                received_at=T0 + number // 4,
                seq=number,
                level=number % 8,
                userdata={"host": f"web{number % 3}", "role": ("web", "db")[number % 2]},
            )
            for number in range(36)
        )
    )
    following.ticks(2)
    assert following.frames.texts(1) == [f"m {number}" for number in in_tail_order(36) if number % 3 == 1]
    assert following.frames.texts(2) == [f"m {number}" for number in in_tail_order(36) if number % 3 == 2]
    chosen = [number for number in in_tail_order(36) if number % 2 == 1 and number % 8 <= 3]
    assert following.frames.texts(3) == [f"m {number}" for number in chosen]


def in_tail_order(count: int) -> list[int]:
    """Return the numbers of messages of three machines, four of each second, in the order of the tail."""
    return sorted(range(count), key=lambda number: (number // 4, number % 3, number))


def test_a_message_is_encoded_once_for_all_filters(following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many filters, a message that several have is encoded once, and one that none shows never."""
    encoded: list[str] = []
    message = Encoder.message

    def counted(self: Encoder, stored: Any) -> bytes:
        encoded.append(stored.message.text)
        return message(self, stored)

    monkeypatch.setattr(Encoder, "message", counted)
    monkeypatch.setattr("netconsd.console.tail.TICK_MESSAGES", 3)
    for number in range(20):
        following.add(number, grep=f"m|{number}")
    following.add(20, host="192.0.2.99")
    following.say(*(extended_message(f"m {number}", received_at=T0 + number, seq=number) for number in range(10)))
    following.ticks(2)
    assert encoded == ["m 7", "m 8", "m 9"]
    for number in range(20):
        assert following.frames.texts(number) == ["m 7", "m 8", "m 9"]
        assert following.frames.events("dropped", number) == [{"count": 7}]


def test_a_slow_filter_is_refused(following: Following) -> None:
    """A filter that takes too much of the processor for a message is refused; one that had many messages is not."""
    used = [0.0]
    cost = {1: 0.4, 2: 0.4, 3: 0.0}
    following.tail._processor = lambda: used[0]
    for number, seconds in cost.items():
        following.add(number, grep=f"m|{number}")
        channel = following.tail._channels[number]

        def choose(rows: Any, seconds: float = seconds, choose: Any = channel.choose) -> Any:
            used[0] += seconds
            return choose(rows)

        channel.choose = choose  # type: ignore[method-assign]
    following.tail._channels[2]._allowed = 1_000_000 * limits.SLOW_MESSAGE_SECONDS
    for number in range(6):
        following.say(extended_message(f"m {number}", received_at=T0 + number, seq=number))
        following.ticks(1)
    following.ticks(1)
    (note,) = [note for note in following.frames.notes if "refused" in note]
    assert (note["refused"], note["status"], note["field"]) == (1, 400, "grep")
    assert "too long" in note["error"]
    assert following.frames.texts(1) == ["m 0", "m 1"]
    assert len(following.frames.texts(2)) == len(following.frames.texts(3)) == 6


def test_the_viewers_of_a_slow_filter(room: Room, hanging: Hanging) -> None:
    """They learn why, and the filter is refused for a while, so that browsers do not come back with it at once."""
    _, connection = room.view()
    room.channel.key = json.dumps([["grep", [".{1000}"]]])
    note = {"refused": 1, "status": 400, "error": "this filter takes too long", "field": "grep"}
    room.live._frame(NOTE, json.dumps(note).encode())
    assert connection.finished
    assert b"takes too long" in connection.data
    with pytest.raises(Refused, match="takes too long"):
        room.live.open({"grep": [".{1000}"]}, lambda *_: None)
    assert (room.live.viewers, room.live._channels) == (0, {})
    room.clock.advance(limits.REFUSED_SECONDS)
    room.live.open({"grep": [".{1000}"]}, lambda *_: None)
    assert hanging.requests == [{"add": 1, "filter": {"grep": [".{1000}"]}}]
