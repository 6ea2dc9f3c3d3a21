"""The messages of several receivers as one stream: second copies are dropped, gaps are filled. Hot.

A machine can send to two receivers (two netconsole targets, docs/two-receivers). *Copies* are the messages that
different receivers made of one record. *The others* are the receivers that hear the same host.

1. **Identity.** A record is a copy of one that another receiver had, with the same address, seq and timestamp, of the
   last :data:`~netconsd.protocol.seen.WINDOW` seqs. At the timestamp 0 the text is compared instead, and both must have
   been received within :data:`NEAR_SECONDS`, because the first records of all boots are equal. Ports are not compared:
   a target has its own. The interface of a link-local address is not compared either: its number is the receiver's.
2. **Each copy is used once.** A record that one receiver has twice (a buffer that is sent again) is handed on as often
   as the receiver that has it most often.
3. **Legacy lines** have no seq. A line is a copy of the earliest line with the same bytes that another receiver had
   within :data:`NEAR_SECONDS` and that is not used. Equal lines of one receiver are all handed on, and lines are not
   put in order. A record and a line are never copies.
4. **Order.** A record that follows the last one is handed on at once. One behind a gap waits until the others have
   passed it, at most ``hold`` seconds. So does an incomplete record, until the whole one of another receiver replaces
   it. Nothing waits for a receiver that is away: it has been behind by :data:`BEHIND_MESSAGES` for
   :data:`BEHIND_SECONDS`. Nothing waits if msgid shows that nothing was lost.
5. **Marks.** ``missing``, ``lost``, ``likely_lost`` and ``out_of_order`` are those of the merged stream: a gap that
   another receiver fills is none. A record that comes after its place was passed is handed on, marked ``out_of_order``;
   so is a whole record after the incomplete one.
6. **Boot.** ``boot`` and ``seq_reset`` of one receiver begin a run, for which the others are waited for as in a gap. A
   receiver joins the run if the time of receipt minus the timestamp is a time of boot that is possible for it, and the
   seq is near. The first record of a run has the marks of all that joined; other records have none of ``boot``,
   ``new`` and ``seq_reset``: the restart of one receiver is no news of the host.
7. **One receiver.** Messages of a host that only one receiver hears are handed on unchanged, at once; so are those
   before the first one of a second receiver.
8. **Missed.** A record that a receiver did not have :data:`MISSED_SECONDS` after another one had it, or that leaves the
   window before, is missed by it, if it hears the host: it had a message before in this run or in the run before, and
   at most :data:`HEARS_SECONDS` ago. A copy that comes after that is ``late``.

The state is in memory. What another process handed on is unknown here: after a handover, copies come twice if their
first copy was handed on before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Final, NamedTuple
from zlib import crc32

from netconsd.protocol import octets
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, Message, Source, without_scope
from netconsd.protocol.reorder import ReorderBuffer
from netconsd.protocol.seen import ABSENT, WINDOW, Seen

#: Seconds that a record behind a gap waits for the other receivers: their batch (``batch_seconds``, 1 s), a retry, and
#: the way through the broker.
HOLD_SECONDS: Final = 3.0
#: A receiver is away if it did not have this many messages of the host in a row, for this many seconds. One message is
#: not enough: it can lose the last one before a silence.
BEHIND_MESSAGES: Final = 16
BEHIND_SECONDS: Final = 10.0
#: Seconds between the receipts of two copies: the difference of the receivers' clocks, and of the ways.
NEAR_SECONDS: Final = 2.0
#: Seconds after which a copy that has not come is missed: the longest pause between two tries of a stream.
MISSED_SECONDS: Final = 60.0
#: Seconds after which a receiver that had no message of a host is no longer one of its receivers.
HEARS_SECONDS: Final = 3600.0
#: Legacy lines of a host that are remembered.
LINES_LIMIT: Final = 256
#: Runs of a host that are remembered: its boot, the one before, and some of other machines at the address.
RUNS_LIMIT: Final = 4
#: Pairs of a port and a receiver that are remembered at an address.
HEARINGS_LIMIT: Final = 32
#: Receivers of one host: each has a bit of a byte, and the last bit is _INCOMPLETE.
HOST_RECEIVERS_LIMIT: Final = 7
#: Receivers whose counters are kept.
RECEIVERS_LIMIT: Final = 256
#: Bytes for all hosts together: 20,000 hosts with full windows, or 200,000 that are quiet.
MEMORY_LIMIT: Final = 256 * 1024 * 1024
#: Bytes of all held messages with their objects; above, those held longest are handed on.
HELD_BYTES_LIMIT: Final = 64 * 1024 * 1024
#: The pairs of host and receiver whose missed messages are counted; beyond, the pair with the fewest is forgotten.
MISSED_LIMIT: Final = 1024

_NEVER = float("inf")
# No kernel counts that far. A forged record above is handed on, and never dropped as a copy.
_SEQ_LIMIT = 1 << 63
# Above all timestamps that are real.
_ZERO_STAMP = 1 << 63
_INCOMPLETE = 0x80
# Bytes: objects, list and dict entries, measured on CPython 3.11.
_HOST_BYTES = 800
_HEARING_BYTES = 300
_RUN_BYTES = 800
_SLOT_BYTES = 10
_LINE_BYTES = 320

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(BEHIND_MESSAGES=BEHIND_MESSAGES, BEHIND_SECONDS=BEHIND_SECONDS, NEAR_SECONDS=NEAR_SECONDS)


def stamp_of(message: ExtendedMessage) -> int:
    """Return the timestamp; in its place a hash of the text if it is 0, as in the first records of every boot.

    Only the text: userdata and msgid belong to the target, and the other target of the machine has its own.
    """
    if message._ts_usec:
        return message._ts_usec
    raw = message._raw
    end = octets.find(raw, 10, 0)
    return _ZERO_STAMP | crc32(raw if end < 0 else raw[:end])


class MissedOfHost(NamedTuple):
    """The messages of one host that one receiver missed."""

    address: str
    receiver: bytes
    missed: int


@dataclass(slots=True)
class Heard:
    """The counters of one receiver."""

    receiver: bytes
    #: Messages that were taken.
    messages: int = 0
    #: Second copies that were dropped.
    copies: int = 0
    #: Messages that another receiver had and this one had not, and those of them that came later.
    missed: int = 0
    late: int = 0
    #: Records that came whole after an incomplete copy was handed on, which are handed on as well.
    completed: int = 0
    #: The ``now`` of the last call with its messages.
    heard_at: float = 0.0
    #: Unix time in seconds at which it received the last of these messages, by its clock; 0 before.
    received_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of :class:`Copies`."""

    #: In the order in which they were first heard; copies of the counters.
    receivers: list[Heard]
    #: Messages handed on, and those that wait now. ``messages`` of all receivers are ``handed_on + held + copies``.
    handed_on: int
    held: int
    #: Hosts that are remembered, those forgotten because of MEMORY_LIMIT, and the approximate bytes.
    hosts: int
    forgotten: int
    cost: int
    #: The hosts with the most missed messages first.
    most_missed: list[MissedOfHost]
    #: The names of receivers that have one; :class:`Copies` knows none.
    names: dict[bytes, str] = field(default_factory=dict)


def together(summaries: Iterable[Summary], most: int = 20) -> Summary:
    """Return the sum of several summaries: each partition of a broker has a :class:`Copies` of its own."""
    parts = list(summaries)
    receivers: dict[bytes, Heard] = {}
    for each in (heard for part in parts for heard in part.receivers):
        heard = receivers.setdefault(each.receiver, Heard(each.receiver))
        heard.messages += each.messages
        heard.copies += each.copies
        heard.missed += each.missed
        heard.late += each.late
        heard.completed += each.completed
        heard.heard_at = max(heard.heard_at, each.heard_at)
        heard.received_at = max(heard.received_at, each.received_at)
    hosts = sorted((host for part in parts for host in part.most_missed), key=lambda host: -host.missed)
    return Summary(
        sorted(receivers.values(), key=lambda heard: heard.receiver),
        sum(part.handed_on for part in parts),
        sum(part.held for part in parts),
        sum(part.hosts for part in parts),
        sum(part.forgotten for part in parts),
        sum(part.cost for part in parts),
        hosts[:most],
    )


class Hearing:
    """One receiver's place in the runs of one sender."""

    __slots__ = (
        *(
            "away_since",
            "behind",
            "behind_since",
            "bit",
            "first_run",
            "first_seq",
            "heard",
            "heard_at",
            "lines_since",
            "passed",
            "run",
        ),
    )

    def __init__(self, heard: Heard, bit: int) -> None:
        self.heard = heard
        self.bit = bit
        self.run: Run | None = None
        #: The highest seq of ``run`` that it had.
        self.passed = 0
        #: Since when another receiver had more, _NEVER if none has; and how many messages, since it had one.
        self.behind_since = _NEVER
        self.behind = 0
        #: Since when these are BEHIND_MESSAGES.
        self.away_since = _NEVER
        #: Before this record it did not hear the host.
        self.first_run: Run | None = None
        self.first_seq = 0
        self.heard_at = 0.0
        #: When its first legacy line was taken; _NEVER before.
        self.lines_since = _NEVER


class Run:
    """A sequence of records of one host."""

    __slots__ = (
        *("begun", "boot", "boot_time", "deadline", "decided", "first_received", "hearings", "held", "host"),
        *("last_received", "mark", "new", "number", "reset", "seen", "top"),
    )

    def __init__(self, host: Host, number: int, message: ExtendedMessage, seen: Seen) -> None:
        self.host = host
        #: Greater for later runs.
        self.number = number
        self.seen = seen
        #: Whether a record was handed on, and the highest seq of those.
        self.begun = False
        self.top = 0
        #: Marks for the first record.
        self.boot = message._boot
        self.new = message._new
        self.reset = message._seq_reset
        #: Those that hear it, and those that heard the run before it: one of each receiver.
        self.hearings: list[Hearing] = []
        self.held: ReorderBuffer | None = None
        #: That of its entry in the schedule of held messages; _NEVER for none.
        self.deadline = _NEVER
        self.first_received = message._received_at
        self.last_received = message._received_at
        self.boot_time = message._received_at - message._ts_usec / 1e6
        #: Records below this seq are decided: missed or not. Those below ``mark`` will be.
        self.decided = message._seq
        self.mark = message._seq


class Line:
    """A legacy line that was handed on."""

    __slots__ = ("had", "key", "now", "received_at")

    def __init__(self, key: tuple[bool, bytes], received_at: float, now: float, had: int) -> None:
        self.key = key
        self.received_at = received_at
        self.now = now
        self.had = had


class Host:
    """An address."""

    __slots__ = ("bits", "cost", "heard_at", "hearings", "key", "line_order", "lines", "pending", "runs")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.heard_at = 0.0
        #: Oldest first.
        self.runs: list[Run] = []
        #: By receiver and port.
        self.hearings: dict[bytes, Hearing] = {}
        #: The bit of each receiver.
        self.bits: dict[bytes, int] = {}
        self.lines: dict[tuple[bool, bytes], list[Line]] = {}
        self.line_order: deque[Line] = deque()
        self.cost = _HOST_BYTES
        #: Whether it is in the queue of hosts with undecided records.
        self.pending = False


def _silent_longest(hearings: dict[bytes, Hearing]) -> bytes:
    return min(hearings, key=lambda name: hearings[name].heard_at)


class Copies:
    """Merges the messages of several receivers. For one thread; no message raises."""

    def __init__(
        self, hold: float = HOLD_SECONDS, memory: int = MEMORY_LIMIT, held_bytes: int = HELD_BYTES_LIMIT
    ) -> None:
        """
        :param hold: the longest time in seconds that a message waits for another receiver; 0 for none.
        :param memory: the bytes for the state of hosts; beyond, those silent longest are forgotten.
        :param held_bytes: as :data:`HELD_BYTES_LIMIT`, which is for all partitions of a processor together.
        """
        self._hold = hold
        self._held_limit = held_bytes
        self._memory = memory
        self._hosts: dict[bytes, Host] = {}
        self._heard: dict[bytes, Heard] = {}
        self._runs = 0
        self._cost = 0
        self._held = 0
        self._held_bytes = 0
        self._handed_on = 0
        self._forgotten = 0
        # (deadline, number, run), one for each run that holds messages, and the time at which it began to.
        self._holding: list[tuple[float, int, Run]] = []
        # (when, host) of hosts with records that are not decided, in order.
        self._undecided: deque[tuple[float, Host]] = deque()
        self._missed: dict[tuple[bytes, bytes], int] = {}

    def take(self, receiver: bytes, messages: list[Message], now: float) -> list[Message]:
        """Return the messages to hand on, in order; also earlier ones whose time is over.

        The marks of messages are changed in place (rules 4 to 6).

        :param receiver: the identity of the receiver.
        :param messages: of any hosts, in the order in which the receiver delivered them.
        :param now: monotonic seconds.
        """
        out: list[Message] = []
        self._expire(now, out)
        heard = self._receiver(receiver)
        heard.messages += len(messages)
        heard.heard_at = now
        if messages:
            heard.received_at = messages[-1].received_at
        source: Source | None = None
        host: Host | None = None
        hearing: Hearing | None = None
        for message in messages:
            if host is None or hearing is None or message._source is not source:
                source = message._source
                host, hearing = self._hearing(heard, source.key, now, out)
            if isinstance(message, ExtendedMessage):
                self._take_record(host, hearing, message, now, out)
            else:
                self._take_line(host, hearing, message, now, out)
        if self._cost > self._memory:
            self._forget(out)
        self._handed_on += len(out)
        return out

    def flush(self, now: float = _NEVER) -> list[Message]:
        """Return the held messages whose time is over; all of them without ``now``: at a stop."""
        out: list[Message] = []
        self._expire(now, out)
        self._handed_on += len(out)
        return out

    def deadline(self) -> float:
        """Return the time at which :meth:`flush` is to be called; infinite if nothing is held."""
        return self._longest_held().deadline if self._held else _NEVER

    def oldest(self) -> float:
        """Return the ``now`` of the earliest :meth:`take` of which a message may be held; infinite if none is.

        A block that was taken before is handed on whole, and can be acknowledged when the modules have it.
        """
        return self.deadline() - self._hold

    def summary(self, most: int = 20) -> Summary:
        """Return the state.

        :param most: the hosts in ``most_missed``.
        """
        hosts = sorted(self._missed.items(), key=lambda item: -item[1])[:most]
        return Summary(
            [replace(each) for each in list(self._heard.values())],
            self._handed_on,
            self._held,
            len(self._hosts),
            self._forgotten,
            self._cost,
            [
                MissedOfHost(Source.from_key(key + bytes(2)).address, receiver, count)
                for (key, receiver), count in hosts
            ],
        )

    # Receivers and hosts.

    def _receiver(self, receiver: bytes) -> Heard:
        heard = self._heard.get(receiver)
        if heard is None:
            if len(self._heard) >= RECEIVERS_LIMIT:
                oldest = min(self._heard.values(), key=lambda each: each.heard_at)
                del self._heard[oldest.receiver]
            heard = self._heard[receiver] = Heard(receiver)
        return heard

    def _hearing(self, heard: Heard, key: bytes, now: float, out: list[Message]) -> tuple[Host, Hearing]:
        address = without_scope(key[:16])
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = Host(address)
            self._cost += host.cost
        name = heard.receiver + key
        hearing = host.hearings.get(name)
        if hearing is None or hearing.heard is not heard:
            bit = host.bits.get(heard.receiver)
            if bit is None:
                if len(host.bits) >= HOST_RECEIVERS_LIMIT:
                    # Receivers that were replaced one after the other: the window of the host begins again.
                    self._remove(host, out)
                    return self._hearing(heard, key, now, out)
                bit = host.bits[heard.receiver] = 1 << len(host.bits)
            if len(host.hearings) >= HEARINGS_LIMIT:
                # A host that sends from a port of its own for each message.
                self._forget_hearing(host, _silent_longest(host.hearings))
            if name not in host.hearings:
                self._charge(host, _HEARING_BYTES)
            hearing = host.hearings[name] = Hearing(heard, bit)
        host.heard_at = hearing.heard_at = now
        return host, hearing

    def _forget(self, out: list[Message]) -> None:
        """Forget the hosts silent longest, a tenth more than needed, so that sorting is rare."""
        for host in sorted(self._hosts.values(), key=lambda each: each.heard_at):
            if self._cost <= self._memory - self._memory // 10:
                break
            self._remove(host, out)
            self._forgotten += 1

    def _remove(self, host: Host, out: list[Message]) -> None:
        for run in list(host.runs):
            self._remove_run(host, run, out)
        while host.line_order:
            self._remove_line(host)
        host.pending = False
        del self._hosts[host.key]
        self._cost -= host.cost

    def _forget_hearing(self, host: Host, name: bytes) -> None:
        hearing = host.hearings.pop(name)
        self._charge(host, -_HEARING_BYTES)
        for run in host.runs:
            if hearing in run.hearings:
                run.hearings.remove(hearing)

    # Records.

    def _take_record(
        self, host: Host, hearing: Hearing, message: ExtendedMessage, now: float, out: list[Message]
    ) -> None:
        seq = message._seq
        if seq >= _SEQ_LIMIT:
            out.append(message)
            return
        stamp = stamp_of(message)
        run = self._found(host, hearing, message, stamp)
        if run is not None:
            self._second(hearing, run, message, now, out)
            return
        run = self._run_of(host, hearing, message, now, out)
        self._join(hearing, run, seq, now, out)
        self._put(run, hearing, message, stamp)
        self._pass(hearing, run, seq, now)
        if len(run.hearings) == 1 and run.held is None:
            if not run.begun or seq > run.top:
                run.begun = True
                run.top = seq
            out.append(message)
            return
        self._await_decision(host, now)
        for other in run.hearings:
            if not self._has_passed(other, run, seq):
                other.behind += 1
                if other.behind == BEHIND_MESSAGES:
                    other.away_since = now
                if other.behind_since == _NEVER:
                    other.behind_since = now
        late = run.begun and seq <= run.top
        if late or (run.held is None and (self._follows(run, message) or not self._waits(run, message, now))):
            self._hand_on(run, message, out)
        else:
            self._keep(run, message, now, out)
            self._release(run, now, out)

    def _found(self, host: Host, hearing: Hearing, message: ExtendedMessage, stamp: int) -> Run | None:
        """Return the run in which another receiver had the record, and this one not."""
        own = hearing.run
        if own is not None and self._is_copy(own, hearing, message, stamp):
            return own
        index = len(host.runs)
        while index:
            index -= 1
            run = host.runs[index]
            if run is not own and self._is_copy(run, hearing, message, stamp):
                return run
        return None

    def _is_copy(self, run: Run, hearing: Hearing, message: ExtendedMessage, stamp: int) -> bool:
        seen = run.seen
        place = seen.place(message._seq)
        if place < 0 or seen.stamp(message._seq) != stamp or seen.had[place] & hearing.bit:
            return False
        return message._ts_usec != 0 or abs(run.first_received - message._received_at) <= NEAR_SECONDS

    def _second(self, hearing: Hearing, run: Run, message: ExtendedMessage, now: float, out: list[Message]) -> None:
        """Take a record that another receiver had."""
        seq = message._seq
        seen = run.seen
        place = seen.place(seq)
        completes = seen.had[place] & _INCOMPLETE and not message._incomplete
        seen.had[place] |= hearing.bit
        if completes:
            seen.had[place] &= ~_INCOMPLETE & 0xFF
        if seen.missed[place] & hearing.bit:
            seen.missed[place] &= ~hearing.bit & 0xFF
            hearing.heard.late += 1
        self._join(hearing, run, seq, now, out)
        self._pass(hearing, run, seq, now)
        if not run.begun:
            run.boot = run.boot or message._boot
            run.reset = run.reset or message._seq_reset
            run.new = run.new and message._new
        held = run.held.get(seq) if run.held is not None else None
        if completes and held is None:
            hearing.heard.completed += 1
            self._hand_on(run, message, out)
        else:
            hearing.heard.copies += 1
            if completes and held is not None and run.held is not None:
                more = len(message._raw) - len(held._raw)
                run.held.cost += more
                self._held_bytes += more
                held._raw = message._raw
                held._msgid = message._msgid
                held._incomplete = False
        if run.held is not None:
            self._release(run, now, out)

    def _run_of(self, host: Host, hearing: Hearing, message: ExtendedMessage, now: float, out: list[Message]) -> Run:
        """Return the run of a record that no other receiver had."""
        own = hearing.run
        if own is not None and not message._seq_reset and not message._boot:
            return own
        index = len(host.runs)
        while index:
            index -= 1
            run = host.runs[index]
            if run is own and message._boot:
                break
            if (run is not own or message._seq > hearing.passed) and self._fits(run, message):
                if not run.begun:
                    run.boot = run.boot or message._boot
                    run.reset = run.reset or message._seq_reset
                    run.new = run.new and message._new
                return run
        return self._begin(host, own, message, now, out)

    def _fits(self, run: Run, message: ExtendedMessage) -> bool:
        """Return true if a record can be of the same boot as a run, near its last records."""
        if message._replayed:
            return False
        seq = message._seq
        top = run.seen.top
        if (seq - top if seq > top else top - seq) >= WINDOW or run.seen.stamp(seq) != ABSENT:
            return False
        # As the protocol finds a boot (netconsd.protocol.stream, rule 5): the time of boot is not later than the last
        # record before it, and at most as early as that of any record, because a record can wait in a buffer.
        boot_time = message._received_at - message._ts_usec / 1e6
        return run.boot_time - NEAR_SECONDS <= boot_time <= run.last_received + NEAR_SECONDS / 2

    def _begin(self, host: Host, before: Run | None, message: ExtendedMessage, now: float, out: list[Message]) -> Run:
        while len(host.runs) >= RUNS_LIMIT:
            self._remove_run(host, host.runs[0], out)
        self._runs += 1
        run = Run(host, self._runs, message, Seen(message._seq))
        if before is not None:
            run.hearings = list(before.hearings)
        host.runs.append(run)
        self._charge(host, _RUN_BYTES + run.seen.size() * _SLOT_BYTES)
        return run

    def _remove_run(self, host: Host, run: Run, out: list[Message]) -> None:
        self._drain(run, out)
        self._decide(run, run.seen.top + 1)
        host.runs.remove(run)
        for hearing in host.hearings.values():
            if hearing.run is run:
                hearing.run = None
        self._charge(host, -_RUN_BYTES - run.seen.size() * _SLOT_BYTES)

    def _charge(self, host: Host, cost: int) -> None:
        host.cost += cost
        self._cost += cost

    def _put(self, run: Run, hearing: Hearing, message: ExtendedMessage, stamp: int) -> None:
        seq = message._seq
        seen = run.seen
        if run.last_received < message._received_at:
            run.last_received = message._received_at
        boot_time = message._received_at - message._ts_usec / 1e6
        if boot_time < run.boot_time:
            run.boot_time = boot_time
        if seq >= WINDOW and run.decided <= seq - WINDOW:
            # These leave the window.
            self._decide(run, seq - WINDOW + 1)
        if run.decided > seq:
            run.decided = seq
        size = seen.size()
        had = hearing.bit | _INCOMPLETE if message._incomplete else hearing.bit
        seen.put(seq, stamp, had)
        if seen.size() != size:
            self._charge(run.host, (seen.size() - size) * _SLOT_BYTES)

    def _join(self, hearing: Hearing, run: Run, seq: int, now: float, out: list[Message]) -> None:
        """Have a receiver hear a run."""
        before = hearing.run
        if before is run:
            return
        hearing.run = run
        hearing.passed = 0
        if hearing.first_run is None:
            hearing.first_run = run
            hearing.first_seq = seq
        for index, each in enumerate(run.hearings):
            if each.bit == hearing.bit:
                run.hearings[index] = hearing
                break
        else:
            run.hearings.append(hearing)
            if len(run.hearings) > 1:
                self._await_decision(run.host, now)
        if before is not None and before.held is not None:
            self._release(before, now, out)

    def _pass(self, hearing: Hearing, run: Run, seq: int, now: float) -> None:
        if seq > hearing.passed:
            hearing.passed = seq
        if seq < hearing.first_seq and hearing.first_run is run:
            hearing.first_seq = seq
        hearing.behind_since = _NEVER if hearing.passed >= run.seen.top else now
        hearing.away_since = _NEVER
        hearing.behind = 0

    def _has_passed(self, hearing: Hearing, run: Run, seq: int) -> bool:
        """Return true if a receiver had the record, or a later one."""
        current = hearing.run
        if current is run:
            return hearing.passed >= seq
        return current is not None and current.number > run.number

    # Order.

    def _follows(self, run: Run, message: ExtendedMessage) -> bool:
        """Return true if nothing is missing before a record."""
        if not run.begun or message._incomplete:
            return False
        return message._seq - run.top == 1 or (message._lost == 0 and not message._seq_reset)

    def _waits(self, run: Run, message: ExtendedMessage, now: float) -> bool:
        """Return true if another receiver may have a record before this one."""
        if self._hold <= 0:
            return False
        for other in run.hearings:
            if now - other.away_since < BEHIND_SECONDS and not self._has_passed(other, run, message._seq):
                return True
        return False

    def _hand_on(self, run: Run, message: ExtendedMessage, out: list[Message]) -> None:
        out.append(message)
        seq = message._seq
        first = not run.begun
        late = not first and seq <= run.top
        gap = 0 if first or late else seq - run.top - 1
        if not late:
            run.begun = True
            run.top = seq
        if len(run.hearings) == 1:
            return
        message._boot = first and run.boot
        message._new = first and run.new
        message._seq_reset = first and run.reset
        message._out_of_order = late
        if first:
            return
        if message._lost > 0:
            most = gap
            message._lost = min(max(message._lost - self._filled(run, message), 0), most)
        message._missing = gap
        if message._likely_lost > gap:
            message._likely_lost = gap

    def _filled(self, run: Run, message: ExtendedMessage) -> int:
        """Return the number of records that others had where the receiver of this one had a gap."""
        seq = message._seq
        first = max(run.seen.lowest(), seq - min(seq, message._missing))
        found = 0
        number = first
        while number < seq:
            if run.seen.stamp(number) != ABSENT:
                found += 1
            number += 1
        return found

    def _keep(self, run: Run, message: ExtendedMessage, now: float, out: list[Message]) -> None:
        """Hold a record."""
        held = run.held
        if held is None:
            held = run.held = ReorderBuffer()
            run.deadline = now + self._hold
            heappush(self._holding, (run.deadline, run.number, run))
        if held.get(message._seq) is not None:
            # A forged record: it has the seq of another one.
            self._hand_on(run, message, out)
            return
        before = held.cost
        held.add(message, now + self._hold)
        self._held += 1
        self._held_bytes += held.cost - before
        while held.is_over_limit():
            self._pop(run, out)
        while self._held_bytes > self._held_limit:
            self._drain(self._longest_held(), out)

    def _longest_held(self) -> Run:
        while True:
            deadline, _, run = self._holding[0]
            if run.deadline == deadline:
                return run
            heappop(self._holding)

    def _pop(self, run: Run, out: list[Message]) -> None:
        """Hand on the lowest held record."""
        held = run.held
        assert held is not None, "the caller looked"
        before = held.cost
        message = held.pop()
        if not held.count():
            run.held = None
            run.deadline = _NEVER
        self._held -= 1
        self._held_bytes += held.cost - before
        self._hand_on(run, message, out)

    def _release(self, run: Run, now: float, out: list[Message]) -> None:
        """Hand on the held records that nothing is waited for any more."""
        while run.held is not None:
            message = run.held.lowest()
            late = run.begun and message._seq <= run.top
            if not late and not self._follows(run, message) and self._waits(run, message, now):
                break
            self._pop(run, out)

    def _drain(self, run: Run, out: list[Message]) -> None:
        while run.held is not None:
            self._pop(run, out)

    def _expire(self, now: float, out: list[Message]) -> None:
        """Hand on the held records whose time is over, and decide which records were missed."""
        while self._holding and self._holding[0][0] <= now:
            deadline, number, run = heappop(self._holding)
            held = run.held
            if held is None or run.deadline != deadline:
                continue
            expired = held.expire(now)
            while run.held is not None and run.held.lowest()._seq <= expired:
                self._pop(run, out)
            self._release(run, now, out)
            if run.held is not None:
                run.deadline = held.deadline
                heappush(self._holding, (held.deadline, number, run))
        while self._undecided and self._undecided[0][0] <= now - MISSED_SECONDS and now != _NEVER:
            self._decide_host(self._undecided.popleft()[1], now)

    # Missed messages.

    def _await_decision(self, host: Host, now: float) -> None:
        if not host.pending:
            host.pending = True
            self._undecided.append((now, host))

    def _decide_host(self, host: Host, now: float) -> None:
        if not host.pending:
            return
        for name, hearing in list(host.hearings.items()):
            if hearing.behind_since < now - HEARS_SECONDS:
                self._forget_hearing(host, name)
        more = False
        for run in host.runs:
            self._decide(run, run.mark)
            run.mark = run.seen.top + 1
            more = more or (run.decided < run.mark and len(run.hearings) > 1)
        while host.line_order and host.line_order[0].now <= now - MISSED_SECONDS:
            self._remove_line(host)
        host.pending = more or bool(host.line_order)
        if host.pending:
            self._undecided.append((now, host))

    def _decide(self, run: Run, end: int) -> None:
        """Count the records below a seq that receivers missed."""
        seen = run.seen
        if len(run.hearings) > 1:
            seq = max(run.decided, seen.lowest())
            end_here = min(end, seen.top + 1)
            while seq < end_here:
                place = seen.place(seq)
                if seen.stamp(seq) != ABSENT:
                    for hearing in run.hearings:
                        if (seen.had[place] | seen.missed[place]) & hearing.bit:
                            continue
                        if hearing.first_run is not run or seq >= hearing.first_seq:
                            seen.missed[place] |= hearing.bit
                            self._count_missed(run.host, hearing.heard)
                seq += 1
        if end > run.decided:
            run.decided = end

    def _count_missed(self, host: Host, heard: Heard) -> None:
        heard.missed += 1
        pair = (host.key, heard.receiver)
        if pair not in self._missed and len(self._missed) >= MISSED_LIMIT:
            del self._missed[min(self._missed, key=lambda each: self._missed[each])]
        self._missed[pair] = self._missed.get(pair, 0) + 1

    # Legacy lines.

    def _take_line(self, host: Host, hearing: Hearing, message: Message, now: float, out: list[Message]) -> None:
        if hearing.lines_since == _NEVER:
            hearing.lines_since = now
        key = (isinstance(message, LegacyDatagram), message._raw)
        same = host.lines.get(key)
        if same is None:
            same = host.lines[key] = []
        for line in same:
            if not line.had & hearing.bit and abs(line.received_at - message._received_at) <= NEAR_SECONDS:
                line.had |= hearing.bit
                hearing.heard.copies += 1
                return
        out.append(message)
        line = Line(key, message._received_at, now, hearing.bit)
        same.append(line)
        host.line_order.append(line)
        self._charge(host, _LINE_BYTES + len(message._raw))
        if len(host.line_order) > LINES_LIMIT:
            self._remove_line(host)
        self._await_decision(host, now)

    def _remove_line(self, host: Host) -> None:
        """Forget the oldest line, and count the receivers that missed it."""
        line = host.line_order.popleft()
        same = host.lines[line.key]
        same.remove(line)
        if not same:
            del host.lines[line.key]
        self._charge(host, -_LINE_BYTES - len(line.key[1]))
        had = line.had
        for hearing in host.hearings.values():
            if not had & hearing.bit and hearing.lines_since <= line.now:
                had |= hearing.bit
                self._count_missed(host, hearing.heard)
