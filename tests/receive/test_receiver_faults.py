"""What the system refuses, and what there is no memory for: every datagram that was read is handed on or counted."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs

from netconsd.protocol.allowlist import AllowList
from netconsd.protocol.counters import DATAGRAM_OUTCOMES
from netconsd.receive.lanes import Lane
from netconsd.receive.recvfrom import Receiver as PlainReceiver
from netconsd.settings import Settings
from netconsd.testing import extended, fragments
from tests.receive.test_receivers import Socket, here, key_of, make, needs_compiled, together
from tests.support.compilers import SOURCES, compiled, needs_cc
from tests.support.scripted_lane import ALICE, BOB, Delivered, SameThread, run

__all__ = ["here", "make"]

ROOT = Path(__file__).parents[2]
# More allocations than any of the calls below makes; then the test itself is wrong.
ALLOCATIONS = 20_000


@contextmanager
def no_memory_for(number: int) -> Iterator[None]:
    """Let the allocation with this number, counted from 0, fail, and no other."""
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no _testcapi, which makes allocations fail")
    testcapi.set_nomemory(number, number + 1)
    try:
        yield
    finally:
        testcapi.remove_mem_hooks()


def test_no_memory_in_a_receiver(make: Any, here: Socket) -> None:
    """Whichever allocation fails while datagrams are read: each is handed on with its own sender, denied, or discarded,
    and its bytes are counted; the next read is as if nothing had happened. If not, an error is raised, which is."""
    friends = [here.sender("127.0.0.2"), here.sender("127.0.0.3")]
    stranger = here.sender("127.0.0.9")
    receiver = make(here.bound, 4, 4, 2, AllowList(["127.0.0.2", "127.0.0.3"]))
    sent = [(friends[0], b"1" * 300), (friends[1], b"2" * 600), (friends[0], b"3" * 3000)]
    owner = {datagram: key_of(friend) for friend, datagram in sent}
    failed = True
    discarded = number = 0
    while number < 50 or failed:
        assert number < ALLOCATIONS, "nothing fails but always something"
        for friend, datagram in sent:
            friend.send(datagram)
        stranger.send(b"knock")
        before = counted(receiver)
        got, failed = received(receiver, number)
        assert [owner[datagram] for _, datagram in got] == [sender for sender, _ in got]
        new = {name: count - before[name] for name, count in counted(receiver).items()}
        assert new["datagrams"] == len(got) + new["dropped_not_allowed"] + new["dropped_no_memory"]
        assert new["octets"] == sum(len(datagram) for _, datagram in got) + new["dropped_bytes"]
        # In plain Python it can be recvfrom() itself, or what keeps its results: an error, and no more is known.
        assert new["datagrams"] == 4 or (failed and make is PlainReceiver)
        assert not new["dropped_no_memory"] or failed
        discarded += new["dropped_no_memory"]
        number += 1
    assert discarded > 3


def received(receiver: Any, number: int) -> tuple[list[tuple[bytes, bytes]], bool]:
    """What some reads bring, of which the first has no memory once; and whether one of them said so."""
    got: list[tuple[bytes, bytes]] = []
    failed = False
    for allocation in (number, ALLOCATIONS, ALLOCATIONS):
        by_lane: list[Any] = []
        try:
            with no_memory_for(allocation):
                by_lane = receiver.receive()
        except MemoryError:
            failed = True
        got += together(by_lane)
    return got, failed


def counted(receiver: Any) -> dict[str, int]:
    """What it has counted so far."""
    return {
        name: getattr(receiver, name)
        for name in ("datagrams", "octets", "dropped_not_allowed", "dropped_no_memory", "dropped_bytes")
    }


def test_no_memory_in_a_queue() -> None:
    """Whichever allocation fails while a batch is put into a queue: each datagram is queued or shed, with its bytes, or
    the caller is told, and then none is."""
    number = queued = shed = raised = 0
    while number < 30 or not queued:
        assert number < ALLOCATIONS, "something fails, whatever it is"
        lane = Lane(0, Delivered(), Settings(queue=3), thread=SameThread)
        senders, datagrams = [ALICE] * 4, [b"%d" % each + b"." * 600 for each in range(4)]
        try:
            with no_memory_for(number):
                lane.put(senders, datagrams, 1.5e9 + number, 7.5 + number, False)
        except MemoryError:
            raised += 1
            assert (
                lane.queue_counters.queued,
                lane.queue_counters.dropped_queue_full,
                lane.queue_counters.dropped_queue_full_bytes,
            ) == (0, 0, 0)
        else:
            assert lane.queue_counters.queued + lane.queue_counters.dropped_queue_full == 4
            assert lane.queue_counters.dropped_queue_full_bytes == 601 * lane.queue_counters.dropped_queue_full
            queued += lane.queue_counters.queued == 3
            shed += lane.queue_counters.queued == 0
        assert lane.backlog == lane.queue_counters.queued
        run(lane)
        assert lane.counters.datagrams == lane.queue_counters.queued
        number += 1
    assert raised + shed


def test_no_memory_in_a_lane() -> None:
    """Whichever allocation fails in a worker's thread: each datagram that it took has one fate, or was skipped, with
    its bytes; and the next batch is served."""
    batch = [extended("a", seq=1), *fragments(extended("b" * 1500, seq=3)), b"text\n", b"", extended("c", seq=4)]
    number = skipped = new = 0
    while number < 50 or new:
        assert number < ALLOCATIONS, "something fails, whatever it is"
        delivered = Delivered()
        lane = Lane(0, delivered, Settings(), thread=SameThread, clock=lambda: 7.5)
        lane.put([ALICE] * len(batch), batch.copy(), 1.5e9, 7.5)
        with capturedLogs(), no_memory_for(number):
            lane._turn()
        lane.put([BOB], [b"more\n"], 1.5e9, 7.5)
        run(lane)
        counters = lane.counters
        assert counters.datagrams + counters.dropped_error == len(batch) + 1
        assert sum(getattr(counters, fate) for fate in DATAGRAM_OUTCOMES) == counters.datagrams
        assert counters.octets + counters.dropped_error_bytes == sum(map(len, batch)) + 5
        assert "more" in delivered.texts
        assert lane.backlog == 0
        new = counters.dropped_error
        skipped += new
        number += 1
    assert skipped > len(batch)


# What recvmmsg(2) answers. Each step is some datagrams to send, and the errors of the calls of the read behind them, 0
# being a real call.
CHILD = """
import ctypes, json, socket, sys
from netconsd.receive._recvmmsg import Receiver
shim = ctypes.CDLL(sys.argv[1])
ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
ours.bind(("127.0.0.1", 0))
theirs.connect(ours.getsockname())
receiver = Receiver(ours, 2, 4, 1)
said = []
for sent, errors in json.loads(sys.argv[2]):
    for each in sent:
        theirs.send(each.encode())
    shim.script((ctypes.c_int * len(errors))(*errors), len(errors))
    try:
        said.append([datagram.decode() for _, datagrams in receiver.receive() for datagram in datagrams])
    except OSError as error:
        said.append(error.errno)
print(json.dumps([said, receiver.datagrams, receiver.octets, receiver.dropped_no_memory]))
"""


def reads(directory: Path, *steps: tuple[str, list[int]]) -> Any:
    """What the compiled receiver returns or raises in each step, two datagrams per call; and what it has counted."""
    shim = compiled(SOURCES / "recvmmsg.c", directory)
    preload = ":".join(filter(None, (os.environ.get("LD_PRELOAD"), str(shim))))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(shim), json.dumps(steps)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LD_PRELOAD": preload},
        capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_cc
@needs_compiled
def test_an_interrupted_call_is_made_again(tmp_path: Path) -> None:
    """EINTR ends no read, neither before nor between its calls: not even at the end, when nobody reads again."""
    interrupted = [errno.EINTR, errno.EINTR, 0, errno.EINTR, 0]
    assert reads(tmp_path, ("abc", interrupted), ("", [errno.EINTR])) == [[["a", "b", "c"], []], 3, 3, 0]


@needs_cc
@needs_compiled
@pytest.mark.parametrize("error", [errno.ENOMEM, errno.ENOBUFS, errno.EBADF, errno.EIO, 4095])
def test_an_error_is_raised_when_what_came_before_was_returned(tmp_path: Path, error: int) -> None:
    """An error behind some datagrams loses none of them, and is not lost: the next read raises it; then all goes on."""
    steps: list[tuple[str, list[int]]]
    steps = [("abcde", [0, 0, error]), ("f", []), ("g", []), ("h", [error]), ("", [])]
    found = [["a", "b", "c", "d"], error, ["e", "f", "g"], error, ["h"]]
    assert reads(tmp_path, *steps) == [found, 8, 8, 0]


@needs_cc
@needs_compiled
def test_nothing_to_read_is_no_error(tmp_path: Path) -> None:
    """EAGAIN ends a read, whether it had anything or not."""
    assert reads(tmp_path, ("ab", [0, errno.EAGAIN]), ("", [errno.EAGAIN]), ("c", [])) == [
        [["a", "b"], [], ["c"]],
        3,
        3,
        0,
    ]
