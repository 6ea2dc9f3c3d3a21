"""One sender's stream: reassembly, order, duplicates and resets (docs/wire sections 2, 5 and 6).

*Last* is the record with the highest seq that was delivered since the last reset; *behind* and *ahead* count from it.

1. **Next.** A record is delivered at once if its seq is the one after the last, or if its msgid is and no record with a
   lower seq is held: the records between two consecutive msgids were never sent.
2. **Ahead.** A record further ahead is held for at most the reorder time, then delivered with ``missing``, the number
   of seqs that were skipped. Records that are due soon after it (:data:`RELEASES`) are delivered with it. Without a
   msgid, ``likely_lost`` is the same number if gaps are rare (:data:`MESSAGES_PER_GAP`).
3. **Duplicate.** A record with the seq and the timestamp of a held or recently delivered record is dropped and counted.
   A record with the timestamp 0 is never dropped: the first records of all boots of a machine are equal.
4. **Late.** A record behind that was not delivered is marked ``out_of_order``: it is less than
   :data:`~netconsd.protocol.window.WINDOW` behind, or its msgid shows that it was sent before, or it lies below the
   last gap and no replay is under way.
5. **Boot.** A record that is behind, or whose timestamp is earlier than the last one, is the first of a new boot,
   marked ``boot``, if its seq was delivered recently, or is held, with another timestamp (or with another text, at the
   timestamp 0). Otherwise its time of arrival minus its timestamp estimates the time of boot. If the last record
   arrived after that, it is of the same boot. If not, or if the timestamp is near 0
   (:data:`~netconsd.protocol.suspects.NEAR_ZERO_USEC`), the record is held with those that follow, until one of them
   decides: a known seq with another timestamp means a boot; an estimate before the arrival of the last record before
   them means the same boot, and so does the next msgid in the first of them, beyond WINDOW. At the deadline, or if they
   are too many, the earliest estimate decides; a record that was delivered before means the same boot.
6. **Replay.** Other records of the same boot that are behind are part of a buffer that is sent again, and marked
   ``replayed``; so are all records behind that follow within
   :data:`~netconsd.protocol.suspects.BURST_SECONDS`, those of rules 3 and 4 included. They are not put in order. A
   record that comes twice within it is dropped. Acknowledgements follow it, and other records WINDOW or more behind.
7. **Reset.** ``seq_reset`` marks a sender's first record, a boot, the first record of a replay, and a record behind
   whose timestamp is more than :data:`REBOOT_USEC` later than the last one. Held messages are delivered first.
8. **Fragments.** If fragments are missing at the deadline, the message is delivered with notes in place of the missing
   bytes. Its timestamp is not remembered for rule 3, so that fragments that arrive later are also delivered.
9. **Legacy text.** An unfinished line ends at the next newline, after the reorder time, when a datagram begins a line
   (:mod:`netconsd.protocol.legacy`), or when an extended datagram arrives. Of a sender without records, a line with an
   earlier timestamp than the line before is the first of a boot by the same estimate; if its timestamp is near 0, by a
   silence of :data:`~netconsd.protocol.suspects.SILENCE_SECONDS`.
10. **Emergency.** A record that was re-sent in an emergency (``ncemg=1``) is late by rule 4 whatever its seq and
    timestamp, unless it is known (rules 3, 5 and 6): its sender re-sends all records that were not acknowledged.
11. **New.** The first message of a sender is marked ``new``, unless its seq and timestamp continue another sender of
    the same address: less than WINDOW after its last record, and not earlier by time. If they continue none, the
    address is shared: its sources are marked ``shared``.
12. **Several records in one datagram.** Each is a message (:mod:`netconsd.protocol.records`). The last record of a
    datagram is unfinished if the datagram has several records, or does not end in a newline or NUL: a pipe cuts
    anywhere. It ends like an unfinished line, or with the header of the next record. The next datagram continues an
    unfinished record without a final newline, unless it begins a line or a record, or the first record in it does not
    have the next seq, because then a datagram is missing between them. A dictionary continues one with a final newline.
    In a datagram that begins with text, the lines before the first record are legacy text.

No datagram raises an exception. Each datagram is counted in exactly one of the outcomes of
:data:`~netconsd.protocol.counters.DATAGRAM_OUTCOMES`.
"""

from __future__ import annotations

from netconsd.protocol import octets
from netconsd.protocol.body import stray_lines
from netconsd.protocol.counters import U64, WorkerCounters
from netconsd.protocol.decode import Fragment, decode, read
from netconsd.protocol.encode import CHUNK
from netconsd.protocol.legacy import AUTO, DATAGRAM, LINE_LIMIT, LineBuffer, begins_line, split
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source
from netconsd.protocol.rare_counters import RareCounters
from netconsd.protocol.reassembly import Reassembly, new_reassembly
from netconsd.protocol.records import LOOKBACK, may_be_in_task_name, record_starts
from netconsd.protocol.reorder import ReorderBuffer
from netconsd.protocol.suspects import NEAR_ZERO_USEC, SILENCE_SECONDS, Replay, Suspects
from netconsd.protocol.window import ABSENT, WINDOW, Window

#: The deadline of a stream that holds nothing.
NEVER = float("inf")

# A record behind is not that much later than the last one: the clocks of a machine's processors differ by far less.
REBOOT_USEC = 10_000_000
# A gap is taken for a loss while a sender had fewer gaps than one in this many messages. A console log level leaves a
# gap before every message or so on a quiet machine; a sender of all levels has none.
MESSAGES_PER_GAP = 32
# A gap is not taken for a loss before this many messages since the boot: a first record, or a target that was just
# made, says nothing.
GAP_EVIDENCE = 16
# What is learned about gaps lasts for this many messages, so that a changed console log level is learned soon.
GAP_MEMORY = 1024
_CREDIT_FLOOR = -GAP_MEMORY
# A kernel sends one fragmented message at a time per target, and a panic in between. Forged fragments push out the
# oldest reassembly, which is delivered incomplete.
REASSEMBLIES_LIMIT = 16
# A kernel sends the fragments of a message, and the parts of a line, back to back. They are waited for this many
# seconds even if the reorder time is shorter.
FRAGMENT_SECONDS = 0.2
# Held messages are released at most this many times per reorder time. A sender that suppresses records leaves a gap
# before most of its messages; without this bound, each batch would end another message's wait.
RELEASES = 16.0

# The msgid has 32 bits and wraps.
_MSGID_MASK = 0xFFFFFFFF
_NEWLINE = ord("\n")
# The highest value of one sender's counters `missing`, `likely_lost` and `lost`: forged numbers can add up to more than
# 64 bits.
_MISSING_LIMIT = 2**63 - 1
_U64 = U64

_SPACE = ord(" ")
_DOT = ord(".")
_ZERO = ord("0")
_NINE = ord("9")
_LESS = ord("<")
_GREATER = ord(">")
_BRACKET = ord("[")
_END_BRACKET = ord("]")

# The rule that applies to a record.
_NEXT = 1
_AHEAD = 2
_DUPLICATE = 3
_LATE = 4
_RESET = 5
_BOOT = 6
_SUSPECT = 7
_REPLAYED = 8

# The timestamp 0 says nothing, so that a hash of the text is remembered instead, above all timestamps that are real.
_ZERO_STAMP = 1 << 63
_ZERO_HASH_MASK = (1 << 62) - 1

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(
    NEVER=NEVER,
    REBOOT_USEC=REBOOT_USEC,
    FRAGMENT_SECONDS=FRAGMENT_SECONDS,
    RELEASES=RELEASES,
    MESSAGES_PER_GAP=MESSAGES_PER_GAP,
    GAP_EVIDENCE=GAP_EVIDENCE,
    GAP_MEMORY=GAP_MEMORY,
)


class Stream(Window):
    """The state of one sender; its window has the records delivered recently. Not thread-safe.

    The methods append messages to the caller's list. ``now`` and deadlines are monotonic seconds; ``received_at`` is
    the Unix time that messages show.
    """

    __slots__ = (
        *("_counters", "_last_msgid", "_last_ts_usec", "_legacy_datagrams", "_line", "_reorder_time", "cost"),
        *("datagrams", "deadline", "held", "last_seen", "messages"),
        *("bytes", "rare_counters", "reassemblies", "resets", "scheduled_at", "source", "theoretical_arrival"),
        *("_first_seq", "_first_ts_usec", "_heard", "suspects"),
        *("_framing", "_parts", "neighbours", "number", "numbered"),
    )

    def __init__(
        self,
        source: Source,
        counters: WorkerCounters,
        reorder_time: float,
        legacy_datagrams: bool = False,
        framing: int = AUTO,
    ) -> None:
        """
        :param counters: the counters of the worker, shared by its streams.
        :param reorder_time: the longest time in seconds that a message is held because others are missing; 0 to hold
            none. Fragments and unfinished lines are held for at least :data:`FRAGMENT_SECONDS`.
        :param legacy_datagrams: also append each legacy datagram as a whole, before the lines that end in it. It is not
            counted as a message.
        :param framing: where a line of legacy text ends: the index of one of
            :data:`~netconsd.protocol.legacy.FRAMINGS`. With ``datagram``, no record is unfinished either.
        """
        self._begin(source, counters, reorder_time, legacy_datagrams, framing)

    def _begin(
        self, source: Source, counters: WorkerCounters, reorder_time: float, legacy_datagrams: bool, framing: int
    ) -> None:
        self._be_empty()
        self.source = source
        #: When the last datagram was fed.
        self.last_seen = 0.0
        #: When :meth:`expire` has to be called; ``NEVER`` if nothing is held.
        self.deadline = NEVER
        #: The approximate memory in bytes of all that is held.
        self.cost = 0
        #: Kept here for the table of senders: the deadline of this stream's entry in the schedule, and the theoretical
        #: arrival time of the rate limit (GCRA).
        self.scheduled_at = NEVER
        self.theoretical_arrival = 0.0
        #: Its number in the order of the table's senders.
        self.number = 0
        # This sender's counters (SENDER_COUNTERS), each worth a word for each of a million senders; the others are in
        # rare_counters.
        self.datagrams = 0
        self.bytes = 0
        self.messages = 0
        self.resets = 0
        self.rare_counters: RareCounters | None = None
        #: True from the first record on.
        self.numbered = False
        #: The other streams of the address, set by the table; ``None`` once the first message was compared with them.
        self.neighbours: list[Stream] | None = None
        # Allocated with the first gap, the first fragment, the first unfinished line.
        self.held: ReorderBuffer | None = None
        self.reassemblies: list[Reassembly] | None = None
        self._line: LineBuffer | None = None
        # The number of reassemblies, and one for a line, as counted in `unfinished`.
        self._parts = 0
        self._counters = counters
        self._reorder_time = reorder_time
        self._legacy_datagrams = legacy_datagrams
        self._framing = framing
        # The timestamp of the last record, or of the last legacy line of a sender without records.
        self._last_ts_usec = 0
        self._last_msgid = -1
        # When the last record, or that line, arrived.
        self._heard = 0.0
        # The first record of the boot whose timestamp is not near 0: a buffer that is sent again has it again.
        self._first_seq = 0
        self._first_ts_usec = ABSENT
        self.suspects: Suspects | None = None

    def feed(self, datagram: bytes, received_at: float, now: float, out: list[Message]) -> None:
        """Process one datagram; append the messages that can be delivered now."""
        counters = self._counters
        counters.datagrams += 1
        counters.bytes += len(datagram)
        self.datagrams += 1
        self.bytes += len(datagram)
        self.last_seen = now
        decoded = read(datagram, self.source, received_at)
        if decoded is None:
            self._read_text(datagram, received_at, now, out)
        elif not isinstance(decoded, (ExtendedMessage, Fragment)):
            counters.malformed += 1
            if self._line is not None and self._line.is_record:
                self._finish_line(out)
            self._read_text(datagram, received_at, now, out)
        elif self._line is None or not self._continue_record(datagram, True, received_at, now, out):
            if self._line is not None:
                self._finish_line(out)
            # A check for the most frequent class costs least, and the local variable has its type in C.
            if isinstance(decoded, ExtendedMessage):
                message = decoded
                if not octets.is_record(message._raw):
                    self._read_records(datagram, message._seq, received_at, now, out)
                elif self._place(message, now + self._reorder_time, out):
                    counters.whole += 1
                    counters.records += 1
                else:
                    self._drop_duplicate()
            else:
                self._add_fragment(decoded, now, out)
        if self.deadline != NEVER or self.held is not None or self.reassemblies or self._line is not None:
            self._update_deadline()

    def expire(self, now: float, out: list[Message]) -> None:
        """Append the messages whose time is over; to be called when ``deadline`` is reached."""
        if self._line is not None and self._line.deadline <= now:
            self._finish_line(out)
        if self.suspects is not None and self.suspects.deadline <= now:
            self._settle(self.suspects.are_a_boot(), out)
        expired = -1
        if self.reassemblies:
            for reassembly in self.reassemblies.copy():
                if reassembly.deadline <= now:
                    expired = max(expired, reassembly.first._seq)
                    self._finish_reassembly(reassembly, now + self._reorder_time, out)
        if self.held is not None and self.held.deadline <= now:
            expired = max(expired, self.held.expire(now))
        if expired >= 0:
            self._release(expired, out)
        self._update_deadline()

    def flush(self, out: list[Message]) -> None:
        """Append all held messages, in order: at shutdown, at a reset, or when the sender is removed from the table."""
        if self._line is not None:
            self._finish_line(out)
        reassemblies, self.reassemblies = self.reassemblies, None
        if reassemblies:
            for reassembly in reassemblies:
                self._place_reassembled(reassembly, NEVER, out)
        if self.suspects is not None:
            self._settle(self.suspects.are_a_boot(), out)
        held, self.held = self.held, None
        while held is not None and held.count():
            self._deliver(held.pop(), out)
        self._update_deadline()

    def count(self, name: str) -> int:
        """One of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`."""
        holder = self if hasattr(self, name) else self.rare_counters
        return 0 if holder is None else int(getattr(holder, name))

    @property
    def replay(self) -> Replay | None:
        """The records far behind that arrived last, if any did."""
        return self._replay()

    def _replay(self) -> Replay | None:
        return None if self.rare_counters is None else self.rare_counters.replay

    def rare(self) -> RareCounters:
        """The counters that few senders have, allocated by the first call."""
        if self.rare_counters is None:
            self.rare_counters = RareCounters()
        return self.rare_counters

    # Legacy text.

    def _read_text(self, datagram: bytes, received_at: float, now: float, out: list[Message]) -> None:
        if not datagram:
            self._counters.dropped_empty += 1
            return
        line = self._line
        if line is not None and (line.is_record or line.deadline <= now):
            if self._continue_record(datagram, False, received_at, now, out):
                return
            self._finish_line(out)
        self._counters.legacy += 1
        text = datagram
        starts: list[int] = []
        # A sender of legacy text only pays nothing for this; a kernel's datagram is not longer than CHUNK.
        if (self.resets or len(text) > CHUNK) and 0 <= octets.find(text, _NEWLINE, 0) < len(text) - 1:
            starts = [at for at, _ in record_starts(text, None if len(text) > CHUNK else self.last_seq)]
            if starts:
                text = text[: starts[0]]
        if self._legacy_datagrams:
            out.append(LegacyDatagram(self.source, received_at, text))
        lines: list[LegacyMessage] = []
        deadline = now + max(self._reorder_time, FRAGMENT_SECONDS)
        self._line = split(self._line, text, self.source, received_at, deadline, lines, self._framing)
        self._deliver_lines(lines, out)
        if starts:
            self._counters.dropped_records += self._place_records(datagram, starts, received_at, now, out)

    def _finish_line(self, out: list[Message]) -> None:
        """End the unfinished line or record."""
        line = self._line
        if line is not None:
            self._line = None
            if line.is_record:
                if not self._place_record(line.line(), line.started_at, line.deadline, out):
                    self._counters.dropped_records += 1
            else:
                self._deliver_lines([LegacyMessage(self.source, line.started_at, line.line())], out)

    def _deliver_lines(self, lines: list[LegacyMessage], out: list[Message]) -> None:
        if lines and not self.messages:
            lines[0]._new = True
            if self.neighbours is not None:
                self._mark_shared()
        if not self.numbered:
            for line in lines:
                self._note_line(line)
        self._counters.lines += len(lines)
        self._counters.messages += len(lines)
        self.messages += len(lines)
        out.extend(lines)

    # Several records in a datagram, and unfinished records.

    def _read_records(self, datagram: bytes, seq: int, received_at: float, now: float, out: list[Message]) -> None:
        """Process a datagram that begins with a record and may hold more, or end within one."""
        starts = [0, *(at for at, _ in record_starts(datagram, seq))]
        duplicates = self._place_records(datagram, starts, received_at, now, out)
        if duplicates == len(starts):
            self._drop_duplicate()
        else:
            self._counters.whole += 1
            self._counters.dropped_records += duplicates

    def _continue_record(
        self, datagram: bytes, has_header: bool, received_at: float, now: float, out: list[Message]
    ) -> bool:
        """Process a datagram that continues the unfinished record (rule 12); return ``False`` if it does not."""
        line = self._line
        if line is None or not line.is_record or line.deadline <= now:
            return False
        tail = line.end(LOOKBACK)
        is_in_name = may_be_in_task_name(tail, datagram)
        if tail.endswith(b"\n"):
            # Only lines of dictionary, userdata and sysdata can follow.
            first = datagram.partition(b"\n")[0]
            continues = is_in_name or (first.startswith(b" ") and (b"=" in first or first == datagram))
        else:
            continues = has_header or line.cut or not begins_line(datagram)
        if not continues:
            return False
        starts = record_starts(tail + datagram, line.seq)
        if has_header and not is_in_name and not (starts and starts[0][0] < len(tail)):
            # The header is the datagram's own, and not the rest of one that was cut.
            return False
        if starts and starts[0][1] != line.seq + 1:
            return False
        self._counters.continued += 1
        if not starts:
            line.append(datagram)
            line.cut = len(datagram) >= CHUNK
            if line.size > LINE_LIMIT:
                self._finish_line(out)
            return True
        text = line.line() + datagram
        before = line.size - len(tail)
        indices = [before + at for at, _ in starts]
        self._line = None
        if not self._place_record(text[: indices[0]], line.started_at, line.deadline, out):
            self._counters.dropped_records += 1
        self._counters.dropped_records += self._place_records(text, indices, received_at, now, out)
        return True

    def _place_records(self, text: bytes, starts: list[int], received_at: float, now: float, out: list[Message]) -> int:
        """Place the records that begin at these indices, or hold the last; return the number of duplicates."""
        duplicates = 0
        for index, start in enumerate(starts):
            if index + 1 < len(starts):
                part = text[start : starts[index + 1]]
            else:
                part = text[start:]
                if self._hold_unfinished(part, index > 0 or start > 0, received_at, now):
                    break
            if not self._place_record(part, received_at, now + self._reorder_time, out):
                duplicates += 1
        return duplicates

    def _place_record(self, text: bytes, received_at: float, deadline: float, out: list[Message]) -> bool:
        """Deliver or hold one record of several; return ``False`` if it is a duplicate."""
        record = decode(text, self.source, received_at)
        assert isinstance(record, ExtendedMessage), "its header was read before"
        if not self._place(record, deadline, out):
            return False
        self._counters.records += 1
        self._count_stray_lines(record)
        return True

    def _count_stray_lines(self, message: ExtendedMessage) -> None:
        end = octets.find(message._raw, _NEWLINE, 0)
        if end >= 0 and octets.stray_at(message._raw, end + 1) >= 0:
            self._counters.stray_lines += len(stray_lines(message._raw))

    def _hold_unfinished(self, text: bytes, is_one_of_several: bool, received_at: float, now: float) -> bool:
        """Hold a record that the next datagram may continue; return ``False`` if none can."""
        if self._framing == DATAGRAM or len(text) > LINE_LIMIT:
            return False
        if not is_one_of_several and text.endswith((b"\n", b"\0")):
            return False
        record = decode(text, self.source, received_at)
        assert isinstance(record, ExtendedMessage), "its header was read before"
        line = LineBuffer(text, received_at, now + max(self._reorder_time, FRAGMENT_SECONDS))
        line.is_record = True
        line.seq = record._seq
        line.cut = len(text) >= CHUNK
        self._line = line
        return True

    def _note_line(self, line: LegacyMessage) -> None:
        """Mark a line as the first of a boot, by rule 9."""
        ts_usec = _line_ts_usec(line._raw)
        if ts_usec < 0:
            return
        if ts_usec < self._last_ts_usec:
            estimate = self.last_seen - ts_usec / 1e6
            if estimate > self._heard + (SILENCE_SECONDS if ts_usec < NEAR_ZERO_USEC else 0.0):
                line._boot = True
                self._count_boot()
        self._last_ts_usec = ts_usec
        self._heard = self.last_seen

    # Fragments.

    def _add_fragment(self, fragment: Fragment, now: float, out: list[Message]) -> None:
        piece = fragment.piece
        if self._is_received(piece._seq, piece._ts_usec):
            self._drop_duplicate()
            return
        reassembly = self._find_reassembly(fragment)
        if reassembly is None:
            reassembly = self._start_reassembly(fragment, now + max(self._reorder_time, FRAGMENT_SECONDS), out)
        if reassembly.add(fragment.offset, piece._raw):
            self._counters.fragments += 1
        else:
            self._drop_duplicate()
        if reassembly.complete:
            self._finish_reassembly(reassembly, now + self._reorder_time, out)

    def _find_reassembly(self, fragment: Fragment) -> Reassembly | None:
        if self.reassemblies is not None:
            for reassembly in self.reassemblies:
                if reassembly.is_of(fragment):
                    return reassembly
        return None

    def _start_reassembly(self, fragment: Fragment, deadline: float, out: list[Message]) -> Reassembly:
        if self.reassemblies is not None and len(self.reassemblies) >= REASSEMBLIES_LIMIT:
            self._counters.released_early += 1
            oldest = self.reassemblies[0]
            self._finish_reassembly(oldest, deadline, out)
            # A held message makes fragments of the same record duplicates, so an incomplete one must not be held.
            self._release(oldest.first._seq, out)
        reassembly = new_reassembly(fragment, deadline)
        # None again if finishing the oldest was a reset, which finishes them all.
        if self.reassemblies is None:
            self.reassemblies = [reassembly]
        else:
            self.reassemblies.append(reassembly)
        return reassembly

    def _finish_reassembly(self, reassembly: Reassembly, deadline: float, out: list[Message]) -> None:
        """End a reassembly, complete or not, and place its message. Does nothing for one that was ended before."""
        reassemblies = self.reassemblies
        if reassemblies is not None and reassembly in reassemblies:
            reassemblies.remove(reassembly)
            self._place_reassembled(reassembly, deadline, out)

    def _place_reassembled(self, reassembly: Reassembly, deadline: float, out: list[Message]) -> None:
        message = reassembly.message()
        message._incomplete = not reassembly.complete
        if not self._place(message, deadline, out):
            self._counters.dropped_superseded += 1
            return
        self._counters.reassembled += 1
        self._count_stray_lines(message)
        if message._incomplete:
            self._counters.incomplete += 1
            rare = self.rare()
            rare.incomplete += 1

    def _drop_superseded(self, seq: int, ts_usec: int) -> None:
        """Drop the other reassemblies of a record that is complete now."""
        reassemblies = self.reassemblies or []
        for reassembly in reassemblies.copy():
            if reassembly.first._seq == seq and reassembly.first._ts_usec == ts_usec:
                reassemblies.remove(reassembly)
                self._counters.dropped_superseded += 1

    # Order.

    def _place(self, message: ExtendedMessage, deadline: float, out: list[Message]) -> bool:
        """Deliver a record, or hold it until ``deadline``; return ``False`` if it is a duplicate."""
        if self.reassemblies and not message._incomplete:
            self._drop_superseded(message._seq, message._ts_usec)
        if self.suspects is not None:
            self._weigh(message, out)
        rule = self._classify(message)
        if rule == _NEXT and self.held is None:
            self._heard = self.last_seen
            self._deliver(message, out)
            return True
        return self._apply(rule, message, deadline, out)

    def _apply(self, rule: int, message: ExtendedMessage, deadline: float, out: list[Message]) -> bool:
        if rule == _SUSPECT:
            return self._suspect(message, out)
        # The machine that sent this record is that of the last record, without a reboot between them, or a boot begins.
        self._heard = self.last_seen
        if rule == _NEXT:
            self._deliver(message, out)
            if self.held is not None:
                self._release_next(out)
        elif rule == _AHEAD:
            self._hold(message, deadline, out)
        elif rule == _LATE:
            return self._deliver_late(message, out)
        elif rule == _REPLAYED:
            return self._deliver_replayed(message, out)
        elif rule == _RESET:
            self._reset(message, out)
        elif rule == _BOOT:
            self._boot(message, out)
        else:
            replay = self._replay()
            if replay is not None and replay.is_near(message._seq, self.last_seen):
                self._add_behind(message)
        return rule != _DUPLICATE

    def _classify(self, message: ExtendedMessage) -> int:
        """The rule that applies to a record; changes nothing except for the first record."""
        if not self.numbered:
            return self._classify_first(message)
        if message._seq <= self.last_seq or message._ts_usec < self._last_ts_usec or self.suspects is not None:
            return self._classify_back(message)
        return _NEXT if message._seq - self.last_seq == 1 else self._classify_ahead(message)

    def _classify_ahead(self, message: ExtendedMessage) -> int:
        """The rule for a record ahead of the last, of the same boot."""
        seq = message._seq
        if seq - self.last_seq == 1:
            return _NEXT
        held = self.held
        if self._is_next_msgid(message) and (held is None or not held.count() or held.lowest()._seq > seq):
            return _NEXT
        same_seq = None if held is None else held.get(seq)
        if same_seq is None:
            return _AHEAD
        return _DUPLICATE if same_seq._ts_usec == message._ts_usec else _BOOT

    def _classify_first(self, message: ExtendedMessage) -> int:
        """The rule for a sender's first record: a reset, if it does not continue another sender (rule 11)."""
        other = None if self.neighbours is None else self._find_continued(message)
        if other is None:
            if self.neighbours is not None:
                self._mark_shared()
            return _RESET
        self._continue(other)
        return self._classify(message)

    def _classify_back(self, message: ExtendedMessage) -> int:
        """The rule for a record behind, one with an earlier timestamp, or one that arrives after those."""
        seq = message._seq
        ts_usec = message._ts_usec
        known = self._known(seq)
        stamp = _to_stamp(message)
        if known != ABSENT and stamp != ABSENT and known != stamp:
            return _BOOT
        repeated = known != ABSENT and known == stamp and ts_usec != 0
        if seq <= self.last_seq and message._emergency:
            return _DUPLICATE if repeated else _LATE
        if repeated and self.suspects is None and self.last_seen - self._heard < SILENCE_SECONDS:
            # A copy that the network made of a record of the early boot: nothing reboots that fast.
            return self._classify_same_boot(message, known)
        return _SUSPECT if self._may_be_boot(message) else self._classify_same_boot(message, known)

    def _classify_same_boot(self, message: ExtendedMessage, known: int) -> int:
        """The rule for a record that may be behind, but is of the same boot."""
        seq = message._seq
        if seq > self.last_seq:
            return self._classify_ahead(message)
        replay = self._replay()
        if replay is not None and replay.has(seq, self.last_seen):
            return _REPLAYED
        if known != ABSENT:
            return _DUPLICATE if message._ts_usec and self.last_seq - seq < WINDOW else _REPLAYED
        if message._ts_usec > self._last_ts_usec and message._ts_usec - self._last_ts_usec > REBOOT_USEC:
            return _RESET
        if self.last_seq - seq < WINDOW:
            return _LATE
        return _LATE if self._is_delayed(message) else _REPLAYED

    def _is_delayed(self, message: ExtendedMessage) -> bool:
        """True if a record WINDOW or more behind was probably delayed: it was not delivered, or was sent long ago."""
        if message._msgid >= 0 and self._last_msgid >= 0:
            return message._msgid > 1 and (self._last_msgid - message._msgid) & _MSGID_MASK <= _MSGID_MASK >> 1
        rare = self.rare_counters
        gap_seq = 0 if rare is None else rare.gap_seq
        return self._first_ts_usec != ABSENT and self._first_seq <= message._seq < gap_seq

    def _may_be_boot(self, message: ExtendedMessage) -> bool:
        """True if a reboot before a record is possible, by its timestamp and msgid."""
        ts_usec = message._ts_usec
        suspects = self.suspects
        if suspects is None:
            if message._msgid >= 0 and message._msgid > WINDOW and self._is_next_msgid(message):
                # Not by chance: the count of a new boot starts at 1.
                return False
            replay = self._replay()
            if replay is not None and replay.has(message._seq, self.last_seen):
                return False
            if ts_usec < NEAR_ZERO_USEC and self._last_ts_usec < NEAR_ZERO_USEC and message._seq > self.last_seq:
                # The clocks of the early boot.
                return False
        heard = self._heard if suspects is None else suspects.heard
        return ts_usec < NEAR_ZERO_USEC or self.last_seen - ts_usec / 1e6 > heard

    def _known(self, seq: int) -> int:
        """The stamp of a record that is held or was delivered; ABSENT if it is not remembered."""
        if seq > self.last_seq:
            held = None if self.held is None else self.held.get(seq)
            return ABSENT if held is None else _to_stamp(held)
        remembered = self.ts_usec(seq)
        if remembered == ABSENT and seq == self._first_seq:
            return self._first_ts_usec
        return remembered

    # Boots and replays.

    def _suspect(self, message: ExtendedMessage, out: list[Message]) -> bool:
        """Hold a record of which is not known whether it is of a new boot; return ``False`` if it is held already."""
        suspects = self.suspects
        if suspects is None:
            deadline = self.last_seen + max(self._reorder_time, FRAGMENT_SECONDS)
            suspects = self.suspects = Suspects(self._heard, deadline)
        held = suspects.records.get(message._seq)
        if held is not None:
            if _to_stamp(held) == _to_stamp(message):
                return False
            # Two boots within the time in which records are held.
            self._settle(suspects.are_a_boot(), out)
            return self._apply(_BOOT, message, NEVER, out)
        known = message._ts_usec >= NEAR_ZERO_USEC and self._known(message._seq) == message._ts_usec
        suspects.add(message, self.last_seen, known)
        # Not NEVER, so that it is updated after this datagram.
        self.deadline = suspects.deadline
        if suspects.records.is_over_limit():
            self._counters.released_early += 1
            self._settle(suspects.are_a_boot(), out)
        return True

    def _weigh(self, message: ExtendedMessage, out: list[Message]) -> None:
        """Deliver the held suspects if this record decides what they are."""
        if message._emergency:
            return
        known = self._known(message._seq)
        stamp = _to_stamp(message)
        if known != ABSENT and stamp != ABSENT and known != stamp:
            self._settle(True, out)
        elif not self._may_be_boot(message):
            self._settle(False, out)

    def _settle(self, is_boot: bool, out: list[Message]) -> None:
        """Deliver the held suspects, as a new boot or as records of this one. None is dropped: all are counted."""
        suspects = self.suspects
        if suspects is None:
            return
        self.suspects = None
        self._heard = self.last_seen
        records = suspects.records
        first = True
        while records.count():
            message = records.pop()
            if not is_boot:
                rule = self._classify_same_boot(message, self._known(message._seq))
                self._apply(_REPLAYED if rule == _DUPLICATE else rule, message, suspects.deadline, out)
            elif first:
                kept = self._reassemblies_since(suspects.deadline)
                self._boot(message, out)
                self.reassemblies = kept
            else:
                self._apply(self._classify_ahead(message), message, suspects.deadline, out)
            first = False
        if self.held is not None and suspects.deadline <= self.last_seen:
            expired = self.held.expire(self.last_seen)
            if expired >= 0:
                self._release(expired, out)

    def _reassemblies_since(self, deadline: float) -> list[Reassembly] | None:
        """Take out the reassemblies that began with the suspects: they are of the new boot."""
        reassemblies = self.reassemblies or []
        kept = [reassembly for reassembly in reassemblies if reassembly.deadline >= deadline]
        for reassembly in kept:
            reassemblies.remove(reassembly)
        return kept or None

    def _boot(self, message: ExtendedMessage, out: list[Message]) -> None:
        message._boot = True
        self._count_boot()
        self._reset(message, out)

    def _count_boot(self) -> None:
        self._counters.boots += 1
        rare = self.rare()
        rare.boots += 1

    def _deliver_replayed(self, message: ExtendedMessage, out: list[Message]) -> bool:
        """Deliver a record of a buffer that is sent again; return ``False`` if it came twice within the buffer."""
        replay = self._replay()
        begins = replay is None or not replay.has(message._seq, self.last_seen)
        repeated, message._out_of_order = self._add_behind(message)
        if begins:
            message._seq_reset = True
            message._out_of_order = False
            self._counters.resets += 1
            self._counters.replays += 1
            self.resets += 1
            rare = self.rare()
            rare.replays += 1
        elif repeated and message._ts_usec:
            return False
        if message._out_of_order:
            self._count_late()
        replay = self._replay()
        if replay is not None:
            replay.is_sure = True
        message._replayed = True
        if message._msgid >= 0:
            self._count_lost(message)
            self._last_msgid = message._msgid
        self._append(message, out)
        return True

    def _add_behind(self, message: ExtendedMessage) -> tuple[bool, bool]:
        """Remember a record up to the last one in the replay, as :meth:`Replay.add`; the last one ends it."""
        seq = message._seq
        stamp = _to_stamp(message)
        result = (False, False)
        rare = self.rare()
        if rare.replay is None:
            rare.replay = Replay(seq, stamp, self.last_seen)
        else:
            result = rare.replay.add(seq, stamp, self.last_seen)
        if seq >= self.last_seq:
            rare.replay = None
        return result

    # Senders of one address.

    def _find_continued(self, message: ExtendedMessage) -> Stream | None:
        """The stream of the address that this first record continues; ``None`` if there is none (rule 11)."""
        best = None
        nearest = WINDOW
        for other in self.neighbours or ():
            distance = other._distance(message, self.last_seen)
            if distance < nearest:
                best = other
                nearest = distance
        return best

    def _distance(self, message: ExtendedMessage, now: float) -> int:
        """The number of seqs between the last record and one from another port; WINDOW if it does not continue it."""
        seq = message._seq
        ts_usec = message._ts_usec
        if not self.numbered or seq == self.last_seq or now - ts_usec / 1e6 > self._heard:
            return WINDOW
        # A record behind is that of another target of the machine, which sends all records once more.
        if seq < self.last_seq or ts_usec < self._last_ts_usec:
            return WINDOW
        return min(seq - self.last_seq, WINDOW)

    def _continue(self, other: Stream) -> None:
        """Go on where the stream of another port left off."""
        self.neighbours = None
        self.numbered = True
        self.restart(other.last_seq, other.ts_usec(other.last_seq))
        self._last_ts_usec = other._last_ts_usec
        self._last_msgid = other._last_msgid
        self._heard = other._heard
        self._first_seq = other._first_seq
        self._first_ts_usec = other._first_ts_usec
        if other.source.shared:
            self.source.share()

    def _mark_shared(self) -> None:
        """Mark the sources of the address: there are several senders."""
        for other in self.neighbours or ():
            other.source.share()
        self.neighbours = None
        self.source.share()

    def _drop_duplicate(self) -> None:
        self._counters.dropped_duplicate += 1
        rare = self.rare()
        rare.dropped_duplicate += 1

    def _is_received(self, seq: int, ts_usec: int) -> bool:
        """True if a record is held or was delivered recently (rule 3)."""
        if not self.numbered or not ts_usec or self.suspects is not None:
            return False
        if seq <= self.last_seq:
            replay = self._replay()
            if replay is not None and replay.has(seq, self.last_seen):
                return False
            return self.ts_usec(seq) == min(ts_usec, ABSENT - 1)
        same_seq = None if self.held is None else self.held.get(seq)
        return same_seq is not None and same_seq._ts_usec == ts_usec

    def _is_next_msgid(self, message: ExtendedMessage) -> bool:
        return self._last_msgid >= 0 and message._msgid == (self._last_msgid + 1) & _MSGID_MASK

    def _reset(self, message: ExtendedMessage, out: list[Message]) -> None:
        if self.numbered:
            # Reassemblies that are older than the sender's first record go on.
            self.flush(out)
        self._counters.resets += 1
        self.resets += 1
        self.numbered = True
        self._first_ts_usec = ABSENT
        if self.messages or self.rare_counters is not None:
            rare = self.rare()
            rare.replay = None
            rare.gap_seq = 0
            # What was learned about gaps stays, the evidence for a loss does not.
            rare.gap_messages = self.messages
            rare.gap_credit = min(rare.gap_credit, 0)
        message._seq_reset = True
        message._new = not self.messages
        self._append(message, out)
        self.restart(message._seq, self._remember(message))

    def _deliver(self, message: ExtendedMessage, out: list[Message]) -> None:
        """Deliver a record ahead of the last."""
        message._missing = message._seq - self.last_seq - 1
        if message._missing:
            self._counters.missing = (self._counters.missing + message._missing) & _U64
            self._judge_gap(message)
        if message._msgid >= 0:
            self._count_lost(message)
        self._append(message, out)
        self.advance(message._seq, self._remember(message))

    def _count_lost(self, message: ExtendedMessage) -> None:
        """Set ``lost`` from the msgid."""
        if self._last_msgid >= 0:
            lost = (message._msgid - self._last_msgid - 1) & _MSGID_MASK
            # More than half the range is a step back, not a loss: a new target counts from 1.
            if lost <= _MSGID_MASK >> 1:
                message._lost = lost
                if lost:
                    self._counters.lost = (self._counters.lost + lost) & _U64
                    rare = self.rare()
                    rare.lost = _bounded_sum(rare.lost, lost)

    def _judge_gap(self, message: ExtendedMessage) -> None:
        """Count ``missing``; set ``likely_lost`` if there is no msgid and the sender usually has no gaps (rule 2)."""
        rare = self.rare()
        rare.missing = _bounded_sum(rare.missing, message._missing)
        rare.gap_seq = message._seq
        credit = rare.gap_credit + self.messages - rare.gap_messages
        if credit > GAP_MEMORY:
            credit = GAP_MEMORY
        rare.gap_messages = self.messages
        if credit >= GAP_EVIDENCE and message._msgid < 0:
            message._likely_lost = message._missing
            self._counters.likely_lost = (self._counters.likely_lost + message._missing) & _U64
            rare.likely_lost = _bounded_sum(rare.likely_lost, message._missing)
        credit -= MESSAGES_PER_GAP
        rare.gap_credit = max(credit, _CREDIT_FLOOR)

    def _deliver_late(self, message: ExtendedMessage, out: list[Message]) -> bool:
        """Deliver a record behind; return ``False`` if it is far behind, and was delivered just before."""
        is_far = self.last_seq - message._seq >= WINDOW
        replay = self._replay()
        if is_far or (replay is not None and replay.is_near(message._seq, self.last_seen)):
            repeated, _ = self._add_behind(message)
            if repeated and message._ts_usec:
                return False
        message._out_of_order = True
        self._count_late()
        self._append(message, out)
        if is_far:
            return True
        self.fill(message._seq, _to_stamp(message))
        return True

    def _count_late(self) -> None:
        self._counters.late += 1
        rare = self.rare()
        rare.late += 1

    def _hold(self, message: ExtendedMessage, deadline: float, out: list[Message]) -> None:
        """Hold a record ahead of the last; release the lowest ones if a bound is exceeded."""
        held = self.held
        if held is None:
            held = self.held = ReorderBuffer(self._reorder_time / RELEASES)
        held.add(message, deadline)
        while held.is_over_limit():
            self._counters.released_early += 1
            self._deliver(held.pop(), out)
            self._release_next(out)

    def _release_next(self, out: list[Message]) -> None:
        """Deliver the held messages that are next (rule 1)."""
        held = self.held
        while held is not None and held.count():
            message = held.lowest()
            if message._seq - self.last_seq != 1 and not self._is_next_msgid(message):
                break
            self._deliver(held.pop(), out)

    def _release(self, seq: int, out: list[Message]) -> None:
        """Deliver the held messages up to a seq, and those that are next then."""
        held = self.held
        if held is not None:
            while held.count() and held.lowest()._seq <= seq:
                self._deliver(held.pop(), out)
            self._release_next(out)

    def _append(self, message: ExtendedMessage, out: list[Message]) -> None:
        self._counters.messages += 1
        self.messages += 1
        if message._replayed:
            self._counters.replayed += 1
        out.append(message)

    def _remember(self, message: ExtendedMessage) -> int:
        """Note the last record; return its stamp for the window."""
        stamp = _to_stamp(message)
        self._last_ts_usec = message._ts_usec
        self._last_msgid = message._msgid
        if self._first_ts_usec == ABSENT and message._ts_usec >= NEAR_ZERO_USEC:
            self._first_seq = message._seq
            self._first_ts_usec = stamp
        return stamp

    def _update_deadline(self) -> None:
        """Set ``deadline``, ``cost`` and the worker's ``unfinished`` from the held messages, reassemblies and line."""
        deadline = NEVER
        cost = 0
        parts = 0
        if self._line is not None:
            parts = 1
            deadline = self._line.deadline
            cost = self._line.cost
        held = self.held
        if held is not None:
            if held.count():
                deadline = min(deadline, held.deadline)
                cost += held.cost
            else:
                self.held = None
        if self.suspects is not None:
            deadline = min(deadline, self.suspects.deadline)
            cost += self.suspects.cost
        if self.reassemblies is not None:
            for reassembly in self.reassemblies:
                deadline = min(deadline, reassembly.deadline)
                cost += reassembly.cost
                parts += 1
            if not self.reassemblies:
                self.reassemblies = None
        if parts != self._parts:
            self._counters.unfinished += parts - self._parts
            self._parts = parts
        self.deadline = deadline
        self.cost = cost


def new_stream(
    source: Source, counters: WorkerCounters, reorder_time: float, legacy_datagrams: bool, framing: int
) -> Stream:
    """Return a new stream. In C, a call of the class costs several times as much."""
    stream = Stream.__new__(Stream)
    stream._begin(source, counters, reorder_time, legacy_datagrams, framing)
    return stream


def _bounded_sum(count: int, more: int) -> int:
    """Add to a sender's counter, up to _MISSING_LIMIT."""
    return count + more if more < _MISSING_LIMIT - count else _MISSING_LIMIT


def _to_stamp(message: ExtendedMessage) -> int:
    """The value by which a record is recognised when it is repeated: its timestamp; at the timestamp 0, a hash of its
    text; ABSENT if it is incomplete (rule 8).
    """
    if message._incomplete:
        return ABSENT
    if not message._ts_usec:
        return _text_stamp(message._raw)
    # ABSENT is also the highest timestamp that can be sent; it is remembered as the one below.
    return min(message._ts_usec, ABSENT - 1)


def _text_stamp(body: bytes) -> int:
    """A hash of a record's text. The sysdata after it may differ when the record is sent again."""
    return _ZERO_STAMP | (hash(body.partition(b"\n")[0]) & _ZERO_HASH_MASK)


def _line_ts_usec(line: bytes) -> int:
    """The timestamp of a legacy line, ``[   12.345678]`` after an optional ``<6>``; -1 if there is none."""
    # In C, an index of a pointer is not checked.
    line_c = line
    length = len(line)
    index = 0
    if length and line_c[0] == _LESS:
        index = 1
        while index < length and index < 5 and _ZERO <= line_c[index] <= _NINE:
            index += 1
        if index == length or line_c[index] != _GREATER:
            return -1
        index += 1
    if index >= length or line_c[index] != _BRACKET:
        return -1
    index += 1
    while index < length and line_c[index] == _SPACE:
        index += 1
    number = 0
    digits = 0
    # 13 digits of seconds and 6 of microseconds fit 64 bits.
    while index < length and digits < 20 and (line_c[index] == _DOT or _ZERO <= line_c[index] <= _NINE):
        if line_c[index] != _DOT:
            number = number * 10 + line_c[index] - _ZERO
            digits += 1
        index += 1
    if digits < 7 or digits > 19 or index == length or line_c[index] != _END_BRACKET or line_c[index - 7] != _DOT:
        return -1
    return number
