"""Numbers the boots of each sender, and the messages that have no seq: the identity of a stored message. Hot.

The identity is (host, boot, seq), or (host, received_at, number) for a message without a seq.

Rules:

1. The id of a boot is the Unix second in which the boot began: the time at which its first stored message was received,
   minus the message's ``ts_usec``. It is later than the true time if that message had waited in the sender's buffer.
   It is 0 for a sender's first boot if the sender sends no ``ts_usec``.
2. A message begins a boot if it is marked ``boot``, or if the sender is unknown here.
3. A message that is marked ``new`` (netconsd was restarted, or had forgotten the sender) begins a boot if it
   contradicts the sender's last messages: by its ``ts_usec`` the machine booted after those were received; or its
   ``ts_usec`` or its ``seq`` is less than theirs. A message without ``ts_usec`` contradicts nothing.
4. The ids of a sender's boots increase, also if the clock was set back: an id is at least the one before, plus 1.
5. ``number`` counts a sender's messages that have no seq and the same ``received_at``, from 0.

The result depends on the messages and their order alone, not on how they are divided into segments: whoever has the
state of the last segment gets the same ids for the messages in the journal.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

from netconsd.protocol import octets
from netconsd.store.columns import NONE, Columns
from netconsd.store.records import BOOT, EXTENDED, NEW

#: Senders whose state is kept: the size of the largest fleet, as a stranger can invent senders. The sender silent
#: longest is forgotten; its next message begins a boot.
SENDERS_LIMIT: Final = 200_000
#: A message can be this late behind the clock that it shows: the network, and clocks that are not exact.
LATE_USEC: Final = 60_000_000
#: Records can overtake each other by this many numbers; more is a restart of the sequence.
SEQ_SLACK: Final = 1024
_LATE = LATE_USEC
_SLACK = SEQ_SLACK


class SenderState:
    """The last message of a sender: the next one is compared with it."""

    __slots__ = ("boot", "number", "received_at", "seq", "ts_usec")

    boot: int
    received_at: int
    ts_usec: int
    seq: int
    number: int

    def __init__(self, boot: int, received_at: int, ts_usec: int, seq: int, number: int) -> None:
        """
        :param boot: the id of the sender's last boot.
        :param received_at: of its last message, in microseconds.
        :param ts_usec: the last one; 0 if none was sent.
        :param seq: the last one; 0 if none was sent.
        :param number: that of the last message without a seq.
        """
        self.boot = boot
        self.received_at = received_at
        self.ts_usec = ts_usec
        self.seq = seq
        self.number = number

    def values(self) -> tuple[int, int, int, int, int]:
        """Return the arguments of the constructor."""
        return self.boot, self.received_at, self.ts_usec, self.seq, self.number


class Boots:
    """The boots of all senders. For one thread at a time."""

    def __init__(self, most: int = SENDERS_LIMIT) -> None:
        """
        :param most: the senders that are remembered between calls of :meth:`assign`.
        """
        self._states: dict[bytes, SenderState] = {}
        self._most = most
        #: The ids of the boots of the rows of the last :meth:`assign`, an ``array("Q")``.
        self.boot = array("Q")
        #: The numbers of these rows (rule 5), an ``array("Q")``.
        self.number = array("Q")

    def update(self, states: Iterable[tuple[bytes, tuple[int, int, int, int, int]]]) -> None:
        """Set the state of senders: (key, values of :class:`SenderState`)."""
        for key, values in states:
            self._states[key] = SenderState(*values)
        self._keep_bound()

    def state(self, key: bytes) -> tuple[int, int, int, int, int] | None:
        """Return the values of a sender's state; None for an unknown sender."""
        state = self._states.get(key)
        return None if state is None else state.values()

    def states(self) -> list[tuple[bytes, tuple[int, int, int, int, int]]]:
        """Return the arguments of :meth:`update` for an equal object."""
        return [(key, state.values()) for key, state in self._states.items()]

    def columns(self) -> tuple[list[bytes], list[array[int]]]:
        """Return the keys of all senders, and an ``array("Q")`` for each of the arguments of :class:`SenderState`."""
        keys = list(self._states)
        words = array("Q", bytes(40 * len(keys)))
        at = 0
        for key in keys:
            state = self._states[key]
            octets.put_stamp(words, at, state.boot)
            octets.put_stamp(words, at + 1, state.received_at)
            octets.put_stamp(words, at + 2, state.ts_usec)
            octets.put_stamp(words, at + 3, state.seq)
            octets.put_stamp(words, at + 4, state.number)
            at += 5
        return keys, [words[place::5] for place in range(5)]

    def assign(self, columns: Columns) -> None:
        """Fill ``boot`` and ``number`` for the rows of sorted columns, and update the senders' states."""
        rows = columns.rows
        self.boot = array("Q", bytes(8 * rows))
        self.number = array("Q", bytes(8 * rows))
        for key, first, count in columns.senders:
            self._sender(columns, key, first, first + count)
        self._keep_bound()

    def _sender(self, columns: Columns, key: bytes, row: int, end: int) -> None:
        state = self._states.get(key)
        if state is None:
            state = SenderState(0, 0, 0, 0, 0)
            self._states[key] = state
            known = False
        else:
            known = True
        received_at, flags, seq, ts_usec = columns.received_at, columns.flags, columns.seq, columns.ts_usec
        boots, numbers = self.boot, self.number
        while row < end:
            flag = octets.stamp_at(flags, row)
            at = octets.stamp_at(received_at, row)
            ts = octets.stamp_at(ts_usec, row)
            extended = flag & EXTENDED
            number = octets.stamp_at(seq, row) if extended else 0
            timed = ts != NONE
            if not timed:
                ts = 0
            begins = not known or flag & BOOT
            if not begins and flag & NEW and timed:
                begins = (
                    (at > ts and at - ts > state.received_at + _LATE)
                    or ts + _LATE < state.ts_usec
                    or (extended and number + _SLACK < state.seq)
                )
            if begins:
                boot = 0
                if at > ts and (timed or known):
                    boot = (at - ts) // 1_000_000
                if known and boot <= state.boot:
                    boot = state.boot + 1
                state.boot = boot
            if extended:
                state.seq = number
            else:
                if known and at == state.received_at:
                    state.number += 1
                else:
                    state.number = 0
                octets.put_stamp(numbers, row, state.number)
            if timed:
                state.ts_usec = ts
            state.received_at = at
            known = True
            octets.put_stamp(boots, row, state.boot)
            row += 1

    def _keep_bound(self) -> None:
        if len(self._states) <= self._most:
            return
        # A tenth more than needed, so that sorting is rare.
        silent = sorted(self._states.items(), key=lambda item: item[1].received_at)
        for key, _ in silent[: len(silent) - self._most + self._most // 10]:
            del self._states[key]
