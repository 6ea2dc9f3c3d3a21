"""Reads the journal of a stream that has no store: parts in the store's format, deleted when they were delivered.

Rules:

1. The part with the lowest number that has an unread block is read first. A sender's messages are in the parts of one
   worker, in order, and the parts of an earlier run have lower numbers: so its order is kept. With ``by_time``, the
   workers' next blocks are read in the order of their first messages instead; but none before the parts of lower
   numbers if the clock was set back between these and its part, as the worker of a sender can change with a run.
2. A part is deleted after its last record was delivered and its writer has closed it. Until then the cursor has the
   offset of its next block, and the records of that block that were delivered.
3. The boots of senders are numbered as in the store (:mod:`netconsd.store.boots`). A file has their state after the
   blocks that were delivered at some time; after a restart, the blocks from there to the cursor are read again without
   being sent. So a message has the same identity each time it is sent.
4. A part that the writer has removed, because the journal was full, was counted as dropped with all its messages. Those
   that had been delivered before are in ``spared``.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from netconsd.protocol.message import Message
from netconsd.store import journal
from netconsd.store.boots import Boots
from netconsd.store.columns import Columns
from netconsd.store.records import Damaged, unpack
from netconsd.streams.cursor import Cursor
from netconsd.streams.record import Record, message_id
from netconsd.streams.spool import CURSOR

JOURNAL: Final = "journal"
BOOTS: Final = "boots"
#: The time of receipt in the head of a record (:mod:`netconsd.store.records`).
_RECEIVED_AT: Final = struct.Struct("=d")
_RECEIVED_AT_PLACE: Final = 8
#: Seconds by which the clock is set back at least. Two workers that begin parts at once take their numbers and times in
#: either order.
_SET_BACK: Final = 1.0

_State = tuple[bytes, tuple[int, int, int, int, int]]


def next_part(directory: Path) -> int:
    """Return the number of the next part of a stream's journal, greater than those of the parts that are there, and of
    those that were delivered and deleted, as far as the files of the stream have places in them.

    The process of the stream begins later than the daemon. It would take the place in a deleted part for one in a new
    part of that number, and pass over the first messages.

    :param directory: that of the stream.
    :raises OSError: if it cannot be read.
    """
    numbers = [part.number for part in journal.parts(directory / JOURNAL)]
    for name in (CURSOR, BOOTS):
        saved = Cursor(directory / name).load() or {}
        # A damaged file has no places: the process does not use it either.
        with suppress(AttributeError, TypeError, ValueError):
            numbers += map(int, saved.get("messages", saved).get("at", ()))
    return max(numbers, default=0) + 1


class JournalSource:
    """The messages of a journal. For one thread."""

    def __init__(
        self,
        directory: Path,
        position: Mapping[str, Any] | None,
        name_of: Callable[[Message], str] = lambda message: "",
        warn: Callable[[str], object] = lambda text: None,
        *,
        by_time: bool = False,
    ) -> None:
        """
        :param directory: that of the stream.
        :param position: of the cursor; None if there is none.
        :param by_time: whether the blocks of several workers are read in the order of time.
        :raises OSError: if it cannot be read.
        """
        self._directory = directory / JOURNAL
        self._name_of = name_of
        self._warn = warn
        self._by_time = by_time
        # By part: the offset of a block, and the time of its first message; the time at which the part was begun.
        self._times: dict[int, tuple[int, float]] = {}
        self._begun: dict[int, float] = {}
        self.dropped = 0
        self.more = False
        #: Messages of parts that the writer removed, which had been delivered.
        self.spared = 0
        # By part: the offset of the next block, the records of it that were read, and those of all blocks before.
        self._at: dict[int, tuple[int, int, int]] = {}
        self._finished: list[int] = []
        self._rest: deque[Record] = deque()
        # The part, the begin and the end of the block that is being read, and its records.
        self._block = (0, 0, 0, 0)
        self._boots = Boots()
        # The states after each block that was read and not delivered: (part, end, states).
        self._after: deque[tuple[int, int, list[_State]]] = deque()
        self._delivered = Boots()
        self._state = Cursor(directory / BOOTS)
        present = {part.number for part in journal.parts(self._directory)}
        for number, place in (position or {"at": {}})["at"].items():
            if int(number) in present:
                self._at[int(number)] = place[0], place[1], place[2]
        self._load()

    def _load(self) -> None:
        """Restore the boots (rule 3)."""
        saved = self._state.load() or {"at": {}, "states": []}
        states = [(bytes.fromhex(key), (a, b, c, d, e)) for key, a, b, c, d, e in saved["states"]]
        for boots in (self._boots, self._delivered):
            boots.update(states)
        for part in journal.parts(self._directory):
            end = self._at.get(part.number, (0, 0, 0))[0]
            start = saved["at"].get(str(part.number), 0)
            with suppress(Damaged, FileNotFoundError):
                for position, records, _ in journal.read(part.path, start, damaged=lambda text, messages: None):
                    if position > end:
                        break
                    self._delivered.update(self._decoded(records)[1])

    def read(self, most: int) -> list[Record]:
        """As :meth:`netconsd.streams.spool.Source.read`."""
        found: list[Record] = []
        while len(found) < most and (self._rest or self._next_block()):
            while self._rest and len(found) < most:
                found.append(self._rest.popleft())
            number, start, end, records = self._block
            before = self._at[number][2]
            if self._rest:
                self._at[number] = start, records - len(self._rest), before
            else:
                self._at[number] = end, 0, before + records
        return found

    def _next_block(self) -> bool:
        """Decode the next block (rule 1); return false if there is none."""
        parts = journal.parts(self._directory)
        self._look_for_removed({part.number for part in parts})
        for part in self._in_order(parts) if self._by_time else parts:
            if part.number in self._finished:
                continue
            start, done, before = self._at.get(part.number, (0, 0, 0))
            try:
                block = next(journal.read(part.path, start, damaged=self._damaged), None)
            except FileNotFoundError:
                # It was closed, and so renamed, or removed: the next call sees which.
                return self._next_block() if not part.is_open else False
            except Damaged as error:
                self._warn(f"{part.path}: {error}; its rest is not sent")
                block = None
                if part.is_open:
                    continue
            if block is None:
                if not part.is_open:
                    self._finished.append(part.number)
                continue
            end, data, _ = block
            try:
                records, states = self._decoded(data)
            except Damaged as error:
                self._warn(f"{part.path}: {error}")
                self.dropped += block[2]
                records, states = [], []
            self._after.append((part.number, end, states))
            self._at[part.number] = start, done, before
            self._block = part.number, start, end, len(records)
            self._rest.extend(records[done:])
            if not self._rest:
                self._at[part.number] = end, 0, before + len(records)
                continue
            return True
        return False

    def _in_order(self, parts: list[journal.Part]) -> list[journal.Part]:
        """Return the part of each worker that is read next, by the time of its next block; before them, the parts that
        seem to have none."""
        ended: list[journal.Part] = []
        times: dict[int, tuple[float, int, journal.Part]] = {}
        begun = 0.0
        for part in parts:
            if part.number in self._finished:
                continue
            found = None if part.worker in times else self._time_of(part)
            if found is None and part.worker not in times:
                ended.append(part)
                continue
            at = self._begun_of(part)
            if at < begun - _SET_BACK:
                break
            begun = at
            if found is not None:
                times[part.worker] = found[1], part.number, part
        self._begun = {part.number: self._begun[part.number] for part in parts if part.number in self._begun}
        self._times = {part.number: self._times[part.number] for _, _, part in times.values()}
        return ended + [part for _, _, part in sorted(times.values(), key=lambda each: each[:2])]

    def _begun_of(self, part: journal.Part) -> float:
        """Return the time at which a part was begun; 0, as if the clock was set back, if it cannot be read now."""
        begun = self._begun.get(part.number, 0.0)
        if not begun:
            # The head may not be written yet.
            with suppress(OSError):
                begun = journal.begun(part)
        if begun:
            self._begun[part.number] = begun
        return begun

    def _time_of(self, part: journal.Part) -> tuple[int, float] | None:
        """Return the entry of ``_times`` for the next block of a part; None if there is none."""
        start = self._at.get(part.number, (0, 0, 0))[0]
        known = self._times.get(part.number)
        if known is not None and known[0] == start:
            return known
        # The reader of the block reports what is damaged.
        with suppress(Damaged, OSError, struct.error):
            block = next(journal.read(part.path, start, damaged=lambda text, messages: None), None)
            if block is not None:
                (at,) = _RECEIVED_AT.unpack_from(block[1], _RECEIVED_AT_PLACE)
                self._times[part.number] = start, at
                return self._times[part.number]
        return None

    def _damaged(self, text: str, messages: int) -> None:
        self._warn(text)
        self.dropped += messages

    def _look_for_removed(self, present: set[int]) -> None:
        for number in [number for number in self._at if number not in present]:
            _, done, before = self._at.pop(number)
            self.spared += before + done
            self._finished = [other for other in self._finished if other != number]

    def _decoded(self, data: bytes) -> tuple[list[Record], list[_State]]:
        """Return the records of a block, and the states of its senders after it."""
        columns = Columns()
        columns.add(data)
        columns.sort()
        boots = self._boots
        boots.assign(columns)
        messages = unpack(data)
        # The columns are sorted by sender, and of a sender in the order of the block.
        order = sorted(range(len(messages)), key=lambda index: messages[index].source.key)
        records: list[Record | None] = [None] * len(messages)
        for row, index in enumerate(order):
            message = messages[index]
            name = message_id(message, boots.boot[row], boots.number[row])
            records[index] = Record(message, name, boots.boot[row], self._name_of(message))
        states = [(key, state) for key, _, _ in columns.senders if (state := boots.state(key)) is not None]
        return [record for record in records if record is not None], states

    def position(self) -> dict[str, Any]:
        """As :meth:`netconsd.streams.spool.Source.position`."""
        return {
            "at": {str(number): list(place) for number, place in self._at.items()},
            "finished": list(self._finished),
        }

    def committed(self, position: Mapping[str, Any], records: Sequence[Record]) -> None:
        """As :meth:`netconsd.streams.spool.Source.committed`."""
        at, finished = position["at"], position["finished"]
        while self._after:
            number, end, states = self._after[0]
            if number not in finished and end > at.get(str(number), (0,))[0]:
                break
            self._delivered.update(states)
            self._after.popleft()
        if not finished:
            return
        saved = [[key.hex(), *values] for key, values in self._delivered.states()]
        self._state.save({"at": {number: place[0] for number, place in at.items()}, "states": saved})
        for part in journal.parts(self._directory):
            if part.number in finished:
                with suppress(FileNotFoundError):
                    part.path.unlink()
                self._at.pop(part.number, None)
        self._finished = [number for number in self._finished if number not in finished]

    def close(self) -> None:
        """As :meth:`netconsd.streams.spool.Source.close`."""
