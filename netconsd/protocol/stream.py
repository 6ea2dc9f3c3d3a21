"""One sender's stream: reassembly, order, duplicates, resets (docs/wire sections 2, 5 and 6).

Rules:

1. A record whose number follows the last one delivered is delivered at once. So is one whose msgid follows the last
   one's: whatever lies between was never sent.
2. A record further ahead waits for those before it, at most the reorder time, and then is delivered with ``missing``
   saying how many numbers were passed over. Those whose time is nearly over go along with it.
3. An exact repeat, in number and time stamp, of a record delivered lately or waiting, is dropped and counted.
4. A record up to :data:`~netconsd.protocol.window.WINDOW` numbers behind, that was not delivered, is late: it is
   delivered and marked out of order.
5. Counting starts anew, and the message is marked as a reset, with a sender's first record, with a number further
   behind, with a number delivered lately under another time stamp, with a time stamp that goes back by more than
   :data:`REBOOT_USEC` while the number does not, and with what would be late but for a time stamp so far from the last
   one's. What waited is delivered before.
6. A fragmented record whose pieces are not all there in time is delivered with its holes shown. It is not remembered
   for rule 3, so that pieces that come later are delivered, too.
7. An unfinished line of legacy text ends with the next newline, after the reorder time, or when an extended datagram
   arrives.
8. A record sent again in an emergency, and further behind than rule 4 allows for, is dropped as a repeat: its sender
   goes through all it has, and needs to learn only that somebody listens.

Whatever arrives, nothing is raised, and every datagram is counted under one heading of
:class:`~netconsd.protocol.counters.WorkerCounters`.
"""

from __future__ import annotations

from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import Fragment, Malformed, decode
from netconsd.protocol.legacy import LineBuffer, split
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source
from netconsd.protocol.rare_counters import RareCounters
from netconsd.protocol.reassembly import Reassembly
from netconsd.protocol.reorder import ReorderBuffer
from netconsd.protocol.window import ABSENT, WINDOW, Window

_NEVER = float("inf")
#: The deadline of a stream in which nothing waits.
NEVER = _NEVER

# The clocks of a machine's processors, and of its early boot, differ by far less; a crash and a reboot take longer.
REBOOT_USEC = 10_000_000
# A kernel has one message in pieces under way at a time, per target, and a panic on top. Forged ones push out the
# oldest, which is delivered with its holes.
REASSEMBLIES_LIMIT = 16

# The pieces of a message or a line are sent back to back; they get so many seconds even if the reorder time is shorter.
PIECES_SECONDS = 0.2

# When one message's wait is over, so it is for those that had to wait for another sixteenth of the reorder time: where
# senders suppress records, everything waits, and is let go sixteen times per reorder time instead of with every batch.
EARLY = 16
# As many bytes as a kernel sends, and not more in answer to a forged datagram (docs/wire section 7). A missing number
# takes two of them at least, which bounds the time that a forged gap of 2^64 numbers costs.
ACK_BYTES = 1000
# A msgid has 32 bits, and wraps.
_MSGID_MASK = 0xFFFFFFFF
# Where one sender's missing numbers end: a 64-bit integer with a sign.
_MISSING_LIMIT = 2**63 - 1
# For the compiled build, which makes C variables of them.
_ABSENT = ABSENT
_WINDOW = WINDOW
_REBOOT_USEC = REBOOT_USEC
_PIECES_SECONDS = PIECES_SECONDS
_EARLY = EARLY
_NOTHING_ODD = RareCounters(WorkerCounters())


class Stream:
    """What is known of one sender. Not for more than one thread at a time.

    Messages are appended to the list that the caller passes. Times are monotonic seconds (``now``), but for the Unix
    time that messages show (``received_at``).
    """

    __slots__ = (
        *("_hold", "_last_msgid", "_last_seq", "_last_stamp", "_last_ts", "_legacy_datagrams", "_line", "source"),
        *("_reassemblies", "_started", "_counters", "_waiting", "_window", "cost", "datagrams", "deadline", "even_at"),
        *("last_seen", "legacy", "lines", "lost", "messages", "missing", "octets", "rare_counters", "scheduled_at"),
    )

    def __init__(self, source: Source, counters: WorkerCounters, hold: float, legacy_datagrams: bool = False) -> None:
        """
        :param counters: where this stream counts, as others of the same thread do.
        :param hold: the reorder time: how many seconds to wait for what is missing; 0 for not at all. The pieces of a
            message or of a line get at least :data:`PIECES_SECONDS`.
        :param legacy_datagrams: whether a legacy datagram is handed out whole as well, before the lines that end in it.
            It is not a message more: it is not counted as one.
        """
        self.source = source
        #: When the last datagram came.
        self.last_seen = 0.0
        #: When :meth:`expire` has something to do; ``NEVER`` if nothing waits.
        self.deadline = _NEVER
        #: About how many bytes of memory wait here.
        self.cost = 0
        #: For the table of senders: the deadline under which it is in the schedule; when it is even with its rate.
        self.scheduled_at = _NEVER
        self.even_at = 0.0
        # This sender's part of the counters: what is worth eight words of memory, with a million senders.
        self.datagrams = 0
        self.octets = 0
        self.messages = 0
        self.legacy = 0
        self.lines = 0
        self.missing = 0
        self.lost = 0
        self.rare_counters: RareCounters | None = None
        self._counters = counters
        self._hold = hold
        self._legacy_datagrams = legacy_datagrams
        self._started = False
        self._last_seq = 0
        self._last_ts = 0
        # The last record's stamp for rule 3: ABSENT if it was incomplete.
        self._last_stamp = _ABSENT
        self._last_msgid = -1
        # Made with the second record, the first gap, the first fragment, the first unfinished line.
        self._window: Window | None = None
        self._waiting: ReorderBuffer | None = None
        self._reassemblies: dict[tuple[int, int, int], Reassembly] | None = None
        self._line: LineBuffer | None = None

    def feed(self, datagram: bytes, received_at: float, now: float, out: list[Message]) -> None:
        """Take one datagram; append to ``out`` what can be delivered now."""
        counters = self._counters
        counters.datagrams += 1
        counters.octets += len(datagram)
        self.datagrams += 1
        self.octets += len(datagram)
        self.last_seen = now
        decoded: ExtendedMessage | Fragment | None = None
        try:
            decoded = decode(datagram, self.source, received_at)
        except Malformed:
            self.rare().count_malformed()
        if decoded is None:
            self._read_text(datagram, received_at, now, out)
        else:
            if self._line is not None:
                self._end_line(out)
            if isinstance(decoded, Fragment):
                self._add_fragment(decoded, now, out)
            elif self._place(decoded, now + self._hold, out):
                counters.whole += 1
            else:
                self.rare().count_dropped_duplicate()
        if self.deadline != _NEVER or self._waiting is not None or self._reassemblies or self._line is not None:
            self._settle()

    def expire(self, now: float, out: list[Message]) -> None:
        """Append to ``out`` what has waited long enough; to be called when ``deadline`` is reached."""
        if self._line is not None and self._line.deadline <= now:
            self._end_line(out)
        overdue = -1
        if self._reassemblies:
            for key, reassembly in list(self._reassemblies.items()):
                if reassembly.deadline <= now:
                    overdue = max(overdue, reassembly.first._seq)
                    self._finish(key, now + self._hold, out)
        if self._waiting is not None and self._waiting.deadline <= now:
            overdue = max(overdue, self._waiting.overdue(now))
        if overdue >= 0:
            self._give_up(overdue, out)
        self._settle()

    def flush(self, out: list[Message]) -> None:
        """Append to ``out`` all that waits, in order: at shutdown, at a reset, or when the sender is forgotten."""
        if self._line is not None:
            self._end_line(out)
        reassemblies, self._reassemblies = self._reassemblies, None
        if reassemblies:
            for reassembly in reassemblies.values():
                self._place_reassembled(reassembly, _NEVER, out)
        waiting, self._waiting = self._waiting, None
        while waiting is not None and waiting.count():
            self._deliver(waiting.pop(), out)
        self._settle()

    def count(self, name: str) -> int:
        """A counter of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`."""
        odd = self.rare_counters or _NOTHING_ODD
        if name == "whole":
            return (
                self.datagrams
                - self.legacy
                - odd.fragments
                - odd.dropped_duplicate
                - odd.dropped_empty
                - odd.dropped_over_rate
            )
        if name == "resets":
            return self._started + odd.resets
        return int(getattr(self if hasattr(self, name) else odd, name))

    def rare(self) -> RareCounters:
        """Where to count what not every sender has."""
        self.rare_counters = self.rare_counters or RareCounters(self._counters)
        return self.rare_counters

    def acknowledgement(self) -> bytes | None:
        """What to answer a sender of the reliable variant (docs/wire section 7); ``None`` before its first record.

        ``ncrx<last> <missing>...`` in at most :data:`ACK_BYTES`: all up to the last number is here, but for those
        missing; what was given up can be missing still, until it is too far behind to be taken for late.
        """
        if not self._started:
            return None
        ack = b"ncrx%d" % self._last_seq
        # Of numbers with 15 digits and more there may be no room for all that was given up; the oldest gets none.
        room = (ACK_BYTES - len(ack)) // (len(ack) - 3)
        for seq in self._given_up()[-room:] + self._missing_ahead():
            word = b" %d" % seq
            if len(ack) + len(word) > ACK_BYTES:
                break
            ack += word
        return ack

    def _given_up(self) -> list[int]:
        """The numbers up to the last that are missing, in order."""
        if self._window is not None:
            return self._window.missing()
        return [self._last_seq] if self._last_stamp == _ABSENT else []

    def _missing_ahead(self) -> list[int]:
        """The numbers that others wait for, in order: as many as an acknowledgement can hold, at most."""
        here = [] if self._waiting is None else self._waiting.seqs()
        last = self._last_seq
        highest = max(here, default=last)
        for key in self._reassemblies or ():
            # Not all of its pieces are here.
            highest = max(highest, key[0])
        missing: list[int] = []
        for seq in [*here, highest + 1]:
            missing += range(last + 1, min(seq, last + 1 + ACK_BYTES // 2 - len(missing)))
            last = seq
        return missing

    # Legacy text.

    def _read_text(self, datagram: bytes, received_at: float, now: float, out: list[Message]) -> None:
        if not datagram:
            self.rare().count_dropped_empty()
            return
        self._counters.legacy += 1
        self.legacy += 1
        if self._legacy_datagrams:
            out.append(LegacyDatagram(self.source, received_at, datagram))
        lines: list[LegacyMessage] = []
        deadline = now + max(self._hold, _PIECES_SECONDS)
        self._line = split(self._line, datagram, self.source, received_at, deadline, lines)
        self._deliver_lines(lines, out)

    def _end_line(self, out: list[Message]) -> None:
        line = self._line
        if line is not None:
            self._line = None
            self._deliver_lines([LegacyMessage(self.source, line.started_at, line.line())], out)

    def _deliver_lines(self, lines: list[LegacyMessage], out: list[Message]) -> None:
        self._counters.lines += len(lines)
        self.lines += len(lines)
        self._counters.messages += len(lines)
        self.messages += len(lines)
        out.extend(lines)

    # Fragments.

    def _add_fragment(self, fragment: Fragment, now: float, out: list[Message]) -> None:
        piece = fragment.piece
        key = (piece._seq, piece._ts_usec, fragment.total)
        if self._is_there(piece._seq, piece._ts_usec):
            self.rare().count_dropped_duplicate()
            return
        reassembly = None if self._reassemblies is None else self._reassemblies.get(key)
        if reassembly is None:
            reassembly = self._begin(key, fragment, now + max(self._hold, _PIECES_SECONDS), out)
        if reassembly.add(fragment.offset, piece._raw):
            self.rare().count_fragment()
        else:
            self.rare().count_dropped_duplicate()
        if reassembly.complete:
            self._finish(key, now + self._hold, out)

    def _begin(self, key: tuple[int, int, int], first: Fragment, deadline: float, out: list[Message]) -> Reassembly:
        if self._reassemblies is not None and len(self._reassemblies) >= REASSEMBLIES_LIMIT:
            self.rare().count_released_early()
            oldest = next(iter(self._reassemblies))
            self._finish(oldest, deadline, out)
            # At once: while it waited, it would be taken for the message itself by the pieces that are still to come.
            self._give_up(oldest[0], out)
        reassembly = Reassembly(first, deadline)
        # Finishing the oldest can be a reset, and that finishes them all.
        self._reassemblies = self._reassemblies or {}
        self._reassemblies[key] = reassembly
        return reassembly

    def _finish(self, key: tuple[int, int, int], deadline: float, out: list[Message]) -> None:
        """End a reassembly, whether complete or not; if others are to come before the message, it waits for them."""
        if self._reassemblies is not None:
            reassembly = self._reassemblies.pop(key, None)
            if reassembly is not None:
                self._place_reassembled(reassembly, deadline, out)

    def _place_reassembled(self, reassembly: Reassembly, deadline: float, out: list[Message]) -> None:
        message = reassembly.message()
        if not self._place(message, deadline, out):
            self.rare().count_dropped_superseded()
            return
        self.rare().count_reassembled()
        if message._incomplete:
            self.rare().count_incomplete()

    def _supersede(self, seq: int, ts_usec: int) -> None:
        """Drop other tries to put together a record that is complete now."""
        reassemblies = self._reassemblies or {}
        for key in [key for key in reassemblies if key[0] == seq and key[1] == ts_usec]:
            del reassemblies[key]
            self.rare().count_dropped_superseded()

    # Order.

    def _is_there(self, seq: int, ts_usec: int) -> bool:
        """Whether a record is waiting, or was delivered lately (rule 3)."""
        if not self._started:
            return False
        if seq <= self._last_seq:
            return self._stamp(seq) == min(ts_usec, _ABSENT - 1)
        held = None if self._waiting is None else self._waiting.get(seq)
        return held is not None and held._ts_usec == ts_usec

    def _place(self, message: ExtendedMessage, deadline: float, out: list[Message]) -> bool:
        """Deliver a record, or let it wait until ``deadline``; ``False`` if it is a duplicate."""
        seq = message._seq
        ts_usec = message._ts_usec
        if self._reassemblies and not message._incomplete:
            self._supersede(seq, ts_usec)
        if not self._started:
            self._begin_anew(message, out)
            return True
        if seq <= self._last_seq:
            stamp = self._stamp(seq)
            if stamp == _stamp_for(ts_usec):
                return False
            if stamp == _ABSENT and self._last_seq - seq < _WINDOW and self._may_be_late(message):
                self._deliver_late(message, out)
            elif stamp == _ABSENT and message._emergency:
                return False
            else:
                self._reset(message, out)
            return True
        if self._is_before(ts_usec, self._last_ts):
            self._reset(message, out)
            return True
        waiting = self._waiting
        if seq - self._last_seq == 1 or (
            self._is_next_msgid(message) and (waiting is None or not waiting.count() or waiting.lowest()._seq > seq)
        ):
            self._deliver(message, out)
            if waiting is not None:
                self._deliver_followers(waiting, out)
            return True
        if waiting is None:
            waiting = self._waiting = ReorderBuffer(self._hold / _EARLY)
        held = waiting.get(seq)
        if held is not None:
            if held._ts_usec == ts_usec:
                return False
            self._reset(message, out)
            return True
        waiting.add(message, deadline)
        while waiting.is_crowded():
            self.rare().count_released_early()
            self._deliver(waiting.pop(), out)
            self._deliver_followers(waiting, out)
        return True

    def _is_before(self, ts_usec: int, other: int) -> bool:
        """Whether a time stamp is so far before another that there was a reboot between (rule 5)."""
        return other > _REBOOT_USEC and ts_usec < other - _REBOOT_USEC

    def _may_be_late(self, message: ExtendedMessage) -> bool:
        """Whether a record behind the last can be from the same boot: what is late is so by seconds.

        Not so in the reliable variant, whose senders keep what was lost (docs/wire section 7).
        """
        if message._emergency:
            return True
        ts_usec = message._ts_usec
        return not self._is_before(self._last_ts, ts_usec) and not self._is_before(ts_usec, self._last_ts)

    def _is_next_msgid(self, message: ExtendedMessage) -> bool:
        return self._last_msgid >= 0 and message._msgid == (self._last_msgid + 1) & _MSGID_MASK

    def _stamp(self, seq: int) -> int:
        """The time stamp under which a record up to the last was delivered; ``ABSENT`` if it was not, or long ago."""
        if seq == self._last_seq:
            return self._last_stamp
        return _ABSENT if self._window is None else self._window.stamp(seq)

    def _reset(self, message: ExtendedMessage, out: list[Message]) -> None:
        self.flush(out)
        self._begin_anew(message, out)

    def _begin_anew(self, message: ExtendedMessage, out: list[Message]) -> None:
        if self._started:
            self.rare().count_reset()
        else:  # every sender has one
            self._counters.resets += 1
        self._started = True
        self._window = None
        message._seq_reset = True
        self._last_seq = message._seq
        self._hand_out(message, out)
        self._remember(message)

    def _deliver(self, message: ExtendedMessage, out: list[Message]) -> None:
        """Deliver a record above the last."""
        message._missing = message._seq - self._last_seq - 1
        if message._missing:
            self._counters.missing += message._missing
            # Forged numbers can add up to more than a word holds.
            if message._missing < _MISSING_LIMIT - self.missing:
                self.missing += message._missing
            else:
                self.missing = _MISSING_LIMIT
        if self._last_msgid >= 0 and message._msgid >= 0:
            lost = (message._msgid - self._last_msgid - 1) & _MSGID_MASK
            # Half the range back is not a loss: the target was made anew and counts from 1.
            if lost <= _MSGID_MASK >> 1:
                message._lost = lost
                self._counters.lost += lost
                self.lost += lost
        if self._window is None:
            self._window = Window(self._last_seq, self._last_stamp)
        self._last_seq = message._seq
        self._hand_out(message, out)
        self._remember(message)
        self._window.advance(message._seq, self._last_stamp)

    def _remember(self, message: ExtendedMessage) -> None:
        self._last_ts = message._ts_usec
        self._last_stamp = _ABSENT if message._incomplete else _stamp_for(message._ts_usec)
        self._last_msgid = message._msgid

    def _deliver_late(self, message: ExtendedMessage, out: list[Message]) -> None:
        message._out_of_order = True
        self.rare().count_late()
        self._hand_out(message, out)
        stamp = _ABSENT if message._incomplete else _stamp_for(message._ts_usec)
        if message._seq == self._last_seq:
            self._last_stamp = stamp
        if self._window is None:
            self._window = Window(self._last_seq, self._last_stamp)
        self._window.fill(message._seq, stamp)

    def _deliver_followers(self, waiting: ReorderBuffer, out: list[Message]) -> None:
        """Deliver the waiting messages that need not wait any longer."""
        while waiting.count():
            message = waiting.lowest()
            if message._seq - self._last_seq != 1 and not self._is_next_msgid(message):
                break
            self._deliver(waiting.pop(), out)

    def _give_up(self, seq: int, out: list[Message]) -> None:
        """Wait no longer for what should come before the waiting messages up to a number."""
        waiting = self._waiting
        if waiting is not None:
            while waiting.count() and waiting.lowest()._seq <= seq:
                self._deliver(waiting.pop(), out)
            self._deliver_followers(waiting, out)

    def _hand_out(self, message: ExtendedMessage, out: list[Message]) -> None:
        self._counters.messages += 1
        self.messages += 1
        if message._replayed:
            self.rare().count_replayed()
        out.append(message)

    def _settle(self) -> None:
        """Bring ``deadline`` and ``cost`` up to date."""
        deadline = _NEVER
        cost = 0
        if self._line is not None:
            deadline = self._line.deadline
            cost = self._line.cost
        waiting = self._waiting
        if waiting is not None:
            if waiting.count():
                deadline = min(deadline, waiting.deadline)
                cost += waiting.cost
            else:
                self._waiting = None
        if self._reassemblies is not None:
            for reassembly in self._reassemblies.values():
                deadline = min(deadline, reassembly.deadline)
                cost += reassembly.cost
            if not self._reassemblies:
                self._reassemblies = None
        self.deadline = deadline
        self.cost = cost


def _stamp_for(ts_usec: int) -> int:
    # The highest time stamp there is stands for none.
    return ts_usec if ts_usec != _ABSENT else _ABSENT - 1
