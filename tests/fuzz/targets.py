"""The targets of fuzzing: each takes any bytes, and raises if a build violates a rule or two builds differ.

``python -m tests.fuzz`` searches for such bytes; tests/protocol/test_corpus.py runs the inputs in tests/corpus.
The inputs of :func:`streams` and :func:`reliable` are steps, separated by :data:`STEP`: a byte with the action, and a
datagram.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

from netconsd.protocol.legacy import FRAMINGS
from tests.support.compare_builds import small_table, value, views

#: A byte that no kernel sends, so that inputs are readable.
STEP = b"\xfe"
PAUSES = (0.0, 0.0, 0.01, 0.1, 0.2, 0.3, 1.0, 11.0)
#: The most steps of an input: more take time without new coverage.
STEPS_LIMIT = 60

Builds = list[Any]
Target = Callable[[bytes], None]


def steps(data: bytes) -> Iterator[tuple[int, float, int, bytes]]:
    """Yield two bits, a pause in seconds, three bits, and the datagram, for each step."""
    for step in data.split(STEP)[:STEPS_LIMIT]:
        if step:
            yield step[0] & 3, PAUSES[step[0] >> 2 & 7], step[0] >> 5, step[1:]


def same(results: list[Any]) -> Any:
    """Return the result of all builds.

    :raises AssertionError: if they differ.
    """
    assert all(result == results[0] for result in results), results
    return results[0]


def wire(builds: Builds) -> Target:
    """A datagram: only ``Malformed`` is raised, every field is within its bounds, and every view works."""

    def read(build: Any, data: bytes) -> Any:
        try:
            decoded = build.decode.decode(data, build.message.Source(bytes(16), 6665), 12.5)
        except build.decode.Malformed as error:
            return str(error)
        if decoded is None:
            return views(build.message.LegacyMessage(build.message.Source(bytes(16), 6665), 12.5, data))
        message = getattr(decoded, "piece", decoded)
        assert 0 <= message.level <= 7 and 0 <= message.facility <= 255
        assert 0 <= message.seq < 2**64 and 0 <= message.ts_usec < 2**64
        assert message.msgid is None or 0 <= message.msgid < 2**32
        if message is not decoded:
            assert 0 < len(message.raw) <= decoded.total - decoded.offset <= build.decode.TOTAL_LIMIT
        return value(decoded), views(message)

    def target(data: bytes) -> None:
        same([read(build, data) for build in builds])

    return target


class Senders:
    """The table of one build, with low bounds."""

    def __init__(self, build: Any, legacy_datagrams: bool = True, framing: str = "auto") -> None:
        self.keys = [build.message.Source(bytes(15) + bytes([number]), 6665).key for number in range(4)]
        self.build = build
        self.counters = build.counters.WorkerCounters()
        self.table = small_table(build, self.counters, legacy_datagrams, framing)
        self.fed = 0

    def feed(self, sender: int, datagrams: list[bytes], now: float) -> list[Any]:
        """Return the messages up to this time and of these datagrams."""
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
        """Return the visible state."""
        acks = [self.table.acknowledgement(key) for key in self.keys]
        assert all(ack is None or len(ack) <= self.build.acknowledgement.ACK_BYTES for ack in acks)
        counters = self.build.counters.total([self.counters])
        return counters, len(self.table), self.table.held_bytes, self.table.next_deadline(), acks

    def end(self) -> list[Any]:
        """Return the held messages, and check the sums of the counters."""
        out: list[Any] = self.table.flush()
        inconsistencies = self.build.counters.inconsistencies
        assert inconsistencies(self.build.counters.total([self.counters])) == []
        assert self.counters.senders_new == self.counters.senders_expired + self.counters.senders_evicted + len(
            self.table
        )
        return out


def streams(builds: Builds) -> Target:
    """Four senders, whose datagrams arrive whole, in fragments, in any order, and twice: every step does the same in
    each build; in the end each datagram has one outcome, and each message one origin. The number of bytes of the input
    chooses the framing."""

    def target(data: bytes) -> None:
        tables = [Senders(build, framing=FRAMINGS[len(data) % len(FRAMINGS)]) for build in builds]
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
    """Return the datagrams of one datagram, by three bits: fragmented, twice, reversed."""
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
    """Records and acknowledgements: the sender never keeps more records than its limit, and sends only its records."""

    def run(build: Any, data: bytes) -> Any:
        sender = build.reliable.ReliableSender(slots=8)
        now = 1.0
        sent = []
        for kind, pause, way, datagram in steps(data):
            now += pause
            if kind == 0:
                sender.acknowledge(datagram, now)
            elif kind == 1:
                # Forged acknowledgements must guess the numbers; these are near.
                sender.acknowledge(b"ncrx%d %d" % (way, max(0, way - 2)), now)
            else:
                sender.add(datagram if kind == 2 else b"6,%d,%d,-;%b" % (way, way, datagram))
            numbers = build.reliable.read_acknowledgement(datagram)
            assert numbers is None or all(0 <= number < 2**64 for number in [numbers[0], *numbers[1]])
            out = sender.take(now)
            # All unacknowledged records again, and a probe.
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
    """Compiled modules, called with any messages: every text ends within its buffer, and each build passes the same
    fields, in Python and in C."""
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
            # Sometimes longer than compiled modules expect.
            messages += senders.feed(sender, in_pieces(build, way, datagram * (40 if way == 3 else 1)), now)
        messages += senders.end()
        messages = [message for message in messages if type(message).__name__ != "LegacyMessage"]
        truncated = hand_over(address, 1, messages, 100.0)
        assert len(got) == len(messages)
        for _, _, text, rest, *_ in got:
            rest_or_nul = rest if isinstance(rest, bytes) else b"\0"
            assert text.endswith(b"\0") and rest_or_nul.endswith(b"\0")
            assert len(text) + len(rest_or_nul) <= abi.BODY_MAX + 2
        return got, truncated

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
#: The modules that the targets use in addition to the hot files.
OTHERS = ("outputs.abi", "protocol.encode", "send.reliable")
