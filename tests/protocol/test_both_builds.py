"""The compiled files behave like the same files in plain Python, for any datagrams."""

from __future__ import annotations

import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netconsd.build import COMPILED
from netconsd.protocol.legacy import FRAMINGS
from netconsd.protocol.window import ABSENT
from tests.support import traffic
from tests.support.compare_builds import AsImported, small_table, value, views
from tests.support.plain_build import HOT, PlainBuild
from tests.support.strategies import LEGACY, bodies, datagrams, numbers

if not COMPILED:
    pytest.skip("this build is plain Python: there is nothing to compare it with", allow_module_level=True)

plain = PlainBuild()


compiled: Any = AsImported()

KEY = traffic.KEYS[0]
# Py_TPFLAGS_HAVE_GC, of CPython's object.h.
HAVE_GC = 1 << 14


def counters(counters: Any) -> dict[str, int]:
    """Return all counters by name."""
    return {name: getattr(counters, name) for name in compiled.counters.COUNTERS}


def decode(build: Any, datagram: bytes) -> Any:
    """Return the decoded datagram of a build, or the text of its error."""
    try:
        return build.decode.decode(datagram, build.message.Source.from_key(KEY), 12.5)
    except build.decode.Malformed as error:
        return f"Malformed: {error}"


def test_the_builds_are_separate() -> None:
    """Each hot file is loaded compiled and in plain Python, and neither build uses the other."""
    assert {"protocol.decode", "protocol.message", "protocol.stream", "protocol.table"} <= set(HOT)
    for name in HOT:
        ours, theirs = getattr(compiled, name.split(".")[1]), getattr(plain, name.split(".")[1])
        assert str(ours.__file__).endswith(".so"), name
        assert str(theirs.__file__).endswith(".py"), name
        assert sys.modules[f"netconsd.{name}"] is ours
    assert plain.table.Stream is plain.stream.Stream is not compiled.stream.Stream
    assert plain.stream.decode is plain.decode.decode is not compiled.decode.decode


def test_constants_are_the_same() -> None:
    """The public constants that a hot file defines are attributes of both builds, with equal values."""
    for name in HOT:
        ours, theirs = getattr(compiled, name.split(".")[1]), getattr(plain, name.split(".")[1])
        defined = re.findall(r"^([A-Z][A-Z_]+)\b.* = ", Path(theirs.__file__).read_text(encoding="utf-8"), re.MULTILINE)
        assert {key: vars(ours)[key] for key in defined} == {key: vars(theirs)[key] for key in defined}, name


@given(st.one_of(datagrams, traffic.datagrams, st.sampled_from(LEGACY)))
@settings(max_examples=600)
def test_datagrams_are_decoded_alike(datagram: bytes) -> None:
    """Any datagram is the same message, fragment, error or legacy text in both builds."""
    ours, theirs = decode(compiled, datagram), decode(plain, datagram)
    assert value(ours) == value(theirs)
    if isinstance(ours, compiled.message.Message):
        assert views(ours) == views(theirs)


@given(st.one_of(bodies, st.binary(max_size=60)))
@settings(max_examples=500)
def test_bodies_and_lines_are_parsed_alike(raw: bytes) -> None:
    """Any body and any line has the same views in both builds."""
    header = 6, 1, 2, False, None, None, -1, False, False
    extended = [
        build.message.ExtendedMessage(build.message.Source.from_key(KEY), 1.5, raw, *header)
        for build in (compiled, plain)
    ]
    legacy = [build.message.LegacyMessage(build.message.Source.from_key(KEY), 1.5, raw) for build in (compiled, plain)]
    for ours, theirs in (extended, legacy):
        assert views(ours) == views(theirs)


@given(
    st.tuples(
        *(bodies, st.integers(0, 2047), numbers, numbers, st.booleans(), st.none() | st.just(b"T12")),
        *(st.none() | st.just(b"6.12"), st.integers(-1, 2**32 - 1), st.booleans(), st.booleans(), st.booleans()),
        *(st.booleans(), st.booleans(), numbers, st.integers(-1, 2**31)),
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
@settings(max_examples=200)
def test_pickles_cross_over(fields: tuple[Any, ...], protocol: int) -> None:
    """Each build unpickles the other build's messages to equal messages, with all fields."""
    ours, theirs = (
        build.message.ExtendedMessage(build.message.Source.from_key(KEY), 1.5, *fields) for build in (compiled, plain)
    )
    assert value(ours) == value(theirs)
    with plain.in_place():
        pickled = pickle.dumps(theirs, protocol)
        crossed = pickle.loads(pickle.dumps(theirs, protocol))
    assert crossed == theirs
    assert pickle.loads(pickled) == ours
    pickled = pickle.dumps(ours, protocol)
    with plain.in_place():
        assert pickle.loads(pickled) == theirs


class Side:
    """The table of senders of one build, and its visible state."""

    def __init__(self, build: Any, legacy_datagrams: bool = False, framing: str = "auto") -> None:
        self.counters = build.counters.WorkerCounters()
        self.table = small_table(build, self.counters, legacy_datagrams, framing)

    def feed(self, batch: list[tuple[bytes, bytes]], now: float, lag: float = 0.0) -> Any:
        """Advance to ``lag`` seconds before ``now``, feed a batch, and return the messages with their times."""
        out = []
        complete = now - lag
        while self.table.next_deadline() < complete:
            due = self.table.next_deadline()
            out.append((due, value(self.table.advance(due))))
        keys, each = [key for key, _ in batch], [each for _, each in batch]
        out.append((now, value(self.table.feed(keys, each, now + 5.0, now, complete))))
        return out

    def state(self) -> Any:
        """Return the visible state."""
        acks = [self.table.acknowledgement(key) for key in traffic.KEYS]
        return counters(self.counters), len(self.table), self.table.held_bytes, self.table.next_deadline(), acks


arrivals = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.05, 0.1, 0.2, 0.3, 1.0, 2.5]),
        st.lists(st.tuples(st.sampled_from(traffic.KEYS), st.one_of(traffic.datagrams, datagrams)), max_size=12),
    ),
    max_size=15,
)


@given(arrivals, st.booleans(), st.sampled_from(FRAMINGS), st.sampled_from([0.0, 0.2]))
@settings(max_examples=150)
def test_streams_are_alike(
    steps: list[tuple[float, list[tuple[bytes, bytes]]]], legacy_datagrams: bool, framing: str, lag: float
) -> None:
    """Both builds deliver the same messages at the same times, with the same counters, deadlines and costs, for any
    datagrams of several senders, with any pauses, late deadlines, and after the final flush."""
    ours, theirs = Side(compiled, legacy_datagrams, framing), Side(plain, legacy_datagrams, framing)
    now = 0.0
    for pause, batch in steps:
        now += pause
        assert ours.feed(batch, now, lag) == theirs.feed(batch, now, lag)
        assert ours.state() == theirs.state()
    assert value(ours.table.flush()) == value(theirs.table.flush())
    assert ours.state() == theirs.state()


@given(st.lists(st.tuples(st.floats(0, 4e9), st.one_of(traffic.datagrams, datagrams)), max_size=12))
@settings(max_examples=150)
def test_lines_of_a_log_are_alike(arrived: list[tuple[float, bytes]]) -> None:
    """Both builds write the same bytes to a log, for any messages."""
    logs = []
    for build in (compiled, plain):
        table = Side(build).table
        messages = [message for received_at, each in arrived for message in table.feed([KEY], [each], received_at, 0.0)]
        logs.append(build.lines.log_lines(messages + table.flush()))
    assert logs[0] == logs[1]


headers = st.one_of(
    st.tuples(numbers, numbers),
    st.tuples(st.integers(0, 40), st.integers(0, 3)),
    st.tuples(st.integers(0, 5000), st.sampled_from([0, 10_000_000, 10_000_001, 2**64 - 1])),
)
# The ends of the 32-bit range, and its middle.
msgids = st.sampled_from([0, 1, 2, 3, 2**31 - 1, 2**31, 2**31 + 1, 2**31 + 2, 2**32 - 1, 2**32])


@given(
    st.lists(
        st.tuples(headers, msgids, st.sampled_from([b"", b",ncemg=1"]), st.sampled_from([0.0, 0.01, 0.15, 0.3])),
        max_size=60,
    ),
    st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=150)
def test_numbers_are_alike(steps: list[tuple[tuple[int, int], int, bytes, float]], lag: float) -> None:
    """Both builds handle order, resets, duplicates, late and lost messages alike, for any sequence numbers and
    timestamps of 64 bits and any msgids, with emergencies and late deadlines."""
    ours, theirs = Side(compiled), Side(plain)
    now = 0.0
    for (seq, ts_usec), msgid, emergency, pause in steps:
        now += pause
        batch = [(KEY, b"6,%d,%d,-%b;x\n msgid=%d\n" % (seq, ts_usec, emergency, msgid))]
        assert ours.feed(batch, now, lag) == theirs.feed(batch, now, lag)
        assert ours.state() == theirs.state()


def test_messages_and_streams_are_not_garbage_collected() -> None:
    """The objects of senders and messages are not tracked by Python's garbage collector."""
    many = [compiled.message.Source, compiled.message.ExtendedMessage, compiled.message.LegacyMessage]
    many += [compiled.stream.Stream, compiled.window.Window, compiled.reorder.ReorderBuffer]
    assert [each for each in many if each.__flags__ & HAVE_GC] == []


@pytest.mark.parametrize("kind", [compiled.stream.Stream, compiled.window.Window])
def test_an_object_that_was_not_begun(kind: Any) -> None:
    """Without its constructor, an object has an empty window, and not the memory at address 0."""

    def empty() -> Any:
        return kind.__new__(kind)

    assert (empty().ts_usec(0), empty().missing_seqs()) == (ABSENT, [0])
    filled, advanced, restarted = empty(), empty(), empty()
    filled.fill(0, 7)
    advanced.advance(1, 7)
    restarted.restart(1, 7)
    assert [filled.ts_usec(0), advanced.ts_usec(1), restarted.ts_usec(1)] == [7, 7, 7]
    assert [advanced.ts_usec(0), restarted.ts_usec(0)] == [ABSENT, ABSENT]


def test_a_stream_takes_240_bytes() -> None:
    """With one more word, a stream of a million senders takes 16 bytes more: Python's allocator has no size between."""
    # Without the GIL, an object's head is larger.
    assert compiled.stream.Stream.__basicsize__ - object.__basicsize__ <= 240 - 16
