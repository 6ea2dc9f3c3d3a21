"""Lanes: which one a sender gets, order, the bound of the queue, deadlines, and what cannot end a lane."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, capturedLogs

from netconsd.message import Message
from netconsd.settings import Settings
from netconsd.sources import SourceTable
from netconsd.testing import extended, legacy, source
from netconsd.workers import Lane, Workers

# Seconds that a test waits for another thread at most.
PATIENCE = 10.0

# address: its lane of 1, 2, 3, 4, 7 and 64.
LANES = {
    "192.0.2.7": (0, 0, 2, 2, 1, 50),
    "10.0.0.1": (0, 1, 2, 3, 2, 39),
    "127.0.0.1": (0, 1, 0, 1, 2, 9),
    "2001:db8::7": (0, 1, 2, 1, 6, 45),
    "::1": (0, 1, 1, 3, 0, 3),
    "198.51.100.255": (0, 0, 1, 0, 2, 40),
}

# In place of a reactor that is never asked for anything.
NOBODY: Any = object()

ALICE = source("192.0.2.1").key
BOB = source("192.0.2.2").key


class SameThread:
    """In place of a thread: runs when it is started, before ``start`` returns."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], name: str, daemon: bool) -> None:
        self._target = target
        self._args = args
        self.name = name
        self.daemon = daemon

    def start(self) -> None:
        self._target(*self._args)


class Delivered:
    """What a lane delivered: (worker, text) in order, and how many messages each call had."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.workers: list[int] = []
        self.sizes: list[int] = []

    def __call__(self, worker: int, messages: list[Message]) -> None:
        self.workers.append(worker)
        self.sizes.append(len(messages))
        self.messages += messages

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]


def lane_with(
    deliver: Callable[[int, list[Message]], object], *, clock: Callable[[], float] = lambda: 0.0, **settings: Any
) -> Lane:
    """Lane 3 of one, whose thread is this one."""
    return Lane(3, deliver, Settings(**{"workers": 1, **settings}), clock=clock, thread=SameThread)


def run(lane: Lane, finished: Callable[[], object] = lambda: None) -> None:
    """Stop the lane, then let it do what it does until then."""
    lane.stop()
    lane.start(finished)


def put(lane: Lane, *datagrams: bytes, sender: bytes = ALICE, received_at: float = 0.0, now: float = 0.0) -> None:
    """Queue a batch from one sender."""
    lane.put([sender] * len(datagrams), list(datagrams), received_at, now)


def records(numbers: Iterable[int]) -> list[bytes]:
    """Datagrams with these sequence numbers, which are their texts, too."""
    return [extended(str(number), seq=number) for number in numbers]


def lines(numbers: Iterable[int]) -> list[bytes]:
    """Legacy datagrams of a line each."""
    return [legacy(str(number)) for number in numbers]


# Which lane.


@pytest.mark.parametrize("address", LANES)
def test_the_lane_of_an_address_is_the_same_in_every_run(address: str) -> None:
    """An address has the same lane in every run and on every machine: these, written down once."""
    packed = source(address).packed
    for count, expected in zip((1, 2, 3, 4, 7, 64), LANES[address], strict=True):
        workers = Workers(Delivered(), Settings(workers=count), reactor=NOBODY)
        assert workers.lane_for(packed) is workers.lanes[expected]


@given(st.binary(min_size=16, max_size=16), st.integers(1, 64))
def test_every_address_has_a_lane(packed: bytes, count: int) -> None:
    """Whatever the sixteen bytes are, there is a lane, and it is the same when asked again."""
    workers = Workers(Delivered(), Settings(workers=count), reactor=NOBODY)
    assert workers.lane_for(packed) is workers.lane_for(bytes(bytearray(packed)))


@pytest.mark.parametrize("network", ["10.1.0.0", "2001:db8::"])
@pytest.mark.parametrize("count", [2, 3, 4, 16])
def test_a_fleet_spreads_over_the_lanes(network: str, count: int) -> None:
    """Of 4096 neighbouring addresses, every lane gets its share, within a quarter."""
    workers = Workers(Delivered(), Settings(workers=count), reactor=NOBODY)
    first = ip_address(network)
    shares = Counter(workers.lane_for(source(str(first + offset)).packed).number for offset in range(4096))
    assert len(shares) == count
    assert all(abs(share - 4096 / count) <= 4096 / count / 4 for share in shares.values())


def test_lanes_are_numbered() -> None:
    """Lanes have the numbers that modules index their per-worker state by."""
    workers = Workers(Delivered(), Settings(workers=5), reactor=NOBODY)
    assert [lane.number for lane in workers.lanes] == [0, 1, 2, 3, 4]


# Through the lane.


def test_messages_come_in_order_one_call_per_batch() -> None:
    """Each batch is one call with the worker's number, and every sender's messages are in its order."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *records(range(1, 4)))
    lane.put([BOB, ALICE, BOB], [*records([1]), *records([4]), *records([2])], 0.0, 0.0)
    run(lane)
    assert delivered.workers == [3, 3]
    assert delivered.sizes == [3, 3]
    assert [m.text for m in delivered.messages if m.source.key == ALICE] == ["1", "2", "3", "4"]
    assert [m.text for m in delivered.messages if m.source.key == BOB] == ["1", "2"]


def test_messages_carry_the_time_of_their_batch() -> None:
    """``received_at`` is the Unix time that came with the batch, not that of the lane."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, *records([1]), received_at=1.5e9)
    put(lane, *records([2]), received_at=1.6e9)
    run(lane)
    assert [message.received_at for message in delivered.messages] == [1.5e9, 1.6e9]


def test_a_batch_without_a_message_makes_no_call() -> None:
    """``deliver`` never gets an empty list."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, b"")
    put(lane, *records([1]))
    put(lane, *records([1]))
    run(lane)
    assert delivered.sizes == [1]


def test_the_counters_add_up() -> None:
    """Every datagram is under one heading and every message has an origin, as the ledger says."""
    delivered = Delivered()
    lane = lane_with(delivered)
    put(lane, b"", *records([1, 1, 2, 9]), b"7,10,5,-,ncfrag=0/20;half of it,", b"two\nlines\nand a bit", b"1,2,3,-,x")
    run(lane)
    tally = lane.tally
    assert tally.datagrams == lane.queue_tally.queued == 8
    assert tally.datagrams == tally.whole + tally.fragments + tally.legacy + tally.duplicates + tally.empty
    assert tally.messages == tally.whole + tally.reassembled + tally.lines == len(delivered.messages)
    assert (tally.empty, tally.duplicates, tally.fragments, tally.whole) == (1, 1, 1, 3)


def test_senders_are_remembered() -> None:
    """``senders`` says how many different ones, by address and port, the lane knows."""
    lane = lane_with(Delivered())
    lane.put([ALICE, BOB, ALICE, source("192.0.2.1", 6666).key], lines(range(4)), 0.0, 0.0)
    run(lane)
    assert lane.senders == lane.tally.sources_made == 3


# The bound of the queue.


def test_a_full_queue_sheds_the_newest_and_counts() -> None:
    """What the queue has no room for is dropped from the end, counted, and the rest comes in order."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=5)
    put(lane, *lines(range(3)))
    put(lane, *lines(range(3, 7)))
    put(lane, *lines([7]))
    assert (lane.queue_tally.queued, lane.queue_tally.shed) == (5, 3)
    assert lane.backlog == 5
    run(lane)
    assert delivered.texts == ["0", "1", "2", "3", "4"]
    assert lane.backlog == 0


def test_a_batch_that_just_fits_is_kept_whole() -> None:
    """The bound itself may be reached."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=4)
    put(lane, *lines(range(4)))
    assert (lane.queue_tally.queued, lane.queue_tally.shed) == (4, 0)
    run(lane)
    assert len(delivered.texts) == 4


def test_there_is_room_again_when_the_lane_has_worked() -> None:
    """A queue that was full takes datagrams again as soon as the lane has finished a batch."""
    lane: Lane

    class More(Delivered):
        def __call__(self, worker: int, messages: list[Message]) -> None:
            super().__call__(worker, messages)
            backlogs.append(lane.backlog)
            if len(self.sizes) == 2:
                put(lane, *lines([4, 5, 6]))
                lane.stop()

    backlogs: list[int] = []
    delivered = More()
    lane = lane_with(delivered, queue=4)
    put(lane, *lines([0, 1]))
    put(lane, *lines([2, 3, 99]))
    lane.start(lambda: None)
    # A batch takes its places until it has been delivered, so that what a slow module holds up is bounded, too.
    assert backlogs == [4, 2, 2]
    assert delivered.texts == ["0", "1", "2", "3", "4", "5"]
    assert (lane.queue_tally.queued, lane.queue_tally.shed) == (6, 2)
    assert lane.backlog == 0


def test_a_full_queue_still_takes_the_word_to_stop() -> None:
    """A lane whose queue is full ends when told to, after everything in the queue."""
    delivered = Delivered()
    ended: list[bool] = []
    lane = lane_with(delivered, queue=1)
    put(lane, *lines([0, 1]))
    run(lane, lambda: ended.append(True))
    assert delivered.texts == ["0"]
    assert ended == [True]


@pytest.mark.parametrize(
    ("size", "places"), [(1, 1), (1000, 1), (1023, 1), (1024, 2), (2047, 2), (2048, 3), (65507, 64)]
)
def test_large_datagrams_take_more_places(size: int, places: int) -> None:
    """The bound of a queue is one on memory: a datagram takes a place for each KiB that it has begun."""
    lane = lane_with(Delivered())
    put(lane, b"x", b"x" * size, b"x")
    assert lane.backlog == places + 2
    run(lane)
    assert lane.backlog == 0


def test_behind_a_large_datagram_that_does_not_fit_nothing_passes() -> None:
    """The newest are shed from the first that has no room on: a small one behind it could overtake it otherwise."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=4)
    put(lane, b"small\n", b"x" * 5000 + b"\n", b"small, too\n")
    assert (lane.queue_tally.queued, lane.queue_tally.shed) == (1, 2)
    assert lane.backlog == 1
    run(lane)
    assert delivered.texts == ["small"]


@given(st.lists(st.lists(st.integers(0, 5000), max_size=8), max_size=8), st.integers(1, 12))
def test_the_queue_never_exceeds_its_bound(batches: list[list[int]], limit: int) -> None:
    """Whatever is put, no more places are taken than there are, and each datagram is either queued or shed."""
    lane = lane_with(Delivered(), queue=limit)
    for sizes in batches:
        put(lane, *(b"x" * size for size in sizes))
        assert 0 <= lane.backlog <= limit
    assert lane.queue_tally.queued + lane.queue_tally.shed == sum(map(len, batches))
    run(lane)
    assert lane.backlog == 0
    assert lane.tally.datagrams == lane.queue_tally.queued


# Deadlines.


class Scripted:
    """In place of the queue and the clock: what was put in comes out, and nobody waits.

    Where :attr:`NOTHING` was put, nothing comes until the time that the lane asked for is over.
    """

    NOTHING = "nothing"

    def __init__(self) -> None:
        self.now = 0.0
        self.items: list[Any] = []
        #: How long the lane was ready to wait, each time; None is for ever.
        self.timeouts: list[float | None] = []

    def put(self, item: Any) -> None:
        self.items.append(item)

    def get(self, timeout: float | None) -> Any:
        self.timeouts.append(timeout)
        item = self.items.pop(0)
        if item is self.NOTHING:
            assert timeout is not None, "the lane would wait for ever"
            self.now += timeout
            raise queue.Empty
        return item


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The queue of lanes made from now on."""
    script = Scripted()
    monkeypatch.setattr("netconsd.workers.SimpleQueue", lambda: script)
    return script


def test_an_idle_lane_does_not_wake_up(scripted: Scripted) -> None:
    """While nothing waits and nobody is to be forgotten, the thread sleeps until there is a datagram."""
    lane = lane_with(Delivered(), gc_interval=0.0)
    put(lane, *records([1]))
    run(lane)
    assert scripted.timeouts == [None, None]


def test_what_is_held_is_delivered_at_its_deadline(scripted: Scripted) -> None:
    """A message behind a gap comes when the reorder time is over, though no datagram follows."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: scripted.now, reorder=0.5, gc_interval=0.0)
    scripted.now = 100.0
    put(lane, *records([1, 3]), now=99.75)
    put(lane, *records([5]), sender=BOB, now=100.0)
    put(lane, *records([7]), sender=BOB, now=100.0)
    scripted.items += [Scripted.NOTHING, Scripted.NOTHING]
    run(lane)
    # Nothing waits; 3 waits; 3 still waits; 7 waits; nothing waits.
    assert scripted.timeouts == [None, 0.25, 0.25, 0.25, 0.25, None]
    assert delivered.texts == ["1", "5", "3", "7"]
    assert delivered.sizes == [1, 1, 1, 1]


def test_a_deadline_that_has_passed_is_not_waited_for(scripted: Scripted) -> None:
    """A lane that is behind asks its queue for what is there, not for a time in the past."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: 1000.0, reorder=0.5, gc_interval=0.0)
    put(lane, *records([1, 3]), now=1.0)
    scripted.put(Scripted.NOTHING)
    run(lane)
    assert scripted.timeouts == [None, 0.0, None]
    assert delivered.texts == ["1", "3"]


def test_a_busy_lane_delivers_what_is_due(scripted: Scripted) -> None:
    """With a queue that is never empty, held messages come at their deadline all the same."""
    delivered = Delivered()
    lane = lane_with(delivered, reorder=0.5)
    put(lane, *records([1, 3]), now=0.0)
    for quarter in range(1, 5):
        put(lane, legacy("busy"), sender=BOB, now=quarter / 4)
    run(lane)
    assert delivered.texts == ["1", "busy", "busy", "3", "busy", "busy"]


def test_silent_senders_are_forgotten(scripted: Scripted) -> None:
    """A sender that was silent for the age is forgotten by a lane to which nobody sends any more."""
    lane = lane_with(Delivered(), clock=lambda: scripted.now, gc_interval=10.0, gc_age=30.0)
    put(lane, *lines([1]))
    scripted.items += [Scripted.NOTHING] * 3
    run(lane)
    assert scripted.timeouts == [None, 10.0, 10.0, 10.0, None]
    assert lane.tally.sources_aged == 1
    assert lane.senders == 0


def test_no_sender_is_forgotten_without_an_interval(scripted: Scripted) -> None:
    """With an interval of 0 nobody is looked for, however long the silence."""
    lane = lane_with(Delivered(), gc_interval=0.0, gc_age=30.0)
    put(lane, *lines([1]), now=0.0)
    put(lane, *lines([1]), sender=BOB, now=1e6)
    run(lane)
    assert scripted.timeouts == [None, None, None]
    assert lane.senders == 2


def test_the_table_is_shared_out_among_the_lanes() -> None:
    """Each lane remembers its share of ``max_sources``, rounded up, and counts whom it had to forget."""
    lane = Lane(0, Delivered(), Settings(workers=3, max_sources=10), clock=lambda: 0.0, thread=SameThread)
    senders = [source(f"192.0.2.{number}").key for number in range(6)]
    lane.put(senders, lines(range(6)), 0.0, 0.0)
    run(lane)
    assert lane.senders == 4
    assert lane.tally.sources_evicted == 2


# Stopping.


def test_stopping_delivers_what_is_queued_and_what_is_held() -> None:
    """Before it ends, a lane delivers the batches put before, then held records, fragments and unfinished lines."""
    delivered = Delivered()
    lane = lane_with(delivered, reorder=60.0)
    put(lane, *records([1, 3, 4]), b"6,9,5,-,ncfrag=0/99;the first half", sender=ALICE)
    put(lane, b"no newline", sender=BOB)
    put(lane, *records([6]), sender=ALICE)
    run(lane)
    assert [message.text for message in delivered.messages if message.source.key == BOB] == ["no newline"]
    texts = [message.text for message in delivered.messages if message.source.key == ALICE]
    assert texts[:4] == ["1", "3", "4", "6"]
    assert texts[4].startswith("the first half")
    assert len(texts) == 5


def test_finished_is_the_last_thing() -> None:
    """``finished`` is called once, after the last delivery."""
    events: list[object] = []
    lane = lane_with(lambda worker, messages: events.append(messages[0].text), reorder=60.0)
    put(lane, *records([1, 3]))
    run(lane, lambda: events.append("finished"))
    assert events == ["1", "3", "finished"]


def test_nothing_runs_before_the_start() -> None:
    """A lane that was made has no thread yet: a daemon forks in between."""
    delivered = Delivered()
    before = threading.active_count()
    lane = Lane(0, delivered, Settings())
    put(lane, *lines([1]))
    assert threading.active_count() == before
    assert not delivered.messages


# What cannot end a lane.


class Flawed(Delivered):
    """Raises in some calls, by number."""

    def __init__(self, error: BaseException, *calls: int) -> None:
        super().__init__()
        self._error = error
        self._calls = calls

    def __call__(self, worker: int, messages: list[Message]) -> None:
        super().__call__(worker, messages)
        if len(self.sizes) - 1 in self._calls:
            raise self._error


def logged_failures(events: Iterable[LogEvent]) -> list[str]:
    """The names of the exceptions that were logged."""
    return [event["log_failure"].type.__name__ for event in events if "log_failure" in event]


# The second ends a thread in silence, if it is let.
ERRORS = [ZeroDivisionError("a bug"), SystemExit(1)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_lane_survives_what_deliver_raises(error: BaseException) -> None:
    """An exception in ``deliver`` is logged with the worker's number, and the next batch comes as ever."""
    delivered = Flawed(error, 0)
    lane = lane_with(delivered)
    put(lane, *lines([0, 1]))
    put(lane, *lines([2]))
    with capturedLogs() as events:
        run(lane)
    assert delivered.texts == ["0", "1", "2"]
    assert logged_failures(events) == [type(error).__name__]
    assert "Worker 3" in events[0]["log_format"].format(**events[0])
    assert lane.backlog == 0


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_lane_ends_although_the_last_delivery_raises(error: BaseException) -> None:
    """What ``deliver`` raises while a lane stops is logged, and the lane ends: the daemon does not hang."""
    delivered = Flawed(error, 1)
    lane = lane_with(delivered, reorder=60.0)
    put(lane, *records([1, 3]))
    lane.stop()
    ended = threading.Event()
    with capturedLogs() as events:
        # A thread of its own, so that a lane that does not end fails the test instead of ending it.
        threading.Thread(target=lane._run, args=(ended.set,), daemon=True).start()
        assert ended.wait(PATIENCE / 5)
    assert delivered.texts == ["1", "3"]
    assert logged_failures(events) == [type(error).__name__]


def test_a_lane_survives_a_bug_in_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug while a batch is taken in is logged, the batch frees its places, and the next batch is delivered."""
    delivered = Delivered()
    lane = lane_with(delivered, queue=2)
    put(lane, *lines([0, 1]))
    feed = SourceTable.feed
    calls: list[int] = []

    def feed_with_a_bug(self: SourceTable, *arguments: Any) -> list[Message]:
        calls.append(len(calls))
        if len(calls) == 1:
            put(lane, *lines([9]))
            raise IndexError("a bug")
        return feed(self, *arguments)

    monkeypatch.setattr(SourceTable, "feed", feed_with_a_bug)
    with capturedLogs() as events:
        assert lane._turn()
        assert lane.backlog == 0
        put(lane, *lines([2]))
        run(lane)
    assert logged_failures(events) == ["IndexError"]
    assert delivered.texts == ["2"]
    assert lane.queue_tally.shed == 1


def test_a_lane_survives_a_bug_at_a_deadline(monkeypatch: pytest.MonkeyPatch, scripted: Scripted) -> None:
    """A bug while held messages are let go is logged, and the next batch is delivered."""
    delivered = Delivered()
    lane = lane_with(delivered, clock=lambda: 1000.0)
    put(lane, *records([1, 3]), sender=ALICE)
    scripted.put(Scripted.NOTHING)
    put(lane, *lines([5]), sender=BOB, now=1000.0)

    def advance_with_a_bug(self: SourceTable, now: float) -> list[Message]:
        raise IndexError("a bug")

    monkeypatch.setattr(SourceTable, "advance", advance_with_a_bug)
    with capturedLogs() as events:
        run(lane)
    assert logged_failures(events) == ["IndexError"]
    assert sorted(delivered.texts) == ["1", "3", "5"]


# Workers, with real threads.


class Mailbox:
    """In place of a reactor: keeps what threads want to be called, until :meth:`wait_for` calls it in this thread."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        self.calls.put(partial(function, *arguments))

    def wait_for(self, deferred: Deferred[None]) -> None:
        """Call what threads want, until the Deferred has fired."""
        while not deferred.called:
            self.calls.get(timeout=PATIENCE)()


def test_each_lane_has_a_thread_and_each_sender_one_lane() -> None:
    """Lanes run at the same time in threads of their own; a sender's messages all come in one, in order."""
    mailbox: Any = Mailbox()
    threads: dict[int, set[int]] = {}
    texts: dict[bytes, list[str]] = {}
    together = threading.Barrier(3)

    def deliver(worker: int, messages: list[Message]) -> None:
        if worker not in threads:
            # Nobody gets past this unless all are here.
            together.wait(PATIENCE)
        threads.setdefault(worker, set()).add(threading.get_ident())
        for message in messages:
            texts.setdefault(message.source.key, []).append(message.text)

    workers = Workers(deliver, Settings(workers=3), reactor=mailbox)
    workers.start()
    senders = [source(f"192.0.2.{number}").key for number in range(30)]
    for number in range(20):
        for sender in senders:
            put(workers.lane_for(sender[:16]), legacy(str(number)), sender=sender)
    mailbox.wait_for(workers.stop())
    assert sorted(threads) == [0, 1, 2]
    assert all(len(idents) == 1 for idents in threads.values())
    assert len(set.union(*threads.values())) == 3
    assert texts == {sender: [str(number) for number in range(20)] for sender in senders}


def test_threads_have_names_and_end() -> None:
    """The threads can be told apart in a debugger, do not keep a process alive, and are gone after the stop."""
    mailbox: Any = Mailbox()
    before = set(threading.enumerate())
    workers = Workers(Delivered(), Settings(workers=2), reactor=mailbox)
    workers.start()
    started = set(threading.enumerate()) - before
    assert {thread.name for thread in started} == {"netconsd-0", "netconsd-1"}
    assert all(thread.daemon for thread in started)
    mailbox.wait_for(workers.stop())
    for thread in started:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_the_stop_waits_for_every_lane() -> None:
    """The Deferred of ``stop`` fires when the last lane is done, in the reactor's thread."""
    mailbox: Any = Mailbox()
    release = threading.Event()
    delivered = Delivered()

    def deliver(worker: int, messages: list[Message]) -> None:
        assert release.wait(PATIENCE)
        delivered(worker, messages)

    workers = Workers(deliver, Settings(workers=2), reactor=mailbox)
    workers.start()
    put(workers.lanes[1], *lines([1]))
    stopped = workers.stop()
    fired_in: list[int] = []
    stopped.addCallback(lambda _: fired_in.append(threading.get_ident()))
    # The idle lane is done at once; this is its call.
    mailbox.calls.get(timeout=PATIENCE)()
    assert not stopped.called
    release.set()
    mailbox.wait_for(stopped)
    assert fired_in == [threading.get_ident()]
    assert delivered.texts == ["1"]


def test_stopping_what_was_not_started() -> None:
    """``stop`` of workers that never ran fires at once."""
    assert Workers(Delivered(), reactor=NOBODY).stop().called


def test_the_defaults() -> None:
    """Without settings there are as many lanes as the daemon has by default."""
    assert len(Workers(Delivered(), reactor=NOBODY).lanes) == Settings().workers


def test_totals_survive_the_stop() -> None:
    """The counters of the lanes can be read after the stop, and are exact then."""
    mailbox: Any = Mailbox()
    workers = Workers(Delivered(), Settings(workers=2), reactor=mailbox)
    workers.start()
    for number in range(10):
        sender = source(f"192.0.2.{number}").key
        put(workers.lane_for(sender[:16]), *records([1, 2]), sender=sender)
    mailbox.wait_for(workers.stop())
    sums = Counter[str]()
    for lane in workers.lanes:
        sums.update(asdict(lane.tally))
    assert (sums["datagrams"], sums["messages"], sums["sources_made"]) == (20, 20, 10)
