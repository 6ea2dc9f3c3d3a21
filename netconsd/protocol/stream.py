"""One sender's stream: reassembly, order, duplicates and resets (docs/wire sections 2, 5 and 6).

*Last* is the record with the highest seq that was delivered since the last reset; *behind* and *ahead* count from it.

1. **Next.** A record is delivered at once if its seq is the one after the last, or if its msgid is and no record with a
   lower seq is held: the records between two consecutive msgids were never sent.
2. **Ahead.** A record further ahead is held for at most the reorder time, then delivered with ``missing``, the number
   of seqs that were skipped. Records that are due soon after it (:data:`RELEASES`) are delivered with it.
3. **Duplicate.** A record with the seq and the timestamp of a held or recently delivered record is dropped and counted.
4. **Late.** A record less than :data:`~netconsd.protocol.window.WINDOW` behind that was not delivered is delivered and
   marked ``out_of_order``.
5. **Reset.** A record resets the stream and is marked ``seq_reset`` if it is the sender's first; or its seq is WINDOW
   or more behind; or its seq is held or was delivered recently with another timestamp; or its timestamp is more than
   :data:`REBOOT_USEC` earlier than the last one although its seq is higher; or it is late by rule 4, but its timestamp
   differs from the last one by more than REBOOT_USEC. Held messages are delivered first.
6. **Fragments.** If fragments are missing at the deadline, the message is delivered with notes in place of the missing
   bytes. Its timestamp is not remembered for rule 3, so that fragments that arrive later are also delivered.
7. **Legacy text.** An unfinished line ends at the next newline, after the reorder time, when a datagram begins a line
   (:mod:`netconsd.protocol.legacy`), or when an extended datagram arrives.
8. **Emergency.** A record that was re-sent in an emergency (``ncemg=1``) is late by rule 4 whatever its timestamp. If
   it is WINDOW or more behind, it is dropped as a duplicate: its sender re-sends all its records, and the
   acknowledgement is enough to stop it.
9. **Several records in one datagram.** Each is a message (:mod:`netconsd.protocol.records`). The last record of a
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
from netconsd.protocol.counters import WorkerCounters
from netconsd.protocol.decode import Fragment, Malformed, decode
from netconsd.protocol.encode import CHUNK
from netconsd.protocol.legacy import AUTO, DATAGRAM, LINE_LIMIT, LineBuffer, begins_line, split
from netconsd.protocol.message import ExtendedMessage, LegacyDatagram, LegacyMessage, Message, Source
from netconsd.protocol.rare_counters import RareCounters
from netconsd.protocol.reassembly import Reassembly
from netconsd.protocol.records import LOOKBACK, may_be_in_task_name, record_starts
from netconsd.protocol.reorder import ReorderBuffer
from netconsd.protocol.window import ABSENT, WINDOW, Window

#: The deadline of a stream that holds nothing.
NEVER = float("inf")

# The clocks of a machine's processors, and of its early boot, differ by far less; a crash and a reboot take longer.
REBOOT_USEC = 10_000_000
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
# The highest value of one sender's counter `missing`: forged seqs can add up to more than 64 bits.
_MISSING_LIMIT = 2**63 - 1

# The rule that applies to a record.
_NEXT = 1
_AHEAD = 2
_DUPLICATE = 3
_LATE = 4
_RESET = 5

# Compiled, these are C variables, which are attributes of the module only if put there.
globals().update(NEVER=NEVER, REBOOT_USEC=REBOOT_USEC, FRAGMENT_SECONDS=FRAGMENT_SECONDS, RELEASES=RELEASES)


class Stream:
    """The state of one sender. Not thread-safe.

    The methods append messages to the caller's list. ``now`` and deadlines are monotonic seconds; ``received_at`` is
    the Unix time that messages show.
    """

    __slots__ = (
        *("_counters", "_last_msgid", "_last_ts_usec", "_legacy_datagrams", "_line", "_reorder_time", "cost"),
        *("datagrams", "deadline", "held", "last_remembered", "last_seen", "last_seq", "lost", "messages", "missing"),
        *("bytes", "rare_counters", "reassemblies", "resets", "scheduled_at", "source", "theoretical_arrival"),
        *("_framing", "window"),
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
        # This sender's counters (SENDER_COUNTERS), each worth a word for each of a million senders; the others are in
        # rare_counters.
        self.datagrams = 0
        self.bytes = 0
        self.messages = 0
        #: 0 until the first record.
        self.resets = 0
        self.missing = 0
        self.lost = 0
        self.rare_counters: RareCounters | None = None
        #: The seq of the last record, and its timestamp for rule 3: ABSENT if it was incomplete.
        self.last_seq = 0
        self.last_remembered = ABSENT
        # Allocated with the second record, the first gap, the first fragment, the first unfinished line.
        self.window: Window | None = None
        self.held: ReorderBuffer | None = None
        self.reassemblies: dict[tuple[int, int, int], Reassembly] | None = None
        self._line: LineBuffer | None = None
        self._counters = counters
        self._reorder_time = reorder_time
        self._legacy_datagrams = legacy_datagrams
        self._framing = framing
        self._last_ts_usec = 0
        self._last_msgid = -1

    def feed(self, datagram: bytes, received_at: float, now: float, out: list[Message]) -> None:
        """Process one datagram; append the messages that can be delivered now."""
        counters = self._counters
        counters.datagrams += 1
        counters.bytes += len(datagram)
        self.datagrams += 1
        self.bytes += len(datagram)
        self.last_seen = now
        decoded: ExtendedMessage | Fragment | None = None
        try:
            decoded = decode(datagram, self.source, received_at)
        except Malformed:
            counters.malformed += 1
            if self._line is not None and self._line.is_record:
                self._finish_line(out)
        if decoded is None:
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
        expired = -1
        if self.reassemblies:
            for key, reassembly in list(self.reassemblies.items()):
                if reassembly.deadline <= now:
                    expired = max(expired, reassembly.first._seq)
                    self._finish_reassembly(key, now + self._reorder_time, out)
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
            for reassembly in reassemblies.values():
                self._place_reassembled(reassembly, NEVER, out)
        held, self.held = self.held, None
        while held is not None and held.count():
            self._deliver(held.pop(), out)
        self._update_deadline()

    def count(self, name: str) -> int:
        """One of :data:`~netconsd.protocol.counters.SENDER_COUNTERS`."""
        holder = self if hasattr(self, name) else self.rare_counters
        return 0 if holder is None else int(getattr(holder, name))

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
        """Process a datagram that continues the unfinished record (rule 9); return ``False`` if it does not."""
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

    # Fragments.

    def _add_fragment(self, fragment: Fragment, now: float, out: list[Message]) -> None:
        first = fragment.piece
        key = (first._seq, first._ts_usec, fragment.total)
        if self._is_received(first._seq, first._ts_usec):
            self._drop_duplicate()
            return
        reassembly = None if self.reassemblies is None else self.reassemblies.get(key)
        if reassembly is None:
            reassembly = self._start_reassembly(key, fragment, now + max(self._reorder_time, FRAGMENT_SECONDS), out)
        if reassembly.add(fragment.offset, first._raw):
            self._counters.fragments += 1
        else:
            self._drop_duplicate()
        if reassembly.complete:
            self._finish_reassembly(key, now + self._reorder_time, out)

    def _start_reassembly(
        self, key: tuple[int, int, int], fragment: Fragment, deadline: float, out: list[Message]
    ) -> Reassembly:
        if self.reassemblies is not None and len(self.reassemblies) >= REASSEMBLIES_LIMIT:
            self._counters.released_early += 1
            oldest = next(iter(self.reassemblies))
            self._finish_reassembly(oldest, deadline, out)
            # A held message makes fragments of the same record duplicates, so an incomplete one must not be held.
            self._release(oldest[0], out)
        reassembly = Reassembly(fragment, deadline)
        # None again if finishing the oldest was a reset, which finishes them all.
        self.reassemblies = self.reassemblies or {}
        self.reassemblies[key] = reassembly
        return reassembly

    def _finish_reassembly(self, key: tuple[int, int, int], deadline: float, out: list[Message]) -> None:
        """End a reassembly, complete or not, and place its message."""
        if self.reassemblies is not None:
            reassembly = self.reassemblies.pop(key, None)
            if reassembly is not None:
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
        reassemblies = self.reassemblies or {}
        for key in [key for key in reassemblies if key[0] == seq and key[1] == ts_usec]:
            del reassemblies[key]
            self._counters.dropped_superseded += 1

    # Order.

    def _place(self, message: ExtendedMessage, deadline: float, out: list[Message]) -> bool:
        """Deliver a record, or hold it until ``deadline``; return ``False`` if it is a duplicate."""
        if self.reassemblies and not message._incomplete:
            self._drop_superseded(message._seq, message._ts_usec)
        rule = self._classify(message)
        if rule == _NEXT:
            self._deliver(message, out)
            if self.held is not None:
                self._release_next(out)
        elif rule == _AHEAD:
            self._hold(message, deadline, out)
        elif rule == _LATE:
            self._deliver_late(message, out)
        elif rule == _RESET:
            self._reset(message, out)
        return rule != _DUPLICATE

    def _classify(self, message: ExtendedMessage) -> int:
        """The rule that applies to a record; changes nothing."""
        if not self.resets:
            return _RESET
        seq = message._seq
        ts_usec = message._ts_usec
        if seq <= self.last_seq:
            remembered = self._remembered(seq)
            if remembered != ABSENT:
                return _DUPLICATE if remembered == min(ts_usec, ABSENT - 1) else _RESET
            if self.last_seq - seq < WINDOW and self._may_be_late(message):
                return _LATE
            return _DUPLICATE if message._emergency else _RESET
        if _is_rebooted(ts_usec, self._last_ts_usec):
            return _RESET
        if seq - self.last_seq == 1:
            return _NEXT
        held = self.held
        if self._is_next_msgid(message) and (held is None or not held.count() or held.lowest()._seq > seq):
            return _NEXT
        same_seq = None if held is None else held.get(seq)
        if same_seq is None:
            return _AHEAD
        return _DUPLICATE if same_seq._ts_usec == ts_usec else _RESET

    def _drop_duplicate(self) -> None:
        self._counters.dropped_duplicate += 1
        rare = self.rare()
        rare.dropped_duplicate += 1

    def _is_received(self, seq: int, ts_usec: int) -> bool:
        """True if a record is held or was delivered recently (rule 3)."""
        if not self.resets:
            return False
        if seq <= self.last_seq:
            return self._remembered(seq) == min(ts_usec, ABSENT - 1)
        same_seq = None if self.held is None else self.held.get(seq)
        return same_seq is not None and same_seq._ts_usec == ts_usec

    def _may_be_late(self, message: ExtendedMessage) -> bool:
        """True if the timestamp of a record behind the last allows that both are of one boot.

        A sender of the reliable variant keeps its records, and may re-send one after any time (docs/wire section 7).
        """
        if message._emergency:
            return True
        ts_usec = message._ts_usec
        return not _is_rebooted(self._last_ts_usec, ts_usec) and not _is_rebooted(ts_usec, self._last_ts_usec)

    def _is_next_msgid(self, message: ExtendedMessage) -> bool:
        return self._last_msgid >= 0 and message._msgid == (self._last_msgid + 1) & _MSGID_MASK

    def _remembered(self, seq: int) -> int:
        """The timestamp of a delivered record up to the last; ABSENT if it was not delivered, or not recently."""
        if seq == self.last_seq:
            return self.last_remembered
        return ABSENT if self.window is None else self.window.ts_usec(seq)

    def _reset(self, message: ExtendedMessage, out: list[Message]) -> None:
        if self.resets:
            # Reassemblies that are older than the sender's first record go on.
            self.flush(out)
        self._counters.resets += 1
        self.resets += 1
        self.window = None
        message._seq_reset = True
        self.last_seq = message._seq
        self._append(message, out)
        self._remember(message)

    def _deliver(self, message: ExtendedMessage, out: list[Message]) -> None:
        """Deliver a record ahead of the last."""
        message._missing = message._seq - self.last_seq - 1
        if message._missing:
            self._counters.missing += message._missing
            if message._missing < _MISSING_LIMIT - self.missing:
                self.missing += message._missing
            else:
                self.missing = _MISSING_LIMIT
        if self._last_msgid >= 0 and message._msgid >= 0:
            lost = (message._msgid - self._last_msgid - 1) & _MSGID_MASK
            # More than half the range is a step back, not a loss: a new target counts from 1.
            if lost <= _MSGID_MASK >> 1:
                message._lost = lost
                self._counters.lost += lost
                self.lost += lost
        if self.window is None:
            self.window = Window(self.last_seq, self.last_remembered)
        self.last_seq = message._seq
        self._append(message, out)
        self._remember(message)
        self.window.advance(message._seq, self.last_remembered)

    def _deliver_late(self, message: ExtendedMessage, out: list[Message]) -> None:
        message._out_of_order = True
        self._counters.late += 1
        rare = self.rare()
        rare.late += 1
        self._append(message, out)
        remembered = _to_remember(message)
        if message._seq == self.last_seq:
            self.last_remembered = remembered
        if self.window is None:
            self.window = Window(self.last_seq, self.last_remembered)
        self.window.fill(message._seq, remembered)

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

    def _remember(self, message: ExtendedMessage) -> None:
        self._last_ts_usec = message._ts_usec
        self.last_remembered = _to_remember(message)
        self._last_msgid = message._msgid

    def _update_deadline(self) -> None:
        """Set ``deadline`` and ``cost`` from the held messages, reassemblies and line."""
        deadline = NEVER
        cost = 0
        if self._line is not None:
            deadline = self._line.deadline
            cost = self._line.cost
        held = self.held
        if held is not None:
            if held.count():
                deadline = min(deadline, held.deadline)
                cost += held.cost
            else:
                self.held = None
        if self.reassemblies is not None:
            for reassembly in self.reassemblies.values():
                deadline = min(deadline, reassembly.deadline)
                cost += reassembly.cost
            if not self.reassemblies:
                self.reassemblies = None
        self.deadline = deadline
        self.cost = cost


def _is_rebooted(ts_usec: int, before: int) -> bool:
    """True if a timestamp is so much earlier than the one before it that the machine was rebooted between them."""
    return before > REBOOT_USEC and ts_usec < before - REBOOT_USEC


def _to_remember(message: ExtendedMessage) -> int:
    """The timestamp by which repeats of a message are recognised: none, ABSENT, if it is incomplete (rule 6)."""
    # ABSENT is also the highest timestamp that can be sent; it is remembered as the one below.
    return ABSENT if message._incomplete else min(message._ts_usec, ABSENT - 1)
