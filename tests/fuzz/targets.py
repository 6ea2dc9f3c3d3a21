"""What is fuzzed: each target takes any bytes, and raises if a build does what it must not, or two builds differ.

``python -m tests.fuzz`` finds bytes for them; tests/protocol/test_corpus.py tries those in tests/corpus with every run
of the tests. Those of :func:`streams` and :func:`reliable` are steps, parted by :data:`STEP`: an octet that says what
to do, and a datagram.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

from tests.support.compare_builds import value, views

#: No kernel sends this octet, so that what is found can be read.
STEP = b"\xfe"
PAUSES = (0.0, 0.0, 0.01, 0.1, 0.2, 0.3, 1.0, 11.0)
#: What :func:`steps` gives at most: more show nothing new, and take their time.
STEPS_LIMIT = 60

Builds = list[Any]
Target = Callable[[bytes], None]


def steps(data: bytes) -> Iterator[tuple[int, float, int, bytes]]:
    """Two bits, a pause in seconds, three bits, and the datagram, of each step."""
    for step in data.split(STEP)[:STEPS_LIMIT]:
        if step:
            yield step[0] & 3, PAUSES[step[0] >> 2 & 7], step[0] >> 5, step[1:]


def same(results: list[Any]) -> Any:
    """The result of all builds.

    :raises AssertionError: if they differ.
    """
    assert all(result == results[0] for result in results), results
    return results[0]


def wire(builds: Builds) -> Target:
    """A datagram: nothing but ``Malformed`` is raised, all that is read is within its bounds, and can be shown."""

    def read(build: Any, data: bytes) -> Any:
        try:
            found = build.decode.decode(data, build.message.Source(bytes(16), 6665), 12.5)
        except build.decode.Malformed as error:
            return str(error)
        if found is None:
            return views(build.message.LegacyMessage(build.message.Source(bytes(16), 6665), 12.5, data))
        message = getattr(found, "piece", found)
        assert 0 <= message.level <= 7 and 0 <= message.facility <= 255
        assert 0 <= message.seq < 2**64 and 0 <= message.ts_usec < 2**64
        assert message.msgid is None or 0 <= message.msgid < 2**32
        if message is not found:
            assert 0 < len(message.raw) <= found.total - found.offset <= build.decode.TOTAL_LIMIT
        return value(found), views(message)

    def target(data: bytes) -> None:
        same([read(build, data) for build in builds])

    return target


class Senders:
    """The table of one build, with bounds that are soon reached."""

    def __init__(self, build: Any, legacy_datagrams: bool = True) -> None:
        self.keys = [build.message.Source(bytes(15) + bytes([number]), 6665).key for number in range(4)]
        self.build = build
        self.counters = build.counters.WorkerCounters()
        self.table = build.table.SourceTable(
            self.counters,
            limit=3,
            reorder_time=0.2,
            gc_interval=1.0,
            age=2.0,
            held_limit=20_000,
            legacy_datagrams=legacy_datagrams,
        )
        self.fed = 0

    def feed(self, sender: int, datagrams: list[bytes], now: float) -> list[Any]:
        """What comes out until this time, and of these datagrams."""
        out = []
        while self.table.next_deadline() < now:
            out += self.table.advance(self.table.next_deadline())
        out += self.table.feed([self.keys[sender]] * len(datagrams), datagrams, 5.0, now)
        self.fed += len(datagrams)
        assert self.counters.datagrams == self.fed
        assert self.table.next_deadline() > now
        assert len(self.table) <= 3 and self.table.held_bytes <= 20_000
        return out

    def state(self) -> Any:
        """What can be seen at rest."""
        acks = [self.table.acknowledgement(key) for key in self.keys]
        assert all(ack is None or len(ack) <= self.build.acknowledgement.ACK_BYTES for ack in acks)
        counters = self.build.counters.total([self.counters])
        return counters, len(self.table), self.table.held_bytes, self.table.next_deadline(), acks

    def end(self) -> list[Any]:
        """What waits; and then everything is accounted for."""
        out: list[Any] = self.table.flush()
        inconsistencies = self.build.counters.inconsistencies
        assert inconsistencies(self.build.counters.total([self.counters])) == []
        assert self.counters.senders_new == self.counters.senders_expired + self.counters.senders_evicted + len(
            self.table
        )
        return out


def streams(builds: Builds) -> Target:
    """Four senders, whose datagrams come whole, in pieces in whatever order, and twice: every step does the same in
    each build, and in the end each datagram has one fate, and each message one origin."""

    def target(data: bytes) -> None:
        tables = [Senders(build) for build in builds]
        now = 1.0
        count = 0
        for sender, pause, way, datagram in steps(data):
            now += pause
            batch = in_pieces(builds[0], way, datagram)
            out = same([value(table.feed(sender, batch, now)) for table in tables])
            same([table.state() for table in tables])
            count += _messages(out)
        count += _messages(same([value(table.end()) for table in tables]))
        assert count == same([table.counters.messages for table in tables])

    return target


def in_pieces(build: Any, way: int, datagram: bytes) -> list[bytes]:
    """The datagrams that one becomes by these three bits."""
    pieces = [datagram]
    if way & 4:
        try:
            pieces = build.encode.fragments(datagram, 120)
        except ValueError:
            way = 2
    if way & 1:
        pieces = pieces[::-1]
    if way & 2:
        pieces = pieces * 2
    return pieces


def _messages(out: Any) -> int:
    return sum(name != "LegacyDatagram" for name, *_ in out[1])


def reliable(builds: Builds) -> Target:
    """Records and acknowledgements: no number of records, no acknowledgement and no time makes the sender keep more
    than it may, or send what is none of its records."""

    def run(build: Any, data: bytes) -> Any:
        sender = build.reliable.ReliableSender(slots=8)
        now = 1.0
        sent = []
        for kind, pause, way, datagram in steps(data):
            now += pause
            if kind == 0:
                sender.acknowledge(datagram, now)
            elif kind == 1:
                # Forged ones have to guess at numbers; here they are near.
                sender.acknowledge(b"ncrx%d %d" % (way, max(0, way - 2)), now)
            else:
                sender.add(datagram if kind == 2 else b"6,%d,%d,-;%b" % (way, way, datagram))
            found = build.reliable.read_acknowledgement(datagram)
            assert found is None or all(0 <= number < 2**64 for number in [found[0], *found[1]])
            out = sender.take(now)
            # All under way once more, and a probe.
            assert len(sender) <= 8 and len(out) <= 32 * (8 + 1)
            for each in out:
                assert build.decode.decode(each, build.message.Source(bytes(16), 0), 0.0) is not None
            sent += out
        counters = [sender.dropped, sender.refused]
        return sent, counters, sender.deadline, sender.emergency

    def target(data: bytes) -> None:
        same([run(build, data) for build in builds])

    return target


def native(builds: Builds) -> Target:
    """What compiled modules get of any messages: every text ends within its buffer, and each build hands over the same,
    in Python and in C."""
    ways = [(build, build.abi.hand_over) for build in builds]
    try:
        from netconsd.outputs._native import hand_over
    except ImportError:
        pass
    else:
        ways.append((builds[0], hand_over))

    def run(build: Any, hand_over: Any, data: bytes) -> Any:
        abi = build.abi
        got: list[Any] = []

        def handler(worker: int, src: Any, buf: Any, msg: Any) -> None:
            if buf:
                text = ctypes.string_at(buf[0].iovec.iov_base, buf[0].iovec.iov_len + 1)
                got.append((worker, bytes(src[0].s6_addr), text, buf[0].rcv_bytes, buf[0].rcv_flags))
                return
            fields = [getattr(msg[0], name) for name in _FIELDS]
            text = ctypes.string_at(msg[0].text, msg[0].text_len + 1)
            rest = ctypes.string_at(msg[0].dict, msg[0].dict_len + 1) if msg[0].dict else None
            got.append((worker, bytes(src[0].s6_addr), text, rest, fields))

        callback = abi._HANDLER(handler)
        address = ctypes.cast(callback, ctypes.c_void_p).value
        senders = Senders(build)
        messages = []
        now = 1.0
        for sender, pause, way, datagram in steps(data):
            now += pause
            # What is longer than modules take, too.
            messages += senders.feed(sender, in_pieces(build, way, datagram * (40 if way == 3 else 1)), now)
        messages += senders.end()
        messages = [message for message in messages if type(message).__name__ != "LegacyMessage"]
        cut = hand_over(address, 1, messages, 100.0)
        assert len(got) == len(messages)
        for _, _, text, rest, *_ in got:
            behind = rest if isinstance(rest, bytes) else b"\0"
            assert text.endswith(b"\0") and behind.endswith(b"\0")
            assert len(text) + len(behind) <= abi.BODY_MAX + 2
        return got, cut

    def target(data: bytes) -> None:
        same([run(build, hand_over, data) for build, hand_over in ways])

    return target


_FIELDS = (
    *("seq", "ts_usec", "text_len", "dict_len", "facility", "level", "cont_start", "cont", "oos", "seq_reset"),
    *("rx_at_mono", "rx_at_real", "ncfrag_off", "ncfrag_len", "ncfrag_left", "version", "emg"),
)

TARGETS: dict[str, Callable[[Builds], Target]] = {
    "wire": wire,
    "streams": streams,
    "reliable": reliable,
    "native": native,
}
#: What the targets use besides the hot files.
OTHERS = ("outputs.abi", "protocol.encode", "send.reliable")
